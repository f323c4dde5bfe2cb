package lossless

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var utf8BOM = []byte("\xEF\xBB\xBF")

// Parse reads a whole file and has encoding/xml read it as well; both must see the same elements. Errors are a
// *SyntaxError, or wrap ErrEncoding, or say which limit was passed.
func Parse(data []byte) (*Document, error) {
	doc, err := Scan(data)
	if err != nil {
		return nil, err
	}
	if err := crossCheck(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// Scan reads a whole file without the second reader.
func Scan(data []byte) (*Document, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("file: %d bytes: more than the limit of %d", len(data), MaxBytes)
	}
	if err := checkEncoding(data); err != nil {
		return nil, err
	}
	s := &scanner{data: data, doc: &Document{Data: data}}
	if bytes.HasPrefix(data, utf8BOM) {
		s.pos = len(utf8BOM)
	}
	if err := s.document(); err != nil {
		return nil, err
	}
	return s.doc, nil
}

// checkEncoding names the other encodings by their first bytes, because "line 1, column 1: unexpected byte" would not
// tell an operator what to do.
func checkEncoding(data []byte) error {
	for _, e := range []struct{ prefix, name string }{
		{"\xFF\xFE\x00\x00", "UTF-32"}, {"\x00\x00\xFE\xFF", "UTF-32"},
		{"\xFF\xFE", "UTF-16"}, {"\xFE\xFF", "UTF-16"}, {"<\x00", "UTF-16"}, {"\x00<", "UTF-16"},
	} {
		if bytes.HasPrefix(data, []byte(e.prefix)) {
			return fmt.Errorf("file: %w: %s found, only UTF-8 can be edited", ErrEncoding, e.name)
		}
	}
	if !utf8.Valid(data) {
		i := 0
		for i < len(data) {
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		line, column := position(data, i)
		return fmt.Errorf("file: %w: line %d, column %d: byte 0x%02X is not UTF-8", ErrEncoding, line, column, data[i])
	}
	return nil
}

type scanner struct {
	data  []byte
	pos   int
	doc   *Document
	open  *Element
	depth int
}

func position(data []byte, offset int) (line, column int) {
	line = 1 + bytes.Count(data[:offset], []byte{'\n'})
	start := bytes.LastIndexByte(data[:offset], '\n') + 1
	if start == 0 && bytes.HasPrefix(data, utf8BOM) && offset >= len(utf8BOM) {
		start = len(utf8BOM)
	}
	return line, 1 + offset - start
}

func (s *scanner) fail(offset int, format string, args ...any) error {
	line, column := position(s.data, offset)
	return &SyntaxError{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}
}

func (s *scanner) has(prefix string) bool {
	return len(s.data)-s.pos >= len(prefix) && string(s.data[s.pos:s.pos+len(prefix)]) == prefix
}

func (s *scanner) document() error {
	if s.has("<?xml") && s.pos+5 < len(s.data) && isSpace(s.data[s.pos+5]) {
		if err := s.declaration(); err != nil {
			return err
		}
	}
	for s.pos < len(s.data) {
		var err error
		switch {
		case s.data[s.pos] != '<':
			err = s.text()
		case s.has("<!--"):
			err = s.comment()
		case s.has("<![CDATA["):
			err = s.cdata()
		case s.has("<!"):
			err = s.fail(s.pos, "a document type declaration is not allowed")
		case s.has("<?"):
			err = s.instruction()
		case s.has("</"):
			err = s.endTag()
		default:
			err = s.startTag()
		}
		if err != nil {
			return err
		}
	}
	if s.open != nil {
		line, _ := position(s.data, s.open.Start)
		return s.fail(len(s.data), "the file ends before element %q of line %d is closed", s.open.Name, line)
	}
	if s.doc.Root == nil {
		return s.fail(len(s.data), "no root element")
	}
	return nil
}

// declaration reads <?xml …?> and refuses an encoding that is not UTF-8: bytes that happen to be valid UTF-8 would
// still mean something else to IIS.
func (s *scanner) declaration() error {
	end := bytes.Index(s.data[s.pos:], []byte("?>"))
	if end < 0 {
		return s.fail(s.pos, "the XML declaration is not closed")
	}
	text := string(s.data[s.pos+5 : s.pos+end])
	if _, value, found := strings.Cut(text, "encoding"); found {
		value = strings.TrimLeft(value, " \t\r\n")
		value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t\r\n")
		if value == "" || (value[0] != '"' && value[0] != '\'') {
			return s.fail(s.pos, "the XML declaration has no readable encoding")
		}
		name, _, closed := strings.Cut(value[1:], value[:1])
		if !closed || !strings.EqualFold(name, "utf-8") {
			return fmt.Errorf("file: %w: the declaration says %q, only UTF-8 can be edited", ErrEncoding, name)
		}
	}
	s.pos += end + 2
	return nil
}

func (s *scanner) foreign() {
	if s.open != nil {
		s.open.Bare = false
	}
}

func (s *scanner) text() error {
	end := bytes.IndexByte(s.data[s.pos:], '<')
	if end < 0 {
		end = len(s.data) - s.pos
	}
	chunk := s.data[s.pos : s.pos+end]
	if len(bytes.TrimLeft(chunk, " \t\r\n")) > 0 {
		if s.open == nil {
			return s.fail(s.pos+len(chunk)-len(bytes.TrimLeft(chunk, " \t\r\n")), "text outside of the root element")
		}
		s.foreign()
		if i := bytes.Index(chunk, []byte("]]>")); i >= 0 {
			return s.fail(s.pos+i, "\"]]>\" is not allowed in text")
		}
		if _, err := s.resolve(s.pos, s.pos+end); err != nil {
			return err
		}
	}
	s.pos += end
	return nil
}

func (s *scanner) comment() error {
	end := bytes.Index(s.data[s.pos+4:], []byte("--"))
	if end < 0 {
		return s.fail(s.pos, "the comment is not closed")
	}
	after := s.pos + 4 + end
	if after+2 >= len(s.data) || s.data[after+2] != '>' {
		return s.fail(after, "\"--\" is not allowed inside a comment")
	}
	if err := s.checkChars(s.pos, after); err != nil {
		return err
	}
	s.foreign()
	s.pos = after + 3
	return nil
}

func (s *scanner) cdata() error {
	if s.open == nil {
		return s.fail(s.pos, "a CDATA section outside of the root element")
	}
	end := bytes.Index(s.data[s.pos:], []byte("]]>"))
	if end < 0 {
		return s.fail(s.pos, "the CDATA section is not closed")
	}
	if err := s.checkChars(s.pos, s.pos+end); err != nil {
		return err
	}
	s.foreign()
	s.pos += end + 3
	return nil
}

func (s *scanner) instruction() error {
	start := s.pos
	s.pos += 2
	name, err := s.name()
	if err != nil {
		return err
	}
	if strings.EqualFold(name, "xml") {
		return s.fail(start, "an XML declaration is only allowed at the very start of the file")
	}
	end := bytes.Index(s.data[s.pos:], []byte("?>"))
	if end < 0 {
		return s.fail(start, "the processing instruction is not closed")
	}
	if end > 0 && !isSpace(s.data[s.pos]) {
		return s.fail(s.pos, "white space is missing in the processing instruction")
	}
	if err := s.checkChars(s.pos, s.pos+end); err != nil {
		return err
	}
	s.foreign()
	s.pos += end + 2
	return nil
}

func (s *scanner) endTag() error {
	start := s.pos
	s.pos += 2
	name, err := s.name()
	if err != nil {
		return err
	}
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '>' {
		return s.fail(s.pos, "the end tag of %q is not closed", name)
	}
	s.pos++
	if s.open == nil {
		return s.fail(start, "end tag %q without a start tag", name)
	}
	if s.open.Name != name {
		line, _ := position(s.data, s.open.Start)
		return s.fail(start, "end tag %q where %q of line %d should be closed", name, s.open.Name, line)
	}
	s.open.EndStart, s.open.End = start, s.pos
	s.open = s.open.Parent
	s.depth--
	return nil
}

func (s *scanner) startTag() error {
	e := &Element{Start: s.pos, Parent: s.open, Bare: true}
	if s.open == nil && s.doc.Root != nil {
		return s.fail(s.pos, "a second root element")
	}
	if s.depth >= MaxDepth {
		return s.fail(s.pos, "elements are nested deeper than the limit of %d", MaxDepth)
	}
	if s.doc.Elements >= MaxElements {
		return s.fail(s.pos, "more elements than the limit of %d", MaxElements)
	}
	s.pos++
	name, err := s.name()
	if err != nil {
		return err
	}
	e.Name = name
	if err := s.attributes(e); err != nil {
		return err
	}
	s.doc.Elements++
	if s.open == nil {
		s.doc.Root = e
	} else {
		s.open.Children = append(s.open.Children, e)
	}
	e.StartEnd = s.pos
	if e.SelfClosing {
		e.EndStart, e.End = s.pos, s.pos
		return nil
	}
	s.open = e
	s.depth++
	return nil
}

func (s *scanner) attributes(e *Element) error {
	for {
		spaced := s.space()
		switch {
		case s.pos >= len(s.data):
			return s.fail(e.Start, "the start tag of %q is not closed", e.Name)
		case s.data[s.pos] == '>':
			s.pos++
			return nil
		case s.has("/>"):
			s.pos += 2
			e.SelfClosing = true
			return nil
		case !spaced:
			return s.fail(s.pos, "white space is missing before an attribute of %q", e.Name)
		case len(e.Attrs) >= MaxAttributes:
			return s.fail(s.pos, "element %q has more attributes than the limit of %d", e.Name, MaxAttributes)
		}
		a, err := s.attribute()
		if err != nil {
			return err
		}
		if e.Attr(a.Name) != nil {
			return s.fail(a.Start, "attribute %q stands twice in %q", a.Name, e.Name)
		}
		e.Attrs = append(e.Attrs, a)
	}
}

func (s *scanner) attribute() (Attr, error) {
	a := Attr{Start: s.pos}
	var err error
	if a.Name, err = s.name(); err != nil {
		return a, err
	}
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '=' {
		return a, s.fail(s.pos, "attribute %q has no value", a.Name)
	}
	s.pos++
	s.space()
	if s.pos >= len(s.data) || (s.data[s.pos] != '"' && s.data[s.pos] != '\'') {
		return a, s.fail(s.pos, "the value of attribute %q is not quoted", a.Name)
	}
	quote := s.data[s.pos]
	s.pos++
	end := bytes.IndexByte(s.data[s.pos:], quote)
	if end < 0 {
		return a, s.fail(s.pos, "the value of attribute %q is not closed", a.Name)
	}
	a.ValueStart, a.ValueEnd = s.pos, s.pos+end
	if i := bytes.IndexByte(s.data[a.ValueStart:a.ValueEnd], '<'); i >= 0 {
		return a, s.fail(a.ValueStart+i, "\"<\" is not allowed in the value of attribute %q", a.Name)
	}
	if a.Value, err = s.resolve(a.ValueStart, a.ValueEnd); err != nil {
		return a, err
	}
	s.pos += end + 1
	a.End = s.pos
	return a, nil
}

// resolve checks the characters of a text or attribute value and replaces references. Literal white space becomes one
// blank each (a CRLF pair one together), referenced white space stays: XML 1.0, sections 2.11 and 3.3.3.
func (s *scanner) resolve(start, end int) (string, error) {
	if err := s.checkChars(start, end); err != nil {
		return "", err
	}
	raw := s.data[start:end]
	if !bytes.ContainsAny(raw, "&\t\r\n") {
		return string(raw), nil
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case '\r':
			if i+1 < len(raw) && raw[i+1] == '\n' {
				i++
			}
			b.WriteByte(' ')
		case '\t', '\n':
			b.WriteByte(' ')
		case '&':
			n := bytes.IndexByte(raw[i:], ';')
			r, ok := rune(0), false
			if n > 0 {
				r, ok = reference(string(raw[i+1 : i+n]))
			}
			if !ok {
				return "", s.fail(start+i, "\"&\" does not begin a known reference")
			}
			b.WriteRune(r)
			i += n
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

func reference(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, base := strings.TrimPrefix(name, "#"), 10
	if digits == name {
		return 0, false
	}
	if hex, found := strings.CutPrefix(digits, "x"); found {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > unicode.MaxRune || !isChar(rune(n)) || strings.ContainsAny(digits, "+_") {
		return 0, false
	}
	return rune(n), true
}

func (s *scanner) checkChars(start, end int) error {
	for i := start; i < end; {
		c := s.data[i]
		if c >= ' ' && c < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(s.data[i:])
		if !isChar(r) {
			return s.fail(i, "character U+%04X is not allowed in XML", r)
		}
		i += n
	}
	return nil
}

func (s *scanner) space() bool {
	start := s.pos
	for s.pos < len(s.data) && isSpace(s.data[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) name() (string, error) {
	start := s.pos
	for s.pos < len(s.data) {
		r, n := utf8.DecodeRune(s.data[s.pos:])
		if !isNameChar(r) || (s.pos == start && !isNameStart(r)) {
			break
		}
		s.pos += n
	}
	if s.pos == start {
		return "", s.fail(start, "a name is expected")
	}
	name := string(s.data[start:s.pos])
	if strings.Count(name, ":") > 1 || strings.HasPrefix(name, ":") || strings.HasSuffix(name, ":") {
		return "", s.fail(start, "name %q has a misplaced colon", name)
	}
	return name, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// isChar is the production Char of XML 1.0.
func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || (r >= 0x20 && r <= 0xD7FF) || (r >= 0xE000 && r <= 0xFFFD) ||
		(r >= 0x10000 && r <= unicode.MaxRune)
}

// isNameStart and isNameChar accept letters and digits of every script. That is a little less than XML 1.0 allows, and
// no name in the schema of IIS needs more than ASCII.
func isNameStart(r rune) bool { return r == ':' || r == '_' || unicode.IsLetter(r) }

func isNameChar(r rune) bool {
	return isNameStart(r) || r == '-' || r == '.' || unicode.IsDigit(r)
}

// crossCheck reads the same bytes with encoding/xml. A reader differential would mean that we edit another tree than
// the one others see, so every difference refuses the file.
func crossCheck(doc *Document) error {
	data := bytes.TrimPrefix(doc.Data, utf8BOM)
	dec := xml.NewDecoder(bytes.NewReader(data))
	count := 0
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			line, column := position(data, int(dec.InputOffset()))
			return &SyntaxError{Line: line, Column: column, Message: "refused by the second XML reader: " + err.Error()}
		}
		if _, ok := tok.(xml.StartElement); ok {
			count++
		}
	}
	if count != doc.Elements {
		return fmt.Errorf("file: two XML readers disagree: %d and %d elements", doc.Elements, count)
	}
	return nil
}
