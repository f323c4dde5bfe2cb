package redos

import (
	"errors"
	mathbits "math/bits"
	"strings"
	"testing"
)

// errSteps ends a match that takes too many steps.
var errSteps = errors.New("too many steps")

// backtracker is a plain backtracking matcher as the ECMAScript specification describes it,
// with continuations and nothing clever, that counts its steps. It knows the parsed pattern
// and nothing of automata.
type backtracker struct {
	input      []rune
	captures   map[int][2]int
	ignoreCase bool
	steps      int
	limit      int
}

// stepsOf searches an input, and returns how many characters were compared.
func stepsOf(t *testing.T, pattern, input string, o Options, limit int) (steps int, matched bool, err error) {
	t.Helper()
	root, err := parse(pattern, o.IgnoreCase, newBudget(0))
	if err != nil {
		t.Fatal(err)
	}
	m := &backtracker{input: []rune(input), ignoreCase: o.IgnoreCase, limit: limit}
	defer func() {
		if r := recover(); r != nil {
			if r != any(errSteps) {
				panic(r)
			}
			steps, err = m.steps, errSteps
		}
	}()
	for start := 0; start <= len(m.input); start++ {
		m.captures = map[int][2]int{}
		if m.match(root, start, func(int) bool { return true }) {
			return m.steps, true, nil
		}
	}
	return m.steps, false, nil
}

func (m *backtracker) step() {
	if m.steps++; m.steps > m.limit {
		panic(errSteps)
	}
}

func (m *backtracker) match(n *node, pos int, next func(int) bool) bool {
	if n.group > 0 && n.kind == kindConcat {
		return m.concat(n.subs, pos, func(end int) bool {
			old, had := m.captures[n.group]
			m.captures[n.group] = [2]int{pos, end}
			if next(end) {
				return true
			}
			if delete(m.captures, n.group); had {
				m.captures[n.group] = old
			}
			return false
		})
	}
	switch n.kind {
	case kindChar:
		m.step()
		return pos < len(m.input) && n.set.has(m.input[pos]) && next(pos+1)
	case kindConcat:
		return m.concat(n.subs, pos, next)
	case kindAlternate:
		for _, sub := range n.subs {
			if m.match(sub, pos, next) {
				return true
			}
		}
		return false
	case kindRepeat:
		return m.repeat(n, n.min, n.max, pos, next)
	case kindBegin:
		return pos == 0 && next(pos)
	case kindEnd:
		return pos == len(m.input) && next(pos)
	case kindBoundary:
		isWord := func(i int) bool { return i >= 0 && i < len(m.input) && word.has(m.input[i]) }
		return (isWord(pos-1) != isWord(pos)) != n.negated && next(pos)
	case kindLook:
		return m.match(n.subs[0], pos, func(int) bool { return true }) != n.negated && next(pos)
	case kindReference:
		return m.reference(n, pos, next)
	case kindEmpty:
	}
	return next(pos)
}

func (m *backtracker) concat(subs []*node, pos int, next func(int) bool) bool {
	if len(subs) == 0 {
		return next(pos)
	}
	return m.match(subs[0], pos, func(end int) bool { return m.concat(subs[1:], end, next) })
}

func (m *backtracker) repeat(n *node, low, high, pos int, next func(int) bool) bool {
	again := func() bool {
		return high != 0 && m.match(n.subs[0], pos, func(end int) bool {
			if low == 0 && end == pos {
				return false
			}
			return m.repeat(n, max(low-1, 0), max(high-1, unbounded), end, next)
		})
	}
	switch {
	case low > 0:
		return again()
	case n.lazy:
		return next(pos) || again()
	}
	return again() || next(pos)
}

func (m *backtracker) reference(n *node, pos int, next func(int) bool) bool {
	c, ok := m.captures[n.group]
	if !ok {
		return next(pos)
	}
	for i := c[0]; i < c[1]; i++ {
		m.step()
		if pos == len(m.input) {
			return false
		}
		a, b := string(m.input[i]), string(m.input[pos])
		if a != b && (!m.ignoreCase || !strings.EqualFold(a, b)) {
			return false
		}
		pos++
	}
	return next(pos)
}

// tally computes how many steps the plain matcher takes without taking them: the same steps
// from the same place are counted once and remembered. It works on the translated pattern,
// and where both can be run they have to agree.
type tally struct {
	program []step
	input   []rune
	plain   []tallied // without iterations begun at the same place
	begun   map[tallyPlace]tallied
}

type tallyPlace struct {
	step, pos int
	begun     uint64
}

type tallied struct {
	steps         float64
	matched, done bool
}

// tallyOf returns the number of steps for a search.
func tallyOf(t *testing.T, pattern, input string, o Options) float64 {
	t.Helper()
	root, err := parse(pattern, o.IgnoreCase, newBudget(0))
	if err != nil {
		t.Fatal(err)
	}
	c := &compiler{budget: newBudget(0)}
	first, err := c.compile(root, c.add(step{op: opAccept}))
	if err != nil || c.loops > 64 || c.rough {
		t.Fatalf("%q cannot be tallied: %v", pattern, err)
	}
	w := &tally{program: c.steps, input: []rune(input), begun: map[tallyPlace]tallied{}}
	w.plain = make([]tallied, len(c.steps)*(len(w.input)+1))
	total := 0.0
	for pos := 0; pos <= len(w.input); pos++ {
		// From the last place to the first within one search the stack stays shallow.
		w.warm(first, pos)
		r := w.at(tallyPlace{first, pos, 0})
		total += r.steps
		if r.matched {
			break
		}
	}
	return total
}

// warm computes the places near the end of the input first, for the depth of recursion.
func (w *tally) warm(first, pos int) {
	if pos > 0 {
		return
	}
	for p := len(w.input); p > 0; p-- {
		for i := range w.program {
			if w.program[i].op == opChar {
				w.at(tallyPlace{i, p, 0})
			}
		}
		w.at(tallyPlace{first, p, 0})
	}
}

func (w *tally) at(p tallyPlace) tallied {
	if p.begun != 0 {
		r, ok := w.begun[p]
		if !ok {
			r = w.compute(p)
			w.begun[p] = r
		}
		return r
	}
	slot := p.pos*len(w.program) + p.step
	if !w.plain[slot].done {
		r := w.compute(p)
		r.done = true
		w.plain[slot] = r
	}
	return w.plain[slot]
}

func (w *tally) compute(p tallyPlace) tallied {
	s := w.program[p.step]
	next := p
	if len(s.next) > 0 {
		next.step = s.next[0]
	}
	switch s.op {
	case opChar:
		if p.pos == len(w.input) || !s.set.has(w.input[p.pos]) {
			return tallied{steps: 1}
		}
		next.pos, next.begun = p.pos+1, 0
		r := w.at(next)
		return tallied{steps: r.steps + 1, matched: r.matched}
	case opSplit:
		sum := tallied{}
		for _, n := range s.next {
			next.step = n
			r := w.at(next)
			sum.steps += r.steps
			if r.matched {
				sum.matched = true
				break
			}
		}
		return sum
	case opEnter:
		next.begun |= 1 << s.loop
	case opIterated:
		if p.begun&(1<<s.loop) != 0 {
			return tallied{}
		}
	case opBegin:
		if p.pos != 0 {
			return tallied{}
		}
	case opEnd:
		if p.pos != len(w.input) {
			return tallied{}
		}
	case opAccept:
		return tallied{matched: true}
	case opUnsure, opLook, opLookEnd:
		panic("a program with these is not tallied")
	}
	return w.at(next)
}

// The two ways of counting are independent of each other, so where they agree both are
// right.
func TestTallyCountsTheStepsOfThePlainMatcher(t *testing.T) {
	compared := 0
	for _, pattern := range randomPatterns(400) {
		for _, input := range []string{"", "a", "ab", "aabab", "bbaab!", "aaaaaab!", "abababab"} {
			steps, _, err := stepsOf(t, pattern, input, Options{}, 100_000)
			if err != nil {
				continue
			}
			compared++
			if got := tallyOf(t, pattern, input, Options{}); got != float64(steps) {
				t.Errorf("%q on %q: tally %v, matcher %d", pattern, input, got, steps)
			}
		}
	}
	if compared < 2000 {
		t.Errorf("only %d comparisons", compared)
	}
}

// randomPatterns returns patterns over a and b, always the same.
func randomPatterns(count int) []string {
	seed := uint64(20221003)
	random := func(n int) int {
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		return int(mathbits.RotateLeft64(seed, 17) % uint64(n))
	}
	var build func(depth int) string
	build = func(depth int) string {
		atom := []string{"a", "b", ".", "[ab]", "[^a]"}[random(5)]
		if depth > 0 && random(2) == 0 {
			atom = "(?:" + build(depth-1) + ")"
		}
		out := atom + []string{"", "", "*", "+", "?", "*?", "{0,2}", "{2}"}[random(8)]
		switch {
		case depth > 0 && random(3) == 0:
			out += "|" + build(depth-1)
		case depth > 0 && random(3) > 0:
			out += build(depth - 1)
		}
		return out
	}
	var out []string
	for range count {
		pattern := build(3)
		if random(3) == 0 {
			pattern = "^(?:" + pattern + ")"
		}
		if random(2) == 0 {
			pattern = "(?:" + pattern + ")$"
		}
		out = append(out, pattern)
	}
	return out
}
