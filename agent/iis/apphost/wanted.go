package apphost

import (
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// RuleGroup is a list of rules for one place.
type RuleGroup struct {
	Site  string `json:"site"` // a site, or a site and a path below it: the path of the location
	Rules []Rule `json:"rules"`
}

// Wanted is everything of ours that a file shall hold. Rules of a later group for the same place follow those of an
// earlier one.
type Wanted struct {
	Rules         []RuleGroup `json:"rules,omitempty"`
	DisabledPools []string    `json:"disabledPools,omitempty"`
}

// Append gives the sum of two, in that order.
func (w Wanted) Append(more Wanted) Wanted {
	return Wanted{
		Rules:         append(append([]RuleGroup(nil), w.Rules...), more.Rules...),
		DisabledPools: append(append([]string(nil), w.DisabledPools...), more.DisabledPools...),
	}
}

// Empty reports whether nothing is wanted.
func (w Wanted) Empty() bool { return len(w.Rules) == 0 && len(w.DisabledPools) == 0 }

// place is the sum of all groups of one path.
type place struct {
	path  string // as first spelled
	rules []Rule
}

// places joins the groups by path, in the order of their first appearance.
func (w Wanted) places() []place {
	var out []place
	index := map[string]int{}
	for _, g := range w.Rules {
		if len(g.Rules) == 0 {
			continue
		}
		path := cleanPath(g.Site)
		key := strings.ToLower(path)
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, place{path: path})
		}
		out[i].rules = append(out[i].rules, g.Rules...)
	}
	return out
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

// Check says whether everything wanted may be installed on the server that this file belongs to. The file must hold
// nothing of ours (Strip first). The error is a *refusal.Error.
func (c *Config) Check(w Wanted) error {
	for _, p := range w.places() {
		if err := c.checkPlace(p); err != nil {
			return err
		}
	}
	for _, name := range w.pools() {
		if c.pool(name) == nil {
			return refusal.New(refusal.PoolNotFound, "application pool %q: not on this server", name)
		}
	}
	return c.checkNames(w.places())
}

func (c *Config) checkPlace(p place) error {
	if !c.HasSite(p.path) {
		return refusal.New(refusal.SiteNotFound, "site of %q: not on this server", p.path)
	}
	section := c.rulesSection()
	if section == nil {
		return refusal.New(refusal.RewriteSectionMissing,
			"section system.webServer/rewrite/rules: not declared in configSections: install the IIS URL Rewrite module 2")
	}
	if strings.EqualFold(section.Value("allowLocation"), "false") {
		return refusal.New(refusal.SectionLocked, "section system.webServer/rewrite/rules: declared with allowLocation=\"false\"")
	}
	if !c.RewriteModuleRegistered() {
		return refusal.New(refusal.RewriteModuleMissing,
			"RewriteModule: not registered in globalModules: install the IIS URL Rewrite module 2")
	}
	if !c.RewriteModuleRunsAt(p.path) {
		return refusal.New(refusal.RewriteModuleMissing, "RewriteModule: not enabled for %q: add it to <modules> of the server or the site", p.path)
	}
	for _, level := range c.levelsDownTo(p.path) {
		for _, rules := range rulesSections(level) {
			if attr := lockOf(rules); attr != "" && !strings.EqualFold(locationPath(level), p.path) {
				return refusal.New(refusal.SectionLocked, "rules at %q: locked by attribute %q", levelName(level), attr)
			}
		}
	}
	_, err := c.target(p.path)
	return err
}

// lockOf names the attribute that keeps lower levels from adding rules.
func lockOf(rules *lossless.Element) string {
	if strings.EqualFold(rules.Value("lockItem"), "true") {
		return "lockItem"
	}
	for _, name := range []string{"lockElements", "lockAllElementsExcept"} {
		a := rules.Attr(name)
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

// checkNames refuses a rule name that exists at the same level or at one above or below it: IIS merges the levels and
// answers every request with 500.19 when a name comes twice. That rule may be someone's own copy of ours.
func (c *Config) checkNames(places []place) error {
	type owner struct {
		path string
		ours bool
	}
	names := map[string][]owner{}
	for _, level := range append([]*lossless.Element{c.doc.Root}, c.locations()...) {
		path := ""
		if level.Parent != nil {
			path = locationPath(level)
		}
		for _, rules := range rulesSections(level) {
			for _, r := range children(rules, "rule") {
				key := strings.ToLower(r.Value("name"))
				names[key] = append(names[key], owner{path: path})
			}
		}
	}
	for _, p := range places {
		for _, r := range p.rules {
			key := strings.ToLower(r.Name)
			for _, o := range names[key] {
				if !covers(o.path, p.path) && !covers(p.path, o.path) {
					continue
				}
				if o.ours {
					return refusal.New(refusal.NameCollision, "rule %q for %q: another mitigation brings a rule of that name for %q", r.Name, p.path, o.path)
				}
				return refusal.New(refusal.NameCollision,
					"rule %q for %q: a rule of that name that is not ours exists at %q: rename or remove it", r.Name, p.path, o.path)
			}
			names[key] = append(names[key], owner{path: p.path, ours: true})
		}
	}
	return nil
}

// target chooses the location element for a path, or nil when a new one has to be made. Several locations for one path
// are legal; the rules section may stand in only one of them. A location with an override mode is left alone, since it
// would lock or unlock the rules for the site's web.config, and so is one that child applications do not inherit.
func (c *Config) target(path string) (*lossless.Element, error) {
	var best *lossless.Element
	bestDepth := -1
	for _, l := range c.locations() {
		if !strings.EqualFold(locationPath(l), path) {
			continue
		}
		plain := l.Attr("allowOverride") == nil && !strings.EqualFold(l.Value("inheritInChildApplications"), "false") &&
			(l.Attr("overrideMode") == nil || strings.EqualFold(l.Value("overrideMode"), "Inherit"))
		e, depth := deepest(l)
		if depth == len(chain) {
			return checkRulesElement(l, e)
		}
		if a := foreignSource(e); a != "" {
			return nil, refusal.New(refusal.SectionLocked, "<%s> of %q: content is kept elsewhere (%s)", e.Name, path, a)
		}
		if plain && depth > bestDepth {
			best, bestDepth = l, depth
		}
	}
	return best, nil
}

func checkRulesElement(l, rules *lossless.Element) (*lossless.Element, error) {
	if a := foreignSource(rules); a != "" {
		return nil, refusal.New(refusal.SectionLocked, "rules of %q: the section's content is kept elsewhere (%s)", l.Value("path"), a)
	}
	if strings.EqualFold(l.Value("inheritInChildApplications"), "false") {
		return nil, refusal.New(refusal.SectionLocked,
			"rules of %q: its location has inheritInChildApplications=\"false\", so a rule there would not protect the applications below", l.Value("path"))
	}
	return l, nil
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

// chain is the way from a location to its rules.
var chain = []string{"system.webServer", "rewrite", "rules"}

// deepest follows the chain as far as it exists. Of several elements of one name the one that leads further counts.
func deepest(l *lossless.Element) (*lossless.Element, int) {
	best, depth := l, 0
	for _, web := range children(l, chain[0]) {
		if depth < 1 {
			best, depth = web, 1
		}
		for _, rewrite := range children(web, chain[1]) {
			if depth < 2 {
				best, depth = rewrite, 2
			}
			if rules := rewrite.Child(chain[2]); rules != nil && depth < 3 {
				best, depth = rules, 3
			}
		}
	}
	return best, depth
}
