package enroll

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/credential"
	"mitigation.dev/ems/agent/identity"
)

const (
	bootstrapToken = "boot.strap.token"
	agentToken     = "agent.own.token"
)

// cluster answers like an API server, as far as enrolment goes, with one server fe01.
type cluster struct {
	*httptest.Server

	mu        sync.Mutex
	bootstrap bool // the Secret is there
	pool      string
	forbidden bool
	// before is called with "VERB kind" before a request counts, after when it has; what they return as a status is answered.
	before, after func(what string) int
	requests      []string
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{bootstrap: true, pool: "frontends"}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := map[string]string{
		"/api/v1/namespaces/pool-a/serviceaccounts/fe01/token":                  "token",
		"/apis/ems.mitigation.dev/v1alpha1/namespaces/pool-a/poolservers/fe01":  "poolserver",
		"/api/v1/namespaces/pool-a/secrets/" + identity.BootstrapSecret("fe01"): "secret",
	}[r.URL.Path]
	what := r.Method + " " + kind
	c.requests = append(c.requests, what)
	if c.before != nil {
		if status := c.before(what); status != 0 {
			c.fail(w, status)
			return
		}
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token != agentToken && (token != bootstrapToken || !c.bootstrap) {
		c.fail(w, http.StatusUnauthorized)
		return
	}
	if c.forbidden {
		c.fail(w, http.StatusForbidden)
		return
	}
	answer, status := "{}", http.StatusOK
	switch what {
	case "POST token":
		answer = `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{"expirationSeconds":86400},"status":{"token":"` + agentToken + `","expirationTimestamp":"2026-11-23T02:00:00Z"}}`
	case "GET poolserver":
		answer = `{"spec":{"poolName":"` + c.pool + `"}}`
	case "DELETE secret":
		if !c.bootstrap {
			status = http.StatusNotFound
		}
		c.bootstrap = false
	default:
		status = http.StatusNotFound
	}
	if c.after != nil {
		if s := c.after(what); s != 0 {
			status = s
		}
	}
	if status != http.StatusOK {
		c.fail(w, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, answer)
}

func (c *cluster) fail(w http.ResponseWriter, status int) {
	reason := map[int]string{http.StatusUnauthorized: "Unauthorized", http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound"}[status]
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, status)
}

func (c *cluster) ticket(t *testing.T) string {
	t.Helper()
	text, err := identity.Ticket{
		URL: c.URL, CA: []*x509.Certificate{c.Certificate()}, Namespace: "pool-a", Pool: "frontends", Server: "fe01", Token: bootstrapToken,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// run enrols with a clock that does not wait.
func run(t *testing.T, text, stateDir string) (Result, error) {
	t.Helper()
	clk := &clocktesting.FakeClock{}
	clk.SetTime(time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC))
	done := make(chan struct{})
	var result Result
	var err error
	go func() {
		defer close(done)
		result, err = Run(t.Context(), Options{Text: text, StateDir: stateDir, HostName: "fe01", Clock: clk})
	}()
	for {
		select {
		case <-done:
			return result, err
		case <-time.After(time.Millisecond):
			if clk.HasWaiters() {
				clk.Step(trialPause)
			}
		}
	}
}

func TestEnrolment(t *testing.T) {
	c, dir := newCluster(t), t.TempDir()
	text := c.ticket(t)
	result, err := run(t, text, dir)
	if err != nil || result.Already {
		t.Fatalf("Run() = %+v, %v", result, err)
	}
	if c.bootstrap {
		t.Error("the string can be used again")
	}
	there, err := credential.Open(dir).Load()
	if err != nil || there.Token != agentToken || !there.Confirmed || there.String() != "pool-a/fe01" || there.Life != 24*time.Hour {
		t.Errorf("on the disk: %+v, %v", there, err)
	}
	if want := "POST token,GET poolserver,DELETE secret"; strings.Join(c.requests, ",") != want {
		t.Errorf("requests %q, want %q", c.requests, want)
	}
	// Pasted a second time: nothing is asked of anybody.
	if result, err = run(t, text, dir); err != nil || !result.Already || len(c.requests) != 3 {
		t.Errorf("again: %+v, %v, requests %q", result, err, c.requests)
	}
	// On another machine it is of no use.
	if _, err := run(t, text, t.TempDir()); !errors.Is(err, ErrRefused) {
		t.Errorf("elsewhere: %v, want ErrRefused", err)
	}
}

// Whatever step is interrupted, before it counts or after, the same string finishes it.
func TestEnrolmentCanBeRepeatedAfterAnyInterruption(t *testing.T) {
	for _, step := range []string{"POST token", "GET poolserver", "DELETE secret"} {
		for _, when := range []string{"before", "after"} {
			t.Run(when+" "+step, func(t *testing.T) {
				c, dir := newCluster(t), t.TempDir()
				interrupt := func(what string) int {
					if what == step {
						return http.StatusInternalServerError
					}
					return 0
				}
				if when == "before" {
					c.before = interrupt
				} else {
					c.after = interrupt
				}
				text := c.ticket(t)
				if _, err := run(t, text, dir); err == nil {
					t.Fatal("did not fail")
				}
				c.before, c.after = nil, nil
				result, err := run(t, text, dir)
				if err != nil || result.Already || !result.Credential.Confirmed || c.bootstrap {
					t.Errorf("Run() = %+v, %v; the Secret is there: %v", result, err, c.bootstrap)
				}
			})
		}
	}
}

func TestADiskThatCannotBeWrittenLeavesTheStringGood(t *testing.T) {
	c, dir := newCluster(t), t.TempDir()
	blocked := filepath.Join(dir, "credential")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := c.ticket(t)
	if _, err := run(t, text, dir); err == nil || !c.bootstrap {
		t.Fatalf("Run() = %v; the string is still good: %v", err, c.bootstrap)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, text, dir); err != nil {
		t.Error(err)
	}
}

func TestEnrolmentRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(c *cluster)
		text  func(c *cluster) string
		want  error
		says  string
	}{
		"no string": {text: func(*cluster) string { return "hello" }, want: identity.ErrNotATicket},
		"a string of another server": {text: func(c *cluster) string {
			text, err := identity.Ticket{URL: c.URL, CA: []*x509.Certificate{c.Certificate()}, Namespace: "pool-a", Pool: "frontends", Server: "fe02", Token: bootstrapToken}.Encode()
			if err != nil {
				t.Fatal(err)
			}
			return text
		}, want: ErrOtherServer, says: "-server=fe02"},
		"a string that was taken back": {spoil: func(c *cluster) { c.bootstrap = false }, want: ErrRefused, says: "enroll --revoke -n pool-a frontends/fe01"},
		"agents without rights":        {spoil: func(c *cluster) { c.forbidden = true }, want: ErrRights, says: "kubectl create rolebinding ems-agents -n pool-a"},
		"a PoolServer of another pool": {spoil: func(c *cluster) { c.pool = "backends" }, says: `"backends"`},
		"no PoolServer": {spoil: func(c *cluster) {
			c.before = func(what string) int { return map[string]int{"GET poolserver": http.StatusNotFound}[what] }
		}, says: "has no PoolServer pool-a/fe01"},
		"somebody who was faster": {spoil: func(c *cluster) {
			c.before = func(what string) int {
				if what == "DELETE secret" {
					c.bootstrap = false
				}
				return 0
			}
		}, want: ErrUsedTwice, says: "enroll --again"},
	} {
		t.Run(name, func(t *testing.T) {
			c, dir := newCluster(t), t.TempDir()
			if tc.spoil != nil {
				tc.spoil(c)
			}
			text := c.ticket(t)
			if tc.text != nil {
				text = tc.text(c)
			}
			_, err := run(t, text, dir)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("Run() = %v, want %v with %q", err, tc.want, tc.says)
			}
			if err != nil && (strings.Contains(err.Error(), bootstrapToken) || strings.Contains(err.Error(), agentToken)) {
				t.Errorf("the error shows a token: %v", err)
			}
			if there, err := credential.Open(dir).Load(); !errors.Is(err, credential.ErrNone) {
				t.Errorf("something was kept: %v, %v", there, err)
			}
		})
	}
}

// Who sits in between has a certificate that other programs may believe; it gets no token.
func TestAnotherAuthorityGetsNothing(t *testing.T) {
	c, between := newCluster(t), newCluster(t)
	ticket, err := identity.Decode(c.ticket(t))
	if err != nil {
		t.Fatal(err)
	}
	fake := httptest.NewUnstartedServer(between)
	fake.TLS = newIdentity(t)
	fake.StartTLS()
	t.Cleanup(fake.Close)
	ticket.URL = fake.URL
	text, err := ticket.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, text, t.TempDir()); !errors.Is(err, ErrAuthority) {
		t.Errorf("Run() = %v, want ErrAuthority", err)
	}
	if len(between.requests) != 0 {
		t.Errorf("it got %q", between.requests)
	}
}
