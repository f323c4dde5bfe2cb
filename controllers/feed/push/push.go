package push

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/pause"
)

const (
	// Wait is how long an endpoint is asked to hold a request. Proxies and load balancers commonly cut what is silent for 60 s,
	// and a connection that broke unnoticed is found within this time.
	Wait = 50 * time.Second
	// MaxFeeds is how many feeds are watched at a time. Each costs a connection and some 50 KiB; those beyond are polled.
	MaxFeeds = 64
	// ProbeInterval is how often an endpoint that did not offer push is tried again, at most.
	ProbeInterval = time.Hour
	// MaxPause is the longest pause after errors, or for an endpoint that answers at once again and again.
	MaxPause = 10 * time.Minute
)

const (
	// probeWait is what the first request asks for: a wait all the same, but whether it is offered is known at once.
	probeWait = time.Second
	// minPause is the first pause after an error; it doubles with each further one: 2 s, 4 s … 10 min.
	minPause = 2 * time.Second
	// pauseJitter is the share by which pauses are lengthened at random, so that clusters do not come back together after a
	// restart of an endpoint.
	pauseJitter = 0.5
	// quick is what counts as answering at once.
	quick = 5 * time.Second
	// patience is how many such answers in a row are no reason to hesitate: a publisher may correct what was just published.
	patience = 3
	// lostAfter is the number of errors in a row from which push counts as lost: one broken connection is daily business.
	lostAfter = 3
)

// State is how a feed stands with push.
type State string

// The states.
const (
	// Unknown is that of a feed that is not watched, or whose endpoint has not answered yet.
	Unknown State = ""
	// Connected means that the endpoint holds a request and will tell of a new document.
	Connected State = "Connected"
	// NotOffered means that the endpoint does not hold requests.
	NotOffered State = "NotOffered"
	// Disconnected means that requests fail, or that too many feeds are watched already.
	Disconnected State = "Disconnected"
)

// Target is what to watch for a feed.
type Target struct {
	// Version changes with everything in Request but the ETag; a new version starts anew.
	Version string
	// Request is that of a poll. Its ETag is that of the accepted document; without one nothing can be watched.
	Request fetch.Request
}

// Options are what a Watcher needs.
type Options struct {
	// Notify is called, from several goroutines, when the state of a feed is another one and, with changed, when its endpoint
	// has another document. The context ends with the watching of the feed.
	Notify func(ctx context.Context, name string, changed bool)
	// Get is fetch.Get if nil.
	Get func(ctx context.Context, request fetch.Request) (*fetch.Response, error)
	Log logr.Logger
}

// Watcher watches feeds. It holds no request before Start and none after.
type Watcher struct {
	options Options

	mu    sync.Mutex
	ctx   context.Context //nolint:containedctx // that of Start, for the requests; nil before
	feeds map[string]*watch
	done  sync.WaitGroup
}

// watch is one watched feed. Its fields are guarded by the Watcher's lock.
type watch struct {
	target Target
	// seen is the ETag of the last document that the endpoint told of.
	seen string
	// state is what was notified last.
	state State
	// probed is when push was last not offered.
	probed time.Time
	stop   context.CancelFunc
}

// New returns a watcher that watches nothing yet.
func New(options Options) *Watcher {
	if options.Get == nil {
		options.Get = fetch.Get
	}
	return &Watcher{options: options, feeds: map[string]*watch{}}
}

// NeedLeaderElection says that only the leader watches.
func (w *Watcher) NeedLeaderElection() bool { return true }

// Start watches until the context is done and every request has ended.
func (w *Watcher) Start(ctx context.Context) error {
	w.mu.Lock()
	w.ctx = ctx
	for name, feed := range w.feeds {
		w.run(name, feed)
	}
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	w.ctx = nil // nobody begins to watch while the last ones are waited for
	w.mu.Unlock()
	w.done.Wait()
	return nil
}

// Watch begins to watch a feed, or goes on with what may have changed. It is called with every look at the feed and never blocks.
func (w *Watcher) Watch(name string, target Target) {
	w.mu.Lock()
	defer w.mu.Unlock()
	feed, known := w.feeds[name]
	if known && feed.target.Version != target.Version {
		w.forget(name)
		known = false
	}
	switch {
	case !known:
		feed = &watch{seen: target.Request.ETag, target: target}
		w.feeds[name] = feed
	case target.Request.ETag != feed.target.Request.ETag:
		// A poll has accepted another document. What the endpoint told of meanwhile is that one, or one that is refused.
		feed.target.Request.ETag, feed.seen = target.Request.ETag, target.Request.ETag
	}
	w.run(name, feed)
}

// State returns how a feed stands.
func (w *Watcher) State(name string) State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if feed, known := w.feeds[name]; known {
		return feed.state
	}
	return Unknown
}

// Forget stops watching a feed.
func (w *Watcher) Forget(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(name)
}

func (w *Watcher) forget(name string) {
	if feed, known := w.feeds[name]; known {
		if feed.stop != nil {
			feed.stop()
		}
		delete(w.feeds, name)
	}
}

// run starts the requests of a feed, with the lock held, if it can be watched and it is time to.
func (w *Watcher) run(name string, feed *watch) {
	switch {
	case feed.stop != nil || w.ctx == nil || w.ctx.Err() != nil:
		return
	case feed.seen == "":
		feed.state = NotOffered // who does not name its documents cannot be asked for another
		return
	case !feed.probed.IsZero() && time.Since(feed.probed) < ProbeInterval:
		return
	case w.running() >= MaxFeeds:
		feed.state = Disconnected
		return
	}
	ctx, stop := context.WithCancel(w.ctx)
	feed.stop = stop
	w.done.Go(func() {
		defer stop()
		w.loop(ctx, name, feed)
	})
}

func (w *Watcher) running() (n int) {
	for _, feed := range w.feeds {
		if feed.stop != nil {
			n++
		}
	}
	return n
}

// streak counts what decides on the pause before the next request.
type streak struct {
	// confirmed says that the endpoint has held a request, or said that it would.
	confirmed bool
	// failures is the number of requests in a row that failed or were not held although earlier ones were.
	failures int
	// quick is the number of held requests in a row that were answered at once.
	quick int
}

// loop holds one request after the other until the feed is forgotten or push turns out not to be offered.
func (w *Watcher) loop(ctx context.Context, name string, feed *watch) {
	var s streak
	for ctx.Err() == nil {
		length, goOn := w.ask(ctx, name, feed, &s)
		if !goOn || pause.For(ctx, length) != nil {
			return
		}
	}
}

// ask makes one request and returns how long to wait before the next one, or that there shall be none.
func (w *Watcher) ask(ctx context.Context, name string, feed *watch, s *streak) (pause time.Duration, goOn bool) {
	request := w.request(feed, s.confirmed)
	asked := time.Now()
	response, err := w.options.Get(ctx, request)
	if ctx.Err() != nil {
		return 0, false
	}
	if err != nil {
		s.failures++
		w.options.Log.V(1).Info("Push failed", "MitigationFeed", name, "failures", s.failures, "cause", err.Error())
		if s.failures >= lostAfter {
			w.report(ctx, name, feed, Disconnected, false)
		}
		return backOff(s.failures), true
	}
	changed := w.note(feed, request.ETag, response)
	switch {
	case response.Waits && response.ETag != "":
		w.report(ctx, name, feed, Connected, changed)
		s.failures = 0
		if s.confirmed && time.Since(asked) < quick {
			s.quick++
		} else {
			s.quick = 0
		}
		s.confirmed = true
		return backOff(s.quick - patience), true
	case s.confirmed && s.failures < lostAfter:
		// It held requests before: perhaps too many clients wait just now.
		s.failures++
		w.report(ctx, name, feed, Connected, changed)
		return backOff(s.failures), true
	}
	w.giveUp(feed)
	w.report(ctx, name, feed, NotOffered, changed)
	return 0, false
}

func (w *Watcher) request(feed *watch, confirmed bool) fetch.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	request := feed.target.Request
	request.ETag, request.Wait = feed.seen, probeWait
	if confirmed {
		request.Wait = Wait
	}
	return request
}

// note keeps which document an answer told of and reports whether it is another one than that asked from.
func (w *Watcher) note(feed *watch, asked string, response *fetch.Response) (changed bool) {
	if response.NotModified || response.ETag == asked {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if feed.seen == asked {
		feed.seen = response.ETag
	}
	return true
}

// giveUp ends the watching until ProbeInterval is over.
func (w *Watcher) giveUp(feed *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	feed.probed, feed.stop = time.Now(), nil
}

// report notes the state and tells of news.
func (w *Watcher) report(ctx context.Context, name string, feed *watch, state State, changed bool) {
	w.mu.Lock()
	news := changed || feed.state != state
	feed.state = state
	w.mu.Unlock()
	if news && ctx.Err() == nil {
		w.options.Notify(ctx, name, changed)
	}
}

// backOff is the pause after n failures in a row.
func backOff(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	pause := minPause
	for i := 1; i < n && pause < MaxPause; i++ {
		pause *= 2
	}
	pause = min(pause, MaxPause)
	return pause + time.Duration(rand.Float64()*pauseJitter*float64(pause)) //nolint:gosec // to spread load, no secret
}
