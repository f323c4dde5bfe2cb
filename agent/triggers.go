package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/internal/pause"
)

const (
	// interval between passes without any other reason. It bounds how long drift lasts that no file event tells of, such
	// as a pool that was started by hand.
	interval = 30 * time.Second
	// jitter is how much of the interval varies, in both directions.
	jitter = 0.2
	// settle is how long a change of a file waits for more of its kind: an IIS tool writes its file in several steps.
	settle = 250 * time.Millisecond
	// settlePlan is the same for the plan, which the manager may change twice in a row. Each stage of a rollout waits for it, and a kill
	// switch does.
	settlePlan = 100 * time.Millisecond
)

// work is what triggers cause.
type work struct {
	// pass returns when the next one has to come at the latest; zero for no reason. awaited says that something asks for this one: a
	// change that concerns the server, or the pass before.
	pass func(ctx context.Context, awaited bool) time.Time
	// leisure is how long a change of the plan may wait for its pass; 0 for a change that concerns this server.
	leisure func() time.Duration
}

// runTriggered makes a pass at once, after every trigger, when the interval has gone by, and at the time that the last pass
// asked for, until the context ends.
func runTriggered(ctx context.Context, clk clock.WithTicker, plan, files <-chan struct{}, w work) {
	awaited := false
	for ctx.Err() == nil {
		next := w.pass(ctx, awaited)
		now := clk.Now()
		latest := now.Add(nextInterval(rand.Float64()))
		asked := !next.IsZero() && next.Before(latest)
		if asked {
			latest = now.Add(max(next.Sub(now), settle))
		}
		awaited = awaitTrigger(ctx, clk, latest, plan, files, w.leisure) || asked && !clk.Now().Before(latest)
	}
}

// awaitTrigger returns when there has to be a pass, at the given time at the latest. It reports whether a change asks for it.
func awaitTrigger(ctx context.Context, clk clock.WithTicker, latest time.Time, plan, files <-chan struct{}, leisure func() time.Duration) bool {
	timer := clk.NewTimer(latest.Sub(clk.Now()))
	defer func() { timer.Stop() }()
	put := false // whether a change of the plan has been put off; further ones come with it
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			return false
		case <-files:
			return pause.On(ctx, clk, settle) == nil
		case <-plan:
		}
		later := leisure()
		if later <= 0 {
			return pause.On(ctx, clk, settlePlan) == nil
		}
		if at := clk.Now().Add(later); !put && at.Before(latest) {
			timer.Stop()
			timer = clk.NewTimer(later)
		}
		put = true
	}
}

// nextInterval is the interval with its jitter, for a random number from 0 up to 1.
func nextInterval(random float64) time.Duration {
	return time.Duration(float64(interval) * (1 - jitter + 2*jitter*random))
}

// watchFolder delivers after files of a folder changed, once for any number of changes. A folder that cannot be watched is
// no error: the interval notices changes too.
func watchFolder(ctx context.Context, dir string, log logr.Logger) <-chan struct{} {
	changes := make(chan struct{}, 1)
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		err = watcher.Add(dir)
	}
	if err != nil {
		log.Info("Folder cannot be watched, changes are noticed by the interval", "folder", dir, "problem", err.Error())
		if watcher != nil {
			_ = watcher.Close()
		}
		return changes
	}
	go func() {
		defer func() { _ = watcher.Close() }()
		for {
			select {
			case <-ctx.Done():
				return
			case _, ok := <-watcher.Events:
				if !ok {
					return
				}
			case err, ok := <-watcher.Errors:
				if !ok {
					return
				}
				// An overflow of events, for one: something changed.
				log.Info("Watching a folder is impeded", "folder", dir, "problem", err.Error())
			}
			select {
			case changes <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return changes
}
