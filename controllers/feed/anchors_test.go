package feed

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/test/pki"
)

var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func rootUntil(t *testing.T, name string, end time.Time) string {
	t.Helper()
	id, err := pki.NewRoot(name, pki.Authority(), pki.Validity(now.AddDate(-5, 0, 0), end))
	if err != nil {
		t.Fatal(err)
	}
	return string(id.PEM())
}

func TestTrustAnchorsOfAFeed(t *testing.T) {
	later, soon, gone := rootUntil(t, "Later", now.Add(100*day)), rootUntil(t, "Soon", now.Add(30*day)), rootUntil(t, "Gone", now.Add(-day))
	signerUntil := func(end time.Time) emsv1.AcceptedDocument {
		return emsv1.AcceptedDocument{Digest: "d", Signer: "CN=Signer", SignerExpiryTime: &metav1.Time{Time: end}}
	}
	stamped := signerUntil(now.Add(-day))
	stamped.SignedTime = &metav1.Time{Time: now.Add(-10 * day)}
	for name, tc := range map[string]struct {
		trust                  emsv1.TrustPolicy
		document               emsv1.AcceptedDocument
		wantStatus, wantReason string
		wantSaying             string
		// wantLook is when the next look is due, from now; zero for never.
		wantLook time.Duration
	}{
		"a feed whose root lasts is current until the warning begins": {
			trust: emsv1.TrustPolicy{Roots: later}, wantStatus: "True", wantReason: "AnchorsCurrent", wantLook: 40 * day,
		},
		"a root that runs out soon is named, and looked at again when it has": {
			trust: emsv1.TrustPolicy{Roots: soon}, wantStatus: "False", wantReason: "AnchorExpiring",
			wantSaying: `spec.trust.roots: "CN=Soon,O=Contoso" (`, wantLook: 30 * day,
		},
		"a root that has run out is expired": {
			trust: emsv1.TrustPolicy{Roots: gone}, wantStatus: "False", wantReason: "AnchorExpired", wantSaying: "ran out on 2026-05-13",
		},
		"a time-stamping root counts": {
			trust: emsv1.TrustPolicy{Roots: later, TimestampRoots: gone}, wantStatus: "False", wantReason: "AnchorExpired",
			wantSaying: "spec.trust.timestampRoots", wantLook: 40 * day,
		},
		"the signer of the accepted document counts": {
			trust: emsv1.TrustPolicy{Roots: later}, document: signerUntil(now.Add(20 * day)), wantStatus: "False", wantReason: "AnchorExpiring",
			wantSaying: `status.document: "CN=Signer" runs out on 2026-06-03`, wantLook: 20 * day,
		},
		"the signer of a document with a counter-signature does not": {
			trust: emsv1.TrustPolicy{Roots: later}, document: stamped, wantStatus: "True", wantReason: "AnchorsCurrent", wantLook: 40 * day,
		},
		"of a policy that cannot be read nothing is known": {
			trust: emsv1.TrustPolicy{Roots: "damaged"}, wantStatus: "Unknown", wantReason: "InvalidSpec", wantSaying: "see Ready",
		},
	} {
		t.Run(name, func(t *testing.T) {
			feed := &emsv1.MitigationFeed{
				ObjectMeta: metav1.ObjectMeta{Name: "contoso", Generation: 3},
				Spec:       emsv1.MitigationFeedSpec{Trust: tc.trust, Polling: emsv1.Disabled},
				Status:     emsv1.MitigationFeedStatus{Document: tc.document},
			}
			c := trustAnchors(feed, now)
			if string(c.Status) != tc.wantStatus || c.Reason != tc.wantReason || c.ObservedGeneration != 3 || !strings.Contains(c.Message, tc.wantSaying) {
				t.Errorf("condition = %+v, want %s %s with %q", c, tc.wantStatus, tc.wantReason, tc.wantSaying)
			}
			if got := (&Reconciler{}).nextLook(feed, now); got != tc.wantLook {
				t.Errorf("the next look is in %s, want %s", got, tc.wantLook)
			}
		})
	}
}

func TestAnEventTellsOfAnchorsThatGetWorse(t *testing.T) {
	condition := func(status metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: emsv1.TrustAnchorsCurrentCondition, Status: status, Reason: reason}}
	}
	current, expiring := condition("True", "AnchorsCurrent"), condition("False", "AnchorExpiring")
	for name, tc := range map[string]struct {
		before, after []metav1.Condition
		want          bool
	}{
		"the first look finds everything current":  {after: current},
		"the first look finds something expiring":  {after: expiring, want: true},
		"something begins to expire":               {before: current, after: expiring, want: true},
		"it is still expiring":                     {before: expiring, after: expiring},
		"what was expiring has expired":            {before: expiring, after: condition("False", "AnchorExpired"), want: true},
		"what was expiring has been replaced":      {before: expiring, after: current},
		"the policy can no longer be read":         {before: current, after: condition("Unknown", "InvalidSpec")},
		"something is expiring in a policy anew":   {before: condition("Unknown", "InvalidSpec"), after: expiring, want: true},
		"a status of an older manager has no word": {before: expiring},
	} {
		t.Run(name, func(t *testing.T) {
			if got := beganToRunOut(tc.before, tc.after); got != tc.want {
				t.Errorf("beganToRunOut() = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestNamedForJump(t *testing.T) {
	digest := strings.Repeat("0a", 32)
	for name, tc := range map[string]struct {
		annotation string
		sequence   int64
		want       bool
	}{
		"without an annotation nothing is named":     {sequence: 20000},
		"the sequence names the document":            {annotation: "20000", sequence: 20000, want: true},
		"the digest names the document":              {annotation: digest, sequence: 20000, want: true},
		"white space around it does no harm":         {annotation: " 20000\n", sequence: 20000, want: true},
		"a higher number names another document":     {annotation: "20001", sequence: 20000},
		"the beginning of the digest is not enough":  {annotation: digest[:12], sequence: 20000},
		"a document without sequence does not jump":  {annotation: "0"},
		"another way to write a number is not taken": {annotation: "020000", sequence: 20000},
	} {
		t.Run(name, func(t *testing.T) {
			feed := &emsv1.MitigationFeed{}
			feed.Annotations = map[string]string{emsv1.AcceptSequenceJumpAnnotation: tc.annotation}
			if got := namedForJump(feed, tc.sequence, digest); got != tc.want {
				t.Errorf("namedForJump() = %t, want %t", got, tc.want)
			}
		})
	}
}

// series returns what a registry would show: "name label=value… value".
func series(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			found[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return found
}

func TestMetricsFollowTheAnchorsAndGoWithTheFeed(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newMeasures(registry)
	anchor := func(kind trust.Kind, fingerprint string, end int64) trust.Anchor {
		return trust.Anchor{Kind: kind, Fingerprint: fingerprint + strings.Repeat("0", 56), NotAfter: time.Unix(end, 0)}
	}
	m.setAnchors("contoso", []trust.Anchor{
		anchor(trust.KindRoot, "aaaaaaaa", 1), anchor(trust.KindTimestampRoot, "bbbbbbbb", 2), anchor(trust.KindIssuer, "cccccccc", 3),
		anchor(trust.KindRevocationList, "dddddddd", 4), anchor(trust.KindSigner, "eeeeeeee", 5),
	})
	m.setAnchors("fabrikam", []trust.Anchor{anchor(trust.KindRoot, "aaaaaaaa", 1)})
	m.setAnchors("contoso", []trust.Anchor{anchor(trust.KindRoot, "aaaaaaaa", 1), anchor(trust.KindIssuer, "ffffffff", 6)})
	m.lastSuccess.WithLabelValues("contoso").Set(7)
	m.countFailure("contoso", emsv1.SignerUntrustedReason)
	m.countFailure("contoso", emsv1.SignerUntrustedReason)
	m.countFailure("contoso", emsv1.UnreachableReason)
	want := map[string]float64{
		"ems_trust_anchor_expiry_timestamp_seconds anchor=aaaaaaaa feed=contoso kind=root":   1,
		"ems_trust_anchor_expiry_timestamp_seconds anchor=ffffffff feed=contoso kind=issuer": 6,
		"ems_trust_anchor_expiry_timestamp_seconds anchor=aaaaaaaa feed=fabrikam kind=root":  1,
		"ems_feed_last_success_timestamp_seconds feed=contoso":                               7,
		"ems_feed_verify_failures_total feed=contoso reason=SignerUntrusted":                 2,
	}
	if diff := cmp.Diff(want, series(t, registry)); diff != "" {
		t.Errorf("metrics differ (-want +got):\n%s", diff)
	}
	m.forget("contoso")
	want = map[string]float64{"ems_trust_anchor_expiry_timestamp_seconds anchor=aaaaaaaa feed=fabrikam kind=root": 1}
	if diff := cmp.Diff(want, series(t, registry)); diff != "" {
		t.Errorf("metrics after the feed is gone differ (-want +got):\n%s", diff)
	}
}
