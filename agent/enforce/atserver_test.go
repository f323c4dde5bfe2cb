package enforce

import (
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
)

func TestDecideFollowsThePeopleAtTheServer(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	use := switches.Use{By: "alice", Time: at, Reason: "login fails"}
	blocked := func(ids ...string) switches.Switches {
		var s switches.Switches
		for _, id := range ids {
			s.Blocked = append(s.Blocked, switches.Block{ID: id, Use: use})
		}
		return s
	}
	killed := switches.Switches{KillSwitch: &use}
	staged := func(e *Entry) { e.Rollout = Rollout{ID: "r1"} }
	for name, tc := range map[string]struct {
		switches switches.Switches
		plan     *Plan
		have     []iis.Mitigation
		// want are the ids of the actions that are in place afterwards; gone says that nothing is.
		want       []string
		wantReason string
		wantGate   string
	}{
		"nothing is switched": {
			plan: &Plan{Entries: []Entry{entry()}}, want: []string{"M1.1", "M1.2"}, wantReason: "Enabled",
		},
		"the kill switch takes away what the plan wants": {
			switches: killed, plan: &Plan{Entries: []Entry{entry()}}, have: just(revision2), wantReason: "BlockedOnServer",
		},
		"the kill switch takes away what no plan speaks of": {
			switches: killed, have: just(revision2), wantReason: "BlockedOnServer",
		},
		"the kill switch works in Audit mode": {
			switches: killed, plan: &Plan{AuditOnly: true, Entries: []Entry{entry()}}, have: just(revision2), wantReason: "BlockedOnServer",
		},
		"the kill switch of the organisation is named first": {
			switches: killed, plan: &Plan{Entries: []Entry{entry(desired(policy.Remove, policy.Suspended, "by the organisation"))}}, have: just(revision2), wantReason: "Suspended",
		},
		"a block goes before that of the pool": {
			switches: blocked("M1"), plan: &Plan{Entries: []Entry{entry(desired(policy.Remove, policy.BlockedByPool, ""))}}, have: just(revision2), wantReason: "BlockedOnServer",
		},
		"a block takes away what the rollout has not reached": {
			switches: blocked("M1"), plan: &Plan{Entries: []Entry{entry(unreleased)}}, have: just(revision1), wantReason: "BlockedOnServer",
		},
		"a block takes away what is held": {
			switches: blocked("m1"), plan: &Plan{Entries: []Entry{entry(desired(policy.Hold, policy.MitigationsDisabled, ""))}}, have: just(revision1), wantReason: "BlockedOnServer",
		},
		"a block of another one does nothing": {
			switches: blocked("M10", "M2"), plan: &Plan{Entries: []Entry{entry()}}, want: []string{"M1.1", "M1.2"}, wantReason: "Enabled",
		},
		"a rollout does not wait for a server with a block": {
			switches: blocked("M1"), plan: &Plan{Entries: []Entry{entry(staged)}}, wantReason: "BlockedOnServer", wantGate: "NotNeeded",
		},
		"a rollout does not wait for a server with the kill switch": {
			switches: killed, plan: &Plan{Entries: []Entry{entry(staged)}}, have: just(revision1), wantReason: "BlockedOnServer", wantGate: "NotNeeded",
		},
		"a blocked action is left out": {
			switches: blocked("M1.2"), plan: &Plan{Entries: []Entry{entry()}}, want: []string{"M1.1"}, wantReason: "Enabled",
		},
		"nothing is left of a mitigation with all of its actions blocked": {
			switches: blocked("M1.1", "M1.2"), plan: &Plan{Entries: []Entry{entry()}}, have: just(revision1), wantReason: "BlockedOnServer",
		},
		"the pool blocks the other action": {
			switches: blocked("M1.2"), have: just(revision2), wantReason: "BlockedOnServer",
			plan: &Plan{Entries: []Entry{entry(func(e *Entry) { e.Decision.BlockedActions = []string{"M1.1"} })}},
		},
		"a blocked action of what no plan speaks of": {
			switches: blocked("M1.2"), have: just(revision2), want: []string{"M1.1"}, wantReason: "NotInPlan",
		},
		"a block that has ended": {
			switches: switches.Switches{Blocked: []switches.Block{{ID: "M1", Use: use, Expires: at}}},
			plan:     &Plan{Entries: []Entry{entry()}}, want: []string{"M1.1", "M1.2"}, wantReason: "Enabled",
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := Input{
				Server: "fe01", Plan: tc.plan, Applied: tc.have, Switches: tc.switches, Now: at, Facts: policy.Facts{Product: "ExchangeServer"},
				Documents: map[DocumentRef]Document{newDocument: {Content: &ocs.Document{Configs: []ocs.Config{config()}}}},
			}
			d := Decide(in)
			var got []string
			for _, m := range d.Wanted {
				for _, a := range m.Actions {
					got = append(got, a.ID)
				}
			}
			if strings.Join(got, " ") != strings.Join(tc.want, " ") {
				t.Errorf("wanted %v, want %v", got, tc.want)
			}
			if len(d.Intents) != 1 || d.Intents[0].Reason != tc.wantReason || string(d.Intents[0].Gate.Verdict) != tc.wantGate {
				t.Fatalf("intents %+v, want reason %s, gate %q", d.Intents, tc.wantReason, tc.wantGate)
			}
			if tc.wantReason == "BlockedOnServer" && (d.Intents[0].State != Removed || !strings.Contains(d.Intents[0].Message, "by alice at 2026-03-01T12:00:00Z: login fails")) {
				t.Errorf("state %s, message %q", d.Intents[0].State, d.Intents[0].Message)
			}
			if results := Gates(d.Intents, d, nil, d.Wanted); string(results[0].Gate.Verdict) != tc.wantGate {
				t.Errorf("gate %+v in the end, want %q", results[0].Gate, tc.wantGate)
			}
		})
	}
}
