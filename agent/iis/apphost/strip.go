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
// then rules go by their names, wrappers that came with them go if nothing foreign is left inside, and a pool gets
// back its attribute if it still has the value that we gave it. An edit of which nothing is left is no error.
func Strip(current []byte, edits []Edit) (base []byte, exact bool, err error) {
	if _, err := Parse(current); err != nil {
		return nil, false, err
	}
	base, exact = current, true
	for _, edit := range slices.Backward(edits) {
		doc, err := lossless.Scan(base)
		if err != nil {
			return nil, false, fmt.Errorf("strip: own result: %w", err)
		}
		found := false
		switch edit.Kind {
		case InsertRules:
			base, found, err = stripRules(doc, edit)
		case SetAutoStart:
			base, found, err = stripAutoStart(&Config{doc: doc}, edit)
		default:
			err = fmt.Errorf("strip: edit of kind %q: unknown to this version", edit.Kind)
		}
		if err != nil {
			return nil, false, err
		}
		exact = exact && found
	}
	if _, err := Parse(base); err != nil {
		return nil, false, fmt.Errorf("strip: own result: %w", err)
	}
	return base, exact, nil
}

func stripRules(doc *lossless.Document, e Edit) ([]byte, bool, error) {
	if at := verbatim(doc, e.After); at >= 0 {
		out, err := lossless.Apply(doc.Data, []lossless.Splice{{Start: at, End: at + len(e.After), New: e.Before}})
		return out, true, err
	}
	out, err := stripByName(doc, e)
	return out, false, err
}

// verbatim finds the one place where the inserted bytes stand as live elements, or gives -1. Somebody may have put
// our block into a comment, or copied it.
func verbatim(doc *lossless.Document, after []byte) int {
	first := bytes.IndexByte(after, '<')
	if first < 0 {
		return -1
	}
	found := -1
	for from := 0; ; {
		i := bytes.Index(doc.Data[from:], after)
		if i < 0 {
			return found
		}
		if doc.ElementAt(from+i+first) != nil {
			if found >= 0 {
				return -1
			}
			found = from + i
		}
		from += i + 1
	}
}

func stripByName(doc *lossless.Document, e Edit) ([]byte, error) {
	ours := map[string]bool{}
	for _, name := range e.Rules {
		ours[strings.ToLower(name)] = true
	}
	var splices []lossless.Splice
	for _, rules := range sectionsAt(doc, e.Path, chain) {
		for _, r := range children(rules, "rule") {
			if ours[strings.ToLower(r.Value("name"))] {
				splices = append(splices, removal(doc, r))
			}
		}
	}
	data, err := lossless.Apply(doc.Data, splices)
	if err != nil {
		return nil, err
	}
	for n := len(e.Created); n > 0; n-- {
		if data, err = dropEmpty(data, e, chainTo(e.Created[n-1])); err != nil {
			return nil, err
		}
	}
	if e.Expanded != "" {
		return closeAgain(data, e)
	}
	return data, nil
}

// chainTo gives the way from a location to one of its wrappers; it is empty for the location itself.
func chainTo(wrapper string) []string {
	for i, name := range chain {
		if name == wrapper {
			return chain[:i+1]
		}
	}
	return nil
}

// sectionsAt gives every element at the end of a way below the locations of a path.
func sectionsAt(doc *lossless.Document, path string, way []string) []*lossless.Element {
	var out []*lossless.Element
	for _, l := range children(doc.Root, "location") {
		if !strings.EqualFold(locationPath(l), cleanPath(path)) {
			continue
		}
		level := []*lossless.Element{l}
		for _, name := range way {
			var next []*lossless.Element
			for _, e := range level {
				next = append(next, children(e, name)...)
			}
			level = next
		}
		out = append(out, level...)
	}
	return out
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
func dropEmpty(data []byte, e Edit, way []string) ([]byte, error) {
	doc, err := lossless.Scan(data)
	if err != nil {
		return nil, err
	}
	for _, w := range sectionsAt(doc, e.Path, way) {
		own := 0
		if len(way) == 0 {
			own = 1 // the path
		}
		if len(w.Children) == 0 && w.Bare && len(w.Attrs) == own {
			return lossless.Apply(data, []lossless.Splice{removal(doc, w)})
		}
	}
	return data, nil
}

// closeAgain gives back the self-closing tag of an element that was opened for our rules and is empty again.
func closeAgain(data []byte, e Edit) ([]byte, error) {
	doc, err := lossless.Scan(data)
	if err != nil {
		return nil, err
	}
	elements := sectionsAt(doc, e.Path, chainTo(e.Expanded))
	if e.Expanded == doc.Root.Name {
		elements = []*lossless.Element{doc.Root}
	}
	for _, w := range elements {
		if len(w.Children) == 0 && w.Bare && bytes.Equal(doc.Data[w.Start:w.StartEnd], openedTag(e.Before)) {
			return lossless.Apply(data, []lossless.Splice{{Start: w.Start, End: w.End, New: e.Before}})
		}
	}
	return data, nil
}

// stripAutoStart restores the attribute. A value that is no longer "false" was written by somebody after us and stays.
func stripAutoStart(c *Config, e Edit) ([]byte, bool, error) {
	data := c.doc.Data
	pool := c.pool(e.Path)
	if pool == nil {
		return data, false, nil
	}
	a := pool.Attr("autoStart")
	if a == nil || !strings.EqualFold(a.Value, "false") {
		return data, a != nil && bytes.Equal(data[a.Start:a.End], e.Before), nil
	}
	start := a.Start
	if len(e.Before) == 0 {
		for start > 0 && strings.IndexByte(" \t\r\n", data[start-1]) >= 0 {
			start--
		}
	}
	exact := bytes.Equal(data[start:a.End], e.After)
	out, err := lossless.Apply(data, []lossless.Splice{{Start: start, End: a.End, New: e.Before}})
	return out, exact, err
}
