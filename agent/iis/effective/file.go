package effective

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
)

const rewriteModule = "RewriteModule"

// node is an element that matters here. It shares nothing with the bytes of the file, so that keeping a few elements of a
// file of many megabytes keeps no more than those.
type node struct {
	name     string
	attrs    []attr
	children []*node
	line     int
}

type attr struct{ name, value string }

func (n *node) attr(name string) (string, bool) {
	for _, a := range n.attrs {
		if a.name == name {
			return a.value, true
		}
	}
	return "", false
}

func (n *node) value(name string) string {
	v, _ := n.attr(name)
	return v
}

func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// is tells whether a boolean attribute has a value, for which absence counts as well when that is the default.
func (n *node) is(name string, value, absent bool) bool {
	v, ok := n.attr(name)
	if !ok {
		return absent == value
	}
	return strings.EqualFold(strings.TrimSpace(v), "true") == value
}

// level is one level of a file: its root, or a location.
type level struct {
	path     string // of the location, relative to the file's own level; "" for that itself
	location bool
	line     int
	// mode is "Allow" or "Deny" where the location says so.
	mode string
	// privately means that child applications do not inherit it.
	privately bool
	rewrite   map[string][]*node // sections by name
	modules   []*node
}

// File is one configuration file, as far as it matters for rewriting.
type File struct {
	path     string
	levels   []*level
	byPath   map[string][]*level // by lower-case path
	source   *node               // the section of a file that a configSource names
	sites    []apphost.Site
	declared map[string]declaration
	// registered tells whether RewriteModule is in globalModules.
	registered bool
	// redirectedTo is where redirection.config points to, when that is enabled.
	redirectedTo string
	redirected   bool
}

// declaration is what configSections say of a section.
type declaration struct{ deny, hostOnly bool }

// Parse reads a file: a configuration, or the section of that name which a configSource keeps in a file of its own. Its
// errors wrap ErrMalformed.
func Parse(path string, data []byte, section string) (*File, error) {
	f := &File{path: path, byPath: map[string][]*level{}}
	if section != "" {
		doc, err := lossless.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if doc.Root.Name != section {
			return nil, fmt.Errorf("%w: root element %q where section %q is expected", ErrMalformed, doc.Root.Name, section)
		}
		f.source = newReader(doc).copy(doc.Root)
		return f, nil
	}
	config, err := apphost.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	doc := config.Document()
	r := newReader(doc)
	f.add(r, doc.Root, &level{line: 1})
	for _, e := range doc.Root.Children {
		switch e.Name {
		case "location":
			f.add(r, e, newLocation(e, r.line(e.Start)))
		case "configurationRedirection":
			f.redirected = strings.EqualFold(strings.TrimSpace(e.Value("enabled")), "true")
			f.redirectedTo = strings.Clone(e.Value("path"))
		}
	}
	f.registered = config.RewriteModuleRegistered()
	f.declared = declarations(doc.Root)
	for _, s := range config.Sites() {
		f.sites = append(f.sites, cloneSite(s))
	}
	return f, nil
}

func newLocation(e *lossless.Element, line int) *level {
	l := &level{path: strings.Clone(clean(e.Value("path"))), location: true, line: line}
	l.privately = strings.EqualFold(strings.TrimSpace(e.Value("inheritInChildApplications")), "false")
	switch override := e.Value("allowOverride"); {
	case strings.EqualFold(e.Value("overrideMode"), "Deny"), strings.EqualFold(override, "false"):
		l.mode = "Deny"
	case strings.EqualFold(e.Value("overrideMode"), "Allow"), strings.EqualFold(override, "true"):
		l.mode = "Allow"
	}
	return l
}

// add puts the content of a level into the file, if there is any.
func (f *File) add(r *reader, e *lossless.Element, l *level) {
	l.rewrite = map[string][]*node{}
	for _, web := range e.Children {
		if web.Name != "system.webServer" {
			continue
		}
		for _, group := range web.Children {
			switch group.Name {
			case "rewrite":
				for _, section := range group.Children {
					n := r.copy(section)
					l.rewrite[n.name] = append(l.rewrite[n.name], n)
				}
			case "modules":
				l.modules = append(l.modules, r.modules(group))
			}
		}
	}
	if len(l.rewrite) == 0 && len(l.modules) == 0 {
		return
	}
	f.levels = append(f.levels, l)
	key := strings.ToLower(l.path)
	f.byPath[key] = append(f.byPath[key], l)
}

func declarations(root *lossless.Element) map[string]declaration {
	out := map[string]declaration{}
	for _, section := range walk(root, "configSections", "sectionGroup=system.webServer", "sectionGroup=rewrite", "section") {
		d := declaration{deny: strings.EqualFold(section.Value("overrideModeDefault"), "Deny")}
		switch strings.ToLower(section.Value("allowDefinition")) {
		case "apphostonly", "machineonly", "machinetorootweb":
			d.hostOnly = true
		}
		out[strings.Clone(section.Value("name"))] = d
	}
	return out
}

// walk gives the elements at a chain of element names, some of which are followed by the name attribute.
func walk(from *lossless.Element, way ...string) []*lossless.Element {
	list := []*lossless.Element{from}
	for _, step := range way {
		element, name, named := strings.Cut(step, "=")
		var next []*lossless.Element
		for _, e := range list {
			for _, c := range e.Children {
				if c.Name == element && (!named || strings.EqualFold(c.Value("name"), name)) {
					next = append(next, c)
				}
			}
		}
		list = next
	}
	return list
}

func cloneSite(s apphost.Site) apphost.Site {
	out := apphost.Site{Name: strings.Clone(s.Name), AutoStart: s.AutoStart}
	for _, a := range s.Applications {
		c := apphost.Application{Path: strings.Clone(a.Path)}
		for _, v := range a.Directories {
			c.Directories = append(c.Directories, apphost.VirtualDirectory{
				Path: strings.Clone(v.Path), PhysicalPath: strings.Clone(v.PhysicalPath), SubDirConfig: v.SubDirConfig,
			})
		}
		out.Applications = append(out.Applications, c)
	}
	return out
}

// reader copies elements, and counts lines as it goes forward.
type reader struct {
	data     []byte
	at, seen int
}

func newReader(doc *lossless.Document) *reader { return &reader{data: doc.Data} }

func (r *reader) line(offset int) int {
	if offset < r.at {
		r.at, r.seen = 0, 0
	}
	r.seen += bytes.Count(r.data[r.at:offset], []byte("\n"))
	r.at = offset
	return r.seen + 1
}

func (r *reader) copy(e *lossless.Element) *node {
	n := r.shallow(e)
	for _, c := range e.Children {
		n.children = append(n.children, r.copy(c))
	}
	return n
}

func (r *reader) shallow(e *lossless.Element) *node {
	n := &node{name: strings.Clone(e.Name), line: r.line(e.Start), attrs: make([]attr, 0, len(e.Attrs()))}
	for _, a := range e.Attrs() {
		n.attrs = append(n.attrs, attr{strings.Clone(a.Name), strings.Clone(a.Value)})
	}
	return n
}

// modules copies of <modules> what concerns RewriteModule.
func (r *reader) modules(e *lossless.Element) *node {
	n := r.shallow(e)
	for _, c := range e.Children {
		if c.Name == "clear" || strings.EqualFold(c.Value("name"), rewriteModule) {
			n.children = append(n.children, r.shallow(c))
		}
	}
	return n
}

// section gives the elements of a section at a level: for a collection inside of a section, such as preConditions, those of
// the collection.
func (l *level) section(s apphost.Section) []*node {
	first, inner, nested := strings.Cut(string(s), "/")
	list := l.rewrite[first]
	if !nested {
		return list
	}
	var out []*node
	for _, n := range list {
		out = append(out, n.all(inner)...)
	}
	return out
}

func (n *node) all(name string) []*node {
	return slices.DeleteFunc(slices.Clone(n.children), func(c *node) bool { return c.name != name })
}
