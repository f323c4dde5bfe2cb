package rewrite

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// Syntax is how the patterns of a rule are read.
type Syntax string

// The pattern syntaxes of URL Rewrite. ECMAScript searches the input, the others compare
// with the whole of it.
const (
	ECMAScript Syntax = "ECMAScript"
	Wildcard   Syntax = "Wildcard"
	ExactMatch Syntax = "ExactMatch"
)

const (
	// MaxPatternLength is the longest pattern that is read, in characters. It is the limit
	// of the document format; the longest published mitigation has 35.
	MaxPatternLength = 2048
	// matchTimeout bounds one match. Real patterns take microseconds; those with
	// polynomial cost take minutes on an input chosen for it.
	matchTimeout = 500 * time.Millisecond
	// maxBacktracking bounds the memory of one match: at eight bytes a slot, 800 KB.
	maxBacktracking = 100_000
	// maxWide is how many parts of bracket expressions may need folding over much of
	// Unicode: each costs up to 80 ms when a pattern is read.
	maxWide = 8
)

// parseSyntax reads a patternSyntax attribute. IIS compares without regard to case.
func parseSyntax(value string) (Syntax, error) {
	for _, s := range []Syntax{ECMAScript, Wildcard, ExactMatch} {
		if strings.EqualFold(value, string(s)) {
			return s, nil
		}
	}
	return "", fmt.Errorf("%w: patternSyntax %q", ErrInvalidRule, value)
}

// CheckPattern reports whether IIS can use a pattern. A pattern that it cannot read makes
// every request that reaches the rule fail with 500.50, so this has to be known before a
// rule is installed. The errors wrap ErrInvalidRule.
func CheckPattern(syntax Syntax, pattern string) error {
	if length := utf8.RuneCountInString(pattern); length > MaxPatternLength {
		return fmt.Errorf("%w: pattern of %d characters, allowed are %d", ErrInvalidRule, length, MaxPatternLength)
	}
	if syntax != ECMAScript {
		return nil
	}
	if _, err := checkECMAScript(pattern); err != nil {
		return fmt.Errorf("%w: pattern %q: %w", ErrInvalidRule, pattern, err)
	}
	// Compiled with regard to case, which finds the same errors and is always fast.
	_, err := compileECMAScript(pattern, false)
	return err
}

// matcher tells whether an input fits a pattern.
type matcher interface {
	match(input string) (bool, error)
}

func newMatcher(syntax Syntax, pattern string, ignoreCase bool) (matcher, error) {
	if err := CheckPattern(syntax, pattern); err != nil {
		return nil, err
	}
	switch syntax {
	case Wildcard:
		return wildcard{pattern: foldAll(pattern, ignoreCase), ignoreCase: ignoreCase}, nil
	case ExactMatch:
		return exact{text: pattern, ignoreCase: ignoreCase}, nil
	default:
		found, err := checkECMAScript(pattern)
		if err != nil {
			return nil, err
		}
		if found.notEvaluable != "" {
			return nil, unsupported("%s in pattern %q", found.notEvaluable, pattern)
		}
		if ignoreCase && found.wide > maxWide {
			return nil, unsupported("more than %d wide ranges in pattern %q", maxWide, pattern)
		}
		re, err := compileECMAScript(found.translated, ignoreCase)
		if err != nil {
			return nil, err
		}
		return expression{re}, nil
	}
}

func compileECMAScript(pattern string, ignoreCase bool) (*regexp2.Regexp, error) {
	options := regexp2.ECMAScript
	if ignoreCase {
		options |= regexp2.IgnoreCase
	}
	re, err := regexp2.Compile(pattern, options, regexp2.OptionMaxBacktrackingStackSize(maxBacktracking))
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %q: %w", ErrInvalidRule, pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return re, nil
}

type expression struct{ re *regexp2.Regexp }

func (e expression) match(input string) (bool, error) {
	ok, err := e.re.MatchString(input)
	if err != nil {
		return false, fmt.Errorf("%w: pattern %q: %w", ErrTooExpensive, e.re.String(), err)
	}
	return ok, nil
}

type exact struct {
	text       string
	ignoreCase bool
}

func (e exact) match(input string) (bool, error) {
	if e.ignoreCase {
		return strings.EqualFold(e.text, input), nil
	}
	return e.text == input, nil
}

// wildcard holds a pattern of "*" (any run of characters) and "?" (exactly one).
type wildcard struct {
	pattern    []rune
	ignoreCase bool
}

// match walks the input once and goes back only to the latest "*", which is enough since
// an earlier one cannot help any more. The cost is at most pattern times input.
func (w wildcard) match(input string) (bool, error) {
	text := foldAll(input, w.ignoreCase)
	p, i, star, resume := 0, 0, -1, 0
	for i < len(text) {
		switch {
		case p < len(w.pattern) && w.pattern[p] == '*':
			star, resume = p, i
			p++
		case p < len(w.pattern) && (w.pattern[p] == '?' || w.pattern[p] == text[i]):
			p++
			i++
		case star >= 0:
			resume++
			p, i = star+1, resume
		default:
			return false, nil
		}
	}
	for p < len(w.pattern) && w.pattern[p] == '*' {
		p++
	}
	return p == len(w.pattern), nil
}

func foldAll(s string, ignoreCase bool) []rune {
	runes := []rune(s)
	if ignoreCase {
		for i, r := range runes {
			runes[i] = unicode.ToLower(r)
		}
	}
	return runes
}
