package rewrite

import (
	"bytes"
	"slices"
	"strings"
)

// filter holds texts without which a pattern cannot match. Looking for them is many times
// cheaper than running the engine, and most requests match hardly any rule.
type filter struct {
	// One of prefixes has to begin the input, one of suffixes to end it, and one of contains
	// to be in it. An empty list demands nothing.
	prefixes, suffixes, contains []string
}

// maxLiterals is how many texts a list of a filter may have. Beyond that, the search costs
// as much as the engine.
const maxLiterals = 12

// admits reports whether an input may match.
func (f *filter) admits(input string) bool {
	return anyOf(f.prefixes, input, strings.HasPrefix) && anyOf(f.suffixes, input, strings.HasSuffix) &&
		anyOf(f.contains, input, strings.Contains)
}

func anyOf[T string | []byte](texts []string, input T, test func(input T, text string) bool) bool {
	for _, text := range texts {
		if test(input, text) {
			return true
		}
	}
	return len(texts) == 0
}

// admitsLower does the same for an input in lower case, if the filter is folded.
func (f *filter) admitsLower(input []byte) bool {
	return anyOf(f.prefixes, input, hasPrefix) && anyOf(f.suffixes, input, hasSuffix) && anyOf(f.contains, input, containsText)
}

// The conversions below do not copy: the compiler sees that the bytes stay as they are.

func hasPrefix(input []byte, text string) bool {
	return len(input) >= len(text) && string(input[:len(text)]) == text
}

func hasSuffix(input []byte, text string) bool {
	return len(input) >= len(text) && string(input[len(input)-len(text):]) == text
}

// containsText searches by the first character, as strings.Index does for short texts.
func containsText(input []byte, text string) bool {
	for len(input) >= len(text) {
		at := bytes.IndexByte(input[:len(input)-len(text)+1], text[0])
		if at < 0 {
			return false
		}
		if string(input[at:at+len(text)]) == text {
			return true
		}
		input = input[at+1:]
	}
	return false
}

// folded returns the filter in lower case, for inputs in lower case.
func (f filter) folded() filter {
	for _, texts := range [][]string{f.prefixes, f.suffixes, f.contains} {
		for i, text := range texts {
			texts[i] = strings.ToLower(text)
		}
	}
	return f
}

// wildcardFilter finds a filter of a wildcard pattern. Characters outside of ASCII end the
// texts, because they may change their length when case is folded.
func wildcardFilter(pattern string) filter {
	special := func(r rune) bool { return r == '*' || r == '?' || r >= 0x80 }
	found := filter{}
	first := strings.IndexFunc(pattern, special)
	if first < 0 {
		first = len(pattern)
	}
	if first > 0 {
		found.prefixes = []string{pattern[:first]}
	}
	last := pattern
	if at := strings.LastIndexFunc(pattern, special); at >= 0 {
		last = strings.TrimLeftFunc(pattern[at:], special)
	}
	if last != "" {
		found.suffixes = []string{last}
	}
	return found
}

// requirements finds a filter of a pattern that checkECMAScript has accepted. It has only
// ASCII characters.
func requirements(pattern string) filter {
	w := &literalWalker{text: pattern}
	found := w.sequence(true)
	return filter{prefixes: w.prefixes, suffixes: w.suffixes, contains: found.contains}
}

// literals is what is known about the texts that a part of a pattern takes.
type literals struct {
	// contains has texts of which every match contains one; empty if there are none.
	contains []string
	// exact has the texts that the part takes, if it takes nothing else.
	exact []string
}

type literalWalker struct {
	text               string
	pos                int
	prefixes, suffixes []string
}

// branch is one alternative of a sequence while it is walked.
type branch struct {
	best []string
	// runs are the texts that the items up to here may stand for since the last item that
	// is no literal. whole says that there was none.
	runs  []string
	whole bool
	// anchored says that runs begin where the input begins.
	anchored bool
}

func newBranch() branch { return branch{runs: []string{""}, whole: true} }

// flush ends the runs.
func (b *branch) flush(w *literalWalker) {
	if b.anchored {
		w.prefixes, b.anchored = texts(b.runs), false
	}
	b.offer(b.runs)
	b.runs, b.whole = []string{""}, false
}

// offer takes texts if they are a better filter than those known: longer, then fewer.
func (b *branch) offer(candidate []string) {
	if candidate = texts(candidate); len(candidate) == 0 {
		return
	}
	have, get := shortest(b.best), shortest(candidate)
	if get > have || get == have && len(candidate) < len(b.best) {
		b.best = candidate
	}
}

// texts returns a copy of a list, or nil if one of them is empty and so demands nothing.
func texts(list []string) []string {
	if slices.Contains(list, "") {
		return nil
	}
	return slices.Clone(list)
}

func shortest(list []string) int {
	if len(list) == 0 {
		return 0
	}
	length := len(list[0])
	for _, text := range list[1:] {
		length = min(length, len(text))
	}
	return length
}

// extend appends each of some texts to each run; it flushes if that gives too many.
func (b *branch) extend(w *literalWalker, by []string) {
	if len(b.runs)*len(by) > maxLiterals {
		b.flush(w)
		b.offer(by)
		return
	}
	runs := make([]string, 0, len(b.runs)*len(by))
	for _, run := range b.runs {
		for _, text := range by {
			runs = append(runs, run+text)
		}
	}
	b.runs = runs
}

// sequence walks up to the end of the pattern or of a group.
func (w *literalWalker) sequence(outermost bool) literals {
	var all []literals
	b := newBranch()
	finish := func() {
		exact := b.runs
		if !b.whole || b.anchored {
			exact = nil
		}
		b.flush(w)
		all = append(all, literals{contains: b.best, exact: exact})
	}
	atStart := true
	for w.pos < len(w.text) && w.text[w.pos] != ')' {
		switch w.text[w.pos] {
		case '|':
			finish()
			b = newBranch()
			w.pos++
		case '^':
			b.flush(w)
			b.anchored = outermost && atStart
			w.pos++
		case '$':
			w.pos++
			if outermost && w.pos == len(w.text) {
				w.suffixes = texts(b.runs)
			}
			b.flush(w)
		case '(':
			w.group(&b)
		default:
			w.single(&b)
		}
		atStart = false
	}
	finish()
	if len(all) == 1 {
		return all[0]
	}
	if outermost {
		w.prefixes, w.suffixes = nil, nil
	}
	return union(all)
}

// union is what is known if one of several alternatives matches.
func union(all []literals) literals {
	found := literals{contains: []string{}, exact: []string{}}
	for _, l := range all {
		if len(l.contains) == 0 || len(found.contains)+len(l.contains) > maxLiterals {
			found.contains = nil
		}
		if found.contains != nil {
			found.contains = append(found.contains, l.contains...)
		}
		if l.exact == nil || len(found.exact)+len(l.exact) > maxLiterals {
			found.exact = nil
		}
		if found.exact != nil {
			found.exact = append(found.exact, l.exact...)
		}
	}
	return found
}

// single consumes an item that is no group, and what repeats it.
func (w *literalWalker) single(b *branch) {
	literal := w.item()
	least, repeated := w.quantifier()
	switch {
	case literal == "" || least == 0:
		b.flush(w)
	case repeated:
		b.extend(w, []string{literal})
		b.flush(w)
	default:
		b.extend(w, []string{literal})
	}
}

// group consumes a group, and what repeats it.
func (w *literalWalker) group(b *branch) {
	w.pos++
	negative, ahead := false, false
	if strings.HasPrefix(w.text[w.pos:], "?") {
		negative = w.text[w.pos+1] == '!'
		ahead = negative || w.text[w.pos+1] == '='
		w.pos += 2
	}
	inner := w.sequence(false)
	w.pos++
	least, repeated := w.quantifier()
	switch {
	case least == 0 || negative:
		b.flush(w)
	case !ahead && !repeated && inner.exact != nil:
		b.extend(w, inner.exact)
	default:
		b.flush(w)
		b.offer(inner.contains)
	}
}

// item consumes one item and returns the character that it stands for, if it is one
// plain ASCII character.
func (w *literalWalker) item() string {
	c := w.text[w.pos]
	s := &scanner{text: w.text, pos: w.pos, groups: len(w.text)}
	switch {
	case c == '[' || c == '\\':
		// The pattern has been accepted, so that this finds the end of the item.
		if s.item() != nil {
			w.pos = len(w.text)
			return ""
		}
		start := w.pos
		w.pos = s.pos
		if name := w.text[start+1]; c == '\\' && w.pos == start+2 && name > ' ' && name < 0x7f && !isLetter(name) && (name < '0' || name > '9') {
			return string(name)
		}
		return ""
	case c == '.' || c >= 0x7f:
		w.pos++
		return ""
	}
	w.pos++
	return string(c)
}

// quantifier consumes a repetition, if there is one: how often at least, up to one, and
// whether the number is not fixed to one.
func (w *literalWalker) quantifier() (least int, repeated bool) {
	rest := w.text[w.pos:]
	if rest == "" {
		return 1, false
	}
	length := 1
	switch rest[0] {
	case '*', '?':
	case '+':
		least = 1
	case '{':
		if length = repetitionLength(rest); length == 0 {
			return 1, false
		}
		low, _, _ := strings.Cut(strings.Trim(rest[:length], "{}"), ",")
		least = min(atoi(low), 1)
	default:
		return 1, false
	}
	w.pos += length
	if strings.HasPrefix(w.text[w.pos:], "?") {
		w.pos++
	}
	return least, true
}
