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
	var d Decision
	mentioned := map[string]bool{}
	if in.Plan != nil {
		for _, e := range in.Plan.Entries {
			key := strings.ToLower(e.ID)
			if mentioned[key] {
				continue // the API allows ids that differ only in case; the first one counts
			}
			mentioned[key] = true
			var have *iis.Mitigation
			if m, ok := inPlace[key]; ok {
				have = &m
			}
			want, result := decideOne(in, e, have)
			if want != nil {
				d.Wanted = append(d.Wanted, *want)
			}
			d.Intents = append(d.Intents, result)
		}
	}
	for key, m := range inPlace {
		if !mentioned[key] {
			d.Wanted = append(d.Wanted, m)
			d.Intents = append(d.Intents, kept(m, ReasonNotInPlan, "in place although the plan does not mention it; it stays until the plan says Remove"))
		}
	}
	slices.SortFunc(d.Wanted, func(a, b iis.Mitigation) int { return compareIDs(a.ID, b.ID) })
	slices.SortFunc(d.Intents, func(a, b Result) int { return compareIDs(a.ID, b.ID) })
	return d
}

// decideOne decides about one entry of the plan. A nil want takes the mitigation off the server.
func decideOne(in Input, e Entry, have *iis.Mitigation) (want *iis.Mitigation, result Result) {
	released := e.Release.Includes(in.Server, e.ID)
	situation := policy.Situation{
		Released: released, AuditOnly: in.Plan.AuditOnly, Applicability: policy.Decision{Desired: policy.Apply, Reason: policy.Enabled},
	}
	var content *iis.Mitigation
	if e.Decision.Desired == policy.Apply {
		config, product, failure := find(in.Documents, e)
		if failure == nil {
			situation.Applicability = applicability(in, e, config, product)
			content, failure = contentOf(config, e)
			if content != nil {
				content.Samples = append(samplesOf(config, e), in.Plan.MustPass...)
				if in.Plan.WebConfig {
					content.Placement = iis.PlaceWebConfig
				}
			}
			if situation.Applicability.Desired != policy.Apply {
				failure = nil // what is not needed need not be installable
			}
		}
		// A document matters only once the rollout has reached the server.
		if failure != nil && released {
			return have, failed(e, have, *failure)
		}
	}
	verdict := policy.ForServer(e.Decision, situation)
	if verdict.Reason == policy.Audit {
		situation.AuditOnly = false
		return have, audited(e, have, verdict, policy.ForServer(e.Decision, situation))
	}
	switch verdict.Desired {
	case policy.Apply:
		return content, Result{
			ID: e.ID, State: Applied, Reason: string(verdict.Reason), Message: verdict.Message, Revision: e.Revision, Digest: e.Document.Digest,
		}
	case policy.Remove:
		return nil, gone(e, verdict)
	case policy.Hold:
		return have, held(e, have, verdict)
	}
	return have, failed(e, have, Failure{
		Reason:  ReasonPlanMismatch,
		Message: fmt.Sprintf("the plan wants %q, which this agent does not know; update the agent", verdict.Desired),
	})
}

// find looks the entry's Config up in its verified document.
func find(documents map[DocumentRef]Document, e Entry) (config ocs.Config, product string, failure *Failure) {
	document, ok := documents[e.Document]
	switch {
	case !ok:
		return ocs.Config{}, "", &Failure{Reason: ReasonBundleUnavailable, Message: fmt.Sprintf("MitigationBundle %q has not been fetched", e.Document.BundleName), Transient: true}
	case document.Failure != nil:
		return ocs.Config{}, "", document.Failure
	}
	for _, r := range document.Content.Refused {
		if strings.EqualFold(r.ID, e.ID) {
			return ocs.Config{}, "", &Failure{Reason: ReasonConfigRefused, Message: fmt.Sprintf("the document's entry cannot be used (%s): %s; ask the publisher", r.Reason, r.Message)}
		}
	}
	for _, c := range document.Content.Configs {
		if !strings.EqualFold(c.ID, e.ID) {
			continue
		}
		if c.Revision != e.Revision {
			return ocs.Config{}, "", mismatch("the plan wants revision %d, the signed document of MitigationBundle %q holds revision %d; look for who changed the plan",
				e.Revision, e.Document.BundleName, c.Revision)
		}
		return c, document.FeedProduct, nil
	}
	return ocs.Config{}, "", mismatch("the signed document of MitigationBundle %q holds no such mitigation; look for who changed the plan", e.Document.BundleName)
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
func contentOf(config ocs.Config, e Entry) (*iis.Mitigation, *Failure) {
	m := &iis.Mitigation{ID: config.ID, Revision: config.Revision, Digest: e.Document.Digest}
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
		m[strings.ToLower(x.ID)] = x
	}
	return m
}

func compareIDs(a, b string) int {
	return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
}
