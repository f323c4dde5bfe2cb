package xmlsig

import (
	"encoding/xml"
	"regexp"
	"slices"
)

const (
	namespaceXML   = "http://www.w3.org/XML/1998/namespace"
	namespaceXMLNS = "http://www.w3.org/2000/xmlns/"
	namespaceDSig  = "http://www.w3.org/2000/09/xmldsig#"
	// namespaceTimestamp is the namespace of the real service's counter-signature.
	namespaceTimestamp = "http://schemas.microsoft.com/xmldsig/timestamp/2003"

	prefixXML   = "xml"
	prefixXMLNS = "xmlns"
)

// absoluteURI begins a namespace name that is no relative reference. Canonical XML 1.0 (section 1.3)
// demands that a document with a relative one is refused.
var absoluteURI = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*:`)

type binding struct{ prefix, uri string }

// openElement is one level of the pre-scan's stack. declared holds what the element declares; rendered says how many
// of the scanner's rendered are those of its ancestors.
type openElement struct {
	name     xml.Name
	offset   int
	declared []binding
	rendered int
}

type scopeStack []openElement

// lookup resolves a prefix from the innermost level outwards. The second value tells whether any level
// declares it; the empty prefix without a declaration is no namespace.
func (s scopeStack) lookup(prefix string) (string, bool) {
	if prefix == prefixXML {
		return namespaceXML, true
	}
	for _, v := range slices.Backward(s) {
		for _, b := range v.declared {
			if b.prefix == prefix {
				return b.uri, true
			}
		}
	}
	return "", false
}

// declaration tells whether an attribute is a namespace declaration, and of which prefix.
func declaration(name xml.Name) (prefix string, ok bool) {
	switch {
	case name.Space == prefixXMLNS:
		return name.Local, true
	case name.Space == "" && name.Local == prefixXMLNS:
		return "", true
	default:
		return "", false
	}
}
