package ocs

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/rewrite"
)

// checkRewrite refuses a <rewrite> element that IIS would not take or that the format
// does not allow.
func checkRewrite(node *xmltree.Node, scope Scope) error {
	if err := rewriteSchema.check(node, "rewrite"); err != nil {
		return err
	}
	rules, entries := 0, 0
	for _, section := range node.Children {
		if section.Name == "globalRules" && scope != ScopeServer {
			return errors.New("rewrite: globalRules need scope Server")
		}
		entries += len(section.Children)
		preConditions, customTags := namesIn(section, "preConditions"), namesIn(section, "customTags")
		for i, entry := range section.Children {
			where := fmt.Sprintf("rewrite/%s/%s[%d]", section.Name, entry.Name, i+1)
			var err error
			switch entry.Name {
			case "rule":
				rules++
				err = checkRule(entry, section.Name == "outboundRules", preConditions, customTags)
			case "preConditions":
				err = checkPreConditions(entry)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", where, err)
			}
		}
	}
	if rules > MaxRules {
		return fmt.Errorf("rewrite: %d rules, allowed are %d", rules, MaxRules)
	}
	// Looks applied and protects nothing.
	if entries == 0 {
		return errors.New("rewrite: nothing in it")
	}
	return nil
}

// namesIn returns the lower-case names in a list of the section, to which its rules may refer.
func namesIn(section *xmltree.Node, name string) map[string]bool {
	names := map[string]bool{}
	if list := section.Child(name); list != nil {
		for _, p := range list.Children {
			name, _ := p.Attr("name")
			names[strings.ToLower(name)] = true
		}
	}
	return names
}

func checkPreConditions(list *xmltree.Node) error {
	for i, p := range list.Children {
		if len(p.Children) == 0 {
			return fmt.Errorf("preCondition[%d]: no condition", i+1)
		}
		if err := checkConditions(p, syntaxOf(p)); err != nil {
			return fmt.Errorf("preCondition[%d]: %w", i+1, err)
		}
	}
	return nil
}

func checkRule(rule *xmltree.Node, outbound bool, preConditions, customTags map[string]bool) error {
	syntax := syntaxOf(rule)
	match := rule.Child("match")
	if match == nil {
		// The schema allows it; what IIS makes of it is not documented.
		return errors.New("no match")
	}
	pattern, _ := match.Attr("url")
	if outbound {
		pattern, _ = match.Attr("pattern")
		if reference, ok := rule.Attr("preCondition"); ok && reference != "" && !preConditions[strings.ToLower(reference)] {
			return fmt.Errorf("preCondition %q is not in this Value", shown(reference))
		}
		if reference, ok := match.Attr("customTags"); ok && reference != "" && !customTags[strings.ToLower(reference)] {
			return fmt.Errorf("match: customTags %q is not in this Value", shown(reference))
		}
	}
	if err := rewrite.CheckPattern(syntax, pattern); err != nil {
		return fmt.Errorf("match: %w", err)
	}
	if list := rule.Child("conditions"); list != nil {
		if err := checkConditions(list, syntax); err != nil {
			return err
		}
	}
	if action := rule.Child("action"); action != nil && !outbound {
		return checkInboundAction(action)
	}
	return nil
}

func checkConditions(list *xmltree.Node, syntax rewrite.Syntax) error {
	for i, add := range list.Children {
		if matchType, ok := add.Attr("matchType"); ok && !strings.EqualFold(matchType, "Pattern") {
			continue
		}
		pattern, ok := add.Attr("pattern")
		if !ok {
			return fmt.Errorf("condition %d: no pattern", i+1)
		}
		if err := rewrite.CheckPattern(syntax, pattern); err != nil {
			return fmt.Errorf("condition %d: %w", i+1, err)
		}
	}
	return nil
}

// checkInboundAction refuses actions that lack what their type needs, which IIS notices
// only when a request reaches the rule.
func checkInboundAction(action *xmltree.Node) error {
	kind, _ := action.Attr("type")
	switch strings.ToLower(kind) {
	case "rewrite", "redirect":
		if url, _ := action.Attr("url"); url == "" {
			return fmt.Errorf("action: type %s needs a url", kind)
		}
	case "customresponse":
		text, _ := action.Attr("statusCode")
		if code, err := strconv.Atoi(text); err != nil || code < 100 || code > 999 {
			return fmt.Errorf("action: type %s needs a statusCode from 100 to 999", kind)
		}
	}
	return nil
}

// syntaxOf returns the pattern syntax of a rule or precondition that the schema check has
// accepted.
func syntaxOf(node *xmltree.Node) rewrite.Syntax {
	value, _ := node.Attr("patternSyntax")
	for _, syntax := range []rewrite.Syntax{rewrite.Wildcard, rewrite.ExactMatch} {
		if strings.EqualFold(value, string(syntax)) {
			return syntax
		}
	}
	return rewrite.ECMAScript
}
