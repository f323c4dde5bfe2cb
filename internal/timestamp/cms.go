package timestamp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Object identifiers of RFC 5652 (CMS), RFC 3161 (TSP), RFC 2634 and RFC 5035 (ESS).
var (
	oidSignedData           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

// maxTokenCertificates bounds the certificates of one token together with those handed in beside it.
const maxTokenCertificates = 12

type contentInfo struct {
	ContentType asn1.ObjectIdentifier
	Content     asn1.RawValue `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version          int
	DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
	Encapsulated     struct {
		ContentType asn1.ObjectIdentifier
		Content     []byte `asn1:"explicit,tag:0"`
	}
	Certificates asn1.RawValue `asn1:"optional,tag:0"`
	CRLs         asn1.RawValue `asn1:"optional,tag:1"`
	SignerInfos  []signerInfo  `asn1:"set"`
}

type signerInfo struct {
	Version            int
	SignerID           asn1.RawValue
	DigestAlgorithm    pkix.AlgorithmIdentifier
	SignedAttributes   asn1.RawValue `asn1:"tag:0"`
	SignatureAlgorithm pkix.AlgorithmIdentifier
	Signature          []byte
	UnsignedAttributes asn1.RawValue `asn1:"optional,tag:1"`
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values asn1.RawValue `asn1:"set"`
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type tstInfo struct {
	Version int
	Policy  asn1.ObjectIdentifier
	Imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Hashed    []byte
	}
	Serial     *big.Int
	Time       asn1.RawValue
	Accuracy   accuracy      `asn1:"optional"`
	Ordering   bool          `asn1:"optional"`
	Nonce      *big.Int      `asn1:"optional"`
	Authority  asn1.RawValue `asn1:"optional,tag:0"`
	Extensions asn1.RawValue `asn1:"optional,tag:1"`
}

// accuracy is read only because it stands between fields that matter.
type accuracy struct {
	Seconds int `asn1:"optional"`
	Millis  int `asn1:"optional,tag:0"`
	Micros  int `asn1:"optional,tag:1"`
}

// parsed is a token whose structure is right. Nothing in it is verified.
type parsed struct {
	content      []byte
	info         tstInfo
	time         time.Time
	certificates []*x509.Certificate
	signer       signerInfo
	attributes   map[string][]byte // by dotted type: the one value
}

func parse(token []byte) (*parsed, error) {
	der, err := ToDER(token)
	if err != nil {
		return nil, err
	}
	var outer contentInfo
	if err := unmarshalAll(der, &outer, "ContentInfo"); err != nil {
		return nil, err
	}
	if !outer.ContentType.Equal(oidSignedData) {
		return nil, fmt.Errorf("token: content type %s: not SignedData", outer.ContentType)
	}
	var data signedData
	if err := unmarshalAll(outer.Content.Bytes, &data, "SignedData"); err != nil {
		return nil, err
	}
	if !data.Encapsulated.ContentType.Equal(oidTSTInfo) {
		return nil, fmt.Errorf("token: encapsulated content type %s: not a time-stamp", data.Encapsulated.ContentType)
	}
	if len(data.SignerInfos) != 1 {
		return nil, fmt.Errorf("token: %d signers: want exactly one", len(data.SignerInfos))
	}
	p := &parsed{content: data.Encapsulated.Content, signer: data.SignerInfos[0]}
	if err := unmarshalAll(p.content, &p.info, "TSTInfo"); err != nil {
		return nil, err
	}
	if p.info.Version != 1 {
		return nil, fmt.Errorf("token: TSTInfo version %d: want 1", p.info.Version)
	}
	if p.time, err = generalizedTime(p.info.Time); err != nil {
		return nil, err
	}
	if p.certificates, err = parseCertificates(data.Certificates.Bytes); err != nil {
		return nil, err
	}
	return p, p.parseAttributes()
}

// generalizedTime reads genTime: UTC with "Z" and an optional fraction (RFC 3161, section 2.4.2).
func generalizedTime(raw asn1.RawValue) (time.Time, error) {
	const layout = "20060102150405Z" // time.Parse takes a fraction behind the seconds by itself
	text := string(raw.Bytes)
	if raw.Class != asn1.ClassUniversal || raw.Tag != asn1.TagGeneralizedTime || raw.IsCompound || len(text) > 32 || bytes.IndexByte(raw.Bytes, ',') >= 0 {
		return time.Time{}, errors.New("token: genTime: not a GeneralizedTime")
	}
	moment, err := time.Parse(layout, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("token: genTime: %w", err)
	}
	return moment.UTC(), nil
}

func parseCertificates(raw []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for rest := raw; len(rest) > 0; {
		if len(certificates) == maxTokenCertificates {
			return nil, fmt.Errorf("token: certificates: more than %d", maxTokenCertificates)
		}
		var one asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &one); err != nil {
			return nil, fmt.Errorf("token: certificates: %w", err)
		}
		if one.Class != asn1.ClassUniversal {
			continue // attribute certificates and other kinds (RFC 5652, section 10.2.2) prove nothing here
		}
		certificate, err := x509.ParseCertificate(one.FullBytes)
		if err != nil {
			return nil, fmt.Errorf("token: certificate %d: %w", len(certificates)+1, err)
		}
		certificates = append(certificates, certificate)
	}
	return certificates, nil
}

// parseAttributes reads the signed attributes. Each type may stand once, with one value (RFC 5652,
// section 5.3, and RFC 5035, section 3).
func (p *parsed) parseAttributes() error {
	p.attributes = map[string][]byte{}
	for rest := p.signer.SignedAttributes.Bytes; len(rest) > 0; {
		var one attribute
		var err error
		if rest, err = asn1.Unmarshal(rest, &one); err != nil {
			return fmt.Errorf("token: signed attributes: %w", err)
		}
		if one.Values.Class != asn1.ClassUniversal || one.Values.Tag != asn1.TagSet {
			return fmt.Errorf("token: signed attribute %s: values are no set", one.Type)
		}
		key := one.Type.String()
		if _, repeated := p.attributes[key]; repeated {
			return fmt.Errorf("token: signed attribute %s: repeated", key)
		}
		p.attributes[key] = one.Values.Bytes
	}
	return nil
}

func (p *parsed) attribute(oid asn1.ObjectIdentifier, target any) (found bool, err error) {
	value, ok := p.attributes[oid.String()]
	if !ok {
		return false, nil
	}
	return true, unmarshalAll(value, target, "signed attribute "+oid.String())
}

// hashOf maps a digest algorithm to a hash of the profile. SHA-1 and MD5 are not known here.
func hashOf(algorithm pkix.AlgorithmIdentifier) (crypto.Hash, error) {
	for hash, oid := range map[crypto.Hash]asn1.ObjectIdentifier{
		crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
		crypto.SHA384: {2, 16, 840, 1, 101, 3, 4, 2, 2},
		crypto.SHA512: {2, 16, 840, 1, 101, 3, 4, 2, 3},
	} {
		if oid.Equal(algorithm.Algorithm) {
			return hash, nil
		}
	}
	return 0, fmt.Errorf("digest algorithm %s: want SHA-256, SHA-384 or SHA-512", algorithm.Algorithm)
}

func unmarshalAll(der []byte, target any, what string) error {
	rest, err := asn1.Unmarshal(der, target)
	if err != nil {
		return fmt.Errorf("token: %s: %w", what, err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("token: %s: %d bytes behind the value", what, len(rest))
	}
	return nil
}
