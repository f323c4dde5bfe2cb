package xmlsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// SignOptions says how Sign makes a signature. The zero values of all but Key and Certificates give the
// preferred shape: exclusive canonicalisation throughout, SHA-256, reference "".
type SignOptions struct {
	// Key is an RSA key or an ECDSA key on P-256, in memory or in a token.
	Key crypto.Signer
	// Certificates go into X509Data in this order. The first whose key is that of Key counts as the leaf.
	Certificates []*x509.Certificate
	// SignedInfoMethod is ExclusiveC14N or InclusiveC14N; empty: ExclusiveC14N.
	SignedInfoMethod Canonicalization
	// Transform is the canonicalisation of the content; nil: ExclusiveC14N. A pointer, because ImplicitC14N is
	// the empty string.
	Transform *Canonicalization
	// Digest is SHA-256 (also if zero), SHA-384 or SHA-512.
	Digest crypto.Hash
	// ReferenceID makes the reference "#" + the root's ID attribute instead of "".
	ReferenceID bool
	// KeyValue adds the RSA key beside the certificates, as the real service does.
	KeyValue bool
	// Prefix is the namespace prefix of the Signature; empty: a default namespace.
	Prefix string
	// Timestamper returns an RFC 3161 token over the SignatureValue's bytes. Nil: no counter-signature.
	Timestamper func(signatureValue []byte) ([]byte, error)
	// TimestampCertificates go beside the token.
	TimestampCertificates []*x509.Certificate
}

// Sign returns root, an XML document within the limits of this package and without Signature, with an
// enveloped signature as the last child of its root element. Every other byte stays as it is; the
// result must be published byte for byte.
func Sign(root []byte, options SignOptions) ([]byte, error) {
	s, err := newSigning(root, options)
	if err != nil {
		return nil, err
	}
	if err := s.digestContent(); err != nil {
		return nil, err
	}
	// The value is no part of SignedInfo, so a document without it has the final canonical SignedInfo.
	canonical, err := s.canonicalSignedInfo()
	if err != nil {
		return nil, err
	}
	value, err := s.signDigest(sha256.Sum256(canonical))
	if err != nil {
		return nil, err
	}
	s.value = base64.StdEncoding.EncodeToString(value)
	if options.Timestamper != nil {
		token, err := options.Timestamper(value)
		if err != nil {
			return nil, fmt.Errorf("signing: counter-signature: %w", err)
		}
		s.object = s.counterSignature(token)
	}
	out := s.assemble()
	// A document that no verifier of this profile would read must not be published.
	scanned, err := prescan(out)
	if err != nil {
		return nil, fmt.Errorf("signing: result: %w", err)
	}
	tree, err := parseTree(scanned.document)
	if err != nil {
		return nil, fmt.Errorf("signing: result: %w", err)
	}
	if _, err := parseSignature(tree); err != nil {
		return nil, fmt.Errorf("signing: result: %w", err)
	}
	return out, nil
}

type signing struct {
	options SignOptions
	source  []byte
	scanned *scan
	leaf    *x509.Certificate
	method  signatureMethod
	uri     string
	// prefix is "" or ends with a colon.
	prefix, digest, value, object string
}

func newSigning(root []byte, options SignOptions) (*signing, error) {
	scanned, err := prescan(root)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if scanned.signatures > 0 {
		return nil, errors.New("signing: document: it has a Signature already")
	}
	s := &signing{options: options, source: root, scanned: scanned}
	if s.options.SignedInfoMethod == "" {
		s.options.SignedInfoMethod = ExclusiveC14N
	}
	if s.options.Transform == nil {
		transform := ExclusiveC14N
		s.options.Transform = &transform
	}
	if s.options.Digest == 0 {
		s.options.Digest = crypto.SHA256
	}
	if options.Prefix != "" {
		s.prefix = options.Prefix + ":"
	}
	return s, s.chooseKey()
}

func (s *signing) chooseKey() error {
	if s.options.Key == nil {
		return errors.New("signing: key: missing")
	}
	switch key := s.options.Key.Public().(type) {
	case *rsa.PublicKey:
		s.method = methodRSASHA256
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize != 256 {
			return fmt.Errorf("signing: key: curve %s: want P-256", key.Curve.Params().Name)
		}
		s.method = methodECDSASHA256
	default:
		return fmt.Errorf("signing: key: type %T: want RSA or ECDSA", key)
	}
	public, ok := s.options.Key.Public().(interface{ Equal(crypto.PublicKey) bool })
	i := slices.IndexFunc(s.options.Certificates, func(c *x509.Certificate) bool { return ok && public.Equal(c.PublicKey) })
	if i < 0 {
		return errors.New("signing: certificates: none belongs to the key")
	}
	s.leaf = s.options.Certificates[i]
	return nil
}

func (s *signing) digestContent() error {
	root, err := parseTree(s.scanned.document)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if s.options.ReferenceID {
		id := plainAttribute(root, "ID")
		if id == "" {
			return errors.New("signing: reference: the root element has no ID")
		}
		s.uri = "#" + id
	}
	canonical, err := canonicalRoot(root, nil, *s.options.Transform, s.scanned.canonicalBytes)
	if err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	if _, ok := digestAlgorithm(s.options.Digest); !ok {
		return fmt.Errorf("signing: digest: %s: want SHA-256, SHA-384 or SHA-512", s.options.Digest)
	}
	h := s.options.Digest.New()
	h.Write(canonical)
	s.digest = base64.StdEncoding.EncodeToString(h.Sum(nil))
	return nil
}

func (s *signing) canonicalSignedInfo() ([]byte, error) {
	scanned, err := prescan(s.assemble())
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	root, err := parseTree(scanned.document)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	for _, child := range root.ChildElements() {
		if named(child, namespaceDSig, "Signature") == nil {
			return canonicalSignedInfo(child.ChildElements()[0], s.options.SignedInfoMethod)
		}
	}
	return nil, errors.New("signing: result: no Signature")
}

func (s *signing) signDigest(digest [32]byte) ([]byte, error) {
	value, err := s.options.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if s.method == methodRSASHA256 {
		return value, nil
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(value, &pair); err != nil {
		return nil, fmt.Errorf("signing: ECDSA value: %w", err)
	}
	return append(pair.R.FillBytes(make([]byte, 32)), pair.S.FillBytes(make([]byte, 32))...), nil
}

// assemble splices the Signature into the source before the root's end tag; an empty-element root gets one.
func (s *signing) assemble() []byte {
	body, skip := s.source, s.scanned.skipped
	end := skip + s.scanned.rootEnd
	if s.scanned.rootEnd != s.scanned.rootTagEnd || body[end-2] != '/' {
		return slices.Concat(body[:end], []byte(s.signature()), body[end:])
	}
	closing := "</" + qualified(s.scanned.rootName) + ">"
	return slices.Concat(body[:end-2], []byte(">"+s.signature()+closing), body[end:])
}

func (s *signing) signature() string {
	attribute := "xmlns"
	if s.options.Prefix != "" {
		attribute += ":" + s.options.Prefix
	}
	digestMethod, _ := digestAlgorithm(s.options.Digest)
	transforms := s.empty("Transform", transformEnveloped)
	if *s.options.Transform != ImplicitC14N {
		transforms += s.empty("Transform", string(*s.options.Transform))
	}
	signedInfo := s.empty("CanonicalizationMethod", string(s.options.SignedInfoMethod)) +
		s.empty("SignatureMethod", string(s.method)) +
		"<" + s.prefix + `Reference URI="` + escape(s.uri) + `">` +
		s.element("Transforms", transforms) + s.empty("DigestMethod", digestMethod) + s.element("DigestValue", s.digest) +
		"</" + s.prefix + "Reference>"
	keyInfo := s.keyValue() + s.x509Data(s.options.Certificates)
	return "<" + s.prefix + "Signature " + attribute + `="` + namespaceDSig + `">` +
		s.element("SignedInfo", signedInfo) + s.element("SignatureValue", s.value) + s.element("KeyInfo", keyInfo) +
		s.object + "</" + s.prefix + "Signature>"
}

func (s *signing) keyValue() string {
	key, ok := s.leaf.PublicKey.(*rsa.PublicKey)
	if !ok || !s.options.KeyValue {
		return ""
	}
	number := func(n *big.Int) string { return base64.StdEncoding.EncodeToString(n.Bytes()) }
	return s.element("KeyValue", s.element("RSAKeyValue",
		s.element("Modulus", number(key.N))+s.element("Exponent", number(big.NewInt(int64(key.E))))))
}

func (s *signing) x509Data(certificates []*x509.Certificate) string {
	var content strings.Builder
	for _, c := range certificates {
		content.WriteString(s.element("X509Certificate", base64.StdEncoding.EncodeToString(c.Raw)))
	}
	return s.element("X509Data", content.String())
}

func (s *signing) counterSignature(token []byte) string {
	data := ""
	if len(s.options.TimestampCertificates) > 0 {
		data = s.x509Data(s.options.TimestampCertificates)
	}
	return "<" + s.prefix + `Object Id="ts-countersig">` + data +
		`<CounterSignature ts-format="cms-timestamp-message" xmlns="` + namespaceTimestamp + `">` +
		base64.StdEncoding.EncodeToString(token) + "</CounterSignature></" + s.prefix + "Object>"
}

func (s *signing) element(name, content string) string {
	return "<" + s.prefix + name + ">" + content + "</" + s.prefix + name + ">"
}

func (s *signing) empty(name, algorithm string) string {
	return "<" + s.prefix + name + ` Algorithm="` + algorithm + `"/>`
}

func escape(text string) string {
	var b strings.Builder
	// A strings.Builder returns no error.
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
