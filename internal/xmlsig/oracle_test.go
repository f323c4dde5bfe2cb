package xmlsig

import (
	"bytes"
	"slices"
	"testing"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// goxmldsig is the second opinion on canonical forms. It is wrong about two shapes, for which xmllint decides:
// attributes of two namespaces on one element, which it orders by local name (ofTwoNamespaces), and xmlns="" where a default
// namespace is in scope that no element above uses, which its exclusive form writes out (undoesUnused).
func oracle(tb testing.TB, element *etree.Element, method Canonicalization) (canonical []byte, reliable bool) {
	tb.Helper()
	apex := element.Copy()
	if element.Parent() != nil {
		takeContext(apex, element, method)
	}
	if ofTwoNamespaces(apex) || method == ExclusiveC14N && undoesUnused(apex) {
		return nil, false
	}
	dropEmptyDefaults(apex, "")
	canonicalizer := dsig.MakeC14N10RecCanonicalizer()
	if method == ExclusiveC14N {
		canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	}
	canonical, err := canonicalizer.Canonicalize(apex)
	if err != nil {
		tb.Fatalf("goxmldsig: %v", err)
	}
	return canonical, true
}

// takeContext copies what an element takes from its ancestors; goxmldsig lets them override the element's own.
func takeContext(apex, element *etree.Element, method Canonicalization) {
	seen := map[string]bool{}
	for _, a := range apex.Attr {
		seen[a.FullKey()] = true
	}
	for ancestor := element.Parent(); ancestor != nil; ancestor = ancestor.Parent() {
		for _, a := range ancestor.Attr {
			key := a.FullKey()
			declares := a.Space == prefixXMLNS || key == prefixXMLNS
			inherited := a.Space == prefixXML && method == InclusiveC14N
			if !seen[key] && (declares || inherited) {
				seen[key] = true
				apex.CreateAttr(key, a.Value)
			}
		}
	}
}

// dropEmptyDefaults removes every xmlns="" where no default namespace is in scope, which goxmldsig would write.
func dropEmptyDefaults(element *etree.Element, inScope string) {
	for i, a := range element.Attr {
		if a.FullKey() != prefixXMLNS {
			continue
		}
		if a.Value == "" && inScope == "" {
			element.Attr = append(element.Attr[:i], element.Attr[i+1:]...)
		} else {
			inScope = a.Value
		}
		break
	}
	for _, child := range element.ChildElements() {
		dropEmptyDefaults(child, inScope)
	}
}

func ofTwoNamespaces(element *etree.Element) bool {
	first := ""
	for _, a := range element.Attr {
		if a.Space == "" || a.Space == prefixXMLNS {
			continue
		}
		uri := a.NamespaceURI()
		if a.Space == prefixXML {
			uri = namespaceXML
		}
		if first != "" && first != uri {
			return true
		}
		first = uri
	}
	return slices.ContainsFunc(element.ChildElements(), ofTwoNamespaces)
}

func undoesUnused(root *etree.Element) bool {
	var walk func(element *etree.Element, inScope string, shadowed, rendered bool) bool
	walk = func(element *etree.Element, inScope string, shadowed, rendered bool) bool {
		if a := element.SelectAttr(prefixXMLNS); a != nil && a.Space == "" {
			inScope = a.Value
			shadowed = shadowed || a.Value != ""
		}
		if element.Space == "" {
			if inScope == "" && shadowed && !rendered {
				return true
			}
			rendered = rendered || inScope != ""
		}
		for _, child := range element.ChildElements() {
			if walk(child, inScope, shadowed, rendered) {
				return true
			}
		}
		return false
	}
	return walk(root, "", false, false)
}

func mustParse(tb testing.TB, document []byte) *etree.Element {
	tb.Helper()
	root, err := parseTree(document)
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// judgeByOracle compares the canonical forms of an element and of all that are in it, as far as the oracle is right about
// them. It returns how many were compared and how many were not.
func judgeByOracle(tb testing.TB, element *etree.Element) (compared, skipped int) {
	tb.Helper()
	for _, method := range []Canonicalization{ExclusiveC14N, InclusiveC14N} {
		theirs, reliable := oracle(tb, element, method)
		if !reliable {
			skipped++
			continue
		}
		compared++
		ours, err := canonicalSignedInfo(element, method) // which takes an element within its document
		if err != nil {
			tb.Fatal(err)
		}
		if !bytes.Equal(ours, theirs) {
			tb.Fatalf("%s of element %s:\nours   %q\ntheirs %q", method, element.GetPath(), ours, theirs)
		}
	}
	for _, child := range element.ChildElements() {
		c, s := judgeByOracle(tb, child)
		compared, skipped = compared+c, skipped+s
	}
	return compared, skipped
}

// TestCanonicalFormsAreThoseOfGoxmldsig needs no other program, so that it runs everywhere, and unlike xmllint it knows parts of documents.
func TestCanonicalFormsAreThoseOfGoxmldsig(t *testing.T) {
	wanted := 2000
	if testing.Short() {
		wanted = 300
	}
	compared, skipped := 0, 0
	_, scans := documents(t, wanted, true)
	for _, scanned := range scans {
		c, s := judgeByOracle(t, mustParse(t, scanned.document))
		compared, skipped = compared+c, skipped+s
	}
	if compared < 10*wanted {
		t.Errorf("only %d elements compared", compared)
	}
	t.Logf("%d elements compared, %d skipped", compared, skipped)
}
