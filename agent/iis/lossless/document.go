package lossless

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Limits of a file. The largest real applicationHost.config known to us has 177 KB, 44 locations and a depth of 9.
const (
	// MaxBytes leaves room for a server with a thousand sites (about 3 KB each, 3 MB) five times over, and keeps
	// three copies of the file (old, new, read back) below 50 MB.
	MaxBytes = 16 << 20
	// MaxDepth is seven times the depth of real files; it bounds the parent chain that structural searches walk.
	MaxDepth = 64
	// MaxElements is MaxBytes divided by 40 bytes, the size of a short element line in a real file.
	MaxElements = MaxBytes / 40
	// MaxAttributes per element; the schema of IIS has no element with more than 30. Duplicates are found by comparing
	// every pair, so this also bounds that work.
	MaxAttributes = 256
)

// ErrEncoding tells that the bytes are not UTF-8 or say that they are something else.
var ErrEncoding = errors.New("unsupported encoding")

// SyntaxError says where a file stops being well-formed XML. Line and Column count from 1; Column counts bytes, and a
// byte order mark is not counted.
type SyntaxError struct {
	Line, Column int
	Message      string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Attr is one attribute of a start tag. Start and End enclose name="value" with the quotes, ValueStart and ValueEnd the
// raw value between them.
type Attr struct {
	Name                 string
	Value                string // with references resolved and white space normalised as XML 1.0, section 3.3.3 says
	Start, End           int
	ValueStart, ValueEnd int
}

// Element is one element and where its parts stand: the start tag is [Start, StartEnd), the content
// [StartEnd, EndStart), the end tag [EndStart, End). A self-closing element has an empty content and no end tag, so its
// StartEnd, EndStart and End are equal.
type Element struct {
	Name            string
	Start, StartEnd int
	EndStart, End   int
	Parent          *Element
	Children        []*Element
	SelfClosing     bool
	// Bare is true when there is nothing but white space between the start tag, the child elements and the end tag:
	// no text, comment, CDATA section or processing instruction.
	Bare bool

	tag string // the start tag, which the attributes are read from when somebody asks for them
}

// Attrs returns the attributes in the order of the file.
func (e *Element) Attrs() []Attr {
	var out []Attr
	for at, ok := e.firstAttr(); ok; at, ok = at.next(e.tag) {
		out = append(out, e.read(at))
	}
	return out
}

// Attr returns the attribute of that exact name, or nil. Attribute names of IIS configuration are case-sensitive.
func (e *Element) Attr(name string) *Attr {
	for at, ok := e.firstAttr(); ok; at, ok = at.next(e.tag) {
		if e.tag[at.start:at.nameEnd] == name {
			a := e.read(at)
			return &a
		}
	}
	return nil
}

// Value returns the value of an attribute, or "" when it is absent.
func (e *Element) Value(name string) string {
	for at, ok := e.firstAttr(); ok; at, ok = at.next(e.tag) {
		if e.tag[at.start:at.nameEnd] == name {
			return resolve(e.tag[at.valueStart:at.valueEnd])
		}
	}
	return ""
}

// span is where an attribute stands in its tag.
type span struct{ start, nameEnd, valueStart, valueEnd int }

func (e *Element) firstAttr() (span, bool) { return attrFrom(e.tag, 1+len(e.Name)) }

func (s span) next(tag string) (span, bool) { return attrFrom(tag, s.valueEnd+1) }

// attrFrom finds the attribute behind the name of the element or behind another attribute. The scanner has checked the tag,
// so that all of an attribute is there when its first byte is.
func attrFrom(tag string, at int) (span, bool) {
	for at < len(tag) && isSpace(tag[at]) {
		at++
	}
	if at >= len(tag) || tag[at] == '>' || tag[at] == '/' {
		return span{}, false
	}
	s := span{start: at}
	s.nameEnd = at + strings.IndexAny(tag[at:], "= \t\r\n")
	s.valueStart = s.nameEnd + strings.IndexAny(tag[s.nameEnd:], "\"'") + 1
	s.valueEnd = s.valueStart + strings.IndexByte(tag[s.valueStart:], tag[s.valueStart-1])
	return s, true
}

func (e *Element) read(s span) Attr {
	return Attr{
		Name: e.tag[s.start:s.nameEnd], Value: resolve(e.tag[s.valueStart:s.valueEnd]),
		Start: e.Start + s.start, End: e.Start + s.valueEnd + 1,
		ValueStart: e.Start + s.valueStart, ValueEnd: e.Start + s.valueEnd,
	}
}

// Child returns the first child element of that name, or nil.
func (e *Element) Child(name string) *Element {
	for _, c := range e.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Document is a file that was read. It shares the bytes with the caller, names and values as well as Data: neither side may
// change them.
type Document struct {
	Data     []byte
	Root     *Element
	Elements int // number of elements

	order uint64 // of the tags, see outline
}

// ElementAt returns the element whose start tag begins at that offset, or nil: text inside a comment has none.
func (d *Document) ElementAt(offset int) *Element {
	e := d.Root
	for e != nil {
		if e.Start == offset {
			return e
		}
		i := sort.Search(len(e.Children), func(i int) bool { return e.Children[i].End > offset })
		if i == len(e.Children) || e.Children[i].Start > offset {
			return nil
		}
		e = e.Children[i]
	}
	return nil
}

// LineEndAt returns the line end in use around the offset: that of the line before it, else of the line itself, else
// CRLF, which is what IIS writes.
func (d *Document) LineEndAt(offset int) string {
	i := bytes.LastIndexByte(d.Data[:offset], '\n')
	if i < 0 {
		if j := bytes.IndexByte(d.Data[offset:], '\n'); j >= 0 {
			i = offset + j
		}
	}
	if i == 0 || (i > 0 && d.Data[i-1] != '\r') {
		return "\n"
	}
	return "\r\n"
}

// Indent returns the blanks and tabs before an element that is the first thing on its line; own is false when it is not.
func (d *Document) Indent(e *Element) (indent string, own bool) {
	i := e.Start
	for i > 0 && (d.Data[i-1] == ' ' || d.Data[i-1] == '\t') {
		i--
	}
	if i > 0 && d.Data[i-1] != '\n' {
		return "", false
	}
	return string(d.Data[i:e.Start]), true
}

// ChildIndent returns the indentation for a new child: that of a child which stands on its own line, else the parent's
// plus one unit of the file.
func (d *Document) ChildIndent(parent *Element) string {
	for _, c := range parent.Children {
		if s, own := d.Indent(c); own {
			return s
		}
	}
	s, _ := d.Indent(parent)
	return s + d.IndentUnit()
}

// IndentUnit returns one step of indentation, read off the first child of the root; four blanks when that says nothing.
func (d *Document) IndentUnit() string {
	root, _ := d.Indent(d.Root)
	for _, c := range d.Root.Children {
		if s, own := d.Indent(c); own && len(s) > len(root) && strings.HasPrefix(s, root) {
			return s[len(root):]
		}
	}
	return "    "
}

// Splice replaces the bytes [Start, End) by New.
type Splice struct {
	Start, End int
	New        []byte
}

// Apply makes the splices, which may come in any order but must lie inside the data and not overlap. The data is not
// changed. Two insertions at the same offset keep their order.
func Apply(data []byte, splices []Splice) ([]byte, error) {
	sorted := append([]Splice(nil), splices...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Start < sorted[j].Start })
	size, at := len(data), 0
	for _, s := range sorted {
		if s.Start < at || s.End < s.Start || s.End > len(data) {
			return nil, fmt.Errorf("splice: bytes %d to %d: outside of the file or overlapping", s.Start, s.End)
		}
		at = s.End
		size += len(s.New) - (s.End - s.Start)
	}
	out := make([]byte, 0, size)
	at = 0
	for _, s := range sorted {
		out = append(out, data[at:s.Start]...)
		out = append(out, s.New...)
		at = s.End
	}
	return append(out, data[at:]...), nil
}

// EscapeAttr writes text for use between double quotes. Line ends and tabs become character references, since a reader
// turns literal ones into blanks.
func EscapeAttr(s string) string {
	return attrEscaper.Replace(s)
}

var attrEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;",
	"\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
