package apphost

import (
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// Check says whether everything wanted may be installed on the server that this file, its applicationHost.config, belongs
// to. The file must hold nothing of ours (Strip first). The error is a *refusal.Error.
func (c *Config) Check(w Wanted) error {
	places := c.places(w)
	for _, p := range places {
		if err := c.CheckTarget(p.path, p.declared()); err != nil {
			return err
		}
		for _, s := range p.declared() {
			if err := c.checkLevel(p.path, s); err != nil {
				return err
			}
		}
	}
	for _, name := range w.pools() {
		if c.pool(name) == nil {
			return refusal.New(refusal.PoolNotFound, "application pool %q: not on this server", name)
		}
	}
	return c.checkNames(places)
}

// declared lists the sections of a place by the names under which configSections declare them.
func (p place) declared() []Section {
	var out []Section
	for _, g := range p.groups {
		if s := Section(g.Section.declared()); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// CheckTarget says whether the server knows the place and can run what the sections hold, wherever they are kept.
func (c *Config) CheckTarget(path string, declared []Section) error {
	path = cleanPath(path)
	if path != "" && !c.HasSite(path) {
		return refusal.New(refusal.SiteNotFound, "site of %q: not on this server", path)
	}
	for _, s := range declared {
		if c.declaration(s) == nil {
			return refusal.New(refusal.RewriteSectionMissing,
				"section system.webServer/rewrite/%s: not declared in configSections: install the IIS URL Rewrite module 2", s)
		}
	}
	if !c.RewriteModuleRegistered() {
		return refusal.New(refusal.RewriteModuleMissing,
			"RewriteModule: not registered in globalModules: install the IIS URL Rewrite module 2")
	}
	if !c.RewriteModuleRunsAt(path) {
		return refusal.New(refusal.RewriteModuleMissing, "RewriteModule: not enabled for %q: add it to <modules> of the server or the site", path)
	}
	return nil
}

// checkLevel says whether a section may stand at a level of this file.
func (c *Config) checkLevel(path string, s Section) error {
	section := c.declaration(s)
	if path != "" {
		if strings.EqualFold(section.Value("allowLocation"), "false") {
			return refusal.New(refusal.SectionLocked, "section system.webServer/rewrite/%s: declared with allowLocation=\"false\"", s)
		}
		if s == GlobalRules {
			return unsupported("globalRules at %q: they only exist for the whole server", path)
		}
	}
	if err := c.checkLocks(path, s); err != nil {
		return err
	}
	_, err := c.target(path, s)
	return err
}

// checkLocks refuses what a level above keeps to itself.
func (c *Config) checkLocks(path string, s Section) error {
	for _, level := range c.levelsDownTo(path) {
		for _, e := range follow(level, c.way(s)) {
			if attr := lockOf(e); attr != "" && !strings.EqualFold(locationOf(level), path) {
				return refusal.New(refusal.SectionLocked, "%s at %q: locked by attribute %q", s, levelName(level), attr)
			}
		}
	}
	return nil
}

// CheckWebConfig says whether this file, applicationHost.config, leaves a section to the web.config of a path:
// overrideModeDefault of the section, then what the locations at the path and above say, the innermost last.
func (c *Config) CheckWebConfig(path string, s Section) error {
	path = cleanPath(path)
	section := c.declaration(s)
	if section == nil {
		return refusal.New(refusal.RewriteSectionMissing, "section system.webServer/rewrite/%s: not declared in configSections", s)
	}
	if d := section.Value("allowDefinition"); strings.EqualFold(d, "AppHostOnly") || strings.EqualFold(d, "MachineOnly") || strings.EqualFold(d, "MachineToRootWeb") {
		return refusal.New(refusal.SectionLocked, "section system.webServer/rewrite/%s: allowDefinition=%q keeps it out of web.config", s, d)
	}
	locked := ""
	if strings.EqualFold(section.Value("overrideModeDefault"), "Deny") {
		locked = "overrideModeDefault of the section"
	}
	for _, level := range c.levelsDownTo(path) {
		held := follow(level, c.way(s))
		for _, e := range held {
			if attr := lockOf(e); attr != "" {
				return refusal.New(refusal.SectionLocked, "%s at %q: locked by attribute %q", s, levelName(level), attr)
			}
		}
		if level.Name != "location" || len(held) == 0 {
			continue
		}
		switch mode := level.Value("overrideMode"); {
		case strings.EqualFold(mode, "Deny"), strings.EqualFold(level.Value("allowOverride"), "false"):
			locked = "location " + levelName(level)
		case strings.EqualFold(mode, "Allow"), strings.EqualFold(level.Value("allowOverride"), "true"):
			locked = ""
		}
	}
	if locked != "" {
		return refusal.New(refusal.SectionLocked, "section system.webServer/rewrite/%s: locked for the web.config of %q (%s): unlock it, or use the placement ApplicationHost", s, path, locked)
	}
	return nil
}

// LocksBelow says whether this file, the web.config of a level above, keeps a section from the web.configs below it.
func (c *Config) LocksBelow(s Section) error {
	for _, level := range c.levels("") {
		for _, e := range follow(level, c.way(s)) {
			deny := strings.EqualFold(level.Value("overrideMode"), "Deny") || strings.EqualFold(level.Value("allowOverride"), "false")
			if attr := lockOf(e); attr != "" || deny {
				return refusal.New(refusal.SectionLocked, "section system.webServer/rewrite/%s: locked by a web.config above the target", s)
			}
		}
	}
	return nil
}

// CheckHere says whether everything wanted may be added to this file, a web.config or the source of a section: nothing
// locked in the file itself, and no name that is there already.
func (c *Config) CheckHere(w Wanted) error {
	places := c.places(w)
	for _, p := range places {
		for _, s := range p.declared() {
			if err := c.checkLocks(p.path, s); err != nil {
				return err
			}
			if _, err := c.target(p.path, s); err != nil {
				return err
			}
		}
	}
	return c.checkNames(places)
}

// lockOf names the attribute that keeps lower levels from adding to a section.
func lockOf(e *lossless.Element) string {
	if strings.EqualFold(e.Value("lockItem"), "true") {
		return "lockItem"
	}
	for _, name := range []string{"lockElements", "lockAllElementsExcept"} {
		a := e.Attr(name)
		if a == nil {
			continue
		}
		listed := false
		for _, item := range strings.FieldsFunc(a.Value, func(r rune) bool { return r == ',' || r == ' ' }) {
			listed = listed || item == "*" || strings.EqualFold(item, "rule")
		}
		if listed == (name == "lockElements") {
			return name
		}
	}
	return ""
}

func levelName(level *lossless.Element) string {
	if level.Parent == nil {
		return "the server"
	}
	return level.Value("path")
}

// locationOf gives the path of a level, "" for the root.
func locationOf(level *lossless.Element) string {
	if level.Parent == nil {
		return ""
	}
	return locationPath(level)
}

// CheckNames refuses names that collide inside of this file or among the wanted, whichever file these go to.
func (c *Config) CheckNames(w Wanted) error {
	var places []place
	for _, p := range w.places() {
		groups := make([]Group, 0, len(p.groups))
		for _, g := range p.groups {
			if g.Section != ServerVariables {
				groups = append(groups, g)
			}
		}
		places = append(places, place{path: p.path, groups: groups})
	}
	return c.checkNames(places)
}

// checkNames refuses a name that exists in the same section at the same level or at one above or below it: IIS merges
// the levels and answers every request with 500.19 when a name comes twice. That element may be someone's own copy of ours.
func (c *Config) checkNames(places []place) error {
	type owner struct {
		path string
		ours bool
	}
	names := map[string][]owner{}
	used := map[Section]bool{}
	for _, p := range places {
		for _, g := range p.groups {
			used[g.Section] = true
		}
	}
	levels := []*lossless.Element{c.doc.Root}
	if c.source == "" {
		levels = append(levels, c.locations()...)
	}
	for _, known := range sections {
		if !used[known.name] {
			continue
		}
		way := c.way(known.name)
		for _, level := range levels {
			for _, list := range follow(level, way) {
				for _, e := range children(list, known.element) {
					key := nameKey(known.name, e.Value("name"))
					names[key] = append(names[key], owner{path: locationOf(level)})
				}
			}
		}
	}
	for _, p := range places {
		for _, g := range p.groups {
			for _, item := range g.Items {
				key := nameKey(g.Section, item.Name)
				for _, o := range names[key] {
					if !covers(o.path, p.path) && !covers(p.path, o.path) {
						continue
					}
					if o.ours {
						return refusal.New(refusal.NameCollision, "%s %q for %q: another mitigation brings one of that name for %q", g.Section.element(), item.Name, p.path, o.path)
					}
					return refusal.New(refusal.NameCollision,
						"%s %q for %q: one of that name that is not ours exists at %q: rename or remove it", g.Section.element(), item.Name, p.path, o.path)
				}
				names[key] = append(names[key], owner{path: p.path, ours: true})
			}
		}
	}
	return nil
}

func nameKey(s Section, name string) string { return string(s) + "\x00" + strings.ToLower(name) }

// Holds lists the names of w that exist in this file, at any level: the file of a level above or below must have none
// of them.
func (c *Config) Holds(w Wanted) []string {
	var out []string
	for _, p := range w.places() {
		for _, g := range p.groups {
			levels := []*lossless.Element{c.doc.Root}
			if c.source == "" {
				levels = append(levels, c.locations()...)
			}
			for _, level := range levels {
				for _, list := range follow(level, c.way(g.Section)) {
					for _, item := range g.Items {
						if len(named(list, g.Section.element(), item.Name)) > 0 {
							out = append(out, item.Name)
						}
					}
				}
			}
		}
	}
	return out
}

// target chooses the element of a level that a section goes to: the root, a location element, or nil when a new one has
// to be made. Several locations for one path are legal; a section may stand in only one of them. A location with an
// override mode is left alone, since it would lock or unlock the section for the site's web.config, and so is one that
// child applications do not inherit.
func (c *Config) target(path string, s Section) (*lossless.Element, error) {
	way := c.declaredWay(s)
	var best *lossless.Element
	bestDepth := -1
	for _, l := range c.levels(path) {
		plain := l.Parent == nil || (l.Attr("allowOverride") == nil && !strings.EqualFold(l.Value("inheritInChildApplications"), "false") &&
			(l.Attr("overrideMode") == nil || strings.EqualFold(l.Value("overrideMode"), "Inherit")))
		e, depth := deepest(l, way)
		if depth == len(way) {
			return l, c.checkSection(l, e, s)
		}
		if a := foreignSource(e); a != "" {
			return nil, refusal.New(refusal.SectionLocked, "<%s> of %q: content is kept elsewhere (%s)", e.Name, path, a)
		}
		// The root is where content for the whole file goes; a location of the empty path may be there for its locks.
		if plain && depth > bestDepth && (best == nil || best.Parent != nil) {
			best, bestDepth = l, depth
		}
	}
	return best, nil
}

func (c *Config) checkSection(l, section *lossless.Element, s Section) error {
	if a := foreignSource(section); a != "" {
		return refusal.New(refusal.SectionLocked, "%s of %q: the section's content is kept elsewhere (%s)", s, levelName(l), a)
	}
	if l.Name == "location" && strings.EqualFold(l.Value("inheritInChildApplications"), "false") {
		return refusal.New(refusal.SectionLocked,
			"%s of %q: its location has inheritInChildApplications=\"false\", so a rule there would not protect the applications below", s, levelName(l))
	}
	return nil
}

// Source gives the file that a section of a path is kept in by configSource, "" when it stands in this file.
func (c *Config) Source(path string, s Section) string {
	for _, e := range c.elementsAt(path, c.declaredWay(s)) {
		if a := e.Attr("configSource"); a != nil {
			return a.Value
		}
	}
	return ""
}

// foreignSource names the attribute by which an element's content is in another file or encrypted.
func foreignSource(e *lossless.Element) string {
	for _, name := range []string{"configSource", "configProtectionProvider"} {
		if e.Attr(name) != nil {
			return name
		}
	}
	return ""
}
