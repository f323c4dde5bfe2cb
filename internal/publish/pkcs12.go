package publish

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"
)

const (
	// MaxPKCS12Bytes bounds a PKCS#12 file: a key and five certificates of 8 KiB, with room for their wrappings.
	MaxPKCS12Bytes = 64 << 10
	// MaxPasswordBytes bounds a file with a password, so that another file named by mistake is noticed.
	MaxPasswordBytes = 1 << 10
)

// ErrPassword means that a password does not open a PKCS#12 file.
var ErrPassword = errors.New("the password does not fit, or the file is damaged")

// ParsePKCS12 reads the one private key of a PKCS#12 file (RFC 7292; .p12 or .pfx) and its certificates, the signing one
// first. All encryptions that openssl and Windows write are read, the old ones with RC2 and 3DES among them. The key has to
// belong to the only certificate that is no authority.
func ParsePKCS12(content []byte, password string) (crypto.Signer, []*x509.Certificate, error) {
	if len(content) > MaxPKCS12Bytes {
		return nil, nil, fmt.Errorf("PKCS#12: %d bytes: at most %d", len(content), MaxPKCS12Bytes)
	}
	if bytes.HasPrefix(bytes.TrimSpace(content), []byte("-----BEGIN ")) {
		return nil, nil, errors.New("PKCS#12: the file is PEM: give it with --key and --certs")
	}
	private, first, others, err := pkcs12.DecodeChain(content, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, nil, fmt.Errorf("PKCS#12: %w", ErrPassword)
	case err != nil:
		return nil, nil, fmt.Errorf("PKCS#12: %w", err)
	}
	key, err := signerOf(private)
	if err != nil {
		return nil, nil, fmt.Errorf("PKCS#12: %w", err)
	}
	certificates := append([]*x509.Certificate{first}, others...)
	public, err := signersKey(certificates)
	if err != nil {
		return nil, nil, fmt.Errorf("PKCS#12: %w", err)
	}
	if signers, ok := public.(interface {
		Equal(other crypto.PublicKey) bool
	}); !ok || !signers.Equal(key.Public()) {
		return nil, nil, errors.New("PKCS#12: the private key does not belong to the signing certificate")
	}
	// The order of a file is that of the program that wrote it; the document is the same whichever it was.
	for i, c := range certificates {
		if !c.BasicConstraintsValid || !c.IsCA {
			certificates[0], certificates[i] = certificates[i], certificates[0]
			break
		}
	}
	return key, certificates, nil
}

// ParsePassword reads a password from the content of a file: its first line, without the line end. A second line is a sign of
// another file.
func ParsePassword(content []byte) (string, error) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	if len(content) > MaxPasswordBytes || bytes.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("password file: want one line of at most %d bytes", MaxPasswordBytes)
	}
	return string(line), nil
}
