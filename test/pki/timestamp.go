package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // TokenOptions.Hash may ask for SHA-384 or SHA-512
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// Object identifiers of CMS (RFC 5652), time-stamps (RFC 3161) and signing-certificate-v2 (RFC 5035).
var (
	oidSignedData           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
	oidSHA256               = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSAEncryption        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidECDSAWithSHA256      = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidTimestampPolicy      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1, 2}

	imprintAlgorithms = map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA1:   {1, 3, 14, 3, 2, 26},
		crypto.SHA256: oidSHA256,
		crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2},
		crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
	}
)

// TokenOptions makes tokens that differ from the usual one, most of them to be refused.
type TokenOptions struct {
	// Hash is that of the imprint; SHA-256 if zero.
	Hash crypto.Hash
	// NamedCertificate stands in the signing-certificate attribute; nil: the authority's own.
	NamedCertificate *x509.Certificate
	// OmitSigningCertificate leaves that attribute out.
	OmitSigningCertificate bool
	// OmitCertificates leaves the certificates out of the token.
	OmitCertificates bool
	// Indefinite encodes the outer values with indefinite lengths, as the real service's authority does.
	Indefinite bool
	// BreakSignature changes the signature.
	BreakSignature bool

	// The rest makes tokens that are signed correctly and still say what no authority says.

	// MessageType and ContentType replace SignedData and TSTInfo.
	MessageType, ContentType asn1.ObjectIdentifier
	// Content changes the TSTInfo, Attributes the signed attributes, before they are signed.
	Content    func([]byte) []byte
	Attributes func([][]byte) [][]byte
	// SignatureAlgorithm is stated instead of the one that was used.
	SignatureAlgorithm asn1.ObjectIdentifier
	// Signers is how often the signer stands in the token; zero: once.
	Signers int
	// Certificates stand in the token in front of the chain.
	Certificates []*x509.Certificate
}

// Timestamp makes an RFC 3161 token over message: SHA-256, the authority's chain inside, DER.
func (a *Identity) Timestamp(message []byte, at time.Time) ([]byte, error) {
	return a.TimestampWith(message, at, TokenOptions{})
}

// TimestampWith is Timestamp with choices.
func (a *Identity) TimestampWith(message []byte, at time.Time, options TokenOptions) ([]byte, error) {
	content, err := tokenContent(message, at, options.Hash)
	if err != nil {
		return nil, err
	}
	if options.Content != nil {
		content = options.Content(content)
	}
	named := options.NamedCertificate
	if named == nil {
		named = a.Certificate
	}
	attributes, err := signedAttributes(content, named, options)
	if err != nil {
		return nil, err
	}
	value, algorithm, err := a.signAttributes(attributes)
	if err != nil {
		return nil, err
	}
	if options.BreakSignature {
		value[len(value)-1] ^= 1
	}
	return a.assemble(content, attributes, algorithm, value, options)
}

// assemble puts the signed parts into a message.
func (a *Identity) assemble(content, attributes, algorithm, value []byte, options TokenOptions) ([]byte, error) {
	e := &encoder{}
	if options.SignatureAlgorithm != nil {
		algorithm = e.marshal(pkix.AlgorithmIdentifier{Algorithm: options.SignatureAlgorithm})
	}
	messageType, contentType := oidSignedData, oidTSTInfo
	if options.MessageType != nil {
		messageType = options.MessageType
	}
	if options.ContentType != nil {
		contentType = options.ContentType
	}
	algorithmSHA256 := e.sequence(e.marshal(oidSHA256))
	signer := e.sequence(
		e.marshal(1),
		e.sequence(a.Certificate.RawIssuer, e.marshal(a.Certificate.SerialNumber)),
		algorithmSHA256,
		e.value(asn1.ClassContextSpecific, 0, attributes),
		algorithm,
		e.marshal(value),
	)
	certificates := []byte{}
	if !options.OmitCertificates {
		var raw []byte
		for _, c := range slices.Concat(options.Certificates, a.Chain()) {
			raw = append(raw, c.Raw...)
		}
		certificates = e.value(asn1.ClassContextSpecific, 0, raw)
	}
	data := e.sequence(
		e.marshal(3),
		e.value(asn1.ClassUniversal, asn1.TagSet, algorithmSHA256),
		e.sequence(e.marshal(contentType), e.value(asn1.ClassContextSpecific, 0, e.marshal(content))),
		certificates,
		e.value(asn1.ClassUniversal, asn1.TagSet, bytes.Repeat(signer, max(1, options.Signers))),
	)
	if e.err != nil {
		return nil, fmt.Errorf("pki: token: %w", e.err)
	}
	if options.Indefinite {
		end := []byte{0, 0}
		return slices.Concat([]byte{0x30, 0x80}, e.marshal(messageType), []byte{0xa0, 0x80}, data, end, end), nil
	}
	token := e.sequence(e.marshal(messageType), e.value(asn1.ClassContextSpecific, 0, data))
	return token, e.err
}

func tokenContent(message []byte, at time.Time, hash crypto.Hash) ([]byte, error) {
	if hash == 0 {
		hash = crypto.SHA256
	}
	oid, ok := imprintAlgorithms[hash]
	if !ok || !hash.Available() {
		return nil, fmt.Errorf("pki: token: hash %s: not available", hash)
	}
	h := hash.New()
	h.Write(message)
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, fmt.Errorf("pki: token: %w", err)
	}
	e := &encoder{}
	content := e.sequence(
		e.marshal(1),
		e.marshal(oidTimestampPolicy),
		e.sequence(e.sequence(e.marshal(oid)), e.marshal(h.Sum(nil))),
		e.marshal(serial),
		e.value(asn1.ClassUniversal, asn1.TagGeneralizedTime, []byte(at.UTC().Format("20060102150405.999Z"))),
	)
	return content, e.err
}

// signedAttributes returns the sorted contents of the SET.
func signedAttributes(content []byte, named *x509.Certificate, options TokenOptions) ([]byte, error) {
	e := &encoder{}
	attribute := func(oid asn1.ObjectIdentifier, value []byte) []byte {
		return e.sequence(e.marshal(oid), e.value(asn1.ClassUniversal, asn1.TagSet, value))
	}
	digest, certificate := sha256.Sum256(content), sha256.Sum256(named.Raw)
	all := [][]byte{
		attribute(oidContentType, e.marshal(oidTSTInfo)),
		attribute(oidMessageDigest, e.marshal(digest[:])),
	}
	if !options.OmitSigningCertificate {
		all = append(all, attribute(oidSigningCertificateV2, e.sequence(e.sequence(e.sequence(e.marshal(certificate[:]))))))
	}
	if options.Attributes != nil {
		all = options.Attributes(all)
	}
	slices.SortFunc(all, bytes.Compare)
	return bytes.Join(all, nil), e.err
}

func (a *Identity) signAttributes(attributes []byte) (value, algorithm []byte, err error) {
	e := &encoder{}
	digest := sha256.Sum256(e.value(asn1.ClassUniversal, asn1.TagSet, attributes))
	oid := oidECDSAWithSHA256
	if _, ok := a.Key.Public().(*rsa.PublicKey); ok {
		oid = oidRSAEncryption
	}
	identifier := pkix.AlgorithmIdentifier{Algorithm: oid}
	algorithm = e.marshal(identifier)
	value, err = a.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	return value, algorithm, errors.Join(e.err, err)
}

// encoder keeps the first error, so that nested values can be written as they read.
type encoder struct{ err error }

func (e *encoder) marshal(value any) []byte {
	der, err := asn1.Marshal(value)
	if err != nil && e.err == nil {
		e.err = err
	}
	return der
}

func (e *encoder) value(class, tag int, content []byte) []byte {
	compound := class == asn1.ClassContextSpecific || tag == asn1.TagSequence || tag == asn1.TagSet
	return e.marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: content})
}

func (e *encoder) sequence(parts ...[]byte) []byte {
	return e.value(asn1.ClassUniversal, asn1.TagSequence, bytes.Join(parts, nil))
}
