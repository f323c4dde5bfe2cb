package publish

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"sync/atomic"
)

// KeyPair is a certificate for TLS and its key in two files, which are read again when they change.
type KeyPair struct {
	certificateFile, keyFile string
	read                     func(file string) ([]byte, error)
	current                  atomic.Pointer[tls.Certificate]
}

// LoadKeyPair reads the files; the caller bounds their size.
func LoadKeyPair(certificateFile, keyFile string, read func(file string) ([]byte, error)) (*KeyPair, error) {
	k := &KeyPair{certificateFile: certificateFile, keyFile: keyFile, read: read}
	if _, err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Reload reads the files again and reports whether they hold another certificate. With an error, as between the replacement
// of one file and of the other, the pair before stays in use.
func (k *KeyPair) Reload() (changed bool, err error) {
	certificate, err := k.read(k.certificateFile)
	if err != nil {
		return false, fmt.Errorf("certificate for TLS: %w", err)
	}
	key, err := k.read(k.keyFile)
	if err != nil {
		return false, fmt.Errorf("key for TLS: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return false, fmt.Errorf("certificate for TLS: %s, %s: %w", k.certificateFile, k.keyFile, err)
	}
	if before := k.current.Load(); before != nil && bytes.Equal(bytes.Join(before.Certificate, nil), bytes.Join(pair.Certificate, nil)) {
		return false, nil
	}
	k.current.Store(&pair)
	return true, nil
}

// config hands out the pair of the moment with every handshake.
func (k *KeyPair) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.current.Load(), nil },
	}
}
