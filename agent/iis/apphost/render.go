package apphost

import (
	"bytes"
	"fmt"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// Kind tells what an edit does.
type Kind string

// Kinds of edits.
const (
	// Insert puts elements, with the wrappers that they need, into one element of the file.
	Insert Kind = "Insert"
	// SetAttribute sets an attribute of an application pool.
	SetAttribute Kind = "SetAttribute"
)

// Edit is one splice as it was made: Before was replaced by After. It holds no offset, because others change the file
// in front of it; Strip finds the place again by the bytes of After, or by the names.
type Edit struct {
	Kind   Kind   `json:"kind"`
	Before []byte `json:"before,omitempty"`
	After  []byte `json:"after"`

	// At is the address of the element that an Insert put something into.
	At    string `json:"at,omitempty"`
	Parts []Part `json:"parts,omitempty"`
	// Created lists the wrapper elements that came with the parts, outer ones first.
	Created []Wrapper `json:"created,omitempty"`
	// Expanded is true when the element was self-closing and had to be opened.
	Expanded bool `json:"expanded,omitempty"`

	// Path is the name of the pool, and Attribute what was set on it.
	Path      string `json:"path,omitempty"`
	Attribute string `json:"attribute,omitempty"`
}

// Part names the inserted elements of one section at one level.
type Part struct {
	Path    string   `json:"path"`
	Section Section  `json:"section"`
	Names   []string `json:"names"`
}

// Wrapper is an element that was made to hold others: the way to it from the level of a path. The way of the location
// itself is empty.
type Wrapper struct {
	Path string   `json:"path"`
	Way  []string `json:"way,omitempty"`
}

// node is an element to be written, with what goes into it.
type node struct {
	tag      string // name and attributes
	items    []Item
	element  string // name of the items
	children []*node
}

// child gives the child of that tag, which is made if it is missing.
func (n *node) child(tag string) (_ *node, made bool) {
	for _, c := range n.children {
		if c.tag == tag {
			return c, false
		}
	}
	c := &node{tag: tag}
	n.children = append(n.children, c)
	return c, true
}

// insertion is everything that goes into one element of the file.
type insertion struct {
	parent  *lossless.Element
	content node
	edit    Edit
}

// Render puts everything wanted into c, which must hold nothing of ours. The result is a pure function of its
// arguments and is well-formed; edits undo it. Render looks at the places only; whether the server has the sites and
// the module is what Check says. Refusals are *refusal.Error.
func (c *Config) Render(wanted Wanted) (*Config, []Edit, error) {
	places := c.places(wanted)
	if err := c.checkNames(places); err != nil {
		return nil, nil, err
	}
	insertions, err := c.insertions(places)
	if err != nil {
		return nil, nil, err
	}
	splices := make([]lossless.Splice, 0, len(insertions))
	edits := make([]Edit, 0, len(insertions))
	for _, in := range insertions {
		splice, err := c.insert(in)
		if err != nil {
			return nil, nil, err
		}
		splices, edits = append(splices, splice), append(edits, in.edit)
	}
	poolSplices, poolEdits, err := c.disablePools(wanted.pools())
	if err != nil {
		return nil, nil, err
	}
	if splices = append(splices, poolSplices...); len(splices) == 0 {
		return c, nil, nil
	}
	data, err := lossless.Apply(c.doc.Data, splices)
	if err != nil {
		return nil, nil, fmt.Errorf("render: %w", err)
	}
	if c.origin != nil && bytes.Equal(data, c.origin.doc.Data) {
		return c.origin, append(edits, poolEdits...), nil
	}
	out, err := c.again(data)
	if err != nil {
		return nil, nil, fmt.Errorf("render: own result: %w", err)
	}
	return out, append(edits, poolEdits...), nil
}

// insertions decides which elements of the file get what.
func (c *Config) insertions(places []place) ([]*insertion, error) {
	var out []*insertion
	for _, p := range places {
		for _, g := range p.groups {
			level, err := c.target(p.path, g.Section)
			if err != nil {
				return nil, err
			}
			way := c.way(g.Section)
			parent, depth := c.doc.Root, 0
			if level != nil {
				parent, depth = deepest(level, way)
			}
			in := findInsertion(&out, parent)
			n := &in.content
			if level == nil {
				var made bool
				if n, made = n.child(`location path="` + lossless.EscapeAttr(p.path) + `"`); made {
					in.edit.Created = append(in.edit.Created, Wrapper{Path: p.path})
				}
			}
			for i := depth; i < len(way); i++ {
				var made bool
				if n, made = n.child(way[i]); made {
					in.edit.Created = append(in.edit.Created, Wrapper{Path: p.path, Way: way[:i+1]})
				}
			}
			n.items, n.element = append(n.items, g.Items...), g.Section.element()
			part := Part{Path: p.path, Section: g.Section}
			for _, item := range g.Items {
				part.Names = append(part.Names, item.Name)
			}
			in.edit.Parts = append(in.edit.Parts, part)
		}
	}
	return out, nil
}

func findInsertion(list *[]*insertion, parent *lossless.Element) *insertion {
	for _, in := range *list {
		if in.parent == parent {
			return in
		}
	}
	in := &insertion{parent: parent, edit: Edit{Kind: Insert, At: addressOf(parent)}}
	*list = append(*list, in)
	return in
}

// insert formats an insertion and decides where the text goes inside its parent.
func (c *Config) insert(in *insertion) (lossless.Splice, error) {
	data, parent := c.doc.Data, in.parent
	w := writer{newline: c.doc.LineEndAt(parent.Start), unit: c.doc.IndentUnit()}
	childIndent := c.doc.ChildIndent(parent)
	if err := w.inside(&in.content, childIndent); err != nil {
		return lossless.Splice{}, err
	}
	indent, _ := c.doc.Indent(parent)
	text := w.out.Bytes()
	if parent.SelfClosing {
		in.edit.Expanded = true
		in.edit.Before = bytes.Clone(data[parent.Start:parent.End])
		in.edit.After = append(append(openedTag(in.edit.Before), text...), w.newline+indent+"</"+parent.Name+">"...)
		return lossless.Splice{Start: parent.Start, End: parent.End, New: in.edit.After}, nil
	}
	at := parent.StartEnd
	switch {
	case len(in.content.items) > 0:
		at = afterClears(parent)
	case parent.Parent == nil && len(parent.Children) > 0:
		// Content of the file must follow configSections, so it becomes the last child of the root.
		at = parent.Children[len(parent.Children)-1].End
	}
	if rest := bytes.TrimLeft(data[at:], " \t"); len(rest) == 0 || (rest[0] != '\n' && rest[0] != '\r') {
		if bytes.HasPrefix(rest, []byte("</")) {
			text = append(text, w.newline+indent...)
		} else {
			text = append(text, w.newline+childIndent...)
		}
	}
	in.edit.After = text
	return lossless.Splice{Start: at, End: at, New: text}, nil
}

// openedTag turns the bytes of a self-closing tag into a start tag.
func openedTag(tag []byte) []byte {
	opened := bytes.TrimRight(bytes.TrimSuffix(tag, []byte("/>")), " \t\r\n")
	return append(bytes.Clone(opened), '>')
}

// afterClears gives the first offset in a section whose elements are not cleared again: behind the last <clear />, and
// behind the run of <clear /> and <remove /> at the start, which must come before additions.
func afterClears(section *lossless.Element) int {
	at, leading := section.StartEnd, true
	for _, e := range section.Children {
		leading = leading && (e.Name == "clear" || e.Name == "remove")
		if leading || e.Name == "clear" {
			at = e.End
		}
	}
	return at
}

// writer formats inserted elements, one on a line, each with its line end and indentation in front.
type writer struct {
	out           bytes.Buffer
	newline, unit string
}

// inside writes the content of a node: its items, which shall come first in their section, and the elements in it.
func (w *writer) inside(n *node, indent string) error {
	for _, item := range n.items {
		doc, err := lossless.Scan(item.XML)
		if err != nil {
			return refusal.Wrap(refusal.UnsupportedContent, err, "%s %q: not readable", n.element, item.Name)
		}
		if doc.Root.Name != n.element || doc.Root.Value("name") != item.Name {
			return unsupported("%s %q: element %q with name %q", n.element, item.Name, doc.Root.Name, doc.Root.Value("name"))
		}
		w.element(doc, doc.Root, indent)
	}
	for _, child := range n.children {
		name, _, _ := strings.Cut(child.tag, " ")
		w.out.WriteString(w.newline + indent + "<" + child.tag + ">")
		if err := w.inside(child, indent+w.unit); err != nil {
			return err
		}
		w.out.WriteString(w.newline + indent + "</" + name + ">")
	}
	return nil
}

// element writes one element of an item. Start tags are taken as they are, so attribute values keep their spelling;
// white space between elements is ours; an empty pair of tags, which canonical XML always writes, becomes one tag.
func (w *writer) element(doc *lossless.Document, e *lossless.Element, indent string) {
	tag := bytes.TrimSuffix(bytes.TrimSuffix(doc.Data[e.Start:e.StartEnd], []byte(">")), []byte("/"))
	tag = bytes.TrimRight(tag, " \t\r\n")
	w.out.WriteString(w.newline + indent)
	w.out.Write(tag)
	if len(e.Children) == 0 {
		w.out.WriteString(" />")
		return
	}
	w.out.WriteString(">")
	for _, c := range e.Children {
		w.element(doc, c, indent+w.unit)
	}
	w.out.WriteString(w.newline + indent + "</" + e.Name + ">")
}
