package fleet

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/shard"
)

// maxFailing is how many failing servers a pool's status names per mitigation.
const maxFailing = 20

// poolView is everything that the status of a pool is made of.
type poolView struct {
	pool *emsv1.PoolMitigationConfig
	// plan is nil while there is none.
	plan *emsv1.MitigationPlan
	// configurations are those in scope; specErr says that nobody can know which are.
	configurations []emsv1.MitigationConfiguration
	specErr        error
	servers        []emsv1.PoolServer
}

// poolStatus computes the status of a pool. Conditions of the old status are carried over so that their transition
// times stay right.
func poolStatus(v poolView) emsv1.PoolMitigationConfigStatus {
	status := emsv1.PoolMitigationConfigStatus{
		Conditions:         slices.Clone(v.pool.Status.Conditions),
		ObservedGeneration: new(v.pool.Generation),
		Servers:            new(number32(len(v.servers))),
		History:            v.pool.Status.History, // Package rollout writes it.
	}
	inSync := 0
	silent := silentServers(v.servers)
	status.Silent = new(number32(len(silent)))
	for i := range v.servers {
		if v.plan != nil && serverInSync(&v.servers[i], v.plan.Generation) {
			inSync++
		}
	}
	if v.plan != nil {
		gates := fromapi.Servers(v.servers)
		for i := range v.plan.Spec.Mitigations {
			m := mitigationInPool(&v.plan.Spec.Mitigations[i], i, v.servers, gates)
			advise(v.pool, &m)
			status.Mitigations = append(status.Mitigations, m)
		}
	}
	status.Summary = poolSummary(status.Mitigations, inSync, len(v.servers))
	status.Summary.Mode = v.mode()
	conditions.Set(&status.Conditions, v.pool.Generation, poolOutcome(v, status, inSync, silent))
	return status
}

// mode says what happens in the pool, as far as policy is understood: the kill switch goes before a disabled pool, and
// that before Audit.
func (v poolView) mode() string {
	suspended := v.pool.Spec.Suspend == emsv1.SuspendRevert
	disabled := v.pool.Spec.Mitigations == emsv1.Disabled
	for i := range v.configurations {
		suspended = suspended || v.configurations[i].Spec.Suspend == emsv1.SuspendRevert
		disabled = disabled || v.configurations[i].Spec.Mitigations == emsv1.Disabled
	}
	switch {
	case suspended:
		return "Suspended"
	case disabled:
		return "Disabled"
	default:
		return string(v.pool.Spec.GetMode())
	}
}

func poolOutcome(v poolView, status emsv1.PoolMitigationConfigStatus, inSync int, silent []string) conditions.Outcome {
	if v.specErr != nil {
		return conditions.Stalled(emsv1.InvalidSpecReason,
			fmt.Sprintf("the plan stays as it is, because it is not clear whether a configuration speaks for this pool; correct %v", v.specErr))
	}
	if err := rolloutErr(v); err != nil {
		return conditions.Stalled(emsv1.InvalidSpecReason,
			fmt.Sprintf("nothing new is rolled out, and removals go on, until this is corrected: %v", err))
	}
	if pending := pendingSource(v); pending != "" {
		return conditions.Working(emsv1.PlanPendingReason, "the plan does not yet reflect the current "+pending)
	}
	if len(v.servers) == 0 {
		return conditions.Done(emsv1.NoServersReason, "the pool has no servers; create a PoolServer for each")
	}
	moving := urgent(status.Mitigations)
	if len(moving) > 0 && waitsForPerson(moving[0].Rollout.Reason) {
		return conditions.Stalled(moving[0].Rollout.Reason, rolloutMessage(moving))
	}
	if outcome, broken := brokenServers(status.Mitigations); broken {
		return outcome
	}
	if len(moving) > 0 && moving[0].Rollout.State != emsv1.RolloutAborted {
		reason := moving[0].Rollout.Reason
		if moving[0].Rollout.State == emsv1.RolloutProgressing {
			reason = emsv1.RollingOutReason
		}
		return conditions.Working(reason, rolloutMessage(moving))
	}
	if len(silent) > 0 && inSync+len(silent) == len(v.servers) {
		return conditions.Working(emsv1.AgentsSilentReason, fmt.Sprintf("%d of %d servers are silent (%s), the others are in sync with the plan; see whether they are on",
			len(silent), len(v.servers), strings.Join(firstFew(silent), ", ")))
	}
	if inSync < len(v.servers) {
		return conditions.Working(emsv1.RollingOutReason, fmt.Sprintf("%d of %d servers are in sync with the plan", inSync, len(v.servers)))
	}
	if len(moving) > 0 {
		return conditions.Done(emsv1.RolloutAbortedReason,
			fmt.Sprintf("all %d servers are in sync with the plan; a person took back: %s", len(v.servers), rolloutMessage(moving)))
	}
	return conditions.Done(emsv1.InSyncReason, fmt.Sprintf("all %d servers are in sync with the plan", len(v.servers)))
}

// handedOver is the outcome of a pool that has another manager, while its servers are on their way.
func handedOver(from, to shard.Name) conditions.Outcome {
	return conditions.Working(emsv1.TakingOverReason,
		fmt.Sprintf("%s takes the pool over from %s; its servers are being handed over, and until all have come nothing new is rolled out; removals go on", to.Manager(), from.Manager()))
}

// rolloutErr says what in the rollout settings that count for the pool cannot be used.
func rolloutErr(v poolView) error {
	_, err := fromapi.PoolSettings(v.pool, v.configurations)
	if err == nil {
		_, err = fromapi.Rings(v.configurations)
	}
	return err
}

// brokenServers tells of servers that could not do what the plan wants, or did so in vain.
func brokenServers(mitigations []emsv1.PoolMitigationStatus) (conditions.Outcome, bool) {
	var failed, ineffective []string
	for i := range mitigations {
		m := &mitigations[i]
		if n := ptr.Deref(m.Servers.Ineffective, 0); n > 0 {
			ineffective = append(ineffective, fmt.Sprintf("%s on %d (%s)", m.ID, n, strings.Join(firstFew(m.Ineffective), ", ")))
		}
		if n := ptr.Deref(m.Servers.Failed, 0); n > tolerated(m) {
			failed = append(failed, fmt.Sprintf("%s on %d (%s)", m.ID, n, strings.Join(firstFew(m.Failing), ", ")))
		}
	}
	if len(failed) > 0 {
		return conditions.Stalled(emsv1.ServersFailedReason,
			"failed: "+strings.Join(failed, "; ")+"; see `kubectl get poolservers -o wide` for what to do"), true
	}
	if len(ineffective) > 0 {
		return conditions.Stalled(emsv1.ServersIneffectiveReason,
			"in place, but IIS does not run it: "+strings.Join(ineffective, "; ")+"; see `kubectl get poolservers -o wide` for what to do"), true
	}
	return conditions.Outcome{}, false
}

// pendingSource names a policy object that the plan does not reflect, or returns "".
func pendingSource(v poolView) string {
	if v.plan == nil {
		return "PoolMitigationConfig"
	}
	rendered := map[string]int64{}
	for _, s := range v.plan.Spec.Sources {
		rendered[s.Kind+"/"+s.Name] = ptr.Deref(s.Generation, 0)
	}
	if rendered["PoolMitigationConfig/"+v.pool.Name] != v.pool.Generation {
		return "PoolMitigationConfig"
	}
	for i := range v.configurations {
		c := &v.configurations[i]
		if rendered["MitigationConfiguration/"+c.Name] != c.Generation {
			return fmt.Sprintf("MitigationConfiguration %q", c.Name)
		}
	}
	if len(rendered) != len(v.configurations)+1 {
		return "set of MitigationConfigurations"
	}
	return ""
}

// serverInSync reports whether the server has followed the plan of the given generation to the end.
func serverInSync(server *emsv1.PoolServer, planGeneration int64) bool {
	return server.Status.ObservedPlanGeneration == planGeneration &&
		meta.IsStatusConditionTrue(server.Status.Conditions, emsv1.ReadyCondition)
}

// silentServers names the servers that have not shown for a while that they are alive.
func silentServers(servers []emsv1.PoolServer) []string {
	var names []string
	for i := range servers {
		c := meta.FindStatusCondition(servers[i].Status.Conditions, emsv1.ReadyCondition)
		if c != nil && c.Status == metav1.ConditionUnknown && c.Reason == emsv1.AgentSilentReason {
			names = append(names, servers[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

// mitigationInPool counts the servers of a pool by where they stand with a planned mitigation. A server that took it back by itself, since
// its gate failed, counts as failed, whatever it has in place now. place is where the mitigation stands in the plan.
func mitigationInPool(planned *emsv1.PlannedMitigation, place int, servers []emsv1.PoolServer, gates []rollout.Server) emsv1.PoolMitigationStatus {
	out := emsv1.PoolMitigationStatus{
		ID: planned.ID, Desired: planned.Desired, Reason: planned.Reason, Revision: planned.Revision,
	}
	var failing []string
	out.Rollout, failing = rolloutInPool(planned, gates)
	want := wanted{desired: planned.Desired, revision: planned.Revision}
	if out.Rollout.State == emsv1.RolloutAborted {
		// A person took it back: nobody waits for the servers to have it.
		failing, want = nil, wanted{desired: emsv1.DesiredHold}
	}
	var c counts
	for i := range servers {
		m := members.Reported(&servers[i], planned.ID, place)
		if m == nil {
			m = &emsv1.ServerMitigation{} // The server has not spoken of it.
		}
		state := m.State
		if _, found := slices.BinarySearch(failing, servers[i].Name); found {
			state = emsv1.StateFailed
		}
		c.add(want, m, state)
		switch {
		case state == emsv1.StateFailed:
			out.Failing = append(out.Failing, servers[i].Name)
		case ineffective(m):
			out.Ineffective = append(out.Ineffective, servers[i].Name)
		}
	}
	for _, names := range []*[]string{&out.Failing, &out.Ineffective} {
		slices.Sort(*names)
		*names = (*names)[:min(len(*names), maxFailing)]
	}
	out.Servers = c.status()
	return out
}

// ineffective reports whether a mitigation is in place without protecting the server.
func ineffective(m *emsv1.ServerMitigation) bool {
	return m.State == emsv1.StateApplied && m.Effective == emsv1.EffectiveFalse
}

// counts are ServerCounts while they are being summed up.
type counts struct {
	total, applied, pending, failed, ineffective, blocked, notApplicable, other int32
}

// wanted is what servers are counted by.
type wanted struct {
	desired emsv1.DesiredState
	// revision is the one to apply; 0 if any will do.
	revision int64
}

// add counts a server by what it says of a mitigation, and by the state that it counts as having.
func (c *counts) add(want wanted, m *emsv1.ServerMitigation, state emsv1.MitigationState) {
	c.total++
	switch state {
	case emsv1.StateApplied:
		switch {
		case ineffective(m):
			c.ineffective++
		case want.desired == emsv1.DesiredApply && m.Revision != 0 && m.Revision < want.revision:
			c.pending++ // It has the revision before, and this one has not reached it.
		default:
			c.applied++
		}
	case emsv1.StateFailed:
		c.failed++
	case emsv1.StateNotApplicable:
		c.notApplicable++
	case emsv1.StateRemoved:
		switch {
		case want.desired == emsv1.DesiredApply && m.Reason != string(policy.BlockedOnServer):
			c.pending++
		case policy.Reason(m.Reason).Blocked():
			c.blocked++
		default:
			c.other++
		}
	case emsv1.StateHeld:
		if want.desired == emsv1.DesiredApply && slices.Contains(attention, m.Reason) {
			c.pending++ // The rollout has not reached it.
			return
		}
		c.other++
	case emsv1.StateAudited:
		c.other++
	case emsv1.StatePending:
		c.pending++
	default: // The server has not spoken of the mitigation yet.
		c.pending++
	}
}

func (c *counts) merge(s emsv1.ServerCounts) {
	c.total += ptr.Deref(s.Total, 0)
	c.applied += ptr.Deref(s.Applied, 0)
	c.pending += ptr.Deref(s.Pending, 0)
	c.failed += ptr.Deref(s.Failed, 0)
	c.ineffective += ptr.Deref(s.Ineffective, 0)
	c.blocked += ptr.Deref(s.Blocked, 0)
	c.notApplicable += ptr.Deref(s.NotApplicable, 0)
	c.other += ptr.Deref(s.Other, 0)
}

func (c *counts) status() emsv1.ServerCounts {
	return emsv1.ServerCounts{
		Total: new(c.total), Applied: new(c.applied), Pending: new(c.pending), Failed: new(c.failed),
		Ineffective: new(c.ineffective), Blocked: new(c.blocked), NotApplicable: new(c.notApplicable), Other: new(c.other),
	}
}

func poolSummary(mitigations []emsv1.PoolMitigationStatus, inSync, servers int) emsv1.PoolSummary {
	var applied, blocked, failed []string
	for _, m := range mitigations {
		if ptr.Deref(m.Servers.Applied, 0)+ptr.Deref(m.Servers.Ineffective, 0) > 0 {
			applied = append(applied, string(m.ID))
		}
		if policy.Reason(m.Reason).Blocked() {
			blocked = append(blocked, string(m.ID))
		}
		if ptr.Deref(m.Servers.Failed, 0) > 0 {
			failed = append(failed, string(m.ID))
		}
	}
	return emsv1.PoolSummary{
		Rollout: rolloutSummary(urgent(mitigations)),
		InSync:  fmt.Sprintf("%d/%d", inSync, servers),
		Applied: conditions.IDs(applied), Blocked: conditions.IDs(blocked), Failed: conditions.IDs(failed),
	}
}

func firstFew(names []string) []string {
	const few = 3
	if len(names) <= few {
		return names
	}
	return append(slices.Clone(names[:few]), "…")
}
