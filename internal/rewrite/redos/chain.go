package redos

import "strings"

// finding is what a graph tells about the cost of matching.
type finding struct {
	exponential bool
	degree      int
	// loops are the witnesses in the order in which an input runs through them.
	loops []*witness
}

// find determines the ambiguity of the graph: the longest chain of witnesses on one path.
func (g *graph) find() (finding, error) {
	w, err := g.exponential()
	if err != nil {
		return finding{}, err
	}
	if w != nil {
		return finding{exponential: true, loops: []*witness{w}}, nil
	}
	links, err := g.links()
	if err != nil {
		return finding{}, err
	}
	// Components come after all those that they lead to, so one pass is enough.
	type best struct {
		length int
		link   *witness // the next in the chain, if it begins here
		to     int32    // the component where the chain goes on
	}
	outgoing := map[int32][]int32{}
	for key := range links {
		outgoing[key[0]] = append(outgoing[key[0]], key[1])
	}
	chains := make([]best, len(g.nodes))
	for c, members := range g.nodes {
		b := &chains[c]
		for _, n := range members {
			for _, to := range g.adjacent[n] {
				if other := g.component[to]; other != int32(c) && chains[other].length > b.length {
					*b = best{length: chains[other].length, to: other}
				}
			}
		}
		for _, to := range sorted(outgoing[int32(c)]) {
			if length := chains[to].length + 1; length > b.length {
				*b = best{length, links[[2]int32{int32(c), to}], to}
			}
		}
	}
	f := finding{}
	at := int32(-1)
	for suffix := range g.matching {
		if c := g.component[g.node(beginState, suffix)]; at < 0 || chains[c].length > chains[at].length {
			at = c
		}
		if g.loopCount > 0 {
			f.degree = 1
		}
	}
	f.degree += chains[at].length
	for chains[at].length > 0 {
		if link := chains[at].link; link != nil {
			f.loops = append(f.loops, link)
		}
		at = chains[at].to
	}
	return f, nil
}

// attack returns the input that runs through the loops of a finding.
func (g *graph) attack(f finding) Attack {
	var begins []int
	for suffix := range g.matching {
		begins = append(begins, g.node(beginState, suffix))
	}
	out := Attack{}
	for i, loop := range f.loops {
		text := g.text(g.path(begins, loop.from))
		if i == 0 {
			out.Prefix = text
		} else {
			out.Pumps[i-1].Then = text
		}
		out.Pumps = append(out.Pumps, Pump{Text: g.text(loop.word)})
		begins = []int{loop.to}
	}
	if len(begins) == 1 {
		_, suffix := g.split(begins[0])
		out.Suffix = g.text(g.ending(suffix))
	}
	return out
}

func (g *graph) text(word []int32) string {
	var b strings.Builder
	for _, part := range word {
		b.WriteRune(g.shown[part])
	}
	return b.String()
}

// path returns the shortest word from one of the nodes to another node.
func (g *graph) path(from []int, to int) []int32 {
	t := &trail{seen: map[uint64]struct{}{}}
	for _, n := range from {
		if n == to {
			return nil
		}
		state, suffix := g.split(n)
		t.add(walks{a: int32(state), suffix: int32(suffix)}, -1, -1)
	}
	var hops []hop
	for at := 0; at < len(t.places); at++ {
		w := t.places[at]
		for _, m := range g.moves[w.suffix] {
			hops = g.hops(hops[:0], int(w.a), m)
			for _, h := range hops {
				if g.node(h.to, int(m.to)) == to {
					return t.word(at, m.part)
				}
				t.add(walks{a: int32(h.to), suffix: m.to}, at, m.part)
			}
		}
	}
	return nil
}

// ending returns the shortest word after which the number of suffixes is that of the end.
func (g *graph) ending(suffix int) []int32 {
	if suffix == 0 {
		return nil
	}
	t := newTrail(walks{suffix: int32(suffix)})
	for at := 0; at < len(t.places); at++ {
		for _, m := range g.moves[t.places[at].suffix] {
			if m.to == 0 {
				return t.word(at, m.part)
			}
			t.add(walks{suffix: m.to}, at, m.part)
		}
	}
	return nil
}
