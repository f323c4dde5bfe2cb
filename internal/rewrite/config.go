package rewrite

import (
	"slices"
	"strings"
)

// Configuration is what one file, or one <location> of it, says about URL Rewrite. It is
// immutable.
type Configuration struct {
	rules   section[rule]
	global  section[rule]
	maps    section[rewriteMap]
	allowed section[string]
	// providers has the names of rewrite providers, which are code of third parties.
	providers     section[string]
	outbound      section[outboundRule]
	preConditions section[preCondition]
	customTags    section[tagList]
	// beforeCache is rewriteBeforeCache of outboundRules, nil if it is not stated.
	beforeCache *bool
}

// Names lists the rules of a section in order: "rules", "globalRules" or "outboundRules".
// Rules with enabled="false" are among them.
func (c *Configuration) Names(sectionName string) []string {
	var names []string
	switch sectionName {
	case "rules":
		names = c.rules.names(func(r *rule) string { return r.name })
	case "globalRules":
		names = c.global.names(func(r *rule) string { return r.name })
	case "outboundRules":
		names = c.outbound.names(func(r *outboundRule) string { return r.name })
	}
	return names
}

// Apart returns the same configuration with rules that do not clash with rules of the same name
// elsewhere, and that nothing elsewhere removes by name: what an installer does that puts a
// prefix of its own before each name. Results have the names as they are written here.
func (c *Configuration) Apart(prefix string) *Configuration {
	apart := *c
	apart.rules = apart.rules.apart(prefix)
	apart.global = apart.global.apart(prefix)
	apart.outbound = apart.outbound.apart(prefix)
	return &apart
}

type changeKind uint8

const (
	add changeKind = iota
	remove
	clearAll
)

// change is an add element, <remove/> or <clear/> of a collection.
type change[T any] struct {
	kind changeKind
	// key tells the items apart; it is in lower case where IIS ignores case.
	key  string
	item *T
	at   Fault
}

// section is a collection of one configuration: what it changes of what it inherits.
type section[T any] struct {
	// present says that the file has the section, where is its element.
	present bool
	where   Fault
	changes []change[T]
}

func (s section[T]) apart(prefix string) section[T] {
	s.changes = slices.Clone(s.changes)
	for i := range s.changes {
		s.changes[i].key = strings.ToLower(prefix) + " " + s.changes[i].key
	}
	return s
}

func (s section[T]) names(name func(*T) string) []string {
	var names []string
	for _, c := range s.changes {
		if c.kind == add {
			names = append(names, name(c.item))
		}
	}
	return names
}

// entry is an item of a merged collection.
type entry[T any] struct {
	key  string
	item *T
	// level is the place of the level that brings it, counted from the server's.
	level int
}

// merge applies the changes of a level to what it inherits. The result is a new slice. Items
// are appended, as all collections of URL Rewrite are. Removing what is not there does nothing.
func merge[T any](inherited []entry[T], changes []change[T], level int) ([]entry[T], *Fault) {
	merged := append([]entry[T](nil), inherited...)
	present := make(map[string]bool, len(inherited)+len(changes))
	for _, e := range inherited {
		present[e.key] = true
	}
	for i := range changes {
		c := &changes[i]
		switch c.kind {
		case clearAll:
			merged = merged[:0]
			clear(present)
		case remove:
			if !present[c.key] {
				continue
			}
			delete(present, c.key)
			kept := merged[:0]
			for _, e := range merged {
				if e.key != c.key {
					kept = append(kept, e)
				}
			}
			merged = kept
		case add:
			if present[c.key] {
				fault := c.at
				fault.Code = codeAlreadyExists
				fault.Reason = "cannot add duplicate collection entry with unique key " + strings.ReplaceAll(c.key, "\x00", ", ")
				return nil, &fault
			}
			present[c.key] = true
			merged = append(merged, entry[T]{key: c.key, item: c.item, level: level})
		}
	}
	return merged, nil
}

// rule is an inbound rule.
type rule struct {
	at             Fault
	name           string
	global         bool
	enabled        bool
	stopProcessing bool
	pattern        *pattern
	// hasPattern is false without match or url.
	hasPattern bool
	negate     bool
	conditions conditions
	variables  []setting
	action     action
	// ruleCaptures and conditionCaptures say that something refers to {R:n} or {C:n}.
	ruleCaptures, conditionCaptures bool
	// originalEncodingOff is useOriginalURLEncoding="false" of the section.
	originalEncodingOff bool
	// faults are those that the rule has in itself, whatever the request.
	faults []Fault
}

type matchType uint8

const (
	matchPattern matchType = iota
	matchFile
	matchDirectory
)

// conditions is the list of conditions of a rule or precondition.
type conditions struct {
	list     []condition
	any      bool
	trackAll bool
}

type condition struct {
	input *template
	// hasInput is false for a file check that takes the physical path of the request.
	hasInput  bool
	matchType matchType
	pattern   *pattern
	negate    bool
}

// setting is a server variable that a rule sets.
type setting struct {
	name    string
	value   *template
	replace bool
}

type actionKind uint8

const (
	actionNone actionKind = iota
	actionRewrite
	actionRedirect
	actionRespond
	actionAbort
)

var actionNames = []string{"None", "Rewrite", "Redirect", "CustomResponse", "AbortRequest"}

type action struct {
	kind        actionKind
	url         *template
	appendQuery bool
	status      int
	subStatus   int
	reason      *template
	description *template
	logURL      bool
}

// rewriteMap is a list of keys and values.
type rewriteMap struct {
	name         string
	defaultValue string
	ignoreCase   bool
	entries      section[mapEntry]
	// values is filled when levels are merged; its keys are in lower case if case is ignored.
	values map[string]string
}

type mapEntry struct{ key, value string }

// lookup returns the value of a key. Of keys that differ in case only, the first one counts.
func (m *rewriteMap) lookup(key string) string {
	if m.ignoreCase {
		key = strings.ToLower(key)
	}
	if value, ok := m.values[key]; ok {
		return value
	}
	return m.defaultValue
}

// outboundRule is a rule for responses.
type outboundRule struct {
	at             Fault
	name           string
	enabled        bool
	stopProcessing bool
	preCondition   string
	// tags says which attributes of which elements are looked at; both are in lower case.
	tags        []tag
	tagsFilter  bool
	customTags  string
	variable    string
	pattern     *pattern
	occurrences int64
	negate      bool
	conditions  conditions
	rewrite     bool
	value       *template
	replace     bool
	faults      []Fault
}

// preCondition says for which responses an outbound rule is evaluated.
type preCondition struct {
	name       string
	conditions conditions
	faults     []Fault
}

// tag is an attribute of an element whose content is a URL.
type tag struct{ element, attribute string }

type tagList struct {
	name string
	tags section[tag]
}

// predefinedTags are the values of filterByTags, from rewrite_schema.xml and the 2.0
// configuration reference.
var predefinedTags = map[string][]tag{
	"none":   {},
	"a":      {{"a", "href"}},
	"area":   {{"area", "href"}},
	"base":   {{"base", "href"}},
	"form":   {{"form", "action"}},
	"frame":  {{"frame", "src"}, {"frame", "longdesc"}},
	"head":   {{"head", "profile"}},
	"iframe": {{"iframe", "src"}, {"iframe", "longdesc"}},
	"img":    {{"img", "src"}, {"img", "longdesc"}, {"img", "usemap"}},
	"input":  {{"input", "src"}, {"input", "usemap"}},
	"link":   {{"link", "href"}},
	"script": {{"script", "src"}},
}
