package publish

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"io"
	"math/big"
	"os/exec"
	"testing"

	"mitigation.dev/ems/test/pki"
)

func TestSignaturesOfACommandAreChecked(t *testing.T) {
	p := testKeys(t)
	honest := func(id *pki.Identity) func([]byte, string) ([]byte, error) {
		return func(digest []byte, _ string) ([]byte, error) { return id.Key.Sign(rand.Reader, digest, crypto.SHA256) }
	}
	plain := func(digest []byte, _ string) ([]byte, error) {
		der, err := p.ECDSA.Key.Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		var pair struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &pair); err != nil {
			return nil, err
		}
		return append(pair.R.FillBytes(make([]byte, 32)), pair.S.FillBytes(make([]byte, 32))...), nil
	}
	hashedAgain := func(digest []byte, _ string) ([]byte, error) {
		again := sha256.Sum256(digest)
		return p.ECDSA.Key.Sign(rand.Reader, again[:], crypto.SHA256)
	}
	for name, tc := range map[string]struct {
		public    crypto.PublicKey
		run       func([]byte, string) ([]byte, error)
		wantError []string
	}{
		"RSA":                         {public: p.RSA.Key.Public(), run: honest(p.RSA)},
		"ECDSA in DER":                {public: p.ECDSA.Key.Public(), run: honest(p.ECDSA)},
		"ECDSA as r||s":               {public: p.ECDSA.Key.Public(), run: plain},
		"a digest that was hashed":    {public: p.ECDSA.Key.Public(), run: hashedAgain, wantError: []string{"no ECDSA signature of the certificate's key"}},
		"a key of another kind":       {public: p.RSA.Key.Public(), run: honest(p.ECDSA), wantError: []string{"no PKCS#1 v1.5 signature"}},
		"an answer of 64 other bytes": {public: p.ECDSA.Key.Public(), run: func([]byte, string) ([]byte, error) { return make([]byte, 64), nil }, wantError: []string{"64 bytes"}},
		"a key that cannot be used":   {public: "none", run: honest(p.RSA), wantError: []string{"want RSA or ECDSA"}},
	} {
		t.Run(name, func(t *testing.T) {
			signer := &CommandSigner{public: tc.public, run: tc.run}
			digest := sha256.Sum256([]byte("x"))
			signature, err := signer.Sign(nil, digest[:], crypto.SHA256)
			expectError(t, err, tc.wantError...)
			if key, ok := tc.public.(*ecdsa.PublicKey); ok && err == nil && !ecdsa.VerifyASN1(key, digest[:], signature) {
				t.Error("the signature is not in DER")
			}
		})
	}
	t.Run("another digest", func(t *testing.T) {
		_, err := (&CommandSigner{public: p.RSA.Key.Public(), run: honest(p.RSA)}).Sign(nil, make([]byte, 48), crypto.SHA384)
		expectError(t, err, "only SHA-256 is made")
	})
}

func TestSignCommandRunsAProgram(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not on PATH")
	}
	p, folder := testKeys(t), t.TempDir()
	rsaKey, ecKey := writeFile(t, folder, "rsa.key", privateKeyPEM(t, p.RSA)), writeFile(t, folder, "ec.key", privateKeyPEM(t, p.ECDSA))
	script := writeFile(t, folder, "sign.sh", []byte(`test "$EMS_SIGN_ALGORITHM" = ecdsa-p256-sha256 && exec openssl pkeyutl -sign -inkey "$1"`))
	for name, tc := range map[string]struct {
		command   string
		signer    *pki.Identity
		wantError []string
	}{
		"RSA by openssl":                     {command: openssl + " pkeyutl -sign -pkeyopt digest:sha256 -inkey " + rsaKey, signer: p.RSA},
		"ECDSA by openssl":                   {command: openssl + " pkeyutl -sign -inkey " + ecKey, signer: p.ECDSA},
		"the algorithm is told to a script":  {command: "sh " + script + " " + ecKey, signer: p.ECDSA},
		"a program that fails":               {command: "sh -c false", signer: p.RSA, wantError: []string{`signing command: "sh"`, "exit status 1"}},
		"a program that is not there":        {command: "./no-such-program", signer: p.RSA, wantError: []string{"no-such-program"}},
		"a program that prints without end":  {command: "yes", signer: p.RSA, wantError: []string{`signing command: "yes"`, "more than 8192 bytes of output"}},
		"a program that prints nothing":      {command: "true", signer: p.RSA, wantError: []string{"0 bytes that are no PKCS#1"}},
		"a command line without any program": {command: "  ", signer: p.RSA, wantError: []string{"signing command: empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := NewCommandSigner(t.Context(), tc.command, tc.signer.Key.Public(), io.Discard)
			if err != nil {
				expectError(t, err, tc.wantError...)
				return
			}
			r := request(t, tc.signer)
			r.Key = signer
			document, _, err := Sign(r)
			expectError(t, err, tc.wantError...)
			if (document == nil) != (len(tc.wantError) > 0) {
				t.Errorf("document = %d bytes", len(document))
			}
		})
	}
}

func TestOutputOfACommandIsBounded(t *testing.T) {
	b := &boundedBuffer{limit: 4}
	if _, err := b.Write([]byte("1234")); err != nil {
		t.Error(err)
	}
	if _, err := b.Write([]byte("5")); err == nil || !bytes.Equal(b.content, []byte("1234")) {
		t.Errorf("error %v, buffer %q", err, b.content)
	}
}
