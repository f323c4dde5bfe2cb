package insight

import (
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/feedtrust"
	"mitigation.dev/ems/internal/trust"
)

// Anchor is a certificate or list that trust in a feed rests on.
type Anchor struct {
	// Kind is root, timestampRoot, revocationList or signer.
	Kind string `json:"kind"`
	// Subject of the certificate, or issuer of the list.
	Subject string `json:"subject"`
	// Fingerprint is the SHA-256, in hex.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Expiry is the last moment; absent without an end.
	Expiry *time.Time `json:"expiry,omitempty"`
}

// Anchors are those of a feed's policy, and the signer of its document, which does not count where a counter-signature proves when it
// signed.
func Anchors(feed *emsv1.MitigationFeed) ([]Anchor, error) {
	found, err := feedtrust.Policy(feed.Spec.Trust).Anchors()
	if err != nil {
		return nil, err
	}
	out := []Anchor{}
	for _, a := range found {
		out = append(out, Anchor{Kind: string(a.Kind), Subject: a.Subject, Fingerprint: a.Fingerprint, Expiry: end(a.NotAfter)})
	}
	if d := &feed.Status.Document; d.SignerExpiryTime != nil && d.SignedTime == nil {
		out = append(out, Anchor{Kind: string(trust.KindSigner), Subject: d.Signer, Expiry: end(d.SignerExpiryTime.Time)})
	}
	return out, nil
}
