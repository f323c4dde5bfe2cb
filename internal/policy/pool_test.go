package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

func TestCovers(t *testing.T) {
	tests := map[string]struct {
		entry, id string
		want      bool
	}{
		"an id covers itself":                      {"M1", "M1", true},
		"case does not matter":                     {"ping1", "PING1", true},
		"a parent covers its child":                {"M1", "M1.1", true},
		"a parent covers its grandchild":           {"M1", "M1.1.0", true},
		"a child does not cover its parent":        {"M1.1", "M1", false},
		"a number that begins alike is another id": {"M1", "M10", false},
		"a child that begins alike is another id":  {"M1.1", "M1.10", false},
		"another id is another id":                 {"M2", "M1", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := policy.Covers(tc.entry, tc.id); got != tc.want {
				t.Errorf("Covers(%q, %q) = %t, want %t", tc.entry, tc.id, got, tc.want)
			}
		})
	}
}

func TestForPool(t *testing.T) {
	active := policy.Mitigation{ID: "M1", ActionIDs: []string{"M1.1", "M1.2"}, Lifecycle: policy.LifecycleActive}
	withdrawn := policy.Mitigation{ID: "M1", Lifecycle: policy.LifecycleWithdrawn}
	superseded := policy.Mitigation{ID: "M1", Lifecycle: policy.LifecycleSuperseded, SupersededBy: "M2"}
	block := func(id string, expiry time.Time) []policy.Exception {
		return []policy.Exception{{ID: id, Reason: "breaks printing", Owner: "mail team", Expiry: expiry}}
	}
	tests := map[string]struct {
		mitigation     policy.Mitigation
		configurations []policy.Configuration
		pool           policy.Pool
		want           policy.Decision
		wantNext       time.Time
		// wantInMessage is text that the message must hold; messages are for people and not compared as a whole.
		wantInMessage string
	}{
		"nothing against it: apply": {
			mitigation: active,
			want:       policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"blocked by the pool: remove": {
			mitigation: active, pool: policy.Pool{Blocked: block("M1", time.Time{})},
			want:          policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, By: "mail team"},
			wantInMessage: "the pool blocks M1: breaks printing (ask mail team)",
		},
		"blocked by the organisation: remove": {
			mitigation: active, configurations: []policy.Configuration{{Name: "global", Blocked: block("m1", time.Time{})}},
			want:          policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByOrganization, By: "mail team"},
			wantInMessage: `MitigationConfiguration "global" blocks m1`,
		},
		"blocked by both: the organisation is named": {
			mitigation: active, configurations: []policy.Configuration{{Name: "global", Blocked: block("M1", time.Time{})}},
			pool: policy.Pool{Blocked: block("M1", time.Time{})},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByOrganization, By: "mail team"},
		},
		"another mitigation is blocked: apply": {
			mitigation: active, pool: policy.Pool{Blocked: block("M10", time.Time{})},
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"a block that expires later counts and says when to look again": {
			mitigation: active, pool: policy.Pool{Blocked: block("M1", now.Add(time.Hour))},
			want:     policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, By: "mail team", Until: now.Add(time.Hour)},
			wantNext: now.Add(time.Hour), wantInMessage: "until 2026-05-14T17:00:00Z",
		},
		"a block that expires now no longer counts": {
			mitigation: active, pool: policy.Pool{Blocked: block("M1", now)},
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"one action blocked: apply without it": {
			mitigation: active, pool: policy.Pool{Blocked: block("M1.2", time.Time{})},
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled, BlockedActions: []string{"M1.2"}},
		},
		"every action blocked: remove": {
			mitigation: active,
			pool:       policy.Pool{Blocked: append(block("M1.1", time.Time{}), block("M1.2", time.Time{})...)},
			want:       policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, By: "mail team"},
		},
		"pool disabled: hold": {
			mitigation: active, pool: policy.Pool{Disabled: true},
			want: policy.Decision{Desired: policy.Hold, Reason: policy.MitigationsDisabled},
		},
		"organisation disabled, pool says remove: remove": {
			mitigation: active, configurations: []policy.Configuration{{Name: "global", Disabled: true}},
			pool: policy.Pool{RemoveWhenDisabled: true},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.MitigationsDisabled},
		},
		"blocked and disabled: a block removes all the same": {
			mitigation: active, pool: policy.Pool{Disabled: true, Blocked: block("M1", time.Time{})},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, By: "mail team"},
		},
		"withdrawn: remove": {
			mitigation: withdrawn,
			want:       policy.Decision{Desired: policy.Remove, Reason: policy.Withdrawn},
		},
		"withdrawn while disabled: hold": {
			mitigation: withdrawn, pool: policy.Pool{Disabled: true},
			want: policy.Decision{Desired: policy.Hold, Reason: policy.MitigationsDisabled},
		},
		"superseded: remove, and say by what": {
			mitigation: superseded, wantInMessage: "M2",
			want: policy.Decision{Desired: policy.Remove, Reason: policy.Superseded},
		},
		"superseded, and the successor is not in place: hold": {
			mitigation: policy.Mitigation{ID: "M1", Lifecycle: policy.LifecycleSuperseded, SupersededBy: "M2", SuccessorPending: true},
			want:       policy.Decision{Desired: policy.Hold, Reason: policy.Superseded}, wantInMessage: "replaced by M2, which is not yet in place",
		},
		"several blocks: the first is named, and it lasts until the last has expired": {
			mitigation: active, configurations: []policy.Configuration{{Name: "global", Blocked: block("M1", now.Add(time.Hour))}},
			pool:     policy.Pool{Blocked: block("M1", now.Add(2*time.Hour))},
			want:     policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByOrganization, By: "mail team", Until: now.Add(2 * time.Hour)},
			wantNext: now.Add(time.Hour),
		},
		"a block that expires, and one that does not: no end": {
			mitigation: active, pool: policy.Pool{Blocked: append(block("M1", now.Add(time.Hour)), block("m1", time.Time{})...)},
			want:     policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, By: "mail team"},
			wantNext: now.Add(time.Hour),
		},
		"every action blocked for a time: until the first of them is free": {
			mitigation: active,
			pool:       policy.Pool{Blocked: append(block("M1.1", now.Add(2*time.Hour)), block("M1.2", now.Add(time.Hour))...)},
			want:       policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, By: "mail team", Until: now.Add(time.Hour)},
			wantNext:   now.Add(time.Hour),
		},
		"the expiry of a block of another mitigation is no reason to look again": {
			mitigation: active, pool: policy.Pool{Blocked: block("M2", now.Add(time.Hour))},
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"kill switch of this mitigation: remove, before a block, disabled or not": {
			mitigation: active,
			configurations: []policy.Configuration{{
				Name: "global", Disabled: true, Blocked: block("M1", time.Time{}), SuspendedMitigations: block("m1", now.Add(time.Hour)),
			}},
			want:     policy.Decision{Desired: policy.Remove, Reason: policy.Suspended, By: "mail team", Until: now.Add(time.Hour)},
			wantNext: now.Add(time.Hour), wantInMessage: `MitigationConfiguration "global" suspends m1, which covers M1: breaks printing`,
		},
		"kill switch of one action: apply without it": {
			mitigation:     active,
			configurations: []policy.Configuration{{Name: "global", SuspendedMitigations: block("M1.1", time.Time{})}},
			want:           policy.Decision{Desired: policy.Apply, Reason: policy.Enabled, BlockedActions: []string{"M1.1"}},
		},
		"kill switch of the organisation: remove, whatever else is said": {
			mitigation: active, configurations: []policy.Configuration{{Name: "vienna", Suspended: true}},
			pool:          policy.Pool{Disabled: true},
			want:          policy.Decision{Desired: policy.Remove, Reason: policy.Suspended},
			wantInMessage: `"vienna" suspends`,
		},
		"kill switch of the pool: remove": {
			mitigation: active, pool: policy.Pool{Suspended: true},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.Suspended},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, next := policy.ForPool(tc.mitigation, tc.configurations, tc.pool, now)
			if !strings.Contains(got.Message, tc.wantInMessage) {
				t.Errorf("message %q lacks %q", got.Message, tc.wantInMessage)
			}
			got.Message = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("decision differs (-want +got):\n%s", diff)
			}
			if !next.Equal(tc.wantNext) {
				t.Errorf("next look = %v, want %v", next, tc.wantNext)
			}
		})
	}
}
