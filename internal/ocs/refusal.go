package ocs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// refusal is the error of a Config that breaks a rule.
type refusal struct {
	reason, message string
	// line is where the smallest known part that breaks the rule begins; 0 if nobody has said.
	line int
}

func (r *refusal) Error() string { return r.message }

func refuse(reason, format string, args ...any) error {
	return &refusal{reason: reason, message: fmt.Sprintf(format, args...)}
}

// at adds the line of the part that was being read, unless a smaller part has said its own.
func at(node *xmltree.Node, err error) error {
	var r *refusal
	if errors.As(err, &r) && r.line == 0 {
		r.line = node.Line
	}
	return err
}

// shownLength is how much of a foreign text messages repeat.
const shownLength = 64

// shown shortens a foreign text for a message.
func shown(s string) string {
	if len(s) <= shownLength {
		return s
	}
	return strings.ToValidUTF8(s[:shownLength], "") + "..."
}

// vocabulary is what an element may hold: names of attributes, and of child elements
// with how often each may occur (1, or a larger limit).
type vocabulary struct {
	attributes []string
	children   map[string]int
	text       bool
}

// check refuses what the element must not hold. where names the element in messages.
func (v vocabulary) check(node *xmltree.Node, where string) error {
	for _, a := range node.Attrs {
		if !slices.Contains(v.attributes, a.Name) {
			return refuse(ReasonUnknownContent, "%s: unknown attribute %q", where, shown(a.Name))
		}
	}
	count := map[string]int{}
	for _, c := range node.Children {
		limit, known := v.children[c.Name]
		if !known {
			return refuse(ReasonUnknownContent, "%s: unknown element %q", where, shown(c.Name))
		}
		if count[c.Name]++; count[c.Name] > limit {
			if limit == 1 {
				return refuse(ReasonRepeatedElement, "%s: element %q occurs more than once", where, c.Name)
			}
			return refuse(ReasonLimitExceeded, "%s: more than %d elements %q", where, limit, c.Name)
		}
	}
	if !v.text && xmltree.TrimSpace(node.Text) != "" {
		return refuse(ReasonUnknownContent, "%s: text %q where only elements may stand", where, shown(xmltree.TrimSpace(node.Text)))
	}
	return nil
}

// required returns an attribute that has to be there.
func required(node *xmltree.Node, name, where string) (string, error) {
	value, ok := node.Attr(name)
	if !ok {
		return "", refuse(ReasonMissingContent, "%s: attribute %q is missing", where, name)
	}
	return value, nil
}

// oneOf reads an enumeration. The values of the format are compared with regard to case.
func oneOf[T ~string](value, name, where string, allowed ...T) (T, error) {
	if slices.Contains(allowed, T(value)) {
		return T(value), nil
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return "", refuse(ReasonInvalidValue, "%s: %s %q is none of %s", where, name, shown(value), strings.Join(words, ", "))
}

// length checks a text against its limit in characters.
func length(text string, limit int) error {
	if n := utf8.RuneCountInString(text); n > limit {
		return fmt.Errorf("%d characters, allowed are %d", n, limit)
	}
	return nil
}

// limited returns the text of an optional attribute, refusing one that is too long.
func limited(node *xmltree.Node, name string, limit int, where string) (string, error) {
	value, _ := node.Attr(name)
	if err := length(value, limit); err != nil {
		return "", refuse(ReasonLimitExceeded, "%s: %s: %v", where, name, err)
	}
	return value, nil
}
