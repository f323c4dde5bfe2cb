package xmlsig

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// xmlDeclaration is what may stand between "<?xml" and "?>". encoding/xml reads it loosely (it finds
// "encoding=" anywhere), which is no ground for a security decision.
var xmlDeclaration = regexp.MustCompile(`^version\s*=\s*(?:"1\.0"|'1\.0')` +
	`(?:\s+encoding\s*=\s*(?:"(?i:utf-8)"|'(?i:utf-8)'))?` +
	`(?:\s+standalone\s*=\s*(?:"(?:yes|no)"|'(?:yes|no)'))?\s*$`)

var byteOrderMark = []byte("\ufeff")

// scan is the result of the pre-scan.
type scan struct {
	// document is the input without byte order mark and with white space in attribute values turned into
	// blanks, as XML 1.0 section 3.3.3 demands and encoding/xml does not do.
	document []byte
	// skipped is the length of the byte order mark; the offsets below count from behind it.
	skipped int
	// rootTagEnd is where the root's start tag ends, rootEnd where its end tag begins. They are equal
	// when the root is an empty-element tag.
	rootTagEnd, rootEnd int
	rootName            xml.Name
	signatures          int
	// canonicalBytes is an upper bound of the canonical form of the root without its Signature.
	canonicalBytes int
}

// prescan judges the raw tokens of a document: well-formedness, namespaces, limits and the place of
// XML Signature elements. Nothing is built and nothing is copied but attribute white space.
func prescan(input []byte) (*scan, error) {
	if len(input) > MaxDocumentBytes {
		return nil, refuse(ClassTooLarge, "document", "%d bytes, at most %d", len(input), MaxDocumentBytes)
	}
	source := bytes.TrimPrefix(input, byteOrderMark)
	s := &scanner{source: source}
	s.result.skipped = len(input) - len(source)
	if err := s.characters(); err != nil {
		return nil, err
	}
	decoder := xml.NewDecoder(bytes.NewReader(source))
	decoder.Strict = true
	// A label other than UTF-8 is refused by the declaration's own check, with a position.
	decoder.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		s.start = int(decoder.InputOffset())
		if err := s.countAttributes(); err != nil {
			return nil, err
		}
		token, err := decoder.RawToken()
		s.end = int(decoder.InputOffset())
		if errors.Is(err, io.EOF) {
			return s.finish()
		}
		if err != nil {
			return nil, s.syntax(err)
		}
		if err := s.token(token); err != nil {
			return nil, err
		}
	}
}

type scanner struct {
	source     []byte
	start, end int // of the raw token
	stack      scopeStack
	// rendered holds what exclusive canonicalisation would have written of the open elements' namespaces, which is what
	// the estimate of its size needs. The nearest is the last.
	rendered []binding
	// used and expanded are those of one element, kept for their memory.
	used     []string
	expanded []xml.Name
	// inSignature is the depth of the Signature that is open, 0 when none is.
	inSignature int
	rootSeen    bool
	elements    int
	comments    int
	// attributesSeen counts those of all elements, declarations included.
	attributesSeen int
	// declarations counts namespace declarations outside and inside the Signature.
	declarations [2]int
	copied       int
	normalised   []byte
	result       scan
}

func (s *scanner) refuse(class Class, subject, format string, args ...any) *Error {
	e := refuse(class, subject, format, args...)
	e.Line, e.Column = position(s.source, s.start)
	return e
}

func (s *scanner) syntax(err error) *Error {
	e := &Error{Class: ClassMalformed, Subject: "document", Reason: "not well-formed"}
	e.Line, e.Column = position(s.source, s.end)
	if syntax, ok := errors.AsType[*xml.SyntaxError](err); ok {
		e.Reason = syntax.Msg // without the line, which stands in front already
	} else {
		e.Err = err
	}
	return e
}

// characters refuses bytes that are no UTF-8 and characters that are none of XML (XML 1.0 section 2.2).
// encoding/xml checks neither within comments and names.
func (s *scanner) characters() error {
	for i := 0; i < len(s.source); {
		r, width := utf8.DecodeRune(s.source[i:])
		s.start = i
		switch {
		case r == utf8.RuneError && width <= 1:
			return s.refuse(ClassMalformed, "document", "byte 0x%02x is not UTF-8, the only encoding accepted", s.source[i])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			return s.refuse(ClassMalformed, "document", "character %U is not allowed in XML", r)
		}
		i += width
	}
	return nil
}

func (s *scanner) token(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		return s.startElement(t)
	case xml.EndElement:
		return s.endElement(t)
	case xml.CharData:
		return s.text(t)
	case xml.Comment:
		s.comments++
		if s.comments > MaxComments {
			return s.refuse(ClassLimit, "comments", "more than %d", MaxComments)
		}
		return nil
	case xml.ProcInst:
		if s.start != 0 || t.Target != "xml" {
			return s.refuse(ClassMalformed, "processing instruction "+shorten(t.Target), "not allowed")
		}
		if !xmlDeclaration.Match(t.Inst) {
			return s.refuse(ClassMalformed, "XML declaration", "%s is not version 1.0 with encoding UTF-8", shorten(string(t.Inst)))
		}
		return nil
	case xml.Directive:
		return s.refuse(ClassMalformed, "document type declaration", "not allowed")
	default:
		return s.refuse(ClassMalformed, "document", "unexpected token %T", token)
	}
}

func (s *scanner) text(t xml.CharData) error {
	if len(s.stack) == 0 {
		// The raw bytes are looked at: neither a character reference nor CDATA is white space here.
		if len(bytes.Trim(s.source[s.start:s.end], " \t\r\n")) > 0 {
			return s.refuse(ClassMalformed, "document", "content outside the root element")
		}
		return nil
	}
	if s.inSignature == 0 {
		return s.grow(escapedText(t))
	}
	return nil
}

func (s *scanner) startElement(t xml.StartElement) error {
	name := qualified(t.Name)
	if len(s.stack) == 0 && s.rootSeen {
		return s.refuse(ClassMalformed, "element "+shorten(name), "a second root element")
	}
	if len(s.stack) >= MaxDepth {
		return s.refuse(ClassLimit, "element "+shorten(name), "nested deeper than %d", MaxDepth)
	}
	if s.elements++; s.elements > MaxElements {
		return s.refuse(ClassLimit, "elements", "more than %d", MaxElements)
	}
	if s.attributesSeen += len(t.Attr); s.attributesSeen > MaxDocumentAttributes {
		return s.refuse(ClassLimit, "attributes", "more than %d in all", MaxDocumentAttributes)
	}
	if err := s.rawTag(); err != nil {
		return err
	}
	level := openElement{name: t.Name, offset: s.start, rendered: len(s.rendered)}
	if err := s.declare(&level, t.Attr); err != nil {
		return err
	}
	s.stack = append(s.stack, level)
	uri, err := s.resolve(t.Name, "element")
	if err != nil {
		return err
	}
	if err := s.place(uri, t.Name); err != nil {
		return err
	}
	if err := s.countDeclarations(level.declared); err != nil {
		return err
	}
	if err := s.attributes(t); err != nil {
		return err
	}
	if !s.rootSeen {
		s.rootSeen = true
		s.result.rootName, s.result.rootTagEnd = t.Name, s.end
	}
	if s.inSignature == 0 {
		return s.growElement(t)
	}
	return nil
}

func (s *scanner) endElement(t xml.EndElement) error {
	if len(s.stack) == 0 {
		return s.refuse(ClassMalformed, "end tag "+shorten(qualified(t.Name)), "no element is open")
	}
	open := s.stack[len(s.stack)-1]
	if open.name != t.Name {
		return s.refuse(ClassMalformed, "end tag "+shorten(qualified(t.Name)), "the open element is %s", shorten(qualified(open.name)))
	}
	if s.inSignature == len(s.stack) {
		s.inSignature = 0
	}
	s.stack, s.rendered = s.stack[:len(s.stack)-1], s.rendered[:open.rendered]
	if len(s.stack) == 0 {
		s.result.rootEnd = s.start
	}
	return nil
}

func (s *scanner) finish() (*scan, error) {
	if len(s.stack) > 0 {
		open := s.stack[len(s.stack)-1]
		s.start = open.offset
		return nil, s.refuse(ClassMalformed, "element "+shorten(qualified(open.name)), "never closed")
	}
	if !s.rootSeen {
		return nil, s.refuse(ClassMalformed, "document", "no root element")
	}
	s.result.document = s.source
	if s.normalised != nil {
		s.result.document = slices.Concat(s.normalised, s.source[s.copied:])
	}
	return &s.result, nil
}

// place judges where elements of XML Signature stand: one Signature, child of the root, and nothing else
// of that namespace outside it. This is what signature wrapping needs to break.
func (s *scanner) place(uri string, name xml.Name) error {
	if uri != namespaceDSig || s.inSignature > 0 {
		return nil
	}
	if name.Local != "Signature" || len(s.stack) != 2 {
		return s.refuse(ClassShape, "element "+shorten(qualified(name)), "an XML Signature element outside a Signature that is a child of the root")
	}
	if s.result.signatures++; s.result.signatures > 1 {
		return s.refuse(ClassShape, "element "+shorten(qualified(name)), "a second Signature")
	}
	s.inSignature = len(s.stack)
	return nil
}

func (s *scanner) grow(size int) error {
	s.result.canonicalBytes += size
	if s.result.canonicalBytes > MaxCanonicalBytes {
		return s.refuse(ClassLimit, "canonical form", "more than %d bytes", MaxCanonicalBytes)
	}
	return nil
}

// growElement adds what the canonical start and end tags take. Inclusive canonicalisation writes namespace
// declarations where they stand, exclusive where they are used: both are counted, so that the estimate
// is an upper bound whichever the document asks for.
func (s *scanner) growElement(t xml.StartElement) error {
	size := 2*len(qualified(t.Name)) + len("<></>")
	s.used = append(s.used[:0], t.Name.Space)
	for _, a := range t.Attr {
		size += len(qualified(a.Name)) + len(` =""`) + escapedAttribute(a.Value)
		if _, ok := declaration(a.Name); !ok && a.Name.Space != "" {
			s.used = append(s.used, a.Name.Space)
		}
	}
	for _, prefix := range s.used {
		if prefix == prefixXML {
			continue
		}
		uri, _ := s.stack.lookup(prefix)
		if uri == s.lookupRendered(prefix) {
			continue
		}
		s.rendered = append(s.rendered, binding{prefix, uri})
		size += len(` xmlns:=""`) + len(prefix) + escapedAttribute(uri)
	}
	return s.grow(size)
}

func (s *scanner) lookupRendered(prefix string) string {
	for _, b := range slices.Backward(s.rendered) {
		if b.prefix == prefix {
			return b.uri
		}
	}
	return ""
}

func qualified(name xml.Name) string {
	if name.Space == "" {
		return name.Local
	}
	return name.Space + ":" + name.Local
}

func escapedText(text []byte) int {
	return len(text) + 4*bytes.Count(text, []byte{'&'}) + 3*bytes.Count(text, []byte{'<'}) +
		3*bytes.Count(text, []byte{'>'}) + 4*bytes.Count(text, []byte{'\r'})
}

func escapedAttribute(value string) int {
	return len(value) + 4*strings.Count(value, "&") + 3*strings.Count(value, "<") + 5*strings.Count(value, `"`) +
		4*(strings.Count(value, "\t")+strings.Count(value, "\n")+strings.Count(value, "\r"))
}
