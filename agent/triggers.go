package agent

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

const (
	// interval between passes without any other reason. It bounds how long drift lasts that no file event tells of, such
	// as a pool that was started by hand.
	interval = 30 * time.Second
	// jitter is how much of the interval varies, in both directions.
	jitter = 0.2
	// settle is how long a trigger waits for more of its kind: an IIS tool writes its file in several steps, and a manager
	// changes a plan several times in a row. It is small beside the seconds in which a mitigation shall arrive.
	settle = 250 * time.Millisecond
)

// runTriggered calls pass at once, after every trigger, when the interval has gone by, and at the time that the last pass
// asked for, until the context ends.
func runTriggered(ctx context.Context, clk clock.WithTicker, plan, files <-chan struct{}, pass func(context.Context) time.Time) {
	for ctx.Err() == nil {
		wait := nextInterval(rand.Float64())
		if next := pass(ctx); !next.IsZero() {
			wait = min(wait, max(next.Sub(clk.Now()), settle))
		}
		timer := clk.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-plan:
			pause(ctx, clk)
		case <-files:
			pause(ctx, clk)
		}
		timer.Stop()
	}
}

// nextInterval is the interval with its jitter, for a random number from 0 up to 1.
func nextInterval(random float64) time.Duration {
	return time.Duration(float64(interval) * (1 - jitter + 2*jitter*random))
}

func pause(ctx context.Context, clk clock.WithTicker) {
	timer := clk.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
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
