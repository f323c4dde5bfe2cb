package rewrite

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// analysis is what checkECMAScript finds out about a pattern that IIS can use.
type analysis struct {
	// notEvaluable names a construct that IIS accepts but that this package cannot
	// evaluate faithfully; it is empty if there is none.
	notEvaluable string
	// groups counts the capture groups. anchors says that there is a "^" or a "$".
	groups  int
	anchors bool
	// translated means the same as the pattern. The engine folds the case of "." and of
	// \D, \S and \W character by character over all of Unicode, tens of milliseconds for
	// each; written as a negated class they cost nothing.
	translated string
	// wide counts the parts of bracket expressions for which there is no such way out.
	wide int
	// resets counts, for each repetition of a group, the captures that it forgets when it
	// goes round; depth is how deep groups are nested.
	resets, depth int
}

// excessive says what about the pattern would take the engine too long to read; empty if
// nothing would.
func (a *analysis) excessive() string {
	switch {
	case a.depth > maxDepth:
		return fmt.Sprintf("groups nested more than %d deep", maxDepth)
	case a.resets > maxResets:
		return fmt.Sprintf("repeated groups with more than %d captures in them", maxResets)
	}
	return ""
}

// checkECMAScript walks a pattern and refuses what the regular expressions of IIS do not
// know although the engine used here accepts it. IIS uses the ECMAScript grammar of the
// Microsoft C++ library, which has no look-behind, named or atomic groups, inline options
// or property classes, and which takes "{" only as a repetition.
func checkECMAScript(pattern string) (analysis, error) {
	s := &scanner{text: pattern}
	if err := s.run(); err != nil {
		return analysis{}, fmt.Errorf("at byte %d: %w", s.pos, err)
	}
	s.found.translated = s.out.String()
	s.found.groups = s.groups
	return s.found, nil
}

type scanner struct {
	text string
	pos  int
	// groups counts the capture groups opened so far.
	groups int
	open   []openGroup
	// repeatable says that the previous item may take a repetition, captures how many
	// captures it has.
	repeatable bool
	captures   int
	found      analysis
	out        strings.Builder
}

// openGroup is a group whose end has not come.
type openGroup struct {
	repeatable bool
	// before is how many capture groups were opened in front of it.
	before int
}

// The engine walks through nested groups once for every level, and makes a node of each capture
// that a repetition forgets. Without a limit, 530 groups in each other, each with a repetition,
// which fit into a pattern of a document, take it more than a second, and what fits into one
// of a server's configuration a quarter of an hour. With these it is a few milliseconds. Real
// patterns are hardly five deep.
const (
	maxDepth  = 24
	maxResets = 1024
)

type syntaxError string

func (e syntaxError) Error() string { return string(e) }

func (s *scanner) run() error {
	for s.pos < len(s.text) {
		start := s.pos
		if err := s.item(); err != nil {
			return err
		}
		item := s.text[start:s.pos]
		if narrow, ok := narrowForms[item]; ok {
			item = narrow
		} else if item[0] == '[' {
			item = posixClasses.Replace(item)
		}
		s.out.WriteString(item)
	}
	if len(s.open) > 0 {
		return syntaxError(`a group is not closed`)
	}
	return nil
}

// narrowForms gives the items that the engine folds slowly in a form that it folds fast.
var narrowForms = map[string]string{
	`.`:  `[^\n\r\u2028\u2029]`,
	`\D`: `[^\d]`,
	`\S`: `[^\s]`,
	`\W`: `[^\w]`,
}

// posixClasses gives the classes of a bracket expression that the engine does not know,
// as they are in the C locale. Case is folded afterwards like that of any other range.
var posixClasses = strings.NewReplacer(
	`[:alpha:]`, `a-zA-Z`, `[:digit:]`, `0-9`, `[:alnum:]`, `a-zA-Z0-9`,
	`[:upper:]`, `A-Z`, `[:lower:]`, `a-z`, `[:xdigit:]`, `0-9A-Fa-f`,
	`[:space:]`, `\t-\r `, `[:blank:]`, `\t `, `[:cntrl:]`, `\x00-\x1f\x7f`,
	`[:punct:]`, `!-/:-@\[-\x60{-~`, `[:graph:]`, `!-~`, `[:print:]`, ` -~`,
	`[:d:]`, `\d`, `[:s:]`, `\s`, `[:w:]`, `\w`,
)

// posixClass consumes a class such as [:alpha:] inside of a bracket expression.
func (s *scanner) posixClass(kind byte) error {
	end := strings.Index(s.text[s.pos+2:], string(kind)+"]")
	if end < 0 {
		// Without the end of a class it is an ordinary "[".
		s.pos++
		return nil
	}
	whole := s.text[s.pos : s.pos+2+end+2]
	s.pos += len(whole)
	switch {
	case kind != ':':
		s.found.notEvaluable = "collating element in a bracket expression"
	case posixClasses.Replace(whole) == whole:
		return syntaxError("unknown character class " + strconv.Quote(whole))
	}
	return nil
}

// item consumes one item of the pattern.
func (s *scanner) item() error {
	switch c := s.text[s.pos]; c {
	case '\\':
		return s.escape(false)
	case '[':
		return s.class()
	case '(':
		return s.openGroup()
	case ')':
		if len(s.open) == 0 {
			return syntaxError(`")" without "("`)
		}
		group := s.open[len(s.open)-1]
		s.repeatable, s.captures = group.repeatable, s.groups-group.before
		s.open = s.open[:len(s.open)-1]
		s.pos++
	case '*', '+', '?':
		return s.repetition(1)
	case '{':
		length := repetitionLength(s.text[s.pos:])
		if length == 0 {
			return syntaxError(`"{" is no repetition; write "\{" for the character`)
		}
		return s.repetition(length)
	case '^', '$', '|':
		s.found.anchors = s.found.anchors || c != '|'
		s.repeatable = false
		s.pos++
	default:
		s.repeatable = true
		s.pos++
	}
	return nil
}

// repetition consumes a repetition of the given length and a "?" that makes it lazy.
func (s *scanner) repetition(length int) error {
	if !s.repeatable {
		return syntaxError("a repetition does not follow an expression")
	}
	s.repeatable = false
	if s.text[s.pos-1] == ')' {
		s.found.resets += s.captures
	}
	s.pos += length
	if s.pos < len(s.text) && s.text[s.pos] == '?' {
		s.pos++
	}
	return nil
}

// repetitionLength returns the length of {n}, {n,} or {n,m} at the start of text, or 0.
func repetitionLength(text string) int {
	end := strings.IndexByte(text, '}')
	if end < 0 {
		return 0
	}
	low, high, hasComma := strings.Cut(text[1:end], ",")
	if !isNumber(low) || hasComma && high != "" && !isNumber(high) {
		return 0
	}
	return end + 1
}

// maxRepetitionDigits keeps the bounds of a repetition below 100,000. The C++ library
// refuses numbers beyond 32 bits, and no real pattern comes near.
const maxRepetitionDigits = 5

func isNumber(s string) bool {
	return s != "" && len(s) <= maxRepetitionDigits && strings.Trim(s, "0123456789") == ""
}

func (s *scanner) openGroup() error {
	s.pos++
	s.repeatable = false
	before := s.groups
	if !strings.HasPrefix(s.text[s.pos:], "?") {
		s.groups++
		s.enter(openGroup{true, before})
		return nil
	}
	kind := s.text[s.pos:min(s.pos+2, len(s.text))]
	switch kind {
	case "?:":
		s.enter(openGroup{true, before})
	case "?=", "?!":
		s.enter(openGroup{false, before})
	default:
		return syntaxError(`"(?" is followed by something other than ":", "=" or "!" (no look-behind, named groups or inline options)`)
	}
	s.pos += len(kind)
	return nil
}

func (s *scanner) enter(group openGroup) {
	s.open = append(s.open, group)
	s.found.depth = max(s.found.depth, len(s.open))
}

// class consumes a bracket expression.
func (s *scanner) class() error {
	s.pos++
	if strings.HasPrefix(s.text[s.pos:], "^") {
		s.pos++
	}
	if strings.HasPrefix(s.text[s.pos:], "]") {
		// Empty to ECMAScript, a "]" in the class to POSIX grammars.
		s.found.notEvaluable = "empty bracket expression"
	}
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ']':
			s.pos++
			s.repeatable = true
			return nil
		case '\\':
			start := s.pos
			if err := s.escape(true); err != nil {
				return err
			}
			if _, slow := narrowForms[s.text[start:s.pos]]; slow {
				s.found.wide++
			}
		case '-':
			s.pos++
			if rest := s.text[s.pos:]; strings.HasPrefix(rest, `\u`) || rest != "" && rest[0] >= utf8.RuneSelf {
				s.found.wide++
			}
		case '[':
			if rest := s.text[s.pos+1:]; rest != "" && strings.IndexByte(":.=", rest[0]) >= 0 {
				if err := s.posixClass(rest[0]); err != nil {
					return err
				}
				continue
			}
			s.pos++
		default:
			s.pos++
		}
	}
	return syntaxError(`"[" is not closed`)
}

// escape consumes a backslash and what belongs to it.
func (s *scanner) escape(inClass bool) error {
	s.pos++
	if s.pos == len(s.text) {
		return syntaxError("a backslash at the end")
	}
	c := s.text[s.pos]
	rest := s.text[s.pos+1:]
	length := 1
	s.repeatable = true
	switch {
	case c == 'b' || c == 'B':
		s.repeatable = inClass
	case strings.IndexByte("dDsSwWfnrtv", c) >= 0:
	case c == 'c' && rest != "" && isLetter(rest[0]):
		length = 2
	case c == 'x' && isHex(rest, 2):
		length = 3
	case c == 'u' && isHex(rest, 4):
		length = 5
	case c == '0':
	case '1' <= c && c <= '9':
		length = len(s.text[s.pos:]) - len(strings.TrimLeft(s.text[s.pos:], "0123456789"))
		if number := s.text[s.pos : s.pos+length]; inClass || !isNumber(number) || atoi(number) > s.groups {
			return syntaxError(`back reference "\` + number[:min(len(number), maxRepetitionDigits)] + `" to a group that does not exist before it`)
		}
	case isLetter(c):
		return syntaxError(`"\` + string(c) + `" is no known escape`)
	}
	s.pos += length
	return nil
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isHex(s string, digits int) bool {
	return len(s) >= digits && strings.Trim(s[:digits], "0123456789abcdefABCDEF") == ""
}

// atoi reads a text that isNumber has accepted.
func atoi(digits string) int {
	n := 0
	for _, c := range []byte(digits) {
		n = n*10 + int(c-'0')
	}
	return n
}
