package conditions

import (
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/trust"
)

func TestTrustAnchors(t *testing.T) {
	now := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	anchor := func(kind trust.Kind, field string, end time.Time) trust.Anchor {
		return trust.Anchor{Kind: kind, Field: field, Subject: "CN=Contoso Root", Fingerprint: "0123456789abcdef", NotAfter: end}
	}
	for name, tc := range map[string]struct {
		anchors                            []trust.Anchor
		wantStatus, wantReason, wantSaying string
	}{
		"nothing runs out without anchors": {wantStatus: "True", wantReason: "AnchorsCurrent"},
		"a root that ends in 61 days is current": {
			anchors:    []trust.Anchor{anchor(trust.KindRoot, "roots", now.Add(61*day))},
			wantStatus: "True", wantReason: "AnchorsCurrent",
		},
		"a root that ends in 59 days is named with its date and what to do": {
			anchors:    []trust.Anchor{anchor(trust.KindRoot, "spec.trust.roots", now.Add(59*day))},
			wantStatus: "False", wantReason: "AnchorExpiring",
			wantSaying: `spec.trust.roots: "CN=Contoso Root" (01234567) runs out on 2026-07-12: put its successor beside it`,
		},
		"a root that has ended is expired": {
			anchors:    []trust.Anchor{anchor(trust.KindRoot, "roots", now.Add(-day))},
			wantStatus: "False", wantReason: "AnchorExpired", wantSaying: "ran out on 2026-05-13",
		},
		"one that has ended counts more than one that will": {
			anchors:    []trust.Anchor{anchor(trust.KindRoot, "roots", now.Add(day)), anchor(trust.KindSigner, "status.document", now.Add(-day))},
			wantStatus: "False", wantReason: "AnchorExpired", wantSaying: "ask the publisher for a document",
		},
		"a time-stamping root is to be kept": {
			anchors:    []trust.Anchor{anchor(trust.KindTimestampRoot, "timestampRoots", now.Add(-day))},
			wantStatus: "False", wantReason: "AnchorExpired", wantSaying: "keep this one for older documents",
		},
		"a revocation list is to be replaced": {
			anchors:    []trust.Anchor{anchor(trust.KindRevocationList, "revocation.crls", now.Add(time.Hour))},
			wantStatus: "False", wantReason: "AnchorExpiring", wantSaying: "replace it with the newest list",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := TrustAnchors(tc.anchors, 7, now)
			if string(c.Status) != tc.wantStatus || c.Reason != tc.wantReason || c.ObservedGeneration != 7 || c.Type != "TrustAnchorsCurrent" {
				t.Errorf("condition = %+v, want %s %s", c, tc.wantStatus, tc.wantReason)
			}
			if !strings.Contains(c.Message, tc.wantSaying) {
				t.Errorf("message = %q, want it to contain %q", c.Message, tc.wantSaying)
			}
		})
	}
}
