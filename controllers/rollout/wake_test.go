package rollout

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func TestNewsOfAServer(t *testing.T) {
	saying := func(gates ...emsv1.ServerGate) *emsv1.PoolServer {
		server := &emsv1.PoolServer{}
		for i, g := range gates {
			server.Status.Mitigations = append(server.Status.Mitigations, emsv1.ServerMitigation{
				ID: emsv1.MitigationID("M" + string(rune('1'+i))), State: emsv1.StateApplied, Gate: g,
			})
		}
		return server
	}
	gate := func(rollout string, verdict emsv1.GateVerdict) emsv1.ServerGate {
		return emsv1.ServerGate{Rollout: rollout, Verdict: verdict}
	}
	baking := gate("r1", emsv1.GateBaking)
	reworded := baking
	reworded.Message = "3 of 15 seconds"
	for name, tc := range map[string]struct {
		before, after        *emsv1.PoolServer
		wantChanged, wantBad bool
	}{
		"nothing":                           {before: saying(baking), after: saying(baking)},
		"other words":                       {before: saying(baking), after: saying(reworded)},
		"a state without a gate":            {before: saying(), after: saying(emsv1.ServerGate{})},
		"a verdict":                         {before: saying(baking), after: saying(gate("r1", emsv1.GatePassed)), wantChanged: true},
		"a failure":                         {before: saying(baking), after: saying(gate("r1", emsv1.GateFailed)), wantChanged: true, wantBad: true},
		"a failure of another rollout":      {before: saying(gate("r1", emsv1.GateFailed)), after: saying(gate("r2", emsv1.GateFailed)), wantChanged: true, wantBad: true},
		"a failure that was known":          {before: saying(gate("r1", emsv1.GateFailed)), after: saying(gate("r1", emsv1.GateFailed))},
		"a failure that is over":            {before: saying(gate("r1", emsv1.GateFailed)), after: saying(baking), wantChanged: true},
		"a gate that is gone":               {before: saying(baking), after: saying(), wantChanged: true},
		"a failure beside a gate that goes": {before: saying(baking), after: saying(emsv1.ServerGate{}, gate("r1", emsv1.GateFailed)), wantChanged: true, wantBad: true},
	} {
		t.Run(name, func(t *testing.T) {
			changed, bad := news(tc.before, tc.after)
			if changed != tc.wantChanged || bad != tc.wantBad {
				t.Errorf("changed %t, bad %t; want %t, %t", changed, bad, tc.wantChanged, tc.wantBad)
			}
		})
	}
}

func TestWhatOtherPoolsHaveToKnowOfAPlan(t *testing.T) {
	plan := func(mode emsv1.Mode, entries ...emsv1.PlannedMitigation) *emsv1.MitigationPlan {
		return &emsv1.MitigationPlan{Spec: emsv1.MitigationPlanSpec{Mode: mode, Mitigations: entries}}
	}
	entry := func(id emsv1.MitigationID, desired emsv1.DesiredState, rollout string, state emsv1.RolloutState) emsv1.PlannedMitigation {
		return emsv1.PlannedMitigation{ID: id, Desired: desired, Rollout: emsv1.PlanRollout{ID: rollout, State: state}}
	}
	moving := entry("M1", emsv1.DesiredApply, "r1", emsv1.RolloutProgressing)
	complete := entry("M1", emsv1.DesiredApply, "r1", emsv1.RolloutComplete)
	halted := entry("M1", emsv1.DesiredApply, "r1", emsv1.RolloutHalted)
	blocked := entry("M1", emsv1.DesiredRemove, "r1", emsv1.RolloutComplete)
	m2 := entry("M2", emsv1.DesiredApply, "r1", emsv1.RolloutComplete)
	for name, tc := range map[string]struct {
		before, after       *emsv1.MitigationPlan
		wantHalts, wantEnds []string
	}{
		"a further stage":              {before: plan("Enforce", moving, m2), after: plan("Enforce", moving, m2)},
		"a beginning":                  {before: plan("Enforce", entry("M1", emsv1.DesiredApply, "r0", emsv1.RolloutProgressing)), after: plan("Enforce", moving)},
		"completion":                   {before: plan("Enforce", moving, m2), after: plan("Enforce", complete, m2), wantEnds: []string{"m1"}},
		"a halt":                       {before: plan("Enforce", moving), after: plan("Enforce", halted), wantHalts: []string{"m1"}, wantEnds: []string{"m1"}},
		"another attempt after a halt": {before: plan("Enforce", halted), after: plan("Enforce", moving), wantHalts: []string{"m1"}, wantEnds: []string{"m1"}},
		"a block":                      {before: plan("Enforce", moving), after: plan("Enforce", blocked), wantEnds: []string{"m1"}},
		"another mode":                 {before: plan("Enforce", moving), after: plan("Audit", moving), wantEnds: []string{"m1"}},
		"a plan that is gone":          {before: plan("Enforce", halted, m2), after: plan(""), wantHalts: []string{"m1"}, wantEnds: []string{"m1", "m2"}},
	} {
		t.Run(name, func(t *testing.T) {
			halts, ends := turned(tc.before, tc.after)
			if diff := cmp.Diff(tc.wantHalts, slices.Sorted(maps.Keys(halts))); diff != "" {
				t.Errorf("halts differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantEnds, slices.Sorted(maps.Keys(ends))); diff != "" {
				t.Errorf("ends differ (-want +got):\n%s", diff)
			}
		})
	}
}
