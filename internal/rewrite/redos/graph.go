package redos

import "slices"

// graph joins an automaton with what is known about the rest of the input. A path through
// it from the begin, spelling an input, is a way that a backtracking matcher really tries:
// a way of lower priority is there only where all those before it do not match.
//
// A node is a state and a number of suffixes. All walks side by side have the same input, so
// they share the suffix.
type graph struct {
	*automaton
	*suffixes
	budget *budget
	member []bits // parts of the alphabet, by state

	// For the nodes that can be reached from the begin:
	adjacent [][]int32
	// component numbers the strongly connected components, those that come later on a path
	// first; -1 for nodes out of reach. A component that loops has a cycle.
	component []int32
	nodes     [][]int32 // by component
	// loops has, by component, a number for those with a cycle, and -1 for the others.
	loops     []int
	loopCount int
	// reached has, by component, the numbers of the loops that it leads to.
	reached []bits
}

// maxNodes bounds the memory: some 100 bytes for each node.
const maxNodes = 1 << 19

// nodeCost is what a node costs in the unit of budgets: its memory, and finding components.
const nodeCost = 20

func newGraph(a *automaton, s *suffixes, b *budget) (*graph, error) {
	g := &graph{automaton: a, suffixes: s, budget: b}
	if len(s.matching)*len(a.states) > maxNodes {
		return nil, tooComplex("nodes", maxNodes)
	}
	for i := range a.states {
		set := newBits(len(a.shown))
		for _, part := range a.states[i].class {
			set.add(int(part))
		}
		g.member = append(g.member, set)
	}
	if err := g.reach(); err != nil {
		return nil, err
	}
	g.connect()
	return g, g.reachLoops()
}

func (g *graph) node(state, suffix int) int { return suffix*len(g.states) + state }

func (g *graph) split(node int) (state, suffix int) {
	return node % len(g.states), node / len(g.states)
}

// matches tells whether the rest of the input matches from the node.
func (g *graph) matches(node int) bool {
	state, suffix := g.split(node)
	return g.matching[suffix].has(state)
}

// hop is an edge that a matcher tries; index tells edges to the same state apart.
type hop struct{ to, index int }

// hops appends to into what a matcher tries from a state with a move.
func (g *graph) hops(into []hop, state int, m move) []hop {
	for i, e := range g.states[state].edges {
		if !g.member[e.to].has(int(m.part)) {
			continue
		}
		into = append(into, hop{e.to, i})
		if e.sure && g.matching[m.to].has(e.to) {
			break
		}
	}
	return into
}

// reach finds what can be reached from the begin of all inputs.
func (g *graph) reach() error {
	size := len(g.matching) * len(g.states)
	g.adjacent = make([][]int32, size)
	g.component = make([]int32, size)
	for i := range g.component {
		g.component[i] = -1
	}
	const queued = -2
	var queue []int
	for suffix := range g.matching {
		n := g.node(beginState, suffix)
		g.component[n] = queued
		queue = append(queue, n)
	}
	stamp := make([]int32, size)
	var hops []hop
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		state, suffix := g.split(n)
		if err := g.budget.spend(2 + len(g.moves[suffix])*(1+len(g.states[state].edges))); err != nil {
			return err
		}
		added := 0
		for _, m := range g.moves[suffix] {
			hops = g.hops(hops[:0], state, m)
			for _, h := range hops {
				to := g.node(h.to, int(m.to))
				if stamp[to] == int32(n+1) {
					continue
				}
				stamp[to] = int32(n + 1)
				added++
				g.adjacent[n] = append(g.adjacent[n], int32(to))
				if g.component[to] != queued {
					g.component[to] = queued
					queue = append(queue, to)
				}
			}
		}
		if err := g.budget.spend(nodeCost + added*4); err != nil {
			return err
		}
	}
	return nil
}

// connect determines the components.
func (g *graph) connect() {
	var present []int32
	for n, c := range g.component {
		if c != -1 {
			present = append(present, int32(n))
		}
	}
	g.nodes = components(len(g.adjacent), present, func(n int32) []int32 { return g.adjacent[n] })
	for c, members := range g.nodes {
		for _, n := range members {
			g.component[n] = int32(c)
		}
		number := -1
		if len(members) > 1 || slices.Contains(g.adjacent[members[0]], members[0]) {
			number = g.loopCount
			g.loopCount++
		}
		g.loops = append(g.loops, number)
	}
}

// reachLoops determines which loops each component leads to.
func (g *graph) reachLoops() error {
	if err := g.budget.spend(len(g.nodes) * (1 + g.loopCount/64)); err != nil {
		return err
	}
	g.reached = make([]bits, len(g.nodes))
	for c, members := range g.nodes {
		g.reached[c] = newBits(g.loopCount)
		if g.loops[c] >= 0 {
			g.reached[c].add(g.loops[c])
		}
		for _, n := range members {
			for _, to := range g.adjacent[n] {
				if other := g.component[to]; other != int32(c) {
					g.reached[c].addAll(g.reached[other])
				}
			}
		}
	}
	return nil
}

// leads tells whether a component leads to another one, which has a cycle.
func (g *graph) leads(from, to int32) bool { return g.reached[from].has(g.loops[to]) }

// components returns the strongly connected components of a graph, each after all those
// that it leads to. It is the algorithm of Tarjan without recursion: paths are long here.
func components(size int, present []int32, adjacent func(int32) []int32) [][]int32 {
	type frame struct {
		node int32
		next []int32
	}
	var (
		order = make([]int32, size) // 0: not seen
		low   = make([]int32, size)
		done  = make([]bool, size)
		count int32
		stack []int32
		out   [][]int32
	)
	for _, root := range present {
		if order[root] != 0 {
			continue
		}
		enter := func(n int32) frame {
			count++
			order[n], low[n] = count, count
			stack = append(stack, n)
			return frame{n, adjacent(n)}
		}
		frames := []frame{enter(root)}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			if len(f.next) > 0 {
				to := f.next[0]
				f.next = f.next[1:]
				switch {
				case order[to] == 0:
					frames = append(frames, enter(to))
				case !done[to]:
					low[f.node] = min(low[f.node], order[to])
				}
				continue
			}
			n := f.node
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				parent := frames[len(frames)-1].node
				low[parent] = min(low[parent], low[n])
			}
			if low[n] != order[n] {
				continue
			}
			at := len(stack) - 1
			for stack[at] != n {
				at--
			}
			members := slices.Clone(stack[at:])
			stack = stack[:at]
			for _, m := range members {
				done[m] = true
			}
			out = append(out, members)
		}
	}
	return out
}
