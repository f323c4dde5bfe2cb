package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestNextIntervalVariesByAFifth(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 24 * time.Second, 0.5: 30 * time.Second, 1: 36 * time.Second} {
		if got := nextInterval(random); got.Round(time.Millisecond) != want {
			t.Errorf("nextInterval(%v) = %v, want %v", random, got, want)
		}
	}
}

// timers waits until the loop waits for the clock.
func timers(t *testing.T, clk *clocktesting.FakeClock) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(20 * time.Second)
	for !clk.HasWaiters() {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatal("the loop does not wait")
		}
	}
}

func TestRunTriggered(t *testing.T) {
	for name, tc := range map[string]struct {
		trigger func(clk *clocktesting.FakeClock, plan, files chan struct{})
		awaited bool
	}{
		"the interval":     {func(clk *clocktesting.FakeClock, _, _ chan struct{}) { clk.Step(36 * time.Second) }, false},
		"a change of plan": {func(_ *clocktesting.FakeClock, plan, _ chan struct{}) { plan <- struct{}{} }, true},
		"a change of file": {func(_ *clocktesting.FakeClock, _, files chan struct{}) { files <- struct{}{} }, true},
	} {
		t.Run(name+" starts a pass", func(t *testing.T) {
			clk := clocktesting.NewFakeClock(now)
			plan, files, passes := make(chan struct{}), make(chan struct{}), make(chan bool)
			ctx, cancel := context.WithCancel(t.Context())
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				runTriggered(ctx, clk, plan, files, work{
					pass:    func(_ context.Context, awaited bool) time.Time { passes <- awaited; return time.Time{} },
					leisure: func() time.Duration { return 0 },
				})
			}()
			<-passes // the first comes at once
			timers(t, clk)
			tc.trigger(clk, plan, files)
			for done := false; !done; {
				select {
				case awaited := <-passes:
					done = true
					if awaited != tc.awaited {
						t.Errorf("somebody waits for the pass: %t, want %t", awaited, tc.awaited)
					}
				default:
					clk.Step(settle)
				}
			}
			cancel()
			<-stopped
		})
	}
}

func TestRunTriggeredComesBackWhenAPassAsksForIt(t *testing.T) {
	clk := clocktesting.NewFakeClock(now)
	passes := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		runTriggered(ctx, clk, nil, nil, work{pass: func(_ context.Context, awaited bool) time.Time {
			passes <- awaited
			return clk.Now().Add(2 * time.Second)
		}})
	}()
	<-passes
	for range 3 {
		timers(t, clk)
		clk.Step(2*time.Second - 1)
		if !clk.HasWaiters() {
			t.Fatal("a pass began too early")
		}
		clk.Step(1)
		select {
		case awaited := <-passes:
			if !awaited {
				t.Error("nobody waits for a pass that was asked for")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no pass at the time that was asked for")
		}
	}
	cancel()
	<-stopped
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
	clk := clocktesting.NewFakeClock(now)
	plan, leisure := make(chan struct{}), make(chan time.Duration)
	ended := make(chan struct{})
	await := func() {
		ended = make(chan struct{})
		go func(ended chan struct{}) {
			defer close(ended)
			awaitTrigger(t.Context(), clk, clk.Now().Add(interval), plan, nil, func() time.Duration { return <-leisure })
		}(ended)
		timers(t, clk)
	}
	goesOn := func(after time.Duration) {
		t.Helper()
		timers(t, clk)
		clk.Step(after)
		select {
		case <-ended:
			t.Fatalf("the pass came already, after another %s", after)
		default:
		}
	}
	change := func(later time.Duration) { plan <- struct{}{}; leisure <- later }

	await()
	change(10 * time.Second)
	change(time.Second) // comes with the first: many changes would otherwise find the shortest of many moments
	goesOn(10*time.Second - 1)
	clk.Step(1)
	<-ended

	await()
	change(10 * time.Second)
	goesOn(time.Second)
	change(0) // this one concerns the server
	timers(t, clk)
	clk.Step(settle)
	<-ended

	await()
	change(time.Hour)
	goesOn(interval - 1)
	clk.Step(1) // the interval is not put off
	<-ended
}
