package feedtrust_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/feedtrust"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

func TestEveryPartOfAFeedsPolicyCounts(t *testing.T) {
	pin := strings.Repeat("a", 64)
	got := feedtrust.Policy(emsv1.TrustPolicy{
		Roots: "r", IssuerPins: []string{pin}, ExtendedKeyUsages: []string{"1.2.3"}, TimestampRoots: "t", UndatedDocuments: "Accept",
		Subject:    emsv1.CertificateSubject{Organization: "Contoso", CommonName: "Signer"},
		Revocation: emsv1.Revocation{Mode: "Require", CRLs: "c", MaxAgeSeconds: 60},
		Levels:     emsv1.TrustLevels{IssuerPins: "Log", Subject: "Enforce", ExtendedKeyUsages: "Log", Revocation: "Enforce"},
	})
	want := trust.Policy{
		Roots: "r", IssuerPins: []string{pin}, ExtendedKeyUsages: []string{"1.2.3"}, TimestampRoots: "t", UndatedDocuments: "Accept",
		Subject:    &trust.Subject{Organization: "Contoso", CommonName: "Signer"},
		Revocation: &trust.Revocation{Mode: "Require", CRLs: "c", MaxAgeSeconds: 60},
		Levels:     &trust.Levels{IssuerPins: "Log", Subject: "Enforce", ExtendedKeyUsages: "Log", Revocation: "Enforce"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(trust.Policy{Roots: "r"}, feedtrust.Policy(emsv1.TrustPolicy{Roots: "r"})); diff != "" {
		t.Errorf("policy of nothing but roots (-want +got):\n%s", diff)
	}
}

func TestNobodyMaySignListsForADocumentThatIsNotGenuine(t *testing.T) {
	now := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	keys, err := pki.NewFixed(now)
	if err != nil {
		t.Fatal(err)
	}
	if got := feedtrust.Authorities([]byte("<EOCS/>"), xmlsig.Policy{Roots: keys.Root.Chain()}, now); got != nil {
		t.Errorf("authorities = %v", got)
	}
}
