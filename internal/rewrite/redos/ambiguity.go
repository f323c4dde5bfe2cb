package redos

import "slices"

// witness is a loop that makes a pattern ambiguous: from a first node, the word leads back to
// it, and in a second way to a second node as well.
//
// If both are the same node, repeating the word doubles the ways each time: exponential
// ambiguity (EDA). If not, and the word also leads from the second node back to it, each
// repetition adds one way: infinite ambiguity (IDA). A chain of k such loops makes the ways grow with the
// k-th power. These are the criteria of Weber and Seidl, "On the degree of ambiguity of
// finite automata", Theoretical Computer Science 88 (1991).
type witness struct {
	from, to int
	word     []int32
}

// maxLoops bounds the components with a cycle, all pairs of which are looked at.
const maxLoops = 1 << 11

// exponential looks for a loop with two ways.
func (g *graph) exponential() (*witness, error) {
	for c, members := range g.nodes {
		if g.loops[c] < 0 {
			continue
		}
		// Where the rest of the input matches, the matcher passes once at most.
		at := slices.IndexFunc(members, func(n int32) bool { return !g.matches(int(n)) })
		if at < 0 {
			continue
		}
		// One node stands for all of the component: two ways from another node are two
		// ways from here, by way of it.
		word, err := g.diverge(int(members[at]))
		if word != nil || err != nil {
			return &witness{int(members[at]), int(members[at]), word}, err
		}
	}
	return nil, nil
}

// walks are up to three walks side by side over the same input; suffix is common.
type walks struct {
	a, b, c, suffix int32
	// apart says that the first two were different at some place.
	apart bool
}

// key packs the walks into one number: maxStates and maxSuffixes leave 14 bits for each.
func (w walks) key() uint64 {
	key := uint64(w.a) | uint64(w.b)<<14 | uint64(w.c)<<28 | uint64(w.suffix)<<42
	if w.apart {
		key |= 1 << 56
	}
	return key
}

// trail is a search by breadth that remembers how it came to each place.
type trail struct {
	seen   map[uint64]struct{}
	places []walks
	parent []int32
	part   []int32
}

func newTrail(start walks) *trail {
	t := &trail{seen: map[uint64]struct{}{}}
	t.add(start, -1, -1)
	return t
}

func (t *trail) add(w walks, parent int, part int32) {
	before := len(t.seen)
	if t.seen[w.key()] = struct{}{}; len(t.seen) == before {
		return
	}
	t.places = append(t.places, w)
	t.parent = append(t.parent, int32(parent))
	t.part = append(t.part, part)
}

// word returns what leads to the place of the given number, and one part more.
func (t *trail) word(at int, last int32) []int32 {
	word := []int32{last}
	for t.parent[at] >= 0 {
		word = append(word, t.part[at])
		at = int(t.parent[at])
	}
	slices.Reverse(word)
	return word
}

// placeCost is what a place of a trail costs, in the unit of budgets: its memory.
const placeCost = 20

// diverge returns a word that leads from a node back to it in two ways, or nil.
func (g *graph) diverge(node int) ([]int32, error) {
	state, suffix := g.split(node)
	component := g.component[node]
	t := newTrail(walks{a: int32(state), b: int32(state), suffix: int32(suffix)})
	goal := t.places[0]
	goal.apart = true
	var first, second []hop
	for at := 0; at < len(t.places); at++ {
		w := t.places[at]
		for _, m := range g.moves[w.suffix] {
			first = g.within(first[:0], w.a, m, component)
			second = g.within(second[:0], w.b, m, component)
			if err := g.budget.spend(2 + len(first)*len(second)*placeCost); err != nil {
				return nil, err
			}
			for _, h1 := range first {
				for _, h2 := range second {
					next := walks{a: int32(h1.to), b: int32(h2.to), suffix: m.to}
					next.apart = w.apart || w.a == w.b && h1.index != h2.index
					if next == goal {
						return t.word(at, m.part), nil
					}
					t.add(next, at, m.part)
				}
			}
		}
	}
	return nil, nil
}

// within appends the hops that stay in a component.
func (g *graph) within(into []hop, state int32, m move, component int32) []hop {
	if err := g.budget.spend(1 + len(g.states[state].edges)); err != nil {
		return into // noticed by the caller, who spends as well
	}
	into = g.hops(into, int(state), m)
	return slices.DeleteFunc(into, func(h hop) bool { return g.component[g.node(h.to, int(m.to))] != component })
}

// links returns the witnesses of infinite ambiguity, one for each pair of components.
func (g *graph) links() (map[[2]int32]*witness, error) {
	candidates, err := g.loopPairs()
	if err != nil {
		return nil, err
	}
	found := map[[2]int32]*witness{}
	for _, pair := range candidates {
		key := [2]int32{g.component[pair[0]], g.component[pair[1]]}
		if found[key] != nil {
			continue
		}
		word, err := g.transfer(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		if word != nil {
			found[key] = &witness{pair[0], pair[1], word}
		}
	}
	return found, nil
}

// loopPairs returns the pairs of nodes, in different components, that one word leads back
// to. Of those that lead to each other, one stands for all.
func (g *graph) loopPairs() ([][2]int, error) {
	bySuffix := make([][]int, len(g.matching))
	if g.loopCount > maxLoops {
		return nil, tooComplex("loops", maxLoops)
	}
	for c, members := range g.nodes {
		if g.loops[c] < 0 {
			continue
		}
		for _, n := range members {
			_, suffix := g.split(int(n))
			bySuffix[suffix] = append(bySuffix[suffix], int(n))
		}
	}
	var pairs [][2]int
	number := map[[2]int]int32{}
	for _, nodes := range bySuffix {
		for _, from := range nodes {
			if err := g.budget.spend(1 + len(nodes)); err != nil {
				return nil, err
			}
			for _, to := range nodes {
				c1, c2 := g.component[from], g.component[to]
				if c1 == c2 || !g.leads(c1, c2) || g.matches(to) {
					continue
				}
				if err := g.budget.spend(placeCost); err != nil {
					return nil, err
				}
				number[[2]int{from, to}] = int32(len(pairs))
				pairs = append(pairs, [2]int{from, to})
			}
		}
	}
	return g.recurrent(pairs, number)
}

// recurrent keeps one pair of each set of pairs that lead to each other by common words.
func (g *graph) recurrent(pairs [][2]int, number map[[2]int]int32) ([][2]int, error) {
	adjacent := make([][]int32, len(pairs))
	var first, second []hop
	for i, pair := range pairs {
		from, suffix := g.split(pair[0])
		to, _ := g.split(pair[1])
		for _, m := range g.moves[suffix] {
			first = g.within(first[:0], int32(from), m, g.component[pair[0]])
			second = g.within(second[:0], int32(to), m, g.component[pair[1]])
			if err := g.budget.spend(1 + len(first)*len(second)*placeCost); err != nil {
				return nil, err
			}
			for _, h1 := range first {
				for _, h2 := range second {
					next, ok := number[[2]int{g.node(h1.to, int(m.to)), g.node(h2.to, int(m.to))}]
					if ok && (len(adjacent[i]) == 0 || adjacent[i][len(adjacent[i])-1] != next) {
						adjacent[i] = append(adjacent[i], next)
					}
				}
			}
		}
	}
	present := make([]int32, len(pairs))
	for i := range present {
		present[i] = int32(i)
	}
	var out [][2]int
	for _, members := range components(len(pairs), present, func(n int32) []int32 { return adjacent[n] }) {
		if len(members) > 1 || slices.Contains(adjacent[members[0]], members[0]) {
			out = append(out, pairs[members[0]])
		}
	}
	return out, nil
}

// transfer returns a word that leads from the first node to itself and to the second, and
// from the second to itself, or nil.
func (g *graph) transfer(from, to int) ([]int32, error) {
	p, suffix := g.split(from)
	q, _ := g.split(to)
	t := newTrail(walks{a: int32(p), b: int32(p), c: int32(q), suffix: int32(suffix)})
	goal := walks{a: int32(p), b: int32(q), c: int32(q), suffix: int32(suffix)}
	c1, c2 := g.component[from], g.component[to]
	var first, second, third []hop
	for at := 0; at < len(t.places); at++ {
		w := t.places[at]
		for _, m := range g.moves[w.suffix] {
			first = g.within(first[:0], w.a, m, c1)
			third = g.within(third[:0], w.c, m, c2)
			if len(first) == 0 || len(third) == 0 {
				if err := g.budget.spend(1); err != nil {
					return nil, err
				}
				continue
			}
			second = g.hops(second[:0], int(w.b), m)
			if err := g.budget.spend(len(g.states[w.b].edges) + len(first)*len(second)*len(third)*placeCost); err != nil {
				return nil, err
			}
			for _, h2 := range second {
				if c := g.component[g.node(h2.to, int(m.to))]; !g.leads(c, c2) {
					continue
				}
				for _, h1 := range first {
					for _, h3 := range third {
						next := walks{a: int32(h1.to), b: int32(h2.to), c: int32(h3.to), suffix: m.to}
						if next == goal {
							return t.word(at, m.part), nil
						}
						t.add(next, at, m.part)
					}
				}
			}
		}
	}
	return nil, nil
}
