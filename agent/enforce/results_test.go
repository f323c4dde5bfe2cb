package enforce

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis"
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
