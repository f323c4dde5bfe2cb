package redos

import (
	"encoding/binary"
	"slices"
	"sync"
	"unicode"
)

// span is a range of characters, both ends included.
type span struct{ lo, hi rune }

// charset is a sorted list of spans that neither touch nor overlap.
type charset []span

const maxChar = unicode.MaxRune

var (
	anyChar  = charset{{0, maxChar}}
	digits   = charset{{'0', '9'}}
	word     = charset{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}
	space    = charset{{'\t', '\r'}, {' ', ' '}, {0xa0, 0xa0}, {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}}
	lineEnds = charset{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}
)

// posix has the classes that bracket expressions of the C++ library know, in the C locale.
var posix = map[string]charset{
	"alpha": {{'A', 'Z'}, {'a', 'z'}}, "digit": digits, "alnum": {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}},
	"upper": {{'A', 'Z'}}, "lower": {{'a', 'z'}}, "xdigit": {{'0', '9'}, {'A', 'F'}, {'a', 'f'}},
	"space": {{'\t', '\r'}, {' ', ' '}}, "blank": {{'\t', '\t'}, {' ', ' '}}, "cntrl": {{0, 0x1f}, {0x7f, 0x7f}},
	"punct": {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}, "graph": {{'!', '~'}}, "print": {{' ', '~'}},
	"d": digits, "s": space, "w": word,
}

// normal sorts and joins spans.
func (c charset) normal() charset {
	slices.SortFunc(c, func(a, b span) int { return int(a.lo - b.lo) })
	out := c[:0]
	for _, s := range c {
		if last := len(out) - 1; last >= 0 && s.lo <= out[last].hi+1 {
			out[last].hi = max(out[last].hi, s.hi)
			continue
		}
		out = append(out, s)
	}
	return out
}

// negated returns the characters that are not in c, which has to be in normal form.
func (c charset) negated() charset {
	var out charset
	next := rune(0)
	for _, s := range c {
		if s.lo > next {
			out = append(out, span{next, s.lo - 1})
		}
		next = s.hi + 1
	}
	if next <= maxChar {
		out = append(out, span{next, maxChar})
	}
	return out
}

func (c charset) has(r rune) bool {
	_, found := slices.BinarySearchFunc(c, r, func(s span, r rune) int {
		switch {
		case s.hi < r:
			return -1
		case s.lo > r:
			return 1
		}
		return 0
	})
	return found
}

// folding is a character with those that differ from it in case only.
type folding struct {
	char   rune
	others []rune
}

// foldings lists, in order, all characters that have another case. As in ECMAScript, a
// character outside of ASCII never folds into ASCII: the Kelvin sign is no "k".
var foldings = sync.OnceValue(func() []folding {
	var out []folding
	for r := rune(0); r <= maxChar; r++ {
		f := folding{char: r}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			if (other < 0x80) == (r < 0x80) {
				f.others = append(f.others, other)
			}
		}
		if len(f.others) > 0 {
			out = append(out, f)
		}
		if r == 0x1ffff {
			break // planes beyond the first two have no letters with case
		}
	}
	return out
})

// folded adds the other cases of all characters. A set of much of Unicode, such as \W, mostly
// has them already; work is how many characters with another case had to be looked at.
func (c charset) folded() (out charset, work int) {
	out = slices.Clone(c)
	all := foldings()
	for _, s := range c {
		from, _ := slices.BinarySearchFunc(all, s.lo, func(f folding, r rune) int { return int(f.char - r) })
		for _, f := range all[from:] {
			if f.char > s.hi {
				break
			}
			work++
			for _, other := range f.others {
				if (other < s.lo || other > s.hi) && !c.has(other) {
					out = append(out, span{other, other})
				}
			}
		}
	}
	if len(out) == len(c) {
		return out, work
	}
	return out.normal(), work + len(out)
}

// key is the same for equal sets only.
func (c charset) key() string {
	raw := make([]byte, 0, 8*len(c))
	for _, s := range c {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(s.lo))
		raw = binary.LittleEndian.AppendUint32(raw, uint32(s.hi))
	}
	return string(raw)
}

// preferred has the characters to show in an attack, best first: those that need no escape
// in a URL, then other visible ones.
const preferred = "a0bcdefghijklmnopqrstuvwxyz123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~/!$'()*,;:@=&+?#%<>[]{}|\\^`\" "

// partition divides all characters into the fewest parts so that every set is a union of
// parts. It returns one character of each part, and for each set the numbers of its parts.
// Parts are ordered by how well their character can be shown.
func partition(sets []charset, b *budget) (shown []rune, parts [][]int32, err error) {
	bounds := []rune{0}
	for _, set := range sets {
		if err := b.spend(len(set)); err != nil {
			return nil, nil, err
		}
		for _, s := range set {
			bounds = append(bounds, s.lo, s.hi+1)
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	if bounds[len(bounds)-1] > maxChar {
		bounds = bounds[:len(bounds)-1]
	}
	// Intervals that the same sets contain are one part.
	members := make([][]byte, len(bounds))
	for i, set := range sets {
		for _, s := range set {
			from, _ := slices.BinarySearch(bounds, s.lo)
			k := from
			for ; k < len(bounds) && bounds[k] <= s.hi; k++ {
				members[k] = append(members[k], byte(i), byte(i>>8))
			}
			// It is done twice: here, and for the parts of the set.
			if err := b.spend(2 * (k - from)); err != nil {
				return nil, nil, err
			}
		}
	}
	byMembers := map[string]int{}
	var groups []int // interval -> part
	var best []rune
	for k, lo := range bounds {
		hi := rune(maxChar)
		if k+1 < len(bounds) {
			hi = bounds[k+1] - 1
		}
		part, known := byMembers[string(members[k])]
		if !known {
			part = len(best)
			byMembers[string(members[k])] = part
			best = append(best, -1)
		}
		groups = append(groups, part)
		best[part] = better(best[part], span{lo, hi})
	}
	order := make([]int, len(best))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(best[a]) - rank(best[b]) })
	place := make([]int32, len(best))
	for to, from := range order {
		place[from] = int32(to)
		shown = append(shown, best[from])
	}
	parts = make([][]int32, len(sets))
	for i, set := range sets {
		for _, s := range set {
			from, _ := slices.BinarySearch(bounds, s.lo)
			for k := from; k < len(bounds) && bounds[k] <= s.hi; k++ {
				parts[i] = append(parts[i], place[groups[k]])
			}
		}
		slices.Sort(parts[i])
		parts[i] = slices.Compact(parts[i])
	}
	return shown, parts, nil
}

// better returns the character to show: the one so far, or one of s.
func better(soFar rune, s span) rune {
	candidate := s.lo
	if candidate < 0x80 {
		for _, r := range preferred {
			if s.lo <= r && r <= s.hi {
				candidate = r
				break
			}
		}
	}
	if soFar < 0 || rank(candidate) < rank(soFar) {
		return candidate
	}
	return soFar
}

var preferredRank = func() (ranks [0x80]int) {
	for i := range ranks {
		ranks[i] = len(preferred) + i
	}
	for i, r := range preferred {
		ranks[r] = i
	}
	return ranks
}()

// rank is lower for characters that are better to show. Surrogates come last: a string of
// Go cannot hold them.
func rank(r rune) int {
	switch {
	case r < 0x80:
		return preferredRank[r]
	case r >= 0xd800 && r <= 0xdfff:
		return int(maxChar) + 1
	}
	return int(r)
}
