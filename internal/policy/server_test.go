package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
)

func number(t *testing.T, text string) build.Number {
	t.Helper()
	n, err := build.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestApplicability(t *testing.T) {
	exchange := []policy.Product{{Name: "ExchangeServer", Role: "Mailbox", Branches: []policy.Branch{
		{From: number(t, "15.1.2507.0"), FixedIn: number(t, "15.1.2507.16")},
		{From: number(t, "15.2.1118.0"), FixedIn: number(t, "15.2.1118.20")},
		{From: number(t, "15.2.2562.0")},
	}}}
	server := func(role, at string) policy.Facts {
		f := policy.Facts{Product: "ExchangeServer", Role: role}
		if at != "" {
			f.Build = number(t, at)
		}
		return f
	}
	tests := map[string]struct {
		products []policy.Product
		fixed    []policy.FixedBuild
		facts    policy.Facts
		want     policy.Decision
	}{
		"an affected build needs it": {
			products: exchange, facts: server("Mailbox", "15.2.1118.7"),
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"the fixed build does not": {
			products: exchange, facts: server("Mailbox", "15.2.1118.20"),
			want: policy.Decision{Desired: policy.Remove, Reason: policy.FixedByUpdate},
		},
		"a higher number on an older, unfixed branch does": {
			products: exchange, facts: server("Mailbox", "15.1.2507.15"),
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"a branch without a fix needs it at every build": {
			products: exchange, facts: server("Mailbox", "15.2.2562.999"),
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"a build below all ranges does not": {
			products: exchange, facts: server("Mailbox", "15.0.1497.44"),
			want: policy.Decision{Desired: policy.Remove, Reason: policy.NotApplicable},
		},
		"another role does not": {
			products: exchange, facts: server("Edge", "15.2.1118.7"),
			want: policy.Decision{Desired: policy.Remove, Reason: policy.NotApplicable},
		},
		"another product does not": {
			products: exchange, facts: policy.Facts{Product: "SharePointServer"},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.NotApplicable},
		},
		"an unknown build needs it, to be safe": {
			products: exchange, facts: server("Mailbox", ""),
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"an unknown product needs it, to be safe": {
			products: exchange, facts: policy.Facts{},
			want: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"without products the feed's product needs it": {
			facts: server("", "15.2.1118.7"),
			want:  policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"without products another product does not": {
			facts: policy.Facts{Product: "SharePointServer"},
			want:  policy.Decision{Desired: policy.Remove, Reason: policy.NotApplicable},
		},
		"the operator's fixed build counts on its branch": {
			products: exchange, facts: server("Mailbox", "15.2.2562.45"),
			fixed: []policy.FixedBuild{{ID: "M2", Build: number(t, "15.2.2562.43")}},
			want:  policy.Decision{Desired: policy.Remove, Reason: policy.FixedByUpdate},
		},
		"the operator's fixed build does not count on another branch": {
			products: exchange, facts: server("Mailbox", "15.2.1118.7"),
			fixed: []policy.FixedBuild{{ID: "M2", Build: number(t, "15.1.2507.1")}},
			want:  policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
		"the operator's fixed build does not count for another mitigation": {
			products: exchange, facts: server("Mailbox", "15.2.2562.45"),
			fixed: []policy.FixedBuild{{ID: "M1", Build: number(t, "15.2.2562.43")}},
			want:  policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := policy.Applicability("M2", tc.products, "ExchangeServer", tc.fixed, tc.facts)
			if got.Desired == policy.Remove && got.Message == "" {
				t.Error("a mitigation that is not needed must say why")
			}
			got.Message = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("decision differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForServer(t *testing.T) {
	apply := policy.Decision{Desired: policy.Apply, Reason: policy.Enabled, BlockedActions: []string{"M1.2"}}
	blocked := policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool}
	needed := policy.Decision{Desired: policy.Apply, Reason: policy.Enabled}
	fixed := policy.Decision{Desired: policy.Remove, Reason: policy.FixedByUpdate}
	tests := map[string]struct {
		pool          policy.Decision
		situation     policy.Situation
		want          policy.Decision
		wantInMessage string
	}{
		"released and needed: apply, without the blocked actions": {
			pool: apply, situation: policy.Situation{Released: true, Applicability: needed}, want: apply,
		},
		"not released: hold": {
			pool: apply, situation: policy.Situation{Applicability: needed},
			want: policy.Decision{Desired: policy.Hold, Reason: policy.AwaitingStage},
		},
		"not released, and the rollout says why": {
			pool: apply, situation: policy.Situation{Applicability: needed, Waiting: policy.RolloutHalted},
			want: policy.Decision{Desired: policy.Hold, Reason: policy.RolloutHalted}, wantInMessage: "servers before it failed",
		},
		"it failed here: hold, and say so rather than that it waits for others": {
			pool: apply, situation: policy.Situation{Applicability: needed, Waiting: policy.RolloutHalted, Failed: "https://localhost/owa: 500 instead of 200"},
			want: policy.Decision{Desired: policy.Hold, Reason: policy.GateFailed}, wantInMessage: "failed on this server, which does not try it again by itself: https://localhost/owa: 500",
		},
		"it failed here, and the build is fixed meanwhile: remove": {
			pool: apply, situation: policy.Situation{Applicability: fixed, Failed: "500"}, want: fixed,
		},
		"superseded, and the successor is missing here: hold": {
			pool:      policy.Decision{Desired: policy.Remove, Reason: policy.Superseded, Message: "replaced by M2"},
			situation: policy.Situation{Applicability: needed, SuccessorMissing: true},
			want:      policy.Decision{Desired: policy.Hold, Reason: policy.Superseded}, wantInMessage: "replaced by M2, which is not in place on this server",
		},
		"withdrawn: remove, whatever is missing": {
			pool:      policy.Decision{Desired: policy.Remove, Reason: policy.Withdrawn},
			situation: policy.Situation{Applicability: needed, SuccessorMissing: true},
			want:      policy.Decision{Desired: policy.Remove, Reason: policy.Withdrawn},
		},
		"fixed: remove, released or not": {
			pool: apply, situation: policy.Situation{Applicability: fixed}, want: fixed,
		},
		"blocked: remove, released or not": {
			pool: blocked, situation: policy.Situation{Applicability: needed}, want: blocked,
		},
		"audit: hold, and say what would be": {
			pool: apply, situation: policy.Situation{Released: true, AuditOnly: true, Applicability: needed},
			want:          policy.Decision{Desired: policy.Hold, Reason: policy.Audit},
			wantInMessage: "would be: Apply (Enabled)",
		},
		"audit of a block: hold, and say what would be": {
			pool: blocked, situation: policy.Situation{Released: true, AuditOnly: true, Applicability: needed},
			want:          policy.Decision{Desired: policy.Hold, Reason: policy.Audit},
			wantInMessage: "would be: Remove (BlockedByPool)",
		},
		"kill switch in an audited pool: remove": {
			pool:      policy.Decision{Desired: policy.Remove, Reason: policy.Suspended},
			situation: policy.Situation{AuditOnly: true, Applicability: needed},
			want:      policy.Decision{Desired: policy.Remove, Reason: policy.Suspended},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := policy.ForServer(tc.pool, tc.situation)
			if !strings.Contains(got.Message, tc.wantInMessage) {
				t.Errorf("message %q lacks %q", got.Message, tc.wantInMessage)
			}
			got.Message = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("decision differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestForServerHearsThePeopleAtTheServer(t *testing.T) {
	const said = "M1 is blocked on this server, by alice"
	for name, tc := range map[string]struct {
		pool policy.Decision
		s    policy.Situation
		want policy.Decision
	}{
		"it goes although the pool wants it": {
			pool: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled}, s: policy.Situation{OnServer: said, Released: true},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.BlockedOnServer, Message: said},
		},
		"it goes in Audit mode": {
			pool: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled}, s: policy.Situation{OnServer: said, AuditOnly: true},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.BlockedOnServer, Message: said},
		},
		"it goes although mitigations are disabled": {
			pool: policy.Decision{Desired: policy.Hold, Reason: policy.MitigationsDisabled}, s: policy.Situation{OnServer: said},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.BlockedOnServer, Message: said},
		},
		"a kill switch of the cluster is named first": {
			pool: policy.Decision{Desired: policy.Remove, Reason: policy.Suspended}, s: policy.Situation{OnServer: said},
			want: policy.Decision{Desired: policy.Remove, Reason: policy.Suspended},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, policy.ForServer(tc.pool, tc.s)); diff != "" {
				t.Errorf("decision differs (-want +got):\n%s", diff)
			}
		})
	}
	if !policy.BlockedOnServer.Blocked() {
		t.Error("it does not count as blocked")
	}
}
