package enforce

import (
	"fmt"
	"slices"
	"time"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/internal/policy"
)

// OnServer says why a mitigation is kept off the server by the people at it; empty if it is not.
func OnServer(s switches.Switches, id string, now time.Time) string {
	if use, on := s.Kill(); on {
		return "the kill switch of this server was thrown " + use.String()
	}
	if b, ok := s.Blocks(id, now); ok {
		return blockedBy(b)
	}
	return ""
}

func blockedBy(b switches.Block) string {
	text := fmt.Sprintf("%s is blocked on this server, %s", b.ID, b.Use)
	if !b.Expires.IsZero() {
		text += ", until " + b.Expires.UTC().Format(time.RFC3339)
	}
	return text
}

// atServer puts what people said at the server into an entry: blocked actions are left out. If nothing is left of the
// mitigation, why says so.
func (in Input) atServer(e Entry, have *iis.Mitigation, released bool) (_ Entry, why string) {
	if why = OnServer(in.Switches, e.ID, in.Now); why != "" {
		return e, why
	}
	within := in.Switches.Within(e.ID, in.Now)
	if len(within) == 0 {
		return e, ""
	}
	e.Decision.BlockedActions = slices.Clone(e.Decision.BlockedActions)
	for _, b := range within {
		e.Decision.BlockedActions = append(e.Decision.BlockedActions, b.ID)
	}
	if e.Decision.Desired == policy.Apply && in.nothingLeft(e, have, released) {
		return e, "each of its actions is blocked: " + blockedBy(within[0])
	}
	return e, ""
}

// nothingLeft reports whether each action of a mitigation is blocked: of its document, or where that is not for this server yet
// or not at hand, of what is in place.
func (in Input) nothingLeft(e Entry, have *iis.Mitigation, released bool) bool {
	if have != nil && !released {
		return e.blocksAll(*have)
	}
	config, _, failure := find(in.Documents, e.ID, e.Revision, e.Document)
	if failure == nil {
		for _, a := range config.Actions {
			if !e.blocks(a.ID) {
				return false
			}
		}
		return len(config.Actions) > 0
	}
	return have != nil && e.blocksAll(*have)
}

func (e Entry) blocksAll(m iis.Mitigation) bool {
	return len(m.Actions) > 0 && !slices.ContainsFunc(m.Actions, func(a iis.Action) bool { return !e.blocks(a.ID) })
}

// unplanned decides about a mitigation that is in place although the plan does not mention it.
func (in Input) unplanned(m iis.Mitigation) answer {
	e := Entry{ID: m.ID, Decision: policy.Decision{Desired: policy.Apply}}
	e, why := in.atServer(e, &m, false)
	if why != "" {
		return answer{result: Result{ID: m.ID, State: Removed, Reason: string(policy.BlockedOnServer), Message: why}}
	}
	left := e.less(m)
	return answer{want: &left, result: kept(left, ReasonNotInPlan, "in place although the plan does not mention it; it stays until the plan says Remove")}
}
