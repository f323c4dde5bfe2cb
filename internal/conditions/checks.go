package conditions

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// TrustChecks is the condition TrustChecksPassed over what the checks found that are only logged, in the documents in use of
// a feed or of a server. The findings come in an order that does not change by itself.
func TrustChecks(findings []trust.Finding, generation int64) metav1.Condition {
	c := metav1.Condition{
		Type: emsv1.TrustChecksPassedCondition, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: emsv1.ChecksPassedReason, Message: "no document in use fails a check of its signer",
	}
	if len(findings) == 0 {
		return c
	}
	c.Status, c.Reason = metav1.ConditionFalse, reasonOf(findings[0].Check)
	said := make([]string, 0, len(findings))
	for _, f := range findings {
		if f.Check != findings[0].Check {
			c.Reason = emsv1.SeveralChecksFailedReason
		}
		said = append(said, f.String())
	}
	c.Message = Truncate("accepted only because the level is Log, ask the publisher: " + strings.Join(said, "; "))
	return c
}

func reasonOf(check xmlsig.Check) string {
	switch check {
	case xmlsig.CheckIssuerPins:
		return emsv1.IssuerNotPinnedReason
	case xmlsig.CheckSubject:
		return emsv1.SubjectDiffersReason
	case xmlsig.CheckExtendedKeyUsages:
		return emsv1.ExtendedKeyUsageMissingReason
	case xmlsig.CheckRevocation:
		return emsv1.RevocationFailedReason
	}
	return emsv1.SeveralChecksFailedReason
}
