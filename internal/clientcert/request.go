package clientcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// MaxRequest is the size of the largest request that is read. One of ours has 700 bytes; a name of 253 characters and three
	// groups add less than 1 KiB, and RSA keys are not taken.
	MaxRequest = 8 << 10
	blockType  = "CERTIFICATE REQUEST"
)

// NewRequest makes the request of a server, in PEM.
func NewRequest(s Subject, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: s.User(), Organization: s.Groups()},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}), nil
}

// Parse reads a request in PEM: one block, signed by the key that it is for, and nothing beside it.
func Parse(content []byte) (*x509.CertificateRequest, error) {
	if len(content) > MaxRequest {
		return nil, fmt.Errorf("certificate request: %d bytes: want at most %d", len(content), MaxRequest)
	}
	block, rest := pem.Decode(content)
	switch {
	case block == nil:
		return nil, errors.New("certificate request: not in PEM")
	case block.Type != blockType:
		return nil, fmt.Errorf("certificate request: PEM block %.40q: want %q", block.Type, blockType)
	case len(block.Headers) > 0:
		return nil, errors.New("certificate request: PEM block with headers: want none")
	case len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(bytes.TrimSpace(content), []byte("-----BEGIN ")):
		return nil, errors.New("certificate request: something beside the PEM block: want nothing")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: signature: %w", err)
	}
	return request, nil
}

// Check reports everything about a request that is not as the subject's has to be.
func Check(request *x509.CertificateRequest, s Subject) error {
	var problems []error
	if request.Subject.CommonName != s.User() {
		problems = append(problems, fmt.Errorf("common name: %.300q: want %q", request.Subject.CommonName, s.User()))
	}
	groups, want := slices.Sorted(slices.Values(request.Subject.Organization)), s.Groups()
	slices.Sort(want)
	if !slices.Equal(groups, want) {
		problems = append(problems, fmt.Errorf("organizations: %.600q: want %q", groups, want))
	}
	if n := len(request.Subject.Names); n != 1+len(want) {
		problems = append(problems, fmt.Errorf("subject: %d attributes: want one common name and %d organizations", n, len(want)))
	}
	if len(request.DNSNames)+len(request.IPAddresses)+len(request.URIs)+len(request.EmailAddresses) > 0 {
		problems = append(problems, errors.New("alternative names: want none"))
	}
	if len(request.Extensions) > 0 {
		problems = append(problems, fmt.Errorf("extensions: %d: want none", len(request.Extensions)))
	} else if err := checkAttributes(request.RawTBSCertificateRequest); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, checkKey(request.PublicKey))
	return errors.Join(problems...)
}

func checkKey(key any) error {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("key: %s: want one on P-256 or P-384", strings.TrimPrefix(fmt.Sprintf("%T", key), "*"))
	}
	if public.Curve != elliptic.P256() && public.Curve != elliptic.P384() {
		return fmt.Errorf("key: on %s: want one on P-256 or P-384", public.Curve.Params().Name)
	}
	return nil
}

// checkAttributes refuses attributes that package x509 passes over, such as a challenge password (RFC 2986, section 4.1).
func checkAttributes(tbs []byte) error {
	var content struct {
		Raw           asn1.RawContent
		Version       int
		Subject       asn1.RawValue
		PublicKey     asn1.RawValue
		RawAttributes []asn1.RawValue `asn1:"tag:0"`
	}
	if _, err := asn1.Unmarshal(tbs, &content); err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	if len(content.RawAttributes) > 0 {
		return fmt.Errorf("attributes: %d: want none", len(content.RawAttributes))
	}
	return nil
}
