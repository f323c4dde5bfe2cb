package tokens

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// asked is a judge whose API server knows the tokens good and poor, and counts the questions.
func asked() (j *Judge, questions *int, clock *clocktesting.FakePassiveClock) {
	questions, clock = new(int), clocktesting.NewFakePassiveClock(time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC))
	j = NewJudge(clock, func(_ context.Context, token, path string) (Answer, error) {
		*questions++
		switch {
		case token == "away":
			return Answer{}, errors.New("connection refused")
		case token == "good" && path == "/metrics":
			return Answer{http.StatusOK, "alice"}, nil
		case token == "good", token == "poor":
			return Answer{http.StatusForbidden, "bob"}, nil
		}
		return Answer{Code: http.StatusUnauthorized}, nil
	})
	return j, questions, clock
}

func TestAsk(t *testing.T) {
	for name, test := range map[string]struct {
		path, token string
		want        Answer
		wantErr     bool
	}{
		"a user with the right passes":              {"/metrics", "good", Answer{http.StatusOK, "alice"}, false},
		"the right is for the path":                 {"/debug", "good", Answer{http.StatusForbidden, "bob"}, false},
		"a user without the right does not":         {"/metrics", "poor", Answer{http.StatusForbidden, "bob"}, false},
		"an unknown token does not":                 {"/metrics", "forged", Answer{Code: http.StatusUnauthorized}, false},
		"no token does not":                         {"/metrics", "", Answer{Code: http.StatusUnauthorized}, false},
		"a huge token is not asked about":           {"/metrics", strings.Repeat("x", MaxToken+1), Answer{Code: http.StatusUnauthorized}, false},
		"without the API server nobody passes":      {"/metrics", "away", Answer{Code: http.StatusServiceUnavailable}, true},
		"a token with a path in it is another one":  {"/metrics", "good\x00", Answer{Code: http.StatusUnauthorized}, false},
		"and so is one that ends in another's path": {"/metrics", "good/metrics", Answer{Code: http.StatusUnauthorized}, false},
	} {
		t.Run(name, func(t *testing.T) {
			j, _, _ := asked()
			got, err := j.Ask(t.Context(), test.token, test.path)
			if got != test.want || (err != nil) != test.wantErr {
				t.Errorf("got %+v, %v; want %+v, error %t", got, err, test.want, test.wantErr)
			}
		})
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer good": "good", "bearer good": "good", "BEARER  good ": "good", "Bearer ": "", "Bearer": "", "": "", "Basic good": "", "good": "",
		"Bearer " + strings.Repeat("x", MaxToken+1): "",
	} {
		if got := Bearer(http.Header{"Authorization": {header}}); got != want {
			t.Errorf("%.40q: got %.40q, want %q", header, got, want)
		}
	}
}

func TestAnswersAreRememberedForAMinute(t *testing.T) {
	j, questions, clock := asked()
	ask := func(token string) int {
		answer, _ := j.Ask(t.Context(), token, "/metrics")
		return answer.Code
	}
	for range 10 {
		if ask("good") != http.StatusOK || ask("forged") != http.StatusUnauthorized {
			t.Fatal("the answer changed by being remembered")
		}
	}
	if *questions != 2 {
		t.Errorf("asked %d times, want once for each of two tokens", *questions)
	}
	clock.SetTime(clock.Now().Add(RememberFor))
	if _, known := j.Remembered("good", "/metrics"); known {
		t.Error("an answer is still remembered after a minute")
	}
	ask("good")
	if *questions != 3 {
		t.Errorf("asked %d times, want once more after a minute", *questions)
	}
	// What could not be asked is no answer.
	ask("away")
	ask("away")
	if *questions != 5 {
		t.Errorf("asked %d times, want every time while the API server is away", *questions)
	}
}

func TestMemoryIsLimited(t *testing.T) {
	j, _, _ := asked()
	for i := range 10 * rememberAtMost {
		if _, err := j.Ask(t.Context(), strconv.Itoa(i), "/metrics"); err != nil {
			t.Fatal(err)
		}
		if len(j.answers) > rememberAtMost {
			t.Fatalf("%d answers are kept", len(j.answers))
		}
	}
}
