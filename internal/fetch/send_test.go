package fetch_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/fetch"
)

func TestSend(t *testing.T) {
	var got string
	for name, test := range map[string]struct {
		answer    http.HandlerFunc
		change    func(*fetch.Delivery)
		wantClass fetch.Class
	}{
		"taken":                      {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }},
		"taken with an endless word": {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) }},
		"refused":                    {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, wantClass: fetch.UnexpectedStatus},
		"redirected to itself": {
			answer: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Path, http.StatusPermanentRedirect)
			}, wantClass: fetch.Redirected,
		},
		"not modified is no success": {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }, wantClass: fetch.Redirected},
		"too slow":                   {answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, wantClass: fetch.TimedOut},
		"without TLS":                {change: func(d *fetch.Delivery) { d.URL = strings.Replace(d.URL, "https", "http", 1) }, wantClass: fetch.InvalidURL},
		"no URL":                     {change: func(d *fetch.Delivery) { d.URL = "://secret" }, wantClass: fetch.InvalidURL},
		"a proxy of another kind":    {change: func(d *fetch.Delivery) { d.Proxy = &url.URL{Scheme: "socks5", Host: "proxy"} }, wantClass: fetch.InvalidURL},
		"a certificate of nobody":    {change: func(d *fetch.Delivery) { d.RootCAs = nil }, wantClass: fetch.TLS},
	} {
		t.Run(name, func(t *testing.T) {
			got = ""
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got = r.Method + " " + r.Header.Get("Content-Type") + " " + string(body)
				test.answer(w, r)
			}))
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			t.Cleanup(server.Close)
			delivery := fetch.Delivery{
				URL: server.URL + "/v1?key=secret", Body: []byte("body"), ContentType: "text/plain", RootCAs: x509.NewCertPool(), Limits: fetch.Limits{Headers: brief},
			}
			delivery.RootCAs.AddCert(server.Certificate())
			if test.change != nil {
				test.change(&delivery)
			}
			err := fetch.Send(t.Context(), delivery)
			if test.wantClass == "" {
				if err != nil || got != "POST text/plain body" {
					t.Errorf("%v, got %q", err, got)
				}
				return
			}
			failure, ok := errors.AsType[*fetch.Error](err)
			if !ok || failure.Class != test.wantClass {
				t.Fatalf("error %v, want one of class %s", err, test.wantClass)
			}
			if text := err.Error(); !strings.HasPrefix(text, "sending to ") || strings.Contains(text, "secret") {
				t.Errorf("error %q", text)
			}
			if test.change != nil && got != "" {
				t.Errorf("something was sent: %q", got)
			}
		})
	}
}

func TestSendEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := fetch.Send(ctx, fetch.Delivery{URL: "https://127.0.0.1:1/"}); err == nil {
		t.Error("want an error")
	}
}
