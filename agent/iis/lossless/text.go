package lossless

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkText checks the characters and references of a text or attribute value.
func (s *scanner) checkText(start, end int) error {
	if isPlain(s.chars[start:end]) {
		return nil
	}
	if err := s.checkChars(start, end); err != nil {
		return err
	}
	for at := start; ; {
		i := bytes.IndexByte(s.data[at:end], '&')
		if i < 0 {
			return nil
		}
		at += i
		if _, n := leadingReference(s.chars[at:end]); n > 0 {
			at += n
			continue
		}
		return s.fail(at, "\"&\" does not begin a known reference")
	}
}

// isPlain reports whether a value means itself, byte for byte.
func isPlain(raw string) bool {
	for i := range len(raw) {
		if class[raw[i]]&special != 0 {
			return false
		}
	}
	return true
}

// resolve gives what the raw text of a value means, which the scanner has checked. Literal white space becomes one
// blank each (a CRLF pair one together), referenced white space stays: XML 1.0, sections 2.11 and 3.3.3.
func resolve(raw string) string {
	if isPlain(raw) {
		return raw
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
			r, n := leadingReference(raw[i:])
			b.WriteRune(r)
			i += max(n, 1) - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// leadingReference gives the character of the reference that a text begins with, and its length, 0 when it is none.
func leadingReference(text string) (rune, int) {
	end := strings.IndexByte(text, ';')
	if end < 0 {
		return 0, 0
	}
	r, ok := reference(text[1:end])
	if !ok {
		return 0, 0
	}
	return r, end + 1
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
		if c := s.data[i]; c >= ' ' && c < utf8.RuneSelf {
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
	at := s.pos
	for at < len(s.data) && class[s.data[at]]&blank != 0 {
		at++
	}
	spaced := at > s.pos
	s.pos = at
	return spaced
}

func (s *scanner) name() (string, error) {
	start, at := s.pos, s.pos
	for at < len(s.data) && class[s.data[at]]&nameByte != 0 {
		at++
	}
	if at > start && at < len(s.data) && s.data[at] < utf8.RuneSelf && s.data[at] != ':' && class[s.data[start]]&nameStart != 0 {
		s.pos = at
		return s.chars[start:at], nil
	}
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
	name := s.chars[start:s.pos]
	if strings.Count(name, ":") > 1 || strings.HasPrefix(name, ":") || strings.HasSuffix(name, ":") {
		return "", s.fail(start, "name %q has a misplaced colon", name)
	}
	return name, nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// What a byte may be, for the bulk of a file that is ASCII. Everything else takes the way over runes.
const (
	nameByte    = 1 << iota // in a name without a colon
	nameStart               // at its start
	special                 // in a value: needs a closer look
	quoteOrLess             // may end a value, or must not stand in it
	blank                   // white space
)

var class = func() (table [256]uint8) {
	for c := range 256 {
		r := rune(c)
		if c < utf8.RuneSelf && r != ':' && isNameChar(r) {
			table[c] |= nameByte
			if isNameStart(r) {
				table[c] |= nameStart
			}
		}
		if c < ' ' || c == '&' || c >= utf8.RuneSelf {
			table[c] |= special
		}
		switch c {
		case '"', '\'', '<':
			table[c] |= quoteOrLess
		case ' ', '\t', '\r', '\n':
			table[c] |= blank
		}
	}
	return table
}()

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
