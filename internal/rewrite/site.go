package rewrite

import (
	"errors"
	"slices"
	"strings"
)

// Level is the configuration of one place: a server, a site, or a folder of it.
type Level struct {
	// Name says where the configuration stands, for traces and messages.
	Name string
	// Path is the folder that the configuration applies to: "/" for the server and the
	// site, "/owa" for a folder or an application. Case does not matter.
	Path string
	// Server marks applicationHost.config outside of <location>, the only place for
	// globalRules.
	Server bool
	// Config is the configuration; nil has no effect.
	Config *Configuration
	// Err says that the configuration could not be read: IIS answers all requests in its
	// scope with 500.19.
	Err error
}

// FileSystem answers conditions of type IsFile and IsDirectory, and {REQUEST_FILENAME}.
// It has to be safe for concurrent use.
type FileSystem interface {
	// PhysicalPath maps the path of a URL, such as /owa/x.js, to that of a file.
	PhysicalPath(urlPath string) string
	// IsFile and IsDirectory tell whether there is a file or a folder of that path.
	IsFile(path string) bool
	IsDirectory(path string) bool
}

// Options are what a Site knows beside its rules.
type Options struct {
	// Files is the site's content; without it Result.Uncertain says where it would matter.
	Files FileSystem
	// Variables are the server variables that every request has, by name in upper case.
	Variables map[string]string
}

// Site is the rewrite configuration that acts on the requests to a site.
type Site struct {
	options Options
	levels  []Level
	global  *ruleSet
	// sets are the rules that act on requests to each folder that has a level, the deepest
	// folders first, that of the site last.
	sets []*ruleSet
}

// ruleSet is the rules that act in one place, after inheritance.
type ruleSet struct {
	// folder is the place in lower case with a slash at its end.
	folder string
	// fault is set when IIS cannot read the configuration of this place.
	fault     *Fault
	rules     []boundRule
	maps      map[string]*rewriteMap
	providers map[string]bool
	allowed   map[string]bool
	outbound  outboundSet
	// inputs counts the different inputs of conditions that can be cached.
	inputs int
}

// boundRule is a rule in the place where it acts.
type boundRule struct {
	*rule
	level string
	// folder is that of the rule's own level, as the configuration writes it, with a slash
	// at its end.
	folder string
	// slots are the places of the conditions' inputs in the cache of an evaluation.
	slots []int
	// fault is the first thing that IIS refuses when a request reaches the rule.
	fault *Fault
	// provider names the rewrite provider that the rule uses.
	provider string
}

// NewSite composes levels, the server's first and then from the root to the deepest
// folder. Levels with the same path act in the order given.
func NewSite(options Options, levels ...Level) *Site {
	s := &Site{options: options, levels: slices.Clone(levels)}
	folders := []string{"/"}
	for i := range s.levels {
		l := &s.levels[i]
		l.Path = folderOf(l.Path)
		if l.Config == nil {
			l.Config = &Configuration{}
		}
		if folder := strings.ToLower(l.Path); !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	slices.SortStableFunc(folders, func(a, b string) int { return len(b) - len(a) })
	for _, folder := range folders {
		s.sets = append(s.sets, s.build(folder))
	}
	s.global = s.buildGlobal()
	return s
}

// folderOf gives a path exactly one slash at both ends.
func folderOf(path string) string {
	if path = strings.Trim(path, "/"); path == "" {
		return "/"
	}
	return "/" + path + "/"
}

// setFor returns the rules that act on a path.
func (s *Site) setFor(path string) *ruleSet {
	last := len(s.sets) - 1
	for _, set := range s.sets[:last] {
		if inFolder(path, set.folder) {
			return set
		}
	}
	return s.sets[last]
}

// inFolder reports whether a path is in a folder, or is the folder without its last slash.
func inFolder(path, folder string) bool {
	switch {
	case len(path) >= len(folder):
		return strings.EqualFold(path[:len(folder)], folder)
	case len(path) == len(folder)-1:
		return strings.EqualFold(path, folder[:len(folder)-1])
	}
	return false
}

// build merges the levels that act in a folder.
func (s *Site) build(folder string) *ruleSet {
	set := &ruleSet{folder: folder}
	var chain []int
	for i, l := range s.levels {
		if strings.HasPrefix(folder, strings.ToLower(l.Path)) {
			chain = append(chain, i)
		}
	}
	m := &merger{site: s, chain: chain, set: set}
	rules := mergeChain(m, func(c *Configuration) *section[rule] { return &c.rules })
	m.common()
	m.outbound()
	if set.fault == nil {
		for _, e := range rules {
			if e.item.enabled {
				set.rules = append(set.rules, s.bind(set, e))
			}
		}
		set.intern()
		set.outbound.check(set)
	}
	return set
}

// buildGlobal merges what stands at the server: global rules know nothing of sites.
func (s *Site) buildGlobal() *ruleSet {
	set := &ruleSet{folder: "/"}
	var chain []int
	for i, l := range s.levels {
		if l.Server {
			chain = append(chain, i)
		}
	}
	m := &merger{site: s, chain: chain, set: set}
	rules := mergeChain(m, func(c *Configuration) *section[rule] { return &c.global })
	m.common()
	for _, e := range rules {
		if e.item.enabled {
			set.rules = append(set.rules, s.bind(set, e))
		}
	}
	set.intern()
	return set
}

// merger merges the sections of the levels that act in one place.
type merger struct {
	site  *Site
	chain []int
	set   *ruleSet
}

// fail notes the first reason for which IIS cannot read the configuration of the place.
func (m *merger) fail(fault *Fault) {
	if m.set.fault == nil {
		m.set.fault = fault
	}
}

func mergeChain[T any](m *merger, of func(*Configuration) *section[T]) []entry[T] {
	var merged []entry[T]
	for _, i := range m.chain {
		next, fault := merge(merged, of(m.site.levels[i].Config).changes, i)
		if fault != nil {
			m.fail(fault)
			return nil
		}
		merged = next
	}
	return merged
}

// common merges what inbound and outbound rules share, and looks for what must not be.
func (m *merger) common() {
	for _, i := range m.chain {
		l := m.site.levels[i]
		if l.Err != nil {
			m.fail(faultOf(l))
		}
		if l.Config.global.present && !l.Server {
			fault := l.Config.global.where
			fault.Code = codeLockViolation
			fault.Reason = "globalRules are allowed in applicationHost.config only, outside of <location>"
			m.fail(&fault)
		}
	}
	m.set.maps, m.set.providers, m.set.allowed = map[string]*rewriteMap{}, map[string]bool{}, map[string]bool{}
	for _, e := range mergeChain(m, func(c *Configuration) *section[rewriteMap] { return &c.maps }) {
		m.set.maps[e.key] = e.item
	}
	for _, e := range mergeChain(m, func(c *Configuration) *section[string] { return &c.providers }) {
		m.set.providers[e.key] = true
	}
	for _, e := range mergeChain(m, func(c *Configuration) *section[string] { return &c.allowed }) {
		m.set.allowed[strings.ToUpper(e.key)] = true
	}
}

func faultOf(l Level) *Fault {
	if err, ok := errors.AsType[*FaultError](l.Err); ok {
		return &err.Fault
	}
	return &Fault{
		Position: Position{File: l.Name}, Status: 500, SubStatus: subStatusConfiguration, Code: codeInvalidData,
		Reason: l.Err.Error(), cause: l.Err,
	}
}

// bind puts a rule into its place and looks for what can only be known there.
func (s *Site) bind(set *ruleSet, e entry[rule]) boundRule {
	b := boundRule{rule: e.item, level: s.levels[e.level].Name, folder: s.levels[e.level].Path}
	if faults := b.placed(set); len(faults) > 0 {
		b.fault = &faults[0]
	}
	for _, t := range b.templatesInUse() {
		t.maps(func(name string) {
			if set.providers[name] {
				b.provider = name
			}
		})
	}
	return b
}

func (in *rule) templatesInUse() []*template {
	list := in.conditions.templates()
	for i := range in.variables {
		list = append(list, in.variables[i].value)
	}
	for _, t := range []*template{in.action.url, in.action.reason, in.action.description} {
		if t != nil {
			list = append(list, t)
		}
	}
	return list
}

// placed lists what IIS refuses when a request reaches the rule in this place.
func (in *rule) placed(set *ruleSet) []Fault {
	faults := slices.Clone(in.faults)
	for _, t := range in.templatesInUse() {
		t.maps(func(name string) {
			if set.maps[name] == nil && !set.providers[name] {
				fault := in.at
				fault.Reason = "rewrite map \"" + name + "\" is not defined"
				faults = append(faults, fault)
			}
		})
	}
	return faults
}

// forbidden lists the server variables that the rule sets without permission. IIS notices
// it when the rule matches.
func (in *rule) forbidden(set *ruleSet) []Fault {
	var faults []Fault
	if in.global {
		return nil
	}
	for i, v := range in.variables {
		if !set.allowed[v.name] {
			fault := in.at
			fault.Element = in.at.Element + "/serverVariables/set[" + itoa(i+1) + "]"
			fault.Reason = "server variable \"" + v.name + "\" is not in allowedServerVariables"
			faults = append(faults, fault)
		}
	}
	return faults
}

// intern gives equal inputs of conditions the same place in the cache.
func (set *ruleSet) intern() {
	places := map[string]int{}
	for i := range set.rules {
		b := &set.rules[i]
		for j := range b.conditions.list {
			c := &b.conditions.list[j]
			slot := -1
			if c.matchType == matchPattern && !c.input.rule && !c.input.condition && c.input.fault == "" {
				known, ok := places[c.input.text]
				if !ok {
					known = len(places)
					places[c.input.text] = known
				}
				slot = known
			}
			b.slots = append(b.slots, slot)
		}
	}
	set.inputs = len(places)
}

// Problems lists what will fail when requests come, in the order of the rules: what IIS
// cannot read (500.19), rules that fail for every request that reaches them, and rules that
// fail when they match because they set a server variable without permission.
func (s *Site) Problems() []Fault {
	var problems []Fault
	seen := map[string]bool{}
	add := func(faults ...Fault) {
		for _, f := range faults {
			if key := f.String(); !seen[key] {
				seen[key] = true
				problems = append(problems, f)
			}
		}
	}
	sets := append([]*ruleSet{s.global}, s.sets...)
	slices.Reverse(sets[1:])
	for _, set := range sets {
		if set.fault != nil {
			add(*set.fault)
		}
		for i := range set.rules {
			add(set.rules[i].placed(set)...)
			add(set.rules[i].forbidden(set)...)
		}
		add(set.outbound.problems...)
	}
	return problems
}

// Problems lists what IIS refuses in single rules when requests come. What depends on other
// files, such as permissions for server variables, is known to a Site only.
func (c *Configuration) Problems() []Fault {
	var problems []Fault
	for _, section := range [][]change[rule]{c.global.changes, c.rules.changes} {
		for _, change := range section {
			if change.kind == add && change.item.enabled {
				problems = append(problems, change.item.faults...)
			}
		}
	}
	for _, change := range c.preConditions.changes {
		if change.kind == add {
			problems = append(problems, change.item.faults...)
		}
	}
	for _, change := range c.outbound.changes {
		if change.kind == add && change.item.enabled {
			problems = append(problems, change.item.faults...)
		}
	}
	return problems
}
