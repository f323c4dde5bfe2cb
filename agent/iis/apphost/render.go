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
	// InsertRules puts rules, with the wrappers that they need, into a location.
	InsertRules Kind = "InsertRules"
	// SetAutoStart sets autoStart="false" on an application pool.
	SetAutoStart Kind = "SetAutoStart"
)

// Edit is one splice as it was made: Before was replaced by After. It holds no offset, because others change the file
// in front of it; Strip finds the place again by the bytes of After, or by the names.
type Edit struct {
	Kind   Kind   `json:"kind"`
	Path   string `json:"path"` // of the location; for SetAutoStart the name of the pool
	Before []byte `json:"before,omitempty"`
	After  []byte `json:"after"`
	// Rules are the names of the inserted rules.
	Rules []string `json:"rules,omitempty"`
	// Created names the wrapper elements that came with the rules, the outermost first.
	Created []string `json:"created,omitempty"`
	// Expanded names the element that was self-closing and had to be opened.
	Expanded string `json:"expanded,omitempty"`
}

// Render puts everything wanted into base, which must hold nothing of ours. The result is a pure function of its
// arguments and is well-formed; edits undo it. Render looks at the places only; whether the server has the sites and
// the module is what Check says. Refusals are *refusal.Error.
func Render(base []byte, wanted Wanted) (out []byte, edits []Edit, err error) {
	c, err := Parse(base)
	if err != nil {
		return nil, nil, err
	}
	places := wanted.places()
	if err := c.checkNames(places); err != nil {
		return nil, nil, err
	}
	out = base
	for _, p := range places {
		// Read again after every edit: two places may need the same insertion point, or one may have made it.
		doc, err := lossless.Scan(out)
		if err != nil {
			return nil, nil, fmt.Errorf("render: own result: %w", err)
		}
		splice, edit, err := insertRules(&Config{doc: doc}, p)
		if err != nil {
			return nil, nil, err
		}
		if out, err = lossless.Apply(out, []lossless.Splice{splice}); err != nil {
			return nil, nil, err
		}
		edits = append(edits, edit)
	}
	out, poolEdits, err := disablePools(out, wanted.pools())
	if err != nil {
		return nil, nil, err
	}
	if _, err := Parse(out); err != nil {
		return nil, nil, fmt.Errorf("render: own result: %w", err)
	}
	return out, append(edits, poolEdits...), nil
}

func insertRules(c *Config, p place) (lossless.Splice, Edit, error) {
	edit := Edit{Kind: InsertRules, Path: p.path}
	for _, r := range p.rules {
		edit.Rules = append(edit.Rules, r.Name)
	}
	location, err := c.target(p.path)
	if err != nil {
		return lossless.Splice{}, edit, err
	}
	parent, missing := c.doc.Root, chain
	if location == nil {
		edit.Created = append([]string{"location"}, chain...)
	} else {
		var depth int
		parent, depth = deepest(location)
		missing = chain[depth:]
		edit.Created = append([]string(nil), missing...)
	}
	w := writer{newline: c.doc.LineEndAt(parent.Start), unit: c.doc.IndentUnit()}
	tags := make([]string, 0, len(missing)+1)
	if location == nil {
		tags = append(tags, `location path="`+lossless.EscapeAttr(p.path)+`"`)
	}
	tags = append(tags, missing...)
	if err := w.nest(tags, c.doc.ChildIndent(parent), p.rules); err != nil {
		return lossless.Splice{}, edit, err
	}
	splice := c.place(parent, w, &edit)
	edit.After = splice.New
	return splice, edit, nil
}

// place decides where the text goes inside its parent.
func (c *Config) place(parent *lossless.Element, w writer, edit *Edit) lossless.Splice {
	data := c.doc.Data
	indent, _ := c.doc.Indent(parent)
	if parent.SelfClosing {
		edit.Expanded = parent.Name
		edit.Before = bytes.Clone(data[parent.Start:parent.End])
		text := append(openedTag(edit.Before), w.out.Bytes()...)
		text = append(text, w.newline+indent+"</"+parent.Name+">"...)
		return lossless.Splice{Start: parent.Start, End: parent.End, New: text}
	}
	at := parent.StartEnd
	switch {
	case parent.Parent == nil && len(parent.Children) > 0:
		// A location must follow configSections, so it becomes the last child of the root.
		at = parent.Children[len(parent.Children)-1].End
	case parent.Name == "rules":
		at = afterClears(parent)
	}
	text := bytes.Clone(w.out.Bytes())
	if rest := bytes.TrimLeft(data[at:], " \t"); len(rest) == 0 || (rest[0] != '\n' && rest[0] != '\r') {
		if bytes.HasPrefix(rest, []byte("</")) {
			text = append(text, w.newline+indent...)
		} else {
			text = append(text, w.newline+c.doc.ChildIndent(parent)...)
		}
	}
	return lossless.Splice{Start: at, End: at, New: text}
}

// openedTag turns the bytes of a self-closing tag into a start tag.
func openedTag(tag []byte) []byte {
	opened := bytes.TrimRight(bytes.TrimSuffix(tag, []byte("/>")), " \t\r\n")
	return append(bytes.Clone(opened), '>')
}

// afterClears gives the first offset in <rules> whose rules are not cleared again: behind the last <clear />, and
// behind the run of <clear /> and <remove /> at the start, which must come before additions.
func afterClears(rules *lossless.Element) int {
	at, leading := rules.StartEnd, true
	for _, e := range rules.Children {
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

// nest writes the tags into each other and the rules into the innermost.
func (w *writer) nest(tags []string, indent string, rules []Rule) error {
	if len(tags) == 0 {
		for _, r := range rules {
			doc, err := lossless.Parse(r.XML)
			if err != nil {
				return refusal.Wrap(refusal.UnsupportedContent, err, "rule %q: not readable", r.Name)
			}
			if doc.Root.Name != "rule" || doc.Root.Value("name") != r.Name {
				return refusal.New(refusal.UnsupportedContent, "rule %q: element %q with name %q", r.Name, doc.Root.Name, doc.Root.Value("name"))
			}
			w.element(doc, doc.Root, indent)
		}
		return nil
	}
	name, _, _ := strings.Cut(tags[0], " ")
	w.out.WriteString(w.newline + indent + "<" + tags[0] + ">")
	if err := w.nest(tags[1:], indent+w.unit, rules); err != nil {
		return err
	}
	w.out.WriteString(w.newline + indent + "</" + name + ">")
	return nil
}

// element writes one element of a rule. Start tags are taken as they are, so attribute values keep their spelling;
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

func disablePools(data []byte, names []string) ([]byte, []Edit, error) {
	if len(names) == 0 {
		return data, nil, nil
	}
	doc, err := lossless.Scan(data)
	if err != nil {
		return nil, nil, fmt.Errorf("render: own result: %w", err)
	}
	c := &Config{doc: doc}
	var splices []lossless.Splice
	var edits []Edit
	for _, name := range names {
		pool := c.pool(name)
		if pool == nil {
			return nil, nil, refusal.New(refusal.PoolNotFound, "application pool %q: not on this server", name)
		}
		edit := Edit{Kind: SetAutoStart, Path: name, After: []byte(`autoStart="false"`)}
		a := pool.Attr("autoStart")
		switch {
		case a == nil:
			// Right behind the name, where the schema has it and the administration tools would write it.
			at := pool.Attr("name").End
			edit.After = []byte(` autoStart="false"`)
			splices = append(splices, lossless.Splice{Start: at, End: at, New: edit.After})
		case strings.EqualFold(a.Value, "false"):
			continue // already off, and not by us: nothing to undo
		default:
			edit.Before = bytes.Clone(data[a.Start:a.End])
			splices = append(splices, lossless.Splice{Start: a.Start, End: a.End, New: edit.After})
		}
		edits = append(edits, edit)
	}
	out, err := lossless.Apply(data, splices)
	return out, edits, err
}
