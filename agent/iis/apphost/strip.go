package apphost

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Strip takes everything of ours out of a file. With exact, every edit was found as it was made and the rest of the
// file is, byte for byte, what it would be without us. Without exact somebody had changed or removed something of ours:
// then elements go by their names, wrappers that came with them go if nothing foreign is left inside, and a pool gets
// back its attribute if it still has the value that we gave it. An edit of which nothing is left is no error, nor is one
// that another covers: after an interrupted change the edits of two states are given, which may say the same.
//
// The base has been read by one reader only, since its bytes nearly always go into Render, which has both read the result.
// CrossCheck has to be called before the bytes of the base themselves are written.
func (c *Config) Strip(edits []Edit) (base *Config, exact bool, err error) {
	if len(edits) == 0 {
		return c, true, nil
	}
	exact = true
	var splices []lossless.Splice
	var lost []Edit
	for _, e := range edits {
		switch e.Kind {
		case Insert:
			if s, ok := c.verbatim(e); ok {
				splices = append(splices, s)
			} else {
				lost = append(lost, e)
			}
		case SetAttribute:
			more, ok := c.restoreAttribute(e)
			splices, exact = append(splices, more...), exact && ok
		default:
			return nil, false, fmt.Errorf("strip: edit of kind %q: unknown to this version", e.Kind)
		}
	}
	splices, partly := apart(splices)
	data, err := lossless.Apply(c.doc.Data, splices)
	if err != nil {
		return nil, false, fmt.Errorf("strip: %w", err)
	}
	if partly {
		lost = slices.Clone(edits)
	}
	for _, e := range slices.Backward(lost) {
		if e.Kind != Insert {
			continue
		}
		exact = false
		if data, err = c.stripByName(data, e); err != nil {
			return nil, false, fmt.Errorf("strip: %w", err)
		}
	}
	if bytes.Equal(data, c.doc.Data) {
		return c, exact, nil
	}
	if base, err = c.scan(data); err != nil {
		return nil, false, fmt.Errorf("strip: own result: %w", err)
	}
	if was, is := c.doc.Root.Name, base.doc.Root.Name; was != is {
		return nil, false, fmt.Errorf("strip: own result: root element %q where %q was", is, was)
	}
	base.origin = c
	return base, exact, nil
}

// apart leaves out splices that lie in others, so that the rest can be applied together. partly tells that one was left out
// of which something lies outside.
func apart(splices []lossless.Splice) (rest []lossless.Splice, partly bool) {
	widest := slices.Clone(splices)
	slices.SortStableFunc(widest, func(a, b lossless.Splice) int { return (b.End - b.Start) - (a.End - a.Start) })
	for _, s := range widest {
		i := slices.IndexFunc(rest, func(r lossless.Splice) bool {
			return s.Start < r.End && r.Start < s.End || s.Start == r.Start && s.End == r.End
		})
		switch {
		case i < 0:
			rest = append(rest, s)
		case s.Start < rest[i].Start || s.End > rest[i].End:
			partly = true
		}
	}
	return rest, partly
}

// verbatim finds the one place where the inserted bytes stand as live elements in the element that they were put into.
// Somebody may have put our block into a comment, or copied it.
func (c *Config) verbatim(e Edit) (lossless.Splice, bool) {
	first := bytes.IndexByte(e.After, '<')
	if first < 0 {
		return lossless.Splice{}, false
	}
	found, count := -1, 0
	for from := 0; ; {
		i := bytes.Index(c.doc.Data[from:], e.After)
		if i < 0 {
			break
		}
		if el := c.doc.ElementAt(from + i + first); el != nil {
			if !e.Expanded && el.Parent != nil {
				el = el.Parent
			}
			if addressOf(el) == e.At {
				found = from + i
				count++
			}
		}
		from += i + 1
	}
	return lossless.Splice{Start: found, End: found + len(e.After), New: e.Before}, count == 1
}

// scan reads bytes between two steps of ours.
func (c *Config) scan(data []byte) (*Config, error) {
	doc, err := lossless.Scan(data)
	if err != nil {
		return nil, err
	}
	return &Config{doc: doc, source: c.source}, nil
}

func (c *Config) stripByName(data []byte, e Edit) ([]byte, error) {
	now, err := c.scan(data)
	if err != nil {
		return nil, err
	}
	var found []*lossless.Element
	for _, part := range e.Parts {
		for _, list := range now.elementsAt(part.Path, now.way(part.Section)) {
			for _, r := range children(list, part.Section.element()) {
				if slices.ContainsFunc(part.Names, func(name string) bool { return strings.EqualFold(name, r.Value("name")) }) {
					found = append(found, r)
				}
			}
		}
	}
	return c.without(data, now.doc, found, e)
}

// without removes elements of an edit, and then the wrappers of the edit in which nothing is left.
func (c *Config) without(data []byte, doc *lossless.Document, found []*lossless.Element, e Edit) ([]byte, error) {
	splices := make([]lossless.Splice, 0, len(found))
	for _, r := range found {
		splices = append(splices, removal(doc, r))
	}
	data, err := lossless.Apply(data, splices)
	if err != nil {
		return nil, err
	}
	for _, w := range slices.Backward(e.Created) {
		if data, err = c.dropEmpty(data, w); err != nil {
			return nil, err
		}
	}
	if e.Expanded {
		return c.closeAgain(data, e)
	}
	return data, nil
}

// removal cuts an element with the line that it stands on.
func removal(doc *lossless.Document, e *lossless.Element) lossless.Splice {
	start := e.Start
	if indent, own := doc.Indent(e); own {
		start -= len(indent)
		if start > 0 && doc.Data[start-1] == '\n' {
			start--
			if start > 0 && doc.Data[start-1] == '\r' {
				start--
			}
		}
	}
	return lossless.Splice{Start: start, End: e.End}
}

// dropEmpty removes a wrapper of ours that holds nothing any more. One with an attribute that we did not write, or with
// a comment in it, has become somebody else's.
func (c *Config) dropEmpty(data []byte, w Wrapper) ([]byte, error) {
	now, err := c.scan(data)
	if err != nil {
		return nil, err
	}
	for _, e := range now.elementsAt(w.Path, w.Way) {
		own := 0
		if e.Name == "location" {
			own = 1 // the path
		}
		if e.Parent != nil && len(e.Children) == 0 && e.Bare && len(e.Attrs()) == own {
			return lossless.Apply(data, []lossless.Splice{removal(now.doc, e)})
		}
	}
	return data, nil
}

// closeAgain gives back the self-closing tag of an element that was opened for our content and is empty again.
func (c *Config) closeAgain(data []byte, e Edit) ([]byte, error) {
	now, err := c.scan(data)
	if err != nil {
		return nil, err
	}
	for _, w := range now.at(e.At) {
		if len(w.Children) == 0 && w.Bare && bytes.Equal(data[w.Start:w.StartEnd], openedTag(e.Before)) {
			return lossless.Apply(data, []lossless.Splice{{Start: w.Start, End: w.End, New: e.Before}})
		}
	}
	return data, nil
}

// at gives the elements that have an address.
func (c *Config) at(address string) []*lossless.Element {
	path, names, inLocation := strings.Cut(address, "#")
	if !inLocation {
		path, names = "", address
	}
	var way []string
	if names != "" {
		way = strings.Split(names, "/")
	}
	var out []*lossless.Element
	for _, level := range c.levels(path) {
		if inLocation == (level.Name == "location" && level.Parent != nil) {
			out = append(out, follow(level, way)...)
		}
	}
	return out
}

// Bare reports whether nothing but an empty root element is left in a file.
func (c *Config) Bare() bool {
	root := c.doc.Root
	return len(root.Children) == 0 && len(root.Attrs()) == 0 && root.Bare
}
