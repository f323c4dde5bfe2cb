package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	testclock "k8s.io/utils/clock/testing"
)

// scene is a source that runs, with a clock and an API server that tests move.
type scene struct {
	t      *testing.T
	clock  *testclock.FakeClock
	store  Store
	source *Source
	ended  chan error

	mu      sync.Mutex
	answer  func(Credential) (Grant, error)
	asked   []time.Time
	written []string
	told    []string
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, clock: testclock.NewFakeClock(received), store: Open(t.TempDir()), ended: make(chan error, 1)}
	if err := s.store.Save(newCredential(t, "first.b.c")); err != nil {
		t.Fatal(err)
	}
	s.grant("second.b.c")
	var err error
	s.source, err = NewSource(Options{Store: s.store, Renew: s.renew, Clock: s.clock, Random: func() float64 { return 0.5 }, Log: s.log(), Tell: s.tell})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) log() logr.Logger {
	return funcr.New(func(_, line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.written = append(s.written, line)
	}, funcr.Options{})
}

func (s *scene) tell(good bool, sentence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, fmt.Sprintf("%v: %s", good, sentence))
}

func (s *scene) renew(_ context.Context, present Credential) (Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, s.clock.Now())
	return s.answer(present)
}

// grant makes the API server give this token, fail makes it answer with an error.
func (s *scene) grant(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(Credential) (Grant, error) {
		return Grant{Token: token, Expires: s.clock.Now().Add(24 * time.Hour), Life: 24 * time.Hour}, nil
	}
}

func (s *scene) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = func(Credential) (Grant, error) { return Grant{}, err }
}

func (s *scene) start() {
	ctx, cancel := context.WithCancel(s.t.Context())
	go func() { s.ended <- s.source.Run(ctx) }()
	s.t.Cleanup(cancel)
}

// until waits for something that goroutines bring about.
func (s *scene) until(what string, is func() bool) {
	s.t.Helper()
	for range 5000 {
		if is() {
			return
		}
		<-time.After(time.Millisecond)
	}
	s.t.Fatalf("%s: did not happen; log:\n%s", what, strings.Join(s.log0(), "\n"))
}

func (s *scene) log0() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.written...)
}

func (s *scene) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// pass lets time go by in steps, each of which the source has seen.
func (s *scene) pass(length, step time.Duration) {
	s.t.Helper()
	for ; length > 0; length -= step {
		s.until("waiting", s.clock.HasWaiters)
		s.clock.Step(min(step, length))
	}
	s.until("waiting", s.clock.HasWaiters)
}

func TestATokenIsRenewedAtHalfOfItsLife(t *testing.T) {
	s := newScene(t)
	s.start()
	s.pass(11*time.Hour+50*time.Minute, 5*time.Minute)
	if s.requests() != 0 || s.source.grant().Token != "first.b.c" {
		t.Fatalf("renewed too early: %d requests", s.requests())
	}
	s.pass(20*time.Minute, 5*time.Minute)
	s.until("the renewal", func() bool { return s.source.grant().Token == "second.b.c" })
	there, err := s.store.Load()
	if err != nil || there.Token != "second.b.c" || !there.Received.Equal(received.Add(12*time.Hour)) || there.Server != "fe01" || !there.Confirmed {
		t.Errorf("on the disk: %+v of %v, %v", there, there.Received, err)
	}
	if got := s.source.Expiry(); !got.Equal(received.Add(36 * time.Hour)) {
		t.Errorf("Expiry() = %v", got)
	}
	s.grant("third.b.c")
	s.pass(12*time.Hour, 5*time.Minute)
	s.until("the next renewal", func() bool { return s.source.grant().Token == "third.b.c" })
	if s.requests() != 2 {
		t.Errorf("%d requests, want 2", s.requests())
	}
	if want := "true: Server pool-frontends/fe01 has a new credential for the cluster, which ends at 2026-11-23 14:"; len(s.told) != 2 || !strings.HasPrefix(s.told[0], want) {
		t.Errorf("told %q, want %q", s.told, want)
	}
}

func TestRenewalsAreSpread(t *testing.T) {
	c := newCredential(t, "a.b.c")
	for random, want := range map[float64]time.Duration{0: 10*time.Hour + 48*time.Minute, 0.5: 12 * time.Hour, 1: 13*time.Hour + 12*time.Minute} {
		if got := renewalOf(c, random).Sub(c.Received); got != want {
			t.Errorf("renewalOf(%v) = %v, want %v", random, got, want)
		}
	}
}

func TestPausesGrowAndAreBounded(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 30 * time.Second, 2: time.Minute, 5: 8 * time.Minute, 6: 10 * time.Minute, 1000: 10 * time.Minute} {
		if got := pauseAfter(failures, 1); got != want {
			t.Errorf("pauseAfter(%d) = %v, want %v", failures, got, want)
		}
		if got := pauseAfter(failures, 0); got != time.Second {
			t.Errorf("pauseAfter(%d) at its least = %v, want 1s", failures, got)
		}
	}
}

func TestAnAbsentAPIServerIsTriedAgain(t *testing.T) {
	s := newScene(t)
	s.fail(errors.New("connection refused"))
	s.start()
	s.pass(13*time.Hour, time.Minute)
	if n := s.requests(); n < 5 || n > 30 {
		t.Errorf("%d requests in an hour, want some", n)
	}
	if s.source.Problem() == nil || s.source.grant().Token != "first.b.c" {
		t.Errorf("problem %v, token %s", s.source.Problem(), s.source.grant().Token)
	}
	if n := strings.Count(strings.Join(s.log0(), "\n"), "connection refused"); n != 1 {
		t.Errorf("the same problem stands in the log %d times", n)
	}
	s.grant("second.b.c")
	s.pass(11*time.Minute, time.Minute)
	s.until("the renewal", func() bool { return s.source.grant().Token == "second.b.c" })
	if s.source.Problem() != nil {
		t.Errorf("problem %v stays", s.source.Problem())
	}
}

func TestACredentialThatHasEndedSaysWhatToDo(t *testing.T) {
	for name, err := range map[string]error{
		"refused":      apierrors.NewUnauthorized("Unauthorized"),
		"unreachable":  errors.New("connection refused"),
		"without role": apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts/token"}, "fe01", errors.New("no")),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.clock.SetTime(received.Add(30 * time.Hour)) // it was off
			s.fail(err)
			s.start()
			s.until("an attempt", func() bool { return len(s.log0()) > 0 })
			want := "kubectl mitigation enroll --again -n pool-frontends frontends/fe01"
			if name == "without role" {
				want = "kubectl create rolebinding ems-agents -n pool-frontends"
			}
			if text := s.log0()[0]; !strings.Contains(text, want) {
				t.Errorf("log: %s, want %q", text, want)
			}
			s.until("waiting", s.clock.HasWaiters)
			s.mu.Lock()
			told := strings.Join(s.told, "\n")
			s.mu.Unlock()
			if want := "false: The credential of server pool-frontends/fe01 has ended"; strings.HasPrefix(told, want) != (name != "without role") {
				t.Errorf("told %q, want %q", told, want)
			}
			if strings.Contains(strings.Join(s.log0(), ""), "first.b.c") {
				t.Error("the log shows the token")
			}
		})
	}
}

func TestAClockThatWasSetBackDoesNotHoldRenewalUp(t *testing.T) {
	s := newScene(t)
	s.clock.SetTime(received.Add(-24 * time.Hour))
	s.start()
	s.until("the renewal", func() bool { return s.source.grant().Token == "second.b.c" })
	if there, err := s.store.Load(); err != nil || !there.Received.Equal(received.Add(-24*time.Hour)) {
		t.Errorf("received %v, %v", there.Received, err)
	}
}

func TestARefusalIsAnsweredByOneAttemptAtOnce(t *testing.T) {
	s := newScene(t)
	s.fail(apierrors.NewUnauthorized("Unauthorized"))
	s.start()
	s.until("waiting", s.clock.HasWaiters)
	for range 10 {
		s.source.refuse("first.b.c")
	}
	s.until("an attempt", func() bool { return s.requests() == 1 })
	s.until("waiting", s.clock.HasWaiters)
	s.source.refuse("first.b.c")
	if s.requests() != 1 {
		t.Errorf("%d attempts", s.requests())
	}
	s.grant("second.b.c")
	s.pass(time.Minute, 15*time.Second)
	s.until("the renewal", func() bool { return s.source.grant().Token == "second.b.c" })
	// The answer to a request that went out before says nothing of the new token.
	n := s.requests()
	s.source.refuse("first.b.c")
	s.pass(5*time.Minute, time.Minute)
	if s.requests() != n {
		t.Error("an old refusal was taken for one of the new token")
	}
}

func TestACredentialThatWasEnrolledAnewIsTakenOver(t *testing.T) {
	s := newScene(t)
	s.fail(apierrors.NewUnauthorized("Unauthorized"))
	s.start()
	s.source.refuse("first.b.c")
	s.until("an attempt", func() bool { return s.requests() == 1 })
	s.until("waiting", s.clock.HasWaiters)
	next := newCredential(t, "anew.b.c")
	next.CA, next.Received = s.source.Identity().CA, s.clock.Now()
	if err := s.store.Save(next); err != nil {
		t.Fatal(err)
	}
	s.pass(refusedLook, refusedLook)
	s.until("the new one", func() bool { return s.source.grant().Token == "anew.b.c" })
}

func TestARenewalDoesNotOverwriteAnEnrolment(t *testing.T) {
	s := newScene(t)
	next := newCredential(t, "anew.b.c")
	next.CA, next.Received = s.source.Identity().CA, received.Add(12*time.Hour)
	s.mu.Lock()
	s.answer = func(Credential) (Grant, error) { // the enrolment comes while the request is under way
		return Grant{Token: "second.b.c", Expires: received, Life: time.Hour}, s.store.Save(next)
	}
	s.mu.Unlock()
	s.clock.SetTime(received.Add(12 * time.Hour))
	s.start()
	s.until("the new one", func() bool { return s.source.grant().Token == "anew.b.c" })
	if there, err := s.store.Load(); err != nil || there.Token != "anew.b.c" {
		t.Errorf("on the disk: %s, %v", there.Token, err)
	}
}

func TestAnotherIdentityEndsTheAgent(t *testing.T) {
	s := newScene(t)
	other := newCredential(t, "other.b.c")
	other.Server = "fe02"
	if err := s.store.Save(other); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.source.refuse("first.b.c")
	select {
	case err := <-s.ended:
		if !errors.Is(err, ErrOther) {
			t.Errorf("Run() = %v, want ErrOther", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the agent went on as another server")
	}
}

func TestADiskThatIsFullDoesNotStopRenewal(t *testing.T) {
	s := newScene(t)
	s.source.Store = Open(t.TempDir()) // where there is nothing to replace
	s.clock.SetTime(received.Add(12 * time.Hour))
	s.start()
	s.until("the renewal", func() bool { return s.source.grant().Token == "second.b.c" })
	if text := strings.Join(s.log0(), "\n"); !strings.Contains(text, "could not be stored") {
		t.Errorf("log: %s", text)
	}
}

func TestNewSourceWithoutACredential(t *testing.T) {
	if _, err := NewSource(Options{Store: Open(t.TempDir())}); !errors.Is(err, ErrNone) {
		t.Errorf("NewSource() = %v, want ErrNone", err)
	}
}

func TestRequestsCarryTheTokenToTheAPIServerOnly(t *testing.T) {
	s := newScene(t)
	var seen []string
	status := http.StatusOK
	next := roundTripper(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r.URL.Host+" "+r.Header.Get("Authorization"))
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(""))}, nil
	})
	wrapped := s.source.Wrap(next)
	send := func(url string) {
		t.Helper()
		request := httptest.NewRequest(http.MethodGet, url, http.NoBody)
		response, err := wrapped.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if request.Header.Get("Authorization") != "" {
			t.Error("the caller's request was changed")
		}
	}
	send("https://api.contoso.example:6443/api")
	send("https://elsewhere.example/api")
	send("http://api.contoso.example:6443/api")
	want := "api.contoso.example:6443 Bearer first.b.c|elsewhere.example |api.contoso.example:6443 "
	if got := strings.Join(seen, "|"); got != want {
		t.Errorf("seen %q, want %q", got, want)
	}
	status = http.StatusUnauthorized
	send("https://elsewhere.example/api")
	if s.source.refused {
		t.Error("another server's refusal was taken for one of the API server")
	}
	send("https://api.contoso.example:6443/api")
	if !s.source.refused {
		t.Error("the refusal was not noticed")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The API server of this test stands for one that caps what is granted, and one whose policy does not allow a ceiling any more.
func TestRequestTakesWhatIsGranted(t *testing.T) {
	var bodies []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path != "/api/v1/namespaces/pool-frontends/serviceaccounts/fe01/token":
			w.WriteHeader(http.StatusNotFound)
		case strings.Contains(string(body), "604800"):
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
		default:
			fmt.Fprint(w, `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"expirationSeconds":3600},"status":{"token":"x.y.z","expirationTimestamp":"2026-11-22T04:00:00Z"}}`)
		}
	}))
	defer server.Close()
	s := newScene(t)
	config := s.source.Config()
	config.Host, config.TLSClientConfig.CAData, config.Insecure = server.URL, nil, true
	config.ContentType = "application/json"
	grant, err := Request(t.Context(), config, s.source.Identity(), 7*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if grant.Token != "x.y.z" || grant.Life != time.Hour || !grant.Expires.Equal(time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)) {
		t.Errorf("granted %+v", grant)
	}
	if len(bodies) != 2 || !strings.Contains(bodies[1], `"expirationSeconds":86400`) || !strings.Contains(bodies[1], `"name":"fe01-agent"`) {
		t.Errorf("asked for %q", bodies)
	}
}
