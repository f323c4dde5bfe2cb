package conditions_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

func TestTrustChecks(t *testing.T) {
	found := func(feed string, check xmlsig.Check) trust.Finding {
		return trust.Finding{Feed: feed, Finding: xmlsig.Finding{Check: check, Subject: "certificate X", Reason: "why"}}
	}
	const because = "accepted only because the level is Log, ask the publisher: "
	for name, tc := range map[string]struct {
		findings []trust.Finding
		want     metav1.Condition
	}{
		"nothing found": {
			want: metav1.Condition{Status: metav1.ConditionTrue, Reason: emsv1.ChecksPassedReason, Message: "no document in use fails a check of its signer"},
		},
		"an issuer": {
			findings: []trust.Finding{found("", xmlsig.CheckIssuerPins)},
			want:     metav1.Condition{Status: metav1.ConditionFalse, Reason: emsv1.IssuerNotPinnedReason, Message: because + "issuerPins: certificate X: why"},
		},
		"a subject": {
			findings: []trust.Finding{found("contoso", xmlsig.CheckSubject)},
			want:     metav1.Condition{Status: metav1.ConditionFalse, Reason: emsv1.SubjectDiffersReason, Message: because + "feed contoso: subject: certificate X: why"},
		},
		"an extended key usage": {
			findings: []trust.Finding{found("", xmlsig.CheckExtendedKeyUsages)},
			want:     metav1.Condition{Status: metav1.ConditionFalse, Reason: emsv1.ExtendedKeyUsageMissingReason, Message: because + "extendedKeyUsages: certificate X: why"},
		},
		"one check twice": {
			findings: []trust.Finding{found("", xmlsig.CheckRevocation), found("", xmlsig.CheckRevocation)},
			want: metav1.Condition{
				Status: metav1.ConditionFalse, Reason: emsv1.RevocationFailedReason,
				Message: because + "revocation: certificate X: why; revocation: certificate X: why",
			},
		},
		"several checks": {
			findings: []trust.Finding{found("a", xmlsig.CheckSubject), found("b", xmlsig.CheckIssuerPins)},
			want: metav1.Condition{
				Status: metav1.ConditionFalse, Reason: emsv1.SeveralChecksFailedReason,
				Message: because + "feed a: subject: certificate X: why; feed b: issuerPins: certificate X: why",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.Type, tc.want.ObservedGeneration = emsv1.TrustChecksPassedCondition, 7
			if diff := cmp.Diff(tc.want, conditions.TrustChecks(tc.findings, 7)); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}
