package xmlsig_test

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// contentCanonical is the canonical form of content, written by hand: attributes sorted, CDATA and comments
// gone, entities as the standard wants them. No declaration of a namespace differs between the methods.
const contentCanonical = "<EOCS ID=\"eocs\" publisher=\"Contoso &amp; Söhne\" sequence=\"42\" version=\"1.1\">\n" +
	"  <Config desc=\"a &lt;b> &quot;c&quot; 'd' &#x9;&#xA;&#xD; e\" id=\"M2\">\n" +
	"    <ActionList><Action scope=\"Site\" type=\"UrlRewrite\"><Value>x &lt; y &amp;&amp; z &gt; 1</Value></Action></ActionList>\n" +
	"    <Text>LyncExtFeature &gt; &#xD; ä\U0001F600</Text><Empty></Empty>\n" +
	"  </Config>\n</EOCS>"

// The canonical forms of contentWithNamespaces, written by hand too.
const (
	namespacesExclusive = `<EOCS ID="eocs" version="1.1" xml:lang="en"><Config id="M1"><a:x xmlns:a="urn:a" b="2" a:a="3" a:z="1"></a:x>` +
		`<rewrite xmlns="urn:d"><rule></rule><inner xmlns=""><leaf></leaf></inner></rewrite></Config></EOCS>`
	namespacesInclusive = `<EOCS xmlns:a="urn:a" xmlns:unused="urn:unused" ID="eocs" version="1.1" xml:lang="en"><Config id="M1"><a:x b="2" a:a="3" a:z="1"></a:x>` +
		`<rewrite xmlns="urn:d"><rule></rule><inner xmlns=""><leaf></leaf></inner></rewrite></Config></EOCS>`
)

func TestEveryAcceptedShapeVerifies(t *testing.T) {
	p := testPKI(t)
	for _, signer := range []*pki.Identity{p.RSA, p.ECDSA} {
		for _, signedInfo := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N} {
			for _, transform := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N, xmlsig.ImplicitC14N} {
				for _, reference := range []bool{false, true} {
					name := fmt.Sprintf("%s, SignedInfo %s, content %s, by id %t", signer.Certificate.Subject.CommonName, label(signedInfo), label(transform), reference)
					t.Run(name, func(t *testing.T) {
						for document, want := range map[string]string{
							content:               contentCanonical,
							contentWithNamespaces: map[bool]string{true: namespacesExclusive, false: namespacesInclusive}[transform == xmlsig.ExclusiveC14N],
						} {
							document := sign(t, document, signer, func(o *xmlsig.SignOptions) {
								o.SignedInfoMethod, o.Transform, o.ReferenceID = signedInfo, &transform, reference
							})
							signed, err := xmlsig.Verify(document, policyOf(p), now)
							if err != nil {
								t.Fatal(err)
							}
							if diff := cmp.Diff(want, string(signed.Canonical)); diff != "" {
								t.Errorf("canonical bytes (-want +got):\n%s", diff)
							}
							if signed.Digest != sha256.Sum256(signed.Canonical) {
								t.Error("Digest is not that of Canonical")
							}
						}
					})
				}
			}
		}
	}
}

func TestAcceptedVariants(t *testing.T) {
	p := testPKI(t)
	chain := p.RSA.Chain()
	cases := map[string]struct {
		document string
		options  func(*xmlsig.SignOptions)
		change   func(t *testing.T, signed []byte) []byte
	}{
		"SHA-384":                            {options: func(o *xmlsig.SignOptions) { o.Digest = crypto.SHA384 }},
		"SHA-512":                            {options: func(o *xmlsig.SignOptions) { o.Digest = crypto.SHA512 }},
		"a KeyValue beside the certificates": {options: func(o *xmlsig.SignOptions) { o.KeyValue = true }},
		"a KeyValue behind the certificates": {
			options: func(o *xmlsig.SignOptions) { o.KeyValue = true },
			change: func(t *testing.T, signed []byte) []byte {
				keyValue := part(t, signed, "<KeyValue>", "</KeyValue>")
				signed = replaceOnce(t, signed, keyValue, "")
				return replaceOnce(t, signed, "</X509Data>", "</X509Data>"+keyValue)
			},
		},
		"certificates from the root downwards": {options: func(o *xmlsig.SignOptions) {
			o.Certificates = append(slices.Clone(chain), p.Root.Certificate)
			slices.Reverse(o.Certificates)
		}},
		"a foreign authority among the certificates": {options: func(o *xmlsig.SignOptions) {
			o.Certificates = append([]*x509.Certificate{p.TSARoot.Certificate}, chain...)
		}},
		"a prefix instead of a default namespace": {options: func(o *xmlsig.SignOptions) { o.Prefix = "ds" }},
		"a prefix and C14N 1.0": {
			document: contentWithNamespaces,
			options: func(o *xmlsig.SignOptions) {
				o.Prefix, o.SignedInfoMethod, o.Transform = "ds", xmlsig.InclusiveC14N, new(xmlsig.ImplicitC14N)
			},
		},
		"an empty-element root":  {document: `<EOCS version="1.1"/>`},
		"a root without content": {document: `<EOCS version="1.1" ></EOCS >`},
		"a byte order mark":      {document: "\ufeff" + content},
		"white space inside base64": {change: func(t *testing.T, signed []byte) []byte {
			value := part(t, signed, "<SignatureValue>", "</SignatureValue>")
			spaced := value[:20] + "\r\n\t " + value[20:40] + "\n" + value[40:]
			return replaceOnce(t, signed, value, spaced)
		}},
		"a Signature that is the first child": {change: func(t *testing.T, signed []byte) []byte {
			signature := part(t, signed, "<Signature", "</Signature>")
			signed = replaceOnce(t, signed, signature, "")
			return replaceOnce(t, signed, `sequence="42">`, `sequence="42">`+signature)
		}},
		"comments added outside the root and inside the content": {change: func(t *testing.T, signed []byte) []byte {
			signed = replaceOnce(t, signed, "<Empty/>", "<!-- c --><Empty/>")
			return append(signed, "<!-- end -->\n"...)
		}},
		"Id attributes on Signature": {change: func(t *testing.T, signed []byte) []byte {
			return replaceOnce(t, signed, "<Signature ", `<Signature Id="eocs" `)
		}},
		"LF turned into CRLF on the way": {change: func(_ *testing.T, signed []byte) []byte {
			unix := strings.ReplaceAll(string(signed), "\r\n", "\n")
			return []byte(strings.ReplaceAll(unix, "\n", "\r\n"))
		}},
		"a line end in an attribute, which is a blank": {
			document: "<EOCS version=\"1.1\" publisher=\"one\r\ntwo\tthree\nfour\" ID='eocs'/>",
			change: func(t *testing.T, signed []byte) []byte {
				return replaceOnce(t, signed, "one\r\ntwo\tthree\nfour", "one two three four")
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			document := content
			if tc.document != "" {
				document = tc.document
			}
			signed := sign(t, document, p.RSA, tc.options)
			if tc.change != nil {
				signed = tc.change(t, signed)
			}
			if _, err := xmlsig.Verify(signed, policyOf(p), now); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSignedSaysWhoSigned(t *testing.T) {
	p := testPKI(t)
	signed, err := xmlsig.Verify(sign(t, content, p.ECDSA, nil), policyOf(p), now)
	if err != nil {
		t.Fatal(err)
	}
	if !signed.Signer.Equal(p.ECDSA.Certificate) || !signed.Issuer.Equal(p.Issuing.Certificate) {
		t.Errorf("signer %s, issuer %s", signed.Signer.Subject, signed.Issuer.Subject)
	}
	if len(signed.Chain) != 3 || !signed.Chain[2].Equal(p.Root.Certificate) {
		t.Errorf("chain of %d does not end at the root", len(signed.Chain))
	}
	if !signed.SignedAt.IsZero() || len(signed.Notes) != 0 {
		t.Errorf("signed at %s with notes %q, want neither", signed.SignedAt, signed.Notes)
	}
}

func TestDigestIgnoresWhatTheSignatureLeavesOpen(t *testing.T) {
	p := testPKI(t)
	digests := map[[32]byte]bool{}
	for _, signer := range []*pki.Identity{p.RSA, p.ECDSA} {
		signed, err := xmlsig.Verify(sign(t, content, signer, nil), policyOf(p), now)
		if err != nil {
			t.Fatal(err)
		}
		digests[signed.Digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("%d digests of one content, want 1", len(digests))
	}
}

func TestSignRefuses(t *testing.T) {
	p := testPKI(t)
	p384, err := p.Issuing.Issue("P-384", pki.Key(pki.ECDSAP384))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		document string
		options  xmlsig.SignOptions
		want     string
	}{
		"a document that is signed already": {string(sign(t, content, p.RSA, nil)), xmlsig.SignOptions{Key: p.RSA.Key, Certificates: p.RSA.Chain()}, "has a Signature already"},
		"a document that is no XML":         {"<EOCS>", xmlsig.SignOptions{Key: p.RSA.Key, Certificates: p.RSA.Chain()}, "never closed"},
		"no key":                            {content, xmlsig.SignOptions{Certificates: p.RSA.Chain()}, "key: missing"},
		"certificates of another key":       {content, xmlsig.SignOptions{Key: p.RSA.Key, Certificates: p.ECDSA.Chain()}, "none belongs to the key"},
		"a curve other than P-256":          {content, xmlsig.SignOptions{Key: p384.Key, Certificates: p384.Chain()}, "want P-256"},
		"a reference without an ID":         {"<EOCS/>", xmlsig.SignOptions{Key: p.RSA.Key, Certificates: p.RSA.Chain(), ReferenceID: true}, "no ID"},
		"SHA-1":                             {content, xmlsig.SignOptions{Key: p.RSA.Key, Certificates: p.RSA.Chain(), Digest: crypto.SHA1}, "want SHA-256"},
		"a canonicalisation with comments": {content, xmlsig.SignOptions{Key: p.RSA.Key, Certificates: p.RSA.Chain(),
			SignedInfoMethod: xmlsig.ExclusiveC14N + "WithComments"}, "algorithm not allowed"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := xmlsig.Sign([]byte(tc.document), tc.options)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}
