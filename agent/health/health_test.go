package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/iis/control"
)

// fakeLister lists what it is told to.
type fakeLister struct {
	sites []control.Site
	pools []control.Pool
	err   error
}

func (l *fakeLister) Sites(context.Context) ([]control.Site, error) { return l.sites, l.err }
func (l *fakeLister) Pools(context.Context) ([]control.Pool, error) { return l.pools, l.err }

// fakeServices answer by name; one named Hanging does so when it is let go.
type fakeServices struct {
	control.ServiceController
	letGo   chan struct{}
	queries chan string
}

func (s *fakeServices) Query(_ context.Context, name string) (control.Service, error) {
	if s.queries != nil {
		s.queries <- name
	}
	switch name {
	case "Running":
		return control.Service{State: control.ServiceRunning}, nil
	case "Stopped":
		return control.Service{State: control.ServiceStopped}, nil
	case "Missing":
		return control.Service{}, fmt.Errorf("services: %w", control.ErrServiceNotFound)
	case "Hanging":
		<-s.letGo
		return control.Service{State: control.ServiceRunning}, nil
	}
	return control.Service{}, fmt.Errorf("services: %w", control.ErrServiceDenied)
}

func looked(t *testing.T, c *Checker, checks Checks, off SwitchedOff) []string {
	t.Helper()
	results, err := c.Look(t.Context(), checks, off)
	if err != nil {
		t.Fatal(err)
	}
	return texts(results)
}

func texts(results []Result) []string {
	var got []string
	for _, r := range results {
		mark := map[bool]string{true: "+", false: "-"}[r.OK]
		if r.Unknown {
			mark = "?"
		}
		got = append(got, mark+r.Name+": "+r.Detail)
	}
	return got
}

func TestServicesSitesAndPools(t *testing.T) {
	lister := &fakeLister{
		sites: []control.Site{{Name: "Z", State: control.SiteStarted}, {Name: "A", State: control.SiteStopped}, {Name: "B", State: control.SiteStarting}, {Name: "C", State: control.SiteUnknown}},
		pools: []control.Pool{{Name: "OWA", State: control.PoolStopping}, {Name: "ECP", State: control.PoolStopped}, {Name: "OAB", State: control.PoolStarted}},
	}
	c := New(Options{Lister: lister, Services: &fakeServices{}})
	checks := Checks{Services: []string{"Running", "Stopped", "Missing", "Denied", "spooler"}}
	want := []string{
		`+service "Running": Running`, `-service "Stopped": Stopped`, `-service "Missing": not there`,
		`?service "Denied": services: the agent lacks the right to control it`,
		`+sites: listed`, `-site "A": Stopped`, `+site "B": Starting`, `-site "C": Unknown`, `+site "Z": Started`,
		`+application pools: listed`, `+application pool "OAB": Started`, `-application pool "OWA": Stopping`,
	}
	for range 5 { // in the same order each time
		if diff := cmp.Diff(want, looked(t, c, checks, SwitchedOff{Pools: []string{"ecp"}, Services: []string{"Spooler"}})); diff != "" {
			t.Fatal(diff)
		}
	}
	for err, want := range map[error][]string{
		errors.New("broken\npipe"):  {`?sites: broken pipe`, `?application pools: broken pipe`},
		control.ErrPoolsUnavailable: {`-sites: ` + control.ErrPoolsUnavailable.Error(), `-application pools: ` + control.ErrPoolsUnavailable.Error()},
	} {
		lister.err = err
		if diff := cmp.Diff(want, looked(t, c, Checks{}, SwitchedOff{})); diff != "" {
			t.Error(diff)
		}
	}
	if got := looked(t, New(Options{}), Checks{Services: []string{"Running"}}, SwitchedOff{}); got[0] != `?service "Running": nothing here can tell` {
		t.Errorf("without a controller: %q", got)
	}
}

func TestTooManyPoolsAreNotLookedAt(t *testing.T) {
	lister := &fakeLister{}
	for i := range maxListed + 10 {
		lister.pools = append(lister.pools, control.Pool{Name: fmt.Sprint("P", i), State: control.PoolStarted})
	}
	if got := looked(t, New(Options{Lister: lister}), Checks{}, SwitchedOff{}); len(got) != maxListed+2 {
		t.Errorf("%d results", len(got))
	}
}

func TestAHangingCheckHoldsNothingUpAndIsNotBegunTwice(t *testing.T) {
	services := &fakeServices{letGo: make(chan struct{}), queries: make(chan string, 10)}
	c := New(Options{Services: services})
	c.lookTimeout = 50 * time.Millisecond
	checks := Checks{Services: []string{"Hanging", "Running"}}
	for _, want := range []string{`?service "Hanging": no answer in time`, `?service "Hanging": still no answer to an earlier look`} {
		if got := looked(t, c, checks, SwitchedOff{}); got[0] != want || got[1] != `+service "Running": Running` {
			t.Errorf("results %q, want %q", got, want)
		}
	}
	close(services.letGo)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for range 5000 {
		if got := looked(t, c, checks, SwitchedOff{}); got[0] == `+service "Hanging": Running` {
			break
		}
		<-again.C
		for len(services.queries) > 5 {
			<-services.queries
		}
	}
	if got := looked(t, c, checks, SwitchedOff{}); got[0] != `+service "Hanging": Running` {
		t.Errorf("after it came back: %q", got)
	}
}

func TestALookEndsWithItsContext(t *testing.T) {
	services := &fakeServices{letGo: make(chan struct{}), queries: make(chan string, 1)}
	defer close(services.letGo)
	c := New(Options{Services: services})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Look(ctx, Checks{Services: []string{"Hanging"}}, SwitchedOff{})
		done <- err
	}()
	<-services.queries
	// Another look waits for its turn, and no longer than its own context.
	short, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	if _, err := c.Look(short, Checks{}, SwitchedOff{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second look: %v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the first look: %v", err)
	}
}

// instant is a clock on which every pause is over at once, and something happens meanwhile.
type instant struct {
	*clocktesting.FakeClock
	meanwhile func(time.Duration)
}

func (c instant) After(d time.Duration) <-chan time.Time {
	c.meanwhile(d)
	ch := make(chan time.Time, 1)
	ch <- c.Now()
	return ch
}

func TestABaselineLooksTwiceAtWhatIsBad(t *testing.T) {
	lister := &fakeLister{sites: []control.Site{{Name: "A", State: control.SiteStarted}}}
	pauses := 0
	clock := instant{clocktesting.NewFakeClock(time.Unix(0, 0)), func(d time.Duration) {
		if pauses++; d != time.Second {
			t.Errorf("a pause of %s", d)
		}
		lister.sites[0].State = control.SiteStarted
	}}
	c := New(Options{Lister: lister, Clock: clock})
	for i, state := range []control.SiteState{control.SiteStarted, control.SiteStopped} {
		lister.sites[0].State = state
		results, err := c.Baseline(t.Context(), Checks{}, SwitchedOff{})
		if err != nil || pauses != i {
			t.Fatalf("%d pauses, error %v", pauses, err)
		}
		if got := texts(results); got[1] != `+site "A": Started` {
			t.Errorf("results %q", got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	lister.err = errors.New("down")
	c = New(Options{Lister: lister, Clock: instant{clocktesting.NewFakeClock(time.Unix(0, 0)), func(time.Duration) { cancel() }}})
	if results, err := c.Baseline(ctx, Checks{}, SwitchedOff{}); !errors.Is(err, context.Canceled) {
		t.Errorf("results %+v, error %v", results, err)
	}
}

func TestWorseAndLost(t *testing.T) {
	before := []Result{{Name: "good", OK: true}, {Name: "bad"}, {Name: "unknown", Unknown: true}, {Name: "gone", OK: true}, {Name: "lost", OK: true}}
	after := []Result{{Name: "good"}, {Name: "bad"}, {Name: "unknown"}, {Name: "new"}, {Name: "lost", Unknown: true}}
	if diff := cmp.Diff([]Result{{Name: "good"}}, Worse(before, after)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Result{{Name: "lost", Unknown: true}}, Lost(before, after)); diff != "" {
		t.Error(diff)
	}
	if got := Worse(before, before); got != nil {
		t.Errorf("nothing changed: %+v", got)
	}
}

func TestDetailsAreShort(t *testing.T) {
	for _, s := range []string{strings.Repeat("ä", 300), "x" + strings.Repeat("ä", 300), strings.Repeat("x\xff", 300)} {
		if got := short(s); len(got) > MaxDetail || !utf8.ValidString(got) || !strings.HasSuffix(got, "…") {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	}
}

// What nobody asks for costs nothing: a look without checks and without a lister starts two goroutines that end at once.
func BenchmarkLook(b *testing.B) {
	lister := &fakeLister{}
	for i := range 30 {
		lister.pools = append(lister.pools, control.Pool{Name: fmt.Sprint("Pool", i), State: control.PoolStarted})
	}
	c := New(Options{Lister: lister, Services: &fakeServices{}})
	checks := Checks{Services: []string{"Running", "Stopped"}}
	b.ReportAllocs()
	for b.Loop() {
		if results, err := c.Look(b.Context(), checks, SwitchedOff{}); err != nil || len(results) != 34 {
			b.Fatal(len(results), err)
		}
	}
}
