package timestamp

import (
	"bytes"
	"crypto"
	"crypto/sha1"     // signing-certificate of RFC 2634 names the certificate by SHA-1; it only picks among certificates that are verified otherwise
	_ "crypto/sha256" // the digests of the profile register themselves
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"mitigation.dev/ems/internal/xmlsig/keycheck"
)

// Errors that callers branch on. Every error of Verify that is none of them means that the token is damaged.
var (
	// ErrUntrusted means that the token is right in itself, but its certificate does not chain to a given
	// root at the time it states.
	ErrUntrusted = errors.New("time-stamping authority is not trusted")
	// ErrImprint means that the token was issued for other bytes.
	ErrImprint = errors.New("token is for another message")
	// ErrSignature means that the authority's signature does not hold.
	ErrSignature = errors.New("signature of the token is invalid")
	// ErrCertificate means that the authority's certificate is missing, not the one the token names, or not
	// made for time-stamping.
	ErrCertificate = errors.New("certificate of the time-stamping authority is not acceptable")
	// ErrTime means that the stated time lies in the future.
	ErrTime = errors.New("token states a time in the future")
)

// Options says whom to trust and what time it is.
type Options struct {
	// Roots are the trust anchors of time-stamping. They need not be self-signed. None: every token is ErrUntrusted.
	Roots []*x509.Certificate
	// Certificates were found beside the token and help to build the chain. They are not trusted.
	Certificates []*x509.Certificate
	// Now bounds the stated time.
	Now time.Time
	// ClockSkew is how far the stated time may lie after Now.
	ClockSkew time.Duration
}

// Token is a verified token. Tokens come from Verify only; the zero value states nothing.
type Token struct {
	// Time is when the authority saw the message.
	Time time.Time
	// Signer is the authority's certificate, Chain leads from it to one of the roots.
	Signer *x509.Certificate
	Chain  []*x509.Certificate
	// Nonce is the number that the authority repeats from the request it answers; nil if there is none. A verifier of
	// documents does not know the request; who has sent it compares.
	Nonce *big.Int
}

// Verify checks that token is an RFC 3161 token for message. Structure, imprint, stated time, certificate
// purpose and the authority's signature are judged first and each refuses by itself; only then the chain,
// so that ErrUntrusted always means a token that is otherwise right.
func Verify(token, message []byte, options Options) (*Token, error) {
	p, err := parse(token)
	if err != nil {
		return nil, err
	}
	if err := p.judgeImprint(message); err != nil {
		return nil, err
	}
	if p.time.After(options.Now.Add(options.ClockSkew)) {
		return nil, fmt.Errorf("token: genTime %s: %w", p.time.Format(time.RFC3339), ErrTime)
	}
	candidates := slices.Concat(p.certificates, options.Certificates)
	signer, err := p.findSigner(candidates)
	if err != nil {
		return nil, err
	}
	if err := p.judgeSignature(signer); err != nil {
		return nil, err
	}
	chain, err := buildChain(signer, candidates, options.Roots, p.time)
	if err != nil {
		return nil, err
	}
	return &Token{Time: p.time, Signer: signer, Chain: chain, Nonce: p.info.Nonce}, nil
}

func (p *parsed) judgeImprint(message []byte) error {
	hash, err := hashOf(p.info.Imprint.Algorithm)
	if err != nil {
		return fmt.Errorf("token: imprint: %w", err)
	}
	if !bytes.Equal(sum(hash, message), p.info.Imprint.Hashed) {
		return fmt.Errorf("token: imprint: %w", ErrImprint)
	}
	return nil
}

// findSigner returns the certificate that the signer info names and the signing-certificate attribute
// confirms. Without that attribute one certificate could be put in the place of another with the same key.
func (p *parsed) findSigner(candidates []*x509.Certificate) (*x509.Certificate, error) {
	matches, err := signerMatcher(p.signer.SignerID)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		if !matches(c) {
			continue
		}
		if err := p.judgeSigningCertificate(c); err != nil {
			return nil, err
		}
		return c, judgeCertificate(c)
	}
	return nil, fmt.Errorf("token: signer: no such certificate in or beside the token: %w", ErrCertificate)
}

func signerMatcher(id asn1.RawValue) (func(*x509.Certificate) bool, error) {
	switch {
	case id.Class == asn1.ClassUniversal && id.Tag == asn1.TagSequence:
		var is issuerAndSerial
		if err := unmarshalAll(id.FullBytes, &is, "signer identifier"); err != nil {
			return nil, err
		}
		return func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawIssuer, is.Issuer.FullBytes) && c.SerialNumber.Cmp(is.Serial) == 0
		}, nil
	case id.Class == asn1.ClassContextSpecific && id.Tag == 0 && len(id.Bytes) > 0:
		return func(c *x509.Certificate) bool { return bytes.Equal(c.SubjectKeyId, id.Bytes) }, nil
	default:
		return nil, errors.New("token: signer identifier: neither issuer and serial number nor key identifier")
	}
}

// judgeSigningCertificate compares the first certificate id of each signing-certificate attribute present;
// at least one must be (RFC 3161, section 2.4.2, updated by RFC 5816).
func (p *parsed) judgeSigningCertificate(c *x509.Certificate) error {
	var v1 struct {
		Certificates []struct {
			Hash         []byte
			IssuerSerial asn1.RawValue `asn1:"optional"`
		}
		Policies asn1.RawValue `asn1:"optional"`
	}
	var v2 struct {
		Certificates []asn1.RawValue
		Policies     asn1.RawValue `asn1:"optional"`
	}
	hasV1, err := p.attribute(oidSigningCertificate, &v1)
	if err != nil {
		return err
	}
	hasV2, err := p.attribute(oidSigningCertificateV2, &v2)
	if err != nil {
		return err
	}
	if !hasV1 && !hasV2 {
		return fmt.Errorf("token: signing-certificate attribute: missing: %w", ErrCertificate)
	}
	mismatch := fmt.Errorf("token: signing-certificate attribute: names another certificate: %w", ErrCertificate)
	if hasV1 {
		digest := sha1.Sum(c.Raw)
		if len(v1.Certificates) == 0 || !bytes.Equal(v1.Certificates[0].Hash, digest[:]) {
			return mismatch
		}
	}
	if hasV2 {
		if len(v2.Certificates) == 0 {
			return mismatch
		}
		hash, value, err := certificateID(v2.Certificates[0])
		if err != nil {
			return err
		}
		if !bytes.Equal(value, sum(hash, c.Raw)) {
			return mismatch
		}
	}
	return nil
}

// certificateID reads an ESSCertIDv2 (RFC 5035, section 4): the algorithm is left out for SHA-256, so the
// first value is either a SEQUENCE or the hash.
func certificateID(raw asn1.RawValue) (crypto.Hash, []byte, error) {
	hash, rest := crypto.SHA256, raw.Bytes
	var value asn1.RawValue
	rest, err := asn1.Unmarshal(rest, &value)
	if err == nil && value.Class == asn1.ClassUniversal && value.Tag == asn1.TagSequence {
		var algorithm pkix.AlgorithmIdentifier
		if err := unmarshalAll(value.FullBytes, &algorithm, "signing-certificate attribute"); err != nil {
			return 0, nil, err
		}
		if hash, err = hashOf(algorithm); err != nil {
			return 0, nil, fmt.Errorf("token: signing-certificate attribute: %w", err)
		}
		_, err = asn1.Unmarshal(rest, &value)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("token: signing-certificate attribute: %w", err)
	}
	if value.Class != asn1.ClassUniversal || value.Tag != asn1.TagOctetString {
		return 0, nil, errors.New("token: signing-certificate attribute: no hash")
	}
	return hash, value.Bytes, nil
}

// judgeCertificate wants a certificate for time-stamping only (RFC 3161, section 2.3) with a key that is
// neither weak nor a way to burn CPU.
func judgeCertificate(c *x509.Certificate) error {
	if c.IsCA {
		return fmt.Errorf("token: signer: a certification authority: %w", ErrCertificate)
	}
	if len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || len(c.UnknownExtKeyUsage) > 0 {
		return fmt.Errorf("token: signer: extended key usage is not timeStamping alone: %w", ErrCertificate)
	}
	if err := keycheck.Check(c.PublicKey); err != nil {
		return fmt.Errorf("token: signer: %w: %w", err, ErrCertificate)
	}
	return nil
}

// judgeSignature verifies the signed attributes against the content and the signature against the attributes
// (RFC 5652, section 5.4).
func (p *parsed) judgeSignature(signer *x509.Certificate) error {
	var contentType asn1.ObjectIdentifier
	if found, err := p.attribute(oidContentType, &contentType); err != nil {
		return err
	} else if !found || !contentType.Equal(oidTSTInfo) {
		return fmt.Errorf("token: content-type attribute: not a time-stamp: %w", ErrSignature)
	}
	hash, err := hashOf(p.signer.DigestAlgorithm)
	if err != nil {
		return fmt.Errorf("token: signer: %w", err)
	}
	var digest []byte
	if found, err := p.attribute(oidMessageDigest, &digest); err != nil {
		return err
	} else if !found || !bytes.Equal(digest, sum(hash, p.content)) {
		return fmt.Errorf("token: message-digest attribute: not that of the content: %w", ErrSignature)
	}
	algorithm, err := signatureAlgorithm(p.signer.SignatureAlgorithm.Algorithm, hash)
	if err != nil {
		return err
	}
	// In the token the attributes bear the tag [0]; what is signed bears that of a SET.
	signed := slices.Clone(p.signer.SignedAttributes.FullBytes)
	signed[0] = asn1.TagSet | constructed
	if err := signer.CheckSignature(algorithm, signed, p.signer.Signature); err != nil {
		return fmt.Errorf("token: signer: %w: %w", ErrSignature, err)
	}
	return nil
}

func signatureAlgorithm(oid asn1.ObjectIdentifier, hash crypto.Hash) (x509.SignatureAlgorithm, error) {
	rsaAlgorithms := map[crypto.Hash]x509.SignatureAlgorithm{
		crypto.SHA256: x509.SHA256WithRSA, crypto.SHA384: x509.SHA384WithRSA, crypto.SHA512: x509.SHA512WithRSA,
	}
	ecdsaAlgorithms := map[crypto.Hash]x509.SignatureAlgorithm{
		crypto.SHA256: x509.ECDSAWithSHA256, crypto.SHA384: x509.ECDSAWithSHA384, crypto.SHA512: x509.ECDSAWithSHA512,
	}
	for _, known := range []struct {
		oid  asn1.ObjectIdentifier
		hash crypto.Hash // 0: that of the digest algorithm
		kind map[crypto.Hash]x509.SignatureAlgorithm
	}{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, 0, rsaAlgorithms}, // rsaEncryption, usual in CMS
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, crypto.SHA256, rsaAlgorithms},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, crypto.SHA384, rsaAlgorithms},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, crypto.SHA512, rsaAlgorithms},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, crypto.SHA256, ecdsaAlgorithms},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, crypto.SHA384, ecdsaAlgorithms},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, crypto.SHA512, ecdsaAlgorithms},
	} {
		if known.oid.Equal(oid) && (known.hash == 0 || known.hash == hash) {
			return known.kind[hash], nil
		}
	}
	return 0, fmt.Errorf("token: signature algorithm %s with %s: not accepted", oid, hash)
}

func buildChain(signer *x509.Certificate, candidates, roots []*x509.Certificate, at time.Time) ([]*x509.Certificate, error) {
	options := x509.VerifyOptions{
		Roots:         x509.NewCertPool(), // never nil: that would be the system's store
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	for _, c := range candidates {
		if c.IsCA && keycheck.Check(c.PublicKey) == nil {
			options.Intermediates.AddCert(c)
		}
	}
	chains, err := signer.Verify(options)
	if err != nil {
		return nil, fmt.Errorf("token: %w at %s: %w", ErrUntrusted, at.Format(time.RFC3339), err)
	}
	return chains[0], nil
}

func sum(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	h.Write(data)
	return h.Sum(nil)
}
