package measure

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/policy"
)

// standing is how a server stands in all. Each server has one, so that the counts of a pool add up to its servers.
type standing int

// How a server can stand, the better first: of several mitigations the worst counts.
const (
	// protected has everything that it needs and that the plan wants.
	protected standing = iota
	// excepted lacks something because a person said so: blocked, suspended, disabled, aborted, or only audited.
	excepted
	// outdated has a revision before the one that the plan wants.
	outdated
	// unprotected lacks something that the plan wants, whatever it waits for, or IIS does not run it.
	unprotected
	// failed could not do what the plan wants, or took it back because the server got worse.
	failed
	// silent has not shown for a while that it is alive. Nothing else is known of it for certain.
	silent

	standings = int(silent) + 1
)

// standingNames are the values of the label.
var standingNames = [standings]string{"protected", "excepted", "outdated", "unprotected", "failed", "silent"}

// standingOf says how a server stands with a plan; plan is nil while there is none.
func standingOf(server *emsv1.PoolServer, plan *emsv1.MitigationPlan) standing {
	c := meta.FindStatusCondition(server.Status.Conditions, emsv1.ReadyCondition)
	if c != nil && c.Status == metav1.ConditionUnknown && c.Reason == emsv1.AgentSilentReason {
		return silent
	}
	if !server.Status.Local.KillSwitch.Time.IsZero() {
		return excepted
	}
	worst := protected
	if plan == nil {
		return worst
	}
	for i := range plan.Spec.Mitigations {
		planned := &plan.Spec.Mitigations[i]
		worst = max(worst, standingWith(planned, members.Reported(server, planned.ID, i)))
	}
	return worst
}

// standingWith says how a server stands with one mitigation, of which it says what is given: nil if it has not spoken of it yet.
func standingWith(planned *emsv1.PlannedMitigation, is *emsv1.ServerMitigation) standing {
	if is == nil {
		is = &emsv1.ServerMitigation{}
	}
	switch planned.Desired {
	case emsv1.DesiredRemove:
		if reason := policy.Reason(planned.Reason); reason == policy.Withdrawn || reason == policy.Superseded {
			return protected
		}
		return excepted
	case emsv1.DesiredHold:
		if is.State == emsv1.StateApplied || is.State == emsv1.StateNotApplicable {
			return protected
		}
		return excepted
	case emsv1.DesiredApply:
	}
	switch {
	case planned.Rollout.State == emsv1.RolloutAborted:
		return excepted
	case is.State == emsv1.StateNotApplicable:
		return protected
	case is.State == emsv1.StateFailed, is.Gate.Verdict == emsv1.GateFailed && is.Gate.Rollout == planned.Rollout.ID:
		return failed
	case is.State == emsv1.StateAudited, policy.Reason(is.Reason).Blocked():
		return excepted
	case is.State == emsv1.StateApplied && is.Effective == emsv1.EffectiveFalse:
		return unprotected
	case is.Revision != 0 && is.Revision < planned.Revision:
		return outdated
	case is.State == emsv1.StateApplied:
		return protected
	}
	return unprotected
}
