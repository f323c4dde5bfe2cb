package redos

import (
	"errors"
	"fmt"
	"strings"
)

// kind is what a node of a parsed pattern does.
type kind int

const (
	kindEmpty     kind = iota
	kindChar           // one character of a set
	kindConcat         // subs in order
	kindAlternate      // subs by priority
	kindRepeat         // subs[0] between min and max times
	kindBegin          // ^
	kindEnd            // $
	kindBoundary       // \b and \B
	kindLook           // look-ahead at subs[0]
	kindReference      // back reference to the group subs[0]
)

// unbounded is the max of a repetition without an upper bound.
const unbounded = -1

// node is a part of a parsed pattern. Nodes are not changed after parsing.
type node struct {
	kind     kind
	set      charset
	subs     []*node
	min, max int
	lazy     bool
	negated  bool // kindLook: (?!; kindBoundary: \B
	group    int  // number of the capture group that this node is the content of, or 0
	// from and to are the place in the pattern, in characters.
	from, to int
}

// maxRepeatDigits keeps the bounds of a repetition below 100,000, which no real pattern
// comes near; the C++ library itself refuses numbers beyond 32 bits.
const maxRepeatDigits = 5

// parser reads the ECMAScript grammar as the Microsoft C++ library has it: look-ahead and
// back references, POSIX classes in bracket expressions; no look-behind, named groups, inline
// options or property classes; "{" only as a repetition.
type parser struct {
	text       []rune
	pos        int
	ignoreCase bool
	budget     *budget
	// groups has the content of each capture group in order of their "("; nil while open.
	groups []*node
}

// parse returns the root of a parsed pattern. The errors wrap ErrInvalidPattern, or
// ErrTooComplex if ignoring case is too much work.
func parse(pattern string, ignoreCase bool, b *budget) (*node, error) {
	p := &parser{text: []rune(pattern), ignoreCase: ignoreCase, budget: b}
	root, err := p.alternatives()
	if errors.Is(err, ErrTooComplex) {
		return nil, err
	}
	if err == nil && p.pos < len(p.text) {
		err = syntaxError(`")" without "("`)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: at character %d: %w", ErrInvalidPattern, p.pos+1, err)
	}
	return root, nil
}

type syntaxError string

func (e syntaxError) Error() string { return string(e) }

func (p *parser) more() bool { return p.pos < len(p.text) }

// peek returns the character ahead characters further on, or -1 behind the end.
func (p *parser) peek(ahead int) rune {
	if p.pos+ahead >= len(p.text) {
		return -1
	}
	return p.text[p.pos+ahead]
}

func (p *parser) accept(r rune) bool {
	if p.peek(0) == r {
		p.pos++
		return true
	}
	return false
}

func (p *parser) alternatives() (*node, error) {
	from := p.pos
	var subs []*node
	for {
		sub, err := p.sequence()
		if err != nil {
			return nil, err
		}
		subs = append(subs, sub)
		if !p.accept('|') {
			break
		}
	}
	if len(subs) == 1 {
		return subs[0], nil
	}
	return &node{kind: kindAlternate, subs: subs, from: from, to: p.pos}, nil
}

func (p *parser) sequence() (*node, error) {
	from := p.pos
	var subs []*node
	for p.more() && p.peek(0) != '|' && p.peek(0) != ')' {
		item, repeatable, err := p.item()
		if err != nil {
			return nil, err
		}
		if item, err = p.repetition(item, repeatable); err != nil {
			return nil, err
		}
		subs = append(subs, item)
	}
	switch len(subs) {
	case 0:
		return &node{kind: kindEmpty, from: from, to: p.pos}, nil
	case 1:
		return subs[0], nil
	}
	return &node{kind: kindConcat, subs: subs, from: from, to: p.pos}, nil
}

// item reads one item without its repetition, and tells whether it may have one.
func (p *parser) item() (item *node, repeatable bool, err error) {
	from := p.pos
	r := p.peek(0)
	switch r {
	case '(':
		return p.openGroup()
	case '[':
		item, err = p.bracket()
		return item, true, err
	case '\\':
		return p.escape()
	case '*', '+', '?', '{':
		if r == '{' && !p.isRepetition() {
			return nil, false, syntaxError(`"{" is no repetition; write "\{" for the character`)
		}
		return nil, false, syntaxError("a repetition does not follow an expression")
	}
	p.pos++
	switch r {
	case '^':
		return &node{kind: kindBegin, from: from, to: p.pos}, false, nil
	case '$':
		return &node{kind: kindEnd, from: from, to: p.pos}, false, nil
	case '.':
		return &node{kind: kindChar, set: lineEnds.negated(), from: from, to: p.pos}, true, nil
	}
	item, err = p.char(charset{{r, r}}, false, from)
	return item, true, err
}

// char returns a node for one character of the set, with all its cases if case is ignored,
// or for one that is not in it.
func (p *parser) char(set charset, negated bool, from int) (*node, error) {
	if p.ignoreCase {
		folded, work := set.folded()
		if err := p.budget.spend(work); err != nil {
			return nil, err
		}
		set = folded
	}
	if negated {
		set = set.negated()
	}
	return &node{kind: kindChar, set: set, from: from, to: p.pos}, nil
}

func (p *parser) openGroup() (item *node, repeatable bool, err error) {
	from := p.pos
	p.pos++
	look, negated, number := false, false, 0
	if p.accept('?') {
		switch r := p.peek(0); r {
		case ':':
		case '=', '!':
			look, negated = true, r == '!'
		default:
			return nil, false, syntaxError(`"(?" is followed by something other than ":", "=" or "!" (no look-behind, named groups or inline options)`)
		}
		p.pos++
	} else {
		p.groups = append(p.groups, nil)
		number = len(p.groups)
	}
	content, err := p.alternatives()
	if err != nil {
		return nil, false, err
	}
	if !p.accept(')') {
		return nil, false, syntaxError("a group is not closed")
	}
	switch {
	case look:
		return &node{kind: kindLook, subs: []*node{content}, negated: negated, from: from, to: p.pos}, false, nil
	case number > 0:
		p.groups[number-1] = content
	}
	return &node{kind: kindConcat, subs: []*node{content}, group: number, from: from, to: p.pos}, true, nil
}

// isRepetition tells whether a "{" begins a repetition.
func (p *parser) isRepetition() bool {
	_, _, _, ok := p.bounds()
	return ok
}

// bounds reads {n}, {n,} or {n,m} without consuming it.
func (p *parser) bounds() (low, high, length int, ok bool) {
	i := 1
	number := func() (int, bool) {
		n, start := 0, i
		for p.peek(i) >= '0' && p.peek(i) <= '9' && i-start < maxRepeatDigits {
			n = n*10 + int(p.peek(i)-'0')
			i++
		}
		return n, i > start
	}
	if low, ok = number(); !ok {
		return 0, 0, 0, false
	}
	high = low
	if p.peek(i) == ',' {
		i++
		if high, ok = number(); !ok {
			high = unbounded
		}
	}
	return low, high, i + 1, p.peek(i) == '}'
}

// repetition reads what repeats the item, if anything does.
func (p *parser) repetition(item *node, repeatable bool) (*node, error) {
	low, high, length := 0, unbounded, 1
	switch p.peek(0) {
	case '*':
	case '+':
		low = 1
	case '?':
		high = 1
	case '{':
		var ok bool
		if low, high, length, ok = p.bounds(); !ok {
			return nil, syntaxError(`"{" is no repetition; write "\{" for the character`)
		}
		if high != unbounded && low > high {
			return nil, syntaxError("the bounds of a repetition are in the wrong order")
		}
	default:
		return item, nil
	}
	if !repeatable {
		return nil, syntaxError("a repetition does not follow an expression")
	}
	p.pos += length
	out := &node{kind: kindRepeat, subs: []*node{item}, min: low, max: high, from: item.from}
	out.lazy = p.accept('?')
	out.to = p.pos
	return out, nil
}

// escape reads an escape outside of bracket expressions.
func (p *parser) escape() (item *node, repeatable bool, err error) {
	from := p.pos
	switch next := p.peek(1); {
	case next == 'b' || next == 'B':
		p.pos += 2
		return &node{kind: kindBoundary, negated: next == 'B', from: from, to: p.pos}, false, nil
	case next >= '1' && next <= '9':
		p.pos++
		number := 0
		for p.peek(0) >= '0' && p.peek(0) <= '9' {
			number = min(number*10+int(p.peek(0)-'0'), len(p.groups)+1)
			p.pos++
		}
		if number > len(p.groups) {
			return nil, false, syntaxError("back reference to a group that does not exist before it")
		}
		item = &node{kind: kindReference, group: number, from: from, to: p.pos}
		// Inside of its own group a reference is always empty.
		if content := p.groups[number-1]; content != nil {
			item.subs = []*node{content}
		}
		return item, true, nil
	}
	set, err := p.escapedSet(false)
	if err != nil {
		return nil, false, err
	}
	item, err = p.char(set, false, from)
	return item, true, err
}

// escapedSet reads an escape that stands for characters.
func (p *parser) escapedSet(inBracket bool) (charset, error) {
	p.pos++
	if !p.more() {
		return nil, syntaxError("a backslash at the end")
	}
	r := p.text[p.pos]
	p.pos++
	if set, ok := namedSets[r]; ok {
		return set, nil
	}
	code, known := r, !isLetter(r) && (r < '1' || r > '9')
	switch r {
	case '0':
		code = 0
	case 'c':
		if letter := p.peek(0); isLetter(letter) {
			p.pos++
			code, known = letter%32, true
		}
	case 'x':
		code, known = p.hex(2)
	case 'u':
		code, known = p.hex(4)
	case 'b', 'B':
		known = inBracket
		if r == 'b' {
			code = '\b'
		}
	}
	if !known {
		return nil, syntaxError(fmt.Sprintf("%q is no known escape", `\`+string(r)))
	}
	return charset{{code, code}}, nil
}

// namedSets has the escapes of one letter that always mean the same.
var namedSets = map[rune]charset{
	'd': digits, 'D': digits.negated(), 'w': word, 'W': word.negated(), 's': space, 'S': space.negated(),
	'f': {{'\f', '\f'}}, 'n': {{'\n', '\n'}}, 'r': {{'\r', '\r'}}, 't': {{'\t', '\t'}}, 'v': {{'\v', '\v'}},
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func (p *parser) hex(length int) (rune, bool) {
	code := rune(0)
	for i := range length {
		digit := strings.IndexRune("0123456789abcdef", p.peek(i)|0x20)
		// The bit also turns control characters into digits.
		if digit < 0 || p.peek(i) < '0' {
			return 0, false
		}
		code = code<<4 | rune(digit)
	}
	p.pos += length
	return code, true
}

// bracket reads a bracket expression.
func (p *parser) bracket() (*node, error) {
	from := p.pos
	p.pos++
	negated := p.accept('^')
	if p.peek(0) == ']' {
		return nil, syntaxError("an empty bracket expression, which grammars read differently")
	}
	var set charset
	for !p.accept(']') {
		if !p.more() {
			return nil, syntaxError(`"[" is not closed`)
		}
		low, err := p.member()
		if err != nil {
			return nil, err
		}
		if p.peek(0) == '-' && p.peek(1) != ']' && p.peek(1) != -1 {
			p.pos++
			high, err := p.member()
			if err != nil {
				return nil, err
			}
			switch first, last := single(low), single(high); {
			case first < 0 || last < 0:
				// [\w-.] is no range: the "-" stands for itself.
				set = append(append(set, high...), span{'-', '-'})
			case first > last:
				return nil, syntaxError("the ends of a range are in the wrong order")
			default:
				low = charset{{first, last}}
			}
		}
		set = append(set, low...)
	}
	return p.char(set.normal(), negated, from)
}

// single returns the only character of a set, or -1.
func single(set charset) rune {
	if len(set) == 1 && set[0].lo == set[0].hi {
		return set[0].lo
	}
	return -1
}

// member reads a character, an escape or a POSIX class in a bracket expression.
func (p *parser) member() (charset, error) {
	r := p.peek(0)
	if r == '\\' {
		return p.escapedSet(true)
	}
	if next := p.peek(1); r == '[' && (next == ':' || next == '.' || next == '=') {
		rest := string(p.text[p.pos+2:])
		if name, _, closed := strings.Cut(rest, string(next)+"]"); closed {
			set, known := posix[name]
			if next != ':' || !known {
				return nil, syntaxError(fmt.Sprintf("unknown character class or collating element %q", name))
			}
			p.pos += 2 + len([]rune(name)) + 2
			return set, nil
		}
	}
	p.pos++
	return charset{{r, r}}, nil
}
