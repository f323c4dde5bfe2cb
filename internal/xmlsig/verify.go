package xmlsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"time"

	"github.com/beevik/etree"

	"mitigation.dev/ems/internal/timestamp"
)

// Verify checks a document under a policy at the time now. The steps and their order are those of the
// classes; see the package comment for why. An error is always an *Error. No error means that
// Signed.Canonical is content that a trusted signer signed.
func Verify(document []byte, policy Policy, now time.Time) (*Signed, error) {
	if len(policy.Roots) == 0 {
		return nil, refuse(ClassPolicy, "roots", "none configured")
	}
	scanned, err := prescan(document)
	if err != nil {
		return nil, err
	}
	root, err := parseTree(scanned.document)
	if err != nil {
		return nil, err
	}
	s, err := parseSignature(root)
	if err != nil {
		return nil, err
	}
	signed, err := judgeSigner(s, &policy, now)
	if err != nil {
		return nil, err
	}
	if err := s.verifySignedInfo(signed.Signer); err != nil {
		return nil, err
	}
	if signed.Canonical, err = s.verifyDigest(root, scanned.canonicalBytes); err != nil {
		return nil, err
	}
	signed.Digest = sha256.Sum256(signed.Canonical)
	return signed, nil
}

// judgeSigner decides whether the certificates of the document satisfy the policy. The counter-signature
// comes before the chain, because it decides for which time the chain is judged.
func judgeSigner(s *signature, policy *Policy, now time.Time) (*Signed, error) {
	certificates, err := parseCertificates(s.certificates, "KeyInfo")
	if err != nil {
		return nil, err
	}
	leaf, authorities, err := splitLeaf(certificates)
	if err != nil {
		return nil, err
	}
	signed := &Signed{Signer: leaf}
	if err := signed.judgePurpose(policy); err != nil {
		return nil, err
	}
	if err := signed.judgeIdentity(policy); err != nil {
		return nil, err
	}
	ignored, err := s.judgeCounterSignature(signed, policy, now)
	if err != nil {
		return nil, err
	}
	at := now
	if !signed.SignedAt.IsZero() {
		at = signed.SignedAt
	}
	if signed.Chain, err = signed.judgeChain(authorities, policy, at); err != nil {
		// Why the chain was judged now is part of why it failed.
		var refusal *Error
		if ignored != "" && errors.As(err, &refusal) {
			refusal.Reason += " (" + ignored + ")"
		}
		return nil, err
	}
	signed.Issuer = signed.Chain[1]
	require := policy.Revocation.Mode == RevocationRequire
	notes, refusals := judgeRevocation(signed.Chain, &policy.Revocation, require, now)
	for _, refusal := range refusals {
		if err := signed.weigh(CheckRevocation, policy.Levels.Revocation, refusal); err != nil {
			return nil, err
		}
	}
	signed.Notes = append(signed.Notes, notes...)
	return signed, judgeKeyValue(s, leaf)
}

// judgeCounterSignature sets SignedAt if the document carries a token that is right and trusted. A token that
// is wrong refuses the document; one from an unknown authority, or one that nobody asked for, is
// ignored: it could as well have been left out. The string says why nothing was accepted.
func (s *signature) judgeCounterSignature(signed *Signed, policy *Policy, now time.Time) (string, error) {
	if len(policy.TimestampRoots) == 0 {
		if s.token != nil {
			signed.Notes = append(signed.Notes, "counter-signature not judged: no time-stamping roots configured")
		}
		return "no time-stamping roots configured", nil
	}
	if s.token == nil {
		return "the document has no counter-signature", nil
	}
	beside, err := parseCertificates(s.tokenCertificates, "Object")
	if err != nil {
		return "", err
	}
	token, err := timestamp.Verify(s.token, s.value, timestamp.Options{
		Roots: policy.TimestampRoots, Certificates: beside, Now: now, ClockSkew: ClockSkew,
	})
	if errors.Is(err, timestamp.ErrUntrusted) {
		note := "counter-signature ignored: " + err.Error()
		signed.Notes = append(signed.Notes, note)
		return note, nil
	}
	if err != nil {
		return "", &Error{Class: ClassTimestamp, Subject: "CounterSignature", Err: err}
	}
	leaf := signed.Signer
	if token.Time.Before(leaf.NotBefore) || token.Time.After(leaf.NotAfter) {
		return "", refuse(ClassTimestamp, "CounterSignature", "its time %s is outside the validity of %s", token.Time.Format(time.RFC3339), describe(leaf))
	}
	notes, refusals := judgeRevocation(token.Chain, &policy.Revocation, false, now)
	for _, r := range refusals {
		refusal := refuse(ClassTimestamp, "CounterSignature", "%s: %s", r.Subject, r.Reason)
		if err := signed.weigh(CheckRevocation, policy.Levels.Revocation, refusal); err != nil {
			return "", err
		}
	}
	signed.Notes = append(signed.Notes, notes...)
	signed.SignedAt, signed.TimestampChain = token.Time, token.Chain
	return "", nil
}

// verifySignedInfo is the first public-key operation on the document itself.
func (s *signature) verifySignedInfo(signer *x509.Certificate) error {
	canonical, err := canonicalSignedInfo(s.signedInfo, s.signedInfoMethod)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(canonical)
	switch key := signer.PublicKey.(type) {
	case *rsa.PublicKey:
		if s.method != methodRSASHA256 {
			return refuse(ClassAlgorithm, "SignatureMethod", "%q with an RSA key", s.method)
		}
		if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], s.value); err != nil {
			return &Error{Class: ClassSignature, Subject: "SignedInfo", Err: err}
		}
		return nil
	case *ecdsa.PublicKey:
		if s.method != methodECDSASHA256 {
			return refuse(ClassAlgorithm, "SignatureMethod", "%q with an ECDSA key", s.method)
		}
		// XML Signature 1.1, section 6.4.3: r and s side by side, 32 bytes each on P-256. The ASN.1 form is refused.
		if len(s.value) != 64 {
			return refuse(ClassSignature, "SignatureValue", "%d bytes, want 64", len(s.value))
		}
		r, v := new(big.Int).SetBytes(s.value[:32]), new(big.Int).SetBytes(s.value[32:])
		if !ecdsa.Verify(key, digest[:], r, v) {
			return refuse(ClassSignature, "SignedInfo", "ECDSA verification failed")
		}
		return nil
	default:
		return refuse(ClassCertificate, describe(signer), "a key of type %T is not accepted", key)
	}
}

// verifyDigest compares the content with SignedInfo, which is verified by now, and returns the content.
func (s *signature) verifyDigest(root *etree.Element, size int) ([]byte, error) {
	canonical, err := canonicalRoot(root, s.element, s.transform, size)
	if err != nil {
		return nil, err
	}
	h := s.digest.New()
	h.Write(canonical)
	if !bytes.Equal(h.Sum(nil), s.digestValue) {
		return nil, refuse(ClassDigest, "root element", "the content is not what was signed")
	}
	return canonical, nil
}
