package insight

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// Standing is how a server compares with what is wished of it.
type Standing string

// The standings, the most urgent first.
const (
	// Failed: the server could not do what the plan wants, or took it back because it got worse.
	Failed Standing = "Failed"
	// Drifted: the mitigation is in place and IIS does not run it, or something is in place that no plan mentions.
	Drifted Standing = "Drifted"
	// Silent: the server has not shown for a while that it is alive.
	Silent Standing = "Silent"
	// Missing: the mitigation is released to the server, which does not have it yet.
	Missing Standing = "Missing"
	// Outdated: another revision is in place than the one that is released to the server.
	Outdated Standing = "Outdated"
	// Leaving: the mitigation is to go, and the server still has it.
	Leaving Standing = "Leaving"
	// Waiting: the rollout has not reached the server.
	Waiting Standing = "Waiting"
	// AsWished: the server is as the plan wants it.
	AsWished Standing = "AsWished"
)

// Standings are all of them in that order.
var Standings = []Standing{Failed, Drifted, Silent, Missing, Outdated, Leaving, Waiting, AsWished}

// ServerLine is a server that is not as it is wished.
type ServerLine struct {
	// Name of the server.
	Name string `json:"name"`
	// Standing is Failed, Drifted, Silent, Missing, Outdated, Leaving or Waiting.
	Standing Standing `json:"standing"`
	// State that the server reports; absent if it has said nothing.
	State string `json:"state,omitempty"`
	// Reason in one word, of the server, or of the plan for one that waits.
	Reason string `json:"reason,omitempty"`
	// Message in words.
	Message string `json:"message,omitempty"`
}

// Comparison is how the servers of a pool compare with what the plan wants for a mitigation.
type Comparison struct {
	// Counts of servers by standing.
	Counts map[Standing]int
	// Servers are those that are not as wished, the most urgent first.
	Servers []ServerLine
	// Total is how many servers the pool has.
	Total int
}

// Same says that every server is as it is wished.
func (c *Comparison) Same() bool { return c.Counts[AsWished] == c.Total }

// Worst is the most urgent standing that a server has.
func (c *Comparison) Worst() Standing {
	for _, s := range Standings {
		if c.Counts[s] > 0 {
			return s
		}
	}
	return AsWished
}

// Compare asks of each server of a pool how it stands with a planned mitigation.
func Compare(o *explain.Objects, planned *emsv1.PlannedMitigation) Comparison {
	c := Comparison{Counts: map[Standing]int{}, Total: len(o.Servers)}
	entry := fromapi.Entry(planned)
	// One set of objects for all servers and mitigations: they remember what the planner said.
	before := o.Server
	defer func() { o.Server = before }()
	for i := range o.Servers {
		server := &o.Servers[i]
		o.Server = server
		reported := Reported(server, string(planned.ID))
		decision := o.Decide(string(planned.ID))
		line := ServerLine{Name: server.Name, Standing: standing(server, reported, planned, decision)}
		if reported != nil {
			line.State, line.Reason, line.Message = string(reported.State), reported.Reason, cmp.Or(reported.Message, reported.Gate.Message)
		}
		c.Counts[line.Standing]++
		if line.Standing == AsWished {
			continue
		}
		if line.Standing == Silent {
			line.Reason, line.Message = "", condition(server).Message
		}
		if line.Standing == Waiting {
			line.Reason, line.Message = string(cmp.Or(entry.Rollout.Reason, decision.Reason)), ""
		}
		c.Servers = append(c.Servers, line)
	}
	slices.SortStableFunc(c.Servers, func(a, b ServerLine) int {
		return cmp.Compare(slices.Index(Standings, a.Standing), slices.Index(Standings, b.Standing))
	})
	return c
}

// Reported is what a server says of a mitigation; nil if nothing.
func Reported(server *emsv1.PoolServer, id string) *emsv1.ServerMitigation {
	list := server.Status.Mitigations
	if i := slices.IndexFunc(list, func(m emsv1.ServerMitigation) bool { return strings.EqualFold(string(m.ID), id) }); i >= 0 {
		return &list[i]
	}
	return nil
}

func condition(server *emsv1.PoolServer) metav1.Condition {
	if c := meta.FindStatusCondition(server.Status.Conditions, emsv1.ReadyCondition); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// IsSilent says that a server has not shown for a while that it is alive, which the manager notes.
func IsSilent(server *emsv1.PoolServer) bool {
	c := condition(server)
	return c.Status == metav1.ConditionUnknown && c.Reason == emsv1.AgentSilentReason
}

// standing sets what a server says against what was decided for it.
func standing(server *emsv1.PoolServer, reported *emsv1.ServerMitigation, planned *emsv1.PlannedMitigation, decision policy.Decision) Standing {
	in := reported != nil && reported.State == emsv1.StateApplied
	switch {
	case IsSilent(server):
		return Silent
	case failed(reported, planned):
		return Failed
	case in && reported.Effective == emsv1.EffectiveFalse && decision.Desired != policy.Remove:
		return Drifted
	case decision.Desired == policy.Remove && in:
		return Leaving
	case decision.Desired == policy.Remove, decision.Reason == policy.Audit:
		return AsWished
	case decision.Desired == policy.Apply && in && reported.Revision != 0 && reported.Revision != planned.Revision:
		return Outdated
	case decision.Desired == policy.Apply && !in:
		return Missing
	case decision.Desired == policy.Apply:
		return AsWished
	}
	return held(reported, planned, decision)
}

// failed says that a server could not do something, or took back what the rollout of the plan brought.
func failed(reported *emsv1.ServerMitigation, planned *emsv1.PlannedMitigation) bool {
	if reported == nil || reported.State == emsv1.StateFailed {
		return reported != nil
	}
	gate := reported.Gate
	return planned.Desired != emsv1.DesiredRemove && planned.Rollout.ID != "" && gate.Rollout == planned.Rollout.ID && gate.Verdict == emsv1.GateFailed
}

// held is a server that keeps what it has. While the plan wants the mitigation, that is because the rollout has not reached it.
func held(reported *emsv1.ServerMitigation, planned *emsv1.PlannedMitigation, decision policy.Decision) Standing {
	in := reported != nil && reported.State == emsv1.StateApplied
	switch {
	case planned.Desired != emsv1.DesiredApply && decision.Reason != policy.AwaitingPlan:
		return AsWished // Disabled: everything stays as it is, which is what was asked for.
	case in && reported.Revision == planned.Revision && planned.Rollout.Unreleased == emsv1.UnreleasedRevert:
		return Leaving
	case decision.Reason == policy.GateFailed:
		return Failed
	case planned.Rollout.State == emsv1.RolloutAborted:
		return AsWished // A person took it back: nobody waits for the servers to have it.
	default:
		return Waiting
	}
}

// Unplanned are the mitigations that a server has in place and that the plan of its pool does not mention.
func Unplanned(o *explain.Objects, server *emsv1.PoolServer) []string {
	var ids []string
	for i := range server.Status.Mitigations {
		m := &server.Status.Mitigations[i]
		known := o.Plan != nil && slices.ContainsFunc(o.Plan.Spec.Mitigations, func(p emsv1.PlannedMitigation) bool {
			return strings.EqualFold(string(p.ID), string(m.ID))
		})
		if m.State == emsv1.StateApplied && !known {
			ids = append(ids, string(m.ID))
		}
	}
	return ids
}
