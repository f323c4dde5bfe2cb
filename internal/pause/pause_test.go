package pause

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestAPauseLasts(t *testing.T) {
	for name, tc := range map[string]struct {
		length, interest, want time.Duration
		err                    error
	}{
		"as long as it was asked for":       {length: 3 * time.Second, interest: time.Minute, want: 3 * time.Second},
		"no longer than anybody wants it":   {length: time.Minute, interest: time.Second, want: time.Second, err: context.DeadlineExceeded},
		"not at all without a length":       {interest: time.Minute},
		"not at all with a negative length": {length: -time.Second, interest: time.Minute},
		"not at all when nobody wants it":   {length: 0, interest: 0, err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.interest)
				defer cancel()
				begin := time.Now()
				if err := For(ctx, tc.length); !errors.Is(err, tc.err) {
					t.Errorf("For() = %v, want %v", err, tc.err)
				}
				if got := time.Since(begin); got != tc.want {
					t.Errorf("it took %s, want %s", got, tc.want)
				}
			})
		})
	}
}

func TestAPauseFollowsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk, ended := clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0)), false
		go func() {
			if err := On(t.Context(), clk, time.Minute); err != nil {
				t.Error(err)
			}
			ended = true
		}()
		for _, over := range []bool{false, true} {
			synctest.Wait()
			clk.Step(30 * time.Second)
			if synctest.Wait(); ended != over {
				t.Fatalf("ended at %s: %t, want %t", clk.Now().UTC(), ended, over)
			}
		}
	})
}
