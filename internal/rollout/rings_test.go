package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

func TestRingOf(t *testing.T) {
	labelled := func(key string) func(map[string]string) bool {
		return func(labels map[string]string) bool { return labels[key] != "" }
	}
	rings := []rollout.Ring{{Name: "test", Selects: labelled("test")}, {Name: "none"}, {Name: "early", Selects: labelled("early")}}
	for want, labels := range map[int]map[string]string{
		0: {"test": "x", "early": "x"}, 2: {"early": "x"}, 3: {"other": "x"},
	} {
		if got := rollout.RingOf(rings, labels); got != want {
			t.Errorf("a pool with labels %v is in ring %d, want %d", labels, got, want)
		}
	}
}

func TestJudgeRings(t *testing.T) {
	m := rollout.Mitigation{Mitigation: policy.Mitigation{ID: "M1", Lifecycle: policy.LifecycleActive}, Revision: 2, Content: second, Severity: "Low"}
	entry := func(id string, state rollout.State) map[string]rollout.Entry {
		return map[string]rollout.Entry{"m1": {
			Mitigation: m, Decision: policy.Decision{Desired: policy.Apply},
			Rollout: rollout.Rollout{ID: id, State: state, CompletionTime: start.Add(-time.Minute)},
		}}
	}
	removed := entry("r2-a1-22222222", rollout.Halted)
	e := removed["m1"]
	e.Desired = policy.Remove
	removed["m1"] = e
	const run = "r2-a1-22222222"
	tests := map[string]struct {
		others   []rollout.RingPool
		rings    []rollout.Ring
		settings rollout.Settings
		approved []policy.Approval
		audit    bool
		want     string
		wantNext time.Time
	}{
		"a pool alone is not held": {want: "open"},
		"a pool of the same ring that is at work does not hold it": {
			others: []rollout.RingPool{{Name: "a", Ring: 1, Entries: entry(run, rollout.Progressing)}}, want: "open",
		},
		"one that halted does": {
			others: []rollout.RingPool{{Name: "a", Ring: 1, Entries: entry(run, rollout.Halted)}}, want: "HaltedElsewhere: the rollout halted in pool a",
		},
		"at whatever attempt": {
			others: []rollout.RingPool{{Name: "a", Ring: 1, Entries: entry("r2-a7-22222222", rollout.Halted)}}, want: "HaltedElsewhere: the rollout halted in pool a",
		},
		"one that halted with another revision does not": {others: []rollout.RingPool{{Name: "a", Ring: 1, Entries: entry("r1-a1-22222222", rollout.Halted)}}, want: "open"},
		"one that halted with another content does not":  {others: []rollout.RingPool{{Name: "a", Ring: 1, Entries: entry("r2-a1-33333333", rollout.Halted)}}, want: "open"},
		"one that halted in the other mode does not":     {others: []rollout.RingPool{{Name: "a", Ring: 1, Entries: entry(run+"-audit", rollout.Halted), Audit: true}}, want: "open"},
		"one of a later ring that halted does not":       {others: []rollout.RingPool{{Name: "a", Ring: 2, Entries: entry(run, rollout.Halted)}}, want: "open"},
		"a pool of a ring before that has not completed does": {
			others: []rollout.RingPool{{Name: "a", Ring: 0, Entries: entry(run, rollout.Progressing)}},
			want:   "AwaitingRing: pool a, of a ring before, has not completed the rollout",
		},
		"one that has not planned the revision does": {
			others: []rollout.RingPool{{Name: "a", Ring: 0, Entries: entry("r1-a1-11111111", rollout.Complete)}},
			want:   "AwaitingRing: pool a, of a ring before, has not completed the rollout",
		},
		"one that has planned nothing does": {
			others: []rollout.RingPool{{Name: "a", Ring: 0}}, want: "AwaitingRing: pool a, of a ring before, has not completed the rollout",
		},
		"one where it is blocked does not":                 {others: []rollout.RingPool{{Name: "a", Ring: 0, Entries: removed}}, want: "open"},
		"one in the other mode does not":                   {others: []rollout.RingPool{{Name: "a", Ring: 0, Audit: true}}, want: "open"},
		"a pool in mode Audit waits for those in its mode": {others: []rollout.RingPool{{Name: "a", Ring: 0, Audit: true}}, audit: true, want: "AwaitingRing: pool a, of a ring before, has not completed the rollout"},
		"one that has completed does not":                  {others: []rollout.RingPool{{Name: "a", Ring: 0, Entries: entry(run, rollout.Complete)}}, want: "open"},
		"unless its ring is still under observation": {
			rings:  []rollout.Ring{{Name: "test", Bake: time.Hour}, {Name: "rest"}},
			others: []rollout.RingPool{{Name: "a", Ring: 0, Entries: entry(run, rollout.Complete)}},
			want:   `AwaitingRing: ring "test" is under observation until 2026-05-14T16:59:00Z`, wantNext: start.Add(59 * time.Minute),
		},
		"which an emergency does not wait for": {
			rings:    []rollout.Ring{{Name: "test", Bake: time.Hour}, {Name: "rest"}},
			others:   []rollout.RingPool{{Name: "a", Ring: 0, Entries: entry(run, rollout.Complete)}},
			settings: rollout.Settings{Profile: rollout.Emergency}, want: "open",
		},
		"a ring may ask a person before it begins": {
			rings: []rollout.Ring{{Name: "test"}, {Name: "production", Approval: rollout.ApprovalBefore}}, want: `AwaitingApproval: ring "production" asks for an approval`,
		},
		"or when it has completed": {
			rings: []rollout.Ring{{Name: "test", Approval: rollout.ApprovalAfter}, {Name: "production"}}, want: `AwaitingApproval: ring "test" asks for an approval`,
		},
		"an approval of that name lets it begin": {
			rings:    []rollout.Ring{{Name: "test"}, {Name: "production", Approval: rollout.ApprovalBefore}},
			approved: []policy.Approval{{ID: "M1", Revision: 2, Stages: []string{"production"}, Owner: "sam"}}, want: "open, approved by sam",
		},
		"an approval of another revision does not": {
			rings:    []rollout.Ring{{Name: "test"}, {Name: "production", Approval: rollout.ApprovalBefore}},
			approved: []policy.Approval{{ID: "M1", Revision: 1, Owner: "sam"}}, want: `AwaitingApproval: ring "production" asks for an approval`,
		},
		"its own approval after, and the one before of an earlier ring, are asked by others": {
			rings: []rollout.Ring{{Name: "test", Approval: rollout.ApprovalBefore}, {Name: "production", Approval: rollout.ApprovalAfter}}, want: "open",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := rollout.JudgeRings(rollout.RingInput{
				Rings: tc.rings, Own: rollout.RingPool{Name: "own", Ring: 1, Audit: tc.audit}, Others: tc.others, Mitigations: []rollout.Mitigation{m},
				Settings: tc.settings, Approved: tc.approved, Now: start,
			})["m1"]
			text := fmt.Sprintf("%s: %s", got.Reason, got.Message)
			if got.Open {
				text = "open"
				if got.By != "" {
					text += ", approved by " + got.By
				}
			}
			if text != tc.want || !got.Next.Equal(tc.wantNext) {
				t.Errorf("the verdict is %q until %v, want %q until %v", text, got.Next, tc.want, tc.wantNext)
			}
		})
	}
}
