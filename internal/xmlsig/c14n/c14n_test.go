package c14n_test

import (
	"strings"
	"testing"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/xmlsig/c14n"
)

// methods are the expected forms of one document. All are written by hand from the standards.
type methods struct{ exclusive, inclusive string }

func both(form string) methods { return methods{form, form} }

// find returns the first element of a name below an element or at it.
func find(element *etree.Element, tag string) *etree.Element {
	if element.Tag == tag {
		return element
	}
	for _, child := range element.ChildElements() {
		if found := find(child, tag); found != nil {
			return found
		}
	}
	return nil
}

func parse(tb testing.TB, document string) *etree.Element {
	tb.Helper()
	tree := etree.NewDocument()
	if err := tree.ReadFromString(document); err != nil {
		tb.Fatalf("%q: %v", document, err)
	}
	return tree.Root()
}

// check canonicalises the element "apex" of a document, or the root if it has none, less the element "except".
func check(t *testing.T, document string, want methods) {
	t.Helper()
	root := parse(t, document)
	apex := find(root, "apex")
	if apex == nil {
		apex = root
	}
	for method, form := range map[c14n.Method]string{c14n.Exclusive: want.exclusive, c14n.Inclusive: want.inclusive} {
		got, err := c14n.Append([]byte("before"), apex, find(root, "except"), method)
		if err != nil {
			t.Fatalf("method %d: %v", method, err)
		}
		if diff := cmp.Diff("before"+form, string(got)); diff != "" {
			t.Errorf("method %d (-want +got):\n%s", method, diff)
		}
	}
}

// TestTextAndMarkup is Canonical XML 1.0, sections 1.1 and 2.3, without namespaces.
func TestTextAndMarkup(t *testing.T) {
	cases := map[string]struct{ document, want string }{
		"an empty element gets an end tag":                      {`<a/>`, `<a></a>`},
		"white space in tags is normalised":                     {"<a  b='1'\n c = \"2\" ></a >", `<a b="1" c="2"></a>`},
		"white space in content stays":                          {"<a> \n\t<b/>\n </a>", "<a> \n\t<b></b>\n </a>"},
		"attributes stand in the order of their names":          {`<a c="" B="" b="" a="" é="" b.a="" b-a="" ab=""/>`, `<a B="" a="" ab="" b="" b-a="" b.a="" c="" é=""></a>`},
		"characters that text must not have are replaced":       {`<a>&amp;&lt;&gt;&#13;</a>`, `<a>&amp;&lt;&gt;&#xD;</a>`},
		"characters that text may have stay":                    {"<a>\"'&#9;&#10;é\U0001F600</a>", "<a>\"'\t\né\U0001F600</a>"},
		"characters that attributes must not have are replaced": {`<a b="&amp;&lt;&quot;&#9;&#10;&#13;"/>`, `<a b="&amp;&lt;&quot;&#x9;&#xA;&#xD;"></a>`},
		"characters that attributes may have stay":              {"<a b='>&#39; é\U0001F600'/>", "<a b=\">' é\U0001F600\"></a>"},
		"what was replaced once is replaced again":              {`<a b="&amp;lt;x&amp;amp;">&amp;lt;x&amp;amp;</a>`, `<a b="&amp;lt;x&amp;amp;">&amp;lt;x&amp;amp;</a>`},
		"character references are characters":                   {`<a>&#x41;&#66;</a>`, `<a>AB</a>`},
		"CDATA is text":                                         {`<a><![CDATA[<b> & ]]]]><![CDATA[>]]></a>`, `<a>&lt;b&gt; &amp; ]]&gt;</a>`},
		"comments go and the text around them joins":            {`<a>x<!-- <b/> & -->y<!----></a>`, `<a>xy</a>`},
		"what stands outside the root goes":                     {"<?xml version=\"1.0\"?>\n<!-- x -->\n<a/>\n<!-- y -->", `<a></a>`},
		"elements keep their order":                             {`<a><c/>1<b><d/></b>2<c/></a>`, `<a><c></c>1<b><d></d></b>2<c></c></a>`},
		"an element is left out with all that is in it":         {"<a>1<except b='2'>3<c/></except>\n4</a>", "<a>1\n4</a>"},
		"an element is left out at any depth":                   {"<a><b>1<except/></b>2</a>", "<a><b>1</b>2</a>"},
		"an element is left out once":                           {"<a><except>1</except><except>2</except></a>", "<a><except>2</except></a>"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { check(t, tc.document, both(tc.want)) })
	}
}

// TestNamespaces is Canonical XML 1.0, section 2.3 (namespace axis), and Exclusive XML Canonicalization 1.0, section 3.
func TestNamespaces(t *testing.T) {
	cases := map[string]struct {
		document string
		want     methods
	}{
		"the default one first, then by prefix, then the attributes": {
			`<q:a b="" xmlns:q="urn:q" q:x="" p:x="" xmlns:p="urn:p" xmlns="urn:d"><c/></q:a>`,
			methods{
				`<q:a xmlns:p="urn:p" xmlns:q="urn:q" b="" p:x="" q:x=""><c xmlns="urn:d"></c></q:a>`,
				`<q:a xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q" b="" p:x="" q:x=""><c></c></q:a>`,
			},
		},
		"those of no use": {
			`<a xmlns:p="urn:p" xmlns:q="urn:q"><p:b/></a>`,
			methods{`<a><p:b xmlns:p="urn:p"></p:b></a>`, `<a xmlns:p="urn:p" xmlns:q="urn:q"><p:b></p:b></a>`},
		},
		"declared again as they are": {
			`<p:a xmlns:p="urn:p" xmlns="urn:d"><b xmlns="urn:d" xmlns:p="urn:p" p:c=""/></p:a>`,
			methods{`<p:a xmlns:p="urn:p"><b xmlns="urn:d" p:c=""></b></p:a>`, `<p:a xmlns="urn:d" xmlns:p="urn:p"><b p:c=""></b></p:a>`},
		},
		"declared as another and back": {
			`<p:a xmlns:p="urn:1"><p:b xmlns:p="urn:2"><p:c xmlns:p="urn:1"/><p:d/></p:b><p:e/></p:a>`,
			both(`<p:a xmlns:p="urn:1"><p:b xmlns:p="urn:2"><p:c xmlns:p="urn:1"></p:c><p:d></p:d></p:b><p:e></p:e></p:a>`),
		},
		"declared as another between two uses": {
			`<p:a xmlns:p="urn:1"><b xmlns:p="urn:2"><p:c xmlns:p="urn:1"/></b></p:a>`,
			methods{
				`<p:a xmlns:p="urn:1"><b><p:c></p:c></b></p:a>`,
				`<p:a xmlns:p="urn:1"><b xmlns:p="urn:2"><p:c xmlns:p="urn:1"></p:c></b></p:a>`,
			},
		},
		"used by siblings": {
			`<a xmlns:p="urn:p"><p:b/><p:c/></a>`,
			methods{`<a><p:b xmlns:p="urn:p"></p:b><p:c xmlns:p="urn:p"></p:c></a>`, `<a xmlns:p="urn:p"><p:b></p:b><p:c></p:c></a>`},
		},
		"used by an attribute only": {
			`<a xmlns:p="urn:p"><b p:x=""><p:c/></b></a>`,
			methods{`<a><b xmlns:p="urn:p" p:x=""><p:c></p:c></b></a>`, `<a xmlns:p="urn:p"><b p:x=""><p:c></p:c></b></a>`},
		},
		"an attribute without prefix does not use the default one": {
			`<p:a xmlns:p="urn:p" xmlns="urn:d" x=""/>`,
			methods{`<p:a xmlns:p="urn:p" x=""></p:a>`, `<p:a xmlns="urn:d" xmlns:p="urn:p" x=""></p:a>`},
		},
		"the default one undone": {
			`<a xmlns="urn:d"><b xmlns=""><c/><d xmlns="urn:d"/></b></a>`,
			both(`<a xmlns="urn:d"><b xmlns=""><c></c><d xmlns="urn:d"></d></b></a>`),
		},
		"none undone where there is none": {
			`<a xmlns=""><b xmlns=""/></a>`,
			both(`<a><b></b></a>`),
		},
		"the default one undone that no element uses": {
			`<p:a xmlns:p="urn:p" xmlns="urn:d"><b xmlns=""><c xmlns="urn:e"/></b><d/></p:a>`,
			methods{
				`<p:a xmlns:p="urn:p"><b><c xmlns="urn:e"></c></b><d xmlns="urn:d"></d></p:a>`,
				`<p:a xmlns="urn:d" xmlns:p="urn:p"><b xmlns=""><c xmlns="urn:e"></c></b><d></d></p:a>`,
			},
		},
		"the default one undone below an element that does not use it": {
			`<a xmlns="urn:d"><p:b xmlns="" xmlns:p="urn:p"><c/></p:b></a>`,
			methods{
				`<a xmlns="urn:d"><p:b xmlns:p="urn:p"><c xmlns=""></c></p:b></a>`,
				`<a xmlns="urn:d"><p:b xmlns="" xmlns:p="urn:p"><c></c></p:b></a>`,
			},
		},
		"attributes of two namespaces stand in the order of the namespaces": {
			`<a xmlns:p="urn:2" xmlns:q="urn:1" p:a="1" q:b="2" xml:c="3" z="4"/>`,
			both(`<a xmlns:p="urn:2" xmlns:q="urn:1" z="4" xml:c="3" q:b="2" p:a="1"></a>`),
		},
		"one local name in two namespaces": {
			`<a xmlns:p="urn:2" xmlns:q="urn:1" p:x="1" q:x="2" x="3"/>`,
			both(`<a xmlns:p="urn:2" xmlns:q="urn:1" x="3" q:x="2" p:x="1"></a>`),
		},
		"two prefixes of one namespace stand for different ones": {
			`<p:a xmlns:p="urn:1" xmlns:q="urn:1" q:y="" p:x=""><q:b/></p:a>`,
			both(`<p:a xmlns:p="urn:1" xmlns:q="urn:1" p:x="" q:y=""><q:b></q:b></p:a>`),
		},
		"names of namespaces are escaped as attributes are": {
			`<a xmlns="urn:&amp;&lt;>&quot;"/>`,
			both(`<a xmlns="urn:&amp;&lt;>&quot;"></a>`),
		},
		"xml is never declared": {
			`<a xml:lang="en"><b xml:space="preserve"/></a>`,
			both(`<a xml:lang="en"><b xml:space="preserve"></b></a>`),
		},
		"what is declared on an element that is left out": {
			`<a><except xmlns:p="urn:p"/><b/></a>`,
			both(`<a><b></b></a>`),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { check(t, tc.document, tc.want) })
	}
}

// TestPartOfADocument is Canonical XML 1.0, sections 2.3 and 2.4, and Exclusive XML Canonicalization 1.0, section 3, for an element
// whose ancestors are not in the output.
func TestPartOfADocument(t *testing.T) {
	cases := map[string]struct {
		document string
		want     methods
	}{
		"namespaces in scope, of which the nearest counts": {
			`<a xmlns:p="urn:far" xmlns:q="urn:q"><b xmlns:p="urn:near" xmlns="urn:d"><p:apex><c/></p:apex></b></a>`,
			methods{
				`<p:apex xmlns:p="urn:near"><c xmlns="urn:d"></c></p:apex>`,
				`<p:apex xmlns="urn:d" xmlns:p="urn:near" xmlns:q="urn:q"><c></c></p:apex>`,
			},
		},
		"its own declarations are nearer still": {
			`<a xmlns:p="urn:far" xmlns="urn:far"><p:apex xmlns:p="urn:own" xmlns="urn:own"><c/></p:apex></a>`,
			methods{
				`<p:apex xmlns:p="urn:own"><c xmlns="urn:own"></c></p:apex>`,
				`<p:apex xmlns="urn:own" xmlns:p="urn:own"><c></c></p:apex>`,
			},
		},
		"a declaration of its own that is in scope already": {
			`<a xmlns:p="urn:p"><p:apex xmlns:p="urn:p"/></a>`,
			both(`<p:apex xmlns:p="urn:p"></p:apex>`),
		},
		"a default namespace undone above": {
			`<a xmlns="urn:d"><b xmlns=""><apex><c xmlns=""/></apex></b></a>`,
			both(`<apex><c></c></apex>`),
		},
		"a default namespace undone by itself": {
			`<a xmlns="urn:d"><apex xmlns=""><c/></apex></a>`,
			both(`<apex><c></c></apex>`),
		},
		"attributes of xml": {
			`<a xml:lang="en" xml:space="preserve" id="1"><b xml:lang="de" p:x="" xmlns:p="urn:p"><apex id="2"><c/></apex></b></a>`,
			methods{
				`<apex id="2"><c></c></apex>`,
				`<apex xmlns:p="urn:p" id="2" xml:lang="de" xml:space="preserve"><c></c></apex>`,
			},
		},
		"attributes of xml that it has itself": {
			`<a xml:lang="en" xml:base="urn:b"><apex xml:lang="de"/></a>`,
			methods{`<apex xml:lang="de"></apex>`, `<apex xml:base="urn:b" xml:lang="de"></apex>`},
		},
		"neither siblings nor their namespaces": {
			`<a><b xmlns:p="urn:p"/>1<apex>2</apex>3<c/></a>`,
			both(`<apex>2</apex>`),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { check(t, tc.document, tc.want) })
	}
}

func TestWhatCannotBeWrittenRightIsRefused(t *testing.T) {
	cases := map[string]struct{ document, want string }{
		"a prefix that nobody declares":              {`<a><p:b/></a>`, `element "p:b": prefix "p": not declared`},
		"a prefix of an attribute":                   {`<a p:b=""/>`, `element "a": attribute "p:b": prefix "p": not declared`},
		"a prefix that has gone out of scope":        {`<a><b xmlns:p="urn:p"/><p:c/></a>`, `element "p:c": prefix "p": not declared`},
		"a prefix that is declared empty":            {`<a xmlns:p="urn:p"><b xmlns:p=""/></a>`, `element "b": prefix "p": declared empty`},
		"a prefix that is declared empty outside":    {`<a xmlns:p=""><apex/></a>`, `element "a": prefix "p": declared empty`},
		"a processing instruction":                   {`<a><?php x?></a>`, `processing instruction: "php": not part of the profile`},
		"a document type within the root, as a node": {`<a><!DOCTYPE b></a>`, `document type: *etree.Directive: not part of the profile`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := parse(t, tc.document)
			apex := root
			if found := find(root, "apex"); found != nil {
				apex = found
			}
			for _, method := range []c14n.Method{c14n.Exclusive, c14n.Inclusive} {
				got, err := c14n.Append(nil, apex, nil, method)
				if err == nil || !strings.Contains(err.Error(), tc.want) || got != nil {
					t.Errorf("method %d: %q, error %v, want %q", method, got, err, tc.want)
				}
			}
		})
	}
	if got, err := c14n.Append(nil, parse(t, "<a/>"), nil, 0); err == nil || got != nil {
		t.Errorf("no method: %q, error %v, want an error", got, err)
	}
}

func TestTheTreeIsNotChanged(t *testing.T) {
	document := etree.NewDocument()
	const text = `<a z="1" b="2" xmlns:p="urn:p" xmlns="urn:d">x<!-- y --><except/><b xmlns="" p:c="&quot;"/></a>`
	if err := document.ReadFromString(text); err != nil {
		t.Fatal(err)
	}
	for _, method := range []c14n.Method{c14n.Exclusive, c14n.Inclusive} {
		if _, err := c14n.Append(nil, document.Root(), find(document.Root(), "except"), method); err != nil {
			t.Fatal(err)
		}
	}
	after, err := document.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, after); diff != "" {
		t.Errorf("the tree (-before +after):\n%s", diff)
	}
}

func BenchmarkAppend(b *testing.B) {
	const config = `<Config id="M1" desc="mitigation"><Value><rule xmlns:p="urn:p" name="r" p:pattern=".*&quot;x"/><note>x &lt; y</note></Value></Config>`
	root := parse(b, "<EOCS>"+strings.Repeat(config, 4000)+"</EOCS>")
	for name, method := range map[string]c14n.Method{"exclusive": c14n.Exclusive, "inclusive": c14n.Inclusive} {
		b.Run(name, func(b *testing.B) {
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if out, err = c14n.Append(out[:0], root, nil, method); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(out)))
		})
	}
}
