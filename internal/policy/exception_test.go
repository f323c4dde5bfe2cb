package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
)

func TestAtServer(t *testing.T) {
	blocked := policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, Until: now.Add(time.Hour), Message: "the pool blocks M1"}
	with := func(change func(*policy.Decision)) policy.Decision {
		d := blocked
		change(&d)
		return d
	}
	waiting := policy.Decision{
		Desired: policy.Hold, Reason: policy.AwaitingPlan,
		Message: "BlockedByPool ended at 2026-05-14T17:00:00Z, and the manager has not planned anew since",
	}
	tests := map[string]struct {
		planned policy.Decision
		at      time.Time
		want    policy.Decision
	}{
		"before its expiry a block counts":                  {blocked, now.Add(time.Hour - 1), blocked},
		"at its expiry nothing is removed on account of it": {blocked, now.Add(time.Hour), waiting},
		"long after it neither":                             {blocked, now.Add(1000 * time.Hour), waiting},
		"a block without end": {
			with(func(d *policy.Decision) { d.Until = time.Time{} }), now.Add(1000 * time.Hour), with(func(d *policy.Decision) { d.Until = time.Time{} }),
		},
		"a suspension": {
			with(func(d *policy.Decision) { d.Reason = policy.Suspended }), now.Add(time.Hour),
			policy.Decision{
				Desired: policy.Hold, Reason: policy.AwaitingPlan,
				Message: "Suspended ended at 2026-05-14T17:00:00Z, and the manager has not planned anew since",
			},
		},
		"a withdrawal has no end": {
			with(func(d *policy.Decision) { d.Reason = policy.Withdrawn }), now.Add(time.Hour),
			with(func(d *policy.Decision) { d.Reason = policy.Withdrawn }),
		},
		"what is to be applied stays so": {
			with(func(d *policy.Decision) { d.Desired, d.Reason = policy.Apply, policy.Enabled }), now.Add(time.Hour),
			with(func(d *policy.Decision) { d.Desired, d.Reason = policy.Apply, policy.Enabled }),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, policy.AtServer(tc.planned, tc.at)); diff != "" {
				t.Errorf("decision differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestApprovedReturnsTheFirstThatCounts(t *testing.T) {
	pool := []policy.Approval{
		{ID: "M1", Owner: "too late", Expiry: now},
		{ID: "M1", Owner: "for the revision before", Revision: 1},
		{ID: "M1", Owner: "for another stage", Stages: []string{"half", "rest"}},
	}
	organization := []policy.Approval{{ID: "m1", Owner: "change board", Revision: 2, Stages: []string{"canary"}, Expiry: now.Add(1)}, {ID: "M1", Owner: "second"}}
	tests := map[string]struct {
		id       string
		revision int64
		stage    string
		at       time.Time
		lists    [][]policy.Approval
		want     string
	}{
		"the one that is about it":                   {"M1", 2, "canary", now, [][]policy.Approval{pool, organization}, "change board"},
		"that of a parent":                           {"M1.1", 2, "canary", now, [][]policy.Approval{pool, organization}, "change board"},
		"at its expiry the next":                     {"M1", 2, "canary", now.Add(1), [][]policy.Approval{pool, organization}, "second"},
		"the order of lists is the caller's":         {"M1", 2, "half", now, [][]policy.Approval{pool, organization}, "for another stage"},
		"a name of a stage in other letters is none": {"M1", 2, "Canary", now, [][]policy.Approval{organization[:1]}, ""},
		"another revision":                           {"M1", 3, "canary", now, [][]policy.Approval{pool, organization[:1]}, ""},
		"no lists":                                   {"M1", 2, "canary", now, nil, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := policy.Approved(tc.id, tc.revision, tc.stage, tc.at, tc.lists...)
			if got.Owner != tc.want || ok != (tc.want != "") {
				t.Errorf("approved by %q, %t, want by %q", got.Owner, ok, tc.want)
			}
		})
	}
}

func TestSuccessor(t *testing.T) {
	by := map[string]string{"m1": "M2", "m2": "m3", "a": "B", "b": "A", "c": "C", "d": ""}
	tests := map[string]struct {
		id     string
		want   string
		wantOK bool
	}{
		"the end of the chain":                  {"M1", "m3", true},
		"one step":                              {"m2", "m3", true},
		"nothing supersedes it":                 {"M3", "M3", false},
		"two that supersede each other":         {"A", "", false},
		"one that supersedes itself":            {"C", "", false},
		"superseded by nothing that has a name": {"D", "D", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := policy.Successor(tc.id, by); got != tc.want || ok != tc.wantOK {
				t.Errorf("Successor(%q) = %q, %t, want %q, %t", tc.id, got, ok, tc.want, tc.wantOK)
			}
		})
	}
}
