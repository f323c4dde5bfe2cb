package rewrite

import (
	"fmt"
	"strings"
	"sync"
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
	// MaxPatternLength is the longest pattern that CheckPattern accepts, in characters. It
	// is the limit of the document format; the longest published mitigation has 35.
	MaxPatternLength = 2048
	// maxEvaluatedLength is the longest pattern of a server's own configuration that is
	// evaluated: lists of unwanted user agents in one expression reach a few thousand
	// characters.
	maxEvaluatedLength = 16_384
	// matchTimeout bounds one match; patience says when it counts. Real patterns take
	// microseconds; those with polynomial cost take minutes on an input chosen for it.
	matchTimeout = 500 * time.Millisecond
	// maxBacktracking bounds the memory of one match: at eight bytes a slot, 800 KB.
	maxBacktracking = 100_000
	// maxWide is how many parts of bracket expressions may need folding over much of
	// Unicode: each costs up to 80 ms when a pattern is read.
	maxWide = 8
	// maxWideTotal is how many of them all patterns of a configuration may have: five seconds.
	maxWideTotal = 64
)

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
	found, err := checkECMAScript(pattern)
	if err != nil {
		return fmt.Errorf("%w: pattern %q: %w", ErrInvalidRule, pattern, err)
	}
	if reason := found.excessive(); reason != "" {
		return fmt.Errorf("%w: pattern %.64q: %s", ErrInvalidRule, pattern, reason)
	}
	// Compiled with regard to case, which finds the same errors and is always fast.
	_, err = compileECMAScript(pattern, false, 0)
	return err
}

// subject is an input of patterns.
type subject struct {
	text string
	// lower is the text in lower case if it has only ASCII characters, so that filters can
	// be compared with it; usable says so. The memory is used again.
	lower  []byte
	usable bool
	// line says that the text has no line end, so that "." takes every character.
	line bool
	// runes is the text for the engine, decoded when it is needed first.
	runes   []rune
	decoded bool
}

// characters returns the text for the engine. The engine gets no strings: in the version used
// here (2.12.0), FindStringMatch of a text outside of ASCII can give places of an earlier text.
func (s *subject) characters() []rune {
	if !s.decoded {
		s.decoded, s.runes = true, s.runes[:0]
		for _, r := range s.text {
			s.runes = append(s.runes, r)
		}
	}
	return s.runes
}

// slice returns a part of the text by characters.
func (s *subject) slice(index, length int) string {
	if s.usable {
		return s.text[index : index+length]
	}
	start := skip(s.text, index)
	return s.text[start : start+skip(s.text[start:], length)]
}

// skip returns how many bytes the first characters of a text have.
func skip(text string, characters int) int {
	at := 0
	for range characters {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// set looks through a text once for all patterns that it will be matched with.
func (s *subject) set(text string) {
	s.text, s.usable, s.line, s.decoded, s.lower = text, true, true, false, s.lower[:0]
	if cap(s.lower) < len(text) {
		s.lower = make([]byte, 0, len(text)+len(text)/2)
	}
	lower := s.lower[:len(text)]
	for i := range len(text) {
		c := text[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case c == '\n' || c == '\r':
			s.line = false
		case c >= utf8.RuneSelf:
			s.usable = false
		}
		lower[i] = c
	}
	s.lower = lower
	if !s.usable {
		s.line = s.line && !strings.ContainsAny(text, "\u2028\u2029")
	}
}

// forget drops what refers to a request and keeps the memory.
func (s *subject) forget() { s.text = "" }

// pattern is a pattern that is ready for use. It is safe for concurrent use.
type pattern struct {
	syntax     Syntax
	text       string
	ignoreCase bool
	// fault says why IIS cannot use the pattern, unknown why it is not known here what it
	// would match.
	fault, unknown string
	groups         int
	// anchors says that it has a "^" or a "$"; lines is the pattern with these for the ends
	// of lines, compiled when it is needed first.
	anchors bool
	lines   func() *pattern
	// least is set for the patterns that take every text of one line that has at least
	// that many characters; else it is -1.
	least  int
	filter filter
	re     *regexp2.Regexp
	// oneLine is the same for inputs without a line end, compiled when it is needed first.
	oneLine func() *regexp2.Regexp
	runes   []rune
}

// wholeLine has the patterns that need no engine, with the least length of the text.
var wholeLine = map[string]int{
	"": 0, ".*": 0, "(.*)": 0, "^.*$": 0, "^(.*)$": 0, ".*$": 0, "(.*)$": 0, "^.*": 0, "^(.*)": 0,
	".": 1, ".+": 1, "(.+)": 1, "^.+$": 1, "^(.+)$": 1, ".+$": 1, "(.+)$": 1, "^.+": 1, "^(.+)": 1,
}

// newPattern prepares a pattern of a configuration. A pattern that IIS cannot use is no
// error here, because IIS notices it only when a request reaches the rule. wide is how many
// wide parts may still be compiled.
func newPattern(syntax Syntax, text string, ignoreCase bool, wide *int) *pattern {
	p := &pattern{syntax: syntax, text: text, ignoreCase: ignoreCase, least: -1}
	if length := utf8.RuneCountInString(text); length > maxEvaluatedLength {
		p.unknown = fmt.Sprintf("pattern of %d characters, evaluated are %d", length, maxEvaluatedLength)
		return p
	}
	switch syntax {
	case Wildcard:
		p.runes = foldAll(text, ignoreCase)
		p.groups = strings.Count(text, "*")
		p.filter = p.fold(wildcardFilter(text))
		return p
	case ExactMatch:
		return p
	case ECMAScript:
	}
	found, err := checkECMAScript(text)
	switch {
	case err != nil:
		p.fault = fmt.Sprintf("pattern %q: %v", text, err)
		return p
	case found.notEvaluable != "":
		p.unknown = found.notEvaluable
		return p
	case found.excessive() != "":
		p.unknown = found.excessive()
		return p
	case ignoreCase && found.wide > min(maxWide, *wide):
		p.unknown = fmt.Sprintf("more than %d wide ranges", min(maxWide, *wide))
		return p
	case ignoreCase:
		*wide -= found.wide
	}
	p.groups, p.anchors = found.groups, found.anchors
	p.lines = sync.OnceValue(func() *pattern { return p.forLines(found.translated) })
	if p.re, err = compileECMAScript(found.translated, ignoreCase, 0); err != nil {
		p.fault = err.Error()
		return p
	}
	p.oneLine = sync.OnceValue(func() *regexp2.Regexp { return p.forOneLine(found.translated) })
	if least, ok := wholeLine[text]; ok {
		p.least = least
	}
	p.filter = p.fold(requirements(text))
	return p
}

func (p *pattern) fold(f filter) filter {
	if p.ignoreCase {
		return f.folded()
	}
	return f
}

// forLines returns the pattern with anchors for the ends of lines.
func (p *pattern) forLines(translated string) *pattern {
	lines := &pattern{syntax: p.syntax, text: p.text, ignoreCase: p.ignoreCase, groups: p.groups, least: -1}
	lines.filter.contains = p.filter.contains
	var err error
	if lines.re, err = compileECMAScript(translated, p.ignoreCase, regexp2.Multiline); err != nil {
		lines.unknown = err.Error()
	}
	return lines
}

// forOneLine returns the engine for inputs without a line end, where a "." may as well take
// all but a line feed: the engine skips over that as fast as memory is read, and looks at
// every character for more than one exception.
func (p *pattern) forOneLine(translated string) *regexp2.Regexp {
	quick := strings.ReplaceAll(translated, narrowForms["."], `[^\n]`)
	if quick == translated {
		return p.re
	}
	re, err := compileECMAScript(quick, p.ignoreCase, 0)
	if err != nil {
		return p.re
	}
	return re
}

// engine returns what matches an input.
func (p *pattern) engine(in *subject) *regexp2.Regexp {
	if in.line && p.oneLine != nil {
		return p.oneLine()
	}
	return p.re
}

func compileECMAScript(pattern string, ignoreCase bool, more regexp2.RegexOptions) (*regexp2.Regexp, error) {
	options := regexp2.ECMAScript | more
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

// excluded reports whether the input cannot match, without running an engine.
func (p *pattern) excluded(in *subject) bool {
	if !p.ignoreCase {
		return !p.filter.admits(in.text)
	}
	// Outside of ASCII there are characters that fold into it, such as the Kelvin sign.
	return in.usable && !p.filter.admitsLower(in.lower)
}

// match tells whether the input fits. ran says that the engine had to work.
func (p *pattern) match(in *subject) (matched, ran bool, err error) {
	switch {
	case p.syntax == ExactMatch:
		return p.equal(in.text), false, nil
	case p.least >= 0 && in.line:
		return len(in.text) >= p.least, false, nil
	case p.excluded(in):
		return false, false, nil
	case p.syntax == Wildcard:
		return wildcardMatch(p.runes, foldAll(in.text, p.ignoreCase), nil), true, nil
	}
	re := p.engine(in)
	if matched, err = re.MatchRunes(in.characters()); err != nil {
		err = p.again(err, func() (err error) {
			matched, err = re.MatchRunes(in.characters())
			return err
		})
	}
	return matched, true, err
}

// capture tells the same and appends what matched: the whole, then each group.
func (p *pattern) capture(in *subject, into []string) (captures []string, matched, ran bool, err error) {
	switch {
	case p.syntax == ExactMatch:
		if !p.equal(in.text) {
			return into, false, false, nil
		}
		return append(into, in.text), true, false, nil
	case p.least >= 0 && in.line:
		return p.captureLine(in, into)
	case p.excluded(in):
		return into, false, false, nil
	case p.syntax == Wildcard:
		stars := make([][2]int, p.groups)
		if !wildcardMatch(p.runes, foldAll(in.text, p.ignoreCase), stars) {
			return into, false, true, nil
		}
		into = append(into, in.text)
		runes := []rune(in.text)
		for _, star := range stars {
			into = append(into, string(runes[star[0]:star[1]]))
		}
		return into, true, true, nil
	}
	find := func() error {
		return p.engine(in).FindRunesMatches(in.characters(), 0, func(found regexp2.MatchView) bool {
			into, matched = p.groupsOf(in, found, into), true
			return false
		})
	}
	if err = find(); err != nil {
		err = p.again(err, find)
	}
	return into, matched, true, err
}

// groupsOf appends what a match has captured. A group that took no part is empty.
func (p *pattern) groupsOf(in *subject, found regexp2.MatchView, into []string) []string {
	for i := range p.groups + 1 {
		text := ""
		if index, length, ok := found.GroupRange(i); ok {
			text = in.slice(index, length)
		}
		into = append(into, text)
	}
	return into
}

// captureLine captures for the patterns of wholeLine.
func (p *pattern) captureLine(in *subject, into []string) (captures []string, matched, ran bool, err error) {
	switch {
	case len(in.text) < p.least:
		return into, false, false, nil
	case p.text == "":
		return append(into, ""), true, false, nil
	case p.text == ".":
		_, size := utf8.DecodeRuneInString(in.text)
		return append(into, in.text[:size]), true, false, nil
	case p.groups > 0:
		into = append(into, in.text)
	}
	return append(into, in.text), true, false, nil
}

func (p *pattern) equal(input string) bool {
	if p.ignoreCase {
		return strings.EqualFold(p.text, input)
	}
	return p.text == input
}

// wildcardMatch compares a pattern of "*" (any run of characters) and "?" (exactly one)
// with the whole text. stars, if not nil, gets what each "*" stands for.
//
// It walks the text once and goes back only to the latest "*", which is enough since an
// earlier one cannot help any more: every "*" but the last takes as little as it can. The
// cost is at most pattern times text.
func wildcardMatch(pattern, text []rune, stars [][2]int) bool {
	p, i, star, resume, count := 0, 0, -1, 0, 0
	take := func(end int) {
		if count > 0 && stars != nil {
			stars[count-1][1] = end
		}
	}
	for i < len(text) || p < len(pattern) && pattern[p] == '*' {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, i
			p++
			count++
			if stars != nil {
				stars[count-1] = [2]int{i, i}
			}
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[i]):
			p++
			i++
		case star >= 0:
			resume++
			p, i = star+1, resume
			take(resume)
		default:
			return false
		}
	}
	return p == len(pattern)
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
