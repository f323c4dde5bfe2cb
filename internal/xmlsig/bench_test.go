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

// BenchmarkWorstBody replaces the body of a genuine document by the costliest one that the limits allow. Everything
// up to the digest is paid for it.
func BenchmarkWorstBody(b *testing.B) {
	p := testPKI(b)
	for _, method := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N} {
		document := string(sign(b, "<EOCS><x/></EOCS>", p.RSA, func(o *xmlsig.SignOptions) { o.SignedInfoMethod, o.Transform = method, &method }))
		body := strings.Repeat(`<a xmlns:p="urn:p">`, 7) + strings.Repeat("<a>", 7) + strings.Repeat(`<p:x b="1" p:c="2"/>`, 19_900) + strings.Repeat("</a>", 14)
		document = strings.Replace(document, "<x/>", body, 1)
		b.Run(label(method), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := xmlsig.Verify([]byte(document), policyOf(p), now); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
