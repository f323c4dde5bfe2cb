// Package c14n writes the canonical form of an element of an XML document.
//
// It is the part of two standards that the signature profile needs, and no more: Canonical XML 1.0
// (https://www.w3.org/TR/2001/REC-xml-c14n-20010315) and Exclusive XML Canonicalization 1.0
// (https://www.w3.org/TR/2002/REC-xml-exc-c14n-20020718/), both without comments, over one element with all that
// is in it, less at most one element (the enveloped Signature). There are no inclusive prefixes and no other
// node sets. docs/decisions/0005-own-canonicaliser.md says why it is our own.
//
// # Usage
//
//	canonical, err := c14n.Append(nil, root, signature, c14n.Exclusive)
//
// # Considerations
//
// The tree is read and never changed or copied: what is allocated is the output. The cost of an element grows with its
// depth and with the namespaces in scope, so that whoever reads foreign documents has to bound both before; the
// pre-scan of package xmlsig does.
//
// The tree must be that of a document which is well-formed in the sense of XML 1.0 and of Namespaces in XML 1.0, with
// line ends and white space in attribute values normalised. Neither etree nor encoding/xml demands all of that; the pre-scan
// does. What this package cannot write in the one right way, it refuses: a prefix that nobody declares or that is declared empty, and
// processing instructions and document types, which the profile does not have.
//
// What stands in the same tree outside the element counts as it does for the standards: the namespaces in scope are
// inherited, and with Canonical XML 1.0 the attributes of the prefix xml as well (section 2.4).
package c14n
