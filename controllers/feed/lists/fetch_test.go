package lists_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/controllers/feed/lists"
	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/revocation"
)

func TestFetchReturnsWhatItGets(t *testing.T) {
	keys := fixture(t)
	ofIssuing, ofRoot := list(t, keys.Issuing, now), list(t, keys.Root, now)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" || r.Header.Get("Prefer") != "" {
			t.Error("a list was asked for as if it were the document")
		}
		switch r.URL.Path {
		case "/issuing.crl":
			_, _ = w.Write(ofIssuing.Raw)
		case "/root.pem":
			_ = pem.Encode(w, &pem.Block{Type: "X509 CRL", Bytes: ofRoot.Raw})
		case "/moved":
			http.Redirect(w, r, "/issuing.crl?"+strings.Repeat("x", 100), http.StatusFound)
		case "/far":
			http.Redirect(w, r, "/"+strings.Repeat("far/", 900), http.StatusFound)
		case "/" + strings.Repeat("far/", 900):
			_, _ = w.Write(ofRoot.Raw)
		case "/page":
			_, _ = io.WriteString(w, "<html>")
		case "/endless":
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		case "/silent":
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	request := fetch.Request{URL: "http://feed.contoso.com", ETag: `"document"`, Wait: time.Minute, Limits: fetch.Limits{Headers: 50 * time.Millisecond, Bytes: 10}}
	for name, tc := range map[string]struct {
		paths      []string
		want       []*revocation.List
		wantSaying []string
	}{
		"lists in DER and PEM": {paths: []string{"/issuing.crl", "/root.pem?token=secret"}, want: []*revocation.List{ofIssuing, ofRoot}},
		"one fails and the others come": {
			paths: []string{"/page", "/root.pem", "/gone", "/endless", "/silent"}, want: []*revocation.List{ofRoot},
			wantSaying: []string{"/page", "/gone", "status 404", "/endless", "more than 196608 bytes", "/silent", "no complete answer in time"},
		},
		"redirects on the same host, to an address that no status can hold": {paths: []string{"/moved", "/far"}, want: []*revocation.List{ofIssuing, ofRoot}},
		"nothing to fetch": {},
	} {
		t.Run(name, func(t *testing.T) {
			var urls []string
			for _, path := range tc.paths {
				urls = append(urls, server.URL+path)
			}
			got, err := lists.Fetch(t.Context(), urls, request)
			if (err != nil) != (tc.wantSaying != nil) {
				t.Fatalf("error %v", err)
			}
			rest := ""
			if err != nil {
				rest = err.Error()
			}
			for _, word := range tc.wantSaying {
				_, after, found := strings.Cut(rest, word)
				if !found {
					t.Errorf("error %q, want %q next, in the order of the URLs", err, word)
					continue
				}
				rest = after
			}
			var ders [][]byte
			for _, l := range got {
				ders = append(ders, l.Raw)
				if !strings.HasPrefix(l.Source, server.URL) || strings.Contains(l.Source, "secret") || len(l.Source) > 2048 {
					t.Errorf("source %q, want the URL without its query", l.Source)
				}
			}
			if !lists.Same(ders, tc.want) {
				t.Errorf("%d lists, want %d, in the order of the URLs", len(got), len(tc.want))
			}
		})
	}
}
