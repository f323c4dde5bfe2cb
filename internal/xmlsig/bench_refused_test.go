package xmlsig_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/xmlsig"
)

// padded makes a document of exactly size bytes of small elements, once signed.
func padded(tb testing.TB, size int) []byte {
	tb.Helper()
	p := testPKI(tb)
	document := sized(size - 5_000)
	for range 8 {
		signed := sign(tb, document, p.RSA, nil)
		if missing := size - len(signed); missing >= 0 && missing < 64 {
			return signed
		} else if missing > 0 {
			document = strings.Replace(document, "<EOCS", "<!--"+strings.Repeat("x", max(0, missing-7))+"--><EOCS", 1)
		} else {
			tb.Fatalf("%d bytes, want at most %d", len(signed), size)
		}
	}
	tb.Fatalf("no document of %d bytes", size)
	return nil
}

// largest is a genuine document of almost 1 MiB: some changes below add a few bytes.
func largest(tb testing.TB) string {
	tb.Helper()
	return string(padded(tb, xmlsig.MaxDocumentBytes-100))
}

// refusedDocuments are documents of up to 1 MiB that are refused, the known amplifications among them. All of them keep the
// SignedInfo, signature and certificates of a genuine document, so that nothing is refused early because of them.
func refusedDocuments(largest string) map[string]string {
	signature := cut(largest, "<Signature", "</Signature>")
	around := func(attributes, body string) string { return "<EOCS" + attributes + ">" + body + signature + "</EOCS>" }
	declarations := func(count int) string {
		var text strings.Builder
		for i := range count {
			fmt.Fprintf(&text, ` xmlns:n%d="urn:n%d"`, i, i)
		}
		return text.String()
	}
	fill := func(element string, size int) string { return strings.Repeat(element, size/len(element)) }
	const room = xmlsig.MaxDocumentBytes - 8_000
	return map[string]string{
		"changed at the end":              strings.Replace(largest, signature, "<x/>"+signature, 1),
		"signature of another SignedInfo": strings.Replace(largest, cut(largest, "<DigestValue>", "</DigestValue>"), "<DigestValue>"+strings.Repeat("A", 43)+"=</DigestValue>", 1),
		"1 byte too large":                largest + strings.Repeat(" ", xmlsig.MaxDocumentBytes+1-len(largest)),
		"2000 namespaces, 20000 elements": around(declarations(2000), strings.Repeat("<b/>", 20_000)),
		"28 levels of 60 namespaces":      around("", strings.Repeat("<a"+declarations(60)+">", 28)+strings.Repeat("</a>", 28)),
		"deep":                            around("", strings.Repeat("<a>", room/7)+strings.Repeat("</a>", room/7)),
		"many elements":                   around("", fill("<a/>", room)),
		"many attributes":                 around("", "<a "+fill(`a=""`, room)+"/>"),
		"many elements of attributes":     around("", fill("<a"+fill(` a=""`, 64*5)+"/>", room)),
		"many comments":                   around("", fill("<!---->", room)),
		"one long text":                   around("", strings.Repeat("x", room)),
		"one long attribute":              around("", "<a b='"+strings.Repeat(`"`, room)+"'/>"),
		"references that grow":            around("", fill("&#38;", room)),
		"white space in attributes":       around("", fill("<a b='\t'/>", 20_000*10)+strings.Repeat("x", room-20_000*10)),
		"entities":                        `<!DOCTYPE EOCS [<!ENTITY a "` + strings.Repeat("x", room) + `">]>` + around("", strings.Repeat("&a;", 100)),
		"long base64":                     strings.Replace(around("", ""), "<SignatureValue>", "<SignatureValue>"+strings.Repeat("AAAA", room/4), 1),
		"certificates":                    strings.Replace(around("", ""), "</X509Data>", fill("<X509Certificate>AAAA</X509Certificate>", room/2)+"</X509Data>", 1),
	}
}

func BenchmarkRefused(b *testing.B) {
	p := testPKI(b)
	genuine := largest(b)
	for name, document := range refusedDocuments(genuine) {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			input := []byte(document)
			b.SetBytes(int64(len(input)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := xmlsig.Verify(input, policyOf(p), now); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
	b.Run("nothing_to_refuse", func(b *testing.B) {
		b.SetBytes(int64(len(genuine)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := xmlsig.Verify([]byte(genuine), policyOf(p), now); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestNoDocumentCostsMoreThan64MiB is the part of the goal that can be tested anywhere: unlike time, allocations do not depend on
// what else the machine does.
func TestNoDocumentCostsMoreThan64MiB(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	const goal, worst = 64 << 20, "worst body, "
	p := testPKI(t)
	genuine := largest(t)
	documents := refusedDocuments(genuine)
	documents["genuine"] = genuine
	for _, method := range []xmlsig.Canonicalization{xmlsig.ExclusiveC14N, xmlsig.InclusiveC14N} {
		for name, document := range worstDocuments(t, method) {
			documents[worst+label(method)+", "+name] = string(document)
		}
	}
	policy := policyOf(p)
	for name, document := range documents {
		input := []byte(document)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := xmlsig.Verify(input, policy, now)
		runtime.ReadMemStats(&after)
		if strings.HasPrefix(name, worst) {
			wantClass(t, err, xmlsig.ClassDigest) // or less was done than it is there for
		} else if (err == nil) != (name == "genuine") {
			t.Errorf("%s: error %v", name, err)
		}
		if cost := after.TotalAlloc - before.TotalAlloc; cost > goal {
			t.Errorf("%s: %d bytes allocated, want at most %d", name, cost, goal)
		}
	}
}
