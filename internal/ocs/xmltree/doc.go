// Package xmltree reads small XML documents without name spaces into a tree that knows
// where every element stands in the input.
//
// # Usage
//
// Parse reads a whole document under the caller's Limits. Node.Raw gives the verbatim
// bytes of an element; Path and the line numbers are for messages.
//
// # Considerations
//
// The tree is built from raw tokens of encoding/xml, because its Unmarshal ignores
// unknown elements, unknown attributes and repeated elements, which are exactly what a
// strict reader has to see, and because only the decoder's offsets give verbatim bytes.
// etree was not taken: it keeps no offsets.
//
// Refused are document type declarations, processing instructions other than the XML
// declaration at the very start, anything but white space and comments outside the root,
// repeated attributes, and broken limits. Comments are skipped; text on both sides of a
// comment is joined, as canonical XML without comments does. Prefixes are not resolved:
// an element a:b has the name "a:b", and a caller that knows no such name refuses it.
package xmltree
