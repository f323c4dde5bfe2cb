package fromapi_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// Where other pools stand must be known whenever a rollout begins, or a pool of a later ring would begin before its time.
func TestMoving(t *testing.T) {
	complete := func() *fromapi.Sight {
		mitigation := emsv1.Mitigation{Spec: emsv1.MitigationSpec{
			ID: "M1", Revision: 2, Lifecycle: emsv1.LifecycleActive, ContentDigest: strings.Repeat("a", 64), DocumentDigest: strings.Repeat("d", 64),
		}}
		return &fromapi.Sight{
			Pool:        &emsv1.PoolMitigationConfig{},
			Mitigations: []emsv1.Mitigation{mitigation},
			Plan: &emsv1.MitigationPlan{Spec: emsv1.MitigationPlanSpec{Mitigations: []emsv1.PlannedMitigation{{
				ID: "M1", Desired: emsv1.DesiredApply, Revision: 2,
				Rollout: emsv1.PlanRollout{ID: "r2-a1-aaaaaaaa", Attempt: 1, State: emsv1.RolloutComplete},
			}}}},
		}
	}
	retry := func(attempt int32) []emsv1.RolloutOrder {
		return []emsv1.RolloutOrder{{ID: "m1", Revision: 2, Action: emsv1.OrderRetry, Attempt: attempt, Reason: "again"}}
	}
	for name, tc := range map[string]struct {
		change     func(*fromapi.Sight)
		wantMoving bool
	}{
		"what is complete is at rest":     {change: func(*fromapi.Sight) {}},
		"so it is in another document":    {change: func(s *fromapi.Sight) { s.Mitigations[0].Spec.DocumentDigest = strings.Repeat("e", 64) }},
		"what is withdrawn goes nowhere":  {change: func(s *fromapi.Sight) { s.Plan, s.Mitigations[0].Spec.Lifecycle = nil, emsv1.LifecycleWithdrawn }},
		"another content moves":           {change: func(s *fromapi.Sight) { s.Mitigations[0].Spec.ContentDigest = strings.Repeat("b", 64) }, wantMoving: true},
		"another revision moves":          {change: func(s *fromapi.Sight) { s.Mitigations[0].Spec.Revision = 3 }, wantMoving: true},
		"another mode moves":              {change: func(s *fromapi.Sight) { s.Pool.Spec.Mode = emsv1.ModeAudit }, wantMoving: true},
		"what has no plan moves":          {change: func(s *fromapi.Sight) { s.Plan = nil }, wantMoving: true},
		"what is on its way moves":        {change: func(s *fromapi.Sight) { s.Plan.Spec.Mitigations[0].Rollout.State = emsv1.RolloutProgressing }, wantMoving: true},
		"what was blocked may come back":  {change: func(s *fromapi.Sight) { s.Plan.Spec.Mitigations[0].Desired = emsv1.DesiredRemove }, wantMoving: true},
		"so may an action that is":        {change: func(s *fromapi.Sight) { s.Plan.Spec.Mitigations[0].BlockedActions = []emsv1.MitigationID{"M1.1"} }, wantMoving: true},
		"an order begins another attempt": {change: func(s *fromapi.Sight) { s.Pool.Spec.Rollout.Orders = retry(2) }, wantMoving: true},
		"an order that was carried out does not": {change: func(s *fromapi.Sight) {
			s.Pool.Spec.Rollout.Orders = retry(2)
			s.Plan.Spec.Mitigations[0].Rollout.ID, s.Plan.Spec.Mitigations[0].Rollout.Attempt = "r2-a2-aaaaaaaa", 2
		}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := complete()
			tc.change(seen)
			if moving := len(seen.Moving()) == 1; moving != tc.wantMoving {
				t.Errorf("moving = %t, want %t", moving, tc.wantMoving)
			}
		})
	}
}

func TestASightLooksAtOtherPools(t *testing.T) {
	pool := func(name string) emsv1.PoolMitigationConfig {
		return emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: name}}
	}
	plan := func(name string, state emsv1.RolloutState) emsv1.MitigationPlan {
		entry := func(id emsv1.MitigationID) emsv1.PlannedMitigation {
			return emsv1.PlannedMitigation{ID: id, Desired: emsv1.DesiredApply, Revision: 1, Rollout: emsv1.PlanRollout{
				ID: "r1-a1-aaaaaaaa", Attempt: 1, State: state, StageNumber: new(int32(1)), Stages: 2,
			}}
		}
		return emsv1.MitigationPlan{
			ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: name},
			Spec:       emsv1.MitigationPlanSpec{Mitigations: []emsv1.PlannedMitigation{entry("A1"), entry("M1"), entry("Z1")}},
		}
	}
	for name, tc := range map[string]struct {
		state       emsv1.RolloutState
		leaving     bool
		wantVerdict rollout.RingVerdict
	}{
		"a halt in another pool holds this one": {state: emsv1.RolloutHalted, wantVerdict: rollout.RingVerdict{Reason: "HaltedElsewhere"}},
		"a pool that is on its way does not":    {state: emsv1.RolloutProgressing, wantVerdict: rollout.RingVerdict{Open: true}},
		"nor does one that is being deleted":    {state: emsv1.RolloutHalted, leaving: true, wantVerdict: rollout.RingVerdict{Open: true}},
	} {
		t.Run(name, func(t *testing.T) {
			own, other := pool("own"), pool("other")
			if tc.leaving {
				other.DeletionTimestamp = new(metav1.Now())
			}
			seen := &fromapi.Sight{
				Pool: &own, Now: time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC),
				Mitigations: []emsv1.Mitigation{{Spec: emsv1.MitigationSpec{
					ID: "M1", Revision: 1, Lifecycle: emsv1.LifecycleActive, ContentDigest: strings.Repeat("a", 64),
				}}},
				Pools: []emsv1.PoolMitigationConfig{own, other}, Plans: []emsv1.MitigationPlan{plan("other", tc.state)},
			}
			got := seen.Input().Rings["m1"]
			if got.Open != tc.wantVerdict.Open || got.Reason != tc.wantVerdict.Reason {
				t.Errorf("verdict = %+v, want %+v", got, tc.wantVerdict)
			}
		})
	}
}
