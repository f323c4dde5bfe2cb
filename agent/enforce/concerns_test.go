package enforce

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

func TestConcerns(t *testing.T) {
	with := func(entries ...Entry) *Plan { return &Plan{Generation: 7, Entries: entries} }
	complete := func(r *Rollout) { r.Complete = true }
	wants := func(desired policy.Desired) func(*Entry) {
		return func(e *Entry) { e.Decision.Desired = desired }
	}
	old := entry(staged(complete), func(e *Entry) { e.Revision, e.Document, e.Rollout.ID = 1, oldDocument, oldRollout })
	for name, tc := range map[string]struct {
		before, after *Plan
		want          bool
	}{
		"the first plan":                                      {nil, with(), true},
		"no plan any more":                                    {with(), nil, true},
		"no plan, as before":                                  {nil, nil, false},
		"another generation alone":                            {with(old), &Plan{Generation: 8, Entries: []Entry{old}}, false},
		"a new mitigation that waits for its stage":           {with(old), with(old, entry(unreleased, staged(), func(e *Entry) { e.ID = "M2" })), false},
		"a new mitigation for all":                            {with(old), with(old, entry(staged(), func(e *Entry) { e.ID = "M2" })), true},
		"a new revision that waits while the good one stays":  {with(old), with(entry(unreleased, staged(fallback))), false},
		"a new revision that waits, and something else to do": {with(old), with(entry(unreleased, staged(fallback, reverts))), true},
		"a new revision":                                      {with(old), with(entry(staged(fallback))), true},
		"the stage comes":                                     {with(entry(unreleased, staged(fallback))), with(entry(staged(fallback))), true},
		"a stage of others":                                   {with(entry(unreleased, staged())), with(entry(staged(), func(e *Entry) { e.Release = rollout.Release{ServerNames: []string{"fe02"}} })), false},
		"a rollout that is complete":                          {with(entry(staged())), with(entry(staged(complete))), false},
		"another try of the rollout":                          {with(entry(staged())), with(entry(staged(), func(e *Entry) { e.Rollout.ID = "r2-a2-bbbbbbbb" })), true},
		"the revision in a newer document":                    {with(old), with(entry(staged(complete), func(e *Entry) { e.Revision, e.Rollout.ID = 1, oldRollout })), false},
		"a block":                                             {with(old), with(entry(staged(complete), wants(policy.Remove))), true},
		"words about a block":                                 {with(entry(wants(policy.Remove))), with(entry(wants(policy.Remove), func(e *Entry) { e.Decision.Message = "why" })), false},
		"an action of it is blocked":                          {with(old), with(func() Entry { e := old; e.Decision.BlockedActions = []string{"M1.1"}; return e }()), true},
		"a mitigation that is not mentioned any more":         {with(old), with(), true},
		"a pool that is only looked at":                       {with(old), &Plan{Entries: []Entry{old}, AuditOnly: true}, true},
		"a repair":                                            {with(old), &Plan{Entries: []Entry{old}, RepairRequest: "now"}, true},
		"revocation lists":                                    {with(old), &Plan{Entries: []Entry{old}, Revocation: []RevocationRef{{FeedName: "contoso", Digest: "aa"}}}, true},
		"another moment for reports":                          {with(old), &Plan{Entries: []Entry{old}, Reporting: Reporting{Lease: 1}}, true},
		"a server that the cluster does not know any more":    {with(entry(staged())), &Plan{Entries: []Entry{entry(staged())}, NotEnrolled: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Concerns("fe01", tc.before, tc.after); got != tc.want {
				t.Errorf("Concerns() = %t, want %t", got, tc.want)
			}
		})
	}
}

// TestWhatDoesNotConcernAServerChangesNothing follows plans that are said not to concern a server.
func TestWhatDoesNotConcernAServerChangesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	documents := map[DocumentRef]Document{}
	ref := func(revision int64, edition int) DocumentRef {
		r := DocumentRef{FeedName: "contoso", BundleName: fmt.Sprint(revision, edition), Digest: fmt.Sprint(revision, edition)}
		documents[r] = Document{Content: &ocs.Document{Configs: []ocs.Config{config(func(c *ocs.Config) { c.Revision = revision })}}}
		return r
	}
	anyPlan := func() *Plan {
		revision := 1 + random.Int64N(3)
		e := Entry{
			ID: "M1", Revision: revision, Document: ref(revision, random.IntN(2)), Rollout: Rollout{ID: fmt.Sprint("r", revision), Revert: random.IntN(4) == 0, Complete: random.IntN(3) == 0},
			Decision: policy.Decision{Desired: []policy.Desired{policy.Apply, policy.Apply, policy.Apply, policy.Remove, policy.Hold}[random.IntN(5)], Reason: policy.Enabled},
		}
		if random.IntN(2) == 0 {
			e.Release = rollout.ToAll()
		}
		if back := random.Int64N(revision); back > 0 {
			e.Rollout.Fallback = Fallback{Rollout: fmt.Sprint("r", back), Revision: back, Document: ref(back, random.IntN(2))}
		}
		if random.IntN(8) == 0 {
			e.Rollout = Rollout{}
		}
		if random.IntN(6) == 0 {
			return &Plan{}
		}
		return &Plan{Entries: []Entry{e}, NotEnrolled: random.IntN(8) == 0}
	}
	wanted := func(plan *Plan, have []iis.Mitigation) []iis.Mitigation {
		return Decide(Input{Server: "fe01", Plan: plan, Documents: documents, Applied: have}).Wanted
	}
	unconcerned := 0
	for range 50_000 {
		before, after := anyPlan(), anyPlan()
		var have []iis.Mitigation
		if random.IntN(2) == 0 {
			have = wanted(anyPlan(), nil)
		}
		have = wanted(before, have)
		if Concerns("fe01", before, after) {
			continue
		}
		unconcerned++
		next := wanted(after, have)
		same := len(next) == len(have)
		for i := range next {
			same = same && next[i].Revision == have[i].Revision && iis.ContentOf(next[i]) == iis.ContentOf(have[i])
		}
		if !same {
			t.Fatalf("the plan does not concern the server, and changes it:\n%+v\n%+v\nfrom %+v\nto %+v", before.Entries, after.Entries, have, next)
		}
	}
	if unconcerned < 1000 {
		t.Errorf("only %d plans did not concern the server", unconcerned)
	}
}
