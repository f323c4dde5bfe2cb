package harness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// lifetime of a document: until then it may be newly accepted.
const lifetime = 30 * 24 * time.Hour

// Publisher signs documents as a vendor would, with keys that exist in memory only.
type Publisher struct {
	// PKI holds the keys.
	PKI *pki.PKI

	mu       sync.Mutex
	sequence int64
}

// NewPublisher makes a publisher with new keys.
func NewPublisher() (*Publisher, error) {
	keys, err := pki.New(time.Now())
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return &Publisher{PKI: keys}, nil
}

// Publish makes a signed document of the next sequence. Like those of the real service it is signed with RSA and carries
// the public key, the chain and an RFC 3161 counter-signature.
func (p *Publisher) Publish(configs ...ocs.Config) ([]byte, error) {
	unsigned, err := p.build(configs)
	if err != nil {
		return nil, err
	}
	return p.sign(unsigned)
}

// PublishChanged is Publish with a change of the XML before it is signed, for documents that a careful publisher would not
// make.
func (p *Publisher) PublishChanged(change func([]byte) []byte, configs ...ocs.Config) ([]byte, error) {
	unsigned, err := p.build(configs)
	if err != nil {
		return nil, err
	}
	changed := change(bytes.Clone(unsigned))
	if bytes.Equal(changed, unsigned) {
		return nil, fmt.Errorf("publisher: the change changes nothing in:\n%s", unsigned)
	}
	return p.sign(changed)
}

func (p *Publisher) build(configs []ocs.Config) ([]byte, error) {
	p.mu.Lock()
	p.sequence++
	sequence := p.sequence
	p.mu.Unlock()
	now := time.Now().UTC().Truncate(time.Second)
	unsigned, err := ocs.Build(ocs.Document{
		Publisher: "Contoso", Sequence: sequence, Issued: now, Expires: now.Add(lifetime), Configs: configs,
	})
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return unsigned, nil
}

func (p *Publisher) sign(unsigned []byte) ([]byte, error) {
	signed, err := xmlsig.Sign(unsigned, xmlsig.SignOptions{
		Key: p.PKI.RSA.Key, Certificates: p.PKI.RSA.Chain(), KeyValue: true,
		Timestamper: func(value []byte) ([]byte, error) { return p.PKI.TSA.Timestamp(value, time.Now()) },
	})
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	return signed, nil
}

// Trust is the policy that believes this publisher and nobody else.
func (p *Publisher) Trust() emsv1.TrustPolicy {
	issuer := sha256.Sum256(p.PKI.Issuing.Certificate.RawSubjectPublicKeyInfo)
	return emsv1.TrustPolicy{
		Roots: string(p.PKI.Root.PEM()), TimestampRoots: string(p.PKI.TSARoot.PEM()),
		IssuerPins:        []string{hex.EncodeToString(issuer[:])},
		Subject:           emsv1.CertificateSubject{Organization: "Contoso", CommonName: p.PKI.RSA.Certificate.Subject.CommonName},
		ExtendedKeyUsages: []string{pki.PrivateUsage.String()},
	}
}

// Tamper changes what a signed document says without signing it again.
func Tamper(document []byte) ([]byte, error) {
	tampered := bytes.Replace(document, []byte("powershell"), []byte("p0wershell"), 1)
	if bytes.Equal(tampered, document) {
		return nil, fmt.Errorf("publisher: nothing to tamper with in a document of %d bytes", len(document))
	}
	return tampered, nil
}
