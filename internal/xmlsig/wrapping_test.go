package xmlsig_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// wrapped are the pieces of a genuine document that wrapping moves about.
type wrapped struct {
	// evilStart and evilEnd are the tags of a root that nobody signed.
	evilStart, evilEnd string
	// signed is the genuine root without its Signature, whole the one with it.
	signed, whole, signature string
}

// inSignature puts text at the end of an element of the Signature.
func (w wrapped) inSignature(element, text string) string {
	return strings.Replace(w.signature, "</"+element+">", text+"</"+element+">", 1)
}

// TestSignatureWrapping has the eight permutations that are published for SAML (Somorovsky and others, "On Breaking SAML", USENIX
// Security 2012; numbered as in SAML Raider), adapted to a document whose root is what is signed. Each is tried with a
// reference to the whole document and to the root's ID, and with the same and another ID on the root that is not signed.
func TestSignatureWrapping(t *testing.T) {
	p := testPKI(t)
	const shape, digest = xmlsig.ClassShape, xmlsig.ClassDigest
	cases := map[string]struct {
		document func(wrapped) string
		// The class when the reference is the empty URI, an ID that the evil root has, and one that it has not.
		whole, sameID, otherID xmlsig.Class
	}{
		"XSW1: the signed root below the Signature":           {func(w wrapped) string { return w.evilStart + evil + w.inSignature("Signature", w.signed) + w.evilEnd }, shape, shape, shape},
		"XSW2: the signed root in front of the Signature":     {func(w wrapped) string { return w.evilStart + evil + w.signed + w.signature + w.evilEnd }, digest, shape, shape},
		"XSW3: evil content in front of the genuine document": {func(w wrapped) string { return w.evilStart + evil + w.whole + w.evilEnd }, shape, shape, shape},
		"XSW4: evil content around the genuine document":      {func(w wrapped) string { return w.evilStart + "<Config>" + w.whole + "</Config>" + evil + w.evilEnd }, shape, shape, shape},
		"XSW5: the signed root behind the Signature":          {func(w wrapped) string { return w.evilStart + evil + w.signature + w.signed + w.evilEnd }, digest, shape, shape},
		"XSW6: the signed root inside the KeyInfo":            {func(w wrapped) string { return w.evilStart + evil + w.inSignature("KeyInfo", w.signed) + w.evilEnd }, shape, shape, shape},
		"XSW7: an extension in front with a root of its own": {func(w wrapped) string {
			return strings.Replace(w.whole, "<Config", "<Extensions>"+w.evilStart+evil+w.evilEnd+"</Extensions><Config", 1)
		}, digest, shape, digest},
		"XSW8: the signed root inside an Object": {func(w wrapped) string {
			return w.evilStart + evil + w.inSignature("Signature", "<Object>"+w.signed+"</Object>") + w.evilEnd
		}, shape, shape, shape},
		"the genuine document inside an Object": {func(w wrapped) string {
			return w.evilStart + evil + w.inSignature("Signature", "<Object>"+w.whole+"</Object>") + w.evilEnd
		}, shape, shape, shape},
		"the signed root inside the reference": {func(w wrapped) string { return w.evilStart + evil + w.inSignature("Reference", w.signed) + w.evilEnd }, shape, shape, shape},
		"a second Signature around the first": {func(w wrapped) string {
			return w.evilStart + evil + w.inSignature("Signature", "<Object>"+w.signature+"</Object>") + w.evilEnd
		}, shape, shape, shape},
		"an empty Signature in front of the genuine one": {func(w wrapped) string {
			return w.evilStart + evil + `<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/>` + w.signature + w.evilEnd
		}, shape, shape, shape},
		"a Signature of another namespace beside": {func(w wrapped) string {
			return w.evilStart + evil + `<Signature xmlns="urn:x"/>` + w.signature + w.evilEnd
		}, digest, digest, shape},
		"the Signature alone on other content": {func(w wrapped) string { return w.evilStart + evil + w.signature + w.evilEnd }, digest, digest, shape},
		"the genuine document in a comment beside other content": {func(w wrapped) string {
			return w.evilStart + evil + "<!--" + w.signed + "-->" + w.signature + w.evilEnd
		}, digest, digest, shape},
	}
	const document = `<EOCS version="1.1" ID="eocs"><Config id="M1"></Config></EOCS>`
	for name, tc := range cases {
		for _, byID := range []bool{false, true} {
			for _, evilID := range []string{"eocs", "other"} {
				want := tc.whole
				switch {
				case byID && evilID == "eocs":
					want = tc.sameID
				case byID:
					want = tc.otherID
				}
				t.Run(fmt.Sprintf("%s, reference by ID %t, ID %s", name, byID, evilID), func(t *testing.T) {
					whole := sign(t, document, p.RSA, func(o *xmlsig.SignOptions) { o.ReferenceID = byID })
					if _, err := xmlsig.Verify(whole, policyOf(p), now); err != nil {
						t.Fatal(err)
					}
					signature := part(t, whole, "<Signature", "</Signature>")
					forged := tc.document(wrapped{
						evilStart: `<EOCS version="1.1" ID="` + evilID + `">`, evilEnd: "</EOCS>",
						signed: document, whole: string(whole), signature: signature,
					})
					signed, err := xmlsig.Verify([]byte(forged), policyOf(p), now)
					wantClass(t, err, want)
					if signed != nil {
						t.Error("a result beside the error")
					}
				})
			}
		}
	}
}

// TestMarkupThatChangesNothing rewrites a genuine document without changing what it says. What comes out must be the same
// bytes: whoever reads them cannot be shown two documents.
func TestMarkupThatChangesNothing(t *testing.T) {
	p := testPKI(t)
	const document = `<EOCS version="1.1" ID="eocs"><Config id="M1" desc="a &amp; b"><Value>LyncExtFeature &lt;x&gt;</Value><Empty></Empty></Config></EOCS>`
	genuine := sign(t, document, p.RSA, nil)
	original, err := xmlsig.Verify(genuine, policyOf(p), now)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a comment that splits a text":            {"LyncExtFeature", "LyncExt<!-- <Value>x</Value> -->Feature"},
		"a comment in an empty element":           {"<Empty></Empty>", "<Empty><!-- x --></Empty>"},
		"a comment at the beginning of a text":    {"<Value>", "<Value><!---->"},
		"CDATA instead of references":             {"LyncExtFeature &lt;x&gt;", "<![CDATA[LyncExtFeature <x>]]>"},
		"CDATA in the middle of a word":           {"LyncExtFeature", "Lync<![CDATA[Ext]]>Feature"},
		"empty CDATA":                             {"LyncExtFeature", "LyncExt<![CDATA[]]>Feature"},
		"character references instead of letters": {"LyncExtFeature", "&#x4C;ync&#69;xtFeature"},
		"other references in an attribute":        {"a &amp; b", "a&#32;&#x26;&#32;b"},
		"an empty-element tag":                    {"<Empty></Empty>", "<Empty  />"},
		"attributes in another order":             {`id="M1" desc="a &amp; b"`, `desc='a &amp; b' id='M1'`},
		"a line end in front of an attribute":     {` desc=`, "\r\n\tdesc="},
	} {
		t.Run(name, func(t *testing.T) {
			signed, err := xmlsig.Verify(replaceOnce(t, genuine, change[0], change[1]), policyOf(p), now)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(signed.Canonical, original.Canonical) || signed.Digest != original.Digest {
				t.Errorf("canonical bytes %q, want %q", signed.Canonical, original.Canonical)
			}
		})
	}
}

// TestMarkupAndEncodingsThatAreRefused adds to a genuine document what parsers see differently.
func TestMarkupAndEncodingsThatAreRefused(t *testing.T) {
	p := testPKI(t)
	genuine := string(sign(t, `<?xml version="1.0" encoding="utf-8"?><EOCS version="1.1"><Value>Gr`+"\u00fc\u00df"+`e</Value></EOCS>`, p.RSA, nil))
	replace := func(old, replacement string) string { return strings.Replace(genuine, old, replacement, 1) }
	for name, document := range map[string]string{
		"a processing instruction in a text":       replace("<Value>", "<Value><?x?>"),
		"a processing instruction in front":        replace("<EOCS", `<?xml-stylesheet href="http://example.com/"?><EOCS`),
		"a processing instruction behind":          genuine + "<?x?>",
		"a processing instruction in SignedInfo":   replace("<SignedInfo>", "<SignedInfo><?x?>"),
		"a declaration in the middle":              replace("<Value>", `<Value><?xml version="1.0"?>`),
		"a DTD with a default attribute":           replace("<EOCS", `<!DOCTYPE EOCS [<!ATTLIST Value id CDATA "x">]><EOCS`),
		"a DTD with an external entity":            replace("<EOCS", `<!DOCTYPE EOCS [<!ENTITY x SYSTEM "file:///etc/passwd">]><EOCS`),
		"UTF-16, little-endian":                    encodeUTF16(replace("utf-8", "utf-16"), false),
		"UTF-16, big-endian":                       encodeUTF16(replace("utf-8", "utf-16"), true),
		"UTF-16 under the label UTF-8":             encodeUTF16(genuine, false),
		"UTF-8 under the label UTF-16":             replace("utf-8", "utf-16"),
		"UTF-8 under the label ISO-8859-1":         replace("utf-8", "iso-8859-1"),
		"ISO-8859-1":                               strings.NewReplacer("utf-8", "iso-8859-1", "\u00fc", "\xfc", "\u00df", "\xdf").Replace(genuine),
		"ISO-8859-1 under the label UTF-8":         strings.NewReplacer("\u00fc", "\xfc", "\u00df", "\xdf").Replace(genuine),
		"UTF-7":                                    strings.NewReplacer("utf-8", "utf-7", "\u00fc\u00df", "+APwA3w-").Replace(genuine),
		"an overlong form of a less-than sign":     replace("Gr", "Gr\xc0\xbc"),
		"half of a surrogate pair":                 replace("Gr", "Gr\xed\xa0\x80"),
		"two byte order marks":                     "\ufeff\ufeff" + genuine,
		"a byte order mark behind the declaration": replace("?><EOCS", "?>\ufeff<EOCS"),
		"a NUL": replace("Gr", "Gr\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			if document == genuine {
				t.Fatal("the document is not changed")
			}
			_, err := xmlsig.Verify([]byte(document), policyOf(p), now)
			wantClass(t, err, xmlsig.ClassMalformed)
		})
	}
}

func encodeUTF16(text string, bigEndian bool) string {
	var b strings.Builder
	for _, unit := range append([]uint16{0xFEFF}, utf16.Encode([]rune(text))...) {
		low, high := byte(unit), byte(unit>>8)
		if bigEndian {
			low, high = high, low
		}
		b.Write([]byte{low, high})
	}
	return b.String()
}

// TestValuesWithRoomInThem changes what decoders differ about but no standard gives a meaning.
func TestValuesWithRoomInThem(t *testing.T) {
	p := testPKI(t)
	genuine := sign(t, content, p.RSA, nil)
	value := part(t, genuine, "<SignatureValue>", "</SignatureValue>")
	// 256 bytes are 341 whole groups of base64 and one byte more: four bits of its second letter mean nothing.
	at := strings.Index(value, "==") - 1
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	unread := value[:at] + string(alphabet[strings.IndexByte(alphabet, value[at])|1]) + value[at+1:]
	for name, changed := range map[string]string{
		"bits that nobody reads":  unread,
		"no padding":              strings.Replace(value, "==", "", 1),
		"more padding":            strings.Replace(value, "==", "====", 1),
		"a letter of no alphabet": strings.Replace(value, "==", "-_==", 1),
		"a no-break space":        strings.Replace(value, "==", "\u00a0==", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := xmlsig.Verify(replaceOnce(t, genuine, value, changed), policyOf(p), now)
			wantClass(t, err, xmlsig.ClassShape)
		})
	}
}

// TestKeysThatDoNotFitTheMethod exchanges the method and the curve, which no signer of this package would do.
func TestKeysThatDoNotFitTheMethod(t *testing.T) {
	p := testPKI(t)
	genuine := sign(t, content, p.ECDSA, nil)
	_, err := xmlsig.Verify(replaceOnce(t, genuine, "xmldsig-more#ecdsa-sha256", "xmldsig-more#rsa-sha256"), policyOf(p), now)
	wantClass(t, err, xmlsig.ClassAlgorithm)
	larger, err := p.Issuing.Issue("P-384", pki.Key(pki.ECDSAP384), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	encode := func(id *pki.Identity) string { return base64.StdEncoding.EncodeToString(id.Certificate.Raw) }
	_, err = xmlsig.Verify(replaceOnce(t, genuine, encode(p.ECDSA), encode(larger)), policyOf(p), now)
	wantClass(t, err, xmlsig.ClassCertificate)
}
