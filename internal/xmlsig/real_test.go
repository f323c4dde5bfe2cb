package xmlsig_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/xmlsig"
)

// Fingerprints (SHA-256 of the certificate) of what the real document is judged by. The certificates themselves
// are taken from the document; only the fingerprint here makes them trusted.
const (
	// Microsoft Root Certificate Authority 2011.
	realRoot = "847df6a78497943f27fc72eb93f9a637320a02b561d0a91b09e87a7807ed7c61"
	// Microsoft Code Signing PCA 2011, the issuer of the leaf.
	realIssuer = "56da8722afd94066ffe1e4595473a4854892b843a0827d53fb7d8f4aeed1e18b"
	// Microsoft Time-Stamp PCA 2010, used as the anchor of time-stamping.
	realTimestampRoot = "86ec118d1ee69670a46e2be29c4b4208be043e36600d4e1dd3f3d515ca119020"
)

func realDocument(tb testing.TB) []byte {
	tb.Helper()
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		tb.Skip("EMS_TESTDATA is not set: the real document is not part of the repository")
	}
	content, err := os.ReadFile(filepath.Join(folder, "ocs", "exchange-ping1-2021-09-15.xml"))
	if err != nil {
		tb.Fatal(err)
	}
	return content
}

func realCertificate(tb testing.TB, document []byte, fingerprint string) *x509.Certificate {
	tb.Helper()
	for _, match := range regexp.MustCompile(`<X509Certificate>([^<]+)</X509Certificate>`).FindAllSubmatch(document, -1) {
		der, err := base64.StdEncoding.DecodeString(string(match[1]))
		if err != nil {
			tb.Fatal(err)
		}
		if digest := sha256.Sum256(der); hex.EncodeToString(digest[:]) == fingerprint {
			certificate, err := x509.ParseCertificate(der)
			if err != nil {
				tb.Fatal(err)
			}
			return certificate
		}
	}
	tb.Fatalf("no certificate with fingerprint %s", fingerprint)
	return nil
}

func realPolicy(tb testing.TB, document []byte) xmlsig.Policy {
	tb.Helper()
	issuer := realCertificate(tb, document, realIssuer)
	return xmlsig.Policy{
		Roots:             []*x509.Certificate{realCertificate(tb, document, realRoot)},
		IssuerPins:        [][32]byte{sha256.Sum256(issuer.RawSubjectPublicKeyInfo)},
		Organization:      "Microsoft Corporation",
		CommonName:        "Microsoft Exchange XML Signing",
		ExtendedKeyUsages: []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 76, 57, 1, 11}},
		TimestampRoots:    []*x509.Certificate{realCertificate(tb, document, realTimestampRoot)},
	}
}

func TestTheRealDocumentVerifiesWithItsTimestamp(t *testing.T) {
	document := realDocument(t)
	signed, err := xmlsig.Verify(document, realPolicy(t, document), now)
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2021, 9, 15, 16, 42, 8, 621e6, time.UTC); !signed.SignedAt.Equal(want) {
		t.Errorf("signed at %s, want %s", signed.SignedAt, want)
	}
	if !bytes.HasPrefix(signed.Canonical, []byte(`<EOCS version="1.0.4">`)) || bytes.Contains(signed.Canonical, []byte("Signature")) {
		t.Errorf("canonical bytes are not the root without its Signature: %.60q", signed.Canonical)
	}
	// The digest that the document states for itself.
	if got := base64.StdEncoding.EncodeToString(signed.Digest[:]); got != "osOMhLEcCwGbZjhu2Ih6HGtADL5VdBuoapMN+QodZNk=" {
		t.Errorf("digest %s", got)
	}
}

func TestTheRealDocumentWasValidInItsTimeWithoutATimestamp(t *testing.T) {
	document := realDocument(t)
	policy := realPolicy(t, document)
	policy.TimestampRoots = nil
	signed, err := xmlsig.Verify(document, policy, time.Date(2021, 12, 7, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if !signed.SignedAt.IsZero() || len(signed.Notes) != 1 {
		t.Errorf("signed at %s, notes %q: want no time and one note", signed.SignedAt, signed.Notes)
	}
}

func TestTheRealDocumentIsRefused(t *testing.T) {
	document := realDocument(t)
	flip := func(from, to string, offset int) func(*testing.T) []byte {
		return func(t *testing.T) []byte {
			text := part(t, document, from, to)
			changed := []byte(text)
			at := len(from) + offset
			if changed[at] == 'A' {
				changed[at] = 'B'
			} else {
				changed[at] = 'A'
			}
			return replaceOnce(t, document, text, string(changed))
		}
	}
	same := func(*testing.T) []byte { return document }
	cases := map[string]struct {
		document func(t *testing.T) []byte
		policy   func(*xmlsig.Policy)
		want     xmlsig.Class
	}{
		"one byte of the content changed": {
			document: func(t *testing.T) []byte { return replaceOnce(t, document, "Does not modify", "Does now modify") },
			want:     xmlsig.ClassDigest,
		},
		"one byte of the digest in SignedInfo changed": {document: flip("<DigestValue>", "</DigestValue>", 3), want: xmlsig.ClassSignature},
		// The token is over the SignatureValue, so it is the token that notices.
		"one byte of the SignatureValue changed": {document: flip("<SignatureValue>", "</SignatureValue>", 10), want: xmlsig.ClassTimestamp},
		"one byte of the SignatureValue changed, time-stamp not judged": {
			document: flip("<SignatureValue>", "</SignatureValue>", 10),
			policy: func(p *xmlsig.Policy) {
				p.TimestampRoots = nil
			},
			want: xmlsig.ClassUntrusted, // expired: trust comes before the signature
		},
		"one byte of the token's signature changed": {document: flip(`timestamp/2003">`, "</CounterSignature>", 6440), want: xmlsig.ClassTimestamp},
		"another root": {
			document: same,
			policy:   func(p *xmlsig.Policy) { p.Roots = []*x509.Certificate{testPKI(t).Root.Certificate} },
			want:     xmlsig.ClassUntrusted,
		},
		"no time-stamping root, long after the leaf expired": {
			document: same, policy: func(p *xmlsig.Policy) { p.TimestampRoots = nil }, want: xmlsig.ClassUntrusted,
		},
		"a time-stamping root of somebody else": {
			document: same,
			policy:   func(p *xmlsig.Policy) { p.TimestampRoots = []*x509.Certificate{testPKI(t).TSARoot.Certificate} },
			want:     xmlsig.ClassUntrusted,
		},
		"another issuer pinned": {
			document: same, policy: func(p *xmlsig.Policy) { p.IssuerPins = [][32]byte{{1}} }, want: xmlsig.ClassUntrusted,
		},
		"another extended key usage wanted": {
			document: same,
			policy:   func(p *xmlsig.Policy) { p.ExtendedKeyUsages = []asn1.ObjectIdentifier{{1, 2, 3}} },
			want:     xmlsig.ClassCertificate,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			policy := realPolicy(t, document)
			if tc.policy != nil {
				tc.policy(&policy)
			}
			changed := tc.document(t)
			_, err := xmlsig.Verify(changed, policy, now)
			refusal := refused(t, err, tc.want)
			if strings.Contains(name, "time-stamping root of somebody else") && !strings.Contains(refusal.Error(), "counter-signature ignored") {
				t.Errorf("the error does not say that the counter-signature was ignored: %v", refusal)
			}
		})
	}
}
