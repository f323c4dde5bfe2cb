package xmlsig_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/timestamp"
	"mitigation.dev/ems/internal/xmlsig"
)

// The facts about the captured document that the profile was cut to. A capture of another document that breaks one of them
// would say that the profile no longer fits what the real service publishes.

// inItsTime is between signing and the end of the leaf, the second capture.
var inItsTime = time.Date(2021, 12, 7, 0, 0, 0, 0, time.UTC)

func verifiedReal(t *testing.T) ([]byte, *xmlsig.Signed) {
	t.Helper()
	document := realDocument(t)
	signed, err := xmlsig.Verify(document, realPolicy(t, document), inItsTime)
	if err != nil {
		t.Fatal(err)
	}
	return document, signed
}

func base64Of(t *testing.T, document []byte, from, to string) []byte {
	t.Helper()
	text := strings.TrimSuffix(strings.TrimPrefix(part(t, document, from, to), from), to)
	value, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestTheRealDocumentUsesTheseAlgorithms(t *testing.T) {
	document := realDocument(t)
	signedInfo := part(t, document, "<SignedInfo", "</SignedInfo>")
	for _, want := range []string{
		`<CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"`,
		`<SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"`,
		`<Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"`,
		`<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"`,
		`URI=""`,
	} {
		if !strings.Contains(signedInfo, want) {
			t.Errorf("SignedInfo has no %s", want)
		}
	}
}

func TestTheRealDocumentDigestsWithLineFeeds(t *testing.T) {
	document, signed := verifiedReal(t)
	if bytes.ContainsRune(signed.Canonical, '\r') || bytes.Contains(signed.Canonical, []byte("&#xD;")) {
		t.Error("a carriage return in the canonical bytes")
	}
	digest := sha256.Sum256(signed.Canonical)
	if !bytes.Equal(base64Of(t, document, "<DigestValue>", "</DigestValue>"), digest[:]) {
		t.Error("DigestValue is not the SHA-256 of the canonical bytes")
	}
	// Line ends may change on the way, the content must not.
	lines := bytes.ReplaceAll(document, []byte("\r\n"), []byte("\n"))
	for name, variant := range map[string][]byte{"LF": lines, "CRLF": bytes.ReplaceAll(lines, []byte("\n"), []byte("\r\n"))} {
		again, err := xmlsig.Verify(variant, realPolicy(t, document), inItsTime)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again.Digest != signed.Digest {
			t.Errorf("%s: another digest", name)
		}
	}
}

func TestTheRealSigner(t *testing.T) {
	_, signed := verifiedReal(t)
	leaf, root := signed.Signer, signed.Chain[len(signed.Chain)-1]
	got := map[string]string{
		"leaf":        leaf.Subject.CommonName + ", " + strings.Join(leaf.Subject.Organization, "; "),
		"issuer":      signed.Issuer.Subject.CommonName,
		"root":        root.Subject.CommonName,
		"leaf from":   leaf.NotBefore.UTC().Format(time.DateOnly),
		"leaf to":     leaf.NotAfter.UTC().Format(time.DateOnly),
		"issuer to":   signed.Issuer.NotAfter.UTC().Format(time.DateTime),
		"root to":     root.NotAfter.UTC().Format("2006"),
		"leaf key":    leaf.PublicKeyAlgorithm.String(),
		"chain links": strings.Repeat("-", len(signed.Chain)-1),
	}
	want := map[string]string{
		"leaf":        "Microsoft Exchange XML Signing, Microsoft Corporation",
		"issuer":      "Microsoft Code Signing PCA 2011",
		"root":        "Microsoft Root Certificate Authority 2011",
		"leaf from":   "2021-06-10",
		"leaf to":     "2022-06-09",
		"issuer to":   "2026-07-08 21:09:09",
		"root to":     "2036",
		"leaf key":    "RSA",
		"chain links": "--",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}
	if len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageCodeSigning ||
		len(leaf.UnknownExtKeyUsage) != 1 || !leaf.UnknownExtKeyUsage[0].Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 76, 57, 1, 11}) {
		t.Errorf("extended key usages %v, %v: want codeSigning and the private one", leaf.ExtKeyUsage, leaf.UnknownExtKeyUsage)
	}
	if leaf.KeyUsage != 0 {
		t.Errorf("key usage %b, want no such extension", leaf.KeyUsage)
	}
}

func TestTheRealKeyValueRepeatsTheLeafsKey(t *testing.T) {
	document, signed := verifiedReal(t)
	key := part(t, document, "<Modulus>", "</Modulus>")
	modulus := base64Of(t, document, "<Modulus>", "</Modulus>")
	if len(modulus) != 256 || !bytes.Contains(signed.Signer.RawSubjectPublicKeyInfo, modulus) {
		t.Errorf("a modulus of %d bytes, which is not the leaf's", len(modulus))
	}
	// It may be left out, because nothing is taken from it, and must not say anything else.
	if _, err := xmlsig.Verify(replaceOnce(t, document, part(t, document, "<KeyValue>", "</KeyValue>"), ""), realPolicy(t, document), inItsTime); err != nil {
		t.Errorf("without KeyValue: %v", err)
	}
	modulus[200] ^= 1
	_, err := xmlsig.Verify(replaceOnce(t, document, key, "<Modulus>"+base64.StdEncoding.EncodeToString(modulus)+"</Modulus>"), realPolicy(t, document), inItsTime)
	wantClass(t, err, xmlsig.ClassCertificate)
}

func TestTheRealCounterSignature(t *testing.T) {
	document := realDocument(t)
	value := base64Of(t, document, "<SignatureValue>", "</SignatureValue>")
	element := part(t, document, "<CounterSignature", "</CounterSignature>")
	_, text, _ := strings.Cut(strings.TrimSuffix(element, "</CounterSignature>"), ">")
	token, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	options := timestamp.Options{Roots: realPolicy(t, document).TimestampRoots, Now: now}
	verified, err := timestamp.Verify(token, value, options)
	if err != nil {
		t.Fatal(err)
	}
	anchor := verified.Chain[len(verified.Chain)-1]
	got := map[string]string{
		"time":      verified.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		"signer to": verified.Signer.NotAfter.UTC().Format(time.DateOnly),
		"anchor":    anchor.Subject.CommonName,
		"anchor to": anchor.NotAfter.UTC().Format(time.DateOnly),
	}
	want := map[string]string{
		"time": "2021-09-15T16:42:08.621Z", "signer to": "2022-01-12",
		"anchor": "Microsoft Time-Stamp PCA 2010", "anchor to": "2025-07-01",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	// The imprint is over the decoded bytes, not over the text that stands in the document.
	if _, err := timestamp.Verify(token, []byte(base64.StdEncoding.EncodeToString(value)), options); err == nil {
		t.Error("the token is for the base64 text too")
	}
}

func TestTheRealDocumentEndsWithItsLeafUnlessItIsStamped(t *testing.T) {
	document := realDocument(t)
	stamped := realPolicy(t, document)
	bare := stamped
	bare.TimestampRoots = nil
	lastDay, dayAfter := time.Date(2022, 6, 8, 0, 0, 0, 0, time.UTC), time.Date(2022, 6, 10, 0, 0, 0, 0, time.UTC)
	if _, err := xmlsig.Verify(document, bare, lastDay); err != nil {
		t.Errorf("before the leaf's end: %v", err)
	}
	_, err := xmlsig.Verify(document, bare, dayAfter)
	wantClass(t, err, xmlsig.ClassUntrusted)
	// With its time-stamp it outlives leaf, issuer, stamping authority and even the anchor of the stamp.
	for _, year := range []int{2022, 2025, 2027, 2035} {
		if _, err := xmlsig.Verify(document, stamped, time.Date(year, 12, 31, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Errorf("in %d with its time-stamp: %v", year, err)
		}
	}
}

func TestTheRealDocumentCannotBeToldFromAReplayOfItself(t *testing.T) {
	_, signed := verifiedReal(t)
	for _, attribute := range []string{" sequence=", " issued=", " expires="} {
		if bytes.Contains(signed.Canonical, []byte(attribute)) {
			t.Errorf("the signed content has%s: the assumption behind undated documents is gone", attribute)
		}
	}
}
