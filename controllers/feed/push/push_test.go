package push_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/controllers/feed/push"
	"mitigation.dev/ems/internal/fetch"
)

// endpoint is one that waits, in the time of the test.
type endpoint struct {
	mu      sync.Mutex
	etag    string
	changed chan struct{}
	// plain answers at once and says nothing of waiting.
	plain bool
	// broken fails every request.
	broken bool
	// restless has another document with every request.
	restless bool
	// asked are the requests: "0s v1 wait 1s".
	asked   []string
	began   time.Time
	waiting int
}

func newEndpoint() *endpoint {
	return &endpoint{etag: "v1", changed: make(chan struct{}), began: time.Now()}
}

func (e *endpoint) publish(etag string) {
	e.set(func() { e.etag = etag })
}

// set changes what the endpoint does and wakes those who wait.
func (e *endpoint) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *endpoint) requests() (asked []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	asked, e.asked = e.asked, nil
	return asked
}

func (e *endpoint) get(ctx context.Context, request fetch.Request) (*fetch.Response, error) {
	e.mu.Lock()
	e.asked = append(e.asked, fmt.Sprintf("%s %s wait %s", time.Since(e.began).Truncate(time.Second), request.ETag, request.Wait))
	e.waiting++
	defer func() { e.waiting--; e.mu.Unlock() }()
	end := time.After(request.Wait)
	for e.etag == request.ETag && !e.plain && !e.broken && !e.restless {
		changed := e.changed
		e.mu.Unlock()
		over := false
		select {
		case <-ctx.Done():
			over = true
		case <-end:
			over = true
		case <-changed:
		}
		e.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if over {
			return &fetch.Response{NotModified: true, ETag: request.ETag, Waits: true}, nil
		}
	}
	switch {
	case e.broken:
		return nil, errors.New("broken")
	case e.restless:
		e.etag = fmt.Sprintf("v%d", time.Now().UnixNano())
	}
	response := &fetch.Response{ETag: e.etag, NotModified: e.etag == request.ETag, Waits: !e.plain}
	if !response.NotModified {
		response.Body = []byte("<EOCS/>")
	}
	return response, nil
}

// bench is a watcher under test and what it told of.
type bench struct {
	*push.Watcher

	endpoint *endpoint
	mu       sync.Mutex
	news     []string
	end      func()
}

// newBench starts a watcher. To be called within a bubble of synctest.
func newBench(t *testing.T) *bench {
	b := &bench{endpoint: newEndpoint()}
	b.Watcher = push.New(push.Options{
		Get: b.endpoint.get,
		Notify: func(_ context.Context, name string, changed bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.news = append(b.news, fmt.Sprintf("%s %s %s changed %t", time.Since(b.endpoint.began).Truncate(time.Second), name, b.State(name), changed))
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.Start(ctx) }()
	synctest.Wait()
	b.end = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Start() = %v", err)
		}
		if b.endpoint.waiting != 0 {
			t.Errorf("%d requests are open after the end", b.endpoint.waiting)
		}
	}
	return b
}

// after lets time pass and returns what was told of meanwhile.
func (b *bench) after(d time.Duration) (news []string) {
	<-time.After(d)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	news, b.news = b.news, nil
	return news
}

func accepted(etag string) push.Target {
	return push.Target{Version: "1", Request: fetch.Request{URL: "https://feed.contoso.com", ETag: etag}}
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestNewsArriveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.Watch("contoso", accepted("v1"))
		want(t, "told while nothing changes", b.after(2*time.Minute), "1s contoso Connected changed false")
		want(t, "requests: one to find out, then long ones", b.endpoint.requests(), "0s v1 wait 1s", "1s v1 wait 50s", "51s v1 wait 50s", "1m41s v1 wait 50s")

		b.endpoint.publish("v2")
		want(t, "told of news", b.after(0), "2m0s contoso Connected changed true")
		b.Watch("contoso", accepted("v2"))
		want(t, "told after the poll", b.after(time.Minute))
		want(t, "requests go on from the new document", b.endpoint.requests(), "2m0s v2 wait 50s", "2m50s v2 wait 50s")
	})
}

func TestADocumentThatIsRefusedIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.Watch("contoso", accepted("v1"))
		b.after(10 * time.Second)
		b.endpoint.publish("bad")
		want(t, "told", b.after(0), "10s contoso Connected changed true")
		b.Watch("contoso", accepted("v1")) // it was refused
		want(t, "told again", b.after(10*time.Minute))
		b.endpoint.publish("v2")
		want(t, "told of the next one", b.after(0), "10m10s contoso Connected changed true")
	})
}

func TestAPlainEndpointIsAskedOnceInAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.endpoint.plain = true
		var told []string
		for range 181 {
			b.Watch("contoso", accepted("v1"))
			told = append(told, b.after(time.Minute)...)
		}
		want(t, "told", told, "0s contoso NotOffered changed false")
		want(t, "requests", b.endpoint.requests(), "0s v1 wait 1s", "1h0m0s v1 wait 1s", "2h0m0s v1 wait 1s", "3h0m0s v1 wait 1s")

		b.endpoint.set(func() { b.endpoint.plain = false })
		b.after(time.Hour)
		b.Watch("contoso", accepted("v1"))
		want(t, "told when it is offered from now on", b.after(2*time.Second), "4h1m1s contoso Connected changed false")
	})
}

func TestAPlainEndpointMayBringNewsAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.endpoint.plain = true
		b.endpoint.publish("v2")
		b.Watch("contoso", accepted("v1"))
		want(t, "told", b.after(0), "0s contoso NotOffered changed true")
	})
}

func TestAnEndpointWithoutEntityTagsIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.Watch("contoso", accepted(""))
		want(t, "told", b.after(time.Hour))
		want(t, "requests", b.endpoint.requests())
		if got := b.State("contoso"); got != push.NotOffered {
			t.Errorf("state %q, want NotOffered", got)
		}
	})
}

func TestErrorsAreFollowedByGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.Watch("contoso", accepted("v1"))
		b.after(10 * time.Second)
		b.endpoint.set(func() { b.endpoint.broken = true })
		told := b.after(24 * time.Hour)
		if len(told) != 1 || told[0][len(told[0])-len("contoso Disconnected changed false"):] != "contoso Disconnected changed false" {
			t.Errorf("told %q, want once that it is disconnected", told)
		}
		// 10 min to 15 min apart at the end, and some ten more at the beginning.
		if n := len(b.endpoint.requests()); n < 96 || n > 160 {
			t.Errorf("%d requests in a day to an endpoint that is down, want about one in 12 minutes", n)
		}
		b.endpoint.set(func() { b.endpoint.broken = false; b.endpoint.etag = "v2" })
		told = b.after(16 * time.Minute)
		if len(told) != 1 || told[0][len(told[0])-len("contoso Connected changed true"):] != "contoso Connected changed true" {
			t.Errorf("told %q, want that it is back, with news", told)
		}
	})
}

func TestAnEndpointThatAlwaysHasNewsIsAskedEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.endpoint.restless = true
		b.Watch("contoso", accepted("v1"))
		if n := len(b.after(24 * time.Hour)); n < 96 || n > 160 {
			t.Errorf("%d polls caused in a day, want about one in 12 minutes", n)
		}
	})
}

func TestAnEndpointThatStopsWaitingIsTriedAgainAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.Watch("contoso", accepted("v1"))
		b.after(10 * time.Second)
		b.endpoint.set(func() { b.endpoint.plain = true })
		b.after(time.Second)
		b.endpoint.set(func() { b.endpoint.plain = false })
		want(t, "told of a moment without", b.after(time.Minute))

		b.endpoint.set(func() { b.endpoint.plain = true })
		told := b.after(10 * time.Minute)
		if len(told) != 1 || b.State("contoso") != push.NotOffered {
			t.Errorf("told %q, state %q, want once that it is no longer offered", told, b.State("contoso"))
		}
	})
}

func TestWatchingEndsWithTheFeedOrAnotherVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		b.Watch("contoso", accepted("v1"))
		b.after(10 * time.Second)
		b.endpoint.requests()

		changed := accepted("v1")
		changed.Version = "2"
		b.Watch("contoso", changed)
		b.after(2 * time.Second)
		want(t, "requests of the new version", b.endpoint.requests(), "10s v1 wait 1s", "11s v1 wait 50s")
		if b.endpoint.waiting != 1 {
			t.Errorf("%d requests are open, want that of the new version alone", b.endpoint.waiting)
		}

		b.Forget("contoso")
		b.endpoint.publish("v2")
		want(t, "told after the end", b.after(time.Hour))
		want(t, "requests after the end", b.endpoint.requests())
		if got := b.State("contoso"); got != push.Unknown {
			t.Errorf("state %q of a feed that is gone", got)
		}
	})
}

func TestNoMoreThanSoManyFeedsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.end()
		for n := range push.MaxFeeds {
			b.Watch(fmt.Sprintf("feed-%d", n), accepted("v1"))
		}
		b.Watch("another", accepted("v1"))
		b.after(2 * time.Second)
		if b.endpoint.waiting != push.MaxFeeds || b.State("another") != push.Disconnected {
			t.Errorf("%d requests are open and the last feed is %q, want %d and Disconnected", b.endpoint.waiting, b.State("another"), push.MaxFeeds)
		}
		b.Forget("feed-0")
		b.after(0)
		b.Watch("another", accepted("v1"))
		want(t, "told when there is room", b.after(2*time.Second), "3s another Connected changed false")
	})
}

func TestWhatIsWatchedBeforeTheStartBeginsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint()
		var told int
		w := push.New(push.Options{Get: e.get, Notify: func(context.Context, string, bool) { told++ }})
		w.Watch("contoso", accepted("v1"))
		synctest.Wait()
		want(t, "requests before the start", e.requests())
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := w.Start(ctx); err != nil || told != 1 {
			t.Errorf("Start() = %v after telling %d times, want that it is connected", err, told)
		}
		w.Watch("fabrikam", accepted("v1"))
		synctest.Wait()
		if e.waiting != 0 {
			t.Errorf("%d requests are open after the end", e.waiting)
		}
	})
}
