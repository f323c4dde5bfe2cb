package effective

import (
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
)

// shadow is what a rule in front of another one does to it.
type shadow int

const (
	noShadow shadow = iota
	// mayShadow: some requests do not reach the rules behind, or reach them with another URL.
	mayShadow
	// fullShadow: no request reaches the rules behind.
	fullShadow
)

// shadows says what an inbound rule does to those behind it. sameSet is false for a global rule in front of the rules of a
// site, which it cannot keep from running: stopProcessing ends its own set of rules alone.
func shadows(rule *node, sameSet bool) shadow {
	if !rule.is("enabled", true, true) {
		return noShadow
	}
	action := ""
	if a := rule.child("action"); a != nil {
		action = strings.ToLower(strings.TrimSpace(a.value("type")))
	}
	stops := sameSet && rule.is("stopProcessing", true, false)
	switch action {
	case "redirect", "customresponse", "abortrequest":
		return noShadow // what it matches does not reach the site
	case "rewrite":
		if stops && matchesAlways(rule) {
			return fullShadow
		}
		return mayShadow // the rules behind see the new URL
	}
	switch {
	case !stops:
		return noShadow
	case matchesAlways(rule):
		return fullShadow
	}
	return mayShadow
}

// matchesAlways reports whether it is plain that a rule matches every request. A rule without <match>, or with an empty URL
// pattern, is not one of these: what it does is not documented.
func matchesAlways(rule *node) bool {
	if c := rule.child("conditions"); c != nil && len(c.all("add")) > 0 {
		return false
	}
	match := rule.child("match")
	if match == nil || !match.is("negate", false, false) {
		return false
	}
	switch url := match.value("url"); strings.ToLower(rule.value("patternSyntax")) {
	case "wildcard":
		return url == "*"
	case "", "ecmascript":
		switch url {
		case ".*", "(.*)", "^.*", "^(.*)", ".*$", "(.*)$", "^.*$", "^(.*)$", "^", "$", ".*?", "(.*?)":
			return true
		}
	}
	return false
}

// inFront looks at the rules that run before one, which is live[at] of a section.
func (s *server) inFront(section apphost.Section, live []entry, at int, path string) *problem {
	if err := s.spend(at); err != nil {
		return err
	}
	var doubt *problem
	judge := func(e entry, what shadow) *problem {
		switch what {
		case fullShadow:
			return no(Shadowed, "%s, line %d: rule %q comes first, matches every request of %s and ends the processing", e.file.path, e.line, e.value("name"), placeName(path))
		case mayShadow:
			if doubt == nil {
				doubt = unknown(MayBeShadowed, "%s, line %d: rule %q comes first for %s, and stops the processing or changes the URL of what it matches",
					e.file.path, e.line, e.value("name"), placeName(path))
			}
		case noShadow:
		}
		return nil
	}
	for _, e := range live[:at] {
		what := noShadow
		if section == apphost.OutboundRules {
			// Which of them matches a response depends on the response.
			if e.is("enabled", true, true) && e.is("stopProcessing", true, false) {
				what = mayShadow
			}
		} else {
			what = shadows(e.node, true)
		}
		if p := judge(e, what); p != nil {
			return p
		}
	}
	if section == apphost.Rules {
		for _, e := range s.merge(apphost.GlobalRules, "").live {
			if p := judge(e, shadows(e.node, false)); p != nil {
				return p
			}
		}
	}
	return doubt
}
