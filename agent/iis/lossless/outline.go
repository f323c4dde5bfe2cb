package lossless

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// maxStandard is the size up to which encoding/xml is asked as well. It reads about 30 MB/s, so this is 70 ms; the
// largest real file known has 177 KB. Above it the outline alone is the second opinion.
const maxStandard = 2 << 20

// outline is what the second reader makes of a file: the number of its elements and a hash over the order of its start
// and end tags. The reader shares no code with the scanner: it knows nothing of attributes as such, looks only for tags,
// quotes and comments, and so makes other mistakes than the scanner, if any.
type outline struct {
	elements int
	order    uint64
	err      error
}

// The hash is FNV-1a over the names in order of their start tags, with a byte that is in no name for every end.
const (
	hashStart = 14695981039346656037
	hashPrime = 1099511628211
)

func hashName(h uint64, name string) uint64 {
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * hashPrime
	}
	return (h ^ '<') * hashPrime
}

func hashEnd(h uint64) uint64 { return (h ^ '>') * hashPrime }

// readOutline reads a file from tag to tag.
func readOutline(data []byte) outline {
	o := outline{order: hashStart}
	var open [][]byte
	rest := data
	fail := func(what string) outline {
		line, column := position(data, len(data)-len(rest))
		o.err = &SyntaxError{Line: line, Column: column, Message: "refused by the second reader: " + what}
		return o
	}
	for {
		i := bytes.IndexByte(rest, '<')
		if i < 0 || len(rest) < i+2 {
			break
		}
		rest = rest[i:]
		length := 0
		switch {
		case bytes.HasPrefix(rest, []byte("<!--")):
			length = lengthTo(rest[4:], "-->") + 4
		case bytes.HasPrefix(rest, []byte("<![CDATA[")):
			length = lengthTo(rest, "]]>")
		case rest[1] == '?':
			length = lengthTo(rest, "?>")
		case rest[1] == '!':
			return fail("a declaration")
		default:
			length = tagLength(rest)
		}
		if length < 3 {
			return fail("markup that does not end")
		}
		markup := rest[1 : length-1]
		switch markup[0] {
		case '!', '?':
		case '/':
			name := tagName(markup[1:])
			if len(open) == 0 || !bytes.Equal(open[len(open)-1], name) {
				return fail(fmt.Sprintf("end tag %q out of order", name))
			}
			open = open[:len(open)-1]
			o.order = hashEnd(o.order)
		default:
			name := tagName(markup)
			o.elements++
			order := o.order
			for _, c := range name {
				order = (order ^ uint64(c)) * hashPrime
			}
			o.order = (order ^ '<') * hashPrime
			if markup[len(markup)-1] == '/' {
				o.order = hashEnd(o.order)
				break
			}
			open = append(open, name)
		}
		rest = rest[length:]
	}
	if len(open) > 0 {
		return fail(fmt.Sprintf("element %q is not closed", open[len(open)-1]))
	}
	return o
}

// lengthTo gives the length up to and with an end mark, or a negative number.
func lengthTo(data []byte, mark string) int {
	if i := bytes.Index(data, []byte(mark)); i >= 0 {
		return i + len(mark)
	}
	return -len(data) - 4
}

// tagLength gives the length of a tag, whose quoted values may hold ">", or 0.
func tagLength(data []byte) int {
	for at := 1; at < len(data); at++ {
		switch c := data[at]; c {
		case '>':
			return at + 1
		case '"', '\'':
			closing := bytes.IndexByte(data[at+1:], c)
			if closing < 0 {
				return 0
			}
			at += closing + 1
		}
	}
	return 0
}

func tagName(markup []byte) []byte {
	for i, c := range markup {
		if isSpace(c) || c == '/' {
			return markup[:i]
		}
	}
	return markup
}

// crossCheck compares what the readers saw. A difference would mean that we edit another tree than the one others see,
// so every difference refuses the file.
func crossCheck(doc *Document, second outline) error {
	if second.err != nil {
		return second.err
	}
	if second.elements != doc.Elements || second.order != doc.order {
		return fmt.Errorf("file: two XML readers disagree: %d and %d elements, or their order", doc.Elements, second.elements)
	}
	if len(doc.Data) > maxStandard {
		return nil
	}
	return standardCheck(doc)
}

// standardCheck reads the same bytes with encoding/xml.
func standardCheck(doc *Document) error {
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
