package rewrite

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// limits bounds the fragments that ParseRules reads: the size and the element count of a
// whole mitigation document, and the depth of a rule (rules, rule, conditions, add) with
// as much again to spare. A rule has five attributes at most, an action nine.
var limits = xmltree.Limits{Bytes: 1 << 20, Depth: 8, Elements: 20_000, Attributes: 16}

// RuleSet is an ordered list of inbound rules. It is safe for concurrent use.
type RuleSet struct {
	rules []rule
}

type rule struct {
	name           string
	url            matcher
	negate         bool
	conditions     []condition
	matchAny       bool
	outcome        Outcome
	stopProcessing bool
}

type condition struct {
	input   []part
	pattern matcher
	negate  bool
}

// Len returns the number of enabled rules.
func (s *RuleSet) Len() int { return len(s.rules) }

// ParseRules reads a <rules> or <globalRules> element. Rules with enabled="false" are
// checked for their name only, since IIS does not run them. The errors wrap ErrUnsupported
// for constructs outside the package, ErrInvalidRule for rules that IIS would refuse, and
// an error of package xmltree for bytes that are no XML.
func ParseRules(fragment []byte) (*RuleSet, error) {
	root, err := xmltree.Parse(fragment, limits)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if root.Name != "rules" && root.Name != "globalRules" {
		return nil, unsupported("element <%s> in place of <rules> or <globalRules>", root.Name)
	}
	if err := only(root, "", "rule"); err != nil {
		return nil, err
	}
	set := &RuleSet{}
	names := map[string]bool{}
	for i, node := range root.Children {
		name, _ := node.Attr("name")
		if name == "" {
			return nil, fmt.Errorf("%w: rule %d: no name", ErrInvalidRule, i+1)
		}
		key := strings.ToLower(name)
		if names[key] {
			return nil, fmt.Errorf("%w: rule %q: the name occurs twice", ErrInvalidRule, name)
		}
		names[key] = true
		r, enabled, err := parseRule(node, name)
		if err != nil {
			return nil, inRule(name, err)
		}
		if enabled {
			set.rules = append(set.rules, r)
		}
	}
	return set, nil
}

func parseRule(node *xmltree.Node, name string) (r rule, enabled bool, err error) {
	enabled, err = boolean(node, "enabled", true)
	if err != nil || !enabled {
		return rule{}, false, err
	}
	if err := errors.Join(
		only(node, "name enabled patternSyntax stopProcessing", "match conditions serverVariables action"),
		once(node),
	); err != nil {
		return rule{}, false, err
	}
	r.name = name
	if r.stopProcessing, err = boolean(node, "stopProcessing", false); err != nil {
		return rule{}, false, err
	}
	syntax := ECMAScript
	if value, ok := node.Attr("patternSyntax"); ok {
		if syntax, err = parseSyntax(value); err != nil {
			return rule{}, false, err
		}
	}
	if variables := node.Child("serverVariables"); variables != nil && len(variables.Children) > 0 {
		return rule{}, false, unsupported("serverVariables")
	}
	if err := r.parseMatch(node.Child("match"), syntax); err != nil {
		return rule{}, false, err
	}
	if err := r.parseConditions(node.Child("conditions"), syntax); err != nil {
		return rule{}, false, err
	}
	r.outcome, err = parseAction(node.Child("action"))
	r.outcome.Rule = name
	return r, true, err
}

func (r *rule) parseMatch(node *xmltree.Node, syntax Syntax) error {
	if node == nil {
		return unsupported("rule without match")
	}
	if err := only(node, "url ignoreCase negate", ""); err != nil {
		return err
	}
	url, _ := node.Attr("url")
	if url == "" {
		return unsupported("match without url")
	}
	ignoreCase, err := boolean(node, "ignoreCase", true)
	if err != nil {
		return err
	}
	if r.negate, err = boolean(node, "negate", false); err != nil {
		return err
	}
	r.url, err = newMatcher(syntax, url, ignoreCase)
	return err
}

func (r *rule) parseConditions(node *xmltree.Node, syntax Syntax) error {
	if node == nil {
		return nil
	}
	if err := only(node, "logicalGrouping trackAllCaptures", "add"); err != nil {
		return err
	}
	if grouping, ok := node.Attr("logicalGrouping"); ok {
		r.matchAny = strings.EqualFold(grouping, "MatchAny")
		if !r.matchAny && !strings.EqualFold(grouping, "MatchAll") {
			return fmt.Errorf("%w: logicalGrouping %q", ErrInvalidRule, grouping)
		}
	}
	// Captures are not used here, so that trackAllCaptures only has to be well-formed.
	if _, err := boolean(node, "trackAllCaptures", false); err != nil {
		return err
	}
	for i, add := range node.Children {
		c, err := parseCondition(add, syntax)
		if err != nil {
			return fmt.Errorf("condition %d: %w", i+1, err)
		}
		r.conditions = append(r.conditions, c)
	}
	return nil
}

func parseCondition(node *xmltree.Node, syntax Syntax) (condition, error) {
	if err := only(node, "input matchType pattern ignoreCase negate", ""); err != nil {
		return condition{}, err
	}
	if matchType, ok := node.Attr("matchType"); ok && !strings.EqualFold(matchType, "Pattern") {
		return condition{}, unsupported("matchType %q", matchType)
	}
	input, hasInput := node.Attr("input")
	pattern, hasPattern := node.Attr("pattern")
	if !hasInput || !hasPattern {
		return condition{}, unsupported("condition without input or pattern")
	}
	ignoreCase, err := boolean(node, "ignoreCase", true)
	if err != nil {
		return condition{}, err
	}
	c := condition{}
	if c.negate, err = boolean(node, "negate", false); err != nil {
		return condition{}, err
	}
	if c.input, err = parseInput(input); err != nil {
		return condition{}, err
	}
	c.pattern, err = newMatcher(syntax, pattern, ignoreCase)
	return c, err
}

// parseAction returns what a matching rule does. A rule without an action does nothing,
// as with type None.
func parseAction(node *xmltree.Node) (Outcome, error) {
	if node == nil {
		return Outcome{Kind: Passed}, nil
	}
	if err := only(node, "type url appendQueryString logRewrittenUrl redirectType statusCode subStatusCode statusReason statusDescription", ""); err != nil {
		return Outcome{}, err
	}
	kind, _ := node.Attr("type")
	switch strings.ToLower(kind) {
	case "", "none":
		return Outcome{Kind: Passed}, nil
	case "abortrequest":
		return Outcome{Kind: Aborted}, nil
	case "customresponse":
		text, _ := node.Attr("statusCode")
		status, err := strconv.Atoi(text)
		if err != nil || status < 100 || status > 999 || 300 <= status && status <= 307 {
			return Outcome{}, fmt.Errorf("%w: statusCode %q", ErrInvalidRule, text)
		}
		return Outcome{Kind: Responded, Status: status}, nil
	case "redirect":
		return parseRedirect(node)
	case "rewrite":
		return Outcome{}, unsupported("action type %q", kind)
	default:
		return Outcome{}, fmt.Errorf("%w: action type %q", ErrInvalidRule, kind)
	}
}

func parseRedirect(node *xmltree.Node) (Outcome, error) {
	if url, _ := node.Attr("url"); url == "" {
		return Outcome{}, fmt.Errorf("%w: action type Redirect without url", ErrInvalidRule)
	}
	kind, ok := node.Attr("redirectType")
	if !ok {
		kind = "Permanent"
	}
	statuses := map[string]int{
		"permanent": http.StatusMovedPermanently, "found": http.StatusFound,
		"seeother": http.StatusSeeOther, "temporary": http.StatusTemporaryRedirect,
	}
	status, ok := statuses[strings.ToLower(kind)]
	if !ok {
		return Outcome{}, fmt.Errorf("%w: redirectType %q", ErrInvalidRule, kind)
	}
	return Outcome{Kind: Redirected, Status: status}, nil
}

// only refuses attributes and child elements outside two lists of names.
func only(node *xmltree.Node, attributes, children string) error {
	for _, a := range node.Attrs {
		if !contains(attributes, a.Name) {
			return unsupported("attribute %q of <%s>", a.Name, node.Name)
		}
	}
	for _, c := range node.Children {
		if !contains(children, c.Name) {
			return unsupported("element <%s> in <%s>", c.Name, node.Name)
		}
	}
	return nil
}

// once refuses child elements that occur more than once.
func once(node *xmltree.Node) error {
	for _, c := range node.Children {
		if node.Child(c.Name) != c {
			return fmt.Errorf("%w: <%s> occurs more than once", ErrInvalidRule, c.Name)
		}
	}
	return nil
}

func contains(names, name string) bool {
	for known := range strings.FieldsSeq(names) {
		if known == name {
			return true
		}
	}
	return false
}

func boolean(node *xmltree.Node, attribute string, absent bool) (bool, error) {
	value, ok := node.Attr(attribute)
	switch {
	case !ok:
		return absent, nil
	case strings.EqualFold(value, "true"):
		return true, nil
	case strings.EqualFold(value, "false"):
		return false, nil
	}
	return false, fmt.Errorf("%w: %s %q is neither true nor false", ErrInvalidRule, attribute, value)
}
