package xmlsig

import (
	"bytes"
	"testing"

	"github.com/beevik/etree"
)

// FuzzPrescan looks for documents that pass the pre-scan and surprise what follows: the tree must parse, the
// canonical form must stay below the estimate, and canonicalising it again must change nothing.
func FuzzPrescan(f *testing.F) {
	for _, seed := range []string{
		`<a/>`, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<!-- x --><a b='1'>t<![CDATA[<x>]]>&#13;&amp;</a>\n",
		`<a xmlns="urn:d" xmlns:p="urn:p"><p:b p:x="1" y="2"><c xmlns=""/></p:b></a>`,
		"<a xml:lang='x' b=\"\t\n&#9;\"/>", `<a><Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo/></Signature></a>`,
		`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`, nested(17, ""), `<a b="1"c="2"/>`, `<p:a xmlns:p="urn:p" xmlns="urn:d"><b xmlns=""/></p:a>`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		scanned, err := prescan(document)
		if err != nil {
			return
		}
		for _, method := range []Canonicalization{ExclusiveC14N, InclusiveC14N} {
			root, err := parseTree(scanned.document)
			if err != nil {
				t.Fatalf("the pre-scan accepts what the tree does not: %v", err)
			}
			signatures := signaturesOf(root)
			if len(signatures) != scanned.signatures {
				t.Fatalf("%d Signatures in the tree, %d in the pre-scan", len(signatures), scanned.signatures)
			}
			var signature *etree.Element
			if len(signatures) > 0 {
				signature = signatures[0]
			}
			canonical, err := canonicalRoot(root, signature, method, scanned.canonicalBytes)
			if err != nil {
				t.Fatalf("cannot be canonicalised: %v", err)
			}
			if len(canonical) > scanned.canonicalBytes {
				t.Fatalf("canonical form has %d bytes, estimated %d", len(canonical), scanned.canonicalBytes)
			}
			again, err := parseTree(canonical)
			if err != nil {
				t.Fatalf("the canonical form is no XML: %v", err)
			}
			twice, err := canonicalRoot(again, nil, method, len(canonical))
			if err != nil || !bytes.Equal(canonical, twice) {
				t.Fatalf("canonical form changes (%v):\n%q\n%q", err, canonical, twice)
			}
		}
	})
}

// FuzzCanonicalise looks for documents whose canonical form is wrong: read and canonicalised again it must be the same, and
// goxmldsig must agree, about the whole and about its parts, but for the shapes that it gets wrong.
func FuzzCanonicalise(f *testing.F) {
	for _, seed := range []string{
		"<a  b='\"&#9;&gt;'\n>t<![CDATA[<x>]]>&#13;&amp;<!-- c --></a>",
		`<q:a b="" xmlns:q="urn:q" q:x="" p:x="" xmlns:p="urn:p" xmlns="urn:d"><c/></q:a>`,
		`<a xmlns="urn:d"><p:b xmlns="" xmlns:p="urn:p"><c/></p:b><d xml:lang="x"/></a>`,
		`<p:a xmlns:p="urn:1"><b xmlns:p="urn:2"><p:c xmlns:p="urn:1" xml:a="" xml:b=""/></b></p:a>`,
	} {
		f.Add([]byte(seed))
	}
	texts, _ := documents(f, 50, true)
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		scanned, err := prescan(document)
		if err != nil {
			return
		}
		root := mustParse(t, scanned.document)
		if len(document) <= 4<<10 { // every element with all that is in it: long documents would be slow
			judgeByOracle(t, root)
		}
		for _, method := range []Canonicalization{ExclusiveC14N, InclusiveC14N} {
			canonical, err := canonicalRoot(root, nil, method, scanned.canonicalBytes)
			if err != nil {
				t.Fatalf("cannot be canonicalised: %v", err)
			}
			twice, err := canonicalRoot(mustParse(t, canonical), nil, method, 0)
			if err != nil || !bytes.Equal(canonical, twice) {
				t.Fatalf("canonical form changes (%v):\n%q\n%q", err, canonical, twice)
			}
		}
	})
}

func signaturesOf(root *etree.Element) []*etree.Element {
	var found []*etree.Element
	for _, child := range root.ChildElements() {
		if named(child, namespaceDSig, "Signature") == nil {
			found = append(found, child)
		}
	}
	return found
}
