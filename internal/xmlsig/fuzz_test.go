package xmlsig_test

import (
	"crypto/x509"
	"os"
	"testing"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// FuzzVerify looks for a document that is accepted although nobody signed it: what is accepted must have one of
// the canonical forms that were signed here.
func FuzzVerify(f *testing.F) {
	p, err := pki.NewFixed(now) // there is no cheap fixed RSA key: the real document covers that side
	if err != nil {
		f.Fatal(err)
	}
	policy := policyOf(p)
	policy.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}
	var seeds [][]byte
	add := func(document string, change func(*xmlsig.SignOptions)) {
		seeds = append(seeds, sign(f, document, p.ECDSA, change))
	}
	for _, document := range []string{content, contentWithNamespaces} {
		add(document, nil)
		add(document, func(o *xmlsig.SignOptions) {
			o.SignedInfoMethod, o.Transform = xmlsig.InclusiveC14N, new(xmlsig.InclusiveC14N)
		})
		add(document, func(o *xmlsig.SignOptions) {
			o.Transform, o.ReferenceID, o.Prefix = new(xmlsig.ImplicitC14N), true, "ds"
			o.Timestamper = func(value []byte) ([]byte, error) { return p.TSA.Timestamp(value, now) }
		})
	}
	if os.Getenv("EMS_TESTDATA") != "" {
		document := realDocument(f)
		seeds = append(seeds, document)
		trusted := realPolicy(f, document)
		policy.Roots = append(policy.Roots, trusted.Roots...)
		policy.TimestampRoots = append(policy.TimestampRoots, trusted.TimestampRoots...)
	}
	genuine := map[string]bool{}
	for _, seed := range seeds {
		signed, err := xmlsig.Verify(seed, policy, now)
		if err != nil {
			f.Fatal(err)
		}
		genuine[string(signed.Canonical)] = true
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		signed, err := xmlsig.Verify(document, policy, now)
		if err != nil {
			if signed != nil {
				t.Fatal("an error and a result")
			}
			return
		}
		if !genuine[string(signed.Canonical)] {
			t.Fatalf("accepted what nobody signed: %q", signed.Canonical)
		}
	})
}
