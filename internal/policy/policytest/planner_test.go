package policytest_test

import (
	"testing"
	"time"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/policytest"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

// The planner is asked at each moment anew, with no memory, about a pool of one server whose first stage asks for an
// approval.
func TestPlansSayWhatTheTableSays(t *testing.T) {
	each(t, func(t *testing.T, c policytest.Case, m policytest.Moment) {
		plan := rollout.Make(rollout.Input{
			Mitigations: []rollout.Mitigation{{
				Mitigation: c.Mitigation, Revision: c.Revision, Severity: "High", FeedName: "contoso", BundleName: "contoso-7",
				Content:        "aaaaaaaabbbbbbbbccccccccddddddddaaaaaaaabbbbbbbbccccccccdddddddd",
				DocumentDigest: "ddddddddccccccccbbbbbbbbaaaaaaaaddddddddccccccccbbbbbbbbaaaaaaaa",
			}},
			Configurations: c.Configurations, Pool: c.Pool, Audit: c.Audit,
			Settings: rollout.Settings{
				Profile: rollout.Standard, Windows: []schedule.Set{c.PoolWindows, c.GlobalWindows},
				Stages: []rollout.Stage{{Name: policytest.Stage, Servers: rollout.Percent(100), Approval: rollout.ApprovalBefore}},
			},
			Servers: []rollout.Server{{Name: "fe01"}}, Now: m.At,
		})
		if len(plan.Entries) != 1 {
			t.Fatalf("%d entries, want 1", len(plan.Entries))
		}
		entry := plan.Entries[0]
		same(t, "the planned decision", policytest.Of(entry.Decision), m.Pool)
		if m.Pool.Desired != policy.Apply {
			return
		}
		released := entry.Release.Includes("fe01", c.Mitigation.ID)
		same(t, "released", released, m.Approved && m.Open)
		want := policy.AwaitingWindow
		if !m.Approved {
			want = policy.AwaitingApproval
		}
		if !released {
			same(t, "the reason for waiting", entry.Rollout.Reason, want)
		}
		// A plan that waits says when to look again, and never in the past.
		if !plan.Next.IsZero() && !plan.Next.After(m.At) {
			t.Errorf("next look at %s, asked at %s", plan.Next.Format(time.RFC3339), m.At.Format(time.RFC3339))
		}
	})
}
