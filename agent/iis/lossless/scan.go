package lossless

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"
)

var utf8BOM = []byte("\xEF\xBB\xBF")

// Parse reads a whole file and has a second reader read it as well; both must see the same elements. Bytes on which they have agreed in
// this process are read once. Errors are a *SyntaxError, or wrap ErrEncoding, or say which limit was passed.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxBytes {
		return Scan(data) // which refuses it
	}
	digest := sha256.Sum256(data)
	if agreed.known(digest) {
		doc, err := Scan(data)
		if err != nil {
			return nil, err
		}
		if err := doc.CrossCheck(); err != nil {
			return nil, err
		}
		return doc, nil
	}
	second := make(chan outline, 1)
	go func() { second <- readOutline(data) }()
	doc, err := Scan(data)
	other := <-second
	if err != nil {
		return nil, err
	}
	if err := crossCheck(doc, other); err != nil {
		return nil, err
	}
	agreed.add(digest, doc)
	return doc, nil
}

// CrossCheck has the second reader go over a document that Scan gave, as Parse does.
func (d *Document) CrossCheck() error {
	digest := sha256.Sum256(d.Data)
	if agreed.on(digest, d) {
		return nil
	}
	if err := crossCheck(d, readOutline(d.Data)); err != nil {
		return err
	}
	agreed.add(digest, d)
	return nil
}

// Scan reads a whole file without the second reader.
func Scan(data []byte) (*Document, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("file: %d bytes: more than the limit of %d", len(data), MaxBytes)
	}
	if err := checkEncoding(data); err != nil {
		return nil, err
	}
	// The text shares the bytes: names and most values are parts of it, which spares half of the memory.
	s := &scanner{data: data, chars: unsafe.String(unsafe.SliceData(data), len(data)), doc: &Document{Data: data}, order: hashStart}
	s.block = min(max(len(data)/elementBytes, minBlock), maxBlock)
	if bytes.HasPrefix(data, utf8BOM) {
		s.pos = len(utf8BOM)
	}
	if err := s.document(); err != nil {
		return nil, err
	}
	s.doc.order = s.order
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
	chars string // the same bytes
	pos   int
	doc   *Document
	open  *Element
	depth int
	order uint64

	// Elements and lists of children are taken from blocks: a file of 10 MB has hundreds of thousands of them.
	block    int
	elements []Element
	lists    []*Element

	closed []*Element        // children of the open elements that are complete, those of the outermost first
	first  [MaxDepth + 1]int // where those of the element of each depth begin
	names  []string          // attributes of the current element
}

// Sizes of blocks, in elements. A small file, such as a single rule, fits into one block that is not much larger.
const (
	elementBytes = 80 // of an element with its share of white space, in a real file
	minBlock     = 4
	maxBlock     = 2048
)

func (s *scanner) newElement() *Element {
	if len(s.elements) == 0 {
		s.elements = make([]Element, s.block)
	}
	e := &s.elements[0]
	s.elements = s.elements[1:]
	return e
}

// children gives the open element those that were closed inside of it, in a list that has no room to spare.
func (s *scanner) children() []*Element {
	from := s.first[s.depth]
	n := len(s.closed) - from
	if n == 0 {
		return nil
	}
	if len(s.lists) < n {
		s.lists = make([]*Element, max(s.block, n))
	}
	list := s.lists[:n:n]
	s.lists = s.lists[n:]
	copy(list, s.closed[from:])
	s.closed = s.closed[:from]
	return list
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
		if s.data[s.pos] != '<' {
			err = s.text()
		} else {
			err = s.markup()
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

func (s *scanner) markup() error {
	next := byte(0)
	if s.pos+1 < len(s.data) {
		next = s.data[s.pos+1]
	}
	switch {
	case next == '/':
		return s.endTag()
	case next == '?':
		return s.instruction()
	case next != '!':
		return s.startTag()
	case s.has("<!--"):
		return s.comment()
	case s.has("<![CDATA["):
		return s.cdata()
	default:
		return s.fail(s.pos, "a document type declaration is not allowed")
	}
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
	start := s.pos
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] == '<' {
		return nil
	}
	if s.open == nil {
		return s.fail(s.pos, "text outside of the root element")
	}
	s.foreign()
	end := bytes.IndexByte(s.data[s.pos:], '<')
	if end < 0 {
		end = len(s.data) - s.pos
	}
	end += s.pos
	if i := bytes.Index(s.data[start:end], []byte("]]>")); i >= 0 {
		return s.fail(start+i, "\"]]>\" is not allowed in text")
	}
	s.pos = end
	return s.checkText(start, end)
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
	if s.open != nil {
		// Nearly every end tag is that of the open element, without a blank in it.
		end := start + 2 + len(s.open.Name)
		if end < len(s.chars) && s.chars[end] == '>' && s.chars[start+2:end] == s.open.Name {
			s.pos = end + 1
			s.close(start)
			return nil
		}
	}
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
	s.close(start)
	return nil
}

// close ends the open element behind its end tag, which begins at an offset.
func (s *scanner) close(endStart int) {
	e := s.open
	e.EndStart, e.End = endStart, s.pos
	e.Children = s.children()
	s.closed = append(s.closed, e)
	s.order = hashEnd(s.order)
	s.open = e.Parent
	s.depth--
}

func (s *scanner) startTag() error {
	e := s.newElement()
	e.Start, e.Parent, e.Bare = s.pos, s.open, true
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
	s.order = hashName(s.order, name)
	if err := s.attributes(e); err != nil {
		return err
	}
	s.doc.Elements++
	if s.open == nil {
		s.doc.Root = e
	}
	e.StartEnd = s.pos
	e.tag = s.chars[e.Start:e.StartEnd]
	if e.SelfClosing {
		e.EndStart, e.End = s.pos, s.pos
		s.closed = append(s.closed, e)
		s.order = hashEnd(s.order)
		return nil
	}
	s.open = e
	s.depth++
	s.first[s.depth] = len(s.closed)
	return nil
}

// attributes checks those of a start tag. It keeps nothing of them: whoever asks for one reads the tag again.
func (s *scanner) attributes(e *Element) error {
	s.names = s.names[:0]
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
		case len(s.names) >= MaxAttributes:
			return s.fail(s.pos, "element %q has more attributes than the limit of %d", e.Name, MaxAttributes)
		}
		start := s.pos
		name, plain := s.plainAttribute()
		if !plain {
			var err error
			if name, err = s.attribute(); err != nil {
				return err
			}
		}
		if slices.Contains(s.names, name) {
			return s.fail(start, "attribute %q stands twice in %q", name, e.Name)
		}
		s.names = append(s.names, name)
	}
}

// plainAttribute reads the attribute that nearly every one is: ASCII, without blanks around the equals sign and without
// references. Otherwise it reads nothing.
func (s *scanner) plainAttribute() (name string, ok bool) {
	data, start := s.data, s.pos
	at := start
	for at < len(data) && class[data[at]]&nameByte != 0 {
		at++
	}
	if at == start || class[data[start]]&nameStart == 0 || at+1 >= len(data) || data[at] != '=' {
		return "", false
	}
	end, quote := at, data[at+1]
	if quote != '"' && quote != '\'' {
		return "", false
	}
	for at += 2; at < len(data); at++ {
		c := data[at]
		if class[c]&(special|quoteOrLess) == 0 {
			continue
		}
		if c == quote {
			s.pos = at + 1
			return s.chars[start:end], true
		}
		if c != '"' && c != '\'' {
			break
		}
	}
	return "", false
}

func (s *scanner) attribute() (name string, err error) {
	if name, err = s.name(); err != nil {
		return "", err
	}
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '=' {
		return "", s.fail(s.pos, "attribute %q has no value", name)
	}
	s.pos++
	s.space()
	if s.pos >= len(s.data) || (s.data[s.pos] != '"' && s.data[s.pos] != '\'') {
		return "", s.fail(s.pos, "the value of attribute %q is not quoted", name)
	}
	quote := s.data[s.pos]
	s.pos++
	length := bytes.IndexByte(s.data[s.pos:], quote)
	if length < 0 {
		return "", s.fail(s.pos, "the value of attribute %q is not closed", name)
	}
	if i := bytes.IndexByte(s.data[s.pos:s.pos+length], '<'); i >= 0 {
		return "", s.fail(s.pos+i, "\"<\" is not allowed in the value of attribute %q", name)
	}
	if err := s.checkText(s.pos, s.pos+length); err != nil {
		return "", err
	}
	s.pos += length + 1
	return name, nil
}
