package apphost

import (
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
)

// Section is a collection below system.webServer/rewrite, with its way from there.
type Section string

// The collections that mitigations add to. The first part of the way is the section that configSections declare.
const (
	// GlobalRules run before all others and only stand at the top level of applicationHost.config.
	GlobalRules     Section = "globalRules"
	Rules           Section = "rules"
	OutboundRules   Section = "outboundRules"
	CustomTags      Section = "outboundRules/customTags"
	PreConditions   Section = "outboundRules/preConditions"
	RewriteMaps     Section = "rewriteMaps"
	ServerVariables Section = "allowedServerVariables"
)

// sections lists the collections in the order in which they are written, and the elements in them.
var sections = []struct {
	name    Section
	element string
}{
	{GlobalRules, "rule"}, {Rules, "rule"}, {OutboundRules, "rule"}, {CustomTags, "tags"}, {PreConditions, "preCondition"},
	{RewriteMaps, "rewriteMap"}, {ServerVariables, "add"},
}

// element gives the name of the elements in a section, "" for one that is not known.
func (s Section) element() string {
	for _, known := range sections {
		if known.name == s {
			return known.element
		}
	}
	return ""
}

// ordered tells whether the order of the elements matters, so that ours have to come first.
func (s Section) ordered() bool { return s == GlobalRules || s == Rules || s == OutboundRules }

// declared gives the name under which configSections declare the section.
func (s Section) declared() string {
	name, _, _ := strings.Cut(string(s), "/")
	return name
}

// way leads from a level of a configuration file to the section.
func (s Section) way() []string {
	return append([]string{"system.webServer", "rewrite"}, strings.Split(string(s), "/")...)
}

// way leads to a section in this file, whose root may be the section itself.
func (c *Config) way(s Section) []string {
	if c.source == "" {
		return s.way()
	}
	return strings.Split(string(s), "/")[1:]
}

// declaredWay leads to the element that locks, sources and locations are about.
func (c *Config) declaredWay(s Section) []string { return c.way(Section(s.declared())) }

// levels gives the elements that are the level of a path: locations, and for "" the root as well.
func (c *Config) levels(path string) []*lossless.Element {
	var out []*lossless.Element
	if path == "" {
		out = append(out, c.doc.Root)
	}
	if c.source != "" {
		return out
	}
	for _, l := range c.locations() {
		if strings.EqualFold(locationPath(l), path) {
			out = append(out, l)
		}
	}
	return out
}

// follow gives every element at the end of a way.
func follow(from *lossless.Element, way []string) []*lossless.Element {
	level := []*lossless.Element{from}
	for _, name := range way {
		var next []*lossless.Element
		for _, e := range level {
			next = append(next, children(e, name)...)
		}
		level = next
	}
	return level
}

// elementsAt gives every element at the end of a way below the levels of a path.
func (c *Config) elementsAt(path string, way []string) []*lossless.Element {
	var out []*lossless.Element
	for _, level := range c.levels(cleanPath(path)) {
		out = append(out, follow(level, way)...)
	}
	return out
}

// deepest follows a way as far as it exists. Of several elements of one name the one that leads further counts.
func deepest(from *lossless.Element, way []string) (*lossless.Element, int) {
	best, depth := from, 0
	if len(way) == 0 {
		return best, depth
	}
	for _, e := range children(from, way[0]) {
		if found, more := deepest(e, way[1:]); more+1 > depth {
			best, depth = found, more+1
		}
	}
	return best, depth
}

// addressOf says where an element stands: the path of its location and the names from there.
func addressOf(e *lossless.Element) string {
	var names []string
	path := ""
	for ; e.Parent != nil; e = e.Parent {
		if e.Parent.Parent == nil && e.Name == "location" {
			path = strings.ToLower(locationPath(e)) + "#"
			break
		}
		names = append(names, e.Name)
	}
	slices.Reverse(names)
	return path + strings.Join(names, "/")
}
