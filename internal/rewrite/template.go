package rewrite

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	// maxNesting is how deep functions may stand inside each other. Published rules nest
	// two.
	maxNesting = 8
	// maxReference is the highest number of a back reference, the registry value
	// MaxBackReferences that the module comes with.
	maxReference = 31
	// maxExpansion is the longest text that a substitution may give, in bytes: four times
	// the longest request line of HTTP.sys (16 KB). Without a limit a few rules that
	// double the URL would fill the memory.
	maxExpansion = 64 << 10
)

type partKind uint8

const (
	literalPart partKind = iota
	variablePart
	ruleReference
	conditionReference
	functionPart
	mapPart
)

// function is a string function of URL Rewrite.
type function uint8

const (
	toLower function = iota
	urlEncode
	urlDecode
	htmlEncode
)

var functions = map[string]function{
	"tolower": toLower, "urlencode": urlEncode, "urldecode": urlDecode, "htmlencode": htmlEncode,
}

// part is a literal, a server variable, a back reference, or a function or a rewrite map
// over further parts.
type part struct {
	kind partKind
	// text is the literal, the name of the variable in upper case, or the name of the map
	// in lower case.
	text     string
	number   int
	function function
	argument []part
	// blank says that a blank follows the colon of a function.
	blank bool
}

// template is a text of a rule in which braces are replaced, such as the input of a
// condition or the URL of an action.
type template struct {
	text  string
	parts []part
	// fault says why IIS cannot use it.
	fault string
	// rule and condition say that it refers to captures.
	rule, condition bool
	// slot is the place of its value in the cache of an evaluation, -1 without one.
	slot int
}

// newTemplate reads a template. Like a bad pattern, a bad template is no error before a
// request needs it.
func newTemplate(text string) *template {
	t := &template{text: text, slot: -1}
	parser := templateParser{text: text}
	parts, err := parser.parts(0)
	if err != nil {
		t.fault = fmt.Sprintf("%q: %v", text, err)
		return t
	}
	t.parts = parts
	t.note(parts)
	return t
}

func (t *template) note(parts []part) {
	for _, p := range parts {
		t.rule = t.rule || p.kind == ruleReference
		t.condition = t.condition || p.kind == conditionReference
		t.note(p.argument)
	}
}

// maps calls visit for the name of every rewrite map.
func (t *template) maps(visit func(name string)) { visitMaps(t.parts, visit) }

func visitMaps(parts []part, visit func(name string)) {
	for _, p := range parts {
		if p.kind == mapPart {
			visit(p.text)
		}
		visitMaps(p.argument, visit)
	}
}

type templateParser struct {
	text string
	pos  int
}

// parts reads up to the "}" that ends the enclosing braces, or to the end.
func (t *templateParser) parts(depth int) ([]part, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("nested deeper than %d", maxNesting)
	}
	var parts []part
	for t.pos < len(t.text) {
		rest := t.text[t.pos:]
		switch {
		case rest[0] == '{':
			t.pos++
			p, err := t.reference(depth)
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
			continue
		case rest[0] == '}' && depth > 0:
			return parts, nil
		}
		// A "}" without "{" stands for itself.
		end := strings.IndexAny(rest[1:], "{}") + 1
		if end == 0 {
			end = len(rest)
		}
		if last := len(parts) - 1; last >= 0 && parts[last].kind == literalPart {
			parts[last].text += rest[:end]
		} else {
			parts = append(parts, part{kind: literalPart, text: rest[:end]})
		}
		t.pos += end
	}
	return parts, nil
}

// reference reads what follows a "{", its "}" included.
func (t *templateParser) reference(depth int) (part, error) {
	rest := t.text[t.pos:]
	end := strings.IndexAny(rest, "{}:")
	if end < 0 || rest[end] == '{' {
		return part{}, fmt.Errorf(`"{" begins no server variable, function or rewrite map`)
	}
	name := rest[:end]
	if name == "" {
		return part{}, fmt.Errorf(`"{" is followed by no name`)
	}
	t.pos += end + 1
	if rest[end] == '}' {
		return part{kind: variablePart, text: strings.ToUpper(name)}, nil
	}
	if strings.EqualFold(name, "R") || strings.EqualFold(name, "C") {
		return t.backReference(name)
	}
	p := part{kind: mapPart, text: strings.ToLower(name)}
	if f, ok := functions[p.text]; ok {
		p.kind, p.function = functionPart, f
		p.blank = strings.HasPrefix(t.text[t.pos:], " ")
	}
	var err error
	if p.argument, err = t.parts(depth + 1); err != nil {
		return part{}, err
	}
	if t.pos == len(t.text) {
		return part{}, fmt.Errorf("{%s:...} without closing brace", name)
	}
	t.pos++
	return p, nil
}

// backReference reads the number of {R:n} or {C:n}.
func (t *templateParser) backReference(name string) (part, error) {
	digits, _, closed := strings.Cut(t.text[t.pos:], "}")
	number, err := strconv.Atoi(digits)
	if !closed || err != nil || !isNumber(digits) {
		return part{}, fmt.Errorf("{%s:%s} is no back reference", name, firstOf(digits))
	}
	if number > maxReference {
		return part{}, fmt.Errorf("{%s:%d}: back references go up to %d", name, number, maxReference)
	}
	t.pos += len(digits) + 1
	p := part{kind: ruleReference, number: number}
	if strings.EqualFold(name, "C") {
		p.kind = conditionReference
	}
	return p, nil
}

// shownLength is how much of a foreign text a message repeats.
const shownLength = 64

func firstOf(text string) string {
	if len(text) <= shownLength {
		return text
	}
	return strings.ToValidUTF8(text[:shownLength], "") + "..."
}
