package policy_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mitigation.dev/ems/internal/policy"
)

// world is a random policy. Times are whole minutes after now, so that a test can look at each of them.
func world(random *rand.Rand) (policy.Mitigation, []policy.Configuration, policy.Pool) {
	ids := []string{"M1", "m1", "M1.1", "M1.2", "M1.1.1", "M2", "M10", "M"}
	list := func() []policy.Exception {
		var out []policy.Exception
		for range random.IntN(4) {
			e := policy.Exception{ID: ids[random.IntN(len(ids))], Reason: "r", Owner: "o"}
			if random.IntN(4) > 0 {
				e.Expiry = now.Add(time.Duration(random.IntN(40)-5) * time.Minute)
			}
			out = append(out, e)
		}
		return out
	}
	m := policy.Mitigation{ID: "M1", Lifecycle: policy.LifecycleActive}
	if random.IntN(2) == 0 {
		m.ActionIDs = []string{"M1.1", "M1.2"}[:1+random.IntN(2)]
	}
	switch random.IntN(8) {
	case 0:
		m.Lifecycle = policy.LifecycleWithdrawn
	case 1:
		m.Lifecycle, m.SupersededBy, m.SuccessorPending = policy.LifecycleSuperseded, "M2", random.IntN(2) == 0
	}
	configurations := []policy.Configuration{{Name: "global", Blocked: list(), SuspendedMitigations: list()}}
	pool := policy.Pool{Blocked: list(), Disabled: random.IntN(6) == 0, RemoveWhenDisabled: random.IntN(2) == 0, Suspended: random.IntN(20) == 0}
	return m, configurations, pool
}

// As long as nobody changes an object, a decision holds until the time that it names, and a server with an old plan never
// does what policy no longer wants.
func TestDecisionsHoldUntilTheTimeTheyName(t *testing.T) {
	expired := 0
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // reproducible on purpose
		m, configurations, pool := world(random)
		first, next := policy.ForPool(m, configurations, pool, now)
		if !next.IsZero() && !next.After(now) {
			t.Fatalf("seed %d: next look at %s is not after %s", seed, next, now)
		}
		for minute := range 45 {
			at := now.Add(time.Duration(minute) * time.Minute)
			then, _ := policy.ForPool(m, configurations, pool, at)
			same := then.Desired == first.Desired && then.Reason == first.Reason && then.Message == first.Message &&
				then.Until.Equal(first.Until) && slices.Equal(then.BlockedActions, first.BlockedActions)
			if !same && (next.IsZero() || at.Before(next)) {
				t.Fatalf("seed %d: %+v became %+v at %s, announced for %s", seed, first, then, at, next)
			}
			switch stale := policy.AtServer(first, at); {
			case stale.Reason == policy.AwaitingPlan:
				expired++
				if first.Desired != policy.Remove || stale.Desired != policy.Hold {
					t.Fatalf("seed %d: %+v became %+v on the server", seed, first, stale)
				}
			case stale.Desired != then.Desired:
				t.Fatalf("seed %d: at %s a server with the first plan does %+v, policy wants %+v", seed, at, stale, then)
			}
		}
	}
	if expired < 1000 {
		t.Errorf("only %d looks at plans that had expired", expired)
	}
}

// An explanation is made on the way to the decision, so both are the same, and only the last step can settle it.
func TestExplanationsEndInTheDecision(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 8)) //nolint:gosec // reproducible on purpose
		m, configurations, pool := world(random)
		want, _ := policy.ForPool(m, configurations, pool, now)
		got, steps := policy.Explain(policy.Case{Mitigation: m, Configurations: configurations, Pool: pool}, now)
		if got.Desired != want.Desired || got.Reason != want.Reason || got.Message != want.Message {
			t.Fatalf("seed %d: explained %+v, decided %+v", seed, got, want)
		}
		for i, s := range steps {
			if last := i == len(steps)-1; s.Decisive != (last && want.Desired != policy.Apply) {
				t.Fatalf("seed %d: %+v, step %d of %d decisive = %t\n%s", seed, want, i, len(steps), s.Decisive, told(steps))
			}
		}
		if last := steps[len(steps)-1]; last.Decisive && last.Answer != want.Message {
			t.Fatalf("seed %d: the last answer is %q, the message %q", seed, last.Answer, want.Message)
		}
	}
}
