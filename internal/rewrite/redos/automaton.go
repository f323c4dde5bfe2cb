package redos

import "fmt"

// edge leads to a state, which takes a character of its class. Of two edges the first in
// the list of a state has priority.
type edge struct {
	to int
	// sure says that nothing but the character decides whether the edge can be taken.
	sure bool
}

// state is a character of the pattern that was just taken. State 0 stands for the begin of
// the input, before any character; state 1 for the search that has moved on.
type state struct {
	edges []edge
	// class has the parts of the alphabet that lead into the state, sorted.
	class []int32
	// accepts: the pattern matches here, whatever follows; edges behind that in priority are
	// left out. acceptsAtEnd: it matches if the input ends here.
	accepts, acceptsAtEnd bool
	// lookEnds, lookEndsAtEnd: the same for a look-ahead.
	lookEnds, lookEndsAtEnd bool
	// at is the part of the pattern that took the character.
	at *node
}

const (
	beginState  = 0
	searchState = 1
)

// automaton is a pattern without empty transitions. Its paths are the ways in which a
// backtracking matcher can walk over an input: as many paths as there are ways, each once.
type automaton struct {
	states []state
	// shown has one character for each part of the alphabet.
	shown []rune
	rough bool
}

// maxStates bounds the characters that a pattern can take, copies included. Pairs of states
// have to fit into 32 bits with much to spare.
const maxStates = 8_192

// newAutomaton builds the automaton of a search for the pattern.
//
// A search tries the pattern at each place of the input, one after the other. That is a loop
// over any character in front of the pattern, with the lowest priority: its states are
// beginState and searchState, and both can begin the pattern.
func newAutomaton(root *node, b *budget) (*automaton, error) {
	c := &compiler{budget: b}
	start, err := c.compile(root, c.add(step{op: opAccept}))
	if err != nil {
		return nil, err
	}
	a := &automaton{states: make([]state, 2), rough: c.rough}
	sets := []charset{anyChar}
	stateOf := make([]int, len(c.steps))
	classOf := []int{0, 0}
	known := map[string]int{}
	for i, s := range c.steps {
		if s.op != opChar {
			continue
		}
		stateOf[i] = len(a.states)
		a.states = append(a.states, state{at: s.at})
		if err := b.spend(len(s.set)); err != nil {
			return nil, err
		}
		key := s.set.key()
		if _, ok := known[key]; !ok {
			known[key] = len(sets)
			sets = append(sets, s.set)
		}
		classOf = append(classOf, known[key])
	}
	if len(a.states) > maxStates {
		return nil, fmt.Errorf("%w: more than %d characters with its counted repetitions", ErrTooComplex, maxStates)
	}
	shown, parts, err := partition(sets, b)
	if err != nil {
		return nil, err
	}
	a.shown = shown
	for i := range a.states {
		a.states[i].class = parts[classOf[i]]
	}
	a.states[beginState].class = nil
	w := &walk{
		steps: c.steps, stateOf: stateOf, budget: b, numbers: map[iteration]int{}, inner: map[uint64]int{},
		visits: newCounters(4 * len(c.steps)), targets: newCounters(len(a.states)),
	}
	for i, s := range c.steps {
		if s.op == opChar {
			if err := w.from(&a.states[stateOf[i]], s.next[0], false); err != nil {
				return nil, err
			}
		}
	}
	for i := range 2 {
		s := &a.states[i]
		if err := w.from(s, start, i == beginState); err != nil {
			return nil, err
		}
	}
	// Where the pattern can begin at the begin of the input only, moving on is in vain, and
	// where it accepts the empty input, a search never moves on.
	if search := &a.states[searchState]; len(search.edges) > 0 || search.acceptsAtEnd {
		for i := range 2 {
			if s := &a.states[i]; !s.accepts {
				s.edges = append(s.edges, edge{to: searchState, sure: true})
			}
		}
	}
	return a, nil
}

// walk follows the empty transitions behind a state, in the order of a backtracking matcher.
type walk struct {
	steps   []step
	stateOf []int
	budget  *budget

	into  *state
	begin bool
	// entered has the iterations that were begun since the last character, one within the
	// other: number 0 for none, else its loop and the number of what it lies in.
	entered []iteration
	numbers map[iteration]int
	// visits and targets count how often a place or a state was come to; those of places
	// within an iteration, which are rare, are in a map.
	visits, targets counters
	inner           map[uint64]int
}

type iteration struct{ within, loop int }

// counters count by number, and are set to zero quickly.
type counters struct {
	count []int
	used  []int
}

func newCounters(size int) counters { return counters{count: make([]int, size)} }

func (c *counters) increment(i int) int {
	if c.count[i]++; c.count[i] == 1 {
		c.used = append(c.used, i)
	}
	return c.count[i]
}

func (c *counters) reset() {
	for _, i := range c.used {
		c.count[i] = 0
	}
	c.used = c.used[:0]
}

// place is a step with what was passed on the way to it since the last character.
type place struct {
	step int
	// iterations numbers the innermost of the iterations that were begun.
	iterations int
	unsure     bool
	atEnd      bool
}

// maxWays is how many equal ways are told apart. Two already make a pattern ambiguous.
const maxWays = 2

func (w *walk) from(s *state, first int, begin bool) error {
	w.into, w.begin = s, begin
	w.visits.reset()
	w.targets.reset()
	clear(w.inner)
	clear(w.numbers)
	w.entered = append(w.entered[:0], iteration{-1, -1})
	_, err := w.visit(place{step: first})
	return err
}

// enter returns the number of an iteration of the loop within another one.
func (w *walk) enter(i iteration) int {
	number, known := w.numbers[i]
	if !known {
		number = len(w.entered)
		w.numbers[i] = number
		w.entered = append(w.entered, i)
	}
	return number
}

// count counts how often a place was come to.
func (w *walk) count(p place) int {
	number := 4 * p.step
	if p.unsure {
		number++
	}
	if p.atEnd {
		number += 2
	}
	if p.iterations != 0 {
		// The step needs 16 bits, see maxProgram.
		key := uint64(p.iterations)<<16 | uint64(number)
		w.inner[key]++
		return w.inner[key]
	}
	return w.visits.increment(number)
}

// visit walks on from a place. stop says that a match is sure there, so that a matcher
// never tries the ways of lower priority.
func (w *walk) visit(p place) (stop bool, err error) {
	cost := 8
	if p.iterations != 0 {
		cost = placeCost + 12 // a map
	}
	if err := w.budget.spend(cost); err != nil {
		return false, err
	}
	if w.count(p) > maxWays {
		return false, nil
	}
	s := &w.steps[p.step]
	next := p
	if len(s.next) > 0 {
		next.step = s.next[0]
	}
	switch s.op {
	case opChar:
		w.target(p)
		return false, nil
	case opSplit:
		for _, n := range s.next {
			next.step = n
			if stop, err = w.visit(next); stop || err != nil {
				return stop, err
			}
		}
		return false, nil
	case opEnter:
		next.iterations = w.enter(iteration{p.iterations, s.loop})
	case opIterated:
		// What was begun within the iteration has ended, so this one is the innermost.
		if w.entered[p.iterations].loop == s.loop {
			return false, nil
		}
	case opBegin:
		if !w.begin {
			return false, nil
		}
	case opEnd:
		next.atEnd = true
	case opUnsure:
		next.unsure = true
	case opLook:
		// Whether the content matches or not: it was tried, once.
		if _, err = w.visit(next); err != nil {
			return false, err
		}
		next.step = s.next[1]
	case opLookEnd, opAccept:
		return w.ended(p, s.op == opLookEnd), nil
	}
	return w.visit(next)
}

// target notes a way to a state.
func (w *walk) target(p place) {
	to := w.stateOf[p.step]
	if p.atEnd || w.targets.increment(to) > maxWays {
		return
	}
	w.into.edges = append(w.into.edges, edge{to: to, sure: !p.unsure})
}

// ended notes that the pattern, or the content of a look-ahead, matches here.
func (w *walk) ended(p place, look bool) (stop bool) {
	switch {
	case look && p.atEnd:
		w.into.lookEndsAtEnd = true
	case look:
		w.into.lookEnds = true
		return !p.unsure
	case p.unsure:
	case p.atEnd:
		w.into.acceptsAtEnd = true
	default:
		w.into.accepts, w.into.acceptsAtEnd = true, true
		return true
	}
	return false
}
