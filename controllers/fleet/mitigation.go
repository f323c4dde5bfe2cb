package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy"
)

// mitigationTotals sums up where a mitigation stands over all pools.
type mitigationTotals struct {
	counts

	pools, blockedPools int32
	// wanted is the number of servers that should have the mitigation.
	wanted int32
	// leaving is the number of servers that still have it although they should not.
	leaving int32
	// unplanned is the number of pools whose status does not speak of the current revision yet.
	unplanned int32
	// failing names pools with failed servers.
	failing []string
	// unprotected names pools with servers on which the mitigation is ineffective.
	unprotected []string
	// broken is the number of failed servers beyond those that a rollout tolerates.
	broken int32
	// rollouts are those that are not complete, by reason, with the names of their pools.
	rollouts map[string][]string
}

func totals(m *emsv1.Mitigation, pools []emsv1.PoolMitigationConfig) mitigationTotals {
	t := mitigationTotals{rollouts: map[string][]string{}}
	for i := range pools {
		pool := &pools[i]
		at := slices.IndexFunc(pool.Status.Mitigations, func(s emsv1.PoolMitigationStatus) bool { return s.ID == m.Spec.ID })
		if at < 0 {
			t.unplanned++
			continue
		}
		s := &pool.Status.Mitigations[at]
		t.pools++
		// What the publisher took back is wanted by no plan that knows of it.
		if s.Revision != m.Spec.Revision || (s.Desired == emsv1.DesiredApply && m.Spec.Lifecycle != emsv1.LifecycleActive) {
			t.unplanned++
		}
		if policy.Reason(s.Reason).Blocked() {
			t.blockedPools++
		}
		t.merge(s.Servers)
		applied := ptr.Deref(s.Servers.Applied, 0) + ptr.Deref(s.Servers.Ineffective, 0)
		switch s.Desired {
		case emsv1.DesiredApply:
			if s.Rollout.State == emsv1.RolloutAborted {
				t.wanted += applied // What is there is the revision before, and nobody wants more.
				break
			}
			t.wanted += ptr.Deref(s.Servers.Total, 0) - ptr.Deref(s.Servers.NotApplicable, 0) - ptr.Deref(s.Servers.Other, 0)
		case emsv1.DesiredRemove:
			t.leaving += applied
		case emsv1.DesiredHold:
			t.wanted += applied
		}
		if failed := ptr.Deref(s.Servers.Failed, 0) - tolerated(s); failed > 0 {
			t.failing = append(t.failing, pool.Namespace+"/"+pool.Name)
			t.broken += failed
		}
		if s.Desired == emsv1.DesiredApply && s.Rollout.State != "" && s.Rollout.State != emsv1.RolloutComplete {
			t.rollouts[s.Rollout.Reason] = append(t.rollouts[s.Rollout.Reason], pool.Namespace+"/"+pool.Name)
		}
		if ptr.Deref(s.Servers.Ineffective, 0) > 0 {
			t.unprotected = append(t.unprotected, pool.Namespace+"/"+pool.Name)
		}
	}
	slices.Sort(t.failing)
	slices.Sort(t.unprotected)
	for _, pools := range t.rollouts {
		slices.Sort(pools)
	}
	return t
}

// mitigationStatus computes the status of a mitigation from the statuses of all pools.
func mitigationStatus(m *emsv1.Mitigation, pools []emsv1.PoolMitigationConfig) emsv1.MitigationStatus {
	t := totals(m, pools)
	status := emsv1.MitigationStatus{
		Conditions:         slices.Clone(m.Status.Conditions),
		ObservedGeneration: new(m.Generation),
		Types:              actionTypes(m.Spec.Actions),
		Applied:            fmt.Sprintf("%d/%d", t.applied, t.wanted),
		Servers:            t.status(),
		Pools:              new(t.pools),
		BlockedPools:       new(t.blockedPools),
	}
	conditions.Set(&status.Conditions, m.Generation, t.outcome(len(pools)))
	return status
}

func (t mitigationTotals) outcome(pools int) conditions.Outcome {
	reason, names := t.mostUrgent()
	switch {
	case pools == 0:
		return conditions.Done(emsv1.NoPoolsReason, "there are no pools; create a PoolMitigationConfig for each")
	case waitsForPerson(reason):
		return conditions.Stalled(reason, t.rolloutMessage(reason, names))
	case t.broken > 0:
		return conditions.Stalled(emsv1.ServersFailedReason,
			fmt.Sprintf("%d servers failed in %s; see `kubectl get poolservers -A -o wide` for what to do", t.broken, strings.Join(firstFew(t.failing), ", ")))
	case t.ineffective > 0:
		return conditions.Stalled(emsv1.ServersIneffectiveReason,
			fmt.Sprintf("%d servers in %s have it in place, but their IIS does not run it; see `kubectl get poolservers -A -o wide` for what to do",
				t.ineffective, strings.Join(firstFew(t.unprotected), ", ")))
	case t.unplanned > 0:
		return conditions.Working(emsv1.RollingOutReason, fmt.Sprintf("pools that have not planned the current revision yet: %d", t.unplanned))
	case t.leaving > 0:
		return conditions.Working(emsv1.RollingOutReason, fmt.Sprintf("%d servers have yet to remove it", t.leaving))
	case reason != "" && reason != emsv1.AwaitingStageReason && reason != emsv1.RolloutAbortedReason:
		return conditions.Working(reason, t.rolloutMessage(reason, names))
	case t.pending > 0 || reason == emsv1.AwaitingStageReason:
		return conditions.Working(emsv1.RollingOutReason, fmt.Sprintf("%d of %d servers have it", t.applied, t.wanted))
	case reason == emsv1.RolloutAbortedReason:
		return conditions.Done(reason, t.rolloutMessage(reason, names))
	case t.wanted == 0:
		return conditions.Done(emsv1.NotWantedReason, "no server should have it, and none has")
	default:
		return conditions.Done(emsv1.AppliedReason, fmt.Sprintf("all %d servers that should have it have it", t.wanted))
	}
}

// mostUrgent is the reason of the rollouts that somebody should look at first, and the pools with it; "" if every rollout is complete.
func (t mitigationTotals) mostUrgent() (reason string, pools []string) {
	for candidate, in := range t.rollouts {
		if reason == "" || rank(candidate) < rank(reason) || (rank(candidate) == rank(reason) && candidate < reason) {
			reason, pools = candidate, in
		}
	}
	return reason, pools
}

// rolloutMessage says where a rollout stands in which pools.
func (t mitigationTotals) rolloutMessage(reason string, pools []string) string {
	did := map[string]string{
		emsv1.RolloutHaltedReason:    "it halted",
		emsv1.RolloutStuckReason:     "servers are silent or have no data to judge by",
		emsv1.AwaitingApprovalReason: "a person has to approve the next stage or ring",
		emsv1.HaltedElsewhereReason:  "it is held because it halted in another pool",
		emsv1.RolloutPausedReason:    "a person paused it",
		emsv1.AwaitingRingReason:     "it waits for the pools of a ring before",
		emsv1.AwaitingWindowReason:   "it waits for a window",
		emsv1.RolloutAbortedReason:   "a person took it back",
	}[reason]
	return fmt.Sprintf("%s in %s; %d of %d servers have it; see `kubectl mitigation rollout status`",
		cmp.Or(did, "it is not complete"), strings.Join(firstFew(pools), ", "), t.applied, t.wanted)
}

// actionTypes lists the kinds of change that actions make, each once, in the order of the actions.
func actionTypes(actions []emsv1.MitigationAction) string {
	var types []string
	for _, a := range actions {
		if !slices.Contains(types, string(a.Type)) {
			types = append(types, string(a.Type))
		}
	}
	return strings.Join(types, ",")
}
