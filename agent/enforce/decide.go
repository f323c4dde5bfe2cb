package enforce

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/samples"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
)

// Decide says what shall be in place on the server.
func Decide(in Input) Decision {
	inPlace := byID(in.Applied)
	d := Decision{MustGo: map[string]bool{}}
	mentioned := map[string]bool{}
	answers := map[string]answer{}
	if in.Plan != nil {
		var replaced []Entry
		for _, e := range in.Plan.Entries {
			key := lower(e.ID)
			if mentioned[key] {
				continue // the API allows ids that differ only in case; the first one counts
			}
			mentioned[key] = true
			e.Decision = policy.AtServer(e.Decision, in.Now)
			if e.Decision.Desired == policy.Remove && e.Decision.Reason == policy.Superseded {
				replaced = append(replaced, e) // which depends on its successor
				continue
			}
			answers[key] = in.decideOne(e, pointerTo(inPlace, key), false)
		}
		for _, e := range replaced {
			key := lower(e.ID)
			answers[key] = in.decideOne(e, pointerTo(inPlace, key), in.successorMissing(e, answers, inPlace))
		}
	}
	for key, m := range inPlace {
		if !mentioned[key] {
			answers[key] = in.unplanned(m)
		}
	}
	for key, a := range answers {
		d.Intents = append(d.Intents, a.result)
		if a.want != nil {
			d.Wanted = append(d.Wanted, *a.want)
		}
		if a.trial != nil && a.want != nil {
			a.trial.ID, a.trial.Content = a.result.ID, *a.want
			d.Trials = append(d.Trials, *a.trial)
		}
		if a.audit != nil {
			d.Audits = append(d.Audits, *a.audit)
		}
		if a.mustGo {
			d.MustGo[key] = true
		}
	}
	slices.SortFunc(d.Wanted, func(a, b iis.Mitigation) int { return compareIDs(a.ID, b.ID) })
	slices.SortFunc(d.Audits, func(a, b iis.Mitigation) int { return compareIDs(a.ID, b.ID) })
	slices.SortFunc(d.Trials, func(a, b Trial) int { return compareIDs(a.ID, b.ID) })
	slices.SortFunc(d.Intents, func(a, b Result) int { return compareIDs(a.ID, b.ID) })
	return d
}

// answer is what follows from one entry.
type answer struct {
	// want takes the mitigation off the server if it is nil.
	want   *iis.Mitigation
	result Result
	// trial lacks the content, which is want.
	trial *Trial
	audit *iis.Mitigation
	// mustGo says that what is in place goes even if want cannot be put in its place.
	mustGo bool
}

// released reports whether an entry has reached the server. While stages are at work it reaches only servers that they count.
func (in Input) released(e Entry, staged bool) bool {
	counted := !staged || e.Rollout.Complete || !in.Plan.NotEnrolled
	return counted && e.Release.Includes(in.Server, e.ID)
}

// decideOne decides about one entry of the plan. successorMissing is as in policy.Situation.
func (in Input) decideOne(e Entry, have *iis.Mitigation, successorMissing bool) answer {
	history := in.Histories[lower(e.ID)]
	staged := e.Rollout.ID != "" && e.Decision.Desired == policy.Apply
	released := in.released(e, staged)
	e, why := in.atServer(e, have, released)
	if why != "" && e.Decision.Reason != policy.Suspended {
		verdict := policy.ForServer(e.Decision, policy.Situation{OnServer: why})
		return in.withGate(e, have, answer{result: gone(e, verdict)}, released)
	}
	if staged && !in.Plan.AuditOnly {
		if failure, ok := in.Withheld[lower(e.ID)]; ok {
			return in.withGate(e, have, in.stay(e, have, history, failure), released)
		}
		f, failedHere := history.failed(e.Rollout.ID)
		switch {
		case !released && failedHere:
			return takenBack(e, in.wait(e, have, history), f)
		case !released:
			return in.withGate(e, have, in.wait(e, have, history), false)
		case failedHere:
			return in.retreat(e, have, history, f)
		}
	}
	situation := policy.Situation{
		Released: released, Waiting: e.Rollout.Waiting, AuditOnly: in.Plan.AuditOnly, SuccessorMissing: successorMissing, Applicability: applies,
	}
	var c candidate
	if e.Decision.Desired == policy.Apply && (released || !staged) {
		c = in.candidate(e, e.Revision, e.Document)
		situation.Applicability = c.applicability
		// A document matters only once the rollout has reached the server.
		if c.failure != nil && released {
			return in.withGate(e, have, in.stay(e, have, history, *c.failure), true)
		}
	}
	verdict := policy.ForServer(e.Decision, situation)
	if verdict.Reason == policy.Audit {
		situation.AuditOnly = false
		would := policy.ForServer(e.Decision, situation)
		a := answer{want: have, result: audited(e, have, verdict, would)}
		if would.Desired == policy.Apply {
			a.audit = c.content
		}
		return in.withGate(e, have, a, staged && released)
	}
	return in.withGate(e, have, in.carryOut(e, have, verdict, c), staged && released)
}

// carryOut turns the verdict on an entry that policy has the last word about into an answer.
func (in Input) carryOut(e Entry, have *iis.Mitigation, verdict policy.Decision, c candidate) answer {
	switch verdict.Desired {
	case policy.Apply:
		a := answer{want: c.content, result: Result{
			ID: e.ID, State: Applied, Reason: string(verdict.Reason), Message: verdict.Message, Revision: e.Revision, Digest: e.Document.Digest,
		}}
		if e.Rollout.ID != "" {
			a.trial = &Trial{Rollout: e.Rollout.ID, Terms: e.Rollout.Terms, Settled: e.Rollout.Complete}
		}
		return a
	case policy.Remove:
		return answer{result: gone(e, verdict)}
	case policy.Hold:
		return answer{want: have, result: held(e, have, verdict)}
	}
	return answer{want: have, result: failed(e, have, Failure{
		Reason:  ReasonPlanMismatch,
		Message: fmt.Sprintf("the plan wants %q, which this agent does not know; update the agent", verdict.Desired),
	})}
}

// successorMissing reports whether the mitigation that replaces this one shall be in place here and is not yet. Of plans
// without rollouts both change places in one pass.
func (in Input) successorMissing(e Entry, answers map[string]answer, inPlace map[string]iis.Mitigation) bool {
	id := in.successor(e)
	key := strings.ToLower(id)
	for _, s := range in.Plan.Entries {
		if id == "" || !strings.EqualFold(s.ID, id) {
			continue
		}
		a := answers[key]
		if s.Decision.Desired != policy.Apply || s.Rollout.ID == "" || a.result.State == NotApplicable {
			return false
		}
		_, there := inPlace[key]
		return !there
	}
	return false
}

// successor gives the id of the mitigation that replaces this one: that of a document, or, where none is at hand, of the plan's
// words.
func (in Input) successor(e Entry) string {
	if d := in.Documents[e.Document]; d.Content != nil {
		return d.Content.Successor(e.ID)
	}
	for ref, d := range in.Documents {
		if ref.FeedName == e.Document.FeedName && d.Content != nil {
			if id := d.Content.Successor(e.ID); id != "" {
				return id
			}
		}
	}
	after, _ := strings.CutPrefix(e.Decision.Message, "replaced by ")
	id, _, _ := strings.Cut(after, ",")
	return id
}

// applies is the applicability of what nothing speaks against.
var applies = policy.Decision{Desired: policy.Apply, Reason: policy.Enabled}

// candidate is a revision that could be in place.
type candidate struct {
	content       *iis.Mitigation
	applicability policy.Decision
	// failure says why there is no content, unless the server does not need it.
	failure *Failure
}

// candidate finds what a revision of a document would put on this server.
func (in Input) candidate(e Entry, revision int64, ref DocumentRef) candidate {
	config, product, failure := find(in.Documents, e.ID, revision, ref)
	if failure != nil {
		return candidate{applicability: applies, failure: failure}
	}
	c := candidate{applicability: applicability(in, e, config, product)}
	c.content, c.failure = contentOf(config, e, ref.Digest)
	if c.content != nil {
		c.content.Samples = append(samplesOf(config, e), in.Plan.MustPass...)
		if in.Plan.WebConfig {
			c.content.Placement = iis.PlaceWebConfig
		}
	}
	if c.applicability.Desired != policy.Apply {
		c.failure = nil // what is not needed need not be installable
	}
	return c
}

func pointerTo(list map[string]iis.Mitigation, key string) *iis.Mitigation {
	if m, ok := list[key]; ok {
		return &m
	}
	return nil
}

// find looks a revision of a mitigation up in its verified document.
func find(documents map[DocumentRef]Document, id string, revision int64, ref DocumentRef) (config ocs.Config, product string, failure *Failure) {
	document, ok := documents[ref]
	switch {
	case !ok:
		return ocs.Config{}, "", &Failure{Reason: ReasonBundleUnavailable, Message: fmt.Sprintf("MitigationBundle %q has not been fetched", ref.BundleName), Transient: true}
	case document.Failure != nil:
		return ocs.Config{}, "", document.Failure
	}
	for _, r := range document.Content.Refused {
		if strings.EqualFold(r.ID, id) {
			return ocs.Config{}, "", &Failure{Reason: ReasonConfigRefused, Message: fmt.Sprintf("the document's entry cannot be used (%s): %s; ask the publisher", r.Reason, r.Message)}
		}
	}
	for _, c := range document.Content.Configs {
		if !strings.EqualFold(c.ID, id) {
			continue
		}
		if c.Revision != revision {
			return ocs.Config{}, "", mismatch("the plan wants revision %d, the signed document of MitigationBundle %q holds revision %d; look for who changed the plan",
				revision, ref.BundleName, c.Revision)
		}
		return c, document.FeedProduct, nil
	}
	return ocs.Config{}, "", mismatch("the signed document of MitigationBundle %q holds no such mitigation; look for who changed the plan", ref.BundleName)
}

func applicability(in Input, e Entry, config ocs.Config, feedProduct string) policy.Decision {
	products := make([]policy.Product, 0, len(config.Applicability))
	for _, p := range config.Applicability {
		product := policy.Product{Name: p.Name, Role: p.Role}
		for _, b := range p.Branches {
			product.Branches = append(product.Branches, policy.Branch{From: b.From, FixedIn: b.FixedIn})
		}
		products = append(products, product)
	}
	if feedProduct == "" {
		// What is unknown speaks for the mitigation.
		feedProduct = in.Facts.Product
	}
	return policy.Applicability(e.ID, products, feedProduct, in.Plan.FixedBuilds, in.Facts)
}

// contentOf is what the signed Config puts on the server, less the blocked actions.
func contentOf(config ocs.Config, e Entry, digest string) (*iis.Mitigation, *Failure) {
	m := &iis.Mitigation{ID: config.ID, Revision: config.Revision, Digest: digest}
	for _, a := range config.Actions {
		if e.blocks(a.ID) {
			continue
		}
		action := iis.Action{ID: a.ID, Type: string(a.Type)}
		switch a.Type {
		case ocs.URLRewrite:
			if a.Scope == ocs.ScopeServer {
				action.Scope = iis.ScopeServer
			}
			action.Site, action.Rewrite = a.Target, a.Rewrite
		case ocs.AppPool:
			action.Pool = a.Target
		case ocs.Service:
			action.Service = a.Target
		default:
			// DoNothing has no content, and what package iis does not know it refuses itself.
		}
		m.Actions = append(m.Actions, action)
	}
	if len(m.Actions) == 0 {
		return nil, mismatch("the plan wants the mitigation but blocks each of its actions; what is in place stays until the plan says Remove")
	}
	return m, nil
}

// samplesOf gives the samples of the signed Config. Which of its actions blocks a request a sample does not say, so that
// those which must be blocked prove nothing once policy blocks an action.
func samplesOf(config ocs.Config, e Entry) []samples.Sample {
	less := slices.ContainsFunc(config.Actions, func(a ocs.Action) bool { return e.blocks(a.ID) })
	var list []samples.Sample
	for i, s := range config.Samples {
		if less && s.Expect == ocs.Blocked {
			continue
		}
		sample := samples.Sample{Number: i + 1, Expect: samples.Expectation(s.Expect), Method: s.Method, URL: s.URL, Host: s.Host}
		for _, h := range s.Headers {
			sample.Headers = append(sample.Headers, samples.Header{Name: h.Name, Value: h.Value})
		}
		list = append(list, sample)
	}
	return list
}

// blocks reports whether policy blocks an action.
func (e Entry) blocks(action string) bool {
	return slices.ContainsFunc(e.Decision.BlockedActions, func(blocked string) bool { return policy.Covers(blocked, action) })
}

func mismatch(format string, args ...any) *Failure {
	return &Failure{Reason: ReasonPlanMismatch, Message: fmt.Sprintf(format, args...)}
}

func byID(list []iis.Mitigation) map[string]iis.Mitigation {
	m := make(map[string]iis.Mitigation, len(list))
	for _, x := range list {
		m[lower(x.ID)] = x
	}
	return m
}

func lower(id string) string { return strings.ToLower(id) }

func compareIDs(a, b string) int {
	return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
}
