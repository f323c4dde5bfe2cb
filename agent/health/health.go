package health

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/iis/control"
)

const (
	// CheckTimeout bounds one check.
	CheckTimeout = 5 * time.Second
	// LookTimeout bounds all checks of a look, which run side by side.
	LookTimeout = 8 * time.Second
	// MaxDetail bounds the detail of a result, in bytes.
	MaxDetail = 256
	// listWait is for how long the list of the sites is waited for before bindings that were listed last are used.
	listWait = time.Second
	// secondPause is how long after a bad look the second one of a baseline comes.
	secondPause = time.Second
	// maxListed is how many sites and how many pools are looked at, by name; the rest is not. A server with more would make
	// records of megabytes.
	maxListed = 2048
)

// Options say what a Checker looks at a server with.
type Options struct {
	// Lister lists sites and pools; without one they are not looked at.
	Lister control.Lister
	// Services answers for Windows services.
	Services control.ServiceController
	// Roots judge certificates; nil means those that the machine trusts.
	Roots *x509.CertPool
	// Clock is the real one if nil.
	Clock clock.WithTicker
}

// Checker looks at a server. It is safe for use by several goroutines.
type Checker struct {
	lister   control.Lister
	services control.ServiceController
	roots    *x509.CertPool
	clock    clock.WithTicker
	// Set by tests.
	checkTimeout, lookTimeout time.Duration

	// turn is held by the look that is going on.
	turn chan struct{}

	mu sync.Mutex
	// hanging are checks that have not come back.
	hanging map[string]bool
	// known are the sites that were listed last.
	known []control.Site
}

// New makes a checker.
func New(o Options) *Checker {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &Checker{
		lister: o.Lister, services: o.Services, roots: o.Roots, clock: o.Clock,
		checkTimeout: CheckTimeout, lookTimeout: LookTimeout, turn: make(chan struct{}, 1), hanging: map[string]bool{},
	}
}

// Baseline looks at the server as it is before a change. What does not come out well is looked at once more a second later,
// and the second answer counts: an application that slept has been woken by the first, and would else never be judged. It
// fails only if the context ends, and the results are of no use then.
func (c *Checker) Baseline(ctx context.Context, checks Checks, off SwitchedOff) ([]Result, error) {
	first, err := c.Look(ctx, checks, off)
	if err != nil || !slices.ContainsFunc(first, func(r Result) bool { return !r.OK }) {
		return first, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.clock.After(secondPause):
	}
	return c.Look(ctx, checks, off)
}

// Look looks at the server once: the checks in their order, then the sites and the application pools by name. It takes at most
// LookTimeout. It fails only if the context ends, and the results are of no use then.
func (c *Checker) Look(ctx context.Context, checks Checks, off SwitchedOff) ([]Result, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	within, cancel := context.WithTimeout(ctx, c.lookTimeout)
	defer cancel()
	// Bindings say where to ask.
	listed := make(chan struct{})
	lists := []*call{
		c.start(within, "sites", func(ctx context.Context) []Result { defer close(listed); return c.sites(ctx) }),
		c.start(within, "application pools", func(ctx context.Context) []Result { return c.pools(ctx, off.Pools) }),
	}
	var asked []*call
	ask := func(name string, do func(context.Context) Result) {
		asked = append(asked, c.start(within, name, func(ctx context.Context) []Result {
			r := do(ctx)
			r.Name, r.Detail = name, short(r.Detail)
			return []Result{r}
		}))
	}
	for _, h := range checks.HTTP {
		ask(fmt.Sprintf("http %q", h.Name), func(ctx context.Context) Result { return c.http(ctx, h, c.bindings(ctx, listed)) })
	}
	for _, port := range checks.TCPPorts {
		ask(fmt.Sprintf("TCP port %d", port), func(ctx context.Context) Result { return c.tcp(ctx, port, c.bindings(ctx, listed)) })
	}
	for _, service := range checks.Services {
		if !containsFold(off.Services, service) {
			ask(fmt.Sprintf("service %q", service), func(ctx context.Context) Result { return c.service(ctx, service) })
		}
	}
	var results []Result
	for _, k := range append(asked, lists...) {
		results = append(results, k.wait(within)...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return once(results), nil
}

// bindings gives the sites that are listed in this look, or those that were last if that takes its time.
func (c *Checker) bindings(ctx context.Context, listed <-chan struct{}) []control.Site {
	soon := c.clock.NewTimer(listWait)
	defer soon.Stop()
	select {
	case <-listed:
	case <-soon.C():
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// once drops results of a name that came before, as two checks for the same port.
func once(results []Result) []Result {
	seen := make(map[string]bool, len(results))
	return slices.DeleteFunc(results, func(r Result) bool {
		again := seen[r.Name]
		seen[r.Name] = true
		return again
	})
}

// call is a check under way.
type call struct {
	name string
	came chan []Result
}

// start makes a check beside others. One that hangs since an earlier look is not begun again.
func (c *Checker) start(ctx context.Context, name string, do func(context.Context) []Result) *call {
	k := &call{name: name, came: make(chan []Result, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hanging[name] {
		k.came <- unknown(name, "still no answer to an earlier look")
		return k
	}
	c.hanging[name] = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, c.checkTimeout)
		defer cancel()
		results := do(ctx)
		c.mu.Lock()
		delete(c.hanging, name)
		c.mu.Unlock()
		k.came <- results
	}()
	return k
}

func (k *call) wait(ctx context.Context) []Result {
	select {
	case results := <-k.came:
		return results
	case <-ctx.Done():
	}
	select {
	case results := <-k.came: // both were ready
		return results
	default:
		return unknown(k.name, "no answer in time")
	}
}

func unknown(name, detail string) []Result {
	return []Result{{Name: name, Unknown: true, Detail: detail}}
}

// service asks whether a Windows service runs. One that cannot be asked is unknown, and one that is not there does not run.
func (c *Checker) service(ctx context.Context, name string) Result {
	if c.services == nil {
		return Result{Unknown: true, Detail: "nothing here can tell"}
	}
	s, err := c.services.Query(ctx, name)
	switch {
	case errors.Is(err, control.ErrServiceNotFound):
		return Result{Detail: "not there"}
	case err != nil:
		return Result{Unknown: true, Detail: err.Error()}
	}
	return Result{OK: s.State == control.ServiceRunning, Detail: string(s.State)}
}

// sites looks at every site.
func (c *Checker) sites(ctx context.Context) []Result {
	if c.lister == nil {
		return nil
	}
	sites, err := c.lister.Sites(ctx)
	if err != nil {
		return unlisted("sites", err)
	}
	c.mu.Lock()
	c.known = sites
	c.mu.Unlock()
	results := make([]Result, 0, len(sites)+1)
	for _, s := range sites {
		r := Result{Name: fmt.Sprintf("site %q", s.Name), Detail: string(s.State)}
		r.OK = s.State == control.SiteStarted || s.State == control.SiteStarting
		results = append(results, r)
	}
	return sorted("sites", results)
}

// pools looks at every application pool that is not switched off.
func (c *Checker) pools(ctx context.Context, off []string) []Result {
	if c.lister == nil {
		return nil
	}
	pools, err := c.lister.Pools(ctx)
	if err != nil {
		return unlisted("application pools", err)
	}
	results := make([]Result, 0, len(pools)+1)
	for _, p := range pools {
		if containsFold(off, p.Name) {
			continue
		}
		r := Result{Name: fmt.Sprintf("application pool %q", p.Name), Detail: string(p.State)}
		r.OK = p.State == control.PoolStarted || p.State == control.PoolStarting
		results = append(results, r)
	}
	return sorted("application pools", results)
}

// unlisted is the answer when a list does not come. A service that does not run is bad, anything else says nothing.
func unlisted(list string, err error) []Result {
	return []Result{{Name: list, Unknown: !errors.Is(err, control.ErrPoolsUnavailable), Detail: short(err.Error())}}
}

// sorted sorts what a list has, keeps as many as are looked at, and says first that the list came: the next one may not.
func sorted(list string, results []Result) []Result {
	slices.SortFunc(results, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return append([]Result{{Name: list, OK: true, Detail: "listed"}}, results[:min(len(results), maxListed)]...)
}

func containsFold(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

// short cuts a text to MaxDetail bytes, at the beginning of a character, and to one line.
func short(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "\uFFFD")
	if len(s) <= MaxDetail {
		return s
	}
	const dots = "…"
	end := MaxDetail - len(dots)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + dots
}
