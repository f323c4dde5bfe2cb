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
			canonical, err := canonicalRoot(root, signature, method)
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
			twice, err := canonicalRoot(again, nil, method)
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
