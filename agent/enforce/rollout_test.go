package enforce

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/policytest"
	"mitigation.dev/ems/internal/rollout"
)

var (
	now         = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	oldDocument = DocumentRef{FeedName: "contoso", BundleName: "contoso-1", Digest: oldDigest}
	holdsOld    = Document{FeedProduct: "ExchangeServer", Content: &ocs.Document{Configs: []ocs.Config{{
		ID: "M1", Revision: 1, Actions: []ocs.Action{{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Rewrite: rule("one")}},
	}}}}
)

const (
	newRollout = "r2-a1-bbbbbbbb"
	oldRollout = "r1-a1-aaaaaaaa"
)

// staged puts the entry under a rollout.
func staged(change ...func(*Rollout)) func(*Entry) {
	return func(e *Entry) {
		e.Rollout = Rollout{ID: newRollout, Waiting: policy.AwaitingStage}
		for _, f := range change {
			f(&e.Rollout)
		}
	}
}

func fallback(r *Rollout) {
	r.Fallback = Fallback{Rollout: oldRollout, Revision: 1, Document: oldDocument}
}
func reverts(r *Rollout)                          { r.Revert, r.Waiting = true, policy.RolloutHalted }
func because(reason policy.Reason) func(*Rollout) { return func(r *Rollout) { r.Waiting = reason } }

// failedHere is the history of a server that the new rollout failed on.
func failedHere(good ...iis.Mitigation) History {
	return History{
		Record: gate.Record{Rollout: newRollout, Verdict: gate.Failed}, Content: iis.ContentOf(revision2), Good: good,
		Failed: []FailedRollout{{ID: newRollout, Content: iis.ContentOf(revision2), Message: "owa: 503"}},
	}
}

func TestStages(t *testing.T) {
	revision3 := revision2
	revision3.Revision = 3
	failedGate := Gate{Rollout: newRollout, Verdict: gate.Failed, Message: "owa: 503"}
	for name, tc := range map[string]struct {
		entry    Entry
		old      *Document // of the fallback; nil for one that holds it
		applied  []iis.Mitigation
		history  History
		withheld bool
		// notEnrolled: stages do not count the server.
		notEnrolled bool
		want        []iis.Mitigation
		result      Result
		trials      []string
		mustGo      bool
	}{
		"a released server tries it": {
			entry: entry(staged(fallback)), applied: just(revision1), want: just(revision2), trials: []string{newRollout},
			result: Result{State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest, Gate: Gate{Rollout: newRollout}},
		},
		"a server that stages do not count does not try it, whatever the cut-off says": {
			entry: entry(staged(fallback)), applied: just(revision1), notEnrolled: true, want: just(revision1), trials: []string{oldRollout},
			result: Result{State: Applied, Reason: "AwaitingStage", Revision: 1, Digest: oldDigest},
		},
		"and keeps it if it has it": {
			entry: entry(staged()), applied: just(revision2), notEnrolled: true, want: just(revision2),
			result: Result{State: Applied, Reason: "AwaitingStage", Revision: 2, Digest: newDigest},
		},
		"and gets what is complete": {
			entry: entry(staged(func(r *Rollout) { r.Complete = true })), notEnrolled: true, want: just(revision2), trials: []string{newRollout},
			result: Result{State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest, Gate: Gate{Rollout: newRollout}},
		},
		"a server that is not released keeps the fallback": {
			entry: entry(unreleased, staged(fallback)), applied: just(revision1), want: just(revision1), trials: []string{oldRollout},
			result: Result{State: Applied, Reason: "AwaitingStage", Revision: 1, Digest: oldDigest},
		},
		"and gets it if it has nothing": {
			entry: entry(unreleased, staged(fallback, because(policy.AwaitingRing))), want: just(revision1), trials: []string{oldRollout},
			result: Result{State: Applied, Reason: "AwaitingRing", Revision: 1, Digest: oldDigest},
		},
		"what was good here needs no gate when it comes back": {
			entry: entry(unreleased, staged(fallback)), history: History{Good: just(revision1)}, want: just(revision1),
			result: Result{State: Applied, Reason: "AwaitingStage", Revision: 1, Digest: oldDigest},
		},
		"a server that is not released stays without anything if there is no fallback": {
			entry: entry(unreleased, staged()), result: Result{State: Pending, Reason: "AwaitingStage"},
		},
		"and waits for a person after a halt": {
			entry: entry(unreleased, staged(because(policy.RolloutHalted))), result: Result{State: Held, Reason: "RolloutHalted"},
		},
		"a newer revision than the fallback stays": {
			entry: entry(unreleased, staged(fallback)), applied: just(revision3), want: just(revision3),
			result: Result{State: Applied, Reason: "AwaitingStage", Revision: 3, Digest: newDigest},
		},
		"unless everybody goes back": {
			entry: entry(unreleased, staged(fallback, reverts)), applied: just(revision3), want: just(revision1), trials: []string{oldRollout}, mustGo: true,
			result: Result{State: Applied, Reason: "RolloutHalted", Revision: 1, Digest: oldDigest},
		},
		"without a fallback it is removed then": {
			entry: entry(unreleased, staged(reverts)), applied: just(revision2), mustGo: true, result: Result{State: Held, Reason: "RolloutHalted"},
		},
		"with a fallback that cannot be had it is removed, too": {
			entry: entry(unreleased, staged(fallback, reverts)), old: new(failing(ReasonBundleUnavailable, true)), applied: just(revision2), mustGo: true,
			result: Result{State: Held, Reason: "RolloutHalted"},
		},
		"a fallback that cannot be had comes from the server's own disk": {
			entry: entry(unreleased, staged(fallback, reverts)), old: new(failing(ReasonBundleUnavailable, true)), applied: just(revision2),
			history: History{Good: []iis.Mitigation{revision1, revision3}}, want: just(revision1), mustGo: true,
			result: Result{State: Applied, Reason: "RolloutHalted", Revision: 1, Digest: oldDigest},
		},
		"a fallback that cannot be had leaves in place what is": {
			entry: entry(unreleased, staged(fallback)), old: new(failing("Untrusted", false)), applied: just(revision1), want: just(revision1),
			result: Result{State: Applied, Reason: "AwaitingStage", Revision: 1, Digest: oldDigest},
		},
		"blocked actions are left out of what stays, too": {
			entry:   entry(unreleased, staged(), func(e *Entry) { e.Decision.BlockedActions = []string{"M1.2"} }),
			applied: just(revision2), want: just(iis.Mitigation{ID: "M1", Revision: 2, Digest: newDigest, Actions: revision2.Actions[:1]}),
			result: Result{State: Applied, Reason: "AwaitingStage", Revision: 2, Digest: newDigest},
		},
		"what failed here is taken back to the fallback": {
			entry: entry(staged(fallback)), applied: just(revision2), history: failedHere(), want: just(revision1), trials: []string{oldRollout}, mustGo: true,
			result: Result{State: Failed, Reason: ReasonGateFailed, Revision: 1, Digest: oldDigest, Gate: failedGate},
		},
		"or to what was good here": {
			entry: entry(staged()), applied: just(revision2), history: failedHere(revision1), want: just(revision1), mustGo: true,
			result: Result{State: Failed, Reason: ReasonGateFailed, Revision: 1, Digest: oldDigest, Gate: failedGate},
		},
		"but not while the plan takes servers back: that may be what was taken back before": {
			entry: entry(staged(reverts)), applied: just(revision2), history: failedHere(revision1), mustGo: true,
			result: Result{State: Failed, Reason: ReasonGateFailed, Gate: failedGate},
		},
		"or to nothing": {
			entry: entry(staged()), applied: just(revision2), history: failedHere(), mustGo: true,
			result: Result{State: Failed, Reason: ReasonGateFailed, Gate: failedGate},
		},
		"and never back to another revision that failed here": {
			entry: entry(staged(fallback)), applied: just(revision2), mustGo: true,
			history: func() History {
				h := failedHere(revision1)
				h.Failed = append(h.Failed, FailedRollout{ID: oldRollout, Content: iis.ContentOf(revision1)})
				return h
			}(),
			result: Result{State: Failed, Reason: ReasonGateFailed, Gate: failedGate},
		},
		"what failed here says so after the release was taken back": {
			entry: entry(unreleased, staged(fallback, reverts)), applied: just(revision1), history: failedHere(revision1), want: just(revision1), mustGo: true,
			result: Result{State: Failed, Reason: ReasonGateFailed, Revision: 1, Digest: oldDigest, Gate: failedGate},
		},
		"a new attempt is tried again": {
			entry: entry(staged(fallback, func(r *Rollout) { r.ID = "r2-a2-bbbbbbbb" })), applied: just(revision1), history: failedHere(), want: just(revision2),
			trials: []string{"r2-a2-bbbbbbbb"},
			result: Result{State: Applied, Reason: "Enabled", Revision: 2, Digest: newDigest, Gate: Gate{Rollout: "r2-a2-bbbbbbbb"}},
		},
		"nothing is put in place without a record of how the server was": {
			entry: entry(staged()), applied: just(revision1), withheld: true, want: just(revision1),
			result: Result{State: Failed, Reason: ReasonStateFailed, Revision: 1, Digest: oldDigest,
				Gate: Gate{Rollout: newRollout, Verdict: gate.Failed, Message: "StateFailed: disk full; revision 1 stays in place"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := holdsOld
			if tc.old != nil {
				old = *tc.old
			}
			in := Input{
				Server: "fe01", Now: now, Applied: tc.applied, Plan: &Plan{Entries: []Entry{tc.entry}, NotEnrolled: tc.notEnrolled},
				Documents: map[DocumentRef]Document{newDocument: holds, oldDocument: old}, Histories: map[string]History{"m1": tc.history},
			}
			if tc.withheld {
				in.Withheld = map[string]Failure{"m1": {Reason: ReasonStateFailed, Message: "disk full"}}
			}
			got := Decide(in)
			if diff := cmp.Diff(tc.want, got.Wanted, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("wanted differs (-want +got):\n%s", diff)
			}
			tc.result.ID = "M1"
			if diff := cmp.Diff(one(tc.result), got.Intents, cmpopts.IgnoreFields(Result{}, "Message")); diff != "" {
				t.Errorf("intents differ (-want +got):\n%s", diff)
			}
			var trials []string
			for _, trial := range got.Trials {
				trials = append(trials, trial.Rollout)
			}
			if diff := cmp.Diff(tc.trials, trials); diff != "" {
				t.Errorf("trials differ (-want +got):\n%s", diff)
			}
			if got.MustGo["m1"] != tc.mustGo {
				t.Errorf("must go: %t, want %t", got.MustGo["m1"], tc.mustGo)
			}
		})
	}
}

func TestHistory(t *testing.T) {
	trial := func(rollout string, m iis.Mitigation) Trial {
		return Trial{ID: "M1", Rollout: rollout, Content: m}
	}
	good := func(h History) (revisions []int64) {
		for _, g := range h.Good {
			revisions = append(revisions, g.Revision)
		}
		return revisions
	}
	verdict := func(h History, v gate.Verdict) gate.Record {
		r := h.Record
		r.Verdict = v
		return r
	}
	h := History{}.Begin(trial(oldRollout, revision1), nil, gate.Begin(oldRollout, now, nil))
	h = h.Looked(verdict(h, gate.Passed), revision1)
	if diff := cmp.Diff([]int64{1}, good(h)); diff != "" {
		t.Errorf("after the first revision passed: good differs (-want +got):\n%s", diff)
	}
	h = h.Begin(trial(newRollout, revision2), &revision1, gate.Begin(newRollout, now, nil))
	revision3 := revision2
	revision3.Revision = 3
	next := h.Begin(trial("r3", revision3), &revision2, gate.Begin("r3", now, nil))
	if diff := cmp.Diff([]int64{1}, good(next)); diff != "" {
		t.Errorf("a revision under observation when the next one comes: good differs (-want +got):\n%s", diff)
	}
	h = h.Looked(verdict(h, gate.Failed), revision2)
	if _, failed := h.failed(newRollout); !failed || !h.bad(revision2) || h.bad(revision1) {
		t.Errorf("history = %+v, want the second revision to be bad", h)
	}
	again := h.Begin(trial("r2-a2", revision2), &revision1, gate.Begin("r2-a2", now, nil))
	if _, failed := again.failed(newRollout); !failed || again.bad(revision2) {
		t.Errorf("history = %+v, want the attempt remembered and the content given another chance", again)
	}
	again = again.Looked(verdict(again, gate.Passed), revision2)
	again = again.Begin(trial("r3", revision3), &revision2, gate.Begin("r3", now, nil)).Looked(gate.Record{Rollout: "r3", Verdict: gate.Passed}, revision3)
	if diff := cmp.Diff([]int64{2, 3}, good(again)); diff != "" {
		t.Errorf("only the last two are kept: good differs (-want +got):\n%s", diff)
	}
	if next := again.Begin(trial("r4", revision1), nil, gate.Begin("r4", now, nil)); len(next.Good) != 0 {
		t.Errorf("good = %v, want nothing to go back to where nothing is in place", good(next))
	}
	for i := range 2 * maxFailed {
		h = h.Begin(trial(fmt.Sprint(i), revision2), &revision1, gate.Begin(fmt.Sprint(i), now, nil))
		h = h.Looked(verdict(h, gate.Failed), revision2)
	}
	if len(h.Failed) != maxFailed {
		t.Errorf("%d failures are remembered, want %d", len(h.Failed), maxFailed)
	}
	if f := h.Forgiven(); len(f.Failed) != 0 || f.Record.Rollout != "" || !f.isGood(revision1) {
		t.Errorf("forgiven = %+v", f)
	}
}

func TestGates(t *testing.T) {
	told := Gate{Rollout: newRollout}
	baking := History{Record: gate.Begin(newRollout, now, nil), Content: iis.ContentOf(revision2)}
	suspect := baking
	suspect.Record.Message = "to be looked at again"
	inconclusive := baking
	inconclusive.Record.Verdict, inconclusive.Record.Message = gate.Inconclusive, "3 of 5 requests"
	for name, tc := range map[string]struct {
		result  Result
		history History
		settled bool
		applied []iis.Mitigation
		want    Gate
	}{
		"what is under observation bakes":                   {Result{State: Applied, Gate: told}, baking, false, just(revision2), Gate{newRollout, gate.Baking, ""}},
		"a suspicion is not told":                           {Result{State: Applied, Gate: told}, suspect, false, just(revision2), Gate{newRollout, gate.Baking, ""}},
		"a lack of data is":                                 {Result{State: Applied, Gate: told}, inconclusive, false, just(revision2), Gate{newRollout, gate.Inconclusive, "3 of 5 requests"}},
		"a refusal is a failure":                            {Result{State: Failed, Reason: iis.SiteNotFound, Message: "none", Gate: told}, baking, false, nil, Gate{newRollout, gate.Failed, "SiteNotFound: none"}},
		"a file that is held for a moment is no failure":    {Result{State: Failed, Reason: iis.ConfigurationBusy, Gate: told}, baking, false, just(revision1), Gate{}},
		"a document on its way is none either":              {Result{State: Pending, Reason: ReasonBundleUnavailable, Gate: told}, History{}, false, nil, Gate{}},
		"what is there after the rollout needs no record":   {Result{State: Applied, Gate: told}, History{}, true, just(revision2), Gate{newRollout, gate.Passed, ""}},
		"what is there before the gate has begun is silent": {Result{State: Applied, Gate: told}, History{}, false, just(revision2), Gate{}},
		"what is not needed stays so":                       {Result{State: NotApplicable, Gate: Gate{newRollout, NotNeeded, ""}}, History{}, false, nil, Gate{newRollout, NotNeeded, ""}},
		"unless it cannot be removed":                       {Result{State: Failed, Reason: "X", Message: "y", Gate: Gate{newRollout, NotNeeded, ""}}, History{}, false, just(revision1), Gate{newRollout, gate.Failed, "X: y"}},
		"a plan without a rollout has no gate":              {Result{State: Failed, Reason: iis.SiteNotFound}, History{}, false, nil, Gate{}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.result.ID = "M1"
			d := Decision{Trials: []Trial{{ID: "M1", Rollout: newRollout, Content: revision2, Settled: tc.settled}}}
			got := Gates(one(tc.result), d, map[string]History{"m1": tc.history}, tc.applied)
			if diff := cmp.Diff(tc.want, got[0].Gate); diff != "" {
				t.Errorf("gate differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWatchSuspectsTheLastOne plays three mitigations of which one makes the server worse.
func TestWatchSuspectsTheLastOne(t *testing.T) {
	healthy, ill := []health.Result{{Name: "owa", OK: true}}, []health.Result{{Name: "owa", Detail: "503"}}
	begin := func() (map[string]History, []Watched) {
		histories, watched := map[string]History{}, []Watched(nil)
		for id, at := range map[string]time.Duration{"M1": 0, "M2": time.Second, "M3": time.Second} {
			m := revision2
			m.ID = id
			trial := Trial{ID: id, Rollout: newRollout, Content: m, Terms: gate.Terms{Bake: time.Minute}}
			histories[lower(id)] = History{}.Begin(trial, nil, gate.Begin(newRollout, now.Add(at), healthy))
			watched = append(watched, Watched{Trial: trial})
		}
		return histories, watched
	}
	for name, tc := range map[string]struct {
		culprit string
		want    []string // in the order in which they are taken back
	}{
		"the last one alone":                       {"m3", []string{"m3"}},
		"the one before it after it":               {"m2", []string{"m3", "m2"}},
		"the first one after both":                 {"m1", []string{"m3", "m2", "m1"}},
		"nobody while all is well":                 {"", nil},
		"all of them if nothing helps, one by one": {"none of them", []string{"m3", "m2", "m1"}},
	} {
		t.Run(name, func(t *testing.T) {
			histories, watched := begin()
			var taken []string
			for at := 2 * time.Second; at < 90*time.Second; at += 2 * time.Second {
				results := healthy
				if tc.culprit != "" && !slices.Contains(taken, tc.culprit) {
					results = ill
				}
				var rest []Watched
				before := len(taken)
				for key, h := range Watch(histories, watched, results, now.Add(at)) {
					histories[key] = h
					if h.Record.Verdict == gate.Failed {
						taken = append(taken, key)
					}
				}
				if len(taken) > before+1 {
					t.Fatalf("taken back at once: %v", taken[before:])
				}
				for _, w := range watched {
					if !histories[lower(w.ID)].Record.Final() {
						rest = append(rest, w)
					}
				}
				watched = rest
			}
			if diff := cmp.Diff(tc.want, taken); diff != "" {
				t.Errorf("taken back differs (-want +got):\n%s", diff)
			}
			if len(watched) > 0 {
				t.Errorf("%d are still under observation", len(watched))
			}
		})
	}
}

// TestPolicyTable runs the table of package policytest through Decide, for a server with the revision before in place.
func TestPolicyTable(t *testing.T) {
	for _, c := range policytest.Cases() {
		planned := func(m policytest.Moment) policy.Decision {
			d, _ := policy.ForPool(c.Mitigation, c.Configurations, c.Pool, m.At)
			return d
		}
		for i, m := range c.Moments {
			t.Run(fmt.Sprintf("%s/%d", c.Name, i), func(t *testing.T) {
				for what, ask := range map[string]struct {
					planned policy.Decision
					entry   []func(*Entry)
					want    policytest.Answer
				}{
					"released":      {planned(m), []func(*Entry){staged(fallback)}, m.Server},
					"not released":  {planned(m), []func(*Entry){staged(fallback, because(policy.AwaitingApproval)), unreleased}, m.Waiting},
					"with old plan": {planned(c.Moments[0]), []func(*Entry){staged(fallback)}, m.Stale},
				} {
					e := entry(append(ask.entry, func(e *Entry) { e.ID, e.Decision = c.Mitigation.ID, ask.planned })...)
					got := answerAt(c, e, m.At)
					if diff := cmp.Diff(ask.want, got.answer); diff != "" {
						t.Errorf("%s: answer differs (-want +got):\n%s", what, diff)
					}
					for _, action := range got.actions {
						if slices.ContainsFunc(ask.planned.BlockedActions, func(b string) bool { return policy.Covers(b, action) }) && got.answer.Desired == policy.Apply {
							t.Errorf("%s: blocked action %s is put in place", what, action)
						}
					}
				}
			})
		}
	}
}

type asked struct {
	answer  policytest.Answer
	actions []string
}

func answerAt(c policytest.Case, e Entry, at time.Time) asked {
	if len(c.Mitigation.ActionIDs) == 0 {
		c.Mitigation.ActionIDs = []string{c.Mitigation.ID + ".1"} // documents without any are refused
	}
	document := func(revision int64, text string) Document {
		config := ocs.Config{ID: c.Mitigation.ID, Revision: revision}
		for _, id := range c.Mitigation.ActionIDs {
			config.Actions = append(config.Actions, ocs.Action{ID: id, Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Rewrite: rule(text)})
		}
		for _, p := range c.Products {
			product := ocs.Product{Name: p.Name, Role: p.Role}
			for _, b := range p.Branches {
				product.Branches = append(product.Branches, ocs.Branch{From: b.From, FixedIn: b.FixedIn})
			}
			config.Applicability = append(config.Applicability, product)
		}
		return Document{Content: &ocs.Document{Configs: []ocs.Config{config}}, FeedProduct: c.FeedProduct}
	}
	old := iis.Mitigation{ID: c.Mitigation.ID, Revision: 1, Digest: oldDigest}
	for _, id := range c.Mitigation.ActionIDs {
		old.Actions = append(old.Actions, iis.Action{ID: id, Type: "UrlRewrite", Site: "Default Web Site", Rewrite: rule("one")})
	}
	got := Decide(Input{
		Server: "fe01", Now: at, Applied: just(old), Facts: c.Facts, Plan: &Plan{AuditOnly: c.Audit, Entries: []Entry{e}, FixedBuilds: c.FixedBuilds},
		Documents: map[DocumentRef]Document{newDocument: document(2, "two"), oldDocument: document(1, "one")},
	})
	out := asked{answer: policytest.Answer{Desired: policy.Hold, Reason: policy.Reason(got.Intents[0].Reason)}}
	switch {
	case len(got.Wanted) == 0:
		out.answer.Desired = policy.Remove
	case got.Wanted[0].Revision == 2:
		out.answer.Desired = policy.Apply
	}
	for _, m := range got.Wanted {
		for _, a := range m.Actions {
			out.actions = append(out.actions, a.ID)
		}
	}
	return out
}

func TestFixedBuildsCountWhetherReleasedOrNot(t *testing.T) {
	for _, e := range []Entry{entry(staged()), entry(unreleased, staged()), entry(unreleased, staged(reverts))} {
		got := Decide(Input{
			Server: "fe01", Applied: just(revision2), Facts: policy.Facts{Product: "ExchangeServer", Build: number("15.2.2562.43")},
			Plan:      &Plan{Entries: []Entry{e}, FixedBuilds: []policy.FixedBuild{{ID: "M1", Build: number("15.2.2562.40")}}},
			Documents: map[DocumentRef]Document{newDocument: holds},
		})
		if len(got.Wanted) != 0 || got.Intents[0].State != NotApplicable {
			t.Errorf("decision = %+v, want it removed", got)
		}
	}
}

func TestDocumentsOfFallbacksComeFirst(t *testing.T) {
	plan := &Plan{Entries: []Entry{entry(staged(fallback)), entry(func(e *Entry) { e.ID = "M2" }), entry(staged(fallback), func(e *Entry) {
		e.ID, e.Decision.Desired, e.Rollout.Fallback.Document.BundleName = "M3", policy.Remove, "contoso-0"
	})}}
	if diff := cmp.Diff([]DocumentRef{oldDocument, newDocument}, plan.Documents()); diff != "" {
		t.Errorf("documents differ (-want +got):\n%s", diff)
	}
}

// TestDecideNeverGoesWhereItMayNot tries what servers can have been through against what plans can say.
func TestDecideNeverGoesWhereItMayNot(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	contents := make([]iis.Mitigation, 4)
	documents := map[DocumentRef]Document{}
	refs := make([]DocumentRef, len(contents))
	for i := range contents {
		c := config(func(c *ocs.Config) { c.Revision = int64(i + 1) })
		refs[i] = DocumentRef{FeedName: "contoso", BundleName: fmt.Sprint(i), Digest: fmt.Sprint(i)}
		m, failure := contentOf(c, Entry{}, refs[i].Digest)
		if failure != nil {
			t.Fatal(failure.Message)
		}
		contents[i], documents[refs[i]] = *m, Document{Content: &ocs.Document{Configs: []ocs.Config{c}}}
	}
	id := func(i int) string { return fmt.Sprintf("r%d", i+1) }
	for range 20_000 {
		i := 1 + random.IntN(len(contents)-1)
		e := Entry{ID: "M1", Decision: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled}, Revision: int64(i + 1), Document: refs[i], Rollout: Rollout{ID: id(i), Revert: random.IntN(2) == 0}}
		released := random.IntN(2) == 0
		if released {
			e.Release = rollout.ToAll()
		}
		if back := random.IntN(i + 1); back < i {
			e.Rollout.Fallback = Fallback{Rollout: id(back), Revision: int64(back + 1), Document: refs[back]}
		}
		h := History{}
		for j, m := range contents {
			if random.IntN(4) == 0 {
				h.Failed = append(h.Failed, FailedRollout{ID: id(j), Content: iis.ContentOf(m)})
			} else if random.IntN(3) == 0 {
				h.Good = append(h.Good, m)
			}
		}
		at := map[DocumentRef]Document{}
		for ref, d := range documents {
			if at[ref] = d; random.IntN(4) == 0 {
				at[ref] = failing(ReasonBundleUnavailable, true)
			}
		}
		in := Input{Server: "fe01", Plan: &Plan{Entries: []Entry{e}}, Documents: at, Histories: map[string]History{"m1": h}}
		if have := random.IntN(len(contents) + 1); have < len(contents) {
			in.Applied = just(contents[have])
		}
		got := Decide(in)
		if len(got.Intents) != 1 {
			t.Fatalf("%d intents", len(got.Intents))
		}
		if len(got.Wanted) == 0 {
			continue
		}
		want := got.Wanted[0]
		kept := len(in.Applied) == 1 && iis.ContentOf(in.Applied[0]) == iis.ContentOf(want)
		switch {
		case h.bad(want):
			t.Fatalf("revision %d failed here and is wanted: %+v, history %+v", want.Revision, e, h)
		case !released && e.Rollout.Revert && want.Revision != e.Rollout.Fallback.Revision:
			t.Fatalf("revision %d is wanted while everybody goes back to %d: %+v", want.Revision, e.Rollout.Fallback.Revision, e)
		case !released && !kept && want.Revision == e.Revision && !h.isGood(want):
			t.Fatalf("revision %d is put in place where it is not released: %+v", want.Revision, e)
		}
	}
}
