package xmltree

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

var (
	// ErrMalformed is wrapped by errors about bytes that are not the XML read here.
	ErrMalformed = errors.New("malformed XML")
	// ErrLimit is wrapped by errors about documents that break one of the Limits.
	ErrLimit = errors.New("XML limit exceeded")
)

// Limits bounds what Parse reads. Every field must be set; zero allows nothing.
type Limits struct {
	// Bytes is the largest input.
	Bytes int
	// Depth is the deepest nesting; the root has depth 1.
	Depth int
	// Elements is the largest number of elements, the root included.
	Elements int
	// Attributes is the largest number of attributes of one element.
	Attributes int
}

// Error says where in the input a document is wrong. It wraps ErrMalformed or ErrLimit.
type Error struct {
	// Line and Column count from 1; Column counts bytes.
	Line, Column int
	// Reason says what is wrong.
	Reason string
	kind   error
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%v: line %d, column %d: %s", e.kind, e.Line, e.Column, e.Reason)
}

// Unwrap returns ErrMalformed or ErrLimit.
func (e *Error) Unwrap() error { return e.kind }

// Attr is one attribute. Its value is unescaped.
type Attr struct {
	Name, Value string
}

// Node is one element.
type Node struct {
	// Name is the name as written, with its prefix if it has one.
	Name string
	// Attrs holds the attributes in the order of the input, name space declarations
	// included.
	Attrs []Attr
	// Children holds the child elements in the order of the input.
	Children []*Node
	// Text is the character data directly inside the element, joined.
	Text string
	// Line is where the start tag begins, counted from 1.
	Line int

	text       []byte
	start, end int
	column     int
}

// Position returns where the start tag begins. Line and column count from 1; the column counts bytes.
func (n *Node) Position() (line, column int) { return n.Line, n.column }

// Attr returns the value of the named attribute and whether it is there.
func (n *Node) Attr(name string) (string, bool) {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a.Value, true
		}
	}
	return "", false
}

// Child returns the first child with the name, or nil.
func (n *Node) Child(name string) *Node {
	for _, c := range n.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Raw returns the bytes of the element in the input it was parsed from: from the "<" of
// its start tag up to the ">" of its end tag. The result aliases input.
func (n *Node) Raw(input []byte) []byte {
	return input[n.start:n.end:n.end]
}

// TrimSpace removes XML white space from both ends. strings.TrimSpace was rejected: it
// also removes characters that XML takes for text, such as the no-break space.
func TrimSpace(s string) string { return strings.Trim(s, " \t\r\n") }

// Parse reads one document and returns its root. The errors are of type *Error.
func Parse(input []byte, limits Limits) (*Node, error) {
	if len(input) > limits.Bytes {
		return nil, &Error{Line: 1, Column: 1, kind: ErrLimit,
			Reason: fmt.Sprintf("%d bytes, allowed are %d", len(input), limits.Bytes)}
	}
	if !utf8.Valid(input) {
		return nil, invalidUTF8(input)
	}
	p := &parser{limits: limits, decoder: xml.NewDecoder(bytes.NewReader(input))}
	for {
		start := int(p.decoder.InputOffset())
		p.line, p.column = p.decoder.InputPos()
		token, err := p.decoder.RawToken()
		if errors.Is(err, io.EOF) {
			return p.finish()
		}
		if err != nil {
			return nil, p.syntax(err)
		}
		if err := p.take(token, start); err != nil {
			return nil, err
		}
	}
}

type parser struct {
	limits       Limits
	decoder      *xml.Decoder
	line, column int
	root         *Node
	open         []*Node
	elements     int
}

func (p *parser) fail(kind error, format string, args ...any) error {
	return &Error{Line: p.line, Column: p.column, Reason: fmt.Sprintf(format, args...), kind: kind}
}

func (p *parser) syntax(err error) error {
	p.line, p.column = p.decoder.InputPos()
	// The decoder steps back over a line end that it has looked at, to column 0.
	p.column = max(p.column, 1)
	if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return p.fail(ErrMalformed, "%s", syntax.Msg)
	}
	return p.fail(ErrMalformed, "%v", err)
}

func (p *parser) take(token xml.Token, start int) error {
	switch token := token.(type) {
	case xml.StartElement:
		return p.startElement(token, start)
	case xml.EndElement:
		return p.endElement(token)
	case xml.CharData:
		return p.text(token)
	case xml.ProcInst:
		if token.Target != "xml" || start != 0 {
			return p.fail(ErrMalformed, "processing instruction %q is not allowed", shorten(token.Target))
		}
	case xml.Directive:
		return p.fail(ErrMalformed, "a document type declaration is not allowed")
	case xml.Comment:
	}
	return nil
}

func (p *parser) startElement(token xml.StartElement, start int) error {
	name := fullName(token.Name)
	if p.root != nil && len(p.open) == 0 {
		return p.fail(ErrMalformed, "element %q after the root", shorten(name))
	}
	if p.elements++; p.elements > p.limits.Elements {
		return p.fail(ErrLimit, "more than %d elements", p.limits.Elements)
	}
	if len(p.open) >= p.limits.Depth {
		return p.fail(ErrLimit, "nested deeper than %d elements", p.limits.Depth)
	}
	if len(token.Attr) > p.limits.Attributes {
		return p.fail(ErrLimit, "element %q has %d attributes, allowed are %d", shorten(name), len(token.Attr), p.limits.Attributes)
	}
	node := &Node{Name: name, Line: p.line, column: p.column, start: start}
	for _, a := range token.Attr {
		attr := Attr{Name: fullName(a.Name), Value: a.Value}
		if _, repeated := node.Attr(attr.Name); repeated {
			return p.fail(ErrMalformed, "element %q repeats attribute %q", shorten(name), shorten(attr.Name))
		}
		node.Attrs = append(node.Attrs, attr)
	}
	if len(p.open) == 0 {
		p.root = node
	} else {
		parent := p.open[len(p.open)-1]
		parent.Children = append(parent.Children, node)
	}
	p.open = append(p.open, node)
	return nil
}

func (p *parser) endElement(token xml.EndElement) error {
	name := fullName(token.Name)
	if len(p.open) == 0 {
		return p.fail(ErrMalformed, "end tag %q without a start tag", shorten(name))
	}
	node := p.open[len(p.open)-1]
	if node.Name != name {
		return p.fail(ErrMalformed, "end tag %q does not fit start tag %q of line %d", shorten(name), shorten(node.Name), node.Line)
	}
	node.end = int(p.decoder.InputOffset())
	node.Text, node.text = string(node.text), nil
	p.open = p.open[:len(p.open)-1]
	return nil
}

func (p *parser) text(data xml.CharData) error {
	if len(p.open) > 0 {
		// Collected in a slice that grows, not by joining strings: comments can cut a text
		// into as many pieces as it has characters, and every join would copy all of it.
		node := p.open[len(p.open)-1]
		node.text = append(node.text, data...)
		return nil
	}
	if TrimSpace(string(data)) != "" {
		return p.fail(ErrMalformed, "text outside the root element")
	}
	return nil
}

func (p *parser) finish() (*Node, error) {
	p.line, p.column = p.decoder.InputPos()
	switch {
	case p.root == nil:
		return nil, p.fail(ErrMalformed, "no root element")
	case len(p.open) > 0:
		node := p.open[len(p.open)-1]
		return nil, p.fail(ErrMalformed, "element %q of line %d is not closed", shorten(node.Name), node.Line)
	}
	return p.root, nil
}

func invalidUTF8(input []byte) error {
	line, lineStart := 1, 0
	for i := 0; i < len(input); {
		r, size := utf8.DecodeRune(input[i:])
		if r == utf8.RuneError && size == 1 {
			return &Error{Line: line, Column: i - lineStart + 1, Reason: "not UTF-8", kind: ErrMalformed}
		}
		i += size
		if r == '\n' {
			line, lineStart = line+1, i
		}
	}
	return nil
}

func fullName(name xml.Name) string {
	if name.Space == "" {
		return name.Local
	}
	return name.Space + ":" + name.Local
}

// shownLength is how much of a foreign name a message repeats.
const shownLength = 64

func shorten(s string) string {
	if len(s) <= shownLength {
		return s
	}
	return strings.ToValidUTF8(s[:shownLength], "") + "..."
}
