package inventory

import (
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
	"mitigation.dev/ems/internal/policy"
)

// Words for where a mitigation stands. The first three are those of the real service.
const (
	Applied       = "Applied"
	Blocked       = "Blocked"
	Failed        = "Failed"
	Ineffective   = "Ineffective"
	Pending       = "Pending"
	Halted        = "Halted"
	Paused        = "Paused"
	Aborted       = "Aborted"
	Audited       = "Audited"
	Suspended     = "Suspended"
	Disabled      = "Disabled"
	Withdrawn     = "Withdrawn"
	Superseded    = "Superseded"
	Removed       = "Removed"
	Held          = "Held"
	NotApplicable = "NotApplicable"
	NoServers     = "NoServers"
)

// words in the order in which they want attention, with how they look.
var words = []struct {
	word string
	tone terminal.Tone
}{
	{Failed, terminal.Alarm}, {Ineffective, terminal.Alarm}, {Halted, terminal.Alarm}, {Aborted, terminal.Warning}, {Paused, terminal.Warning},
	{Suspended, terminal.Warning}, {Blocked, terminal.Warning}, {Disabled, terminal.Warning}, {Pending, terminal.Normal}, {Held, terminal.Normal},
	{Audited, terminal.Normal}, {Applied, terminal.Good}, {Removed, terminal.Faint}, {Withdrawn, terminal.Faint}, {Superseded, terminal.Faint},
	{NotApplicable, terminal.Faint}, {NoServers, terminal.Faint},
}

func toneOf(word string) terminal.Tone {
	for _, w := range words {
		if w.word == word {
			return w.tone
		}
	}
	return terminal.Normal
}

// allWords are the words by name.
func allWords() []string {
	var all []string
	for _, w := range words {
		all = append(all, w.word)
	}
	slices.Sort(all)
	return all
}

// parseWords reads words in any case.
func parseWords(typed []string) (parsed []string, unknown string) {
	for _, text := range typed {
		i := slices.IndexFunc(words, func(w struct {
			word string
			tone terminal.Tone
		}) bool {
			return strings.EqualFold(w.word, text)
		})
		if i < 0 {
			return nil, text
		}
		parsed = append(parsed, words[i].word)
	}
	return parsed, ""
}

// gone says why a mitigation is wanted nowhere, from the reason of the plan or of a server.
func gone(reason string) string {
	switch r := policy.Reason(reason); {
	case r.Blocked():
		return Blocked
	case r == policy.Suspended || reason == emsv1.KillSwitchReason:
		return Suspended
	case r == policy.MitigationsDisabled:
		return Disabled
	case r == policy.Withdrawn:
		return Withdrawn
	case r == policy.Superseded:
		return Superseded
	default:
		return Removed
	}
}

// inPool is where a mitigation stands in a pool: what wants attention is said first.
func inPool(planned emsv1.PlannedMitigation, mode emsv1.Mode, counts emsv1.ServerCounts) string {
	count := func(n *int32) int32 { return ptr.Deref(n, 0) }
	switch {
	case count(counts.Failed) > 0:
		return Failed
	case planned.Desired == emsv1.DesiredRemove:
		return gone(planned.Reason)
	case planned.Desired == emsv1.DesiredHold:
		if word := gone(planned.Reason); word != Removed {
			return word
		}
		return Held
	case mode == emsv1.ModeAudit:
		return Audited
	case count(counts.Ineffective) > 0:
		return Ineffective
	}
	switch planned.Rollout.State {
	case emsv1.RolloutHalted:
		return Halted
	case emsv1.RolloutPaused:
		return Paused
	case emsv1.RolloutAborted:
		return Aborted
	case emsv1.RolloutWaiting, emsv1.RolloutProgressing, emsv1.RolloutComplete:
	}
	switch {
	case count(counts.Pending) > 0:
		return Pending
	case count(counts.Applied) > 0:
		return Applied
	case count(counts.NotApplicable) > 0:
		return NotApplicable
	case count(counts.Blocked) > 0:
		return Blocked
	case count(counts.Total) == 0:
		return NoServers
	default:
		return Held
	}
}

// onServer is where a mitigation stands on a server; planned is nil if the plan does not mention it.
func onServer(planned *emsv1.PlannedMitigation, said emsv1.ServerMitigation) string {
	wished := planned != nil && planned.Desired == emsv1.DesiredApply
	switch said.State {
	case emsv1.StateApplied:
		switch {
		case said.Effective == emsv1.EffectiveFalse:
			return Ineffective
		case wished && said.Revision > 0 && said.Revision < planned.Revision:
			return Pending
		}
		return Applied
	case emsv1.StateFailed:
		return Failed
	case emsv1.StateNotApplicable:
		return NotApplicable
	case emsv1.StateAudited:
		return Audited
	case emsv1.StateRemoved:
		if word := gone(said.Reason); word != Removed || !wished {
			return word
		}
		return Pending
	case emsv1.StateHeld:
		if word := gone(said.Reason); word != Removed {
			return word
		}
		if wished {
			return Pending
		}
		return Held
	case emsv1.StatePending:
		return Pending
	}
	if planned != nil && !wished {
		return gone(planned.Reason)
	}
	return Pending
}

// blocker names the level that keeps a mitigation away.
func blocker(reason string) string {
	return map[policy.Reason]string{
		policy.BlockedByOrganization: "organization", policy.BlockedByPool: "pool", policy.BlockedOnServer: "server", policy.Suspended: "suspension",
	}[policy.Reason(reason)]
}
