package fleet

import (
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
}

func totals(m *emsv1.Mitigation, pools []emsv1.PoolMitigationConfig) mitigationTotals {
	var t mitigationTotals
	for i := range pools {
		pool := &pools[i]
		at := slices.IndexFunc(pool.Status.Mitigations, func(s emsv1.PoolMitigationStatus) bool { return s.ID == m.Spec.ID })
		if at < 0 {
			t.unplanned++
			continue
		}
		s := &pool.Status.Mitigations[at]
		t.pools++
		if s.Revision != m.Spec.Revision {
			t.unplanned++
		}
		if policy.Reason(s.Reason).Blocked() {
			t.blockedPools++
		}
		t.merge(s.Servers)
		applied := ptr.Deref(s.Servers.Applied, 0) + ptr.Deref(s.Servers.Ineffective, 0)
		switch s.Desired {
		case emsv1.DesiredApply:
			t.wanted += ptr.Deref(s.Servers.Total, 0) - ptr.Deref(s.Servers.NotApplicable, 0) - ptr.Deref(s.Servers.Other, 0)
		case emsv1.DesiredRemove:
			t.leaving += applied
		case emsv1.DesiredHold:
			t.wanted += applied
		}
		if ptr.Deref(s.Servers.Failed, 0) > 0 {
			t.failing = append(t.failing, pool.Namespace+"/"+pool.Name)
		}
		if ptr.Deref(s.Servers.Ineffective, 0) > 0 {
			t.unprotected = append(t.unprotected, pool.Namespace+"/"+pool.Name)
		}
	}
	slices.Sort(t.failing)
	slices.Sort(t.unprotected)
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
	switch {
	case pools == 0:
		return conditions.Done(emsv1.NoPoolsReason, "there are no pools; create a PoolMitigationConfig for each")
	case t.failed > 0:
		return conditions.Stalled(emsv1.ServersFailedReason,
			fmt.Sprintf("%d servers failed in %s; see `kubectl get poolservers -A -o wide` for what to do", t.failed, strings.Join(firstFew(t.failing), ", ")))
	case t.ineffective > 0:
		return conditions.Stalled(emsv1.ServersIneffectiveReason,
			fmt.Sprintf("%d servers in %s have it in place, but their IIS does not run it; see `kubectl get poolservers -A -o wide` for what to do",
				t.ineffective, strings.Join(firstFew(t.unprotected), ", ")))
	case t.unplanned > 0:
		return conditions.Working(emsv1.RollingOutReason, fmt.Sprintf("%d pools have not planned the current revision yet", t.unplanned))
	case t.leaving > 0:
		return conditions.Working(emsv1.RollingOutReason, fmt.Sprintf("%d servers have yet to remove it", t.leaving))
	case t.pending > 0:
		return conditions.Working(emsv1.RollingOutReason, fmt.Sprintf("%d of %d servers have it", t.applied, t.wanted))
	case t.wanted == 0:
		return conditions.Done(emsv1.NotWantedReason, "no server should have it, and none has")
	default:
		return conditions.Done(emsv1.AppliedReason, fmt.Sprintf("all %d servers that should have it have it", t.wanted))
	}
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
