package agent

import (
	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/iis/effective"
)

// announcer tells administrators of the server what became different.
type announcer struct {
	observer eventlog.Observer
	write    func(id eventlog.ID, message string)
}

// announce writes the events of a pass.
func (a *announcer) announce(r cluster.Report) {
	if a.write == nil {
		return
	}
	for _, e := range a.observer.Observe(passOf(r)) {
		a.write(e.ID, e.Message)
	}
}

// passOf is a report as the event log looks at it.
func passOf(r cluster.Report) eventlog.Pass {
	var p eventlog.Pass
	for _, m := range r.Results {
		p.Mitigations = append(p.Mitigations, eventlog.Mitigation{
			ID: m.ID, State: string(m.State), Reason: m.Reason, Message: m.Message, Revision: m.Revision,
			NotInEffect: m.State == enforce.Applied && m.Effective == string(effective.False),
		})
	}
	for _, c := range r.Changes {
		p.Changes = append(p.Changes, eventlog.Change{Kind: eventlog.ChangeKind(c.Kind), ID: c.ID, Revision: c.Revision})
	}
	if r.Problem != nil {
		p.Problem = r.Problem.Reason + ": " + r.Problem.Message
	}
	return p
}
