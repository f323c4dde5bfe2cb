package pause

import (
	"context"
	"time"

	"k8s.io/utils/clock"
)

// For waits for the length. If the context ends before, it returns at once with the error of the context. A length of 0 or less is over
// already.
func For(ctx context.Context, length time.Duration) error {
	return On(ctx, clock.RealClock{}, length)
}

// On is For by the given clock.
func On(ctx context.Context, clk clock.Clock, length time.Duration) error {
	if length <= 0 {
		return ctx.Err()
	}
	timer := clk.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C():
		return nil
	}
}
