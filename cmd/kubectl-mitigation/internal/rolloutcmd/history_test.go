package rolloutcmd

import (
	"bytes"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

func past(d time.Duration, action, by, message string) emsv1.PoolHistoryEntry {
	return emsv1.PoolHistoryEntry{Time: before(d), ID: "M1", Revision: 3, Attempt: 1, Action: action, By: by, Message: message}
}

// theNight is the history of two pools; the last event of one of them stands in its plan only.
func theNight() *input {
	web, lab := newPool("frontends", "web", 40).halted("web01"), newPool("pilots", "lab", 3).complete(time.Hour)
	web.pool.Status.History = []emsv1.PoolHistoryEntry{
		past(50*time.Minute, "Published", "contoso", ""),
		past(40*time.Minute, "Approved", "night shift", `stage "first" approved: looked at it`),
		past(39*time.Minute, "StageReleased", "EMS", `stage "first", 1 of 4: 1 of 40 servers`),
		past(10*time.Minute, "Halted", "EMS", "1 server failed, 0 may: web01: http check \"owa\": status 500,\nwas 200"),
	}
	web.entry.Transition = emsv1.PlanTransition{Action: "Halted", Time: before(10 * time.Minute), By: "EMS", Message: "1 server failed"}
	lab.pool.Status.History = []emsv1.PoolHistoryEntry{past(3*time.Hour, "Published", "contoso", ""), past(time.Hour, "Completed", "EMS", "")}
	lab.entry.Transition = emsv1.PlanTransition{Action: "Aborted", Time: before(time.Minute), By: "=night shift", Message: "the lab is needed"}
	lab.pool.Status.History = append(lab.pool.Status.History, emsv1.PoolHistoryEntry{Time: before(2 * time.Hour), ID: "PING1", Revision: 1, Action: "Completed", By: "EMS"})
	return inputOf(nil, web, lab)
}

func TestHistories(t *testing.T) {
	all := merge(theNight())
	golden(t, "history-100", text(table(all, 0, terminal.Plain(100))))
	golden(t, "history-200", text(table(all, 12, terminal.Plain(200))))
	golden(t, "history-40", text(table(all, 0, terminal.Plain(40))))
	var out bytes.Buffer
	c := historyCommand{world: cli.World{Stdout: &out}}
	if err := c.csv(all); err != nil {
		t.Fatal(err)
	}
	golden(t, "history-csv", out.String())

	in := theNight()
	in.id = "ping1"
	golden(t, "history-one-mitigation", text(table(merge(in), 0, terminal.Plain(100))))
	in = theNight()
	in.wanted = []types.NamespacedName{named("pilots", "lab")}
	golden(t, "history-one-pool", text(table(merge(in), 0, terminal.Plain(100))))
	golden(t, "history-none", text(table(merge(inputOf(nil)), 0, terminal.Plain(100))))
}
