package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/samples"
	"mitigation.dev/ems/agent/skew"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func inPlace(id string) enforce.Result {
	return enforce.Result{ID: id, State: enforce.Applied, Reason: "Enabled", Revision: 1, Digest: digest}
}

func TestOutcome(t *testing.T) {
	failed := enforce.Result{ID: "M2", State: enforce.Failed, Reason: "SiteNotFound", Message: "no site \"x\"; create it"}
	cleared := enforce.Result{ID: "M3", State: enforce.Applied, Reason: "Cleared", Message: "web.config, line 3: <clear>", Revision: 1, Effective: "False"}
	type condition struct{ Type, Status, Reason, Message string }
	for name, tc := range map[string]struct {
		report Report
		want   []condition
	}{
		"a server with everything in place is ready": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{inPlace("M1"), inPlace("M2")}},
			want:   []condition{{"Ready", "True", "PlanApplied", "2 in place"}},
		},
		"a server without mitigations is ready": {
			report: Report{PlanGeneration: 3}, want: []condition{{"Ready", "True", "PlanApplied", "0 in place"}},
		},
		"a server that the rollout has not reached is as the plan wants it": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{inPlace("M1"), {ID: "M2", State: enforce.Pending, Reason: "AwaitingStage"}}},
			want:   []condition{{"Ready", "True", "PlanApplied", "1 in place, 1 waiting for the rollout to reach this server"}},
		},
		"a server that waits for a document is reconciling": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{{ID: "M2", State: enforce.Pending, Reason: "BundleUnavailable", Message: "tried again", Transient: true}}},
			want: []condition{
				{"Ready", "False", "Progressing", "M2 (BundleUnavailable): tried again"},
				{"Reconciling", "True", "Progressing", "M2 (BundleUnavailable): tried again"},
			},
		},
		"a server without a plan is reconciling and says what to look at": {
			report: Report{Results: []enforce.Result{inPlace("M1")}},
			want: []condition{
				{"Ready", "False", "PlanMissing", "the pool has no MitigationPlan, so everything stays as it is; check that the PoolMitigationConfig of the server's pool exists and is Ready"},
				{"Reconciling", "True", "PlanMissing", "the pool has no MitigationPlan, so everything stays as it is; check that the PoolMitigationConfig of the server's pool exists and is Ready"},
			},
		},
		"a server with a failure is stalled and says what to do": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{inPlace("M1"), failed}},
			want: []condition{
				{"Ready", "False", "MitigationsFailed", "M2 (SiteNotFound): no site \"x\"; create it"},
				{"Stalled", "True", "MitigationsFailed", "M2 (SiteNotFound): no site \"x\"; create it"},
			},
		},
		"a mitigation that IIS does not run is no protection": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{inPlace("M1"), cleared}},
			want: []condition{
				{"Ready", "False", "MitigationsIneffective", "in place, but IIS does not run it: M3 (Cleared): web.config, line 3: <clear>"},
				{"Stalled", "True", "MitigationsIneffective", "in place, but IIS does not run it: M3 (Cleared): web.config, line 3: <clear>"},
			},
		},
		"a failure is told before what IIS does not run": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{cleared, failed}},
			want: []condition{
				{"Ready", "False", "MitigationsFailed", "M2 (SiteNotFound): no site \"x\"; create it"},
				{"Stalled", "True", "MitigationsFailed", "M2 (SiteNotFound): no site \"x\"; create it"},
			},
		},
		"what cannot be told does not take Ready away, and is told": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{inPlace("M1"), {ID: "M3", State: enforce.Applied, Reason: "MayBeShadowed", Message: "rule \"x\" comes first", Revision: 1, Effective: "Unknown"}}},
			want:   []condition{{"Ready", "True", "PlanApplied", "2 in place; whether IIS runs it is not known: M3 (MayBeShadowed): rule \"x\" comes first"}},
		},
		"a failure is told before a missing plan": {
			report: Report{Results: []enforce.Result{failed}},
			want: []condition{
				{"Ready", "False", "MitigationsFailed", "M2 (SiteNotFound): no site \"x\"; create it"},
				{"Stalled", "True", "MitigationsFailed", "M2 (SiteNotFound): no site \"x\"; create it"},
			},
		},
		"a problem of the agent goes before everything": {
			report: Report{PlanGeneration: 3, Results: []enforce.Result{failed}, Problem: &Problem{Reason: "JournalFailed", Message: "disk full"}},
			want:   []condition{{"Ready", "False", "JournalFailed", "disk full"}, {"Stalled", "True", "JournalFailed", "disk full"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Whatever stood there before must make room.
			for _, before := range []Report{{PlanGeneration: 1}, {}, {Problem: &Problem{Reason: "Broken", Message: "broken"}}} {
				old := statusOf(emsv1.PoolServerStatus{}, 1, before)
				status := statusOf(old, 7, tc.report)
				got := make([]condition, 0, len(status.Conditions))
				for _, c := range status.Conditions {
					got = append(got, condition{c.Type, string(c.Status), c.Reason, c.Message})
					if c.ObservedGeneration != 7 {
						t.Errorf("condition %s speaks of generation %d, want 7", c.Type, c.ObservedGeneration)
					}
				}
				if diff := cmp.Diff(tc.want, got, cmpopts.SortSlices(func(a, b condition) bool { return a.Type < b.Type })); diff != "" {
					t.Errorf("conditions differ (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestTrustOfAServer(t *testing.T) {
	at := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	root := func(days int) *Trust {
		return &Trust{At: at, Anchors: []trust.Anchor{{Kind: trust.KindRoot, Field: "feeds.contoso.roots", Subject: "CN=Root", NotAfter: at.AddDate(0, 0, days)}}}
	}
	refusing := func(t *Trust) *Trust {
		t.Refused = []string{"feed contoso: too old"}
		return t
	}
	unusable := &Trust{At: at, Err: errors.New("trust.yaml: damaged")}
	for name, tc := range map[string]struct {
		before, report *Trust
		want           string
		wantEvents     []string
	}{
		"a trust file that lasts is current and no event":   {report: root(100), want: "True AnchorsCurrent"},
		"one that was not looked at is not spoken of":       {},
		"one that was not looked at stays as it was":        {before: root(10), want: "False AnchorExpiring"},
		"a root that runs out is told with the feed's name": {before: root(100), report: root(10), want: "False AnchorExpiring", wantEvents: []string{`Warning AnchorExpiring feeds.contoso.roots: "CN=Root" runs out on 2026-05-24: put its successor beside it and take it out when the publisher no longer signs under it`}},
		"a root that still runs out is not told again":      {before: root(10), report: root(10), want: "False AnchorExpiring"},
		"a root that was replaced is told":                  {before: root(10), report: root(100), want: "True AnchorsCurrent", wantEvents: []string{"Normal AnchorsCurrent nothing that trust rests on runs out soon"}},
		"a list from the cluster that is not believed is told": {
			before: root(100), report: refusing(root(100)), want: "False RevocationListRefused",
			wantEvents: []string{"Warning RevocationListRefused the cluster handed out revocation lists that this server does not believe, look for who changed them: feed contoso: too old"},
		},
		"a list that is not believed is told behind a root that runs out": {
			before: root(100), report: refusing(root(10)), want: "False RevocationListRefused",
			wantEvents: []string{`Warning RevocationListRefused feeds.contoso.roots: "CN=Root" runs out on 2026-05-24: put its successor beside it and take it out when the publisher no longer signs under it; the cluster handed out revocation lists that this server does not believe, look for who changed them: feed contoso: too old`},
		},
		"a root that has run out stays the reason": {before: root(-1), report: refusing(root(-1)), want: "False AnchorExpired"},
		"a trust file that cannot be used is told": {
			before: root(100), report: unusable, want: "False TrustFileUnusable",
			wantEvents: []string{"Warning TrustFileUnusable the trust file cannot be used: trust.yaml: damaged; correct it on the server, until then nobody is trusted"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := statusOf(emsv1.PoolServerStatus{}, 1, Report{PlanGeneration: 1, Trust: tc.before})
			status := statusOf(old, 7, Report{PlanGeneration: 1, Trust: tc.report})
			got := ""
			if c := meta.FindStatusCondition(status.Conditions, emsv1.TrustAnchorsCurrentCondition); c != nil {
				got = string(c.Status) + " " + c.Reason
			}
			if got != tc.want {
				t.Errorf("condition = %q, want %q", got, tc.want)
			}
			if !meta.IsStatusConditionTrue(status.Conditions, emsv1.ReadyCondition) {
				t.Error("a warning took Ready from the server")
			}
			var events []string
			for _, a := range trustAnnouncements(old.Conditions, status.Conditions) {
				events = append(events, a.kind+" "+a.reason+" "+a.note)
			}
			if diff := cmp.Diff(tc.wantEvents, events); diff != "" {
				t.Errorf("events differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChecksOfAServer(t *testing.T) {
	found := func(check xmlsig.Check) *Checks {
		return &Checks{Findings: []trust.Finding{{Feed: "contoso", Finding: xmlsig.Finding{Check: check, Subject: "certificate X", Reason: "why"}}}}
	}
	for name, tc := range map[string]struct {
		before, report *Checks
		want           string
		wantEvents     []string
	}{
		"documents that pass are no event":                {report: &Checks{}, want: "True ChecksPassed"},
		"documents that were not looked at stay as known": {before: found(xmlsig.CheckSubject), want: "False SubjectDiffers"},
		"before the first look nothing is said":           {},
		"a document that fails is told with its feed": {
			before: &Checks{}, report: found(xmlsig.CheckIssuerPins), want: "False IssuerNotPinned",
			wantEvents: []string{"Warning IssuerNotPinned accepted only because the level is Log, ask the publisher: feed contoso: issuerPins: certificate X: why"},
		},
		"a document that still fails is not told again": {before: found(xmlsig.CheckSubject), report: found(xmlsig.CheckSubject), want: "False SubjectDiffers"},
		"a newer document that passes is told": {
			before: found(xmlsig.CheckSubject), report: &Checks{}, want: "True ChecksPassed",
			wantEvents: []string{"Normal ChecksPassed no document in use fails a check of its signer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := statusOf(emsv1.PoolServerStatus{}, 1, Report{PlanGeneration: 1, Checks: tc.before})
			status := statusOf(old, 7, Report{PlanGeneration: 1, Checks: tc.report})
			got := ""
			if c := meta.FindStatusCondition(status.Conditions, emsv1.TrustChecksPassedCondition); c != nil {
				got = string(c.Status) + " " + c.Reason
			}
			if got != tc.want {
				t.Errorf("condition = %q, want %q", got, tc.want)
			}
			if !meta.IsStatusConditionTrue(status.Conditions, emsv1.ReadyCondition) {
				t.Error("a finding took Ready from the server")
			}
			var events []string
			for _, a := range trustAnnouncements(old.Conditions, status.Conditions) {
				events = append(events, a.kind+" "+a.reason+" "+a.note)
			}
			if diff := cmp.Diff(tc.wantEvents, events); diff != "" {
				t.Errorf("events differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	changed := time.Date(2026, 5, 14, 16, 0, 0, 123456789, time.UTC)
	number, err := build.Parse("15.2.2562.43")
	if err != nil {
		t.Fatal(err)
	}
	got := statusOf(emsv1.PoolServerStatus{}, 2, Report{
		PlanGeneration: 9,
		Facts: Facts{
			Facts:         policy.Facts{Product: "ExchangeServer", Role: "Mailbox", Build: number},
			RewriteModule: "Present", AgentVersion: "v0.1.0", OperatingSystem: "windows/amd64",
		},
		Results: []enforce.Result{
			inPlace("M1"),
			{ID: "M2", State: enforce.Failed, Reason: "SiteNotFound", Message: "create it"},
			{ID: "M3", State: enforce.Removed, Reason: "BlockedByPool", Message: "the pool blocks M3"},
			{ID: "M4", State: enforce.Removed, Reason: "Withdrawn"},
			{ID: "M5", State: enforce.Applied, Reason: "Cleared", Message: "line 3", Revision: 1, Effective: "False", LookAlikes: []string{"a", strings.Repeat("b", 2000)}},
			{ID: "M6", State: enforce.Applied, Reason: "Enabled", Revision: 1, Effective: "True"},
		},
		Changed:   map[string]time.Time{"m1": changed, "m9": changed},
		Sequences: map[string]int64{"fabrikam": 0, "contoso": 42},
	})
	want := emsv1.PoolServerStatus{
		ObservedGeneration: ptr.To[int64](2), ObservedPlanGeneration: 9,
		Facts: emsv1.ServerFacts{
			Product: "ExchangeServer", Role: "Mailbox", Build: "15.2.2562.43", RewriteModule: "Present", AgentVersion: "v0.1.0", OperatingSystem: "windows/amd64",
		},
		Summary: emsv1.ServerSummary{Applied: "M1,M6", Failed: "M2", Ineffective: "M5", Blocked: "M3"},
		Mitigations: []emsv1.ServerMitigation{
			{ID: "M1", State: "Applied", Reason: "Enabled", Revision: 1, Document: "0123456789ab", ChangedTime: new(metav1.NewTime(changed.Truncate(time.Second)))},
			{ID: "M2", State: "Failed", Reason: "SiteNotFound", Message: "create it"},
			{ID: "M3", State: "Removed", Reason: "BlockedByPool", Message: "the pool blocks M3"},
			{ID: "M4", State: "Removed", Reason: "Withdrawn"},
			{ID: "M5", State: "Applied", Reason: "Cleared", Message: "line 3", Revision: 1, Effective: "False", LookAlikes: []string{"a", strings.Repeat("b", 1021) + "…"}},
			{ID: "M6", State: "Applied", Reason: "Enabled", Revision: 1, Effective: "True"},
		},
		Feeds: []emsv1.ObservedFeed{{Name: "contoso", Sequence: 42}, {Name: "fabrikam"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(emsv1.PoolServerStatus{}, "Conditions")); diff != "" {
		t.Errorf("status differs (-want +got):\n%s", diff)
	}
}

// The status is what a fleet writes and watches: each mitigation in good order costs less than 200 bytes.
func TestStatusOfAHealthyServerIsSmall(t *testing.T) {
	for mitigations, limit := range map[int]int{3: 1 << 10, 10: 5 << 9} {
		var results []enforce.Result
		changed := map[string]time.Time{}
		for i := range mitigations {
			r := inPlace(fmt.Sprintf("M%d", i+1))
			r.Effective, r.Gate = "True", enforce.Gate{Rollout: "r1-a1-01234567", Verdict: gate.Passed}
			results = append(results, r)
			changed[strings.ToLower(r.ID)] = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
		}
		status := statusOf(emsv1.PoolServerStatus{}, 1, Report{
			PlanGeneration: 1, Results: results, Changed: changed, Sequences: map[string]int64{"contoso": 42},
			Facts: Facts{Facts: policy.Facts{Product: "ExchangeServer"}, RewriteModule: "Present", AgentVersion: "v0.1.0", OperatingSystem: "windows/amd64"},
		})
		data, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) >= limit {
			t.Errorf("status with %d mitigations has %d bytes, want less than %d:\n%s", mitigations, len(data), limit, data)
		}
		t.Logf("%d mitigations: %d bytes", mitigations, len(data))
	}
}

func TestStatusKeepsWhatItCannotFindOut(t *testing.T) {
	old := statusOf(emsv1.PoolServerStatus{}, 1, Report{PlanGeneration: 9, Results: []enforce.Result{inPlace("M1")}, Sequences: map[string]int64{"contoso": 42}})
	got := statusOf(old, 1, Report{PlanGeneration: 10, Problem: &Problem{Reason: "JournalFailed", Message: "disk full"}})
	if diff := cmp.Diff(old, got, cmpopts.IgnoreFields(emsv1.PoolServerStatus{}, "Conditions")); diff != "" {
		t.Errorf("status differs (-before +after):\n%s", diff)
	}
}

func TestStatusNeverTakesASequenceBack(t *testing.T) {
	old := emsv1.PoolServerStatus{Feeds: []emsv1.ObservedFeed{{Name: "contoso", Sequence: 42}}}
	got := statusOf(old, 1, Report{Sequences: map[string]int64{"contoso": 7}})
	if diff := cmp.Diff(old.Feeds, got.Feeds); diff != "" {
		t.Errorf("feeds differ (-want +got):\n%s", diff)
	}
}

func TestAnnouncements(t *testing.T) {
	failed := func(reason string) []emsv1.ServerMitigation {
		return []emsv1.ServerMitigation{{ID: "M1", State: "Failed", Reason: reason, Message: "do something"}}
	}
	applied := func(effective emsv1.Effectiveness, reason string) []emsv1.ServerMitigation {
		return []emsv1.ServerMitigation{{ID: "M1", State: "Applied", Reason: reason, Effective: effective, Message: "why"}}
	}
	for name, tc := range map[string]struct {
		before, after []emsv1.ServerMitigation
		changes       []Change
		want          []string
	}{
		"nothing new is not announced":                      {before: failed("SiteNotFound"), after: failed("SiteNotFound")},
		"a failure is announced when it begins":             {after: failed("SiteNotFound"), want: []string{"Warning MitigationFailed M1 failed (SiteNotFound): do something"}},
		"a failure is announced again for another reason":   {before: failed("SiteNotFound"), after: failed("Untrusted"), want: []string{"Warning MitigationFailed M1 failed (Untrusted): do something"}},
		"the end of a failure is not announced by itself":   {before: failed("SiteNotFound"), after: []emsv1.ServerMitigation{{ID: "M1", State: "Removed"}}},
		"a mitigation that was put in place is announced":   {changes: []Change{{MitigationApplied, "M1", 2}}, want: []string{"Normal MitigationApplied Revision 2 of M1 is in place"}},
		"a mitigation that was removed is announced":        {changes: []Change{{MitigationRemoved, "M1", 2}}, want: []string{"Normal MitigationRemoved M1 was removed"}},
		"drift that was repaired is announced as a warning": {changes: []Change{{DriftRepaired, "M1", 2}}, want: []string{"Warning DriftRepaired Something else had changed what M1 put in place; revision 2 was restored"}},
		"a lack of effect is announced when it begins":      {before: applied("True", "Enabled"), after: applied("False", "Cleared"), want: []string{"Warning MitigationIneffective M1 is in place, but IIS does not run it (Cleared): why"}},
		"a lack of effect that lasts is not announced":      {before: applied("False", "Cleared"), after: applied("False", "Cleared")},
		"a lack of effect for another reason is announced":  {before: applied("False", "Missing"), after: applied("False", "Cleared"), want: []string{"Warning MitigationIneffective M1 is in place, but IIS does not run it (Cleared): why"}},
		"doubt about the effect is not announced":           {before: applied("True", "Enabled"), after: applied("Unknown", "MayBeShadowed")},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, a := range announcements(tc.before, tc.after, tc.changes) {
				got = append(got, a.kind+" "+a.reason+" "+a.note)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("announcements differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanOf(t *testing.T) {
	number, err := build.Parse("15.2.2562.43")
	if err != nil {
		t.Fatal(err)
	}
	object := &emsv1.MitigationPlan{
		ObjectMeta: metav1.ObjectMeta{Name: "frontends", Generation: 4},
		Spec: emsv1.MitigationPlanSpec{
			Mode: emsv1.ModeAudit, Placement: emsv1.PlacementWebConfig,
			Mitigations: []emsv1.PlannedMitigation{{
				ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled", Message: "why", Revision: 2, FeedName: "contoso", BundleName: "contoso-42",
				DocumentDigest: digest, BlockedActions: []emsv1.MitigationID{"M1.2"},
				Release: emsv1.Release{ServerNames: []string{"fe01"}, Below: ptr.To(emsv1.ReleaseAll)},
			}, {ID: "M2", Desired: emsv1.DesiredRemove, Reason: "BlockedByPool"}},
			HealthChecks: emsv1.PlanHealthChecks{TCPPorts: []int32{25}}, RepairRequest: "now",
			FixedBuilds: []emsv1.FixedBuild{{ID: "M1", Build: "15.2.2562.43"}},
			Revocation:  []emsv1.PlanRevocation{{FeedName: "contoso", BundleName: "contoso-42", Digest: digest}},
			MustPass:    []emsv1.SampleRequest{{URL: "/health"}, {Method: "POST", URL: "/owa", Host: "mail.contoso.com", Headers: []emsv1.HTTPHeader{{Name: "X-Probe", Value: "1"}}}},
		},
	}
	want := &enforce.Plan{
		Generation: 4, AuditOnly: true, WebConfig: true,
		Entries: []enforce.Entry{{
			ID: "M1", Decision: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled, Message: "why", BlockedActions: []string{"M1.2"}}, Revision: 2,
			Document: enforce.DocumentRef{FeedName: "contoso", BundleName: "contoso-42", Digest: digest},
			Release:  rollout.Release{ServerNames: []string{"fe01"}, Below: rollout.Everything},
		}, {ID: "M2", Decision: policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool}}},
		HealthChecks: health.Checks{TCPPorts: []int{25}}, RepairRequest: "now",
		FixedBuilds: []policy.FixedBuild{{ID: "M1", Build: number}},
		Revocation:  []enforce.RevocationRef{{FeedName: "contoso", BundleName: "contoso-42", Digest: digest}},
		MustPass: []samples.Sample{
			{Number: 1, Pool: true, Expect: samples.Passed, URL: "/health"},
			{Number: 2, Pool: true, Expect: samples.Passed, Method: "POST", URL: "/owa", Host: "mail.contoso.com", Headers: []samples.Header{{Name: "X-Probe", Value: "1"}}},
		},
	}
	got, err := planOf(object)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("plan differs, error %v (-want +got):\n%s", err, diff)
	}
	object.Spec.Placement = "Registry"
	if _, err := planOf(object); err == nil || !strings.Contains(err.Error(), `"Registry"`) {
		t.Errorf("planOf() = %v, want an error that names the placement", err)
	}
	object.Spec.Placement = emsv1.PlacementApplicationHost
	object.Spec.FixedBuilds[0].Build = "15"
	if _, err := planOf(object); err == nil || !strings.Contains(err.Error(), "M1") {
		t.Errorf("planOf() = %v, want an error that names the fixed build", err)
	}
	object.Spec.Mode = "Observe"
	if _, err := planOf(object); err == nil || !strings.Contains(err.Error(), `"Observe"`) {
		t.Errorf("planOf() = %v, want an error that names the mode", err)
	}
}

func TestRolloutOf(t *testing.T) {
	until := metav1.NewTime(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC))
	planned := emsv1.PlannedMitigation{
		ID: "M1", Desired: emsv1.DesiredApply, FeedName: "contoso", UntilTime: &until,
		Rollout: emsv1.PlanRollout{
			ID: "r2-a1-01234567", Attempt: 1, State: emsv1.RolloutHalted, Reason: emsv1.RolloutHaltedReason, Unreleased: emsv1.UnreleasedRevert,
			Gate:     emsv1.PlanGate{BakeSeconds: ptr.To[int32](30), MinRequests: ptr.To[int32](5)},
			Fallback: emsv1.PlanFallback{Rollout: "r1-a1-abcdef01", Revision: 1, BundleName: "contoso-41", DocumentDigest: digest},
		},
	}
	e := entryOf(planned)
	want := enforce.Rollout{
		ID: "r2-a1-01234567", Waiting: policy.RolloutHalted, Revert: true, Terms: gate.Terms{Bake: 30 * time.Second, MinRequests: 5},
		Fallback: enforce.Fallback{Rollout: "r1-a1-abcdef01", Revision: 1, Document: enforce.DocumentRef{FeedName: "contoso", BundleName: "contoso-41", Digest: digest}},
	}
	if diff := cmp.Diff(want, e.Rollout); diff != "" {
		t.Errorf("rollout differs (-want +got):\n%s", diff)
	}
	if !e.Decision.Until.Equal(until.Time) {
		t.Errorf("until = %v, want %v", e.Decision.Until, until)
	}
	for state, want := range map[emsv1.RolloutState]policy.Reason{
		emsv1.RolloutProgressing: policy.AwaitingStage, emsv1.RolloutComplete: policy.AwaitingStage, emsv1.RolloutWaiting: policy.AwaitingRing, emsv1.RolloutPaused: policy.AwaitingRing,
	} {
		planned.Rollout.State, planned.Rollout.Reason = state, emsv1.AwaitingRingReason
		if got := entryOf(planned).Rollout; got.Waiting != want || got.Complete != (state == emsv1.RolloutComplete) {
			t.Errorf("state %s: servers wait for %s, complete %t, want %s", state, got.Waiting, got.Complete, want)
		}
	}
}

func TestChecksOf(t *testing.T) {
	got := checksOf(emsv1.PlanHealthChecks{
		HTTP:     []emsv1.HTTPCheck{{Name: "owa", Scheme: "https", Port: 444, Path: "/owa/", Host: "mail.contoso.com", Statuses: []int32{200, 302}, Body: "Sign in"}},
		TCPPorts: []int32{25}, Services: []string{"W3SVC"},
	})
	want := health.Checks{
		HTTP:     []health.HTTPCheck{{Name: "owa", Scheme: "https", Port: 444, Path: "/owa/", Host: "mail.contoso.com", Statuses: []int{200, 302}, Body: "Sign in"}},
		TCPPorts: []int{25}, Services: []string{"W3SVC"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks differ (-want +got):\n%s", diff)
	}
}

// What server-side apply is told must be exactly the status that was built.
func TestApplyConfigurationSaysTheWholeStatus(t *testing.T) {
	status := statusOf(emsv1.PoolServerStatus{}, 2, Report{
		PlanGeneration: 9, Facts: Facts{AgentVersion: "v0.1.0"}, Changed: map[string]time.Time{"m1": time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)},
		Results: []enforce.Result{inPlace("M1"), {ID: "M2", State: enforce.Failed, Reason: "SiteNotFound", Message: "create it",
			Gate: enforce.Gate{Rollout: "r2-a1-01234567", Verdict: gate.Failed, Message: "SiteNotFound: create it"}},
			{ID: "M3", State: enforce.Applied, Reason: "Cleared", Message: "line 3", Revision: 1, Effective: "False", LookAlikes: []string{"a"}}},
		Sequences: map[string]int64{"contoso": 42, "fabrikam": 0},
	})
	want, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	said, err := json.Marshal(applyConfigurationOf("pool", "fe01", status).Status)
	if err != nil {
		t.Fatal(err)
	}
	var a, b map[string]any
	if err := json.Unmarshal(want, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(said, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("apply configuration differs (-status +said):\n%s", diff)
	}
}

func TestClockIsReported(t *testing.T) {
	ahead := skew.Told{Known: true, Skewed: true, Ahead: 90 * time.Second}
	for name, tc := range map[string]struct {
		old         emsv1.PoolServerStatus
		told        skew.Told
		wantSeconds *int64
		wantReason  string
	}{
		"nothing is known":                   {},
		"the clocks agree":                   {told: skew.Told{Known: true}, wantReason: emsv1.ClockAgreesReason},
		"ahead":                              {told: ahead, wantSeconds: ptr.To[int64](90), wantReason: emsv1.ClockSkewedReason},
		"far behind":                         {told: skew.Told{Known: true, Skewed: true, Ahead: -200_000 * time.Hour}, wantSeconds: ptr.To[int64](-maxSkew), wantReason: emsv1.ClockSkewedReason},
		"a new process leaves what was said": {old: statusOf(emsv1.PoolServerStatus{}, 1, Report{Clock: ahead}), wantSeconds: ptr.To[int64](90), wantReason: emsv1.ClockSkewedReason},
		"right again":                        {old: statusOf(emsv1.PoolServerStatus{}, 1, Report{Clock: ahead}), told: skew.Told{Known: true}, wantReason: emsv1.ClockAgreesReason},
	} {
		t.Run(name, func(t *testing.T) {
			got := statusOf(tc.old, 1, Report{Clock: tc.told})
			if diff := cmp.Diff(tc.wantSeconds, got.ClockSkewSeconds); diff != "" {
				t.Errorf("skew (-want +got):\n%s", diff)
			}
			reason := ""
			if c := meta.FindStatusCondition(got.Conditions, emsv1.ClockInSyncCondition); c != nil {
				reason = c.Reason
			}
			if reason != tc.wantReason {
				t.Errorf("reason = %q, want %q", reason, tc.wantReason)
			}
			if said := applyConfigurationOf("pool", "fe01", got).Status.ClockSkewSeconds; !equality.Semantic.DeepEqual(said, tc.wantSeconds) {
				t.Errorf("the written skew is %v", said)
			}
		})
	}
}
