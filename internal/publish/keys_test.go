package publish

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"testing"
)

func TestParseKey(t *testing.T) {
	p := testKeys(t)
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	ec, err := x509.MarshalECPrivateKey(p.ECDSA.Key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	ed, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		content   []byte
		wantError []string
	}{
		"PKCS#8 with RSA":         {content: privateKeyPEM(t, p.RSA)},
		"PKCS#8 with EC":          {content: privateKeyPEM(t, p.ECDSA)},
		"PKCS#1":                  {content: block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(p.RSA.Key.(*rsa.PrivateKey)))},
		"SEC 1 behind parameters": {content: slices.Concat(block("EC PARAMETERS", []byte{6, 0}), block("EC PRIVATE KEY", ec))},
		"an encrypted key": {
			content: block("ENCRYPTED PRIVATE KEY", []byte{1}), wantError: []string{"encrypted"},
		},
		"an encrypted key of the old form": {
			content:   pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte{1}}),
			wantError: []string{"encrypted"},
		},
		"two keys":              {content: slices.Concat(privateKeyPEM(t, p.RSA), privateKeyPEM(t, p.ECDSA)), wantError: []string{"more than one private key"}},
		"a certificate only":    {content: p.RSA.PEM(), wantError: []string{"no private key in PEM"}},
		"a key of another kind": {content: block("PRIVATE KEY", ed), wantError: []string{"ed25519.PrivateKey", "want RSA or ECDSA"}},
		"a damaged key":         {content: block("PRIVATE KEY", []byte("x")), wantError: []string{"key: "}},
		"an unknown block":      {content: block("DSA PRIVATE KEY", []byte("x")), wantError: []string{`PEM block "DSA PRIVATE KEY"`}},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := ParseKey(tc.content)
			expectError(t, err, tc.wantError...)
			if (key == nil) != (len(tc.wantError) > 0) {
				t.Errorf("key = %T", key)
			}
		})
	}
}

func TestSigningCertificates(t *testing.T) {
	p := testKeys(t)
	damaged := slices.Concat(p.ECDSA.PEM(), bytes.Replace(p.Root.PEM(), []byte("MII"), []byte("!!!"), 1))
	for name, tc := range map[string]struct {
		content   []byte
		want      int
		wantError []string
	}{
		"a chain with text between": {content: slices.Concat([]byte("subject: x\n"), p.ECDSA.PEM(), []byte("\ntext\n"), p.Issuing.PEM()), want: 2},
		"authorities first":         {content: slices.Concat(p.Root.PEM(), p.Issuing.PEM(), p.ECDSA.PEM()), want: 3},
		"authorities only":          {content: p.Issuing.PEM(), wantError: []string{"the signing certificate is missing"}},
		"two leaves":                {content: slices.Concat(p.ECDSA.PEM(), p.RSA.PEM()), wantError: []string{"a second certificate that is no authority"}},
		"a key among them":          {content: slices.Concat(p.ECDSA.PEM(), privateKeyPEM(t, p.ECDSA)), wantError: []string{`PEM block "PRIVATE KEY"`}},
		"a damaged block":           {content: damaged, wantError: []string{"a block is damaged"}},
		"nothing":                   {wantError: []string{"none in PEM"}},
		"more than fit":             {content: bytes.Repeat(p.Issuing.PEM(), 6), wantError: []string{"at most 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			certificates, public, err := SigningCertificates(tc.content)
			expectError(t, err, tc.wantError...)
			if len(certificates) != tc.want {
				t.Errorf("%d certificates, want %d", len(certificates), tc.want)
			}
			if tc.want > 0 && !p.ECDSA.Certificate.PublicKey.(*ecdsa.PublicKey).Equal(public) {
				t.Error("another key than that of the leaf")
			}
		})
	}
}
