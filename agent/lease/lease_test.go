package lease

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/internal/heartbeat"
	"mitigation.dev/ems/internal/pause"
)

// api counts renewals.
type api struct {
	patches chan coordinationv1.Lease
	refuse  error
}

func (a *api) Patch(_ context.Context, name string, pt types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*coordinationv1.Lease, error) {
	lease := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"type": string(pt)}}}
	if err := json.Unmarshal(data, &lease); err != nil {
		return nil, err
	}
	a.patches <- lease
	return &lease, a.refuse
}

func (a *api) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	return nil, errors.New("nobody asks")
}

// object is a Lease that several keepers renew, as the API server keeps it.
type object struct {
	coordinationv1.Lease

	writes int
}

func (o *object) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	return o.DeepCopy(), nil
}

func (o *object) Patch(_ context.Context, name string, _ types.PatchType, data []byte, _ metav1.PatchOptions, _ ...string) (*coordinationv1.Lease, error) {
	var change coordinationv1.Lease
	if err := json.Unmarshal(data, &change); err != nil {
		return nil, err
	}
	if change.ResourceVersion != "" && change.ResourceVersion != o.ResourceVersion {
		return nil, apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, name, errors.New("changed"))
	}
	o.writes++
	o.Spec, o.ResourceVersion = change.Spec, strconv.Itoa(o.writes)
	return o.DeepCopy(), nil
}

func TestTwoServersWithOneIdentityNoticeEachOther(t *testing.T) {
	lease, clk := &object{}, clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0))
	var told []string
	holder := func(name string) *Keeper {
		return New(Options{Leases: lease, Server: "fe01", Holder: name, Clock: clk, Shared: func(other string) { told = append(told, name+" met "+other) }})
	}
	renew := func(keepers ...*Keeper) {
		t.Helper()
		for _, k := range keepers {
			if err := k.renew(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, restarted := holder("first"), holder("restarted")
	renew(first, first, restarted, restarted)
	lease.ResourceVersion = "by an operator who labelled it"
	renew(restarted)
	if len(told) > 0 || lease.writes != 5 {
		t.Fatalf("told %q after %d writes, though nobody works twice", told, lease.writes)
	}
	copied := holder("copied")
	for range 5 {
		renew(copied, restarted)
	}
	if diff := cmp.Diff([]string{"restarted met copied", "copied met restarted"}, told); diff != "" {
		t.Error(diff)
	}
	clk.Step(tellAgain)
	renew(copied)
	if len(told) != 3 {
		t.Errorf("told %q, want it again after an hour", told)
	}
	if lease.writes != 16 {
		t.Errorf("%d writes, want one for each renewal", lease.writes)
	}
}

// lossy loses the answers to renewals that it has made, as an API server that is slower than patience.
type lossy struct {
	*object

	lose         bool
	requests     int
	longestLimit time.Duration
}

func (l *lossy) Get(ctx context.Context, name string, o metav1.GetOptions) (*coordinationv1.Lease, error) {
	l.requests++
	return l.object.Get(ctx, name, o)
}

func (l *lossy) Patch(ctx context.Context, name string, pt types.PatchType, data []byte, o metav1.PatchOptions, sub ...string) (*coordinationv1.Lease, error) {
	l.requests++
	if end, limited := ctx.Deadline(); limited {
		l.longestLimit = max(l.longestLimit, time.Until(end))
	}
	renewed, err := l.object.Patch(ctx, name, pt, data, o, sub...)
	if l.lose && err == nil {
		return nil, context.DeadlineExceeded
	}
	return renewed, err
}

func TestLostAnswersCostOneRequestEach(t *testing.T) {
	leases := &lossy{object: &object{}}
	k := New(Options{Leases: leases, Server: "fe01", Clock: clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0))})
	renew := func(want error) {
		t.Helper()
		if err := k.renew(t.Context()); !errors.Is(err, want) {
			t.Fatalf("renew() = %v, want %v", err, want)
		}
	}
	renew(nil)
	leases.lose = true
	for range 5 {
		renew(context.DeadlineExceeded)
	}
	leases.lose = false
	renew(nil)
	if leases.requests != 7 || leases.writes != 7 {
		t.Errorf("%d requests and %d writes for 7 renewals", leases.requests, leases.writes)
	}
	// Whoever else renews it is met all the same, one renewal later.
	other := New(Options{Leases: leases, Server: "fe01", Holder: "copied", Clock: k.Clock})
	met := ""
	k.Shared = func(holder string) { met = holder }
	if err := other.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	renew(nil)
	if met != "copied" {
		t.Errorf("met %q", met)
	}
}

func TestRenewalsOfLongPeriodsHaveTime(t *testing.T) {
	for period, want := range map[time.Duration]time.Duration{minPeriod: 10 * time.Second, 200 * time.Second: 50 * time.Second} {
		leases := &lossy{object: &object{}}
		k := New(Options{Leases: leases, Server: "fe01", Clock: clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0))})
		k.SetPeriod(period)
		if err := k.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		if leases.longestLimit > want || leases.longestLimit < want-5*time.Second {
			t.Errorf("a renewal every %s has %s, want %s", period, leases.longestLimit, want)
		}
	}
}

// keep runs a keeper until the test ends. With a random number of 0 pauses after failures are 0, and renewals come exactly in time.
func keep(t *testing.T, a *api, random float64) *Keeper {
	t.Helper()
	k := New(Options{Leases: a, Server: "fe01", Clock: clock.RealClock{}, Random: func() float64 { return random }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case <-done:
				return
			case <-a.patches:
			}
		}
	})
	return k
}

func TestLeaseIsRenewedOncePerPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{patches: make(chan coordinationv1.Lease)}
		k := keep(t, a, 0)
		first := <-a.patches
		if *first.Spec.HolderIdentity != "fe01" || *first.Spec.LeaseDurationSeconds != 140 || !first.Spec.RenewTime.Time.Equal(time.Now().Truncate(time.Microsecond)) ||
			first.Name != "fe01" || first.Annotations["type"] != string(types.MergePatchType) {
			t.Errorf("first renewal = %+v", first)
		}
		next := func(want time.Duration) coordinationv1.Lease {
			t.Helper()
			begin := time.Now()
			renewed := <-a.patches
			if got := time.Since(begin); got != want {
				t.Errorf("the next renewal came after %s, want %s", got, want)
			}
			return renewed
		}
		for range 5 {
			next(heartbeat.DefaultPeriod)
		}
		synctest.Wait() // it waits for a whole period already
		k.SetPeriod(10 * time.Second)
		if got := next(10 * time.Second); *got.Spec.LeaseDurationSeconds != 40 {
			t.Errorf("the Lease lasts %d s, want 40", *got.Spec.LeaseDurationSeconds)
		}
	})
}

// Servers that all renewed within the last minute would otherwise do so within one minute of four from then on.
func TestALongerPeriodBeginsWithAnyMomentOfIt(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 240 * time.Second, 0.5: 130 * time.Second, 1: 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			a := &api{patches: make(chan coordinationv1.Lease)}
			k := keep(t, a, random)
			<-a.patches
			<-a.patches // from now on by the period
			begin := time.Now()
			if err := pause.For(t.Context(), 20*time.Second); err != nil {
				t.Fatal(err)
			}
			k.SetPeriod(240 * time.Second)
			<-a.patches
			if got := time.Since(begin); got != want {
				t.Errorf("with the random number %v the next renewal came %s after the last, want %s", random, got, want)
			}
		})
	}
}

func TestFailuresAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{patches: make(chan coordinationv1.Lease), refuse: errors.New("no")}
		keep(t, a, 0)
		for range 20 {
			<-a.patches
		}
	})
}

func TestPauses(t *testing.T) {
	for name, tc := range map[string]struct {
		period   time.Duration
		failures int
		scatter  bool
		random   float64
		want     time.Duration
	}{
		"never before the period is over":          {period: time.Minute, want: time.Minute},
		"at most a tenth later":                    {period: time.Minute, random: 1, want: 66 * time.Second},
		"the first at the end of it":               {period: time.Minute, scatter: true, want: time.Minute},
		"or at any moment before":                  {period: time.Minute, scatter: true, random: 0.75, want: 15 * time.Second},
		"after a failure perhaps at once":          {period: time.Minute, failures: 1, want: 0},
		"after a failure within a second":          {period: minPeriod, failures: 1, random: 1, want: time.Second},
		"or within a twentieth of a longer period": {period: time.Minute, failures: 1, random: 1, want: 3 * time.Second},
		"then longer":                              {period: time.Minute, failures: 4, random: 1, want: 24 * time.Second},
		"random over the whole length":             {period: time.Minute, failures: 4, random: 0.5, want: 12 * time.Second},
		"never longer than the period":             {period: time.Minute, failures: 7, random: 1, want: time.Minute},
		"not even after days":                      {period: 10 * time.Minute, failures: 100_000, random: 1, want: 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if got := pauseAfter(tc.period, tc.failures, tc.scatter, tc.random); got.Round(time.Millisecond) != tc.want {
				t.Errorf("pause = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPeriodHasBounds(t *testing.T) {
	k := New(Options{})
	for asked, want := range map[time.Duration]time.Duration{0: heartbeat.DefaultPeriod, time.Second: minPeriod, 5 * time.Minute: 5 * time.Minute} {
		if k.SetPeriod(asked); k.period != want {
			t.Errorf("asked for %v, got %v, want %v", asked, k.period, want)
		}
	}
}
