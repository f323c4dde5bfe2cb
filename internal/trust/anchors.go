package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"mitigation.dev/ems/internal/xmlsig"
)

const (
	// Horizon is how long before its end a certificate is warned of. Two months are enough to get a new root from a publisher
	// and onto every server with the ordinary change process.
	Horizon = 60 * 24 * time.Hour
	// ListHorizon is the same for revocation lists. They live for a week or so, and would be warned of for ever with Horizon.
	// Fetched ones, which come by themselves, are warned of in the last sixteenth of their life, at most this long.
	ListHorizon = 24 * time.Hour

	// fetchedListShare is the part of a fetched list's life in which it is warned of. An issuer publishes the next list before
	// the last one ends: Active Directory Certificate Services a tenth of the life before, but at most twelve hours, which is a
	// fifteenth of that of a weekly list. A warning before that would come and go with every list.
	fetchedListShare = 16
)

// Kind is what an anchor is.
type Kind string

// The kinds of anchors.
const (
	// KindRoot is a root of signers.
	KindRoot Kind = "root"
	// KindTimestampRoot is a root of counter-signatures.
	KindTimestampRoot Kind = "timestampRoot"
	// KindRevocationList is a revocation list.
	KindRevocationList Kind = "revocationList"
	// KindFetchedList is a revocation list that the manager fetched. No policy holds it.
	KindFetchedList Kind = "fetchedRevocationList"
	// KindIssuer is an authority between the signer of a document and its root. No policy holds it, the document does.
	KindIssuer Kind = "issuer"
	// KindSigner is the certificate that signed a document.
	KindSigner Kind = "signer"
)

// Anchor is something with an end that trust rests on.
type Anchor struct {
	Kind Kind
	// Field says where it stands: "roots", "timestampRoots" or "revocation.crls" of a policy, "feeds.NAME.roots" and so on
	// of a file; for what no policy holds, where it came from.
	Field string
	// Subject is the certificate's subject, or the list's issuer.
	Subject string
	// Fingerprint is the SHA-256, in hex, of the certificate or list.
	Fingerprint string
	// NotAfter is the last moment; zero for a list without an end.
	NotAfter time.Time
	// Since is when a list was issued; zero for a certificate.
	Since time.Time
}

// CertificateAnchor describes a certificate.
func CertificateAnchor(kind Kind, field string, c *x509.Certificate) Anchor {
	return Anchor{Kind: kind, Field: field, Subject: c.Subject.String(), Fingerprint: fingerprint(c.Raw), NotAfter: c.NotAfter}
}

// ListAnchor describes a revocation list of either kind that may have the given greatest age; zero for none.
func ListAnchor(kind Kind, field string, list *x509.RevocationList, maxAge time.Duration) Anchor {
	return Anchor{
		Kind: kind, Field: field, Subject: list.Issuer.String(), Fingerprint: fingerprint(list.Raw),
		NotAfter: listEnd(list, maxAge), Since: list.ThisUpdate,
	}
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Expired reports whether the end is past.
func (a Anchor) Expired(now time.Time) bool { return !a.NotAfter.IsZero() && !now.Before(a.NotAfter) }

// warnFrom is when the warning begins, if certificates are warned of within the given time before their end.
func (a Anchor) warnFrom(within time.Duration) time.Time {
	switch a.Kind {
	case KindRevocationList:
		within = min(within, ListHorizon)
	case KindFetchedList:
		within = min(within, ListHorizon, max(0, a.NotAfter.Sub(a.Since)/fetchedListShare))
	case KindRoot, KindTimestampRoot, KindIssuer, KindSigner:
	}
	return a.NotAfter.Add(-within)
}

func (a Anchor) expiring(now time.Time, within time.Duration) bool {
	return !a.NotAfter.IsZero() && !now.Before(a.warnFrom(within))
}

// Anchors returns everything with an end that the policy rests on. The error is that of Compile.
func (p Policy) Anchors() ([]Anchor, error) {
	compiled, err := p.Compile()
	if err != nil {
		return nil, err
	}
	var anchors []Anchor
	for _, c := range compiled.Roots {
		anchors = append(anchors, CertificateAnchor(KindRoot, "roots", c))
	}
	for _, c := range compiled.TimestampRoots {
		anchors = append(anchors, CertificateAnchor(KindTimestampRoot, "timestampRoots", c))
	}
	if compiled.Revocation.Mode != xmlsig.RevocationOff {
		for _, list := range compiled.Revocation.CRLs {
			anchors = append(anchors, ListAnchor(KindRevocationList, "revocation.crls", list, compiled.Revocation.MaxAge))
		}
	}
	return anchors, nil
}

// listEnd is until when a list counts as current: its own end or its greatest age, whichever comes first.
func listEnd(list *x509.RevocationList, maxAge time.Duration) time.Time {
	end := list.NextUpdate
	if maxAge > 0 {
		if oldest := list.ThisUpdate.Add(maxAge); end.IsZero() || oldest.Before(end) {
			end = oldest
		}
	}
	return end
}

// Anchors returns the anchors of all feeds, feed by feed. The error is that of the first policy that does not compile, which
// a file from ParseFile has none of.
func (f *File) Anchors() ([]Anchor, error) {
	var all []Anchor
	for _, name := range slices.Sorted(maps.Keys(f.Feeds)) {
		anchors, err := f.Feeds[name].Anchors()
		if err != nil {
			return nil, err
		}
		for _, a := range anchors {
			a.Field = "feeds." + name + "." + a.Field
			all = append(all, a)
		}
	}
	return all, nil
}

// Expiring returns what has run out at now or will within the given time, soonest first. A policy that does not compile has
// no anchors.
func (p Policy) Expiring(now time.Time, within time.Duration) []Anchor {
	anchors, err := p.Anchors()
	if err != nil {
		return nil
	}
	return Expiring(anchors, now, within)
}

// Expiring returns which anchors have run out at now or will within the given time, soonest first.
//
// A time-stamping root whose successor stands beside it is left out: it has to stay for the counter-signatures from its
// time, and would be warned of for ever. A root of signers is not: it should go once nothing is signed under it.
func Expiring(anchors []Anchor, now time.Time, within time.Duration) []Anchor {
	succeeded := map[string]bool{}
	for _, a := range anchors {
		if a.Kind == KindTimestampRoot && !a.expiring(now, within) {
			succeeded[a.Field] = true
		}
	}
	var found []Anchor
	for _, a := range anchors {
		if a.expiring(now, within) && (a.Kind != KindTimestampRoot || !succeeded[a.Field]) {
			found = append(found, a)
		}
	}
	slices.SortStableFunc(found, func(a, b Anchor) int { return a.NotAfter.Compare(b.NotAfter) })
	return found
}

// NextChange returns when the answer of Expiring, or of Expired for one of the anchors, may become another; zero if it does not.
func NextChange(anchors []Anchor, now time.Time, within time.Duration) time.Time {
	var next time.Time
	for _, a := range anchors {
		if a.NotAfter.IsZero() {
			continue
		}
		for _, t := range []time.Time{a.warnFrom(within), a.NotAfter} {
			if t.After(now) && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
	}
	return next
}
