package eventlog

import (
	"fmt"
	"strings"
)

// Pass is what one pass of the agent did and found.
type Pass struct {
	Mitigations []Mitigation
	Changes     []Change
	// Problem keeps the agent from its work; empty for none.
	Problem string
}

// Mitigation is where a mitigation stands.
type Mitigation struct {
	ID, State, Reason, Message string
	Revision                   int64
	// NotInEffect says that it is in place and IIS does not run it.
	NotInEffect bool
}

// ChangeKind is what was done to the server. The values are the reasons of the cluster's events.
type ChangeKind string

// The kinds of changes.
const (
	Applied  ChangeKind = "MitigationApplied"
	Removed  ChangeKind = "MitigationRemoved"
	Repaired ChangeKind = "DriftRepaired"
	Reverted ChangeKind = "MitigationReverted"
)

// Change is something that was done to the server for a mitigation.
type Change struct {
	Kind     ChangeKind
	ID       string
	Revision int64
}

// Event is an event to write.
type Event struct {
	ID      ID
	Message string
}

// Observer tells what became different from pass to pass. The zero value has seen nothing.
type Observer struct {
	before  map[string]Mitigation
	problem string
}

const (
	stateFailed   = "Failed"
	blockedPrefix = "Blocked" // of the reasons BlockedByOrganization, BlockedByPool and BlockedOnServer
	reasonHalted  = "RolloutHalted"
)

// Observe gives the events of a pass, in the order of what happened.
func (o *Observer) Observe(p Pass) []Event {
	events := o.changes(p.Changes)
	now := make(map[string]Mitigation, len(p.Mitigations))
	for _, m := range p.Mitigations {
		key := strings.ToLower(m.ID)
		now[key] = m
		events = append(events, became(o.before[key], m)...)
	}
	if p.Problem != o.problem {
		if p.Problem == "" {
			events = append(events, event(Recovered, "What kept the agent from its work is over: %s", o.problem))
		} else {
			events = append(events, event(Failure, "Something keeps the agent from its work: %s", p.Problem))
		}
	}
	o.problem = p.Problem
	if p.Problem == "" || len(p.Mitigations) > 0 { // a pass that could not look says nothing of mitigations
		o.before = now
	}
	return events
}

func event(id ID, format string, values ...any) Event {
	return Event{id, fmt.Sprintf(format, values...)}
}

// changes are the events for what was done to the server.
func (o *Observer) changes(list []Change) []Event {
	var events []Event
	for _, c := range list {
		old := o.before[strings.ToLower(c.ID)]
		switch c.Kind {
		case Applied:
			if old.Revision != 0 && old.Revision != c.Revision {
				events = append(events, event(MitigationUpdated, "Revision %d of mitigation %s is in place on this server, instead of revision %d.", c.Revision, c.ID, old.Revision))
				break
			}
			events = append(events, event(MitigationApplied, "Revision %d of mitigation %s is in place on this server.", c.Revision, c.ID))
		case Removed:
			events = append(events, event(MitigationRemoved, "Mitigation %s was removed from this server.", c.ID))
		case Repaired:
			events = append(events, event(DriftRepaired, "Something else had changed what mitigation %s put in place on this server. Revision %d was restored.", c.ID, c.Revision))
		case Reverted:
			events = append(events, event(MitigationReverted, "Mitigation %s was taken back because this server got worse with it.", c.ID))
		}
	}
	return events
}

// became are the events for a mitigation that stands otherwise than before.
func became(old, m Mitigation) []Event {
	var events []Event
	reasonChanged := old.State != m.State || old.Reason != m.Reason
	switch {
	case !reasonChanged:
	case m.State == stateFailed:
		events = append(events, event(Failure, "Mitigation %s failed (%s): %s", m.ID, m.Reason, m.Message))
	case strings.HasPrefix(m.Reason, blockedPrefix):
		events = append(events, event(MitigationBlocked, "Mitigation %s is blocked (%s) and not in place on this server. %s", m.ID, m.Reason, m.Message))
	case m.Reason == reasonHalted:
		events = append(events, event(RolloutHalted, "The rollout of mitigation %s has been halted: it is %s on this server. %s", m.ID, strings.ToLower(m.State), m.Message))
	case strings.HasPrefix(old.Reason, blockedPrefix):
		events = append(events, event(MitigationReleased, "Mitigation %s is blocked no longer on this server (%s).", m.ID, m.Reason))
	}
	if m.NotInEffect && (!old.NotInEffect || old.Reason != m.Reason) {
		events = append(events, event(NotInEffect, "Mitigation %s is in place on this server, but IIS does not run it (%s): %s", m.ID, m.Reason, m.Message))
	}
	return events
}
