package feed

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// noteFindings says of the accepted document what the checks found that spec.trust.levels only logs. Only a look at the
// document tells: while there is none, what is said stays.
func noteFindings(feed *emsv1.MitigationFeed, d *document) {
	findings := make([]trust.Finding, 0, len(d.signed.Findings))
	for _, f := range d.signed.Findings {
		findings = append(findings, trust.Finding{Finding: f})
	}
	meta.SetStatusCondition(&feed.Status.Conditions, conditions.TrustChecks(findings, feed.Generation))
	measured.setFindings(feed.Name, d.signed.Findings)
}

// keepFindings says that what was found holds on under a newer spec. The next look at the document, which a changed spec
// brings about unless polling is disabled, tells anew.
func keepFindings(feed *emsv1.MitigationFeed) {
	if c := meta.FindStatusCondition(feed.Status.Conditions, emsv1.TrustChecksPassedCondition); c != nil {
		c.ObservedGeneration = feed.Generation
	}
}

// setFindings counts by check, and gives each check a value, so that an alert knows none from unknown.
func (m *measures) setFindings(feed string, findings []xmlsig.Finding) {
	count := map[xmlsig.Check]float64{
		xmlsig.CheckIssuerPins: 0, xmlsig.CheckSubject: 0, xmlsig.CheckExtendedKeyUsages: 0, xmlsig.CheckRevocation: 0,
	}
	for _, f := range findings {
		count[f.Check]++
	}
	for check, n := range count {
		m.trustFindings.WithLabelValues(feed, string(check)).Set(n)
	}
}

// beganToFailChecks reports whether the accepted document fails checks that are only logged, and others than before.
func beganToFailChecks(before, after []metav1.Condition) bool {
	is := meta.FindStatusCondition(after, emsv1.TrustChecksPassedCondition)
	if is == nil || is.Status != metav1.ConditionFalse {
		return false
	}
	was := meta.FindStatusCondition(before, emsv1.TrustChecksPassedCondition)
	return was == nil || was.Status != is.Status || was.Reason != is.Reason || was.Message != is.Message
}
