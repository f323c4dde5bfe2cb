package xmlsig

import (
	"github.com/beevik/etree"

	"mitigation.dev/ems/internal/xmlsig/c14n"
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
// node set of URI="" and of "#ID" alike: what stands outside the root is comments, which both leave out. size is
// what the pre-scan expects at most.
func canonicalRoot(root, signature *etree.Element, method Canonicalization, size int) ([]byte, error) {
	if signature != nil && signature.Parent() != root {
		return nil, refuse(ClassShape, "Signature", "not a child of the root element")
	}
	out, err := c14n.Append(make([]byte, 0, size), root, signature, methodOf(method))
	if err != nil {
		return nil, &Error{Class: ClassMalformed, Subject: "root element", Reason: "cannot be canonicalised", Err: err}
	}
	if len(out) > MaxCanonicalBytes {
		return nil, refuse(ClassLimit, "canonical form", "%d bytes, at most %d", len(out), MaxCanonicalBytes)
	}
	return out, nil
}

// canonicalSignedInfo returns the canonical form of a SignedInfo within its document: the namespaces in
// scope, and for Canonical XML 1.0 (section 2.4) the xml: attributes too, come from the ancestors.
func canonicalSignedInfo(signedInfo *etree.Element, method Canonicalization) ([]byte, error) {
	out, err := c14n.Append(nil, signedInfo, nil, methodOf(method))
	if err != nil {
		return nil, &Error{Class: ClassShape, Subject: "SignedInfo", Reason: "cannot be canonicalised", Err: err}
	}
	return out, nil
}

func methodOf(method Canonicalization) c14n.Method {
	if method == ExclusiveC14N {
		return c14n.Exclusive
	}
	return c14n.Inclusive
}
