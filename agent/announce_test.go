package agent

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/eventlog"
)

func TestEventsOfAPass(t *testing.T) {
	var written []eventlog.Event
	a := announcer{write: func(id eventlog.ID, message string) {
		written = append(written, eventlog.Event{ID: id, Message: message})
	}}
	a.announce(cluster.Report{
		Results: []enforce.Result{
			{ID: "M1", State: enforce.Applied, Reason: "Cleared", Message: "web.config", Revision: 1, Effective: "False"},
			{ID: "M2", State: enforce.Removed, Reason: "BlockedByPool", Message: "A test."},
		},
		Changes: []cluster.Change{{Kind: cluster.MitigationApplied, ID: "M1", Revision: 1}, {Kind: cluster.DriftRepaired, ID: "M3", Revision: 2}, {Kind: cluster.MitigationRemoved, ID: "M2"}},
		Problem: &cluster.Problem{Reason: "ServerFailed", Message: "no"},
	})
	want := []eventlog.Event{
		{ID: eventlog.MitigationApplied, Message: "Revision 1 of mitigation M1 is in place on this server."},
		{ID: eventlog.DriftRepaired, Message: "Something else had changed what mitigation M3 put in place on this server. Revision 2 was restored."},
		{ID: eventlog.MitigationRemoved, Message: "Mitigation M2 was removed from this server."},
		{ID: eventlog.NotInEffect, Message: "Mitigation M1 is in place on this server, but IIS does not run it (Cleared): web.config"},
		{ID: eventlog.MitigationBlocked, Message: "Mitigation M2 is blocked (BlockedByPool) and not in place on this server. A test."},
		{ID: eventlog.Failure, Message: "Something keeps the agent from its work: ServerFailed: no"},
	}
	if diff := cmp.Diff(want, written); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	new(announcer).announce(cluster.Report{Problem: &cluster.Problem{}}) // without a receiver nothing happens
}
