package publish

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/internal/xmlsig"
)

// MaxPEMBytes bounds files with keys or certificates: five certificates of 8 KiB, in base64, with room for what openssl
// writes as text between them.
const MaxPEMBytes = 256 << 10

// ParseKey reads the one private key of a PEM file: PKCS#8, PKCS#1 (RSA) or SEC 1 (EC). Certificates and EC parameters
// beside it are passed over. Encrypted keys are refused, since a passphrase would end up in a script.
func ParseKey(content []byte) (crypto.Signer, error) {
	var key crypto.Signer
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, errors.New("key: encrypted: decrypt it into a protected file, or keep it in a token and use a signing command")
		case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
			continue
		case key != nil:
			return nil, errors.New("key: more than one private key")
		}
		parsed, err := parsePrivateKey(block)
		if err != nil {
			return nil, err
		}
		key = parsed
	}
	if key == nil {
		return nil, errors.New("key: no private key in PEM")
	}
	return key, nil
}

func parsePrivateKey(block *pem.Block) (crypto.Signer, error) {
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("key: PEM block %q: want PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return signerOf(parsed)
}

func signerOf(parsed any) (crypto.Signer, error) {
	switch key := parsed.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return key, nil
	default:
		return nil, fmt.Errorf("key: type %T: want RSA or ECDSA", parsed)
	}
}

// ParseCertificates reads the certificates of a PEM file in their order. Text between them is passed over, as openssl
// writes it; other blocks are not, since a private key in a file of certificates is a slip worth knowing of.
func ParseCertificates(content []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	for rest := content; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("certificates: PEM block %q: want CERTIFICATE only", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificates: certificate %d: %w", len(certificates)+1, err)
		}
		certificates = append(certificates, c)
	}
	if len(certificates) == 0 {
		return nil, errors.New("certificates: none in PEM")
	}
	if strings.Count(string(content), "-----BEGIN CERTIFICATE-----") != len(certificates) {
		// pem.Decode passes over damaged blocks; a chain with a hole is refused everywhere but here.
		return nil, errors.New("certificates: a block is damaged")
	}
	return certificates, nil
}

// SigningCertificates returns the certificates that go into a document, and the public key to sign with: that of the
// only certificate that is no authority.
func SigningCertificates(content []byte) ([]*x509.Certificate, crypto.PublicKey, error) {
	certificates, err := ParseCertificates(content)
	if err != nil {
		return nil, nil, err
	}
	public, err := signersKey(certificates)
	if err != nil {
		return nil, nil, err
	}
	return certificates, public, nil
}

// signersKey returns the key of the only certificate that is no authority.
func signersKey(certificates []*x509.Certificate) (crypto.PublicKey, error) {
	if len(certificates) > xmlsig.MaxCertificates {
		return nil, fmt.Errorf("certificates: %d: at most %d fit into a document", len(certificates), xmlsig.MaxCertificates)
	}
	var public crypto.PublicKey
	for _, c := range certificates {
		switch {
		case c.BasicConstraintsValid && c.IsCA:
		case public != nil:
			return nil, fmt.Errorf("certificates: %q: a second certificate that is no authority", c.Subject)
		default:
			public = c.PublicKey
		}
	}
	if public == nil {
		return nil, errors.New("certificates: none but of authorities: the signing certificate is missing")
	}
	return public, nil
}

// OwnChainPolicy is the policy under which a document can be verified when nothing else is known: its own topmost
// certificate is the root. It shows that a document is whole, not that anybody trusts it.
func OwnChainPolicy(certificates []*x509.Certificate) (xmlsig.Policy, error) {
	for _, c := range slices.Backward(certificates) {
		if c.BasicConstraintsValid && c.IsCA {
			return xmlsig.Policy{Roots: []*x509.Certificate{c}}, nil
		}
	}
	return xmlsig.Policy{}, errors.New("certificates: none of an authority: add the issuing one, or name a trust policy")
}
