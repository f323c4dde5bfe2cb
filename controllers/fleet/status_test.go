package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// server is a PoolServer that has followed plan generation 3, with the given states in the order of ids M1, M2.
func server(name string, ready bool, states ...emsv1.ServerMitigation) emsv1.PoolServer {
	status := metav1.ConditionFalse
	if ready {
		status = metav1.ConditionTrue
	}
	return emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: emsv1.PoolServerStatus{
			ObservedPlanGeneration: 3,
			Conditions:             []metav1.Condition{{Type: emsv1.ReadyCondition, Status: status}},
			Mitigations:            states,
		},
	}
}

// silent is what package liveness makes of a server.
func silent(s emsv1.PoolServer) emsv1.PoolServer {
	s.Status.Conditions = []metav1.Condition{{Type: emsv1.ReadyCondition, Status: metav1.ConditionUnknown, Reason: emsv1.AgentSilentReason}}
	return s
}

func state(id emsv1.MitigationID, s emsv1.MitigationState, reason string) emsv1.ServerMitigation {
	return emsv1.ServerMitigation{ID: id, State: s, Reason: reason}
}

// without makes a mitigation in place one that IIS does not run.
func without(m emsv1.ServerMitigation) emsv1.ServerMitigation {
	m.Effective = emsv1.EffectiveFalse
	return m
}

func plan(entries ...emsv1.PlannedMitigation) *emsv1.MitigationPlan {
	return &emsv1.MitigationPlan{
		ObjectMeta: metav1.ObjectMeta{Generation: 3},
		Spec: emsv1.MitigationPlanSpec{
			Mitigations: entries,
			Sources:     []emsv1.PlanSource{{Kind: "PoolMitigationConfig", Name: "frontends", Generation: ptr.To[int64](7)}},
		},
	}
}

func planned(id emsv1.MitigationID, desired emsv1.DesiredState, reason string) emsv1.PlannedMitigation {
	return emsv1.PlannedMitigation{ID: id, Desired: desired, Reason: reason, Revision: 1}
}

// rolled is an entry whose rollout stands in stage canary of three.
func rolled(m emsv1.PlannedMitigation, state emsv1.RolloutState, reason string) emsv1.PlannedMitigation {
	m.Rollout = emsv1.PlanRollout{
		ID: "r1-a1-0", Attempt: 1, State: state, Reason: reason, Stage: "canary", StageNumber: new(int32(1)), Stages: 3,
	}
	m.Release.Below = new(emsv1.ReleaseAll)
	return m
}

// gated adds what a server says of that rollout.
func gated(m emsv1.ServerMitigation, verdict emsv1.GateVerdict) emsv1.ServerMitigation {
	m.Gate = emsv1.ServerGate{Rollout: "r1-a1-0", Verdict: verdict}
	return m
}

// ready puts the summary conditions in one line: "Ready=False PlanPending, Reconciling=True PlanPending".
func ready(conditions []metav1.Condition) string {
	var parts []string
	for _, kind := range []string{emsv1.ReadyCondition, emsv1.ReconcilingCondition, emsv1.StalledCondition} {
		if c := meta.FindStatusCondition(conditions, kind); c != nil {
			parts = append(parts, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
		}
	}
	return strings.Join(parts, ", ")
}

func TestPoolStatus(t *testing.T) {
	apply := planned("M1", emsv1.DesiredApply, "Enabled")
	blocked := planned("M1", emsv1.DesiredRemove, "BlockedByPool")
	tests := map[string]struct {
		view        poolView
		wantReady   string
		wantSummary emsv1.PoolSummary
		wantSilent  int32
	}{
		"without a plan the pool waits for one": {
			view:        poolView{},
			wantReady:   "Ready=False PlanPending, Reconciling=True PlanPending",
			wantSummary: emsv1.PoolSummary{InSync: "0/0"},
		},
		"a plan of an older policy is waited for": {
			view: poolView{plan: &emsv1.MitigationPlan{Spec: emsv1.MitigationPlanSpec{
				Sources: []emsv1.PlanSource{{Kind: "PoolMitigationConfig", Name: "frontends", Generation: ptr.To[int64](6)}}}}},
			wantReady:   "Ready=False PlanPending, Reconciling=True PlanPending",
			wantSummary: emsv1.PoolSummary{InSync: "0/0"},
		},
		"a configuration that the plan does not reflect is waited for": {
			view: poolView{plan: plan(apply), configurations: []emsv1.MitigationConfiguration{
				{ObjectMeta: metav1.ObjectMeta{Name: "global", Generation: 2}}}},
			wantReady:   "Ready=False PlanPending, Reconciling=True PlanPending",
			wantSummary: emsv1.PoolSummary{InSync: "0/0"},
		},
		"a configuration that cannot be understood needs a person": {
			view:        poolView{plan: plan(apply), specErr: fmt.Errorf("spec.poolSelector: bad")},
			wantReady:   "Ready=False InvalidSpec, Stalled=True InvalidSpec",
			wantSummary: emsv1.PoolSummary{InSync: "0/0"},
		},
		"a pool without servers is ready": {
			view:        poolView{plan: plan(apply)},
			wantReady:   "Ready=True NoServers",
			wantSummary: emsv1.PoolSummary{InSync: "0/0"},
		},
		"a window that cannot be read needs a person": {
			view: poolView{
				pool: &emsv1.PoolMitigationConfig{Spec: emsv1.PoolMitigationConfigSpec{Rollout: emsv1.RolloutSpec{
					Windows: []emsv1.RolloutWindow{{Policy: "Allow", Cron: "25 o'clock", DurationSeconds: 3600}}}}},
				plan: plan(apply)},
			wantReady:   "Ready=False InvalidSpec, Stalled=True InvalidSpec",
			wantSummary: emsv1.PoolSummary{InSync: "0/0"},
		},
		"a ring that cannot be used needs a person": {
			view: poolView{plan: plan(apply), configurations: []emsv1.MitigationConfiguration{{
				ObjectMeta: metav1.ObjectMeta{Name: "global"},
				Spec: emsv1.MitigationConfigurationSpec{Rings: []emsv1.Ring{{Name: "early", PoolSelector: &metav1.LabelSelector{
					MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: "Near"}}}}}},
			}}},
			wantReady:   "Ready=False InvalidSpec, Stalled=True InvalidSpec",
			wantSummary: emsv1.PoolSummary{InSync: "0/0"},
		},
		"a stage is under observation, with one failure that is tolerated": {
			view: poolView{plan: plan(rolled(apply, emsv1.RolloutProgressing, "AwaitingStage")), servers: []emsv1.PoolServer{
				server("fe01", true, gated(state("M1", emsv1.StateApplied, "Enabled"), emsv1.GateBaking)),
				server("fe02", false, gated(state("M1", emsv1.StateRemoved, "GateFailed"), emsv1.GateFailed)),
				server("fe03", true, state("M1", emsv1.StateHeld, "AwaitingStage"))}},
			wantReady:   "Ready=False RollingOut, Reconciling=True RollingOut",
			wantSummary: emsv1.PoolSummary{InSync: "2/3", Applied: "M1", Failed: "M1", Rollout: "M1 canary 1/3"},
		},
		"a halt needs a person, also when every server is in sync": {
			view: poolView{plan: plan(rolled(apply, emsv1.RolloutHalted, "RolloutHalted")), servers: []emsv1.PoolServer{
				server("fe01", true, gated(state("M1", emsv1.StateRemoved, "GateFailed"), emsv1.GateFailed)),
				server("fe02", true, state("M1", emsv1.StateHeld, "RolloutHalted"))}},
			wantReady:   "Ready=False RolloutHalted, Stalled=True RolloutHalted",
			wantSummary: emsv1.PoolSummary{InSync: "2/2", Failed: "M1", Rollout: "M1 Halted"},
		},
		"a rollout that waits for a window goes on by itself, and the most urgent is shown": {
			view: poolView{
				plan: plan(rolled(apply, emsv1.RolloutProgressing, "AwaitingStage"),
					rolled(planned("M2", emsv1.DesiredApply, "Enabled"), emsv1.RolloutWaiting, "AwaitingWindow")),
				servers: []emsv1.PoolServer{server("fe01", true, state("M1", emsv1.StateHeld, "AwaitingStage"))}},
			wantReady:   "Ready=False AwaitingWindow, Reconciling=True AwaitingWindow",
			wantSummary: emsv1.PoolSummary{InSync: "1/1", Rollout: "M2 AwaitingWindow (+1)"},
		},
		"what a person took back is done when the servers are": {
			view: poolView{plan: plan(rolled(apply, emsv1.RolloutAborted, "RolloutAborted")), servers: []emsv1.PoolServer{
				server("fe01", true, gated(state("M1", emsv1.StateRemoved, "RolloutAborted"), emsv1.GateFailed))}},
			wantReady:   "Ready=True RolloutAborted",
			wantSummary: emsv1.PoolSummary{InSync: "1/1", Rollout: "M1 Aborted"},
		},
		"a rollout of what is blocked says nothing": {
			view: poolView{plan: plan(rolled(blocked, emsv1.RolloutHalted, "RolloutHalted")), servers: []emsv1.PoolServer{
				server("fe01", true, state("M1", emsv1.StateRemoved, "BlockedByPool"))}},
			wantReady:   "Ready=True InSync",
			wantSummary: emsv1.PoolSummary{InSync: "1/1", Blocked: "M1"},
		},
		"all servers applied it": {
			view: poolView{plan: plan(apply), servers: []emsv1.PoolServer{
				server("fe01", true, state("M1", emsv1.StateApplied, "Enabled")),
				server("fe02", true, state("M1", emsv1.StateApplied, "Enabled"))}},
			wantReady:   "Ready=True InSync",
			wantSummary: emsv1.PoolSummary{InSync: "2/2", Applied: "M1"},
		},
		"one server has not reported": {
			view: poolView{plan: plan(apply), servers: []emsv1.PoolServer{
				server("fe01", true, state("M1", emsv1.StateApplied, "Enabled")), {ObjectMeta: metav1.ObjectMeta{Name: "fe02"}}}},
			wantReady:   "Ready=False RollingOut, Reconciling=True RollingOut",
			wantSummary: emsv1.PoolSummary{InSync: "1/2", Applied: "M1"},
		},
		"one is silent, the other in sync": {
			view: poolView{plan: plan(apply), servers: []emsv1.PoolServer{
				server("fe01", true, state("M1", emsv1.StateApplied, "Enabled")), silent(server("fe02", true, state("M1", emsv1.StateApplied, "Enabled")))}},
			wantReady:   "Ready=False AgentsSilent, Reconciling=True AgentsSilent",
			wantSummary: emsv1.PoolSummary{InSync: "1/2", Applied: "M1"},
			wantSilent:  1,
		},
		"one is silent, the other on its way": {
			view: poolView{plan: plan(apply), servers: []emsv1.PoolServer{
				{ObjectMeta: metav1.ObjectMeta{Name: "fe01"}}, silent(server("fe02", true, state("M1", emsv1.StateApplied, "Enabled")))}},
			wantReady:   "Ready=False RollingOut, Reconciling=True RollingOut",
			wantSummary: emsv1.PoolSummary{InSync: "0/2", Applied: "M1"},
			wantSilent:  1,
		},
		"one server failed": {
			view: poolView{plan: plan(apply), servers: []emsv1.PoolServer{
				server("fe01", true, state("M1", emsv1.StateApplied, "Enabled")),
				server("fe02", false, state("M1", emsv1.StateFailed, "SiteNotFound"))}},
			wantReady:   "Ready=False ServersFailed, Stalled=True ServersFailed",
			wantSummary: emsv1.PoolSummary{InSync: "1/2", Applied: "M1", Failed: "M1"},
		},
		"one server has it in place without effect": {
			view: poolView{plan: plan(apply), servers: []emsv1.PoolServer{
				server("fe01", true, state("M1", emsv1.StateApplied, "Enabled")),
				server("fe02", false, without(state("M1", emsv1.StateApplied, "Cleared")))}},
			wantReady:   "Ready=False ServersIneffective, Stalled=True ServersIneffective",
			wantSummary: emsv1.PoolSummary{InSync: "1/2", Applied: "M1"},
		},
		"a failure is told before a lack of effect": {
			view: poolView{plan: plan(apply), servers: []emsv1.PoolServer{
				server("fe01", false, state("M1", emsv1.StateFailed, "SiteNotFound")),
				server("fe02", false, without(state("M1", emsv1.StateApplied, "Cleared")))}},
			wantReady:   "Ready=False ServersFailed, Stalled=True ServersFailed",
			wantSummary: emsv1.PoolSummary{InSync: "0/2", Applied: "M1", Failed: "M1"},
		},
		"blocked and removed everywhere": {
			view: poolView{plan: plan(blocked), servers: []emsv1.PoolServer{
				server("fe01", true, state("M1", emsv1.StateRemoved, "BlockedByPool"))}},
			wantReady:   "Ready=True InSync",
			wantSummary: emsv1.PoolSummary{InSync: "1/1", Blocked: "M1"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.view.pool == nil {
				tc.view.pool = &emsv1.PoolMitigationConfig{}
			}
			tc.view.pool.Name, tc.view.pool.Generation = "frontends", 7
			status := poolStatus(tc.view)
			if got := ready(status.Conditions); got != tc.wantReady {
				t.Errorf("conditions = %s, want %s", got, tc.wantReady)
			}
			if got := ptr.Deref(status.Silent, -1); got != tc.wantSilent {
				t.Errorf("%d servers are silent, want %d", got, tc.wantSilent)
			}
			tc.wantSummary.Mode = "Enforce"
			if diff := cmp.Diff(tc.wantSummary, status.Summary); diff != "" {
				t.Errorf("summary differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPoolModeSaysWhatHappensWhoeverDecidedIt(t *testing.T) {
	tests := map[string]struct {
		pool           emsv1.PoolMitigationConfigSpec
		configurations []emsv1.MitigationConfigurationSpec
		want           string
	}{
		"nothing said": {want: "Enforce"},
		"audit":        {pool: emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeAudit}, want: "Audit"},
		"disabled above an audited pool": {
			pool:           emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeAudit},
			configurations: []emsv1.MitigationConfigurationSpec{{}, {Mitigations: emsv1.Disabled}}, want: "Disabled",
		},
		"suspended above a disabled pool": {
			pool:           emsv1.PoolMitigationConfigSpec{Mitigations: emsv1.Disabled},
			configurations: []emsv1.MitigationConfigurationSpec{{Suspend: emsv1.SuspendRevert}, {}}, want: "Suspended",
		},
		"suspended itself": {pool: emsv1.PoolMitigationConfigSpec{Suspend: emsv1.SuspendRevert}, want: "Suspended"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			view := poolView{pool: &emsv1.PoolMitigationConfig{Spec: tc.pool}}
			for _, spec := range tc.configurations {
				view.configurations = append(view.configurations, emsv1.MitigationConfiguration{Spec: spec})
			}
			if got := view.mode(); got != tc.want {
				t.Errorf("mode = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestMitigationInPoolCountsEveryServerOnce(t *testing.T) {
	servers := []emsv1.PoolServer{
		server("fe01", true, state("M1", emsv1.StateApplied, "Enabled")),
		server("fe02", false, state("M1", emsv1.StateFailed, "SiteNotFound")),
		server("fe03", true, state("M1", emsv1.StateNotApplicable, "FixedByUpdate")),
		server("fe04", true, state("M1", emsv1.StateAudited, "Audit")),
		server("fe05", true, state("M1", emsv1.StateHeld, "MitigationsDisabled")),
		server("fe06", true, state("M1", emsv1.StatePending, "AwaitingStage")),
		server("fe07", true, state("M1", emsv1.StateRemoved, "BlockedByPool")),
		server("fe08", true, state("M2", emsv1.StateApplied, "Enabled")),
		server("fe10", false, without(state("M1", emsv1.StateApplied, "Cleared"))),
		server("fe09", false, without(state("M1", emsv1.StateApplied, "RuleDisabled"))),
		// What is no longer in place has no effect either, which is no news.
		server("fe11", false, without(state("M1", emsv1.StateFailed, "SiteNotFound"))),
	}
	unknown := state("M1", emsv1.StateApplied, "MayBeShadowed")
	unknown.Effective = emsv1.EffectiveUnknown
	servers = append(servers, server("fe12", true, unknown), server("fe13", false, state("M1", emsv1.StateRemoved, "BlockedOnServer")))
	entry := planned("M1", emsv1.DesiredApply, "Enabled")
	got := mitigationInPool(&entry, 0, servers, fromapi.Servers(servers))
	want := emsv1.ServerCounts{
		Total: ptr.To[int32](13), Applied: ptr.To[int32](2), Failed: ptr.To[int32](2), Ineffective: ptr.To[int32](2), NotApplicable: ptr.To[int32](1),
		// Removed, although the plan wants it by now, and silence both mean that the server is still on its way, unless somebody
		// at the server keeps it off.
		Pending: ptr.To[int32](3), Blocked: ptr.To[int32](1), Other: ptr.To[int32](2),
	}
	if diff := cmp.Diff(want, got.Servers); diff != "" {
		t.Errorf("counts differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"fe02", "fe11"}, got.Failing); diff != "" {
		t.Errorf("failing servers differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"fe09", "fe10"}, got.Ineffective); diff != "" {
		t.Errorf("ineffective servers differ (-want +got):\n%s", diff)
	}
}

func TestFailingServersAreNamedOnlyUpToTheLimit(t *testing.T) {
	var servers []emsv1.PoolServer
	for i := range 30 {
		servers = append(servers, server(fmt.Sprintf("fe%02d", 29-i), false, state("M1", emsv1.StateFailed, "SiteNotFound")))
	}
	entry := planned("M1", emsv1.DesiredApply, "Enabled")
	got := mitigationInPool(&entry, 0, servers, fromapi.Servers(servers))
	if len(got.Failing) != 20 || got.Failing[0] != "fe00" || got.Failing[19] != "fe19" {
		t.Errorf("failing = %v, want the first 20 in order", got.Failing)
	}
}

func TestMitigationStatus(t *testing.T) {
	inPool := func(desired emsv1.DesiredState, reason string, revision int64, c counts) emsv1.PoolMitigationConfig {
		return emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: "vienna"},
			Status: emsv1.PoolMitigationConfigStatus{Mitigations: []emsv1.PoolMitigationStatus{
				{ID: "M1", Desired: desired, Reason: reason, Revision: revision, Servers: c.status()}}},
		}
	}
	rolling := func(name string, state emsv1.RolloutState, reason string, c counts) emsv1.PoolMitigationConfig {
		pool := inPool(emsv1.DesiredApply, "Enabled", 2, c)
		pool.Name = name
		pool.Status.Mitigations[0].Rollout = emsv1.PoolRolloutStatus{State: state, Reason: reason, Failed: new(c.failed)}
		return pool
	}
	complete := rolling("staging", emsv1.RolloutComplete, "RolloutComplete", counts{total: 2, applied: 2})
	tests := map[string]struct {
		pools       []emsv1.PoolMitigationConfig
		lifecycle   emsv1.Lifecycle
		wantReady   string
		wantApplied string
		wantMessage string
	}{
		"withdrawn, and the pool has not planned that": {
			lifecycle: emsv1.LifecycleWithdrawn,
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredApply, "Enabled", 2, counts{total: 3, applied: 3})},
			wantReady: "Ready=False RollingOut, Reconciling=True RollingOut", wantApplied: "3/3",
		},
		"halted in one pool and waiting in another": {
			pools: []emsv1.PoolMitigationConfig{complete,
				rolling("b", emsv1.RolloutHalted, "RolloutHalted", counts{total: 4, failed: 1, pending: 3}),
				rolling("c", emsv1.RolloutWaiting, "HaltedElsewhere", counts{total: 4, pending: 4})},
			wantReady: "Ready=False RolloutHalted, Stalled=True RolloutHalted", wantApplied: "2/10",
			wantMessage: "it halted in vienna/b; 2 of 10 servers have it; see `kubectl mitigation rollout status`",
		},
		"waiting for a person in one pool": {
			pools:     []emsv1.PoolMitigationConfig{complete, rolling("b", emsv1.RolloutWaiting, "AwaitingApproval", counts{total: 4, pending: 4})},
			wantReady: "Ready=False AwaitingApproval, Stalled=True AwaitingApproval", wantApplied: "2/6",
			wantMessage: "a person has to approve the next stage or ring in vienna/b; 2 of 6 servers have it; see `kubectl mitigation rollout status`",
		},
		"waiting for a ring in two pools": {
			pools: []emsv1.PoolMitigationConfig{complete,
				rolling("c", emsv1.RolloutWaiting, "AwaitingRing", counts{total: 1, pending: 1}),
				rolling("b", emsv1.RolloutWaiting, "AwaitingRing", counts{total: 1, pending: 1})},
			wantReady: "Ready=False AwaitingRing, Reconciling=True AwaitingRing", wantApplied: "2/4",
			wantMessage: "it waits for the pools of a ring before in vienna/b, vienna/c; 2 of 4 servers have it; see `kubectl mitigation rollout status`",
		},
		"failed on a server, which the rollout tolerates": {
			pools:     []emsv1.PoolMitigationConfig{rolling("b", emsv1.RolloutProgressing, "AwaitingStage", counts{total: 4, applied: 1, failed: 1, pending: 2})},
			wantReady: "Ready=False RollingOut, Reconciling=True RollingOut", wantApplied: "1/4",
		},
		"failed on a server after the rollout was complete": {
			pools:     []emsv1.PoolMitigationConfig{rolling("b", emsv1.RolloutComplete, "RolloutComplete", counts{total: 4, applied: 3, failed: 1})},
			wantReady: "Ready=False ServersFailed, Stalled=True ServersFailed", wantApplied: "3/4",
		},
		"taken back by a person, with the revision before in place": {
			pools:     []emsv1.PoolMitigationConfig{complete, rolling("b", emsv1.RolloutAborted, "RolloutAborted", counts{total: 4, applied: 4})},
			wantReady: "Ready=True RolloutAborted", wantApplied: "6/6",
		},
		"taken back by a person, with nothing in place": {
			pools:     []emsv1.PoolMitigationConfig{rolling("b", emsv1.RolloutAborted, "RolloutAborted", counts{total: 4, other: 4})},
			wantReady: "Ready=True RolloutAborted", wantApplied: "0/0",
		},
		"no pools": {wantReady: "Ready=True NoPools", wantApplied: "0/0"},
		"a pool that has not planned it": {
			pools:     []emsv1.PoolMitigationConfig{{}},
			wantReady: "Ready=False RollingOut, Reconciling=True RollingOut", wantApplied: "0/0",
		},
		"a pool that has planned an older revision": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredApply, "Enabled", 1, counts{total: 3, applied: 3})},
			wantReady: "Ready=False RollingOut, Reconciling=True RollingOut", wantApplied: "3/3",
		},
		"on every server of two pools": {
			pools: []emsv1.PoolMitigationConfig{
				inPool(emsv1.DesiredApply, "Enabled", 2, counts{total: 3, applied: 3}),
				inPool(emsv1.DesiredApply, "Enabled", 2, counts{total: 2, applied: 1, notApplicable: 1})},
			wantReady: "Ready=True Applied", wantApplied: "4/4",
		},
		"on some servers": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredApply, "Enabled", 2, counts{total: 3, applied: 1, pending: 2})},
			wantReady: "Ready=False RollingOut, Reconciling=True RollingOut", wantApplied: "1/3",
		},
		"failed on one server": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredApply, "Enabled", 2, counts{total: 3, applied: 2, failed: 1})},
			wantReady: "Ready=False ServersFailed, Stalled=True ServersFailed", wantApplied: "2/3",
		},
		"without effect on one server": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredApply, "Enabled", 2, counts{total: 3, applied: 2, ineffective: 1})},
			wantReady: "Ready=False ServersIneffective, Stalled=True ServersIneffective", wantApplied: "2/3",
		},
		"held where it is, without effect": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredHold, "MitigationsDisabled", 2, counts{total: 3, applied: 1, ineffective: 1, other: 1})},
			wantReady: "Ready=False ServersIneffective, Stalled=True ServersIneffective", wantApplied: "1/2",
		},
		"blocked, and still on one server": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredRemove, "BlockedByPool", 2, counts{total: 3, applied: 1, blocked: 2})},
			wantReady: "Ready=False RollingOut, Reconciling=True RollingOut", wantApplied: "1/0",
		},
		"blocked, and off every server": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredRemove, "BlockedByPool", 2, counts{total: 3, blocked: 3})},
			wantReady: "Ready=True NotWanted", wantApplied: "0/0",
		},
		"held where it is": {
			pools:     []emsv1.PoolMitigationConfig{inPool(emsv1.DesiredHold, "MitigationsDisabled", 2, counts{total: 3, applied: 2, other: 1})},
			wantReady: "Ready=True Applied", wantApplied: "2/2",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.lifecycle == "" {
				tc.lifecycle = emsv1.LifecycleActive
			}
			m := &emsv1.Mitigation{Spec: emsv1.MitigationSpec{ID: "M1", Revision: 2, Lifecycle: tc.lifecycle, Actions: []emsv1.MitigationAction{
				{Type: "UrlRewrite"}, {Type: "AppPool"}, {Type: "UrlRewrite"}}}}
			status := mitigationStatus(m, tc.pools)
			if got := ready(status.Conditions); got != tc.wantReady {
				t.Errorf("conditions = %s, want %s", got, tc.wantReady)
			}
			if got := conditions.Current(status.Conditions).Message; tc.wantMessage != "" && got != tc.wantMessage {
				t.Errorf("message = %q, want %q", got, tc.wantMessage)
			}
			if status.Applied != tc.wantApplied {
				t.Errorf("applied = %s, want %s", status.Applied, tc.wantApplied)
			}
			if status.Types != "UrlRewrite,AppPool" {
				t.Errorf("types = %s, want each kind once", status.Types)
			}
		})
	}
}

func TestConfigurationStatus(t *testing.T) {
	now := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	expiry := metav1.NewTime(now.Add(time.Hour))
	past := metav1.NewTime(now)
	pools := []emsv1.PoolMitigationConfig{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "frontends", Labels: map[string]string{"site": "vienna"}}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "frontends"}},
	}
	rendered := &emsv1.MitigationPlan{Spec: emsv1.MitigationPlanSpec{Sources: []emsv1.PlanSource{
		{Kind: "MitigationConfiguration", Name: "vienna", Generation: ptr.To[int64](2)}}}}
	tests := map[string]struct {
		selector    *metav1.LabelSelector
		plans       map[string]*emsv1.MitigationPlan
		wantReady   string
		wantPools   *int32
		wantBlocked string
	}{
		"in effect in the one pool in scope": {
			selector:  &metav1.LabelSelector{MatchLabels: map[string]string{"site": "vienna"}},
			plans:     map[string]*emsv1.MitigationPlan{"a/frontends": rendered},
			wantReady: "Ready=True InEffect", wantPools: ptr.To[int32](1), wantBlocked: "M1",
		},
		"a plan of another generation is waited for": {
			selector:  &metav1.LabelSelector{MatchLabels: map[string]string{"site": "vienna"}},
			plans:     map[string]*emsv1.MitigationPlan{"a/frontends": {}},
			wantReady: "Ready=False PlanPending, Reconciling=True PlanPending", wantPools: ptr.To[int32](1), wantBlocked: "M1",
		},
		"the organisation's configuration waits for every pool": {
			plans:     map[string]*emsv1.MitigationPlan{"a/frontends": rendered},
			wantReady: "Ready=False PlanPending, Reconciling=True PlanPending", wantPools: ptr.To[int32](2), wantBlocked: "M1",
		},
		"a selector that cannot be used needs a person": {
			selector:  &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: "Near"}}},
			wantReady: "Ready=False InvalidSpec, Stalled=True InvalidSpec", wantBlocked: "M1",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := &emsv1.MitigationConfiguration{
				ObjectMeta: metav1.ObjectMeta{Name: "vienna", Generation: 2},
				Spec: emsv1.MitigationConfigurationSpec{PoolSelector: tc.selector, Blocked: []emsv1.Exception{
					{ID: "M1", ExpiryTime: &expiry}, {ID: "M2", ExpiryTime: &past}}},
			}
			status, next := configurationStatus(c, pools, tc.plans, now)
			if got := ready(status.Conditions); got != tc.wantReady {
				t.Errorf("conditions = %s, want %s", got, tc.wantReady)
			}
			if diff := cmp.Diff(tc.wantPools, status.Pools); diff != "" {
				t.Errorf("pools differ (-want +got):\n%s", diff)
			}
			if status.Blocked != tc.wantBlocked {
				t.Errorf("blocked = %q, want only what counts now, %q", status.Blocked, tc.wantBlocked)
			}
			if !next.Equal(expiry.Time) {
				t.Errorf("next look at %v, want at the expiry, %v", next, expiry.Time)
			}
		})
	}
}

func TestARolloutsStatusSaysWhatToDo(t *testing.T) {
	entry := rolled(planned("M1", emsv1.DesiredApply, "Enabled"), emsv1.RolloutHalted, "RolloutHalted")
	entry.Rollout.Message = strings.Repeat("fe01 said 503. ", 200)
	servers := []emsv1.PoolServer{
		server("fe01", true, gated(state("M1", emsv1.StateRemoved, "GateFailed"), emsv1.GateFailed)),
		server("fe02", true, gated(state("M1", emsv1.StateApplied, "Enabled"), emsv1.GatePassed)),
	}
	history := []emsv1.PoolHistoryEntry{{ID: "M1", Action: "Halted"}}
	status := poolStatus(poolView{
		pool: &emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: "vienna", Generation: 7},
			Status:     emsv1.PoolMitigationConfigStatus{History: history},
		},
		plan: plan(entry), servers: servers,
	})
	got := status.Mitigations[0].Rollout
	if len(got.Message) > 2048 || !strings.HasPrefix(got.Message, "fe01 said 503.") {
		t.Errorf("message has %d bytes: %q", len(got.Message), got.Message)
	}
	for _, command := range []string{"rollout retry M1 --pool vienna/frontends", "rollout promote M1 --pool", "rollout abort M1 --pool"} {
		if !strings.Contains(got.Message, "`kubectl mitigation "+command) {
			t.Errorf("message does not name %q: %q", command, got.Message)
		}
	}
	if *got.Released != 2 || *got.Passed != 1 || *got.Failed != 1 || *status.Mitigations[0].Servers.Failed != 1 {
		t.Errorf("%d released, %d passed, %d failed; want 2, 1, 1, and a server that went back by itself counted as failed", *got.Released, *got.Passed, *got.Failed)
	}
	if diff := cmp.Diff(history, status.History); diff != "" {
		t.Errorf("the history, which is not this package's, changed:\n%s", diff)
	}
}

func TestAPoolAsksForNoMoreThanTheRolloutDoes(t *testing.T) {
	pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: "vienna"}}
	for message, want := range map[string]string{
		`stage "tenth" asks for an approval before it begins`:           "`kubectl mitigation approve M1 --pool vienna/frontends --stage 'tenth' --revision 3 --reason TEXT`",
		`stage "old hall" asks for an approval, now that it has passed`: "`kubectl mitigation approve M1 --pool vienna/frontends --stage 'old hall' --revision 3 --reason TEXT`",
		`ring "broad" asks for an approval`:                             "`kubectl mitigation approve M1 --organization --stage 'broad' --revision 3 --reason TEXT`",
	} {
		m := emsv1.PoolMitigationStatus{ID: "M1", Revision: 3, Rollout: emsv1.PoolRolloutStatus{Reason: emsv1.AwaitingApprovalReason, Message: message}}
		advise(pool, &m)
		if !strings.HasSuffix(m.Rollout.Message, "; "+want) {
			t.Errorf("message is %q, want %q at its end", m.Rollout.Message, want)
		}
	}
}

func BenchmarkPoolStatusOf1000Servers(b *testing.B) {
	var servers []emsv1.PoolServer
	for i := range 1000 {
		servers = append(servers, server(fmt.Sprintf("fe%04d", i), true,
			state("M1", emsv1.StateApplied, "Enabled"), state("M2", emsv1.StateNotApplicable, "FixedByUpdate")))
	}
	view := poolView{
		pool:    &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "frontends", Generation: 7}},
		plan:    plan(planned("M1", emsv1.DesiredApply, "Enabled"), planned("M2", emsv1.DesiredApply, "Enabled")),
		servers: servers,
	}
	b.ReportAllocs()
	for b.Loop() {
		poolStatus(view)
	}
}
