package xmlsig_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// now is the time of all tests that do not turn the clock.
var now = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

var fixture = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(now) })

func testPKI(tb testing.TB) *pki.PKI {
	tb.Helper()
	p, err := fixture()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func policyOf(p *pki.PKI) xmlsig.Policy {
	return xmlsig.Policy{Roots: []*x509.Certificate{p.Root.Certificate}}
}

// content is a document with what canonicalisation has to deal with: a declaration, CRLF, comments inside text
// and out of it, CDATA, entities, empty elements, attributes out of order, single quotes, non-ASCII.
const content = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- before -->\r\n" +
	"<EOCS version='1.1' publisher=\"Contoso &amp; S&#xF6;hne\" ID=\"eocs\" sequence=\"42\">\r\n" +
	"  <Config id=\"M2\" desc=\"a &lt;b&gt; &quot;c&quot; 'd' &#9;&#10;&#13; e\"><!-- inside -->\r\n" +
	"    <ActionList><Action type=\"UrlRewrite\" scope=\"Site\"><Value><![CDATA[x < y && z > 1]]></Value></Action></ActionList>\r\n" +
	"    <Text>LyncExt<!-- split -->Feature &gt; &#xD; \u00e4\U0001F600</Text><Empty/>\r\n" +
	"  </Config>\r\n</EOCS>\r\n<!-- behind -->\r\n"

// contentWithNamespaces adds what tells the canonicalisations apart: unused and redeclared namespaces, default
// namespaces that come and go, xml: attributes.
const contentWithNamespaces = `<EOCS xmlns:a="urn:a" xmlns:unused="urn:unused" xml:lang="en" version="1.1" ID="eocs" xmlns="">` +
	`<Config id="M1"><a:x a:z="1" b="2" a:a="3"/><rewrite xmlns="urn:d"><rule/><inner xmlns=""><leaf/></inner></rewrite></Config></EOCS>`

func sign(tb testing.TB, document string, signer *pki.Identity, change func(*xmlsig.SignOptions)) []byte {
	tb.Helper()
	options := xmlsig.SignOptions{Key: signer.Key, Certificates: signer.Chain()}
	if change != nil {
		change(&options)
	}
	out, err := xmlsig.Sign([]byte(document), options)
	if err != nil {
		tb.Fatalf("Sign: %v", err)
	}
	return out
}

func refused(tb testing.TB, err error, want xmlsig.Class) *xmlsig.Error {
	tb.Helper()
	var refusal *xmlsig.Error
	if !errors.As(err, &refusal) {
		tb.Fatalf("error %v is no *xmlsig.Error, want class %q", err, want)
	}
	if refusal.Class != want {
		tb.Fatalf("class %q, want %q: %v", refusal.Class, want, err)
	}
	return refusal
}

// wantClass fails the test unless the error is a refusal of the class.
func wantClass(tb testing.TB, err error, want xmlsig.Class) {
	tb.Helper()
	_ = refused(tb, err, want)
}

// replaceOnce fails the test if the text is not there: an attack that changes nothing proves nothing.
func replaceOnce(tb testing.TB, document []byte, old, replacement string) []byte {
	tb.Helper()
	if strings.Count(string(document), old) == 0 {
		tb.Fatalf("%q is not in the document", old)
	}
	return []byte(strings.Replace(string(document), old, replacement, 1))
}

// part cuts out the text from the first occurrence of from to the end of the next occurrence of to.
func part(tb testing.TB, document []byte, from, to string) string {
	tb.Helper()
	text := string(document)
	start := strings.Index(text, from)
	if start < 0 {
		tb.Fatalf("%q is not in the document", from)
	}
	end := strings.Index(text[start:], to)
	if end < 0 {
		tb.Fatalf("%q is not in the document", to)
	}
	return text[start : start+end+len(to)]
}

func label(c xmlsig.Canonicalization) string {
	switch c {
	case xmlsig.ExclusiveC14N:
		return "exclusive"
	case xmlsig.InclusiveC14N:
		return "C14N 1.0"
	case xmlsig.ImplicitC14N:
		return "enveloped only"
	default:
		return fmt.Sprintf("unknown %q", c)
	}
}
