package apphost

import (
	"fmt"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Config is a parsed configuration file of a server.
type Config struct {
	doc *lossless.Document
}

// Site is one site of the server.
type Site struct {
	Name         string
	ID           string
	Bindings     []string // protocol and binding information, such as "http *:80:"
	PhysicalPath string   // of the root virtual directory, environment variables unresolved
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

// Sites lists the sites in the order of the file.
func (c *Config) Sites() []Site {
	var sites []Site
	for _, list := range c.all("system.applicationHost", "sites") {
		for _, e := range list.Children {
			if e.Name == "site" {
				sites = append(sites, readSite(e))
			}
		}
	}
	return sites
}

func readSite(e *lossless.Element) Site {
	s := Site{Name: e.Value("name"), ID: e.Value("id")}
	for _, child := range e.Children {
		switch {
		case child.Name == "bindings":
			for _, b := range child.Children {
				if b.Name == "binding" {
					s.Bindings = append(s.Bindings, b.Value("protocol")+" "+b.Value("bindingInformation"))
				}
			}
		case child.Name == "application" && child.Value("path") == "/":
			for _, v := range child.Children {
				if v.Name == "virtualDirectory" && v.Value("path") == "/" {
					s.PhysicalPath = v.Value("physicalPath")
				}
			}
		}
	}
	return s
}

// Pools lists the application pools in the order of the file.
func (c *Config) Pools() []Pool {
	var pools []Pool
	for _, e := range c.poolElements() {
		pools = append(pools, Pool{Name: e.Value("name"), AutoStart: e.Value("autoStart")})
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
func (c *Config) RewriteSectionDeclared() bool { return c.rulesSection() != nil }

func (c *Config) rulesSection() *lossless.Element {
	for _, sections := range c.all("configSections") {
		for _, web := range named(sections, "sectionGroup", "system.webServer") {
			for _, rewrite := range named(web, "sectionGroup", "rewrite") {
				if found := named(rewrite, "section", "rules"); len(found) > 0 {
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

// HasSite reports whether the first part of a path names a site.
func (c *Config) HasSite(path string) bool {
	name, _, _ := strings.Cut(cleanPath(path), "/")
	for _, s := range c.Sites() {
		if strings.EqualFold(s.Name, name) {
			return true
		}
	}
	return false
}

// locations gives every live <location> of the file; the samples in comments are no elements.
func (c *Config) locations() []*lossless.Element { return children(c.doc.Root, "location") }

// levelsDownTo gives the root of the file and every location at the path or above it, the outermost level first.
func (c *Config) levelsDownTo(path string) []*lossless.Element {
	path = cleanPath(path)
	levels := []*lossless.Element{c.doc.Root}
	for depth := range strings.Count(path, "/") + 2 {
		for _, l := range c.locations() {
			if p := locationPath(l); pathDepth(p) == depth && covers(p, path) {
				levels = append(levels, l)
			}
		}
	}
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

// rulesSections gives the <rules> elements of one level, the root or a location.
func rulesSections(level *lossless.Element) []*lossless.Element {
	var out []*lossless.Element
	for _, web := range children(level, "system.webServer") {
		for _, rewrite := range children(web, "rewrite") {
			out = append(out, children(rewrite, "rules")...)
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
