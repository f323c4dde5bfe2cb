package agent

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestPassesTakeTurns(t *testing.T) {
	turns := NewTurns(1)
	var pass func(context.Context, bool) time.Time
	pass = inTurn(turns, func(context.Context) time.Time {
		if turns.free != 0 {
			t.Error("a pass without a turn")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if next := pass(ctx, true); !next.IsZero() {
			t.Error("a pass beside another one")
		}
		return now
	}, nil, nil)
	for range 2 {
		if next := pass(t.Context(), false); !next.Equal(now) || turns.free != 1 {
			t.Errorf("next pass %s, %d turns free", next, turns.free)
		}
	}
}

func TestPassesThatSomebodyWaitsForHaveTheNextTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		if !turns.take(t.Context(), false, nil, nil) {
			t.Fatal("no turn, though all are free")
		}
		var order []string
		for _, name := range []string{"leisurely 1", "leisurely 2", "awaited 1", "awaited 2"} {
			go func() {
				turns.take(t.Context(), name[0] == 'a', nil, nil)
				order = append(order, name)
			}()
			synctest.Wait()
		}
		// One that gives up takes nobody's turn.
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if turns.take(ctx, true, nil, nil) {
				t.Error("a turn after the end of the context")
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		for i := range 4 {
			turns.release()
			if synctest.Wait(); len(order) != i+1 {
				t.Fatalf("%d turns were given back, and %q have had one", i+1, order)
			}
		}
		if want := []string{"awaited 1", "awaited 2", "leisurely 1", "leisurely 2"}; !slices.Equal(order, want) {
			t.Errorf("turns went to %q, want %q", order, want)
		}
		if turns.release(); turns.free != 1 {
			t.Errorf("%d turns are free in the end, want the one that there was", turns.free)
		}
	})
}

func TestAPassThatWaitsHurriesWhenThePlanConcernsTheServer(t *testing.T) {
	for name, tc := range map[string]struct {
		concerned bool
		want      []string
	}{
		"a plan that concerns it":        {true, []string{"told", "first"}},
		"a plan that asks nothing of it": {false, []string{"first", "told"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(0)
				plan := make(chan struct{})
				var order []string
				go func() {
					turns.take(t.Context(), false, nil, nil)
					order = append(order, "first")
				}()
				synctest.Wait()
				go func() {
					inTurn(turns, func(context.Context) time.Time {
						order = append(order, "told")
						return now
					}, plan, func() bool { return tc.concerned })(t.Context(), false)
				}()
				plan <- struct{}{}
				for range 2 {
					synctest.Wait()
					turns.release()
				}
				if synctest.Wait(); !slices.Equal(order, tc.want) {
					t.Errorf("turns went to %q, want %q", order, tc.want)
				}
			})
		})
	}
}
