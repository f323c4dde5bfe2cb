package effective

import (
	"slices"
	"strconv"
	"strings"
)

// behaviour writes down what a rule does, in a form that is equal for rules which do the same, as far as that can be seen
// without understanding patterns: names, order of conditions, defaults and needless escapes do not count, and it is the same
// whether a request is blocked with a status or by dropping the connection. preCondition gives one by its name.
func behaviour(rule *node, preCondition func(name string) *node) string {
	syntax := syntaxOf(rule)
	action := actionOf(rule)
	parts := []string{action}
	if match := rule.child("match"); match != nil {
		pattern, ok := match.attr("pattern")
		if !ok {
			pattern = match.value("url")
		}
		parts = append(parts, "match", folded(match, "serverVariable"), folded(match, "filterByTags"), folded(match, "customTags"),
			patternOf(match, pattern, syntax, action == "block"), flag(match, "negate", false))
	}
	if list := rule.child("conditions"); list != nil {
		parts = append(parts, conditionsOf(list, syntax, action == "block")...)
	}
	if name := rule.value("preCondition"); name != "" && preCondition != nil {
		if list := preCondition(name); list != nil {
			parts = append(parts, "precondition")
			parts = append(parts, conditionsOf(list, syntaxOf(list), true)...)
		} else {
			parts = append(parts, "precondition", name)
		}
	}
	var sets []string
	for _, list := range rule.all("serverVariables") {
		for _, set := range list.all("set") {
			sets = append(sets, key("set", folded(set, "name"), set.value("value"), flag(set, "replace", true)))
		}
	}
	slices.Sort(sets)
	return key(append(parts, sets...)...)
}

// key joins texts so that no two lists give the same one.
func key(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(strconv.Quote(p))
	}
	return b.String()
}

func folded(n *node, attr string) string { return strings.ToLower(n.value(attr)) }

func flag(n *node, attr string, absent bool) string {
	return strconv.FormatBool(n.is(attr, true, absent))
}

func syntaxOf(n *node) string {
	if s := folded(n, "patternSyntax"); s != "" {
		return s
	}
	return "ecmascript"
}

// actionOf gives "block" for every action by which a request does not reach the site.
func actionOf(rule *node) string {
	a := rule.child("action")
	if a == nil {
		return "none"
	}
	switch kind := folded(a, "type"); kind {
	case "abortrequest", "customresponse":
		return "block"
	case "redirect":
		return key(kind, a.value("url"), flag(a, "appendQueryString", true))
	case "rewrite":
		return key(kind, a.value("url"), a.value("value"), flag(a, "appendQueryString", true), flag(a, "replace", true))
	default:
		return "none"
	}
}

func conditionsOf(list *node, syntax string, search bool) []string {
	var all []string
	for _, c := range list.all("add") {
		input := strings.ToLower(strings.Join(strings.Fields(c.value("input")), ""))
		kind := folded(c, "matchType")
		if kind == "" {
			kind = "pattern"
		}
		all = append(all, key(input, kind, patternOf(c, c.value("pattern"), syntax, search), flag(c, "negate", false)))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > 1 && strings.EqualFold(list.value("logicalGrouping"), "MatchAny") {
		all = append([]string{"any"}, all...)
	}
	return all
}

// patternOf normalises a pattern. search tells that it only matters whether the pattern matches, and not what.
func patternOf(n *node, pattern, syntax string, search bool) string {
	fold := n.is("ignoreCase", true, true)
	if syntax != "ecmascript" {
		if fold {
			pattern = strings.ToLower(pattern)
		}
		return key(syntax, pattern, strconv.FormatBool(fold))
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if c == '\\' && i+1 < len(pattern) {
			i++
			if !strings.ContainsRune(`\.*+?()[]{}|^$-`, rune(pattern[i])) && !isWord(pattern[i]) {
				b.WriteByte(pattern[i]) // an escape that changes nothing
				continue
			}
			b.WriteByte(c)
			b.WriteByte(pattern[i])
			continue
		}
		if fold && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	pattern = b.String()
	if search {
		pattern = trimAny(pattern)
	}
	return key(pattern, strconv.FormatBool(fold))
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c >= 0x80
}

// trimAny takes ".*" off both ends, where a search gives the same without it. An alternative at the top level does not
// matter: what one of them loses is implied by the search as well.
func trimAny(pattern string) string {
	for {
		rest, ok := strings.CutPrefix(strings.TrimPrefix(pattern, "^"), ".*")
		if !ok || rest != "" && strings.ContainsRune("?+*{", rune(rest[0])) {
			break
		}
		pattern = rest
	}
	for {
		rest, ok := strings.CutSuffix(strings.TrimSuffix(pattern, "$"), ".*")
		if !ok || (len(rest)-len(strings.TrimRight(rest, `\`)))%2 == 1 {
			break
		}
		pattern = rest
	}
	if pattern == "^" || pattern == "$" {
		return "" // which matches everything as well
	}
	return pattern
}
