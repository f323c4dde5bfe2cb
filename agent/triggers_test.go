package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/testr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/internal/pause"
)

func TestNextIntervalVariesByAFifth(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 24 * time.Second, 0.5: 30 * time.Second, 1: 36 * time.Second} {
		if got := nextInterval(random); got.Round(time.Millisecond) != want {
			t.Errorf("nextInterval(%v) = %v, want %v", random, got, want)
		}
	}
}

// follow runs the loop, whose passes it delivers, until the test ends.
func follow(t *testing.T, plan, files <-chan struct{}, next time.Duration) (passes <-chan bool) {
	t.Helper()
	made := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go runTriggered(ctx, clock.RealClock{}, plan, files, work{
		pass: func(ctx context.Context, awaited bool) time.Time {
			select {
			case made <- awaited:
			case <-ctx.Done():
			}
			if next == 0 {
				return time.Time{}
			}
			return time.Now().Add(next)
		},
		leisure: func() time.Duration { return 0 },
	})
	return made
}

func TestAPassFollowsEachTrigger(t *testing.T) {
	for name, tc := range map[string]struct {
		trigger          func(plan, files chan<- struct{})
		earliest, latest time.Duration
		awaited          bool
	}{
		"the interval":     {func(_, _ chan<- struct{}) {}, 24 * time.Second, 36 * time.Second, false},
		"a change of plan": {func(plan, _ chan<- struct{}) { plan <- struct{}{} }, settlePlan, settlePlan, true},
		"a change of file": {func(_, files chan<- struct{}) { files <- struct{}{} }, settle, settle, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plan, files := make(chan struct{}), make(chan struct{})
				passes := follow(t, plan, files, 0)
				<-passes // the first comes at once
				begin := time.Now()
				tc.trigger(plan, files)
				awaited := <-passes
				if after := time.Since(begin); after < tc.earliest || after > tc.latest {
					t.Errorf("the pass came after %s, want %s to %s", after, tc.earliest, tc.latest)
				}
				if awaited != tc.awaited {
					t.Errorf("somebody waits for the pass: %t, want %t", awaited, tc.awaited)
				}
			})
		})
	}
}

func TestAPassComesBackWhenItAskedForThat(t *testing.T) {
	for name, tc := range map[string]struct{ asked, want time.Duration }{
		"in two seconds": {2 * time.Second, 2 * time.Second},
		"at once":        {time.Nanosecond, settle},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				passes := follow(t, nil, nil, tc.asked)
				<-passes
				for range 3 {
					begin := time.Now()
					if awaited := <-passes; !awaited {
						t.Error("nobody waits for a pass that was asked for")
					}
					if after := time.Since(begin); after != tc.want {
						t.Errorf("the pass came after %s, want %s", after, tc.want)
					}
				}
			})
		})
	}
}

func TestWatchFolder(t *testing.T) {
	dir := t.TempDir()
	changes := watchFolder(t.Context(), dir, testr.New(t))
	if err := os.WriteFile(filepath.Join(dir, "applicationHost.config"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changes:
	case <-time.After(20 * time.Second):
		t.Fatal("no change within 20 seconds")
	}
}

func TestWatchFolderThatIsMissingIsNoFailure(t *testing.T) {
	changes := watchFolder(t.Context(), filepath.Join(t.TempDir(), "none"), testr.New(t))
	select {
	case <-changes:
		t.Error("a change of a folder that does not exist")
	default:
	}
}

// What does not concern a server waits for a moment of the server's own, and what does comes at once all the same.
func TestChangesThatDoNotConcernTheServerWait(t *testing.T) {
	type change struct {
		at, leisure time.Duration
	}
	for name, tc := range map[string]struct {
		changes []change
		want    time.Duration
		asked   bool
	}{
		"as long as they may": {[]change{{0, 10 * time.Second}}, 10 * time.Second, false},
		// Many changes would otherwise find the shortest of many moments.
		"as long as the first of them":            {[]change{{0, 10 * time.Second}, {time.Second, time.Second}}, 10 * time.Second, false},
		"until one comes that does":               {[]change{{0, 10 * time.Second}, {time.Second, 0}}, time.Second + settlePlan, true},
		"no longer than until the next pass":      {[]change{{0, time.Hour}}, interval, false},
		"no longer than that, whatever comes yet": {[]change{{0, time.Hour}, {time.Second, time.Hour}}, interval, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plan, begin := make(chan struct{}), time.Now()
				go func() {
					for _, c := range tc.changes {
						if pause.For(t.Context(), time.Until(begin.Add(c.at))) == nil {
							plan <- struct{}{}
						}
					}
				}()
				asked := awaitTrigger(t.Context(), clock.RealClock{}, begin.Add(interval), plan, nil, func() (latest time.Duration) {
					for _, c := range tc.changes {
						if time.Since(begin) >= c.at {
							latest = c.leisure
						}
					}
					return latest
				})
				if after := time.Since(begin); after != tc.want {
					t.Errorf("the pass came after %s, want %s", after, tc.want)
				}
				if asked != tc.asked {
					t.Errorf("a change asks for the pass: %t, want %t", asked, tc.asked)
				}
			})
		})
	}
}
