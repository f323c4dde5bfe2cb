package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
)

// maxNames is how many names a release holds; more would make one write per stage a big one.
const maxNames = 20

// member is a server of the pool.
type member struct {
	Server
	// key is the name in lower case: names of servers know no case.
	key string
}

// crowd is the servers of a pool, each once and sorted by name.
type crowd []member

func gather(servers []Server) crowd {
	c := make(crowd, 0, len(servers))
	for _, s := range servers {
		c = append(c, member{Server: s, key: strings.ToLower(s.Name)})
	}
	slices.SortStableFunc(c, func(a, b member) int {
		if by := strings.Compare(a.key, b.key); by != 0 {
			return by
		}
		return strings.Compare(a.Name, b.Name)
	})
	out := c[:0]
	for _, m := range c {
		if len(out) > 0 && out[len(out)-1].key == m.key {
			out[len(out)-1].Gates = worse(out[len(out)-1].Gates, m.Gates)
			continue
		}
		out = append(out, m)
	}
	return out
}

// worse joins what two objects say about one server. A failure that either reports counts.
func worse(a, b map[string]Gate) map[string]Gate {
	joined := make(map[string]Gate, len(a)+len(b))
	maps.Copy(joined, a)
	for id, gate := range b {
		if have, ok := joined[id]; !ok || have.Verdict != GateFailed {
			joined[id] = gate
		}
	}
	return joined
}

// draw is the crowd with the places of its servers for one mitigation. The places are worked out when they are first asked for:
// most entries of a plan are complete and ask for none.
type draw struct {
	crowd

	mitigation string
	buckets    []uint32
	// words are what the members say about the rollout that was asked about last.
	words []word
	// order lists members by bucket, the lowest first; those with higher buckets may be missing.
	order []int
}

func (c crowd) draw(mitigation string) *draw {
	return &draw{crowd: c, mitigation: strings.ToLower(mitigation)}
}

func (d *draw) hash() {
	if d.buckets != nil {
		return
	}
	d.buckets = make([]uint32, len(d.crowd))
	var buffer []byte
	for i := range d.crowd {
		buffer = append(append(append(buffer[:0], d.crowd[i].key...), 0), d.mitigation...)
		sum := sha256.Sum256(buffer)
		d.buckets[i] = binary.BigEndian.Uint32(sum[:4])
	}
}

// sort makes sure that order has so many members at least, or all. Early stages ask for few: only those with low hashes are sorted.
func (d *draw) sort(wanted int) {
	d.hash()
	if wanted = min(wanted, len(d.crowd)); len(d.order) >= wanted {
		return
	}
	// Hashes are spread evenly; an eighth more than the share is nearly always enough.
	limit := uint64(Everything)
	if share := uint64(wanted) * uint64(Everything) / uint64(len(d.crowd)); wanted < len(d.crowd)/2 {
		limit = share + share/8 + uint64(Everything)/1024
	}
	keys := d.below(limit)
	if len(keys) < wanted {
		keys = d.below(uint64(Everything))
	}
	slices.Sort(keys)
	d.order = make([]int, len(keys))
	for i, key := range keys {
		d.order[i] = int(key & (1<<32 - 1))
	}
}

// below lists bucket and place, in one number, of those with a lower bucket: numbers sort several times faster than what a
// comparison function is needed for.
func (d *draw) below(limit uint64) []uint64 {
	keys := make([]uint64, 0, len(d.buckets))
	for i, bucket := range d.buckets {
		if uint64(bucket) < limit {
			keys = append(keys, uint64(bucket)<<32|uint64(i))
		}
	}
	return keys
}

// find returns the place of a server in the crowd.
func (c crowd) find(name string) (int, bool) {
	return slices.BinarySearchFunc(c, strings.ToLower(name), func(m member, key string) int { return strings.Compare(m.key, key) })
}

// included tells of each member whether the release includes it, and how many it does.
func (d *draw) included(r Release) (in []bool, count int) {
	in = make([]bool, len(d.crowd))
	switch {
	case r.Below >= Everything:
		for i := range in {
			in[i] = true
		}
		return in, len(in)
	case r.Below > 0:
		d.hash()
		for i, bucket := range d.buckets {
			if int64(bucket) < r.Below {
				in[i] = true
				count++
			}
		}
	}
	for _, name := range r.ServerNames {
		if i, ok := d.find(name); ok && !in[i] {
			in[i] = true
			count++
		}
	}
	return in, count
}

// release widens what is released so that it holds the stage: exactly the wanted number of servers, where hashes allow it, and
// never fewer than it holds already.
func (d *draw) release(from Release, s Stage) Release {
	if len(d.crowd) == 0 {
		return from
	}
	in, count := d.included(from)
	wanted := len(d.crowd)
	if s.Servers.Said {
		wanted = s.Servers.of(len(d.crowd))
	}
	var names, away []string
	for _, name := range from.ServerNames {
		if _, ok := d.find(name); ok {
			names = append(names, name)
		} else {
			away = append(away, name)
		}
	}
	name := func(i int) {
		if !in[i] && count < wanted && len(names) < maxNames {
			in[i], names = true, append(names, d.crowd[i].Name)
			count++
		}
	}
	for _, given := range s.ServerNames {
		if i, ok := d.find(given); ok {
			name(i)
		}
	}
	for i := range d.crowd {
		if s.Selects != nil && s.Selects(d.crowd[i].Labels) {
			name(i)
		}
	}
	if !s.Servers.Said {
		wanted = max(count, 1)
	}
	below, missing := d.cut(from.Below, in, count, wanted-count)
	// Servers with the same hash cannot be told apart by a cut-off; those that it had to leave out go by name.
	for n := 0; missing > 0 && n < len(d.order) && len(names) < maxNames; n++ {
		if i := d.order[n]; !in[i] {
			in[i], names = true, append(names, d.crowd[i].Name)
			missing--
		}
	}
	// Those that are away keep their place for when they return, as far as there is room.
	names = append(names, away[:min(len(away), max(maxNames-len(names), 0))]...)
	return d.tidy(Release{ServerNames: names, Below: below})
}

// cut raises the cut-off until it holds so many servers more than it has, and marks them. It never holds more.
func (d *draw) cut(below int64, in []bool, has, more int) (cutOff int64, missing int) {
	if more <= 0 {
		return below, 0
	}
	d.sort(has + more)
	for n := 0; n < len(d.order) && more > 0; {
		bucket, end, fresh := d.buckets[d.order[n]], n, 0
		for ; end < len(d.order) && d.buckets[d.order[end]] == bucket; end++ {
			if !in[d.order[end]] {
				fresh++
			}
		}
		if fresh > more {
			break
		}
		if fresh > 0 {
			below = int64(bucket) + 1
			more -= fresh
			for _, i := range d.order[n:end] {
				in[i] = true
			}
		}
		n = end
	}
	return below, more
}

// tidy leaves out names that the cut-off covers, and sorts the others.
func (d *draw) tidy(r Release) Release {
	if r.Below > 0 && len(r.ServerNames) > 0 {
		d.hash()
		r.ServerNames = slices.DeleteFunc(r.ServerNames, func(name string) bool {
			i, ok := d.find(name)
			return ok && int64(d.buckets[i]) < r.Below
		})
	}
	slices.SortFunc(r.ServerNames, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	if len(r.ServerNames) == 0 {
		r.ServerNames = nil
	}
	return r
}

// releaseOf works out what the stages up to one hold, within what is released. It is what a halt goes back to.
func (d *draw) releaseOf(stages []Stage, within Release) Release {
	var r Release
	for _, s := range stages {
		r = d.release(r, s)
	}
	r.ServerNames = slices.DeleteFunc(r.ServerNames, func(name string) bool { return !within.Includes(name, d.mitigation) })
	if r.Below > within.Below {
		// A cut-off above that of what is released would take in servers that never had it; names within stay names.
		r.Below = within.Below
		r.ServerNames = append(r.ServerNames, within.ServerNames...)
	}
	return d.tidy(r)
}
