package scrape

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// asked is a guard whose API server knows the tokens good and poor, and counts the questions.
func asked() (g *guard, questions *int, moment *time.Time) {
	questions, moment = new(int), &time.Time{}
	*moment = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	g = &guard{now: func() time.Time { return *moment }, answers: map[[sha256.Size]byte]answer{}}
	g.ask = func(_ context.Context, token, path string) (int, error) {
		*questions++
		switch {
		case token == "away":
			return 0, errors.New("connection refused")
		case token == "good" && path == "/metrics":
			return http.StatusOK, nil
		case token == "good", token == "poor":
			return http.StatusForbidden, nil
		}
		return http.StatusUnauthorized, nil
	}
	return g, questions, moment
}

func request(t *testing.T, method, path, authorization string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		method, path, authorization string
		want                        int
		wantErr                     bool
	}{
		"a reader with the right passes":            {"GET", "/metrics", "Bearer good", http.StatusOK, false},
		"the scheme knows no case":                  {"GET", "/metrics", "bearer good", http.StatusOK, false},
		"the right is for the path":                 {"GET", "/debug", "Bearer good", http.StatusForbidden, false},
		"a user without the right does not":         {"GET", "/metrics", "Bearer poor", http.StatusForbidden, false},
		"an unknown token does not":                 {"GET", "/metrics", "Bearer forged", http.StatusUnauthorized, false},
		"nobody does not":                           {"GET", "/metrics", "", http.StatusUnauthorized, false},
		"an empty token does not":                   {"GET", "/metrics", "Bearer ", http.StatusUnauthorized, false},
		"another scheme does not":                   {"GET", "/metrics", "Basic good", http.StatusUnauthorized, false},
		"a huge token is not asked about":           {"GET", "/metrics", "Bearer " + strings.Repeat("x", maxToken+1), http.StatusUnauthorized, false},
		"metrics are read and nothing else":         {"POST", "/metrics", "Bearer good", http.StatusMethodNotAllowed, false},
		"without the API server nobody passes":      {"GET", "/metrics", "Bearer away", http.StatusServiceUnavailable, true},
		"a token with a path in it is another one":  {"GET", "/metrics", "Bearer good\x00", http.StatusUnauthorized, false},
		"and so is one that ends in another's path": {"GET", "/metrics", "Bearer good/metrics", http.StatusUnauthorized, false},
	} {
		t.Run(name, func(t *testing.T) {
			g, _, _ := asked()
			got, err := g.judge(request(t, test.method, test.path, test.authorization))
			if got != test.want || (err != nil) != test.wantErr {
				t.Errorf("got %d, %v; want %d, error %t", got, err, test.want, test.wantErr)
			}
		})
	}
}

func TestAnswersAreRememberedForAMinute(t *testing.T) {
	g, questions, moment := asked()
	judge := func(token string) int {
		code, _ := g.judge(request(t, "GET", "/metrics", "Bearer "+token))
		return code
	}
	for range 10 {
		if judge("good") != http.StatusOK || judge("forged") != http.StatusUnauthorized {
			t.Fatal("the answer changed by being remembered")
		}
	}
	if *questions != 2 {
		t.Errorf("asked %d times, want once for each of two tokens", *questions)
	}
	*moment = moment.Add(rememberFor)
	judge("good")
	if *questions != 3 {
		t.Errorf("asked %d times, want once more after a minute", *questions)
	}
	// What could not be asked is no answer.
	judge("away")
	judge("away")
	if *questions != 5 {
		t.Errorf("asked %d times, want every time while the API server is away", *questions)
	}
}

func TestMemoryIsLimited(t *testing.T) {
	g, _, _ := asked()
	for i := range 10 * rememberAtMost {
		if _, err := g.judge(request(t, "GET", "/metrics", "Bearer "+strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		if len(g.answers) > rememberAtMost {
			t.Fatalf("%d answers are kept", len(g.answers))
		}
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
