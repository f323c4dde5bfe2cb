package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// limits bounds what Parse reads. A server with 20,000 entries in its rewrite maps, of 100
// bytes each, has 2 MB; there is room for twice that. The deepest path is
// rewrite/outboundRules/preConditions/preCondition/add. No element of the schema has more than
// nine attributes; the lock attributes of IIS add five.
var limits = xmltree.Limits{Bytes: 4 << 20, Depth: 12, Elements: 50_000, Attributes: 24}

// maxRules is how many rules of one configuration are read: ten times what the largest site
// known to us has. It bounds the memory of compiled patterns.
const maxRules = 2000

// Parse reads a <rewrite> element or one of its sections, such as <rules>. The error is a
// *FaultError for what IIS refuses when it reads the configuration, or wraps ErrUnsupported.
// What IIS refuses when a request comes is no error here; see Problems.
func Parse(fragment []byte) (*Configuration, error) {
	return ParseAt(Position{Line: 1, Column: 1}, fragment)
}

// ParseAt does the same for a fragment that begins at the given position of a file, for
// messages.
func ParseAt(start Position, fragment []byte) (*Configuration, error) {
	r := &reader{start: start, config: &Configuration{}, wide: maxWideTotal}
	if r.start.Line == 0 {
		r.start.Line, r.start.Column = 1, 1
	}
	root, err := r.tree(fragment, limits)
	if err != nil {
		return nil, err
	}
	if root.Name != "rewrite" {
		err = r.section(root, root.Name)
	} else {
		err = r.rewrite(root)
	}
	if err != nil {
		return nil, err
	}
	return r.config, nil
}

// reader turns elements into a Configuration.
type reader struct {
	start  Position
	config *Configuration
	rules  int
	// wide is how many wide parts of patterns may still be compiled.
	wide int
}

// declaredEncoding finds the encoding that the XML declaration names.
var declaredEncoding = regexp.MustCompile(`^<\?xml[^>]*\sencoding\s*=\s*["']([^"']*)["']`)

// tree parses XML. IIS reads files in other encodings than UTF-8 too, so that such a file is
// no fault, but something that is not supported here.
func (r *reader) tree(content []byte, limits xmltree.Limits) (*xmltree.Node, error) {
	declared := declaredEncoding.FindSubmatch(content)
	isDeclared := len(declared) > 1
	switch {
	case bytes.HasPrefix(content, []byte{0xff, 0xfe}), bytes.HasPrefix(content, []byte{0xfe, 0xff}):
		return nil, r.unsupported("encoding UTF-16")
	case isDeclared && !strings.EqualFold(string(declared[1]), "UTF-8"):
		return nil, r.unsupported("encoding %q", declared[1])
	}
	root, err := xmltree.Parse(content, limits)
	if err != nil {
		return nil, r.malformed(err)
	}
	return root, nil
}

func (r *reader) unsupported(format string, args ...any) error {
	err := unsupported(format, args...)
	if r.start.File != "" {
		return fmt.Errorf("%s: %w", r.start.File, err)
	}
	return err
}

func (r *reader) malformed(err error) error {
	at := r.start
	if x, ok := errors.AsType[*xmltree.Error](err); ok {
		at = r.position(x.Line, x.Column)
	}
	if errors.Is(err, xmltree.ErrLimit) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	fault := Fault{Position: at, Status: 500, SubStatus: subStatusConfiguration, Code: codeInvalidData, Reason: err.Error(), cause: err}
	return fault.Err()
}

func (r *reader) position(line, column int) Position {
	if line == 1 {
		column += r.start.Column - 1
	}
	return Position{File: r.start.File, Line: r.start.Line + line - 1, Column: column}
}

// at returns a fault that names an element and nothing else yet.
func (r *reader) at(node *xmltree.Node, path string) Fault {
	return Fault{Position: r.position(node.Position()), Status: 500, SubStatus: subStatusConfiguration, Code: codeInvalidData, Element: path}
}

// refuse makes the error for what IIS refuses when it reads the configuration.
func (r *reader) refuse(node *xmltree.Node, path, format string, args ...any) error {
	fault := r.at(node, path)
	fault.Reason = fmt.Sprintf(format, args...)
	return fault.Err()
}

func (r *reader) rewrite(root *xmltree.Node) error {
	if err := r.attributes(root, root.Name, ""); err != nil {
		return err
	}
	for _, child := range root.Children {
		if root.Child(child.Name) != child {
			return r.refuse(child, "rewrite/"+child.Name, "the section occurs twice")
		}
		if err := r.section(child, "rewrite/"+child.Name); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) section(node *xmltree.Node, path string) error {
	if source, ok := node.Attr("configSource"); ok {
		return unsupported("%s: %s: the section is in another file (configSource %q)", r.position(node.Position()), path, firstOf(source))
	}
	c := r.config
	switch node.Name {
	case "rules":
		return r.inbound(node, path, &c.rules, false)
	case "globalRules":
		return r.inbound(node, path, &c.global, true)
	case "outboundRules":
		return r.outbound(node, path)
	case "rewriteMaps":
		return collect(r, node, path, &c.maps, collection[rewriteMap]{element: "rewriteMap", key: "name", ignoreCase: true, item: r.rewriteMap})
	case "allowedServerVariables":
		return collect(r, node, path, &c.allowed, collection[string]{element: "add", key: "name", ignoreCase: true, item: r.name})
	case "providers":
		return collect(r, node, path, &c.providers, collection[string]{element: "provider", key: "name", ignoreCase: true, item: r.provider})
	}
	return r.refuse(node, path, "unknown section <%s>", firstOf(node.Name))
}

// collection says how the items of a collection are read.
type collection[T any] struct {
	// element is the name of an item, key those of the attributes that tell items apart.
	element, key string
	ignoreCase   bool
	// attributes and others are the names of attributes and of other children that the
	// collection may have.
	attributes, others string
	item               func(node *xmltree.Node, path string) (*T, error)
}

// collect reads a collection. It fails if the items are not possible together, as IIS does.
func collect[T any](r *reader, node *xmltree.Node, path string, into *section[T], how collection[T]) error {
	into.present, into.where = true, r.at(node, path)
	if err := r.attributes(node, path, how.attributes); err != nil {
		return err
	}
	count := 0
	for _, child := range node.Children {
		if contains(how.others, child.Name) {
			continue
		}
		c := change[T]{at: r.at(child, path+"/"+child.Name)}
		switch child.Name {
		case "clear":
			c.kind = clearAll
		case "remove":
			c.kind = remove
		case how.element:
			count++
			c.at.Element = fmt.Sprintf("%s/%s[%d]", path, child.Name, count)
		default:
			return r.refuse(child, path, "unknown element <%s>", firstOf(child.Name))
		}
		if c.kind != clearAll {
			for name := range strings.FieldsSeq(how.key) {
				value, ok := child.Attr(name)
				if !ok {
					return r.refuse(child, c.at.Element, "attribute %s is missing", name)
				}
				c.key = strings.TrimPrefix(c.key+"\x00"+value, "\x00")
			}
			if how.ignoreCase {
				c.key = strings.ToLower(c.key)
			}
		}
		if c.kind == add {
			item, err := how.item(child, c.at.Element)
			if err != nil {
				return err
			}
			c.item = item
		}
		into.changes = append(into.changes, c)
	}
	if _, fault := merge(nil, into.changes, 0); fault != nil {
		return fault.Err()
	}
	return nil
}

func (r *reader) name(node *xmltree.Node, path string) (*string, error) {
	if err := r.attributes(node, path, "name"); err != nil {
		return nil, err
	}
	name, _ := node.Attr("name")
	return &name, nil
}

func (r *reader) provider(node *xmltree.Node, path string) (*string, error) {
	if err := r.attributes(node, path, "name type"); err != nil {
		return nil, err
	}
	name, _ := node.Attr("name")
	return &name, r.trimmed(node, path, "name", "type")
}

func (r *reader) rewriteMap(node *xmltree.Node, path string) (*rewriteMap, error) {
	m := &rewriteMap{}
	m.name, _ = node.Attr("name")
	m.defaultValue, _ = node.Attr("defaultValue")
	var err error
	if m.ignoreCase, err = r.boolean(node, path, "ignoreCase", true); err != nil {
		return nil, err
	}
	if err := r.trimmed(node, path, "name"); err != nil {
		return nil, err
	}
	err = collect(r, node, path, &m.entries, collection[mapEntry]{
		element: "add", key: "key", attributes: "name defaultValue ignoreCase",
		item: func(add *xmltree.Node, path string) (*mapEntry, error) {
			key, _ := add.Attr("key")
			value, _ := add.Attr("value")
			return &mapEntry{key: key, value: value}, r.attributes(add, path, "key value")
		},
	})
	if err != nil {
		return nil, err
	}
	m.index()
	return m, nil
}

// index fills the values of a map from its entries.
func (m *rewriteMap) index() {
	merged, fault := merge(nil, m.entries.changes, 0)
	if fault != nil {
		return
	}
	m.values = make(map[string]string, len(merged))
	for _, e := range merged {
		key := e.item.key
		if m.ignoreCase {
			key = strings.ToLower(key)
		}
		if _, ok := m.values[key]; !ok {
			m.values[key] = e.item.value
		}
	}
}

// lockAttributes may stand on every element of a configuration.
const lockAttributes = "lockItem lockAttributes lockElements lockAllAttributesExcept lockAllElementsExcept overrideMode"

// attributes refuses attributes outside a list of names.
func (r *reader) attributes(node *xmltree.Node, path, names string) error {
	for _, a := range node.Attrs {
		if !contains(names, a.Name) && !contains(lockAttributes, a.Name) {
			return r.refuse(node, path, "unrecognized attribute %q", firstOf(a.Name))
		}
	}
	return nil
}

// children refuses child elements outside a list of names, and repeated ones.
func (r *reader) children(node *xmltree.Node, path, names string) error {
	for _, c := range node.Children {
		if !contains(names, c.Name) {
			return r.refuse(c, path, "unrecognized element <%s>", firstOf(c.Name))
		}
		if node.Child(c.Name) != c {
			return r.refuse(c, path+"/"+c.Name, "the element occurs twice")
		}
	}
	return nil
}

func contains(names, name string) bool {
	for known := range strings.FieldsSeq(names) {
		if known == name {
			return true
		}
	}
	return false
}

// trimmed refuses attributes that are there and are empty or have white space at an end
// (requireTrimmedString of the schema).
func (r *reader) trimmed(node *xmltree.Node, path string, names ...string) error {
	for _, name := range names {
		value, ok := node.Attr(name)
		if ok && (value == "" || strings.TrimSpace(value) != value) {
			return r.refuse(node, path, "%s %q has to be a text without white space at its ends", name, firstOf(value))
		}
	}
	return nil
}

func (r *reader) boolean(node *xmltree.Node, path, attribute string, absent bool) (bool, error) {
	value, ok := node.Attr(attribute)
	switch {
	case !ok:
		return absent, nil
	case strings.EqualFold(value, "true"):
		return true, nil
	case strings.EqualFold(value, "false"):
		return false, nil
	}
	return false, r.refuse(node, path, "%s %q is neither true nor false", attribute, firstOf(value))
}

// enumeration returns the place of a value in a list; the first is the default.
func (r *reader) enumeration(node *xmltree.Node, path, attribute string, values ...string) (int, error) {
	value, ok := node.Attr(attribute)
	if !ok {
		return 0, nil
	}
	for i, known := range values {
		if strings.EqualFold(value, known) {
			return i, nil
		}
	}
	return 0, r.refuse(node, path, "%s %q is none of %s", attribute, firstOf(value), strings.Join(values, ", "))
}

// number reads an unsigned number up to a limit.
func (r *reader) number(node *xmltree.Node, path, attribute string, highest uint64) (value uint64, present bool, err error) {
	text, ok := node.Attr(attribute)
	if !ok {
		return 0, false, nil
	}
	value, err = strconv.ParseUint(text, 10, 64)
	if err != nil || value > highest {
		return 0, true, r.refuse(node, path, "%s %q is no number from 0 to %d", attribute, firstOf(text), highest)
	}
	return value, true, nil
}
