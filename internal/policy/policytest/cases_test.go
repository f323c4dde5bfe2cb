package policytest_test

import (
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // the table asks for zones whatever the machine has

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/policytest"
	"mitigation.dev/ems/internal/schedule"
)

// each runs a test for every moment of the table.
func each(t *testing.T, test func(t *testing.T, c policytest.Case, m policytest.Moment)) {
	t.Helper()
	for _, c := range policytest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			for _, m := range c.Moments {
				t.Run(m.At.Format(time.RFC3339), func(t *testing.T) { test(t, c, m) })
			}
		})
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func poolAt(c policytest.Case, now time.Time) policy.Decision {
	d, _ := policy.ForPool(c.Mitigation, c.Configurations, c.Pool, now)
	return d
}

// serverAt is what a server does at a time with a plan.
func serverAt(c policytest.Case, planned policy.Decision, released bool, now time.Time) policy.Decision {
	return policy.ForServer(policy.AtServer(planned, now), policy.Situation{
		Released: released, Waiting: policy.AwaitingApproval, AuditOnly: c.Audit,
		Applicability: policy.Applicability(c.Mitigation.ID, c.Products, c.FeedProduct, c.FixedBuilds, c.Facts),
	})
}

func TestPoliciesDecideAsTheTableSays(t *testing.T) {
	each(t, func(t *testing.T, c policytest.Case, m policytest.Moment) {
		pool := poolAt(c, m.At)
		same(t, "the pool's decision", policytest.Of(pool), m.Pool)
		if pool.Desired == policy.Apply {
			same(t, "the actions left out", pool.BlockedActions, m.BlockedActions)
		}
		same(t, "the server's decision", policytest.Of(serverAt(c, pool, true, m.At)), m.Server)
		same(t, "the decision of a server that the rollout has not reached", policytest.Of(serverAt(c, pool, false, m.At)), m.Waiting)
		same(t, "the decision of a server with the first plan", policytest.Of(serverAt(c, poolAt(c, c.Moments[0].At), true, m.At)), m.Stale)
	})
}

func TestExplanationsDecideAsTheTableSays(t *testing.T) {
	each(t, func(t *testing.T, c policytest.Case, m policytest.Moment) {
		asked := policy.Case{Mitigation: c.Mitigation, Configurations: c.Configurations, Pool: c.Pool}
		pool, steps := policy.Explain(asked, m.At)
		same(t, "the pool's decision", policytest.Of(pool), m.Pool)
		decisive(t, steps, m.Pool.Desired != policy.Apply)

		first := poolAt(c, c.Moments[0].At)
		asked.Server = &policy.ServerCase{
			Planned: &first, Situation: policy.Situation{Released: true, AuditOnly: c.Audit},
			Products: c.Products, FeedProduct: c.FeedProduct, FixedBuilds: c.FixedBuilds, Facts: c.Facts,
		}
		server, steps := policy.Explain(asked, m.At)
		same(t, "the decision of a server with the first plan", policytest.Of(server), m.Stale)
		decisive(t, steps, m.Stale.Desired != policy.Apply)
	})
}

// decisive checks that a chain ends with the step that settled it, and that each of its steps says something.
func decisive(t *testing.T, steps []policy.Step, settled bool) {
	t.Helper()
	if len(steps) == 0 {
		t.Fatal("no steps")
	}
	for i, s := range steps {
		if s.Question == "" || s.Answer == "" {
			t.Errorf("step %d is empty: %+v", i, s)
		}
		if want := settled && i == len(steps)-1; s.Decisive != want {
			t.Errorf("step %d of %d, %q: decisive = %t, want %t", i, len(steps), s.Question, s.Decisive, want)
		}
	}
}

func TestApprovalsCountAsTheTableSays(t *testing.T) {
	each(t, func(t *testing.T, c policytest.Case, m policytest.Moment) {
		lists := [][]policy.Approval{c.Pool.Approved}
		for _, configuration := range c.Configurations {
			lists = append(lists, configuration.Approved)
		}
		got, ok := policy.Approved(c.Mitigation.ID, c.Revision, policytest.Stage, m.At, lists...)
		same(t, "approved", ok, m.Approved)
		if ok && !got.Counts(m.At) {
			t.Errorf("the approval %+v does not count", got)
		}
	})
}

func TestWindowsAreOpenAsTheTableSays(t *testing.T) {
	each(t, func(t *testing.T, c policytest.Case, m policytest.Moment) {
		same(t, "open", schedule.Open(m.At, c.PoolWindows, c.GlobalWindows).Open, m.Open)
	})
}

// The next look that policy asks for must not come after a moment at which the table wants another answer.
func TestChangesDoNotComeUnannounced(t *testing.T) {
	for _, c := range policytest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			for i, m := range c.Moments[1:] {
				before := c.Moments[i]
				_, next := policy.ForPool(c.Mitigation, c.Configurations, c.Pool, before.At)
				changes := m.Pool != before.Pool || !slices.Equal(m.BlockedActions, before.BlockedActions)
				if changes && (next.IsZero() || next.After(m.At)) {
					t.Errorf("asked at %s, policy wants to look again at %s, but the answer differs at %s", before.At, next, m.At)
				}
				window := schedule.Open(before.At, c.PoolWindows, c.GlobalWindows)
				if m.Open != before.Open && (window.Next.IsZero() || window.Next.After(m.At)) {
					t.Errorf("asked at %s, windows change at %s, but the answer differs at %s", before.At, window.Next, m.At)
				}
			}
		})
	}
}

// The objects are for those who convert them, so that here is only seen that nothing gets lost.
func TestObjectsHaveEverythingOfTheCase(t *testing.T) {
	for _, c := range policytest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			o := c.Objects()
			entries := len(o.Pool.Spec.Blocked) + len(o.Pool.Spec.Approved)
			windows := len(o.Pool.Spec.Rollout.Windows)
			for i := range o.Configurations {
				spec := &o.Configurations[i].Spec
				entries += len(spec.Blocked) + len(spec.SuspendedMitigations) + len(spec.Approved)
				windows += len(spec.Rollout.Windows)
			}
			m := c.Moments[0]
			same(t, "number of entries", entries, m.Active+m.Expired)
			same(t, "number of windows", windows, len(c.PoolWindows)+len(c.GlobalWindows))
			same(t, "number of configurations", len(o.Configurations), len(c.Configurations))
		})
	}
}
