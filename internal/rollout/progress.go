package rollout

import (
	"slices"
	"strings"
)

// Progress counts how far the servers of a pool are with a rollout.
type Progress struct {
	// Servers of the pool, and those of them that the mitigation is released to.
	Servers, Released int
	// Passed are the released ones that passed the gate or do not need the mitigation, Waiting those that have not said yet.
	Passed, Waiting int
	// Failed is how many reported a failure, released or not: a halt takes the release back from those that failed.
	Failed int
	// Failing names them, in order.
	Failing []string
}

// ProgressOf counts for an entry of a plan. Servers are those of the pool; the same server twice counts twice.
func ProgressOf(e Entry, servers []Server) Progress {
	p := Progress{Servers: len(servers)}
	id := strings.ToLower(e.ID)
	for i := range servers {
		s := &servers[i]
		gate := s.Gates[id]
		if e.Rollout.ID == "" || gate.Rollout != e.Rollout.ID {
			gate = Gate{}
		}
		if gate.Verdict == GateFailed {
			p.Failed++
			p.Failing = append(p.Failing, s.Name)
		}
		if !e.Release.Includes(s.Name, id) {
			continue
		}
		p.Released++
		switch gate.Verdict {
		case GatePassed, GateNotNeeded:
			p.Passed++
		case GateFailed:
		default:
			p.Waiting++
		}
	}
	slices.Sort(p.Failing)
	return p
}

// tally is what the servers say about a rollout, for the planner.
type tally struct {
	released int
	// failed, waiting and left list members: those that failed, the released ones without a final word, and those that are not
	// released and still report something else than a failure.
	failed, waiting, left []int
}

// word is a verdict in one byte.
type word uint8

const (
	silent word = iota
	inconclusive
	baking
	good
	bad
)

// hear asks the servers what they say about a rollout, and returns the highest attempt of the same run that one of them speaks
// of; 0 if none speaks of another. It is the one pass over what servers report.
func (d *draw) hear(identity Identity) (latest int) {
	id, seen := identity.ID(), ""
	d.words = make([]word, len(d.crowd))
	for i := range d.crowd {
		gate, ok := d.crowd[i].Gates[d.mitigation]
		if !ok {
			continue
		}
		if gate.Rollout != id {
			if gate.Rollout != seen { // Most servers that speak of another rollout speak of the same one.
				seen = gate.Rollout
				if other, ok := ParseID(seen); ok && other.Same(identity) {
					latest = max(latest, other.Attempt)
				}
			}
			continue
		}
		switch gate.Verdict {
		case GateFailed:
			d.words[i] = bad
		case GatePassed, GateNotNeeded:
			d.words[i] = good
		case GateBaking:
			d.words[i] = baking
		default:
			d.words[i] = inconclusive
		}
	}
	return latest
}

// count sets what was heard against a release.
func (d *draw) count(r Release) tally {
	var t tally
	in, released := d.included(r)
	t.released = released
	for i, said := range d.words {
		switch {
		case said == bad:
			t.failed = append(t.failed, i)
		case in[i] && said != good:
			t.waiting = append(t.waiting, i)
		case !in[i] && said != silent:
			t.left = append(t.left, i)
		}
	}
	return t
}
