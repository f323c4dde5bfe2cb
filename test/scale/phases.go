package main

import (
	"slices"
	"time"
)

// phases takes the time from a document to its last server apart: what each step took in the slowest pool, without the bake times.
func phases(f *fleet, id, gate string, begin time.Time, r *Result) {
	byPool := map[string][]*server{}
	for _, s := range f.servers {
		byPool[s.Pool.Name] = append(byPool[s.Pool.Name], s)
	}
	names := []string{"to the first server", "gate of the first server", "from that gate to the next stage", "spread of the tenth", "gates of the tenth", "from those gates to the last stage", "spread of the last stage"}
	most := make([]time.Duration, len(names))
	for _, servers := range byPool {
		slices.SortFunc(servers, func(a, b *server) int { return a.stands(id).at.Compare(b.stands(id).at) })
		if len(servers) <= stageEnd(len(servers), 1) {
			return // a pool that is too small for three stages
		}
		applied := func(i int) time.Time { return servers[i].stands(id).at }
		passed := func(from, to int) time.Time {
			var last time.Time
			for _, s := range servers[from:to] {
				if at := s.gate(gate).at; at.After(last) {
					last = at
				}
			}
			return last
		}
		const first = 1
		tenth := stageEnd(len(servers), first)
		firstGate := passed(0, first)
		tenthGate := passed(first, tenth)
		if firstGate.IsZero() || tenthGate.IsZero() {
			return // without a health check nobody says when a gate was passed
		}
		for i, took := range []time.Duration{
			applied(0).Sub(begin),
			firstGate.Sub(applied(0)) - firstBake,
			applied(first).Sub(firstGate),
			applied(tenth - 1).Sub(applied(first)),
			tenthGate.Sub(applied(tenth-1)) - tenthBake,
			applied(tenth).Sub(tenthGate),
			applied(len(servers) - 1).Sub(applied(tenth)),
		} {
			most[i] = max(most[i], took)
		}
	}
	for i, name := range names {
		r.figure("  "+name, seconds, most[i].Seconds())
	}
}

// stageEnd is how many servers have the mitigation after the second stage of profile Emergency, which takes a tenth of the pool.
func stageEnd(servers, first int) int { return max(first+1, (servers+9)/10) }
