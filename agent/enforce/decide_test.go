package enforce

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/samples"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

const (
	oldDigest = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	newDigest = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

var newDocument = DocumentRef{FeedName: "contoso", BundleName: "contoso-2", Digest: newDigest}

// rule is a <rewrite> element that is told apart by its text.
func rule(text string) []byte { return []byte("<rewrite><!--" + text + "--></rewrite>") }

// config is M1 as the document of newDigest has it.
func config(change ...func(*ocs.Config)) ocs.Config {
	c := ocs.Config{
		ID: "M1", Revision: 2,
		Actions: []ocs.Action{
			{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Rewrite: rule("two")},
			{ID: "M1.2", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "OABAppPool", Value: ocs.ValueStopped},
		},
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// entry wants revision 2 of M1 everywhere.
func entry(change ...func(*Entry)) Entry {
	e := Entry{
		ID: "M1", Decision: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled}, Revision: 2, Document: newDocument, Release: rollout.ToAll(),
	}
	for _, f := range change {
		f(&e)
	}
	return e
}

func desired(d policy.Desired, r policy.Reason, message string) func(*Entry) {
	return func(e *Entry) { e.Decision = policy.Decision{Desired: d, Reason: r, Message: message} }
}

func unreleased(e *Entry) { e.Release = rollout.Release{} }

func failing(reason string, transient bool) Document {
	return Document{Failure: &Failure{Reason: reason, Message: "something to do", Transient: transient}}
}

var (
	// revision1 is what an earlier document put in place, revision2 what newDigest wants.
	revision1 = iis.Mitigation{ID: "M1", Revision: 1, Digest: oldDigest, Actions: []iis.Action{{ID: "M1.1", Type: "UrlRewrite", Site: "Default Web Site", Rewrite: rule("one")}}}
	revision2 = iis.Mitigation{ID: "M1", Revision: 2, Digest: newDigest, Actions: []iis.Action{
		{ID: "M1.1", Type: "UrlRewrite", Site: "Default Web Site", Rewrite: rule("two")},
		{ID: "M1.2", Type: "AppPool", Pool: "OABAppPool"},
	}}
)

func number(text string) build.Number {
	n, err := build.Parse(text)
	if err != nil {
		panic(err) // a mistake in this file
	}
	return n
}

type decideCase struct {
	audit       bool
	noPlan      bool
	webConfig   bool
	entries     []Entry
	document    Document
	applied     []iis.Mitigation
	facts       policy.Facts
	fixedBuilds []policy.FixedBuild
	wantInPlace []iis.Mitigation
	want        []Result
	wantMessage string // part of the message of the first result
}

var holds = Document{Content: &ocs.Document{Configs: []ocs.Config{config()}}, FeedProduct: "ExchangeServer"}

func holding(change ...func(*ocs.Config)) Document {
	return Document{Content: &ocs.Document{Configs: []ocs.Config{config(change...)}}, FeedProduct: "ExchangeServer"}
}

func one(r Result) []Result { return []Result{r} }
func inWebConfig(m iis.Mitigation) iis.Mitigation {
	m.Placement = iis.PlaceWebConfig
	return m
}

func just(m iis.Mitigation) []iis.Mitigation { return []iis.Mitigation{m} }

var applyCases = map[string]decideCase{
	"an enabled and released mitigation is put in place exactly as it was signed": {
		entries: []Entry{entry()}, document: holds, wantInPlace: just(revision2),
		want: one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}), wantMessage: "product is unknown",
	},
	"a higher revision replaces the one in place": {
		entries: []Entry{entry()}, document: holds, applied: just(revision1), wantInPlace: just(revision2),
		want: one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"the same content of a newer document only changes the record": {
		entries: []Entry{entry()}, document: holds,
		applied:     just(iis.Mitigation{ID: "M1", Revision: 2, Digest: oldDigest, Actions: revision2.Actions}),
		wantInPlace: just(revision2),
		want:        one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"a blocked action is left out": {
		entries: []Entry{entry(func(e *Entry) { e.Decision.BlockedActions = []string{"m1.2"} })}, document: holds,
		wantInPlace: just(iis.Mitigation{ID: "M1", Revision: 2, Digest: newDigest, Actions: revision2.Actions[:1]}),
		want:        one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"ids of plan, document and server are compared without regard to case": {
		entries: []Entry{entry(func(e *Entry) { e.ID = "m1" })}, document: holds, applied: just(revision1), wantInPlace: just(revision2),
		want: one(Result{ID: "m1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"an action of an unknown type is left for the server to refuse": {
		entries: []Entry{entry()}, document: holding(func(c *ocs.Config) {
			c.Actions = []ocs.Action{{ID: "M1.1", Type: "Registry", Scope: ocs.ScopeServer, Target: "x"}}
		}),
		wantInPlace: just(iis.Mitigation{ID: "M1", Revision: 2, Digest: newDigest, Actions: []iis.Action{{ID: "M1.1", Type: "Registry"}}}),
		want:        one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"a service action names its service": {
		entries: []Entry{entry()}, document: holding(func(c *ocs.Config) {
			c.Actions = []ocs.Action{{ID: "M1.1", Type: ocs.Service, Scope: ocs.ScopeServer, Target: "Spooler", Value: ocs.ValueDisabled}}
		}),
		wantInPlace: just(iis.Mitigation{ID: "M1", Revision: 2, Digest: newDigest, Actions: []iis.Action{{ID: "M1.1", Type: iis.ActionService, Service: "Spooler"}}}),
		want:        one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"rules for the whole server name no site": {
		entries: []Entry{entry()}, document: holding(func(c *ocs.Config) {
			c.Actions = []ocs.Action{{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeServer, Rewrite: rule("all")}}
		}),
		wantInPlace: just(iis.Mitigation{ID: "M1", Revision: 2, Digest: newDigest, Actions: []iis.Action{{ID: "M1.1", Type: "UrlRewrite", Scope: iis.ScopeServer, Rewrite: rule("all")}}}),
		want:        one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"a pool that wants its rules in web.config gets them there": {
		entries: []Entry{entry()}, document: holds, webConfig: true, applied: just(revision2), wantInPlace: just(inWebConfig(revision2)),
		want: one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"a mitigation that is held stays in the file where it is": {
		entries: []Entry{entry(desired(policy.Hold, policy.MitigationsDisabled, ""))}, webConfig: true, applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Applied, Reason: "MitigationsDisabled", Revision: 1, Digest: oldDigest}),
	},
}

var documentCases = map[string]decideCase{
	"an untrusted document puts nothing in place": {
		entries: []Entry{entry()}, document: failing("Untrusted", false),
		want: one(Result{ID: "M1", State: Failed, Reason: "Untrusted"}), wantMessage: "something to do",
	},
	"an untrusted document keeps what is in place": {
		entries: []Entry{entry()}, document: failing("Untrusted", false), applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Failed, Reason: "Untrusted", Revision: 1, Digest: oldDigest}), wantMessage: "something to do; revision 1 stays in place",
	},
	"an untrusted document is told of even if its revision is in place": {
		entries: []Entry{entry()}, document: failing("Untrusted", false), applied: just(revision2), wantInPlace: just(revision2),
		want: one(Result{ID: "M1", State: Failed, Reason: "Untrusted", Revision: 2, Digest: newDigest}),
	},
	"an expired document keeps what is in place": {
		entries: []Entry{entry()}, document: failing("Expired", false), applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Failed, Reason: "Expired", Revision: 1, Digest: oldDigest}),
	},
	"a rolled back document keeps what is in place": {
		entries: []Entry{entry()}, document: failing(ReasonSequenceRolledBack, false), applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Failed, Reason: "SequenceRolledBack", Revision: 1, Digest: oldDigest}),
	},
	"a missing bundle fails": {
		entries: []Entry{entry()}, document: failing(ReasonBundleMissing, false), want: one(Result{ID: "M1", State: Failed, Reason: "BundleMissing"}),
	},
	"a missing bundle does not matter if its revision is in place": {
		entries: []Entry{entry()}, document: failing(ReasonBundleMissing, false), applied: just(revision2), wantInPlace: just(revision2),
		want: one(Result{ID: "M1", State: Applied, Reason: "BundleMissing", Revision: 2, Digest: newDigest}),
	},
	"a bundle that cannot be fetched now is waited for": {
		entries: []Entry{entry()}, document: failing(ReasonBundleUnavailable, true), applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Pending, Reason: "BundleUnavailable", Revision: 1, Digest: oldDigest, Transient: true}),
	},
	"a document that nobody fetched is waited for": {
		entries: []Entry{entry(func(e *Entry) { e.Document.BundleName = "other" })}, document: holds,
		want: one(Result{ID: "M1", State: Pending, Reason: "BundleUnavailable", Transient: true}), wantMessage: `"other"`,
	},
	"a document does not matter before the rollout reaches the server": {
		entries: []Entry{entry(unreleased)}, document: failing("Untrusted", false), want: one(Result{ID: "M1", State: Pending, Reason: "AwaitingStage"}),
	},
	"a plan with another revision than the signed one is a mismatch": {
		entries: []Entry{entry(func(e *Entry) { e.Revision = 3 })}, document: holds, applied: just(revision2), wantInPlace: just(revision2),
		want:        one(Result{ID: "M1", State: Failed, Reason: "PlanMismatch", Revision: 2, Digest: newDigest}),
		wantMessage: "wants revision 3, the signed document of MitigationBundle \"contoso-2\" holds revision 2",
	},
	"a plan for a mitigation that was not signed is a mismatch": {
		entries: []Entry{entry(func(e *Entry) { e.ID = "M9" })}, document: holds, want: one(Result{ID: "M9", State: Failed, Reason: "PlanMismatch"}),
		wantMessage: "holds no such mitigation",
	},
	"a plan that blocks every action is a mismatch and removes nothing": {
		entries:  []Entry{entry(func(e *Entry) { e.Decision.BlockedActions = []string{"M1"} })},
		document: holds, applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Failed, Reason: "PlanMismatch", Revision: 1, Digest: oldDigest}), wantMessage: "blocks each of its actions",
	},
	"a signed entry that breaks the format fails alone": {
		entries:  []Entry{entry()},
		document: Document{Content: &ocs.Document{Refused: []ocs.Refusal{{ID: "m1", Reason: "InvalidRewrite", Message: "rule without a name"}}}},
		want:     one(Result{ID: "M1", State: Failed, Reason: "ConfigRefused"}), wantMessage: "InvalidRewrite): rule without a name",
	},
	"a plan that wants something unknown is a mismatch and changes nothing": {
		entries: []Entry{entry(desired("Invert", "Enabled", ""))}, document: holds, applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Failed, Reason: "PlanMismatch", Revision: 1, Digest: oldDigest}), wantMessage: `wants "Invert"`,
	},
}

var holdCases = map[string]decideCase{
	"without a plan everything stays": {
		noPlan: true, applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Applied, Reason: "NotInPlan", Revision: 1, Digest: oldDigest}), wantMessage: "until the plan says Remove",
	},
	"with an empty plan everything stays": {
		applied: just(revision1), wantInPlace: just(revision1), want: one(Result{ID: "M1", State: Applied, Reason: "NotInPlan", Revision: 1, Digest: oldDigest}),
	},
	"what the plan does not mention stays beside what it wants": {
		entries: []Entry{entry()}, document: holds, applied: []iis.Mitigation{{ID: "M0", Revision: 7, Digest: oldDigest}},
		wantInPlace: []iis.Mitigation{{ID: "M0", Revision: 7, Digest: oldDigest}, revision2},
		want: []Result{
			{ID: "M0", State: Applied, Reason: "NotInPlan", Revision: 7, Digest: oldDigest},
			{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest},
		},
	},
	"a mitigation on hold that is in place stays": {
		entries: []Entry{entry(desired(policy.Hold, policy.MitigationsDisabled, "the pool disables mitigations"))}, applied: just(revision1),
		wantInPlace: just(revision1),
		want:        one(Result{ID: "M1", State: Applied, Reason: "MitigationsDisabled", Revision: 1, Digest: oldDigest}), wantMessage: "the pool disables mitigations",
	},
	"a mitigation on hold that is not in place is held": {
		entries: []Entry{entry(desired(policy.Hold, policy.MitigationsDisabled, ""))}, want: one(Result{ID: "M1", State: Held, Reason: "MitigationsDisabled"}),
	},
	"a mitigation that is not released yet is pending": {
		entries: []Entry{entry(unreleased)}, document: holds, want: one(Result{ID: "M1", State: Pending, Reason: "AwaitingStage"}),
	},
	"the revision in place stays until the next one is released": {
		entries: []Entry{entry(unreleased)}, document: holds, applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Applied, Reason: "AwaitingStage", Revision: 1, Digest: oldDigest}),
	},
	"a server that is released by its name gets the mitigation": {
		entries:  []Entry{entry(func(e *Entry) { e.Release = rollout.Release{ServerNames: []string{"FE01"}} })},
		document: holds, wantInPlace: just(revision2),
		want: one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
	"of two entries that differ only in case the first counts": {
		entries: []Entry{entry(desired(policy.Hold, policy.MitigationsDisabled, "")), entry(func(e *Entry) { e.ID = "m1" }, desired(policy.Remove, policy.BlockedByPool, ""))},
		applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Applied, Reason: "MitigationsDisabled", Revision: 1, Digest: oldDigest}),
	},
}

var removeCases = map[string]decideCase{
	"a blocked mitigation is removed, whatever its release": {
		entries: []Entry{entry(unreleased, desired(policy.Remove, policy.BlockedByPool, "the pool blocks M1: breaks printing"))},
		applied: just(revision1), want: one(Result{ID: "M1", State: Removed, Reason: "BlockedByPool"}), wantMessage: "breaks printing",
	},
	"removal needs no document": {
		entries: []Entry{entry(desired(policy.Remove, policy.Withdrawn, ""))}, document: failing("Untrusted", false),
		applied: just(revision1), want: one(Result{ID: "M1", State: Removed, Reason: "Withdrawn"}),
	},
	"a mitigation for another product is removed": {
		entries: []Entry{entry()}, document: holds, applied: just(revision1), facts: policy.Facts{Product: "SharePointServer"},
		want: one(Result{ID: "M1", State: NotApplicable, Reason: "NotApplicable"}), wantMessage: "made for ExchangeServer",
	},
	"a mitigation that an update made unnecessary is removed": {
		entries: []Entry{entry()}, applied: just(revision1), facts: policy.Facts{Product: "ExchangeServer", Build: number("15.2.2562.43")},
		document: holding(func(c *ocs.Config) {
			c.Applicability = []ocs.Product{{Name: "ExchangeServer", Branches: []ocs.Branch{{From: number("15.2.2562.0"), FixedIn: number("15.2.2562.43")}}}}
		}),
		want: one(Result{ID: "M1", State: NotApplicable, Reason: "FixedByUpdate"}), wantMessage: "fixed in 15.2.2562.43",
	},
	"a mitigation that an operator's fixed build makes unnecessary is removed": {
		entries: []Entry{entry()}, document: holds, applied: just(revision1), facts: policy.Facts{Product: "ExchangeServer", Build: number("15.2.2562.43")},
		fixedBuilds: []policy.FixedBuild{{ID: "M1", Build: number("15.2.2562.40")}},
		want:        one(Result{ID: "M1", State: NotApplicable, Reason: "FixedByUpdate"}), wantMessage: "fixedBuilds names 15.2.2562.40",
	},
	"what is not needed need not be installable": {
		entries: []Entry{entry(func(e *Entry) { e.Decision.BlockedActions = []string{"M1"} })}, document: holding(),
		facts: policy.Facts{Product: "IIS"}, want: one(Result{ID: "M1", State: NotApplicable, Reason: "NotApplicable"}),
	},
	"a feed whose product is unknown speaks for the mitigation": {
		entries: []Entry{entry()}, document: Document{Content: holds.Content}, facts: policy.Facts{Product: "SharePointServer"},
		wantInPlace: just(revision2), want: one(Result{ID: "M1", State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest}),
	},
}

var auditCases = map[string]decideCase{
	"an audited mitigation is not put in place": {
		audit: true, entries: []Entry{entry()}, document: holds, want: one(Result{ID: "M1", State: Audited, Reason: "Audit"}),
		wantMessage: "would be: Apply (Enabled)",
	},
	"what was in place before the audit stays": {
		audit: true, entries: []Entry{entry(desired(policy.Remove, policy.BlockedByPool, ""))}, applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Applied, Reason: "Audit", Revision: 1, Digest: oldDigest}), wantMessage: "would be: Remove (BlockedByPool)",
	},
	"an older revision is not replaced in an audit": {
		audit: true, entries: []Entry{entry()}, document: holds, applied: just(revision1), wantInPlace: just(revision1),
		want: one(Result{ID: "M1", State: Applied, Reason: "Audit", Revision: 1, Digest: oldDigest}),
	},
	"a mitigation that is not needed says so in an audit": {
		audit: true, entries: []Entry{entry()}, document: holds, facts: policy.Facts{Product: "IIS"},
		want: one(Result{ID: "M1", State: NotApplicable, Reason: "NotApplicable"}),
	},
	"a mitigation that is not released says so in an audit": {
		audit: true, entries: []Entry{entry(unreleased)}, document: holds, want: one(Result{ID: "M1", State: Pending, Reason: "AwaitingStage"}),
	},
	"an audit shows that a document would not be trusted": {
		audit: true, entries: []Entry{entry()}, document: failing("Untrusted", false), want: one(Result{ID: "M1", State: Failed, Reason: "Untrusted"}),
	},
	"the kill switch works in an audit": {
		audit: true, entries: []Entry{entry(desired(policy.Remove, policy.Suspended, ""))}, applied: just(revision1),
		want: one(Result{ID: "M1", State: Removed, Reason: "Suspended"}),
	},
}

func TestDecide(t *testing.T) {
	for group, cases := range map[string]map[string]decideCase{
		"apply": applyCases, "documents": documentCases, "hold": holdCases, "remove": removeCases, "audit": auditCases,
	} {
		for name, tc := range cases {
			t.Run(group+"/"+name, func(t *testing.T) {
				in := Input{
					Server: "fe01", Applied: tc.applied, Facts: tc.facts, Documents: map[DocumentRef]Document{newDocument: tc.document},
					Plan: &Plan{Generation: 1, AuditOnly: tc.audit, WebConfig: tc.webConfig, Entries: tc.entries, FixedBuilds: tc.fixedBuilds},
				}
				if tc.noPlan {
					in.Plan = nil
				}
				got := Decide(in)
				if diff := cmp.Diff(tc.wantInPlace, got.Wanted, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("wanted differs (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tc.want, got.Intents, cmpopts.IgnoreFields(Result{}, "Message")); diff != "" {
					t.Errorf("intents differ (-want +got):\n%s", diff)
				}
				if message := got.Intents[0].Message; !strings.Contains(message, tc.wantMessage) {
					t.Errorf("message = %q, want it to contain %q", message, tc.wantMessage)
				}
			})
		}
	}
}

func TestSamplesGoWithTheMitigation(t *testing.T) {
	pool := samples.Sample{Number: 1, Pool: true, Expect: samples.Passed, URL: "/health"}
	block := samples.Sample{Number: 1, Expect: samples.Blocked, Method: "POST", URL: "/x", Host: "h", Headers: []samples.Header{{Name: "A", Value: "b"}}}
	pass := samples.Sample{Number: 2, Expect: samples.Passed, URL: "/y"}
	document := holding(func(c *ocs.Config) {
		c.Samples = []ocs.Sample{{Expect: ocs.Blocked, Method: "POST", URL: "/x", Host: "h", Headers: []ocs.Header{{Name: "A", Value: "b"}}}, {Expect: ocs.Passed, URL: "/y"}}
	})
	for name, tc := range map[string]struct {
		blocked []string
		want    []samples.Sample
	}{
		"those of the document and of the pool":                    {want: []samples.Sample{block, pass, pool}},
		"not those that need all actions, once one is blocked":     {blocked: []string{"M1.2"}, want: []samples.Sample{pass, pool}},
		"all of them if a block names an action of something else": {blocked: []string{"M2.1"}, want: []samples.Sample{block, pass, pool}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Decide(Input{
				Server: "fe01", Documents: map[DocumentRef]Document{newDocument: document},
				Plan: &Plan{MustPass: []samples.Sample{pool}, Entries: []Entry{entry(func(e *Entry) { e.Decision.BlockedActions = tc.blocked })}},
			})
			if len(got.Wanted) != 1 {
				t.Fatalf("wanted = %+v", got.Wanted)
			}
			if diff := cmp.Diff(tc.want, got.Wanted[0].Samples); diff != "" {
				t.Errorf("samples differ (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever a plan leaves out or a document lacks, only Remove, a verified document with the facts, or the kill switch
// takes a mitigation away.
func TestDecideNeverRemovesForLackOfSomething(t *testing.T) {
	for _, reason := range []string{"Untrusted", "Expired", "NotYetValid", "SequenceJump", "Undated", ReasonSequenceRolledBack, ReasonBundleMissing, ReasonDocumentMalformed, ReasonPlanMismatch, ReasonStateFailed} {
		for _, e := range []Entry{entry(), entry(unreleased)} {
			got := Decide(Input{
				Server: "fe01", Applied: just(revision1), Documents: map[DocumentRef]Document{newDocument: failing(reason, false)}, Plan: &Plan{Entries: []Entry{e}},
				Facts: policy.Facts{Product: "IIS"},
			})
			if diff := cmp.Diff(just(revision1), got.Wanted); diff != "" {
				t.Errorf("%s: wanted differs (-want +got):\n%s", reason, diff)
			}
		}
	}
}

func TestPlanDocuments(t *testing.T) {
	other := DocumentRef{FeedName: "contoso", BundleName: "contoso-1", Digest: oldDigest}
	plan := &Plan{Entries: []Entry{
		entry(), entry(func(e *Entry) { e.ID = "M2" }), entry(func(e *Entry) { e.ID, e.Document = "M3", other }, unreleased),
		entry(func(e *Entry) { e.Document.BundleName = "never" }, desired(policy.Remove, policy.BlockedByPool, "")),
		entry(func(e *Entry) { e.Document.BundleName = "never" }, desired(policy.Hold, policy.MitigationsDisabled, "")),
	}}
	if diff := cmp.Diff([]DocumentRef{newDocument, other}, plan.Documents()); diff != "" {
		t.Errorf("documents differ (-want +got):\n%s", diff)
	}
	if got := (*Plan)(nil).Documents(); got != nil {
		t.Errorf("documents of no plan = %v, want none", got)
	}
}

// A full document on a server that has all of it already, which is what every pass of the loop looks like.
func BenchmarkDecide(b *testing.B) {
	plan, document := &Plan{}, &ocs.Document{}
	var applied []iis.Mitigation
	for i := range ocs.MaxConfigs {
		id := fmt.Sprintf("M%d", i)
		document.Configs = append(document.Configs, config(func(c *ocs.Config) { c.ID = id }))
		plan.Entries = append(plan.Entries, entry(func(e *Entry) { e.ID = id }))
		applied = append(applied, iis.Mitigation{ID: id, Revision: 2, Digest: newDigest, Actions: revision2.Actions})
	}
	in := Input{Server: "fe01", Plan: plan, Applied: applied, Documents: map[DocumentRef]Document{newDocument: {Content: document}}}
	for b.Loop() {
		if got := Decide(in); len(got.Wanted) != ocs.MaxConfigs {
			b.Fatalf("%d wanted", len(got.Wanted))
		}
	}
}
