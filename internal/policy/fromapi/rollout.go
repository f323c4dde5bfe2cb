package fromapi

import (
	"math"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

// Mitigation converts a mitigation for the planner.
func Mitigation(m *emsv1.Mitigation) rollout.Mitigation {
	return rollout.Mitigation{
		Mitigation: PolicyMitigation(m),
		Revision:   m.Spec.Revision, Content: m.Spec.ContentDigest, Severity: string(m.Spec.Severity),
		FeedName: m.Spec.FeedName, BundleName: m.Spec.BundleName, DocumentDigest: m.Spec.DocumentDigest,
	}
}

// Mitigations converts mitigations in the order given.
func Mitigations(list []emsv1.Mitigation) []rollout.Mitigation {
	out := make([]rollout.Mitigation, 0, len(list))
	for i := range list {
		out = append(out, Mitigation(&list[i]))
	}
	return out
}

// Key is how the planner looks mitigations up: ids are compared without regard to case.
func Key(id emsv1.MitigationID) string { return strings.ToLower(string(id)) }

// Servers converts what the servers of a pool say of rollouts. Nothing of the objects is changed, and labels are shared with them.
func Servers(list []emsv1.PoolServer) []rollout.Server {
	out := make([]rollout.Server, 0, len(list))
	keys := keys{}
	for i := range list {
		out = append(out, keys.server(&list[i]))
	}
	return out
}

// Server converts what a server says of rollouts.
func Server(server *emsv1.PoolServer) rollout.Server { return keys{}.server(server) }

// keys are the ids that were met, in lower case: the same few on each of ten thousand servers.
type keys map[emsv1.MitigationID]string

func (k keys) of(id emsv1.MitigationID) string {
	key, known := k[id]
	if !known {
		key = Key(id)
		k[id] = key
	}
	return key
}

func (k keys) server(server *emsv1.PoolServer) rollout.Server {
	out := rollout.Server{Name: server.Name, Labels: server.Labels}
	for i := range server.Status.Mitigations {
		m := &server.Status.Mitigations[i]
		if m.Gate.Rollout == "" {
			continue
		}
		if out.Gates == nil {
			out.Gates = make(map[string]rollout.Gate, len(server.Status.Mitigations))
		}
		out.Gates[k.of(m.ID)] = rollout.Gate{Rollout: m.Gate.Rollout, Verdict: rollout.Verdict(m.Gate.Verdict), Message: m.Gate.Message}
	}
	return out
}

// Entries converts the memory that a plan holds, by id in lower case; nil if there is no plan.
func Entries(plan *emsv1.MitigationPlan) map[string]rollout.Entry {
	if plan == nil {
		return nil
	}
	entries := make(map[string]rollout.Entry, len(plan.Spec.Mitigations))
	for i := range plan.Spec.Mitigations {
		planned := &plan.Spec.Mitigations[i]
		entries[Key(planned.ID)] = Entry(planned)
	}
	return entries
}

// Entry converts what a plan says of a mitigation. Planned converts it back; nothing that the planner remembers is lost on the way.
func Entry(planned *emsv1.PlannedMitigation) rollout.Entry {
	entry := rollout.Entry{
		Mitigation: rollout.Mitigation{
			Mitigation: policy.Mitigation{ID: string(planned.ID)},
			Revision:   planned.Revision, FeedName: planned.FeedName,
			BundleName: planned.BundleName, DocumentDigest: planned.DocumentDigest,
		},
		Decision: policy.Decision{
			Desired: policy.Desired(planned.Desired), Reason: policy.Reason(planned.Reason), Message: planned.Message,
			Until: utc(moment(planned.UntilTime)),
		},
		Release:    rollout.Release{ServerNames: planned.Release.ServerNames, Below: ptr.Deref(planned.Release.Below, 0)},
		Rollout:    memory(&planned.Rollout),
		Transition: transition(&planned.Transition),
	}
	for _, action := range planned.BlockedActions {
		entry.BlockedActions = append(entry.BlockedActions, string(action))
	}
	return entry
}

func memory(r *emsv1.PlanRollout) rollout.Rollout {
	return rollout.Rollout{
		ID: r.ID, Attempt: int(r.Attempt), State: rollout.State(r.State), Reason: policy.Reason(r.Reason), Message: r.Message,
		Profile: rollout.Profile(r.Profile), Stage: r.Stage, StageNumber: int(ptr.Deref(r.StageNumber, 0)), Stages: int(r.Stages),
		StartTime: utc(moment(r.StartTime)), StageTime: utc(moment(r.StageTime)), CompletionTime: utc(moment(r.CompletionTime)),
		Unreleased: rollout.Unreleased(r.Unreleased), ForgivenFailures: int(r.ForgivenFailures),
		Gate: rollout.Terms{Bake: seconds(ptr.Deref(r.Gate.BakeSeconds, 0)), MinRequests: int(ptr.Deref(r.Gate.MinRequests, 0))},
		Fallback: rollout.Fallback{
			Rollout: r.Fallback.Rollout, Revision: r.Fallback.Revision,
			BundleName: r.Fallback.BundleName, DocumentDigest: r.Fallback.DocumentDigest,
		},
	}
}

func transition(t *emsv1.PlanTransition) rollout.Transition {
	return rollout.Transition{Action: rollout.Action(t.Action), Time: utc(moment(t.Time)), By: t.By, Message: t.Message}
}

// utc is the form in which the planner keeps times; it compares them by value.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// Limits of the API for texts in a plan, in bytes, which are no more than characters.
const (
	maxMessage           = 2048
	maxRolloutMessage    = 2048
	maxTransitionMessage = 512
	maxBy                = 256
)

// Planned converts an entry of a plan for the API.
func Planned(e *rollout.Entry) emsv1.PlannedMitigation {
	planned := emsv1.PlannedMitigation{
		ID: emsv1.MitigationID(e.ID), Desired: emsv1.DesiredState(e.Desired),
		Reason: string(e.Reason), Message: conditions.Cut(e.Decision.Message, maxMessage), UntilTime: timestamp(e.Until),
		Revision: e.Revision, FeedName: e.FeedName, BundleName: e.BundleName, DocumentDigest: e.DocumentDigest,
		Release: emsv1.Release{ServerNames: e.Release.ServerNames, Below: new(e.Release.Below)},
		Rollout: plannedRollout(&e.Rollout),
	}
	for _, action := range e.BlockedActions {
		planned.BlockedActions = append(planned.BlockedActions, emsv1.MitigationID(action))
	}
	if t := &e.Transition; t.Action != "" {
		planned.Transition = emsv1.PlanTransition{
			Action: string(t.Action), Time: timestamp(t.Time), By: conditions.Cut(t.By, maxBy), Message: conditions.Cut(t.Message, maxTransitionMessage),
		}
	}
	return planned
}

func plannedRollout(r *rollout.Rollout) emsv1.PlanRollout {
	if r.ID == "" {
		return emsv1.PlanRollout{}
	}
	out := emsv1.PlanRollout{
		ID: r.ID, Attempt: number32(r.Attempt), State: emsv1.RolloutState(r.State), Reason: string(r.Reason),
		Message: conditions.Cut(r.Message, maxRolloutMessage), Profile: emsv1.RolloutProfile(r.Profile),
		Stage: r.Stage, StageNumber: new(number32(r.StageNumber)), Stages: number32(r.Stages),
		StartTime: timestamp(r.StartTime), StageTime: timestamp(r.StageTime), CompletionTime: timestamp(r.CompletionTime),
		Unreleased: emsv1.UnreleasedAction(r.Unreleased), ForgivenFailures: number32(r.ForgivenFailures),
		Fallback: emsv1.PlanFallback{
			Rollout: r.Fallback.Rollout, Revision: r.Fallback.Revision,
			BundleName: r.Fallback.BundleName, DocumentDigest: r.Fallback.DocumentDigest,
		},
	}
	if r.Gate.Bake > 0 {
		out.Gate.BakeSeconds = new(number32(int(r.Gate.Bake / time.Second)))
	}
	if r.Gate.MinRequests > 0 {
		out.Gate.MinRequests = new(number32(r.Gate.MinRequests))
	}
	return out
}

// number32 is a number as the API has it. The planner counts nothing that comes near the limit.
func number32(n int) int32 {
	return int32(min(max(n, math.MinInt32), math.MaxInt32)) //nolint:gosec // it is within the limits now
}
