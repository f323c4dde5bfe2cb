package xmlsig

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const signatureNamespace = ` xmlns="http://www.w3.org/2000/09/xmldsig#"`

func nested(depth int, attributes string) string {
	return strings.Repeat("<a"+attributes+">", depth) + strings.Repeat("</a>", depth)
}

func numbered(format string, count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestPrescanRefuses(t *testing.T) {
	cases := map[string]struct {
		document string
		want     Class
		wantText string
	}{
		"a document that is too large":           {"<a>" + strings.Repeat(" ", MaxDocumentBytes) + "</a>", ClassTooLarge, "1048583 bytes"},
		"nothing":                                {"", ClassMalformed, "no root element"},
		"only white space":                       {" \n", ClassMalformed, "no root element"},
		"only a declaration":                     {`<?xml version="1.0"?>`, ClassMalformed, "no root element"},
		"text":                                   {"hello", ClassMalformed, "outside the root"},
		"a document type declaration":            {`<!DOCTYPE a><a/>`, ClassMalformed, "document type"},
		"entities":                               {`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, ClassMalformed, "document type"},
		"an entity that nobody declared":         {`<a>&x;</a>`, ClassMalformed, "invalid character entity"},
		"a processing instruction in front":      {`<?php x?><a/>`, ClassMalformed, "processing instruction"},
		"a processing instruction inside":        {`<a><?x y?></a>`, ClassMalformed, "processing instruction"},
		"a processing instruction behind":        {`<a/><?x y?>`, ClassMalformed, "processing instruction"},
		"a declaration behind a blank":           {` <?xml version="1.0"?><a/>`, ClassMalformed, "processing instruction"},
		"a second declaration":                   {`<?xml version="1.0"?><?xml version="1.0"?><a/>`, ClassMalformed, "processing instruction"},
		"XML 1.1":                                {`<?xml version="1.1"?><a/>`, ClassMalformed, ""},
		"a declaration without version":          {`<?xml encoding="utf-8"?><a/>`, ClassMalformed, "XML declaration"},
		"the encoding ISO-8859-1":                {`<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, ClassMalformed, "XML declaration"},
		"the encoding UTF-16 as label":           {`<?xml version="1.0" encoding="UTF-16"?><a/>`, ClassMalformed, "XML declaration"},
		"the encoding UTF-7":                     {`<?xml version="1.0" encoding="UTF-7"?><a/>`, ClassMalformed, "XML declaration"},
		"a hidden encoding":                      {`<?xml version="1.0" x="encoding='utf-8'" encoding="UTF-16"?><a/>`, ClassMalformed, "XML declaration"},
		"bytes of UTF-16":                        {"\xff\xfe<\x00a\x00/\x00>\x00", ClassMalformed, "not UTF-8"},
		"bytes of Latin-1":                       {"<a>\xe4</a>", ClassMalformed, "not UTF-8"},
		"Latin-1 in a comment":                   {"<a><!-- \xe4 --></a>", ClassMalformed, "not UTF-8"},
		"two byte order marks":                   {"\ufeff\ufeff<a/>", ClassMalformed, "outside the root"},
		"a NUL":                                  {"<a>\x00</a>", ClassMalformed, "U+0000"},
		"a control character in a comment":       {"<!-- \x07 --><a/>", ClassMalformed, "U+0007"},
		"a reference to a control character":     {"<a>&#7;</a>", ClassMalformed, ""},
		"a noncharacter":                         {"<a>\uffff</a>", ClassMalformed, "U+FFFF"},
		"a second root":                          {"<a/><b/>", ClassMalformed, "second root"},
		"text behind the root":                   {"<a/>x", ClassMalformed, "outside the root"},
		"a character reference behind the root":  {"<a/>&#32;", ClassMalformed, "outside the root"},
		"CDATA behind the root":                  {"<a/><![CDATA[ ]]>", ClassMalformed, "outside the root"},
		"a root that is not closed":              {"<a><b></b>", ClassMalformed, "never closed"},
		"an end tag of another name":             {"<a></b>", ClassMalformed, "open element"},
		"an end tag of another prefix":           {`<p:a xmlns:p="urn:a" xmlns:q="urn:a"></q:a>`, ClassMalformed, "open element"},
		"an end tag too many":                    {"<a/></a>", ClassMalformed, "no element is open"},
		"the end of a comment inside one":        {"<a><!-- -- --></a>", ClassMalformed, ""},
		"]]> in text":                            {"<a>]]></a>", ClassMalformed, ""},
		"an attribute without quotes":            {"<a b=c/>", ClassMalformed, ""},
		"an attribute without value":             {"<a b/>", ClassMalformed, ""},
		"a less-than sign in an attribute":       {`<a b="<"/>`, ClassMalformed, ""},
		"attributes without space":               {`<a b="1"c="2"/>`, ClassMalformed, "white space between"},
		"a repeated attribute":                   {`<a b="1" b="2"/>`, ClassMalformed, "repeated"},
		"a repeated declaration":                 {`<a xmlns="urn:a" xmlns="urn:b"/>`, ClassMalformed, "repeated"},
		"an attribute repeated by two prefixes":  {`<a xmlns:p="urn:a" xmlns:q="urn:a" p:x="1" q:x="2"/>`, ClassMalformed, "repeated"},
		"an undeclared prefix":                   {`<p:a/>`, ClassMalformed, "undeclared prefix"},
		"an undeclared prefix of an attribute":   {`<a p:b="1"/>`, ClassMalformed, "undeclared prefix"},
		"a prefix that has gone out of scope":    {`<a><b xmlns:p="urn:a"/><p:c/></a>`, ClassMalformed, "undeclared prefix"},
		"the prefix xmlns on an element":         {`<xmlns:a/>`, ClassMalformed, "reserved"},
		"a declaration of xmlns":                 {`<a xmlns:xmlns="urn:a"/>`, ClassMalformed, "reserved"},
		"a declaration of xml":                   {`<a xmlns:xml="urn:a"/>`, ClassMalformed, "reserved"},
		"the XML namespace for a prefix":         {`<a xmlns:p="http://www.w3.org/XML/1998/namespace"/>`, ClassMalformed, "reserved"},
		"the XML namespace as default":           {`<a xmlns="http://www.w3.org/XML/1998/namespace"/>`, ClassMalformed, "reserved"},
		"an undeclared prefix by empty name":     {`<a xmlns:p="urn:a"><b xmlns:p=""/></a>`, ClassMalformed, "undeclared in XML 1.0"},
		"a relative namespace name":              {`<a xmlns="relative"/>`, ClassMalformed, "absolute"},
		"two colons":                             {`<a:b:c xmlns:a="urn:a"/>`, ClassMalformed, ""},
		"a colon in front":                       {`<:a/>`, ClassMalformed, "qualified"},
		"a local name that begins with a digit":  {`<p:1 xmlns:p="urn:a"/>`, ClassMalformed, "qualified"},
		"depth 17":                               {nested(17, ""), ClassLimit, "deeper than 16"},
		"depth of thousands":                     {nested(100_000, ""), ClassLimit, "deeper than 16"},
		"20,001 elements":                        {"<a>" + strings.Repeat("<b/>", 20_000) + "</a>", ClassLimit, "more than 20000"},
		"65 attributes":                          {"<a" + numbered(` a%d=""`, 65) + "/>", ClassLimit, "more than 64 attributes"},
		"65,537 attributes":                      {"<a>" + strings.Repeat("<b"+numbered(` a%d=""`, 64)+"/>", 1024) + `<b a=""/></a>`, ClassLimit, "more than 65536 in all"},
		"nine namespaces":                        {"<a>" + numbered(`<b xmlns="urn:%d"/>`, 9) + "</a>", ClassLimit, "more than 8"},
		"the known namespace amplification":      {"<a" + numbered(` xmlns:n%d="urn:n"`, 60) + ">" + strings.Repeat("<b/>", 10_000) + "</a>", ClassLimit, "more than 8"},
		"28 levels of 60 declarations":           {nested(28, numbered(` xmlns:n%d="urn:n"`, 60)), ClassLimit, "more than 8"},
		"namespaces inside the Signature":        {"<a><Signature" + signatureNamespace + numbered(` xmlns:n%d="urn:n"`, 16) + "/></a>", ClassLimit, "more than 16"},
		"a namespace name of 257 bytes":          {`<a xmlns="urn:` + strings.Repeat("x", 253) + `"/>`, ClassLimit, "257 bytes"},
		"257 comments":                           {"<a>" + strings.Repeat("<!---->", 257) + "</a>", ClassLimit, "more than 256"},
		"a namespace repeated by exclusive C14N": {`<a xmlns:p="urn:` + strings.Repeat("x", 250) + `">` + strings.Repeat("<p:b/>", 10_000) + "</a>", ClassLimit, "canonical form"},
		"quotation marks that grow":              {`<a b='` + strings.Repeat(`"`, 400_000) + `'/>`, ClassLimit, "canonical form"},
		"text that grows":                        {"<a><![CDATA[" + strings.Repeat("&", 500_000) + "]]></a>", ClassLimit, "canonical form"},
		"a Signature as root":                    {"<Signature" + signatureNamespace + "/>", ClassShape, "outside a Signature"},
		"a Signature below a child":              {"<a><b><Signature" + signatureNamespace + "/></b></a>", ClassShape, "outside a Signature"},
		"a Signature by prefix below a child":    {`<a xmlns:x="http://www.w3.org/2000/09/xmldsig#"><b><x:Signature/></b></a>`, ClassShape, "outside a Signature"},
		"two Signatures":                         {"<a><Signature" + signatureNamespace + "/><Signature" + signatureNamespace + "/></a>", ClassShape, "second Signature"},
		"an Object beside the Signature":         {"<a><Object" + signatureNamespace + "/></a>", ClassShape, "outside a Signature"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := prescan([]byte(tc.document))
			var refusal *Error
			if !errors.As(err, &refusal) {
				t.Fatalf("error %v, want a refusal", err)
			}
			if refusal.Class != tc.want || !strings.Contains(refusal.Error(), tc.wantText) {
				t.Fatalf("error %v, want class %q and text %q", refusal, tc.want, tc.wantText)
			}
		})
	}
}

func TestPrescanAccepts(t *testing.T) {
	cases := map[string]string{
		"a declaration":                       `<?xml version="1.0"?><a/>`,
		"a full declaration":                  `<?xml version='1.0'  encoding = "UTF-8" standalone='yes' ?><a/>`,
		"a byte order mark":                   "\ufeff<?xml version=\"1.0\" encoding=\"Utf-8\"?>\n<a/>",
		"comments and white space around":     "<!-- x -->\n<a/>\r\n<!-- y --> ",
		"depth 16":                            nested(16, ""),
		"20,000 elements":                     "<a>" + strings.Repeat("<b/>", 19_999) + "</a>",
		"64 attributes with other quotes":     "<a" + numbered(` a%d="'>'"`, 64) + ">'\"'\"</a>",
		"64 attributes":                       "<a" + numbered(` a%d=""`, 64) + "/>",
		"65,536 attributes":                   "<a>" + strings.Repeat("<b"+numbered(` a%d=""`, 64)+"/>", 1024) + "</a>",
		"eight namespaces":                    "<a>" + numbered(`<b xmlns="urn:%d"/>`, 8) + "</a>",
		"256 comments":                        "<a>" + strings.Repeat("<!---->", 256) + "</a>",
		"xml: attributes":                     `<a xml:lang="en" xml:space="preserve"/>`,
		"one local name in two namespaces":    `<a xmlns:p="urn:p" p:x="1" x="2"/>`,
		"a greater-than sign in an attribute": `<a b=">" c='/>'/>`,
		"elements of XML Signature inside":    "<a><Signature" + signatureNamespace + "><Object><Signature/></Object></Signature></a>",
		"another namespace's Signature":       `<a><Signature/><b><Signature xmlns="urn:x"/></b></a>`,
		"a local xmlns=''":                    `<a xmlns="urn:d"><b xmlns=""/></a>`,
		"xmlns='' below an unused default":    `<p:a xmlns:p="urn:p" xmlns="urn:d"><b xmlns=""/></p:a>`,
		"attributes of two namespaces":        `<a xml:lang="en" p:b="1" xmlns:p="urn:p"/>`,
	}
	for name, document := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := prescan([]byte(document)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestARefusalSaysWhere(t *testing.T) {
	_, err := prescan([]byte("<a>\r\n  <b/>\n  \u00e4<c x='1'\n x='2'/></a>"))
	var refusal *Error
	if !errors.As(err, &refusal) {
		t.Fatalf("error %v, want a refusal", err)
	}
	if refusal.Line != 3 || refusal.Column != 4 {
		t.Errorf("line %d, column %d, want 3, 4: %v", refusal.Line, refusal.Column, err)
	}
	if want := `xml signature: malformed XML: element "c" (line 3, column 4): attribute "x" is repeated`; err.Error() != want {
		t.Errorf("message %q, want %q", err.Error(), want)
	}
}

func TestForeignTextInMessagesIsBounded(t *testing.T) {
	_, err := prescan([]byte("<" + strings.Repeat("\u00e4", 10_000) + ">"))
	if err == nil || len(err.Error()) > 500 {
		t.Fatalf("message of %d bytes, want at most 500", len(err.Error()))
	}
}

// TestTheEstimateIsAnUpperBound is what makes the limit on the canonical form one.
func TestTheEstimateIsAnUpperBound(t *testing.T) {
	for name, document := range map[string]string{
		"empty":                `<a/>`,
		"escapes":              "<a b='\"&#9;&#10;&#13;&lt;&amp;>'>&lt;&amp;&gt;&#13;\r\n</a>",
		"namespaces inherited": `<a xmlns:p="urn:p" xmlns="urn:d"><p:b p:x="1"/><c><p:d/></c></a>`,
		"namespaces repeated":  `<a xmlns:p="urn:p">` + strings.Repeat("<p:b/>", 20) + `</a>`,
		"namespaces unused":    `<a xmlns:p="urn:p" xmlns:q="urn:q"><b xmlns:p="urn:p"/></a>`,
		"a default undone":     `<a xmlns="urn:d"><b xmlns=""><c/></b></a>`,
		"a default unused":     `<p:a xmlns:p="urn:p" xmlns="urn:d"><b xmlns=""/><c/></p:a>`,
	} {
		scanned, err := prescan([]byte(document))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, method := range []Canonicalization{ExclusiveC14N, InclusiveC14N} {
			canonical, err := canonicalRoot(mustParse(t, scanned.document), nil, method, 0)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(canonical) > scanned.canonicalBytes {
				t.Errorf("%s, %s: %d bytes, estimated %d: %s", name, method, len(canonical), scanned.canonicalBytes, canonical)
			}
		}
	}
}
