package apphost

import (
	"fmt"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Config is a parsed configuration file of a server.
type Config struct {
	doc *lossless.Document
	// source is the section that a file named by configSource holds, "" for a whole configuration.
	source string
	// origin is what Strip took something out of. Rendering that into it again needs no other reading of the same bytes.
	origin *Config
}

// Pool is one application pool of the server.
type Pool struct {
	Name      string
	AutoStart string // as written, "" when the attribute is absent
}

// Parse reads a file. It must be well-formed UTF-8 with the root <configuration>.
func Parse(data []byte) (*Config, error) {
	doc, err := lossless.Parse(data)
	if err != nil {
		return nil, err
	}
	return newConfig(doc)
}

func newConfig(doc *lossless.Document) (*Config, error) {
	if doc.Root.Name != "configuration" {
		return nil, fmt.Errorf("file: root element %q: not an IIS configuration", doc.Root.Name)
	}
	return &Config{doc: doc}, nil
}

// ParseSource reads a file that a configSource attribute names. Its root is the section itself.
func ParseSource(data []byte, section string) (*Config, error) {
	doc, err := lossless.Parse(data)
	if err != nil {
		return nil, err
	}
	if doc.Root.Name != section {
		return nil, fmt.Errorf("file: root element %q where section %q is expected", doc.Root.Name, section)
	}
	return &Config{doc: doc, source: section}, nil
}

// again reads the bytes that an edit of c gave.
func (c *Config) again(data []byte) (*Config, error) {
	if c.source != "" {
		return ParseSource(data, c.source)
	}
	return Parse(data)
}

// Data gives the bytes of the file, which must not be changed.
func (c *Config) Data() []byte { return c.doc.Data }

// CrossCheck has the second reader go over the file, unless Parse or Render did already. Only the result of Strip needs that, and
// only when it is going to be written as it is.
func (c *Config) CrossCheck() error {
	if c.origin == nil {
		return nil
	}
	return c.doc.CrossCheck()
}

// Document gives the elements of the file, which must not be changed.
func (c *Config) Document() *lossless.Document { return c.doc }

// Pools lists the application pools in the order of the file.
func (c *Config) Pools() []Pool {
	var pools []Pool
	for _, e := range c.poolElements() {
		pools = append(pools, Pool{Name: strings.Clone(e.Value("name")), AutoStart: strings.Clone(e.Value("autoStart"))})
	}
	return pools
}

func (c *Config) poolElements() []*lossless.Element {
	var out []*lossless.Element
	for _, list := range c.all("system.applicationHost", "applicationPools") {
		for _, e := range list.Children {
			if e.Name == "add" {
				out = append(out, e)
			}
		}
	}
	return out
}

func (c *Config) pool(name string) *lossless.Element {
	for _, e := range c.poolElements() {
		if a := e.Attr("name"); a != nil && strings.EqualFold(a.Value, name) {
			return e
		}
	}
	return nil
}

// RewriteSectionDeclared reports whether configSections declare the section system.webServer/rewrite/rules. Content of
// a section that is not declared makes every request of its scope fail with 500.19.
func (c *Config) RewriteSectionDeclared() bool { return c.declaration(Rules) != nil }

// declaration gives the element of configSections that declares a section, or nil.
func (c *Config) declaration(s Section) *lossless.Element {
	for _, sections := range c.all("configSections") {
		for _, web := range named(sections, "sectionGroup", "system.webServer") {
			for _, rewrite := range named(web, "sectionGroup", "rewrite") {
				if found := named(rewrite, "section", s.declared()); len(found) > 0 {
					return found[0]
				}
			}
		}
	}
	return nil
}

// RewriteModuleRegistered reports whether the native RewriteModule is in globalModules.
func (c *Config) RewriteModuleRegistered() bool {
	for _, list := range c.all("system.webServer", "globalModules") {
		if len(named(list, "add", rewriteModule)) > 0 {
			return true
		}
	}
	return false
}

const rewriteModule = "RewriteModule"

// RewriteModuleRunsAt reports whether RewriteModule is enabled for a site or a path below it: <modules> of the server,
// then of every location down to the path, each with its add, remove and clear. A web.config may still remove it.
func (c *Config) RewriteModuleRunsAt(path string) bool {
	on := false
	for _, level := range c.levelsDownTo(path) {
		for _, web := range children(level, "system.webServer") {
			for _, modules := range children(web, "modules") {
				for _, e := range modules.Children {
					own := strings.EqualFold(e.Value("name"), rewriteModule)
					switch {
					case e.Name == "clear", e.Name == "remove" && own:
						on = false
					case e.Name == "add" && own:
						on = true
					}
				}
			}
		}
	}
	return on
}

// locations gives every live <location> of the file; the samples in comments are no elements.
func (c *Config) locations() []*lossless.Element { return children(c.doc.Root, "location") }

// levelsDownTo gives the root of the file and every location at the path or above it, the outermost level first.
func (c *Config) levelsDownTo(path string) []*lossless.Element {
	path = cleanPath(path)
	levels := []*lossless.Element{c.doc.Root}
	if c.source != "" {
		return levels
	}
	for _, l := range c.locations() {
		if covers(locationPath(l), path) {
			levels = append(levels, l)
		}
	}
	slices.SortStableFunc(levels[1:], func(a, b *lossless.Element) int { return pathDepth(locationPath(a)) - pathDepth(locationPath(b)) })
	return levels
}

// all gives every element at a chain of names below the root: a section may stand in several blocks of its group.
func (c *Config) all(names ...string) []*lossless.Element {
	level := []*lossless.Element{c.doc.Root}
	for _, n := range names {
		var next []*lossless.Element
		for _, e := range level {
			next = append(next, children(e, n)...)
		}
		level = next
	}
	return level
}

func children(e *lossless.Element, name string) []*lossless.Element {
	var out []*lossless.Element
	for _, c := range e.Children {
		if c.Name == name {
			out = append(out, c)
		}
	}
	return out
}

func named(e *lossless.Element, element, name string) []*lossless.Element {
	var out []*lossless.Element
	for _, c := range children(e, element) {
		if strings.EqualFold(c.Value("name"), name) {
			out = append(out, c)
		}
	}
	return out
}

func locationPath(l *lossless.Element) string { return cleanPath(l.Value("path")) }

// cleanPath brings the spellings of a location path to one: "." and "" are the level itself, slashes at the ends do not
// count, letters keep their case.
func cleanPath(p string) string {
	p = strings.Trim(strings.ReplaceAll(p, `\`, "/"), "/ ")
	if p == "." {
		return ""
	}
	return p
}

func pathDepth(p string) int {
	if p == "" {
		return 0
	}
	return 1 + strings.Count(p, "/")
}

// covers reports whether a location is at or above a path. Both are clean.
func covers(location, path string) bool {
	if location == "" || strings.EqualFold(location, path) {
		return true
	}
	return len(path) > len(location) && path[len(location)] == '/' && strings.EqualFold(path[:len(location)], location)
}
