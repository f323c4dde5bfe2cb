package cluster

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/switches"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func TestWhatPeopleDoAtTheServerIsReported(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC)
	use := switches.Use{By: "alice", Time: at, Reason: "login fails"}
	off := enforce.Result{ID: "M1", State: enforce.Removed, Reason: "BlockedOnServer", Message: "by alice"}
	s := switches.Switches{KillSwitch: &use, Blocked: []switches.Block{{ID: "M2", Use: use, Expires: at.Add(time.Hour)}}, Repair: &use}
	report := Report{PlanGeneration: 1, Switches: &s, Results: []enforce.Result{off}}

	status := statusOf(emsv1.PoolServerStatus{}, 1, report)
	ready := meta.FindStatusCondition(status.Conditions, "Ready")
	if ready == nil || ready.Status != "False" || ready.Reason != "KillSwitch" {
		t.Errorf("Ready is %+v", ready)
	}
	if status.Summary.Blocked != "M1" || status.Summary.Failed != "" {
		t.Errorf("summary %+v, want M1 blocked and nothing failed", status.Summary)
	}
	data, err := json.Marshal(applyConfigurationOf("ns", "fe01", status))
	if err != nil {
		t.Fatal(err)
	}
	var back emsv1.PoolServer
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !equality.Semantic.DeepEqual(back.Status.Local, status.Local) {
		t.Errorf("what is applied differs from what was meant:\n%s", cmp.Diff(status.Local, back.Status.Local))
	}
	if again := statusOf(back.Status, 1, report); !equality.Semantic.DeepEqual(again.Local, back.Status.Local) {
		t.Error("the status differs from itself")
	}

	unknown := report
	unknown.Switches = nil
	if kept := statusOf(status, 1, unknown); !equality.Semantic.DeepEqual(kept.Local, status.Local) {
		t.Error("what could not be read was taken from the status")
	}
	none := report
	none.Switches = &switches.Switches{}
	if gone := statusOf(status, 1, none); !equality.Semantic.DeepEqual(gone.Local, emsv1.ServerLocal{}) {
		t.Errorf("left: %+v", gone.Local)
	}
	failed := report
	failed.Results = []enforce.Result{{ID: "M1", State: enforce.Failed, Reason: "ConfigurationBusy", Message: "held"}}
	if ready := meta.FindStatusCondition(statusOf(status, 1, failed).Conditions, "Ready"); ready.Reason != "MitigationsFailed" {
		t.Errorf("Ready is %+v although something could not be removed", ready)
	}
}

func TestWhatPeopleDoAtTheServerIsAnEvent(t *testing.T) {
	use := switches.Use{By: "alice", Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Reason: "login fails"}
	nothing := localOf(switches.Switches{})
	all := localOf(switches.Switches{KillSwitch: &use, Blocked: []switches.Block{{ID: "M2", Use: use}}, Repair: &use})
	const told = " by alice at 2026-03-01T12:00:00Z: login fails"
	for name, tc := range map[string]struct {
		before, after emsv1.ServerLocal
		want          []announcement
	}{
		"nothing": {nothing, nothing, nil},
		"all of it": {nothing, all, []announcement{
			{"", "Warning", "KillSwitchOn", "Switch", "The kill switch was thrown at the server" + told},
			{"M2", "Warning", "BlockedOnServer", "Block", "M2 was blocked at the server" + told},
			{"", "Normal", "RepairRequested", "Repair", "A repair was asked for at the server" + told},
		}},
		"the same again": {all, all, nil},
		"and back": {all, nothing, []announcement{
			{"", "Normal", "KillSwitchOff", "Switch", "The kill switch at the server was taken back; it had been thrown" + told},
			{"M2", "Normal", "UnblockedOnServer", "Unblock", "M2 is not blocked at the server any more; it had been blocked" + told},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, localAnnouncements(tc.before, tc.after), cmp.AllowUnexported(announcement{})); diff != "" {
				t.Errorf("events differ (-want +got):\n%s", diff)
			}
		})
	}
}
