package xmlsig

import (
	"bytes"
	"encoding/xml"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// declare collects the namespace declarations of a start tag.
func (s *scanner) declare(level *openElement, attrs []xml.Attr) error {
	for _, a := range attrs {
		prefix, ok := declaration(a.Name)
		if !ok {
			continue
		}
		subject := "declaration " + shorten(qualified(a.Name))
		switch {
		case prefix == prefixXML, prefix == prefixXMLNS, a.Value == namespaceXML, a.Value == namespaceXMLNS:
			return s.refuse(ClassMalformed, subject, "a reserved prefix or namespace")
		case prefix != "" && a.Value == "":
			return s.refuse(ClassMalformed, subject, "a prefix cannot be undeclared in XML 1.0")
		case len(a.Value) > MaxNamespaceBytes:
			return s.refuse(ClassLimit, subject, "a namespace name of %d bytes, at most %d", len(a.Value), MaxNamespaceBytes)
		case a.Value != "" && !absoluteURI.MatchString(a.Value):
			return s.refuse(ClassMalformed, subject, "the namespace name %s is no absolute URI", shorten(a.Value))
		}
		level.declared = append(level.declared, binding{prefix, a.Value})
	}
	return nil
}

func (s *scanner) countDeclarations(declared []binding) error {
	where, limit, place := 0, MaxNamespaceDeclarations, "outside the Signature"
	if s.inSignature > 0 {
		where, limit, place = 1, MaxSignatureNamespaceDeclarations, "inside the Signature"
	}
	s.declarations[where] += len(declared)
	if s.declarations[where] > limit {
		return s.refuse(ClassLimit, "namespace declarations "+place, "more than %d", limit)
	}
	return nil
}

// resolve returns the namespace of a name and refuses what is no qualified name.
func (s *scanner) resolve(name xml.Name, kind string) (string, error) {
	first, _ := utf8.DecodeRuneInString(name.Local)
	switch {
	case strings.Contains(name.Local, ":"), strings.Contains(name.Space, ":"), !unicode.IsLetter(first) && first != '_':
		return "", s.refuse(ClassMalformed, kind+" "+shorten(qualified(name)), "not a qualified name")
	case name.Space == prefixXMLNS:
		return "", s.refuse(ClassMalformed, kind+" "+shorten(qualified(name)), "the prefix is reserved")
	}
	uri, ok := s.stack.lookup(name.Space)
	if !ok && name.Space != "" {
		return "", s.refuse(ClassMalformed, kind+" "+shorten(qualified(name)), "undeclared prefix")
	}
	return uri, nil
}

// attributes refuses repeated attributes, raw (a:x a:x) and expanded (a:x b:x with one namespace). etree
// keeps the last of the former without a word.
func (s *scanner) attributes(t xml.StartElement) error {
	s.expanded = s.expanded[:0]
	for _, a := range t.Attr {
		name := a.Name
		if _, ok := declaration(a.Name); !ok && a.Name.Space != "" {
			uri, err := s.resolve(a.Name, "attribute")
			if err != nil {
				return err
			}
			name.Space = uri
		} else if name.Space == "" {
			if _, err := s.resolve(a.Name, "attribute"); err != nil {
				return err
			}
		}
		if slices.Contains(s.expanded, name) {
			return s.refuse(ClassMalformed, "element "+shorten(qualified(t.Name)), "attribute %s is repeated", shorten(qualified(a.Name)))
		}
		s.expanded = append(s.expanded, name)
	}
	return nil
}

// countAttributes looks ahead into a start tag, before encoding/xml reads it: a tag of 1 MiB has 260,000 attributes, for
// which the decoder takes 70 MB before anybody can count them. Every attribute has one value in quotes, or the
// decoder refuses it.
func (s *scanner) countAttributes() error {
	raw := s.source[s.start:]
	if len(raw) < 2 || raw[0] != '<' || bytes.IndexByte([]byte("!?/"), raw[1]) >= 0 {
		return nil
	}
	quoted := byte(0)
	count := 0
	for _, c := range raw {
		switch {
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '>':
			return nil
		case c == '"', c == '\'':
			quoted = c
			if count++; count > MaxAttributes {
				return s.refuse(ClassLimit, "start tag", "more than %d attributes", MaxAttributes)
			}
		}
	}
	return nil // never closed, which the decoder says
}

// rawTag reads the bytes of a start tag once more, for two rules that encoding/xml does not keep: attributes
// are separated by white space, and a literal tab or line end within a value is a blank
// (XML 1.0, section 3.3.3). A character reference such as &#10; is not touched.
func (s *scanner) rawTag() error {
	raw := s.source[s.start:s.end]
	i := bytes.IndexAny(raw, " \t\r\n/>")
	for i >= 0 && i < len(raw) {
		blanks := countSpace(raw[i:])
		i += blanks
		if i >= len(raw) || raw[i] == '/' || raw[i] == '>' {
			return nil
		}
		if blanks == 0 {
			return s.refuse(ClassMalformed, "start tag", "no white space between attributes")
		}
		open := bytes.IndexAny(raw[i:], `"'`)
		if open < 0 {
			break
		}
		from := i + open + 1
		length := bytes.IndexByte(raw[from:], raw[from-1])
		if length < 0 {
			break
		}
		s.normalise(s.start+from, s.start+from+length)
		i = from + length + 1
	}
	return s.refuse(ClassMalformed, "start tag", "attributes cannot be told apart")
}

// normalise replaces white space of one attribute value by blanks in the copy that is parsed later. The
// copy is made on first need: most documents are used as they are.
func (s *scanner) normalise(from, to int) {
	value := s.source[from:to]
	if !bytes.ContainsAny(value, "\t\r\n") {
		return
	}
	value = bytes.ReplaceAll(value, []byte("\r\n"), []byte{' '})
	value = bytes.Map(func(r rune) rune {
		if r == '\t' || r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, value)
	s.normalised = append(append(s.normalised, s.source[s.copied:from]...), value...)
	s.copied = to
}

func countSpace(b []byte) int {
	return len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
}
