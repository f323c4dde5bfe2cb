package credential

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
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
	first := newCredential(t, "first.b.c")
	full := s.source.Store
	s.source.Store = Open(t.TempDir()) // where there is nothing to replace
	s.clock.SetTime(received.Add(12 * time.Hour))
	s.start()
	s.until("the renewal", func() bool { return s.source.grant().Token == "second.b.c" })
	if text := strings.Join(s.log0(), "\n"); !strings.Contains(text, "could not be stored") {
		t.Errorf("log: %s", text)
	}
	if there, err := full.Load(); err != nil || there.Token != first.Token {
		t.Fatalf("on the disk: %s, %v", there.Token, err)
	}
}

// What stands on a disk that was full is older than what is in memory. To take it over would lose the server once it has ended.
func TestADiskThatWasFullDoesNotBringBackWhatEnded(t *testing.T) {
	s := newScene(t)
	next := s.source.credential()
	next.Grant = Grant{Token: "second.b.c", Expires: received.Add(48 * time.Hour), Life: 24 * time.Hour}
	if err := s.source.adopt(next, "first.b.c"); err != nil { // as after a renewal that could not be stored
		t.Fatal(err)
	}
	if changed, err := s.source.look(); changed || err != nil {
		t.Errorf("look() = %v, %v, want no change", changed, err)
	}
	if s.source.grant().Token != "second.b.c" {
		t.Error("the older credential of the disk was taken over")
	}
	if there, err := s.store.Load(); err != nil || there.Token != "second.b.c" || s.source.stored() != "second.b.c" {
		t.Errorf("when there was room again: %s, %v", there.Token, err)
	}
	// And one of an operator is still taken over.
	if err := s.store.Save(newCredentialOf(s.source.who, t, "third.b.c")); err != nil {
		t.Fatal(err)
	}
	if changed, err := s.source.look(); !changed || err != nil || s.source.grant().Token != "third.b.c" {
		t.Errorf("look() = %v, %v", changed, err)
	}
}

func newCredentialOf(who Identity, t *testing.T, token string) Credential {
	c := newCredential(t, token)
	c.Identity = who
	return c
}

func TestADamagedCredentialIsToldWhileTheAgentStillHasOne(t *testing.T) {
	s := newScene(t)
	if err := os.WriteFile(filepath.Join(s.store.dir, fileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if changed, err := s.source.look(); changed || err != nil {
			t.Errorf("look() = %v, %v", changed, err)
		}
	}
	if text := s.log0(); len(text) != 1 || !strings.Contains(text[0], "cannot be read") || s.source.grant().Token != "first.b.c" {
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

// A compressed watch would hold tens of kilobytes on both sides for as long as it lasts.
func TestConnectionsAskForNoCompression(t *testing.T) {
	s := newScene(t)
	asked := make(chan string, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("Accept-Encoding") }))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	transport, dialer, err := s.source.base.trusting(string(ca))
	if err != nil {
		t.Fatal(err)
	}
	defer dialer.CloseAll()
	response, err := (&http.Client{Transport: transport}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got := <-asked; got != "" {
		t.Errorf("Accept-Encoding: %q, want none", got)
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
	config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
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

// A disk that went bad, or a machine whose key is another one, must not end the protection.
func TestADamagedCredentialIsNoReasonNotToStart(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join(newScene(t).store.dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"in part":             strings.Replace(string(whole), `"sealed": "`, `"sealed": "AAAA`, 1),
		"all of it":           "{",
		"of a later version":  strings.Replace(string(whole), `"version": 1`, `"version": 9`, 1),
		"in the certificates": strings.Replace(string(whole), "BEGIN", "BEGAN", 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			if err := os.WriteFile(filepath.Join(s.store.dir, fileName), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			source, err := NewSource(Options{Store: s.store, Renew: s.renew, Clock: s.clock, Random: func() float64 { return 0.5 }, Log: s.log(), Tell: s.tell})
			if err != nil {
				t.Fatal(err)
			}
			if source.Identity().String() != "pool-frontends/fe01" {
				t.Errorf("it is %s", source.Identity())
			}
			client, err := rest.HTTPClientFor(source.Config())
			if err != nil {
				t.Fatal(err)
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, source.Identity().URL+"/api", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("a request without a credential was sent: %v", err)
			}
			s.source = source
			s.start()
			s.until("what to do", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.told) == 1 && strings.Contains(s.told[0], "kubectl mitigation enroll --again -n pool-frontends frontends/fe01")
			})
			if s.requests() != 0 {
				t.Error("a renewal without a credential")
			}
			if err := s.store.Save(newCredentialOf(source.Identity(), t, "anew.b.c")); err != nil {
				t.Fatal(err)
			}
			s.pass(time.Minute, 5*time.Second)
			s.until("the new one", func() bool { return source.grant().Token == "anew.b.c" })
		})
	}
	s := newScene(t)
	if err := errors.Join(os.WriteFile(filepath.Join(s.store.dir, fileName), []byte("{"), 0o600), os.Remove(filepath.Join(s.store.dir, identityName))); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSource(Options{Store: s.store}); !errors.Is(err, ErrDamaged) {
		t.Errorf("NewSource() = %v, want ErrDamaged where nobody knows whose it is", err)
	}
}

func TestTheCopyOfTheIdentityIsMadeAgain(t *testing.T) {
	s := newScene(t)
	file := filepath.Join(s.store.dir, identityName)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewSource(Options{Store: s.store, Log: s.log()}); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, whole) || !strings.Contains(strings.Join(s.log0(), ""), "damaged") {
		t.Errorf("%s, %v; log %q", again, err, s.log0())
	}
	if err := s.store.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the copy is still there: %v", err)
	}
}
