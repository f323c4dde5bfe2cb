package xmlsig_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// xmlsec1 is a foreign implementation of XML Signature: it says whether our canonicalisation and signature values
// are those of the standard. It says nothing about policy, which it does not have.

func xmlsec(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "xmlsec1", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("xmlsec1 %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func requireXmlsec(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: each case starts a process")
	}
	if _, err := exec.LookPath("xmlsec1"); err != nil {
		t.Skip("xmlsec1 is not on PATH")
	}
}

func write(t *testing.T, folder, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// difficult is what canonicalisers disagree about. It is signed by one implementation and verified by the other.
var difficult = map[string]string{
	"ordinary content":      content,
	"namespaces":            contentWithNamespaces,
	"redundant xmlns=''":    `<EOCS xmlns="" ID="eocs"><a xmlns=""><b xmlns="urn:b"><c xmlns=""/></b></a></EOCS>`,
	"a redeclared prefix":   `<EOCS xmlns:p="urn:1" ID="eocs"><p:a xmlns:p="urn:2"><p:b xmlns:p="urn:2"/></p:a><p:c/></EOCS>`,
	"white space in values": "<EOCS ID=\"eocs\" a=\"x\ty\nz\r\nw\" b=\"&#9;&#10;&#13;\"><v>\t&#13;\r\n</v></EOCS>",
	"a default namespace":   `<EOCS xmlns="urn:d" xmlns:ds="urn:not-dsig" ID="eocs"><a/></EOCS>`,
	"xml: attributes":       `<EOCS xml:space="preserve" xml:lang="de" ID="eocs" lang="x"><a xml:lang="en"> </a></EOCS>`,
	"markup in CDATA":       `<EOCS ID="eocs"><v>a<![CDATA[<b>]]]]><![CDATA[>&amp;]]></v></EOCS>`,
	"two namespaces":        `<EOCS xmlns:p="urn:2" xmlns:q="urn:1" ID="eocs" p:a="1" q:b="2" xml:lang="en"><p:x q:x="1" p:x="2"/></EOCS>`,
	"an unused default":     `<p:EOCS xmlns:p="urn:p" xmlns="urn:d" ID="eocs"><a xmlns=""><b/></a><p:c xmlns=""><d/></p:c></p:EOCS>`,
	"a prefixed root":       `<p:EOCS xmlns:p="urn:p" xmlns="urn:d" ID="eocs"><p:a/><b/></p:EOCS>`,
}

func methods(visit func(signedInfo, transform xmlsig.Canonicalization)) {
	for _, signedInfo := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N} {
		for _, transform := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N, xmlsig.ImplicitC14N} {
			visit(signedInfo, transform)
		}
	}
}

func TestXmlsecVerifiesWhatWeSign(t *testing.T) {
	requireXmlsec(t)
	p := testPKI(t)
	folder := t.TempDir()
	root := write(t, folder, "root.pem", p.Root.PEM())
	for name, document := range difficult {
		methods(func(signedInfo, transform xmlsig.Canonicalization) {
			t.Run(fmt.Sprintf("%s, SignedInfo %s, content %s", name, label(signedInfo), label(transform)), func(t *testing.T) {
				for _, signer := range []*pki.Identity{p.RSA, p.ECDSA} {
					if signer == p.RSA && document != content {
						continue // canonicalisation does not depend on the key: once is enough, processes are slow
					}
					signed := sign(t, document, signer, func(o *xmlsig.SignOptions) {
						o.SignedInfoMethod, o.Transform, o.ReferenceID = signedInfo, &transform, signer == p.ECDSA
						o.KeyValue = true
					})
					xmlsec(t, "--verify", "--trusted-pem", root, "--enabled-key-data", "x509", "--id-attr:ID", "EOCS",
						"--verification-time", "2026-05-14 16:00:00", write(t, folder, "signed.xml", signed))
				}
			})
		})
	}
}

func TestWeVerifyWhatXmlsecSigns(t *testing.T) {
	requireXmlsec(t)
	p := testPKI(t)
	folder := t.TempDir()
	key := func(name string, id *pki.Identity) string {
		der, err := x509.MarshalPKCS8PrivateKey(id.Key)
		if err != nil {
			t.Fatal(err)
		}
		path := write(t, folder, name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		return strings.Join([]string{path, write(t, folder, name+".crt", id.PEM()), write(t, folder, "issuing.crt", p.Issuing.PEM())}, ",")
	}
	signers := map[string]string{"rsa": key("rsa", p.RSA), "ecdsa": key("ecdsa", p.ECDSA)}
	for name, document := range difficult {
		methods(func(signedInfo, transform xmlsig.Canonicalization) {
			t.Run(fmt.Sprintf("%s, SignedInfo %s, content %s", name, label(signedInfo), label(transform)), func(t *testing.T) {
				for kind, key := range signers {
					if kind == "rsa" && document != content {
						continue
					}
					template := write(t, folder, "template.xml", []byte(withTemplate(t, document, kind, signedInfo, transform)))
					out := filepath.Join(folder, "out.xml")
					xmlsec(t, "--sign", "--privkey-pem", key, "--id-attr:ID", "EOCS", "--output", out, template)
					signed, err := os.ReadFile(out)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := xmlsig.Verify(signed, policyOf(p), now); err != nil {
						t.Fatalf("%s: %v\n%s", kind, err, signed)
					}
				}
			})
		})
	}
}

func withTemplate(t *testing.T, document, kind string, signedInfo, transform xmlsig.Canonicalization) string {
	t.Helper()
	second := ""
	if transform != xmlsig.ImplicitC14N {
		second = fmt.Sprintf("<ds:Transform Algorithm=%q/>\n", transform)
	}
	template := fmt.Sprintf(`<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#">
<ds:SignedInfo><ds:CanonicalizationMethod Algorithm=%q/>
<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#%s-sha256"/>
<ds:Reference URI="#eocs"><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>
%s</ds:Transforms><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>
<ds:SignatureValue/><ds:KeyInfo><ds:X509Data/></ds:KeyInfo></ds:Signature>`, signedInfo, kind, second)
	end := strings.LastIndex(document, "</")
	if end < 0 {
		t.Fatalf("no end tag in %q", document)
	}
	return document[:end] + template + document[end:]
}
