package harness

import (
	"context"
	"fmt"
	"time"
)

// pollPause is the time between two looks of Wait. It bounds how exactly durations are measured.
const pollPause = 50 * time.Millisecond

// Wait looks again and again until check reports done. The error says what was waited for and what was seen last.
func Wait(ctx context.Context, limit time.Duration, what string, check func(context.Context) (done bool, state string)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(pollPause)
	defer ticker.Stop()
	seen := "nothing"
	for {
		done, state := check(ctx)
		if done {
			return nil
		}
		// A look that the end of the time cut short saw nothing worth telling.
		if ctx.Err() == nil {
			seen = state
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w after %s; seen last: %s", what, ctx.Err(), limit, seen)
		case <-ticker.C:
		}
	}
}
