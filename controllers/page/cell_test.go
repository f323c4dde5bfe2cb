package page

import (
	"testing"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func TestCells(t *testing.T) {
	counts := func(total, applied, pending, failed, ineffective, blocked, notNeeded, other int32) emsv1.ServerCounts {
		return emsv1.ServerCounts{
			Total: &total, Applied: &applied, Pending: &pending, Failed: &failed, Ineffective: &ineffective, Blocked: &blocked, NotApplicable: &notNeeded, Other: &other,
		}
	}
	rollout := func(state emsv1.RolloutState, reason string) emsv1.PoolRolloutStatus {
		return emsv1.PoolRolloutStatus{State: state, Reason: reason, Stage: "first", StageNumber: new(int32(1)), Stages: 3}
	}
	for name, test := range map[string]struct {
		desired emsv1.DesiredState
		reason  string
		mode    string
		counts  emsv1.ServerCounts
		rollout emsv1.PoolRolloutStatus
		want    cell
	}{
		"everybody has it":             {"Apply", "Enabled", "", counts(5, 4, 0, 0, 0, 0, 1, 0), rollout("Complete", ""), cell{signOK, "protected", "4/4", ""}},
		"nobody needs it":              {"Apply", "Enabled", "", counts(5, 0, 0, 0, 0, 0, 5, 0), rollout("Complete", ""), cell{signNone, "not needed", "", ""}},
		"nobody is there":              {"Apply", "Enabled", "", counts(0, 0, 0, 0, 0, 0, 0, 0), rollout("Waiting", ""), cell{signNone, "no servers", "", ""}},
		"a stage is at work":           {"Apply", "Enabled", "", counts(5, 1, 4, 0, 0, 0, 0, 0), rollout("Progressing", ""), cell{signMoving, "rolling out", "1/5", "stage 1/3"}},
		"servers are late":             {"Apply", "Enabled", "", counts(5, 4, 1, 0, 0, 0, 0, 0), rollout("Complete", ""), cell{signMoving, "on its way", "4/5", ""}},
		"a person has to agree":        {"Apply", "Enabled", "", counts(5, 1, 4, 0, 0, 0, 0, 0), rollout("Waiting", "AwaitingApproval"), cell{signWaiting, "needs approval", "1/5", "stage 1/3"}},
		"a ring before is not done":    {"Apply", "Enabled", "", counts(5, 0, 5, 0, 0, 0, 0, 0), rollout("Waiting", "AwaitingRing"), cell{signWaiting, "waiting", "0/5", "stage 1/3"}},
		"a person holds it":            {"Apply", "Enabled", "", counts(5, 1, 4, 0, 0, 0, 0, 0), rollout("Paused", "RolloutPaused"), cell{signPaused, "paused", "1/5", "stage 1/3"}},
		"too many failed":              {"Apply", "Enabled", "", counts(5, 0, 4, 1, 0, 0, 0, 0), rollout("Halted", "RolloutHalted"), cell{signHalted, "halted", "0/5", "stage 1/3"}},
		"a person took it back":        {"Apply", "Enabled", "", counts(5, 0, 0, 0, 0, 0, 0, 5), rollout("Aborted", "RolloutAborted"), cell{signOff, "taken back", "0/5", "stage 1/3"}},
		"one failed afterwards":        {"Apply", "Enabled", "", counts(5, 4, 0, 1, 0, 0, 0, 0), rollout("Complete", ""), cell{signFailed, "failed", "4/5", "on 1 server"}},
		"one does not run it":          {"Apply", "Enabled", "", counts(5, 3, 0, 0, 2, 0, 0, 0), rollout("Complete", ""), cell{signBroken, "not effective", "3/5", "on 2 servers"}},
		"one blocked it for itself":    {"Apply", "Enabled", "", counts(5, 4, 0, 0, 0, 1, 0, 0), rollout("Complete", ""), cell{signBlocked, "protected, but", "4/5", "1 server blocked it"}},
		"the pool only looks":          {"Apply", "Enabled", "Audit", counts(5, 0, 0, 0, 0, 0, 0, 5), rollout("Complete", ""), cell{signAudit, "only audited", "", ""}},
		"and is not done looking":      {"Apply", "Enabled", "Audit", counts(5, 0, 5, 0, 0, 0, 0, 0), rollout("Progressing", ""), cell{signAudit, "only audited", "", "stage 1/3"}},
		"the pool blocks it":           {"Remove", "BlockedByPool", "", counts(5, 0, 0, 0, 0, 5, 0, 0), emsv1.PoolRolloutStatus{}, cell{signBlocked, "blocked", "", ""}},
		"it is still being removed":    {"Remove", "BlockedByOrganization", "", counts(5, 2, 0, 0, 0, 3, 0, 0), emsv1.PoolRolloutStatus{}, cell{signMoving, "being removed", "", "2 servers left"}},
		"it cannot be removed":         {"Remove", "Withdrawn", "", counts(5, 1, 0, 1, 0, 0, 0, 3), emsv1.PoolRolloutStatus{}, cell{signFailed, "failed", "", "on 1 server"}},
		"the kill switch is on":        {"Remove", "Suspended", "", counts(5, 0, 0, 0, 0, 0, 0, 5), emsv1.PoolRolloutStatus{}, cell{signBlocked, "suspended", "", ""}},
		"the publisher took it back":   {"Remove", "Withdrawn", "", counts(5, 0, 0, 0, 0, 0, 0, 5), emsv1.PoolRolloutStatus{}, cell{signOff, "withdrawn", "", ""}},
		"disabled pools keep it":       {"Hold", "MitigationsDisabled", "", counts(5, 2, 0, 0, 0, 0, 0, 3), emsv1.PoolRolloutStatus{}, cell{signHeld, "held", "2/5", "mitigations disabled"}},
		"nothing has no other meaning": {"Apply", "Enabled", "", counts(5, 3, 0, 0, 0, 0, 0, 2), rollout("Complete", ""), cell{signHeld, "left as it is", "3/5", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			m := &emsv1.PoolMitigationStatus{ID: "M1", Desired: test.desired, Reason: test.reason, Servers: test.counts, Rollout: test.rollout}
			p := &poolSight{PoolMitigationConfig: &emsv1.PoolMitigationConfig{}, status: map[string]*emsv1.PoolMitigationStatus{"m1": m}}
			p.Status.Summary.Mode = test.mode
			if got := inPool(p, "M1"); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestOnServer(t *testing.T) {
	apply := emsv1.PlannedMitigation{ID: "M1", Desired: emsv1.DesiredApply, Revision: 2, Rollout: emsv1.PlanRollout{ID: "2-1"}}
	aborted, remove := apply, apply
	aborted.Rollout.State = emsv1.RolloutAborted
	remove.Desired, remove.Reason = emsv1.DesiredRemove, "BlockedByPool"
	failed := emsv1.ServerGate{Rollout: "2-1", Verdict: emsv1.GateFailed}
	for name, test := range map[string]struct {
		planned emsv1.PlannedMitigation
		said    *emsv1.ServerMitigation
		want    sign
	}{
		"it is in place":                              {apply, &emsv1.ServerMitigation{State: "Applied", Revision: 2}, signOK},
		"the revision before is":                      {apply, &emsv1.ServerMitigation{State: "Applied", Revision: 1}, signMoving},
		"IIS does not run it":                         {apply, &emsv1.ServerMitigation{State: "Applied", Revision: 2, Effective: "False"}, signBroken},
		"nothing was said":                            {apply, nil, signMoving},
		"nothing was said of what is not wanted":      {remove, nil, signOff},
		"the server took it back by itself":           {apply, &emsv1.ServerMitigation{State: "Applied", Revision: 1, Gate: failed}, signFailed},
		"the server took back an earlier one":         {apply, &emsv1.ServerMitigation{State: "Applied", Revision: 2, Gate: emsv1.ServerGate{Rollout: "1-1", Verdict: "Failed"}}, signOK},
		"a person took it back":                       {aborted, &emsv1.ServerMitigation{State: "Applied", Revision: 1, Gate: failed}, signOK},
		"and there was none before":                   {aborted, &emsv1.ServerMitigation{State: "Held"}, signHeld},
		"it is blocked":                               {remove, &emsv1.ServerMitigation{State: "Removed", Reason: "BlockedByPool"}, signBlocked},
		"it is blocked at the server":                 {apply, &emsv1.ServerMitigation{State: "Removed", Reason: "BlockedOnServer"}, signBlocked},
		"it is blocked and still there":               {remove, &emsv1.ServerMitigation{State: "Applied", Revision: 2}, signMoving},
		"it is not there yet":                         {apply, &emsv1.ServerMitigation{State: "Removed", Reason: "AwaitingStage"}, signMoving},
		"it is only looked at":                        {apply, &emsv1.ServerMitigation{State: "Audited"}, signAudit},
		"it is not needed":                            {apply, &emsv1.ServerMitigation{State: "NotApplicable"}, signNone},
		"it failed":                                   {apply, &emsv1.ServerMitigation{State: "Failed"}, signFailed},
		"a state that this manager does not know yet": {apply, &emsv1.ServerMitigation{State: "Odd"}, signNone},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _, _ := onServer(&test.planned, test.said); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestBarsAddUp(t *testing.T) {
	for name, counted := range map[string]map[sign]int32{
		"one":              {signOK: 1},
		"one in thousands": {signOK: 1, signFailed: 9999},
		"a few of each":    {signOK: 9990, signFailed: 1, signBroken: 1, signSilent: 1, signMoving: 1, signBlocked: 1, signAudit: 1, signHeld: 1},
		"thirds":           {signOK: 1, signFailed: 1, signMoving: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var all tally
			for is, n := range counted {
				all.addMany(is, n)
			}
			x := 0
			for _, s := range all.shares() {
				if s.X != x || s.Width < 8 {
					t.Errorf("%s begins at %d with a width of %d, want it at %d", s.Sign, s.X, s.Width, x)
				}
				x += s.Width
			}
			if x != 1000 {
				t.Errorf("the bar is %d wide", x)
			}
		})
	}
	if shares := (&tally{}).shares(); len(shares) != 0 {
		t.Errorf("nothing has the shares %v", shares)
	}
}
