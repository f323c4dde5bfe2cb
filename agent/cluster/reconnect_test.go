package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestReconnectingIsSpreadAndSoon(t *testing.T) {
	var first, last [2]time.Duration // the shortest and the longest
	for range 2000 {
		backoff := reconnect()
		for n := range 20 {
			pause := backoff.Step()
			seen := &last
			if n == 0 {
				seen = &first
			}
			if seen[0] == 0 || pause < seen[0] {
				seen[0] = pause
			}
			seen[1] = max(seen[1], pause)
		}
	}
	if first[0] < 50*time.Millisecond || first[1] > 500*time.Millisecond {
		t.Errorf("the first pauses are %s to %s", first[0], first[1])
	}
	if last[1] > 5*time.Second || last[1] < 4*time.Second {
		t.Errorf("the longest pause is %s, want nearly five seconds and no more", last[1])
	}
	spread := reconnect()
	for range 10 {
		spread.Step()
	}
	early := 0
	for range 1000 {
		backoff := *spread
		if backoff.Step() < 2750*time.Millisecond {
			early++
		}
	}
	if early < 400 || early > 600 {
		t.Errorf("%d of 1000 servers come in the first half of the time, want half of them", early)
	}
}

func TestLargeFleetsComeBackOverALongerTime(t *testing.T) {
	for name, tc := range map[string]struct{ window, want time.Duration }{
		"no plan, or a small fleet": {0, 0},
		"700 servers":               {7 * time.Second, 0},
		"3,000 servers":             {30 * time.Second, 15 * time.Second},
		"6,000 servers and more":    {time.Minute, 35 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := scatter(tc.window); got != tc.want {
				t.Errorf("servers come back within another %s, want %s", got, tc.want)
			}
		})
	}
}

func TestAWatchThatFailedGivesWayToTheFleet(t *testing.T) {
	for name, tc := range map[string]struct {
		failed bool
		window int32
		want   time.Duration
	}{
		"the first try":       {false, 60, 0},
		"in a small fleet":    {true, 5, 0},
		"in the largest one":  {true, 60, 35 * time.Second / 2},
		"a fleet in between":  {true, 30, 15 * time.Second / 2},
		"without any windows": {true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newAPI(t).cluster
				c.Random = func() float64 { return .5 }
				p := plan("frontends")
				p.Spec.Reporting.WindowSeconds = &tc.window
				if err := c.plans.Store.Add(p); err != nil {
					t.Fatal(err)
				}
				ask := func(ctx context.Context, first error) error {
					c.servers.tried(t.Context(), first)
					w, err := c.servers.source().WatchWithContext(ctx, metav1.ListOptions{})
					if err == nil {
						w.Stop()
					}
					return err
				}
				var first error
				if tc.failed {
					first = errors.New("connection refused")
				}
				begin := time.Now()
				if err := ask(t.Context(), first); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(begin); got != tc.want {
					t.Errorf("it waits for %s, want %s", got, tc.want)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := ask(ctx, first); tc.want > 0 && !errors.Is(err, context.Canceled) {
					t.Errorf("it waits on at the end of the agent: %v", err)
				}
				begin = time.Now()
				if _, err := c.servers.source().ListWithContext(t.Context(), metav1.ListOptions{}); err != nil {
					t.Fatal(err)
				}
				if got := time.Since(begin); got != tc.want {
					t.Errorf("where it has to list first, it waits for %s, want %s", got, tc.want)
				}
			})
		})
	}
}
