package xmlsig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"mitigation.dev/ems/internal/xmlsig/keycheck"
)

var (
	oidExtKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidAnyExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
	oidCodeSigning    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	oidKeyUsage       = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidCommonName     = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidOrganization   = asn1.ObjectIdentifier{2, 5, 4, 10}
)

// describe names a certificate in a message. The subject is foreign text.
func describe(c *x509.Certificate) string {
	return fmt.Sprintf("certificate %s (serial number %s)", shorten(c.Subject.String()), shorten(fmt.Sprintf("%x", c.SerialNumber)))
}

// parseCertificates parses certificates and checks their keys before anything uses them.
func parseCertificates(ders [][]byte, where string) ([]*x509.Certificate, error) {
	parsed := make([]*x509.Certificate, 0, len(ders))
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, &Error{Class: ClassCertificate, Subject: fmt.Sprintf("certificate %d of %s", i+1, where), Err: err}
		}
		if err := judgeKey(c); err != nil {
			return nil, err
		}
		parsed = append(parsed, c)
	}
	return parsed, nil
}

func judgeKey(c *x509.Certificate) error {
	if err := keycheck.Check(c.PublicKey); err != nil {
		return &Error{Class: ClassCertificate, Subject: describe(c), Err: err}
	}
	return nil
}

// splitLeaf finds the one certificate that is no authority. Order says nothing: signers differ.
func splitLeaf(certificates []*x509.Certificate) (leaf *x509.Certificate, authorities []*x509.Certificate, err error) {
	for _, c := range certificates {
		switch {
		case c.BasicConstraintsValid && c.IsCA:
			authorities = append(authorities, c)
		case leaf != nil:
			return nil, nil, refuse(ClassCertificate, describe(c), "a second certificate that is no authority")
		default:
			leaf = c
		}
	}
	if leaf == nil {
		return nil, nil, refuse(ClassCertificate, "X509Data", "no certificate but of authorities")
	}
	return leaf, authorities, nil
}

// judgePurpose checks what x509.Verify does not: with KeyUsages {CodeSigning} it lets a leaf without any
// extended key usage pass.
func (s *Signed) judgePurpose(policy *Policy) error {
	leaf := s.Signer
	// The signer's curve is narrower than that of authorities: its signature has exactly 64 bytes.
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); ok && key.Curve != elliptic.P256() {
		return refuse(ClassCertificate, describe(leaf), "ECDSA key on %s, want P-256", key.Curve.Params().Name)
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 && hasExtension(leaf, oidKeyUsage) {
		return refuse(ClassCertificate, describe(leaf), "key usage without digitalSignature")
	}
	usages, err := extendedKeyUsages(leaf)
	if err != nil {
		return err
	}
	has := func(oid asn1.ObjectIdentifier) bool { return slices.ContainsFunc(usages, oid.Equal) }
	if has(oidAnyExtKeyUsage) {
		return refuse(ClassCertificate, describe(leaf), "extended key usage anyExtendedKeyUsage")
	}
	if !has(oidCodeSigning) {
		return refuseUsage(leaf, oidCodeSigning)
	}
	for _, oid := range policy.ExtendedKeyUsages {
		if has(oid) {
			continue
		}
		if err := s.weigh(CheckExtendedKeyUsages, policy.Levels.ExtendedKeyUsages, refuseUsage(leaf, oid)); err != nil {
			return err
		}
	}
	return nil
}

func refuseUsage(leaf *x509.Certificate, missing asn1.ObjectIdentifier) *Error {
	return refuse(ClassCertificate, describe(leaf), "extended key usage %s is missing", missing)
}

func hasExtension(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			return true
		}
	}
	return false
}

func extendedKeyUsages(c *x509.Certificate) ([]asn1.ObjectIdentifier, error) {
	var usages []asn1.ObjectIdentifier
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidExtKeyUsage) {
			continue
		}
		if _, err := asn1.Unmarshal(e.Value, &usages); err != nil {
			return nil, &Error{Class: ClassCertificate, Subject: describe(c), Reason: "extended key usage", Err: err}
		}
	}
	return usages, nil
}

func (s *Signed) judgeIdentity(policy *Policy) error {
	leaf := s.Signer
	for _, want := range []struct {
		name, value string
		oid         asn1.ObjectIdentifier
	}{{"organization", policy.Organization, oidOrganization}, {"common name", policy.CommonName, oidCommonName}} {
		if want.value == "" {
			continue
		}
		// The subject must have exactly one such value: with two, the reader of a policy and the reader of
		// a certificate may look at different ones.
		var got []string
		for _, name := range leaf.Subject.Names {
			if value, ok := name.Value.(string); ok && name.Type.Equal(want.oid) {
				got = append(got, value)
			}
		}
		if len(got) != 1 || got[0] != want.value {
			refusal := refuse(ClassUntrusted, describe(leaf), "%s is not exactly %q", want.name, want.value)
			if err := s.weigh(CheckSubject, policy.Levels.Subject, refusal); err != nil {
				return err
			}
		}
	}
	return nil
}

// judgeChain builds chains to the pinned roots at the given time and returns one that satisfies the issuer pins. If they
// are only logged and none does, it returns the one that a policy without pins would get.
func (s *Signed) judgeChain(authorities []*x509.Certificate, policy *Policy, at time.Time) ([]*x509.Certificate, error) {
	leaf := s.Signer
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(), // never nil: that would be the system's store
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	for _, root := range policy.Roots {
		options.Roots.AddCert(root)
	}
	for _, authority := range authorities {
		options.Intermediates.AddCert(authority)
	}
	chains, err := leaf.Verify(options)
	if err != nil {
		return nil, &Error{Class: ClassUntrusted, Subject: describe(leaf), Reason: "no valid chain to a configured root", Err: stableCause(err)}
	}
	var unpinned []*x509.Certificate
	for _, chain := range chains {
		if len(chain) < 2 {
			continue // a leaf that is itself a root: pins and revocation would have nothing to hold on to
		}
		if len(policy.IssuerPins) == 0 || slices.Contains(policy.IssuerPins, sha256.Sum256(chain[1].RawSubjectPublicKeyInfo)) {
			return chain, nil
		}
		if unpinned == nil {
			unpinned = chain
		}
	}
	if unpinned == nil {
		return nil, refuse(ClassUntrusted, describe(leaf), "it is itself configured as root")
	}
	refusal := refuse(ClassUntrusted, describe(leaf), "its issuer, %s, is not pinned", describe(unpinned[1]))
	return unpinned, s.weigh(CheckIssuerPins, policy.Levels.IssuerPins, refusal)
}

// stableCause takes the current time out of the commonest cause, so that the same refusal reads the same in
// every run: messages end up in conditions, and one that changes is a write each time.
func stableCause(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil {
		return fmt.Errorf("%s is valid from %s to %s only", describe(invalid.Cert),
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return err
}

// judgeKeyValue compares the KeyValue with the leaf. It is no source of trust, only a thing that must not contradict.
func judgeKeyValue(s *signature, leaf *x509.Certificate) error {
	if s.modulus == nil {
		return nil
	}
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.Cmp(s.modulus) != 0 || !s.exponent.IsInt64() || s.exponent.Int64() != int64(key.E) {
		return refuse(ClassCertificate, "KeyValue", "differs from the key of %s", describe(leaf))
	}
	return nil
}
