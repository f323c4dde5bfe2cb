package xmlsig_test

import (
	"fmt"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// sized makes a document of about the given size from small elements, the costly kind.
func sized(size int) string {
	const config = `<Config id="M%d" desc="mitigation"><ActionList><Action type="UrlRewrite" scope="Site" desc="d"><Value><rule name="r" pattern=".*&quot;x"/><note>%s</note></Value></Action></ActionList></Config>` + "\n"
	var b strings.Builder
	b.WriteString("<EOCS version=\"1.1\">\n")
	padding := strings.Repeat("n", max(0, size/3200-180))
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, config, i, padding)
	}
	b.WriteString("</EOCS>")
	return b.String()
}

func BenchmarkVerify(b *testing.B) {
	p := testPKI(b)
	for _, size := range []int{4 << 10, 1000 << 10} {
		for name, signer := range map[string]*pki.Identity{"RSA": p.RSA, "ECDSA": p.ECDSA} {
			for _, method := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N} {
				document := sign(b, sized(size), signer, func(o *xmlsig.SignOptions) { o.SignedInfoMethod, o.Transform = method, &method })
				b.Run(fmt.Sprintf("%s/%s/%dKB", name, label(method), len(document)>>10), func(b *testing.B) {
					b.SetBytes(int64(len(document)))
					b.ReportAllocs()
					for b.Loop() {
						if _, err := xmlsig.Verify(document, policyOf(p), now); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// worstBodies are the costliest contents that the limits allow, each of about a MiB: as many elements as possible, as many
// attributes, as much to escape, and as many namespace declarations as the canonical form may have.
func worstBodies() map[string]string {
	const room = xmlsig.MaxDocumentBytes - 8_000
	within := func(begin, middle, end string, most int) string {
		return begin + strings.Repeat(middle, min(most, (room-len(begin)-len(end))/len(middle))) + end
	}
	var attributes, foreign strings.Builder
	// As many elements of all attributes as the document may have.
	const full = xmlsig.MaxDocumentAttributes/xmlsig.MaxAttributes - 1
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	for i := range xmlsig.MaxAttributes {
		name := letters[i%len(letters):][:1] + strings.Repeat("_", i/len(letters))
		attributes.WriteString(" " + name + `=""`)
		fmt.Fprintf(&foreign, ` %c:%s=""`, "pqrstuv"[i%7], name)
	}
	deep, out := strings.Repeat("<a>", 6), strings.Repeat("</a>", 13)
	var namespaces strings.Builder
	for _, prefix := range "pqrstuv" {
		fmt.Fprintf(&namespaces, `<a xmlns:%c="urn:%c">`, prefix, prefix)
	}
	return map[string]string{
		"elements":               within(strings.Repeat(`<a xmlns:p="urn:p">`, 7)+deep, `<p:x b="1" p:c="2"/>`, out, 19_900),
		"elements of namespaces": within(namespaces.String()+deep, `<p:x q:b="1" r:c="2" v:d=""/>`, out, 19_900),
		"attributes":             within("", "<a"+attributes.String()+"/>", "", full),
		"foreign attributes":     within(namespaces.String()+deep, "<a"+foreign.String()+"/>", out, full),
		"texts":                  within("", "<a>&lt;</a>\n", "", 19_900),
		"references":             within("<a>", "&lt;", "</a>", xmlsig.MaxDocumentBytes),
		"escapes":                within("<a><![CDATA[", "&aaaaaaa", "]]></a>", xmlsig.MaxDocumentBytes),
	}
}

// worstDocuments replace the body of a genuine document by those of worstBodies. Everything up to the digest is paid for them.
func worstDocuments(tb testing.TB, method xmlsig.Canonicalization) map[string][]byte {
	tb.Helper()
	signed := sign(tb, "<EOCS><x/></EOCS>", testPKI(tb).RSA, func(o *xmlsig.SignOptions) { o.SignedInfoMethod, o.Transform = method, &method })
	documents := map[string][]byte{}
	for name, body := range worstBodies() {
		documents[name] = replaceOnce(tb, signed, "<x/>", body)
	}
	return documents
}

func BenchmarkWorstBody(b *testing.B) {
	p := testPKI(b)
	for _, method := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N} {
		for name, document := range worstDocuments(b, method) {
			b.Run(label(method)+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(document)))
				b.ReportAllocs()
				for b.Loop() {
					_, err := xmlsig.Verify(document, policyOf(p), now)
					wantClass(b, err, xmlsig.ClassDigest)
				}
			})
		}
	}
}
