package rewrite

import (
	"strings"
)

// maxNesting is how deep functions may stand inside each other in an input. Published
// rules nest two.
const maxNesting = 8

// function is a function of URL Rewrite that an input may apply.
type function int

const (
	noFunction function = iota
	urlDecode
	toLower
)

// part is a literal, a server variable, or a function over further parts.
type part struct {
	literal  string
	variable string
	function function
	argument []part
}

// parseInput reads the input of a condition, such as {UrlDecode:{REQUEST_URI}}.
func parseInput(text string) ([]part, error) {
	parts, rest, err := parseParts(text, 0)
	if err != nil {
		return nil, err
	}
	if rest != "" {
		return nil, unsupported(`"}" without "{" in input %q`, text)
	}
	return parts, nil
}

// parseParts reads parts up to an unpaired "}" or the end, and returns what is left.
func parseParts(text string, depth int) ([]part, string, error) {
	if depth > maxNesting {
		return nil, "", unsupported("input nested deeper than %d functions", maxNesting)
	}
	var parts []part
	for text != "" && text[0] != '}' {
		if text[0] != '{' {
			end := strings.IndexAny(text, "{}")
			if end < 0 {
				end = len(text)
			}
			parts = append(parts, part{literal: text[:end]})
			text = text[end:]
			continue
		}
		p, rest, err := parseReference(text[1:], depth)
		if err != nil {
			return nil, "", err
		}
		parts = append(parts, p)
		text = rest
	}
	return parts, text, nil
}

// parseReference reads what follows a "{", its "}" included.
func parseReference(text string, depth int) (part, string, error) {
	end := strings.IndexAny(text, "{}:")
	if end < 0 || text[end] == '{' {
		return part{}, "", unsupported(`"{" that begins no server variable or function`)
	}
	name, rest := text[:end], text[end+1:]
	if text[end] == '}' {
		variable := strings.ToUpper(name)
		if !knownVariable(variable) {
			return part{}, "", unsupported("server variable {%s}", name)
		}
		return part{variable: variable}, rest, nil
	}
	p := part{}
	switch {
	case strings.EqualFold(name, "UrlDecode"):
		p.function = urlDecode
	case strings.EqualFold(name, "ToLower"):
		p.function = toLower
	case name == "R" || name == "C":
		return part{}, "", unsupported("back reference {%s:...}", name)
	default:
		return part{}, "", unsupported("function or rewrite map {%s:...}", name)
	}
	if strings.HasPrefix(rest, " ") {
		// Microsoft shipped this for less than a day; what IIS makes of it is not documented.
		return part{}, "", unsupported("blank after the colon of {%s: ...}", name)
	}
	argument, rest, err := parseParts(rest, depth+1)
	if err != nil {
		return part{}, "", err
	}
	if rest == "" {
		return part{}, "", unsupported("function {%s:...} without closing brace", name)
	}
	p.argument = argument
	return p, rest[1:], nil
}

// knownVariable reports whether the evaluation can give a value to the upper-case name.
func knownVariable(name string) bool {
	switch name {
	case "REQUEST_URI", "QUERY_STRING", "REQUEST_METHOD", "URL":
		return true
	case "HTTP_URL", "HTTP_METHOD", "HTTP_VERSION", "HTTP_X_ORIGINAL_URL":
		// Server variables of their own, not request headers.
		return false
	}
	header, ok := strings.CutPrefix(name, "HTTP_")
	return ok && header != "" && strings.Trim(header, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}
