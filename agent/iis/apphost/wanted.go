package apphost

import (
	"slices"
	"strings"
)

// Item is one element of a section, complete with its final name.
type Item struct {
	Name string `json:"name"`
	XML  []byte `json:"xml"` // the element; comments and white space between its parts do not matter
}

// Group is what goes into one section at one level.
type Group struct {
	// Path is a site, or a site and a path below it: the path of the location. "" is the top level of the file.
	Path    string  `json:"path"`
	Section Section `json:"section"`
	Items   []Item  `json:"items"`
}

// Wanted is everything of ours that a file shall hold. Items of a later group for the same section follow those of an
// earlier one.
type Wanted struct {
	Groups        []Group  `json:"groups,omitempty"`
	DisabledPools []string `json:"disabledPools,omitempty"`
}

// Append gives the sum of two, in that order.
func (w Wanted) Append(more Wanted) Wanted {
	return Wanted{
		Groups:        append(append([]Group(nil), w.Groups...), more.Groups...),
		DisabledPools: append(append([]string(nil), w.DisabledPools...), more.DisabledPools...),
	}
}

// Empty reports whether nothing is wanted.
func (w Wanted) Empty() bool { return len(w.Groups) == 0 && len(w.DisabledPools) == 0 }

// place is the sum of all groups of one path, with one group per section in the order of writing.
type place struct {
	path   string // as first spelled
	groups []Group
}

// places joins the groups by path, in the order of their first appearance, and by section.
func (w Wanted) places() []place {
	var out []place
	index := map[string]int{}
	for _, known := range sections {
		for _, g := range w.Groups {
			if g.Section != known.name || len(g.Items) == 0 {
				continue
			}
			path := cleanPath(g.Path)
			key := strings.ToLower(path)
			i, ok := index[key]
			if !ok {
				i = len(out)
				index[key] = i
				out = append(out, place{path: path})
			}
			p := &out[i]
			if n := len(p.groups); n == 0 || p.groups[n-1].Section != g.Section {
				p.groups = append(p.groups, Group{Path: p.path, Section: g.Section})
			}
			last := &p.groups[len(p.groups)-1]
			last.Items = append(last.Items, g.Items...)
		}
	}
	slices.SortStableFunc(out, func(a, b place) int { return w.firstOf(a.path) - w.firstOf(b.path) })
	return out
}

func (w Wanted) firstOf(path string) int {
	return slices.IndexFunc(w.Groups, func(g Group) bool { return len(g.Items) > 0 && strings.EqualFold(cleanPath(g.Path), path) })
}

// pools lists the disabled pools once each.
func (w Wanted) pools() []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range w.DisabledPools {
		if key := strings.ToLower(p); !seen[key] {
			seen[key] = true
			out = append(out, p)
		}
	}
	return out
}

// places gives what has to be written into this file. A server variable that somebody else allows already, here or at
// a level above, is left out, and so is the second of two wanted ones: IIS answers with 500.19 where a name comes twice.
func (c *Config) places(w Wanted) []place {
	var out []place
	allowed := map[string][]string{} // paths by name
	all := w.places()
	byDepth := slices.Clone(all)
	slices.SortStableFunc(byDepth, func(a, b place) int { return pathDepth(a.path) - pathDepth(b.path) })
	keep := map[string][]Item{}
	for _, p := range byDepth {
		for _, g := range p.groups {
			if g.Section != ServerVariables {
				continue
			}
			for _, item := range g.Items {
				key := strings.ToLower(item.Name)
				above := slices.ContainsFunc(allowed[key], func(path string) bool { return covers(path, p.path) })
				if !above && !c.AllowsServerVariable(p.path, item.Name) {
					keep[p.path] = append(keep[p.path], item)
					allowed[key] = append(allowed[key], p.path)
				}
			}
		}
	}
	for _, p := range all {
		groups := make([]Group, 0, len(p.groups))
		for _, g := range p.groups {
			if g.Section == ServerVariables {
				g.Items = keep[p.path]
			}
			if len(g.Items) > 0 {
				groups = append(groups, g)
			}
		}
		if p.groups = groups; len(groups) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// AllowsServerVariable reports whether rules at a path may set a server variable: an entry of allowedServerVariables at
// the path or at a level above it.
func (c *Config) AllowsServerVariable(path, name string) bool {
	for _, level := range c.levelsDownTo(path) {
		for _, list := range follow(level, c.way(ServerVariables)) {
			if len(named(list, "add", name)) > 0 {
				return true
			}
		}
	}
	return false
}
