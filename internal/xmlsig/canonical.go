package xmlsig

import (
	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// parseTree builds the tree of a document that passed the pre-scan.
func parseTree(document []byte) (*etree.Element, error) {
	tree := etree.NewDocument()
	tree.ReadSettings.MaxDepth = MaxDepth + 1 // etree counts the document as a level
	if err := tree.ReadFromBytes(document); err != nil {
		return nil, &Error{Class: ClassMalformed, Subject: "document", Err: err}
	}
	root := tree.Root()
	if root == nil {
		return nil, refuse(ClassMalformed, "document", "no root element")
	}
	return root, nil
}

// canonicalRoot returns the canonical form of root without the given Signature (nil: as it is). It is the
// node set of URI="" and of "#ID" alike: what stands outside the root is comments, which both leave out.
// The root is taken apart in the course; it must not be used afterwards.
func canonicalRoot(root, signature *etree.Element, method Canonicalization) ([]byte, error) {
	if signature != nil && root.RemoveChild(signature) == nil {
		return nil, refuse(ClassShape, "Signature", "not a child of the root element")
	}
	dropEmptyDefaults(root, "")
	out, err := canonicalizer(method).Canonicalize(root)
	if err != nil {
		return nil, &Error{Class: ClassMalformed, Subject: "root element", Reason: "cannot be canonicalised", Err: err}
	}
	if len(out) > MaxCanonicalBytes {
		return nil, refuse(ClassLimit, "canonical form", "%d bytes, at most %d", len(out), MaxCanonicalBytes)
	}
	return out, nil
}

// canonicalSignedInfo returns the canonical form of a SignedInfo within its document: the namespaces in
// scope, and for Canonical XML 1.0 (section 2.4) the xml: attributes too, come from the ancestors. The
// canonicalizer's own search of the ancestors lets them override the element's, so it gets a copy
// without a parent.
func canonicalSignedInfo(signedInfo *etree.Element, method Canonicalization) ([]byte, error) {
	apex := signedInfo.Copy()
	seen := map[string]bool{}
	for _, a := range apex.Attr {
		seen[a.FullKey()] = true
	}
	for ancestor := signedInfo.Parent(); ancestor != nil; ancestor = ancestor.Parent() {
		for _, a := range ancestor.Attr {
			key := a.FullKey()
			declares := a.Space == prefixXMLNS || key == prefixXMLNS
			inherited := a.Space == prefixXML && method == InclusiveC14N
			if seen[key] || !declares && !inherited {
				continue
			}
			seen[key] = true
			if key == prefixXMLNS && a.Value == "" {
				continue // shadows an outer default namespace, declares nothing
			}
			apex.CreateAttr(key, a.Value)
		}
	}
	dropEmptyDefaults(apex, "")
	out, err := canonicalizer(method).Canonicalize(apex)
	if err != nil {
		return nil, &Error{Class: ClassShape, Subject: "SignedInfo", Reason: "cannot be canonicalised", Err: err}
	}
	return out, nil
}

func canonicalizer(method Canonicalization) dsig.Canonicalizer {
	if method == ExclusiveC14N {
		return dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	}
	return dsig.MakeC14N10RecCanonicalizer()
}

// dropEmptyDefaults removes every xmlns="" where no default namespace is in scope. It means nothing there,
// and the exclusive canonicalizer writes it out although the standard leaves it out.
func dropEmptyDefaults(element *etree.Element, inScope string) {
	for i, a := range element.Attr {
		if a.Space != "" || a.Key != prefixXMLNS {
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
