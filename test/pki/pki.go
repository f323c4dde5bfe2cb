package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// PrivateUsage is an extended key usage for policies that demand more than codeSigning. It stands under the
// enterprise number that RFC 5612 reserves for documentation.
var PrivateUsage = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1, 1}

// KeyType is a kind of key.
type KeyType string

// The kinds of keys. RSA1024 is there to be refused.
const (
	RSA2048   KeyType = "RSA-2048"
	RSA1024   KeyType = "RSA-1024"
	ECDSAP256 KeyType = "ECDSA P-256"
	ECDSAP384 KeyType = "ECDSA P-384"
)

// Identity is a certificate with its key and the identity that issued it (nil for a root).
type Identity struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	Issuer      *Identity
}

// PKI is the usual fixture.
type PKI struct {
	// Root signs Issuing, which signs the code-signing leaves RSA and ECDSA.
	Root, Issuing, RSA, ECDSA *Identity
	// TSARoot signs TSA, the time-stamping authority.
	TSARoot, TSA *Identity
}

// New makes the fixture. Authorities are valid from ten years before now to ten years after, leaves from one
// year before to one year after; the time-stamping authority as long as its root.
func New(now time.Time) (*PKI, error) {
	p, err := fixture(now, func(byte) (crypto.Signer, error) { return newKey(ECDSAP256) })
	if err != nil {
		return nil, err
	}
	year := Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))
	p.RSA, err = p.Issuing.Issue("Example Mitigation Signing RSA", Key(RSA2048), year)
	return p, err
}

// NewFixed makes the fixture with the same keys in every process, and without RSA. Fuzzing needs it: the engine
// hands inputs that one process signed to others, and with keys of their own those would refuse each of
// them before anything interesting happens.
func NewFixed(now time.Time) (*PKI, error) {
	return fixture(now, func(number byte) (crypto.Signer, error) {
		return ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{number}, 32))
	})
}

func fixture(now time.Time, key func(number byte) (crypto.Signer, error)) (*PKI, error) {
	p := &PKI{}
	decade := Validity(now.AddDate(-10, 0, 0), now.AddDate(10, 0, 0))
	year := Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0))
	for i, step := range []struct {
		target, issuer **Identity
		name           string
		options        []Option
	}{
		{&p.Root, nil, "Example Root CA", []Option{Authority(), decade}},
		{&p.Issuing, &p.Root, "Example Code Signing CA", []Option{Authority(), decade}},
		{&p.ECDSA, &p.Issuing, "Example Mitigation Signing", []Option{year}},
		{&p.TSARoot, nil, "Example Time-Stamping Root CA", []Option{Authority(), decade}},
		{&p.TSA, &p.TSARoot, "Example Time-Stamping Authority", []Option{TimeStamping(), decade}},
	} {
		made, err := key(byte(i + 1))
		if err != nil {
			return nil, fmt.Errorf("pki: %s: %w", step.name, err)
		}
		var issuer *Identity
		if step.issuer != nil {
			issuer = *step.issuer
		}
		if *step.target, err = issue(issuer, step.name, append(step.options, ExistingKey(made))); err != nil {
			return nil, err
		}
	}
	return p, nil
}

type request struct {
	template x509.Certificate
	keyType  KeyType
	key      crypto.Signer
}

// Option changes a certificate before it is issued.
type Option func(*request)

// Key chooses the kind of key; ECDSA P-256 without it.
func Key(kind KeyType) Option { return func(r *request) { r.keyType = kind } }

// ExistingKey takes a key instead of making one, for certificates that share theirs.
func ExistingKey(key crypto.Signer) Option { return func(r *request) { r.key = key } }

// Validity sets the first and last moment.
func Validity(from, to time.Time) Option {
	return func(r *request) { r.template.NotBefore, r.template.NotAfter = from, to }
}

// Organization sets O, "Contoso" without it. Several names make a subject that says two things.
func Organization(names ...string) Option {
	return func(r *request) { r.template.Subject.Organization = names }
}

// Usages replaces the extended key usages (codeSigning and PrivateUsage without it). None: no such extension.
func Usages(usages ...asn1.ObjectIdentifier) Option {
	return func(r *request) { r.template.ExtKeyUsage, r.template.UnknownExtKeyUsage = nil, usages }
}

// AnyUsage replaces the extended key usages by anyExtendedKeyUsage.
func AnyUsage() Option {
	return func(r *request) {
		r.template.ExtKeyUsage, r.template.UnknownExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, nil
	}
}

// KeyUsage replaces the key usage. Zero: no such extension.
func KeyUsage(usage x509.KeyUsage) Option { return func(r *request) { r.template.KeyUsage = usage } }

// TimeStamping makes the certificate that of a time-stamping authority.
func TimeStamping() Option {
	return func(r *request) {
		// RFC 3161, section 2.3 wants the extension critical, which the template's fields cannot say.
		value, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
		if err == nil {
			r.template.ExtKeyUsage, r.template.UnknownExtKeyUsage = nil, nil
			r.template.ExtraExtensions = append(r.template.ExtraExtensions,
				pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: value})
		}
	}
}

// Authority makes the certificate that of a certification authority.
func Authority() Option {
	return func(r *request) {
		r.template.IsCA = true
		r.template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
		r.template.ExtKeyUsage, r.template.UnknownExtKeyUsage = nil, nil
	}
}

// NewRoot makes a self-signed certificate.
func NewRoot(name string, options ...Option) (*Identity, error) {
	return issue(nil, name, options)
}

// Issue makes a certificate signed by a.
func (a *Identity) Issue(name string, options ...Option) (*Identity, error) {
	return issue(a, name, options)
}

func issue(issuer *Identity, name string, options []Option) (*Identity, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("pki: serial number: %w", err)
	}
	now := time.Now()
	r := &request{keyType: ECDSAP256, template: x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Contoso"}, CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{PrivateUsage},
		BasicConstraintsValid: true,
	}}
	for _, option := range options {
		option(r)
	}
	if r.key == nil {
		if r.key, err = newKey(r.keyType); err != nil {
			return nil, err
		}
	}
	id := &Identity{Key: r.key, Issuer: issuer}
	parent, signer := &r.template, r.key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, &r.template, parent, r.key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("pki: certificate %q: %w", name, err)
	}
	if id.Certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("pki: certificate %q: %w", name, err)
	}
	return id, nil
}

func newKey(kind KeyType) (crypto.Signer, error) {
	switch kind {
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		return nil, fmt.Errorf("pki: key type %q: unknown", kind)
	}
}

// Chain returns the certificates from this one up to, but without, the root.
func (a *Identity) Chain() []*x509.Certificate {
	var chain []*x509.Certificate
	for ; a != nil && (a.Issuer != nil || len(chain) == 0); a = a.Issuer {
		chain = append(chain, a.Certificate)
	}
	return chain
}

// PEM returns the certificate in PEM.
func (a *Identity) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// RevocationList makes a list signed by a that names the given certificates, revoked at thisUpdate.
func (a *Identity) RevocationList(thisUpdate, nextUpdate time.Time, revoked ...*Identity) (*x509.RevocationList, error) {
	template := &x509.RevocationList{Number: big.NewInt(thisUpdate.Unix()), ThisUpdate: thisUpdate, NextUpdate: nextUpdate}
	for _, id := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: id.Certificate.SerialNumber, RevocationTime: thisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Certificate, a.Key)
	if err != nil {
		return nil, fmt.Errorf("pki: revocation list: %w", err)
	}
	return x509.ParseRevocationList(der)
}
