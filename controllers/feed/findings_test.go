package feed

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/xmlsig"
)

func TestAnEventTellsOfChecksThatFailAnew(t *testing.T) {
	condition := func(status metav1.ConditionStatus, reason, message string) []metav1.Condition {
		return []metav1.Condition{{Type: emsv1.TrustChecksPassedCondition, Status: status, Reason: reason, Message: message}}
	}
	passed, failed := condition("True", "ChecksPassed", ""), condition("False", "SubjectDiffers", "certificate 1")
	for name, tc := range map[string]struct {
		before, after []metav1.Condition
		want          bool
	}{
		"the first document passes":              {after: passed},
		"the first document fails":               {after: failed, want: true},
		"a newer document fails":                 {before: passed, after: failed, want: true},
		"the same document still fails":          {before: failed, after: failed},
		"another certificate fails":              {before: failed, after: condition("False", "SubjectDiffers", "certificate 2"), want: true},
		"it fails another check as well":         {before: failed, after: condition("False", "SeveralChecksFailed", "certificate 1"), want: true},
		"a newer document passes":                {before: failed, after: passed},
		"there is no longer a word on the check": {before: failed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := beganToFailChecks(tc.before, tc.after); got != tc.want {
				t.Errorf("beganToFailChecks() = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestMetricsCountFindingsByCheck(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMeasures(registry)
	m.setFindings("contoso", []xmlsig.Finding{{Check: xmlsig.CheckRevocation}, {Check: xmlsig.CheckSubject}, {Check: xmlsig.CheckRevocation}})
	m.setFindings("contoso", []xmlsig.Finding{{Check: xmlsig.CheckRevocation}})
	want := map[string]float64{
		"ems_feed_trust_findings check=issuerPins feed=contoso":        0,
		"ems_feed_trust_findings check=subject feed=contoso":           0,
		"ems_feed_trust_findings check=extendedKeyUsages feed=contoso": 0,
		"ems_feed_trust_findings check=revocation feed=contoso":        1,
	}
	if diff := cmp.Diff(want, series(t, registry)); diff != "" {
		t.Errorf("metrics differ (-want +got):\n%s", diff)
	}
	m.forget("contoso")
	if left := series(t, registry); len(left) != 0 {
		t.Errorf("metrics after the feed is gone: %v", left)
	}
}
