package redos

import (
	"encoding/binary"
	"slices"
)

// bits is a set of states, or of parts of the alphabet.
type bits []uint64

func newBits(n int) bits      { return make(bits, (n+63)/64) }
func (b bits) add(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) addAll(other bits) {
	for i, w := range other {
		b[i] |= w
	}
}

func (b bits) key() string {
	raw := make([]byte, 0, 8*len(b))
	for _, w := range b {
		raw = binary.LittleEndian.AppendUint64(raw, w)
	}
	return string(raw)
}

// move is a character, and what is known about the input behind it.
type move struct{ part, to int32 }

// suffixes says what is known about the rest of an input: the states from which the rest
// makes the pattern match. A matcher that reaches such a state is done; only where it does
// not match, it goes back and tries another way. So this decides which ways are tried.
//
// It is the deterministic automaton that reads inputs backwards. Number 0 is the end.
type suffixes struct {
	matching []bits
	// moves has, for each number, the characters with which such a rest can begin.
	moves [][]move
}

// unknownSuffixes knows nothing about the rest of an input but that some states accept
// whatever it is. With it, more ways seem to be tried than really are.
func unknownSuffixes(a *automaton) *suffixes {
	s := &suffixes{matching: []bits{newBits(len(a.states))}, moves: make([][]move, 1)}
	for i := range a.states {
		if a.states[i].accepts {
			s.matching[0].add(i)
		}
	}
	for part := range a.shown {
		s.moves[0] = append(s.moves[0], move{part: int32(part)})
	}
	return s
}

// maxSuffixes bounds the sets of states; numbers have to fit into 16 bits.
const maxSuffixes = 1 << 14

// reader reads inputs backwards.
type reader struct {
	automaton *automaton
	budget    *budget
	// before has the states with a sure edge to a state.
	before [][]int32
	// always has the states that match whatever follows, end those that match at the end.
	always, end bits
	// sets has, for each part of the alphabet, what matches when it comes first.
	sets []bits
}

func newReader(a *automaton, looks bool, b *budget) *reader {
	n := len(a.states)
	r := &reader{automaton: a, budget: b, before: make([][]int32, n), always: newBits(n), end: newBits(n), sets: make([]bits, len(a.shown))}
	for i := range a.states {
		s := &a.states[i]
		if s.accepts || looks && s.lookEnds {
			r.always.add(i)
			r.end.add(i)
		}
		if s.acceptsAtEnd || looks && s.lookEndsAtEnd {
			r.end.add(i)
		}
		for _, e := range s.edges {
			if e.sure || looks {
				r.before[e.to] = append(r.before[e.to], int32(i))
			}
		}
	}
	return r
}

// read determines what matches when one more character comes before a rest.
func (r *reader) read(matching bits) error {
	clear(r.sets)
	for to := range r.automaton.states {
		if !matching.has(to) || len(r.before[to]) == 0 {
			continue
		}
		class := r.automaton.states[to].class
		if err := r.budget.spend(len(class) * (1 + len(r.before[to]))); err != nil {
			return err
		}
		for _, part := range class {
			if r.sets[part] == nil {
				r.sets[part] = slices.Clone(r.always)
			}
			for _, from := range r.before[to] {
				r.sets[part].add(int(from))
			}
		}
	}
	return nil
}

// newSuffixes determines which rests of an input match from where. With looks, it takes
// every look-ahead that matches for the whole, to find inputs on which they do not.
func newSuffixes(a *automaton, looks bool, b *budget) (*suffixes, error) {
	r := newReader(a, looks, b)
	s := &suffixes{matching: []bits{r.end}, moves: [][]move{nil}}
	known := map[string]int{r.end.key(): 0}
	for at := 0; at < len(s.matching); at++ {
		if err := r.read(s.matching[at]); err != nil {
			return nil, err
		}
		for part, set := range r.sets {
			if set == nil {
				set = r.always
			}
			if err := b.spend(4 + len(set)); err != nil {
				return nil, err
			}
			key := set.key()
			number, ok := known[key]
			if !ok {
				number = len(s.matching)
				if number == maxSuffixes {
					return nil, tooComplex("sets of states", maxSuffixes)
				}
				known[key] = number
				s.matching = append(s.matching, set)
				s.moves = append(s.moves, nil)
			}
			// Read forwards, the move leads from what was just found to what it came from.
			s.moves[number] = append(s.moves[number], move{part: int32(part), to: int32(at)})
		}
	}
	return s, nil
}
