package feedtrust

import (
	"crypto/x509"
	"slices"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/trust"
	"mitigation.dev/ems/internal/xmlsig"
)

// Policy converts spec.trust of a feed.
func Policy(t emsv1.TrustPolicy) trust.Policy {
	policy := trust.Policy{
		Roots: t.Roots, IssuerPins: t.IssuerPins, ExtendedKeyUsages: t.ExtendedKeyUsages,
		TimestampRoots: t.TimestampRoots, UndatedDocuments: trust.UndatedDocuments(t.UndatedDocuments),
	}
	if t.Subject != (emsv1.CertificateSubject{}) {
		policy.Subject = &trust.Subject{Organization: t.Subject.Organization, CommonName: t.Subject.CommonName}
	}
	if t.Revocation.Mode != "" {
		policy.Revocation = &trust.Revocation{
			Mode: xmlsig.RevocationMode(t.Revocation.Mode), CRLs: t.Revocation.CRLs, MaxAgeSeconds: t.Revocation.MaxAgeSeconds,
		}
	}
	if t.Levels != (emsv1.TrustLevels{}) {
		policy.Levels = &trust.Levels{
			IssuerPins: xmlsig.Level(t.Levels.IssuerPins), Subject: xmlsig.Level(t.Levels.Subject),
			ExtendedKeyUsages: xmlsig.Level(t.Levels.ExtendedKeyUsages), Revocation: xmlsig.Level(t.Levels.Revocation),
		}
	}
	return policy
}

// Authorities returns those that may have signed revocation lists that bear on a document: the roots of the policy, and the
// authorities that the document itself names. That is known once the document is found genuine, revocation aside; there are none
// for one that is not, which is left to the verification to refuse.
func Authorities(document []byte, policy xmlsig.Policy, now time.Time) []*x509.Certificate {
	policy.Revocation = xmlsig.Revocation{}
	signed, err := xmlsig.Verify(document, policy, now)
	if err != nil {
		return nil
	}
	return slices.Concat(policy.Roots, policy.TimestampRoots, signed.Authorities())
}
