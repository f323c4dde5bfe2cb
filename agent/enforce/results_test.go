package enforce

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/refusal"
)

func TestConclude(t *testing.T) {
	applied := Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}
	removed := Result{ID: "M1", State: Removed, Reason: "BlockedByPool", Message: "blocked"}
	untrusted := Result{ID: "M1", State: Failed, Reason: "Untrusted", Message: "not trusted", Revision: 1, Digest: oldDigest}
	siteMissing := iis.Outcome{ID: "m1", Revision: 2, State: iis.Failed, Reason: iis.SiteNotFound, Message: "no such site"}
	for name, tc := range map[string]struct {
		intent   Result
		wanted   []iis.Mitigation
		outcomes []iis.Outcome
		err      error
		applied  []iis.Mitigation
		want     []Result
	}{
		"what was put in place is reported as it stands there": {
			intent: applied, wanted: just(revision2), outcomes: []iis.Outcome{{ID: "M1", State: iis.Applied}}, applied: just(revision2),
			want: one(applied),
		},
		"what the server refused fails with the server's reason, and no revision is claimed": {
			intent: applied, wanted: just(revision2), outcomes: []iis.Outcome{siteMissing},
			want: one(Result{ID: "M1", State: Failed, Reason: "SiteNotFound", Message: "no such site"}),
		},
		"what the server refused keeps the earlier revision": {
			intent: applied, wanted: just(revision2), outcomes: []iis.Outcome{siteMissing}, applied: just(revision1),
			want: one(Result{ID: "M1", State: Failed, Reason: "SiteNotFound", Message: "no such site", Revision: 1, Digest: oldDigest}),
		},
		"what was removed has no revision": {
			intent: removed, outcomes: []iis.Outcome{{ID: "M1", State: iis.Removed, Changed: true}}, want: one(removed),
		},
		"what could not be removed fails": {
			intent: removed, outcomes: []iis.Outcome{{ID: "M1", State: iis.Failed, Reason: iis.ConfigurationReadOnly, Message: "make it writable"}}, applied: just(revision1),
			want: one(Result{ID: "M1", State: Failed, Reason: "ConfigurationReadOnly", Message: "make it writable", Revision: 1, Digest: oldDigest}),
		},
		"a document's failure is told before the server's": {
			intent: untrusted, wanted: just(revision1), outcomes: []iis.Outcome{siteMissing}, applied: just(revision1), want: one(untrusted),
		},
		"a journal that cannot be written fails what should be in place": {
			intent: applied, wanted: just(revision2), err: refusal.New(iis.JournalFailed, "disk full"),
			want: one(Result{ID: "M1", State: Failed, Reason: "JournalFailed", Message: "disk full"}),
		},
		"an error without a reason has one of its own": {
			intent: applied, wanted: just(revision2), err: errors.New("interrupted"), applied: just(revision2),
			want: one(Result{ID: "M1", State: Failed, Reason: "ServerFailed", Message: "interrupted", Revision: 2, Digest: newDigest}),
		},
		"an error does not matter for what is gone as it should be": {
			intent: removed, err: errors.New("interrupted"), want: one(removed),
		},
		"a server that says nothing is not believed": {
			intent: applied, wanted: just(revision2),
			want: one(Result{ID: "M1", State: Failed, Reason: "ServerFailed", Message: "the server is not as it should be and does not say why; see the agent's log"}),
		},
		"a failure of something that nobody knew of is reported too": {
			intent: applied, wanted: just(revision2), applied: just(revision2),
			outcomes: []iis.Outcome{{ID: "M1", State: iis.Applied}, {ID: "M0", State: iis.Failed, Reason: iis.JournalCorrupt, Message: "damaged"}},
			want:     []Result{{ID: "M0", State: Failed, Reason: "JournalCorrupt", Message: "damaged"}, applied},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Conclude(Decision{Wanted: tc.wanted, Intents: one(tc.intent)}, tc.outcomes, tc.err, tc.applied)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("results differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	applied := Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}
	failed := Result{ID: "M1", State: Failed, Reason: "SiteNotFound", Message: "create it", Revision: 1, Digest: oldDigest}
	for name, tc := range map[string]struct {
		result  Result
		verdict effective.Verdict
		want    Result
		wantNot bool
	}{
		"what IIS runs keeps its reason": {
			result: applied, verdict: effective.Verdict{ID: "m1", Status: effective.True, Reason: effective.InEffect},
			want: Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest, Effective: "True"},
		},
		"what IIS does not run says why": {
			result: applied, verdict: effective.Verdict{ID: "M1", Status: effective.False, Reason: effective.Cleared, Message: "line 3"}, wantNot: true,
			want: Result{ID: "M1", State: Applied, Reason: "Cleared", Message: "line 3", Revision: 2, Digest: newDigest, Effective: "False"},
		},
		"doubt says why and counts as protection": {
			result: applied, verdict: effective.Verdict{ID: "M1", Status: effective.Unknown, Reason: effective.MayBeShadowed, Message: "rule x"},
			want: Result{ID: "M1", State: Applied, Reason: "MayBeShadowed", Message: "rule x", Revision: 2, Digest: newDigest, Effective: "Unknown"},
		},
		"a failure keeps its reason, and tells of the revision that stays": {
			result: failed, verdict: effective.Verdict{ID: "M1", Status: effective.False, Reason: effective.Cleared, Message: "line 3"},
			want: Result{ID: "M1", State: Failed, Reason: "SiteNotFound", Message: "create it", Revision: 1, Digest: oldDigest, Effective: "False"},
		},
		"what blocks a request that must pass stays and tells it": {
			result: applied, verdict: effective.Verdict{ID: "M1", Status: effective.True, Reason: effective.InEffect, Harm: "sample 2"},
			want: Result{ID: "M1", State: Applied, Reason: "SamplesFailed", Message: "in place and stays, although it blocks what must pass: sample 2", Revision: 2, Digest: newDigest, Effective: "True"},
		},
		"the reason of what IIS does not run comes before that": {
			result: applied, verdict: effective.Verdict{ID: "M1", Status: effective.False, Reason: effective.Cleared, Message: "line 3", Harm: "sample 2"}, wantNot: true,
			want: Result{ID: "M1", State: Applied, Reason: "Cleared", Message: "line 3; in place and stays, although it blocks what must pass: sample 2", Revision: 2, Digest: newDigest, Effective: "False"},
		},
		"a doubt about what must pass is a message and no more": {
			result: applied, verdict: effective.Verdict{ID: "M1", Status: effective.True, Reason: effective.InEffect, Note: "not known"},
			want: Result{ID: "M1", State: Applied, Reason: "Enabled", Message: "not known", Revision: 2, Digest: newDigest, Effective: "True"},
		},
		"what is not in place has no effect to speak of": {
			result: Result{ID: "M1", State: Removed, Reason: "BlockedByPool"}, verdict: effective.Verdict{ID: "M1", Status: effective.False, Reason: effective.Missing},
			want: Result{ID: "M1", State: Removed, Reason: "BlockedByPool"},
		},
		"a mitigation without rules has no effect to look at": {result: applied, verdict: effective.Verdict{ID: "M1"}, want: applied},
		"a verdict on another one does not matter":            {result: applied, verdict: effective.Verdict{ID: "M2", Status: effective.False}, want: applied},
		"rules of others are told with their places": {
			result: applied, verdict: effective.Verdict{ID: "M1", Status: effective.True, LookAlikes: []effective.LookAlike{{Name: "EEMS M1.1", File: `C:\web.config`, Line: 7}}},
			want: Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest, Effective: "True", LookAlikes: []string{`"EEMS M1.1" in C:\web.config, line 7`}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Judge(one(tc.result), []effective.Verdict{tc.verdict})
			if diff := cmp.Diff(one(tc.want), got); diff != "" {
				t.Errorf("results differ (-want +got):\n%s", diff)
			}
			if got[0].Ineffective() != tc.wantNot {
				t.Errorf("ineffective %v, want %v", got[0].Ineffective(), tc.wantNot)
			}
		})
	}
}
