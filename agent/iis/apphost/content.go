package apphost

import (
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// MaxContentBytes of one <rewrite> element: the whole signed document has at most 1 MiB.
const MaxContentBytes = 1 << 20

// ReadContent takes the elements out of a <rewrite> element as a document carries it, for the level of a path, and gives
// rules, preconditions and custom tags their installed names: prefix followed by a blank and the name in the document.
// References to preconditions and custom tags follow. Rewrite maps and server variables keep their names: a map is named
// inside of templates, {map:key}, where no name with a blank is known to work, and a server variable is its name.
//
// <clear>, <remove> and whatever rewrite_schema.xml of URL Rewrite 2.0 does not know are refused with UnsupportedContent:
// IIS would answer every request of the site with 500.19. So are attributes of the sections themselves, which would change
// what other people's rules do.
func ReadContent(rewrite []byte, path, prefix string) (Wanted, error) {
	var w Wanted
	if len(rewrite) > MaxContentBytes {
		return w, unsupported("rewrite: %d bytes: more than the limit of %d", len(rewrite), MaxContentBytes)
	}
	doc, err := lossless.Parse(rewrite)
	if err != nil {
		return w, refusal.Wrap(refusal.UnsupportedContent, err, "rewrite: not readable")
	}
	if doc.Root.Name != "rewrite" {
		return w, unsupported("rewrite: element %q where <rewrite> is expected", doc.Root.Name)
	}
	if err := rewriteSchema.check(doc, doc.Root, "rewrite"); err != nil {
		return w, err
	}
	items := map[Section][]Item{}
	for _, section := range doc.Root.Children {
		if section.Name == string(GlobalRules) && cleanPath(path) != "" {
			return w, unsupported("rewrite: <globalRules> at %q: they only exist for the whole server", path)
		}
		if err := readSection(doc, section, Section(section.Name), prefix, items); err != nil {
			return w, err
		}
	}
	for _, known := range sections {
		if len(items[known.name]) > 0 {
			w.Groups = append(w.Groups, Group{Path: path, Section: known.name, Items: items[known.name]})
		}
	}
	if len(w.Groups) == 0 {
		return w, unsupported("rewrite: no rule in it")
	}
	return w, nil
}

func unsupported(format string, args ...any) error {
	return refusal.New(refusal.UnsupportedContent, format, args...)
}

// readSection puts the elements of a section and of the collections in it to the others.
func readSection(doc *lossless.Document, e *lossless.Element, s Section, prefix string, items map[Section][]Item) error {
	rename := renames{prefix: prefix, attrs: []string{"name"}}
	switch s {
	case OutboundRules:
		for _, list := range e.Children {
			if inner := s + Section("/"+list.Name); inner.element() != "" {
				if err := readSection(doc, list, inner, prefix, items); err != nil {
					return err
				}
			}
		}
		rename.attrs = []string{"name", "preCondition", "customTags"}
	case RewriteMaps, ServerVariables:
		rename.attrs = nil
	default:
	}
	for _, child := range e.Children {
		if child.Name != s.element() {
			continue
		}
		for _, r := range []struct {
			attr   string
			target Section
		}{{"preCondition", PreConditions}, {"customTags", CustomTags}} {
			if name, used := reference(child, r.attr); used && s == OutboundRules && !hasItem(items[r.target], prefix+" "+name) {
				return unsupported("rewrite: rule %q: %s %q: not in this action, and those of others are not used", child.Value("name"), r.attr, name)
			}
		}
		item, err := rename.item(doc, child)
		if err != nil {
			return err
		}
		items[s] = append(items[s], item)
	}
	return nil
}

// reference finds the attribute on a rule or on its match.
func reference(e *lossless.Element, attr string) (string, bool) {
	for _, from := range append([]*lossless.Element{e}, children(e, "match")...) {
		if a := from.Attr(attr); a != nil && a.Value != "" {
			return a.Value, true
		}
	}
	return "", false
}

func hasItem(items []Item, name string) bool {
	return slices.ContainsFunc(items, func(i Item) bool { return strings.EqualFold(i.Name, name) })
}

// renames says which attributes of an element, and of its <match>, get a prefix.
type renames struct {
	prefix string
	attrs  []string
}

func (r renames) item(doc *lossless.Document, e *lossless.Element) (Item, error) {
	item := Item{Name: e.Value("name")}
	var splices []lossless.Splice
	for _, attr := range r.attrs {
		for _, from := range append([]*lossless.Element{e}, children(e, "match")...) {
			if a := from.Attr(attr); a != nil && a.Value != "" {
				splices = append(splices, lossless.Splice{Start: a.Start - e.Start, End: a.End - e.Start,
					New: []byte(attr + `="` + lossless.EscapeAttr(r.prefix+" "+a.Value) + `"`)})
			}
		}
	}
	if slices.Contains(r.attrs, "name") {
		item.Name = r.prefix + " " + item.Name
	}
	var err error
	if item.XML, err = lossless.Apply(doc.Data[e.Start:e.End], splices); err != nil {
		return item, fmt.Errorf("rewrite: %w", err)
	}
	return item, nil
}

// SetsVariables gives the server variables that an inbound rule sets.
func (i Item) SetsVariables() []string {
	doc, err := lossless.Scan(i.XML)
	if err != nil {
		return nil
	}
	var names []string
	for _, set := range follow(doc.Root, []string{"serverVariables", "set"}) {
		names = append(names, set.Value("name"))
	}
	return names
}

// CheckServerVariables refuses rules of a level that set a server variable which neither the server allows, nor the
// content itself: every request that reaches such a rule would end in an error. Rules for the whole server need no
// permission (reference: URL Rewrite, evaluation order).
func (c *Config) CheckServerVariables(w Wanted) error {
	allowed := func(path, name string) bool {
		for _, g := range w.Groups {
			if g.Section == ServerVariables && covers(cleanPath(g.Path), path) && hasItem(g.Items, name) {
				return true
			}
		}
		return c.AllowsServerVariable(path, name)
	}
	for _, g := range w.Groups {
		if g.Section != Rules {
			continue
		}
		for _, item := range g.Items {
			for _, name := range item.SetsVariables() {
				if !allowed(cleanPath(g.Path), name) {
					return unsupported("rule %q: sets server variable %q, which is not among the allowedServerVariables of the server or of the mitigation", item.Name, name)
				}
			}
		}
	}
	return nil
}
