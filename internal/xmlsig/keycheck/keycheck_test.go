package keycheck_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
	"testing"

	"mitigation.dev/ems/internal/xmlsig/keycheck"
)

func TestCheck(t *testing.T) {
	rsaKey := func(bits uint) crypto.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}
	}
	cases := map[string]struct {
		key        crypto.PublicKey
		wantRefuse bool
	}{
		"RSA just too short":         {rsaKey(2047), true},
		"RSA of the smallest size":   {rsaKey(2048), false},
		"RSA of the largest size":    {rsaKey(8192), false},
		"RSA just too long":          {rsaKey(8193), true},
		"ECDSA on P-224":             {&ecdsa.PublicKey{Curve: elliptic.P224()}, true},
		"ECDSA on P-256":             {&ecdsa.PublicKey{Curve: elliptic.P256()}, false},
		"ECDSA on P-521":             {&ecdsa.PublicKey{Curve: elliptic.P521()}, false},
		"Ed25519, not in the format": {ed25519.PublicKey{}, true},
		"no key":                     {nil, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := keycheck.Check(tc.key); (err != nil) != tc.wantRefuse {
				t.Fatalf("Check: %v, want refusal: %t", err, tc.wantRefuse)
			}
		})
	}
}
