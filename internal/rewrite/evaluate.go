package rewrite

import (
	"strings"
	"unicode/utf8"
)

// Kind is what became of a request.
type Kind string

// The kinds of an Outcome.
const (
	// Passed means that the request went on to the site.
	Passed Kind = "Passed"
	// Aborted means that the connection was dropped without an answer.
	Aborted Kind = "Aborted"
	// Responded means that the rule answered with its own status.
	Responded Kind = "Responded"
	// Redirected means that the rule sent the client elsewhere.
	Redirected Kind = "Redirected"
)

// Outcome is the result of an evaluation.
type Outcome struct {
	Kind Kind
	// Rule is the name of the rule that ended the evaluation; it is empty when no rule
	// did. A rule with action None and stopProcessing ends it with Passed.
	Rule string
	// Status is the HTTP status of Responded and Redirected, else 0.
	Status int
}

// Blocked reports whether the request did not reach the site.
func (o Outcome) Blocked() bool { return o.Kind != Passed }

// reading is a set of answers to the questions that the documentation leaves open. The
// zero value is the reading that Microsoft's own rules rely on.
type reading uint8

const (
	// rawURI: {REQUEST_URI} has the path as it was sent, not decoded.
	rawURI reading = 1 << iota
	// plusIsBlank: {UrlDecode:} turns "+" into a blank.
	plusIsBlank
	// doubleFails: {UrlDecode:} fails when the result is still encoded, and a rule with
	// a failing input does not match.
	doubleFails
	allReadings = rawURI | plusIsBlank | doubleFails
)

func (r reading) String() string {
	var names []string
	for _, q := range []struct {
		bit  reading
		name string
	}{
		{rawURI, "{REQUEST_URI} of an encoded path"},
		{plusIsBlank, `"+" in {UrlDecode:}`},
		{doubleFails, "double or broken encoding in {UrlDecode:}"},
	} {
		if r&q.bit != 0 {
			names = append(names, q.name)
		}
	}
	return strings.Join(names, ", ")
}

// Evaluate runs the rules in order. The errors wrap ErrInvalidRequest for a request that
// IIS itself refuses, ErrTooExpensive for a pattern that ran into its limit, and
// ErrUnsupported where the documented behaviour does not decide the outcome.
func (s *RuleSet) Evaluate(request Request) (Outcome, error) {
	path, err := cookPath(request.Path)
	if err != nil {
		return Outcome{}, err
	}
	e := &evaluation{request: &request, path: path}
	outcome, err := s.run(e)
	if err != nil {
		return Outcome{}, err
	}
	// A reading can lead to rules that raise further questions, hence the outer loop; it
	// ends because open only grows.
	for open := reading(0); open != e.open; {
		open = e.open
		for alternative := reading(1); alternative <= allReadings; alternative++ {
			if alternative&^open != 0 {
				continue
			}
			e.reading = alternative
			other, err := s.run(e)
			if err != nil {
				return Outcome{}, err
			}
			if other != outcome {
				return Outcome{}, unsupported("the outcome depends on what is not documented: %s", open)
			}
		}
	}
	return outcome, nil
}

// evaluation is one request under one reading.
type evaluation struct {
	request *Request
	path    string
	reading reading
	// open collects the questions that came up under any reading so far.
	open reading
}

func (s *RuleSet) run(e *evaluation) (Outcome, error) {
	for i := range s.rules {
		r := &s.rules[i]
		matched, err := e.matches(r)
		if err != nil {
			return Outcome{}, inRule(r.name, err)
		}
		if matched && (r.outcome.Kind != Passed || r.stopProcessing) {
			return r.outcome, nil
		}
	}
	return Outcome{Kind: Passed}, nil
}

func (e *evaluation) matches(r *rule) (bool, error) {
	matched, err := r.url.match(strings.TrimPrefix(e.path, "/"))
	if err != nil || matched == r.negate {
		return false, err
	}
	for i := range r.conditions {
		c := &r.conditions[i]
		input, ok, err := e.expand(c.input)
		if err != nil {
			return false, err
		}
		if !ok {
			return false, nil
		}
		holds, err := c.pattern.match(input)
		if err != nil {
			return false, err
		}
		if holds = holds != c.negate; holds == r.matchAny {
			return r.matchAny, nil
		}
	}
	return !r.matchAny || len(r.conditions) == 0, nil
}

// expand gives an input its value; ok is false if a function failed.
func (e *evaluation) expand(parts []part) (value string, ok bool, err error) {
	var out strings.Builder
	for _, p := range parts {
		text := p.literal
		switch {
		case p.variable != "":
			text, err = e.variable(p.variable)
		case p.function != noFunction:
			if text, ok, err = e.expand(p.argument); err == nil && !ok {
				return "", false, nil
			}
			if err == nil {
				text, ok, err = e.apply(p.function, text)
				if err == nil && !ok {
					return "", false, nil
				}
			}
		}
		if err != nil {
			return "", false, err
		}
		out.WriteString(text)
	}
	return out.String(), true, nil
}

func (e *evaluation) apply(f function, text string) (string, bool, error) {
	if f == toLower {
		return strings.ToLower(text), true, nil
	}
	if strings.Contains(text, "+") {
		e.open |= plusIsBlank
	}
	decoded, malformed := percentDecode(text, e.reading&plusIsBlank != 0)
	if !utf8.ValidString(decoded) {
		return "", false, unsupported("{UrlDecode:} of text that is not UTF-8 when decoded")
	}
	if again, _ := percentDecode(decoded, false); malformed || again != decoded {
		e.open |= doubleFails
		if e.reading&doubleFails != 0 {
			return "", false, nil
		}
	}
	return decoded, true, nil
}

func (e *evaluation) variable(name string) (string, error) {
	switch name {
	case "REQUEST_URI":
		path := e.path
		if path != e.request.Path {
			e.open |= rawURI
			if e.reading&rawURI != 0 {
				path = e.request.Path
			}
		}
		if e.request.RawQuery == "" {
			return path, nil
		}
		return path + "?" + e.request.RawQuery, nil
	case "QUERY_STRING":
		return e.request.RawQuery, nil
	case "REQUEST_METHOD":
		return e.request.Method, nil
	case "URL":
		return e.path, nil
	default:
		return e.request.header(strings.TrimPrefix(name, "HTTP_"))
	}
}
