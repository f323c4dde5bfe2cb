package apphost

import (
	"bytes"
	"fmt"
	"slices"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Removed is what stood in a file until a change took it out or replaced it: the inserts of one Render.
type Removed struct {
	Edits []Edit `json:"edits"`
}

// StripRevived is Strip for a file that another program may have written from a copy which it had read before we took
// something out: removed is what came back then, newest first, and goes as well. revived tells that some of it was there.
//
// Names alone decide for what is ours now; they are not enough for what was: somebody may have written an element of such
// a name on purpose. So a state counts as revived only when one of its elements that bear our own names is at its place with
// the content that we wrote. Server variables and rewrite maps, whose names anybody may use, go along with such an element,
// never on their own, and attributes of pools are left alone.
func (c *Config) StripRevived(edits []Edit, removed []Removed) (base *Config, exact, revived bool, err error) {
	base, exact, err = c.Strip(edits)
	if err != nil || len(removed) == 0 {
		return base, exact, false, err
	}
	if !exact && !c.holds(edits) {
		// When a whole earlier state is back it is taken out as it was put in; the names of what is ours now could only
		// take it apart.
		for _, r := range removed {
			if older, ok := c.withoutWhole(r); ok {
				if base, _, err = older.Strip(edits); err != nil {
					return nil, false, false, err
				}
				revived = true
				break
			}
		}
	}
	for _, r := range removed {
		next, found, err := base.withoutRevived(r)
		if err != nil {
			return nil, false, false, fmt.Errorf("strip what came back: %w", err)
		}
		base, revived = next, revived || found
	}
	if base == c || bytes.Equal(base.doc.Data, c.doc.Data) {
		return c, exact, revived, nil
	}
	base.origin = c
	return base, exact, revived, nil
}

// holds reports whether every insert stands in the file as it was made.
func (c *Config) holds(edits []Edit) bool {
	return !slices.ContainsFunc(edits, func(e Edit) bool {
		if e.Kind != Insert {
			return false
		}
		_, ok := c.verbatim(e)
		return !ok
	})
}

// withoutWhole takes out a state of which everything is there as it was made.
func (c *Config) withoutWhole(r Removed) (*Config, bool) {
	if !slices.ContainsFunc(r.Edits, func(e Edit) bool { return len(c.revivedElements(e, Section.ownNames)) > 0 }) {
		return nil, false
	}
	splices := make([]lossless.Splice, 0, len(r.Edits))
	for _, e := range r.Edits {
		s, ok := c.verbatim(e)
		if !ok {
			return nil, false
		}
		splices = append(splices, s)
	}
	data, err := lossless.Apply(c.doc.Data, splices)
	if err != nil {
		return nil, false
	}
	older, err := c.scan(data)
	return older, err == nil
}

// withoutRevived takes out what is there of a state.
func (c *Config) withoutRevived(r Removed) (base *Config, found bool, err error) {
	if !slices.ContainsFunc(r.Edits, func(e Edit) bool { return len(c.revivedElements(e, Section.ownNames)) > 0 }) {
		return c, false, nil
	}
	for _, e := range slices.Backward(r.Edits) {
		data := c.doc.Data
		if s, ok := c.verbatim(e); ok {
			data, err = lossless.Apply(data, []lossless.Splice{s})
		} else if list := c.revivedElements(e, Section.distinct); len(list) > 0 {
			data, err = c.without(data, c.doc, list, e)
		}
		if err == nil {
			c, err = c.scan(data)
		}
		if err != nil {
			return nil, false, err
		}
	}
	return c, true, nil
}

// ownNames tells whether the names in a section are ours alone, since ReadContent made them.
func (s Section) ownNames() bool { return s.distinct() && s != RewriteMaps }

// distinct tells whether an element of a section says by its content whose it is. A server variable is just its name.
func (s Section) distinct() bool { return s != ServerVariables }

// revivedElements gives the elements of an edit in some of the sections that are there with the content that they had.
func (c *Config) revivedElements(e Edit, in func(Section) bool) []*lossless.Element {
	var out []*lossless.Element
	var written *lossless.Document
	for _, part := range e.Parts {
		if !in(part.Section) {
			continue
		}
		for _, list := range c.elementsAt(part.Path, c.way(part.Section)) {
			for _, r := range children(list, part.Section.element()) {
				if !slices.Contains(part.Names, r.Value("name")) {
					continue
				}
				if written == nil {
					var err error
					if written, err = lossless.Scan(slices.Concat([]byte("<written>"), e.After, []byte("</written>"))); err != nil {
						return nil
					}
				}
				if contains(written.Root, r) {
					out = append(out, r)
				}
			}
		}
	}
	return out
}

// contains reports whether an element like another stands anywhere below e.
func contains(e, other *lossless.Element) bool {
	return slices.ContainsFunc(e.Children, func(child *lossless.Element) bool {
		return sameElement(child, other) || contains(child, other)
	})
}
