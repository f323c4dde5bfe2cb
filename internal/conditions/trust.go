package conditions

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/trust"
)

// fingerprintLength is how much of a fingerprint messages show: enough to tell two roots of the same name apart.
const fingerprintLength = 8

// TrustAnchors is the condition TrustAnchorsCurrent over the anchors of a feed or of a server. Messages hold dates and not the days
// that are left: they change when something happens, and not every day.
func TrustAnchors(anchors []trust.Anchor, generation int64, now time.Time) metav1.Condition {
	c := metav1.Condition{
		Type: emsv1.TrustAnchorsCurrentCondition, Status: metav1.ConditionTrue, ObservedGeneration: generation,
		Reason: emsv1.AnchorsCurrentReason, Message: "nothing that trust rests on runs out soon",
	}
	expiring := trust.Expiring(anchors, now, trust.Horizon)
	if len(expiring) == 0 {
		return c
	}
	c.Status, c.Reason = metav1.ConditionFalse, emsv1.AnchorExpiringReason
	said := make([]string, 0, len(expiring))
	for _, a := range expiring {
		verb := "runs out"
		if a.Expired(now) {
			verb, c.Reason = "ran out", emsv1.AnchorExpiredReason
		}
		said = append(said, fmt.Sprintf("%s: %s %s on %s: %s", a.Field, nameOf(a), verb, a.NotAfter.UTC().Format(time.DateOnly), remedy(a.Kind)))
	}
	c.Message = Truncate(strings.Join(said, "; "))
	return c
}

func nameOf(a trust.Anchor) string {
	name := fmt.Sprintf("%q", a.Subject)
	if short := ShortFingerprint(a); short != "" {
		name += " (" + short + ")"
	}
	return name
}

// ShortFingerprint is the beginning of an anchor's fingerprint, as messages and metrics show it; empty if it is not known.
func ShortFingerprint(a trust.Anchor) string {
	return a.Fingerprint[:min(len(a.Fingerprint), fingerprintLength)]
}

// remedy says what to do about an anchor that runs out.
func remedy(kind trust.Kind) string {
	switch kind {
	case trust.KindTimestampRoot:
		return "put the root of the current time-stamping authority beside it and keep this one for older documents"
	case trust.KindRevocationList:
		return "replace it with the newest list of its issuer"
	case trust.KindFetchedList:
		return "the next list of its issuer is overdue: look at spec.trust.revocation.urls and status.revocation of the feed"
	case trust.KindIssuer, trust.KindSigner:
		return "ask the publisher for a document with a newer signer or a counter-signature"
	case trust.KindRoot:
	}
	return "put its successor beside it and take it out when the publisher no longer signs under it"
}
