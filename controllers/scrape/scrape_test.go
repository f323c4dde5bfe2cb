package scrape

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/controllers/tokens"
)

func TestWhoReadsMetrics(t *testing.T) {
	judge := tokens.NewJudge(clock.RealClock{}, func(_ context.Context, token, path string) (tokens.Answer, error) {
		switch {
		case token == "away":
			return tokens.Answer{}, errors.New("connection refused")
		case token == "good" && path == "/metrics":
			return tokens.Answer{Code: http.StatusOK}, nil
		case token == "good", token == "poor":
			return tokens.Answer{Code: http.StatusForbidden}, nil
		}
		return tokens.Answer{Code: http.StatusUnauthorized}, nil
	})
	const served = http.StatusTeapot
	handler, err := filter(judge)(logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(served) }))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		method, path, authorization string
		want                        int
	}{
		"a reader with the right passes":       {"GET", "/metrics", "Bearer good", served},
		"the scheme knows no case":             {"GET", "/metrics", "bearer good", served},
		"the right is for the path":            {"GET", "/debug", "Bearer good", http.StatusForbidden},
		"a user without the right does not":    {"GET", "/metrics", "Bearer poor", http.StatusForbidden},
		"an unknown token does not":            {"GET", "/metrics", "Bearer forged", http.StatusUnauthorized},
		"nobody does not":                      {"GET", "/metrics", "", http.StatusUnauthorized},
		"another scheme does not":              {"GET", "/metrics", "Basic good", http.StatusUnauthorized},
		"metrics are read and nothing else":    {"POST", "/metrics", "Bearer good", http.StatusMethodNotAllowed},
		"without the API server nobody passes": {"GET", "/metrics", "Bearer away", http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), test.method, test.path, nil)
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.want {
				t.Errorf("got %d, want %d", w.Code, test.want)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	if err := (Options{Address: "0", CertDir: "/certificates"}).Validate(); err == nil {
		t.Error("certificates for nothing are no error")
	}
	for _, o := range []Options{{Address: "0"}, {Address: ":8443"}, {Address: ":8443", CertDir: "/certificates"}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestProfilesAreForWhoeverIsInsideAlone(t *testing.T) {
	for address, want := range map[string]bool{
		"": true, "0": true, "localhost:6060": true, "127.0.0.1:6060": true, "[::1]:6060": true,
		":6060": false, "0.0.0.0:6060": false, "10.0.0.1:6060": false, "manager:6060": false, "localhost": false,
	} {
		if err := ValidateProfiles(address); (err == nil) != want {
			t.Errorf("ValidateProfiles(%q) = %v, want it to be fine = %t", address, err, want)
		}
	}
}
