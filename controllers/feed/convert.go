package feed

import (
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
)

// maxShownValue is how much of an action's value a Mitigation shows; agents take it from the signed document.
const maxShownValue = 16384

// mitigations turns the Configs of a document into Mitigations.
func mitigations(feed *emsv1.MitigationFeed, d *document, bundleName string) []*emsv1.Mitigation {
	out := make([]*emsv1.Mitigation, 0, len(d.Configs))
	for i := range d.Configs {
		config := &d.Configs[i]
		m := &emsv1.Mitigation{
			ObjectMeta: metav1.ObjectMeta{
				Name:   strings.ToLower(config.ID),
				Labels: map[string]string{emsv1.FeedLabel: feed.Name},
			},
			Spec: mitigationSpec(config),
		}
		m.Spec.FeedName, m.Spec.BundleName = feed.Name, bundleName
		m.Spec.DocumentDigest, m.Spec.Sequence = d.digest, d.Sequence
		m.Spec.Lifecycle = emsv1.LifecycleActive
		if successor := d.Successor(config.ID); successor != "" {
			m.Spec.Lifecycle, m.Spec.SupersededBy = emsv1.LifecycleSuperseded, emsv1.MitigationID(successor)
		}
		out = append(out, m)
	}
	return out
}

func mitigationSpec(config *ocs.Config) emsv1.MitigationSpec {
	spec := emsv1.MitigationSpec{
		ID: emsv1.MitigationID(config.ID), Revision: config.Revision,
		Description: config.Description, Severity: emsv1.Severity(config.Severity),
		CVEs: config.CVEs, SideEffects: config.SideEffects, ContentDigest: contentDigest(config),
	}
	for _, id := range config.Supersedes {
		spec.Supersedes = append(spec.Supersedes, emsv1.MitigationID(id))
	}
	for _, product := range config.Applicability {
		affected := emsv1.AffectedProduct{Name: emsv1.Product(product.Name), Role: product.Role}
		for _, b := range product.Branches {
			branch := emsv1.AffectedBranch{From: b.From.String()}
			if !b.FixedIn.IsZero() {
				branch.FixedIn = b.FixedIn.String()
			}
			affected.Branches = append(affected.Branches, branch)
		}
		spec.Applicability = append(spec.Applicability, affected)
	}
	for _, a := range config.Actions {
		value := a.Value
		if a.Type == ocs.URLRewrite {
			value = string(a.Rewrite)
		}
		spec.Actions = append(spec.Actions, emsv1.MitigationAction{
			ID: emsv1.MitigationID(a.ID), Type: emsv1.ActionType(a.Type), Scope: emsv1.ActionScope(a.Scope),
			Target: a.Target, Description: a.Description, Value: shown(value),
		})
	}
	for _, s := range config.Samples {
		spec.Samples = append(spec.Samples, emsv1.MitigationSample{
			Expect:  emsv1.SampleExpectation(s.Expect),
			Request: emsv1.SampleRequest{Method: s.Method, URL: s.URL, Host: s.Host, Headers: headers(s)},
		})
	}
	return spec
}

func headers(s ocs.Sample) []emsv1.HTTPHeader {
	var out []emsv1.HTTPHeader
	for _, h := range s.Headers {
		out = append(out, emsv1.HTTPHeader{Name: h.Name, Value: h.Value})
	}
	return out
}

// shown cuts a value to what a Mitigation shows of it, at the border of a character.
func shown(value string) string {
	if utf8.RuneCountInString(value) <= maxShownValue {
		return value
	}
	runes := []rune(value)
	return string(runes[:maxShownValue-1]) + "…"
}

func optionalTime(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}
