package publish

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// SignCommandTimeout bounds one run of a signing command. A person may have to touch a token or enter a PIN.
	SignCommandTimeout = 2 * time.Minute
	// maxSignatureOutput bounds what a signing command prints. The largest signature of the profile has 1,024 bytes.
	maxSignatureOutput = 8 << 10
	// signAlgorithmVariable tells a signing command what to make.
	signAlgorithmVariable = "EMS_SIGN_ALGORITHM"
)

// Values of the environment variable EMS_SIGN_ALGORITHM.
const (
	algorithmRSA   = "rsa-pkcs1-sha256"
	algorithmECDSA = "ecdsa-p256-sha256"
)

// CommandSigner signs by running a program, for keys that cannot be read: in an HSM, a smart card, a key service.
//
// The contract: the program gets the SHA-256 digest to sign on its standard input, 32 bytes as they are, and in
// EMS_SIGN_ALGORITHM either "rsa-pkcs1-sha256" or "ecdsa-p256-sha256". It prints the signature on its standard output,
// bytes as they are with nothing before or behind them, and exits with 0. RSA: PKCS#1 v1.5 with the DigestInfo of
// SHA-256 (RFC 8017, section 8.2), as long as the modulus. ECDSA: either the DER SEQUENCE of r and s that openssl makes,
// or the 64 bytes r||s that PKCS#11 makes. Its standard error is passed on. It is given two minutes.
type CommandSigner struct {
	public crypto.PublicKey
	run    func(digest []byte, algorithm string) ([]byte, error)
}

var _ crypto.Signer = (*CommandSigner)(nil)

// NewCommandSigner makes a signer of a command line: a program and its arguments, separated by white space. No shell
// reads it, so there are no quotes and no variables; whoever needs them names a script.
func NewCommandSigner(ctx context.Context, command string, public crypto.PublicKey, stderr io.Writer) (*CommandSigner, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return nil, errors.New("signing command: empty")
	}
	return &CommandSigner{public: public, run: func(digest []byte, algorithm string) ([]byte, error) {
		limited, cancel := context.WithTimeout(ctx, SignCommandTimeout)
		defer cancel()
		process := exec.CommandContext(limited, words[0], words[1:]...)
		process.Stdin = bytes.NewReader(digest)
		output := &boundedBuffer{limit: maxSignatureOutput}
		process.Stdout, process.Stderr = output, stderr
		process.Env = append(os.Environ(), signAlgorithmVariable+"="+algorithm)
		// A grandchild that keeps the pipe open must not keep us.
		process.WaitDelay = time.Second
		if err := process.Run(); err != nil {
			err = cmp.Or(output.err, limited.Err(), err)
			return nil, fmt.Errorf("signing command: %q: %w", words[0], err)
		}
		return output.content, nil
	}}, nil
}

// Public implements crypto.Signer.
func (s *CommandSigner) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer for SHA-256. The result is checked before it is used, so that a token with another key is
// noticed here and named as such. An ECDSA signature comes back in DER, as the interface wants it.
func (s *CommandSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, fmt.Errorf("signing command: digest %s of %d bytes: only SHA-256 is made", opts.HashFunc(), len(digest))
	}
	switch public := s.public.(type) {
	case *rsa.PublicKey:
		signature, err := s.run(digest, algorithmRSA)
		if err != nil {
			return nil, err
		}
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature); err != nil {
			return nil, fmt.Errorf("signing command: %d bytes that are no PKCS#1 v1.5 signature of the certificate's key: %w", len(signature), err)
		}
		return signature, nil
	case *ecdsa.PublicKey:
		signature, err := s.run(digest, algorithmECDSA)
		if err != nil {
			return nil, err
		}
		return ecdsaInDER(public, digest, signature)
	default:
		return nil, fmt.Errorf("signing command: key of type %T: want RSA or ECDSA", s.public)
	}
}

// ecdsaInDER lets the key decide which of the two forms it is: r||s may happen to begin like DER.
func ecdsaInDER(public *ecdsa.PublicKey, digest, signature []byte) ([]byte, error) {
	if ecdsa.VerifyASN1(public, digest, signature) {
		return signature, nil
	}
	if len(signature) == 64 {
		pair := struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])}
		der, err := asn1.Marshal(pair)
		if err != nil {
			return nil, fmt.Errorf("signing command: %w", err)
		}
		if ecdsa.VerifyASN1(public, digest, der) {
			return der, nil
		}
	}
	return nil, fmt.Errorf("signing command: %d bytes that are no ECDSA signature of the certificate's key, neither DER nor r||s", len(signature))
}

// boundedBuffer fails a program that prints without end. It does not embed a bytes.Buffer: io.Copy would find its ReadFrom
// and go past Write.
type boundedBuffer struct {
	content []byte
	limit   int
	// err is the refusal of a Write. The program that it ends reports a broken pipe, which says less.
	err error
}

// Write implements io.Writer.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if len(b.content)+len(p) > b.limit {
		b.err = fmt.Errorf("more than %d bytes of output", b.limit)
		return 0, b.err
	}
	b.content = append(b.content, p...)
	return len(p), nil
}
