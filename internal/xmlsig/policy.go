package xmlsig

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"time"
)

// Policy is what a signer must satisfy. Package trust has its file form.
type Policy struct {
	// Roots are the pinned roots, at least one. The system's store is never used.
	Roots []*x509.Certificate
	// IssuerPins are SHA-256 hashes of the SubjectPublicKeyInfo of acceptable issuers of the leaf. Empty:
	// any issuer under the roots. Without a pin every code-signing certificate under a public root can sign.
	IssuerPins [][32]byte
	// Organization and CommonName must be the leaf's only O and CN. Empty: any.
	Organization, CommonName string
	// ExtendedKeyUsages the leaf must have beside codeSigning, which is always required explicitly.
	ExtendedKeyUsages []asn1.ObjectIdentifier
	// TimestampRoots are the trust anchors of counter-signatures; they need not be self-signed. Empty:
	// counter-signatures are not judged and the signer must be valid now.
	TimestampRoots []*x509.Certificate
	// Revocation says what to do about revocation lists.
	Revocation Revocation
	// Levels say which of these checks only report. Empty: all refuse.
	Levels Levels
}

// RevocationMode says how much a missing or outdated revocation list matters.
type RevocationMode string

// The revocation modes. A certificate that a list names is refused in Prefer and Require, however old the
// list: revocation is not undone by age.
const (
	// RevocationOff looks at no list. It is the zero value's meaning too.
	RevocationOff RevocationMode = "Off"
	// RevocationPrefer accepts a chain without a current list, and says so in the notes.
	RevocationPrefer RevocationMode = "Prefer"
	// RevocationRequire refuses a chain without a current list for each certificate below the root. The
	// chain of a time-stamping authority is exempt: lists leave out expired certificates.
	RevocationRequire RevocationMode = "Require"
)

// Revocation is the revocation part of a policy. Lists are handed in: agents have no Internet.
type Revocation struct {
	Mode RevocationMode
	CRLs []*x509.RevocationList
	// MaxAge is how old a list may be beyond which it is not current, even before its NextUpdate. Zero: NextUpdate alone counts.
	MaxAge time.Duration
}

// Signed is a document that was verified. It comes from Verify only; the zero value is a failure.
type Signed struct {
	// Canonical are the canonical bytes of the root without its Signature: the bytes that were digested.
	// Only these may be parsed afterwards. They are XML in UTF-8 without declaration and comments.
	Canonical []byte
	// Digest is the SHA-256 of Canonical, the identity of the document.
	Digest [32]byte
	// Signer is the leaf, Issuer the certificate above it, Chain all from the leaf to the root.
	Signer, Issuer *x509.Certificate
	Chain          []*x509.Certificate
	// SignedAt is the time of an accepted counter-signature; zero if none was accepted.
	SignedAt time.Time
	// TimestampChain are the certificates of that counter-signature, from the authority's leaf to its root; empty if none was accepted.
	TimestampChain []*x509.Certificate
	// Notes say what was passed over: a counter-signature that was ignored, a revocation list that is missing.
	Notes []string
	// Findings say for what the document would have been refused if the policy's levels did not say Log.
	Findings []Finding
}

// Authorities are the certificates above the signer and above the signer of the accepted counter-signature: those whose revocation
// lists speak of this document.
func (s *Signed) Authorities() []*x509.Certificate {
	authorities := slices.Clone(s.Chain[min(1, len(s.Chain)):])
	return append(authorities, s.TimestampChain[min(1, len(s.TimestampChain)):]...)
}
