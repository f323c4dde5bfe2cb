package policy

import (
	"fmt"
	"time"
)

// Situation is what a server's own decision depends on beside the pool's.
type Situation struct {
	// OnServer says who blocks the mitigation, or everything, at the server itself; empty if nobody does. It counts in Audit
	// mode too: who stands at a server that has a problem wants the mitigation gone.
	OnServer string
	// Released says that the rollout has reached the server.
	Released bool
	// Waiting is the rollout's reason for not having reached the server; empty for AwaitingStage.
	Waiting Reason
	// AuditOnly says that the pool is only looked at.
	AuditOnly bool
	// Applicability is the answer of the function of that name, about the content that the server would run: a server
	// that is not released is judged by what it has, or by the fallback. Else a revision that is made for nobody by
	// mistake would take the mitigation off every server before its first stage.
	Applicability Decision
	// Failed says what went wrong with this very rollout on the server; empty if nothing did. A server never goes back by
	// itself to a rollout that failed on it.
	Failed string
	// SuccessorMissing says that the mitigation which replaces this one shall be in place on this server and is not:
	// the rollout completed without it, because the server was away or failed.
	SuccessorMissing bool
}

// AtServer is what a planned decision still means on a server. Policy expires on servers too, with the manager away: when
// the exceptions behind a removal have expired, nothing is removed because of them any more. Nothing is put in place
// either, since what else stands against the mitigation is for the manager to say.
func AtServer(planned Decision, now time.Time) Decision {
	byException := planned.Desired == Remove && (planned.Reason.Blocked() || planned.Reason == Suspended)
	if !byException || planned.Until.IsZero() || now.Before(planned.Until) {
		return planned
	}
	return Decision{
		Desired: Hold, Reason: AwaitingPlan,
		Message: fmt.Sprintf("%s ended at %s, and the manager has not planned anew since", planned.Reason, planned.Until.UTC().Format(time.RFC3339)),
	}
}

// ForServer decides about a mitigation on one server from the pool's decision and the server's own situation. Removal needs
// no release. In Audit mode nothing on the server changes, except that the kill switch works there as everywhere.
func ForServer(pool Decision, s Situation) Decision { return forServer(pool, s, nil) }

func forServer(pool Decision, s Situation, t *trace) Decision {
	if s.OnServer != "" && pool.Reason != Suspended {
		t.judged("Is it blocked at the server?", "yes: "+s.OnServer, "", "PoolServer status.local", "")
		return Decision{Desired: Remove, Reason: BlockedOnServer, Message: s.OnServer}
	}
	if s.AuditOnly && pool.Reason != Suspended {
		inEnforce := s
		inEnforce.AuditOnly = false
		would := forServer(pool, inEnforce, nil)
		message := fmt.Sprintf("would be: %s (%s)", would.Desired, would.Reason)
		t.judged("Is the pool only looked at?", "yes: "+message, "", "PoolMitigationConfig spec.mode", "")
		return Decision{Desired: Hold, Reason: Audit, Message: message}
	}
	t.judged("Is the pool only looked at?", "", "no", "", "PoolMitigationConfig spec.mode")
	if pool.Desired != Apply {
		if pool.Desired == Remove && pool.Reason == Superseded && s.SuccessorMissing {
			pool.Desired = Hold
			pool.Message += ", which is not in place on this server; what is applied stays until then"
		}
		t.judged("Does the pool want it?", fmt.Sprintf("no: %s (%s)", pool.Desired, pool.Reason), "", "MitigationPlan", "")
		return pool
	}
	t.judged("Does the pool want it?", "", "yes", "", "MitigationPlan")
	if s.Applicability.Desired != Apply {
		t.judged("Does the server need it?", "no: "+s.Applicability.Message, "", "PoolServer status.facts", "")
		return s.Applicability
	}
	t.judged("Does the server need it?", "", "yes", "", "PoolServer status.facts")
	if s.Failed != "" {
		d := Decision{Desired: Hold, Reason: GateFailed, Message: "the rollout failed on this server, which does not try it again by itself: " + s.Failed}
		t.judged("Has this rollout failed on the server?", "yes: "+s.Failed, "", "PoolServer status.mitigations[].gate", "")
		return d
	}
	t.judged("Has this rollout failed on the server?", "", "no", "", "PoolServer status.mitigations[].gate")
	if !s.Released {
		d := Decision{Desired: Hold, Reason: s.Waiting, Message: s.Waiting.waiting()}
		if d.Reason == "" {
			d.Reason = AwaitingStage
		}
		t.judged("Has the rollout reached the server?", "no: "+d.Message, "", "MitigationPlan release", "")
		return d
	}
	t.judged("Has the rollout reached the server?", "", "yes", "", "MitigationPlan release")
	pool.Message = s.Applicability.Message
	return pool
}
