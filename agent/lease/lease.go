package lease

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"mitigation.dev/ems/internal/heartbeat"
)

const (
	// minPeriod is the least that a plan can ask for.
	minPeriod = 10 * time.Second
	// spread is how much later than due a renewal may come, as a part of the period.
	spread = 0.1
	// firstPause is the longest pause after the first failure, or firstShare of the period if that is more; it doubles with every
	// further one. Leases of a large fleet have long periods because they are a load; when an API server falls behind, ten tries within
	// the first minute would be ten times that load.
	firstPause = time.Second
	firstShare = 20
	// minTimeout limits one renewal, or timeoutShare of the period if that is more: whoever gives up has the API server do the work in
	// vain, and again. It is no longer than the shortest period.
	minTimeout   = 10 * time.Second
	timeoutShare = 4
	// tellAgain is how long nobody is told of the same thing again.
	tellAgain = time.Hour
)

// Leases are the Leases of the server's namespace.
type Leases interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*coordinationv1.Lease, error)
}

// Options of a Keeper. All are required but Holder, Log, Random and Shared.
type Options struct {
	Leases Leases
	// Server is the name of the Lease.
	Server string
	// Holder is what no other process calls itself. Default: Server.
	Holder string
	// Shared is told, once an hour at most, that somebody else renews the Lease too, and what that one calls itself. Default: nothing.
	Shared func(other string)
	Clock  clock.WithTicker
	Log    logr.Logger
	// Random gives numbers from 0 up to 1. Default: those of math/rand.
	Random func() float64
}

// Keeper renews the Lease of a server.
type Keeper struct {
	Options

	changed chan struct{}
	mu      sync.Mutex
	period  time.Duration

	// version is that of the Lease after the last renewal; empty if it is not known. told is when Shared was told. Of Run alone.
	version string
	told    time.Time
}

// New makes a Keeper; Run starts it.
func New(o Options) *Keeper {
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Holder == "" {
		o.Holder = o.Server
	}
	if o.Shared == nil {
		o.Shared = func(string) {}
	}
	return &Keeper{Options: o, changed: make(chan struct{}, 1), period: heartbeat.DefaultPeriod}
}

// SetPeriod says how often to renew; 0 for the default. The period counts from the last renewal on, and the next one comes at any moment of
// what is left of it.
func (k *Keeper) SetPeriod(period time.Duration) {
	if period == 0 {
		period = heartbeat.DefaultPeriod
	}
	period = max(period, minPeriod)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.period == period {
		return
	}
	k.period = period
	select {
	case k.changed <- struct{}{}:
	default: // one is waiting already
	}
}

// Run renews until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	problem, failures := "", 0
	// Servers that start in the same moment, or that an API server comes back for, would renew in the same moment for ever.
	scatter := true
	for ctx.Err() == nil {
		tried, random := k.Clock.Now(), k.Random()
		err := k.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			// Once for each problem: an API server may be away for days.
			if text := err.Error(); text != problem {
				problem = text
				k.Log.Info("Lease cannot be renewed and will be tried again", "lease", k.Server, "problem", text)
			}
		case failures > 0:
			failures, problem, scatter = 0, "", true
			k.Log.Info("Lease is renewed again", "lease", k.Server)
		}
		k.wait(ctx, tried, func(period, past time.Duration) time.Duration {
			return past + pauseAfter(period-past, failures, scatter || past > 0, random)
		})
		scatter = scatter && failures > 0
	}
}

// wait waits until the next renewal is due. pauseOf says how long after the last try that is, by the period and how much of it was past
// when it was told.
//
// A fleet that starts at once renews within the period that servers have before they know their plan. With a longer one it would do so for
// hours within the same part of it, so a new period begins with any moment of what is left of it.
func (k *Keeper) wait(ctx context.Context, tried time.Time, pauseOf func(period, past time.Duration) time.Duration) {
	var past time.Duration
	for {
		k.mu.Lock()
		period := k.period
		k.mu.Unlock()
		pause := pauseOf(period, past) - k.Clock.Since(tried)
		if pause <= 0 {
			return
		}
		timer := k.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
			return
		case <-k.changed:
			timer.Stop()
			past = k.Clock.Since(tried)
		}
	}
}

// pauseAfter is how long after the last try the next one is due, for a random number from 0 up to 1. scatter asks for any moment of the
// period.
func pauseAfter(period time.Duration, failures int, scatter bool, random float64) time.Duration {
	switch {
	case failures == 0 && scatter:
		return time.Duration(float64(period) * (1 - random))
	case failures == 0:
		return time.Duration(float64(period) * (1 + spread*random))
	}
	longest := period
	if failures <= 10 { // 2^10 seconds are more than any period
		longest = min(period, max(firstPause, period/firstShare)<<(failures-1))
	}
	return time.Duration(float64(longest) * random)
}

// renew renews the Lease as it was after the last renewal. If somebody changed it since, it finds out who, and renews what is there.
func (k *Keeper) renew(ctx context.Context) error {
	k.mu.Lock()
	timeout := max(minTimeout, k.period/timeoutShare)
	k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := k.patch(ctx)
	if apierrors.IsConflict(err) && k.version != "" {
		if err = k.look(ctx); err == nil {
			err = k.patch(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("lease: %q: %w", k.Server, err)
	}
	return nil
}

// patch makes one request that writes.
func (k *Keeper) patch(ctx context.Context) error {
	k.mu.Lock()
	seconds := int32(heartbeat.Silence(k.period) / time.Second) //nolint:gosec // at most half an hour
	k.mu.Unlock()
	change := map[string]any{"spec": coordinationv1.LeaseSpec{
		HolderIdentity: &k.Holder, LeaseDurationSeconds: &seconds, RenewTime: new(metav1.NewMicroTime(k.Clock.Now())),
	}}
	if k.version != "" {
		change["metadata"] = map[string]any{"resourceVersion": k.version}
	}
	content, err := json.Marshal(change)
	if err != nil {
		return err
	}
	renewed, err := k.Leases.Patch(ctx, k.Server, types.MergePatchType, content, metav1.PatchOptions{})
	switch {
	case err == nil:
		k.version = renewed.ResourceVersion
	case !apierrors.IsConflict(err):
		// Whether the Lease was renewed is not known, or the next one is another Lease. With the old version, each lost answer would make
		// a conflict, a look and a second try of the next renewal, when the API server has too much to do already.
		k.version = ""
	}
	return err
}

// look finds out who changed the Lease. The holder is still this process if people changed what is about it.
func (k *Keeper) look(ctx context.Context) error {
	there, err := k.Leases.Get(ctx, k.Server, metav1.GetOptions{})
	if err != nil {
		return err
	}
	k.version = there.ResourceVersion
	other := ptr.Deref(there.Spec.HolderIdentity, "")
	if other == k.Holder || other == "" || !k.told.IsZero() && k.Clock.Since(k.told) < tellAgain {
		return nil
	}
	k.told = k.Clock.Now()
	k.Log.Error(nil, "Somebody else works with the identity of this server, too", "lease", k.Server, "this", k.Holder, "other", other)
	k.Shared(other)
	return nil
}
