package c14n

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/beevik/etree"
)

// Method says which of the standards is followed.
type Method int

// The methods. There is no default: the zero value is refused.
const (
	// Exclusive is Exclusive XML Canonicalization 1.0 without comments and without inclusive prefixes.
	Exclusive Method = iota + 1
	// Inclusive is Canonical XML 1.0 without comments.
	Inclusive
)

const (
	namespaceXML = "http://www.w3.org/XML/1998/namespace"

	prefixXML   = "xml"
	prefixXMLNS = "xmlns"
)

// Append appends the canonical form of the element apex to dst and returns the extended slice. The element
// except, if not nil, is left out with all that is in it, wherever it stands below apex. On an error, which names the
// element, nothing usable is returned.
func Append(dst []byte, apex, except *etree.Element, method Method) ([]byte, error) {
	if method != Exclusive && method != Inclusive {
		return nil, fmt.Errorf("canonicalisation method: %d: unknown", method)
	}
	w := &writer{out: dst, method: method, except: except}
	if err := w.inherit(apex); err != nil {
		return nil, err
	}
	if err := w.element(apex, 0); err != nil {
		return nil, err
	}
	return w.out, nil
}

// binding is the namespace of a prefix. The empty prefix is the default namespace; an empty uri undoes it.
type binding struct{ prefix, uri string }

// bindings are read from the end: what comes later is nearer.
type bindings []binding

// lookup returns the nearest namespace of a prefix, and whether there is a binding at all.
func (b bindings) lookup(prefix string) (string, bool) {
	for _, candidate := range slices.Backward(b) {
		if candidate.prefix == prefix {
			return candidate.uri, true
		}
	}
	return "", false
}

// attribute is an attribute of the output with what it is sorted by.
type attribute struct{ uri, prefix, local, value string }

type writer struct {
	out    []byte
	method Method
	except *etree.Element
	// scope is what the ancestors of the element declare, and rendered which of it stands in the output.
	scope, rendered bindings
	// inherited are the xml: attributes of the ancestors of the apex. The first element takes them.
	inherited []etree.Attr
	// names and attributes are those of one element, kept for their memory.
	names      bindings
	attributes []attribute
}

// inherit collects what the apex takes from outside: namespaces, and the xml: attributes of which the nearest counts. The
// output has none of it yet, which is why rendered stays empty.
func (w *writer) inherit(apex *etree.Element) error {
	var ancestors []*etree.Element
	for e := apex.Parent(); e != nil; e = e.Parent() {
		ancestors = append(ancestors, e)
	}
	for _, ancestor := range slices.Backward(ancestors) {
		if err := w.declare(ancestor); err != nil {
			return err
		}
	}
	if w.method != Inclusive {
		return nil
	}
	for _, ancestor := range ancestors {
		for _, a := range ancestor.Attr {
			if a.Space == prefixXML && !hasXML(apex.Attr, a.Key) && !hasXML(w.inherited, a.Key) {
				w.inherited = append(w.inherited, a)
			}
		}
	}
	return nil
}

// declare brings the declarations of an element into scope.
func (w *writer) declare(e *etree.Element) error {
	for _, a := range e.Attr {
		prefix, ok := declaration(a)
		if !ok {
			continue
		}
		if prefix != "" && a.Value == "" { // XML 1.0 has no such declaration, and it would not be read again
			return fmt.Errorf("element %q: prefix %q: declared empty", e.FullTag(), prefix)
		}
		w.scope = append(w.scope, binding{prefix, a.Value})
	}
	return nil
}

func hasXML(attributes []etree.Attr, local string) bool {
	return slices.ContainsFunc(attributes, func(a etree.Attr) bool { return a.Space == prefixXML && a.Key == local })
}

// element writes an element. From unwritten on, scope holds what may be missing in the output: for the apex everything, for
// all others what they declare themselves.
func (w *writer) element(e *etree.Element, unwritten int) error {
	scope, rendered := len(w.scope), len(w.rendered)
	if err := w.declare(e); err != nil {
		return err
	}
	if err := w.resolve(e); err != nil {
		return err
	}
	if w.method == Exclusive {
		w.utilised(e)
	} else {
		w.declared(unwritten)
	}
	w.startTag(e)
	for _, child := range e.Child {
		if err := w.node(child); err != nil {
			return err
		}
	}
	w.out = append(w.out, "</"...)
	w.qualified(e.Space, e.Tag)
	w.out = append(w.out, '>')
	w.scope, w.rendered = w.scope[:scope], w.rendered[:rendered]
	return nil
}

func (w *writer) node(token etree.Token) error {
	switch t := token.(type) {
	case *etree.Element:
		if t == w.except {
			return nil
		}
		return w.element(t, len(w.scope))
	case *etree.CharData:
		w.text(t.Data)
		return nil
	case *etree.Comment:
		return nil
	case *etree.ProcInst:
		return fmt.Errorf("processing instruction: %q: not part of the profile", t.Target)
	default:
		return fmt.Errorf("document type: %T: not part of the profile", token)
	}
}

// resolve collects the attributes that are no declarations, with their namespaces, in canonical order.
func (w *writer) resolve(e *etree.Element) error {
	if _, err := w.namespace(e.Space); err != nil {
		return fmt.Errorf("element %q: %w", e.FullTag(), err)
	}
	w.attributes = w.attributes[:0]
	for _, a := range e.Attr {
		if _, ok := declaration(a); ok {
			continue
		}
		uri := ""
		if a.Space != "" { // without a prefix an attribute is in no namespace, whatever the default is
			var err error
			if uri, err = w.namespace(a.Space); err != nil {
				return fmt.Errorf("element %q: attribute %q: %w", e.FullTag(), a.FullKey(), err)
			}
		}
		w.attributes = append(w.attributes, attribute{uri, a.Space, a.Key, a.Value})
	}
	for _, a := range w.inherited {
		w.attributes = append(w.attributes, attribute{namespaceXML, a.Space, a.Key, a.Value})
	}
	w.inherited = nil
	// Canonical XML 1.0, section 2.3: the namespace name is the primary key, no namespace comes first.
	slices.SortFunc(w.attributes, func(a, b attribute) int {
		return cmp.Or(cmp.Compare(a.uri, b.uri), cmp.Compare(a.local, b.local))
	})
	return nil
}

// namespace returns the namespace of a prefix within the element whose declarations are the last of scope.
func (w *writer) namespace(prefix string) (string, error) {
	if prefix == prefixXML {
		return namespaceXML, nil
	}
	uri, ok := w.scope.lookup(prefix)
	if prefix != "" && !ok {
		return "", fmt.Errorf("prefix %q: not declared", prefix)
	}
	return uri, nil
}

// declared chooses the namespaces that Canonical XML 1.0 writes on an element (section 2.3, namespace axis): all that are
// in scope and do not stand in the output above.
func (w *writer) declared(unwritten int) {
	w.names = w.names[:0]
	for _, candidate := range w.scope[unwritten:] {
		uri, _ := w.scope.lookup(candidate.prefix) // nearer ones count
		w.render(binding{candidate.prefix, uri})
	}
}

// utilised chooses the namespaces that exclusive canonicalisation writes on an element (section 3): those of the prefixes that
// the element and its attributes have. Attributes without a prefix do not use the default namespace.
func (w *writer) utilised(e *etree.Element) {
	w.names = w.names[:0]
	uri, _ := w.scope.lookup(e.Space)
	w.render(binding{e.Space, uri})
	for _, a := range w.attributes {
		if a.prefix != "" {
			w.render(binding{a.prefix, a.uri})
		}
	}
}

// render puts a namespace into the output unless it has it already. The empty default namespace is in the output as long as no
// other one is: xmlns="" is written only to undo one.
func (w *writer) render(name binding) {
	if name.prefix == prefixXML {
		return
	}
	if uri, _ := w.rendered.lookup(name.prefix); uri == name.uri {
		return
	}
	w.rendered = append(w.rendered, name)
	w.names = append(w.names, name)
}

// startTag writes the name, the namespaces in the order of their prefixes (the default one first), and the attributes.
func (w *writer) startTag(e *etree.Element) {
	slices.SortFunc(w.names, func(a, b binding) int { return cmp.Compare(a.prefix, b.prefix) })
	w.out = append(w.out, '<')
	w.qualified(e.Space, e.Tag)
	for _, name := range w.names {
		if name.prefix == "" {
			w.attribute("", prefixXMLNS, name.uri)
		} else {
			w.attribute(prefixXMLNS, name.prefix, name.uri)
		}
	}
	for _, a := range w.attributes {
		w.attribute(a.prefix, a.local, a.value)
	}
	w.out = append(w.out, '>')
}

func (w *writer) qualified(prefix, local string) {
	if prefix != "" {
		w.out = append(w.out, prefix...)
		w.out = append(w.out, ':')
	}
	w.out = append(w.out, local...)
}

// declaration tells whether an attribute is a namespace declaration, and of which prefix.
func declaration(a etree.Attr) (prefix string, ok bool) {
	switch {
	case a.Space == prefixXMLNS:
		return a.Key, true
	case a.Space == "" && a.Key == prefixXMLNS:
		return "", true
	default:
		return "", false
	}
}
