package pki_test

import (
	"bytes"
	"crypto/x509"
	"testing"
	"time"

	"mitigation.dev/ems/test/pki"
)

func TestTheFixtureChains(t *testing.T) {
	now := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	p, err := pki.New(now)
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := pki.NewFixed(now)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		leaf, issuing, root *pki.Identity
		usage               x509.ExtKeyUsage
	}{
		"RSA leaf":                {p.RSA, p.Issuing, p.Root, x509.ExtKeyUsageCodeSigning},
		"ECDSA leaf":              {p.ECDSA, p.Issuing, p.Root, x509.ExtKeyUsageCodeSigning},
		"time-stamping authority": {p.TSA, nil, p.TSARoot, x509.ExtKeyUsageTimeStamping},
		"leaf of fixed keys":      {fixed.ECDSA, fixed.Issuing, fixed.Root, x509.ExtKeyUsageCodeSigning},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{tc.usage}}
			options.Roots.AddCert(tc.root.Certificate)
			if tc.issuing != nil {
				options.Intermediates.AddCert(tc.issuing.Certificate)
			}
			if _, err := tc.leaf.Certificate.Verify(options); err != nil {
				t.Fatal(err)
			}
		})
	}
	again, err := pki.NewFixed(now)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Root.Certificate.RawSubjectPublicKeyInfo, fixed.Root.Certificate.RawSubjectPublicKeyInfo) {
		t.Error("fixed keys differ from call to call")
	}
	if len(p.RSA.Chain()) != 2 || len(p.Root.Chain()) != 1 {
		t.Errorf("chains of %d and %d, want 2 (without the root) and 1", len(p.RSA.Chain()), len(p.Root.Chain()))
	}
}
