package effective

import (
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
)

// lookAlikes adds the rules of others that do the same as one of a section, at the target, below it, or for the whole server.
func (s *server) lookAlikes(found []LookAlike, t Target, own apphost.Section, items []item, paths []string, ours map[string]bool) []LookAlike {
	if elements[own] != "rule" {
		return found
	}
	wanted := map[string]string{} // names by behaviour
	for _, item := range items {
		if item.node != nil {
			wanted[behaviour(item.node, t.preCondition)] = item.name
		}
	}
	seen := map[*node]bool{} // a rule is inherited by many levels
	look := func(section apphost.Section, path string) {
		preCondition := func(name string) *node {
			all := s.merge(apphost.PreConditions, path)
			if i := all.find(name); i >= 0 {
				return all.live[i].node
			}
			return nil
		}
		all := s.merge(section, path).live
		if s.spend(len(all)) != nil {
			return
		}
		for _, e := range all {
			if len(found) == MaxLookAlikes {
				return
			}
			if seen[e.node] {
				continue
			}
			seen[e.node] = true
			like, same := wanted[behaviour(e.node, preCondition)]
			if !same || ours[strings.ToLower(e.value("name"))] || !e.is("enabled", true, true) {
				continue
			}
			one := LookAlike{Name: e.value("name"), Like: like, Path: e.at, File: e.file.path, Line: e.line}
			if !slices.Contains(found, one) {
				found = append(found, one)
			}
		}
	}
	if own != apphost.OutboundRules {
		look(apphost.GlobalRules, "")
	}
	if own != apphost.GlobalRules {
		for _, p := range paths {
			look(own, p)
		}
	}
	return found
}

// preCondition gives a precondition of the target by its installed name.
func (t Target) preCondition(name string) *node {
	for _, g := range t.Content.Groups {
		if g.Section != apphost.PreConditions {
			continue
		}
		for _, item := range g.Items {
			if strings.EqualFold(item.Name, name) {
				if doc, err := lossless.Scan(item.XML); err == nil {
					return newReader(doc).copy(doc.Root)
				}
			}
		}
	}
	return nil
}
