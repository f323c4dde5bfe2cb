package trust_test

import (
	"encoding/pem"
	"testing"

	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// FuzzRevocationLists looks for lists that panic, here or in the verification that uses them.
func FuzzRevocationLists(f *testing.F) {
	p, err := pki.NewFixed(now)
	if err != nil {
		f.Fatal(err)
	}
	document, err := xmlsig.Sign([]byte(`<EOCS version="1.1"/>`), xmlsig.SignOptions{Key: p.ECDSA.Key, Certificates: p.ECDSA.Chain()})
	if err != nil {
		f.Fatal(err)
	}
	for _, revoked := range [][]*pki.Identity{nil, {p.ECDSA}, {p.Issuing, p.ECDSA}} {
		for _, issuer := range []*pki.Identity{p.Issuing, p.Root} {
			list, err := issuer.RevocationList(now.AddDate(0, 0, -1), now.AddDate(0, 0, 1), revoked...)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(list.Raw)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		policy := trust.Policy{
			Roots: string(p.Root.PEM()),
			Revocation: &trust.Revocation{
				Mode: xmlsig.RevocationRequire,
				CRLs: string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})),
			},
		}
		compiled, err := policy.Compile()
		if err != nil {
			return
		}
		// One list cannot speak for both certificates below the root.
		if _, err := xmlsig.Verify(document, compiled, now); err == nil {
			t.Fatal("accepted with one list, although every certificate needs one")
		}
	})
}
