package rewrite

import (
	"fmt"
	"math"
	"net/http"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

var syntaxes = []Syntax{ECMAScript, Wildcard, ExactMatch}

func (r *reader) syntax(node *xmltree.Node, path string) (Syntax, error) {
	i, err := r.enumeration(node, path, "patternSyntax", string(ECMAScript), string(Wildcard), string(ExactMatch))
	return syntaxes[i], err
}

// inbound reads <rules> or <globalRules>.
func (r *reader) inbound(node *xmltree.Node, path string, into *section[rule], global bool) error {
	encoding, err := r.boolean(node, path, "useOriginalURLEncoding", true)
	if err != nil {
		return err
	}
	return collect(r, node, path, into, collection[rule]{
		element: "rule", key: "name", ignoreCase: true, attributes: "useOriginalURLEncoding",
		item: func(node *xmltree.Node, path string) (*rule, error) {
			read, err := r.rule(node, path, global)
			if err == nil {
				read.originalEncodingOff = !encoding
			}
			return read, err
		},
	})
}

// count bounds the number of rules.
func (r *reader) count() error {
	if r.rules++; r.rules > maxRules {
		return unsupported("more than %d rules", maxRules)
	}
	return nil
}

func (r *reader) rule(node *xmltree.Node, path string, global bool) (*rule, error) {
	if err := r.count(); err != nil {
		return nil, err
	}
	in := &rule{at: r.at(node, path), global: global}
	in.name, _ = node.Attr("name")
	in.at.Rule = in.name
	in.at.Code, in.at.SubStatus = "", subStatusInbound
	if global {
		in.at.SubStatus = subStatusGlobal
	}
	if err := r.attributes(node, path, "name enabled patternSyntax stopProcessing responseCacheDirective"); err != nil {
		return nil, err
	}
	if err := r.children(node, path, "match conditions serverVariables action"); err != nil {
		return nil, err
	}
	var err error
	if in.enabled, err = r.boolean(node, path, "enabled", true); err != nil {
		return nil, err
	}
	if in.stopProcessing, err = r.boolean(node, path, "stopProcessing", false); err != nil {
		return nil, err
	}
	if _, err = r.enumeration(node, path, "responseCacheDirective", "Auto", "Always", "Never", "NotIfRuleMatched"); err != nil {
		return nil, err
	}
	syntax, err := r.syntax(node, path)
	if err != nil {
		return nil, err
	}
	if err := r.match(node.Child("match"), path+"/match", in, syntax); err != nil {
		return nil, err
	}
	if list := node.Child("conditions"); list != nil {
		kind := inboundConditions
		if global {
			kind = globalConditions
		}
		if in.conditions, err = r.conditions(list, path+"/conditions", syntax, kind); err != nil {
			return nil, err
		}
	}
	if err := r.settings(node.Child("serverVariables"), path+"/serverVariables", in); err != nil {
		return nil, err
	}
	if err := r.action(node.Child("action"), path+"/action", in); err != nil {
		return nil, err
	}
	in.finish()
	return in, nil
}

func (r *reader) match(node *xmltree.Node, path string, in *rule, syntax Syntax) error {
	ignoreCase, url := true, ""
	if node != nil {
		if err := r.attributes(node, path, "url ignoreCase negate"); err != nil {
			return err
		}
		var err error
		if ignoreCase, err = r.boolean(node, path, "ignoreCase", true); err != nil {
			return err
		}
		if in.negate, err = r.boolean(node, path, "negate", false); err != nil {
			return err
		}
		if url, in.hasPattern = node.Attr("url"); in.hasPattern && url == "" {
			return r.refuse(node, path, "url must not be empty")
		}
	}
	in.pattern = newPattern(syntax, url, ignoreCase, &r.wide)
	return nil
}

// conditionKind says where conditions stand, which decides about defaults and keys.
type conditionKind uint8

const (
	inboundConditions conditionKind = iota
	globalConditions
	outboundConditions
	preConditionList
)

func (r *reader) conditions(node *xmltree.Node, path string, syntax Syntax, kind conditionKind) (conditions, error) {
	allowed := "logicalGrouping trackAllCaptures"
	if kind == preConditionList {
		allowed = "name logicalGrouping patternSyntax"
	}
	list := conditions{}
	if err := r.attributes(node, path, allowed); err != nil {
		return list, err
	}
	grouping, err := r.enumeration(node, path, "logicalGrouping", "MatchAll", "MatchAny")
	if err != nil {
		return list, err
	}
	list.any = grouping == 1
	// rewrite_schema.xml: false for inbound rules, true for outbound rules.
	if list.trackAll, err = r.boolean(node, path, "trackAllCaptures", kind == outboundConditions); err != nil {
		return list, err
	}
	keys := map[string]bool{}
	for i, add := range node.Children {
		path := fmt.Sprintf("%s/add[%d]", path, i+1)
		if add.Name != "add" {
			return list, r.refuse(add, path, "unrecognized element <%s>", firstOf(add.Name))
		}
		c, key, err := r.condition(add, path, syntax, kind)
		if err != nil {
			return list, err
		}
		// Only in rules/rule the conditions have no key.
		if kind != inboundConditions && keys[key] {
			fault := r.at(add, path)
			fault.Code, fault.Reason = codeAlreadyExists, "the same condition occurs twice"
			return list, fault.Err()
		}
		keys[key] = true
		list.list = append(list.list, c)
	}
	return list, nil
}

func (r *reader) condition(node *xmltree.Node, path string, syntax Syntax, kind conditionKind) (c condition, key string, err error) {
	if err := r.attributes(node, path, "input matchType pattern ignoreCase negate"); err != nil {
		return c, "", err
	}
	types := []string{"Pattern", "IsFile", "IsDirectory"}
	if kind != inboundConditions {
		types = types[:1]
	}
	which, err := r.enumeration(node, path, "matchType", types...)
	if err != nil {
		return c, "", err
	}
	c.matchType = matchType(which) //nolint:gosec // at most 2
	ignoreCase, err := r.boolean(node, path, "ignoreCase", true)
	if err != nil {
		return c, "", err
	}
	if c.negate, err = r.boolean(node, path, "negate", false); err != nil {
		return c, "", err
	}
	input, hasInput := node.Attr("input")
	text, _ := node.Attr("pattern")
	c.hasInput = hasInput && input != ""
	c.input = newTemplate(input)
	c.pattern = newPattern(syntax, text, ignoreCase, &r.wide)
	return c, fmt.Sprint(input, "\x00", text, "\x00", ignoreCase, c.negate), nil
}

func (r *reader) settings(node *xmltree.Node, path string, in *rule) error {
	if node == nil {
		return nil
	}
	var list section[setting]
	err := collect(r, node, path, &list, collection[setting]{
		element: "set", key: "name", ignoreCase: true,
		item: func(set *xmltree.Node, path string) (*setting, error) {
			if err := r.attributes(set, path, "name value replace"); err != nil {
				return nil, err
			}
			if err := r.trimmed(set, path, "name"); err != nil {
				return nil, err
			}
			name, _ := set.Attr("name")
			value, _ := set.Attr("value")
			replace, err := r.boolean(set, path, "replace", true)
			return &setting{name: strings.ToUpper(name), value: newTemplate(value), replace: replace}, err
		},
	})
	if err != nil {
		return err
	}
	for _, c := range list.changes {
		if c.kind != add {
			return r.refuse(node, path, "unrecognized element <clear> or <remove>")
		}
		in.variables = append(in.variables, *c.item)
	}
	return nil
}

// redirects are the values of redirectType; 308 is not among them.
var redirects = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect}

func (r *reader) action(node *xmltree.Node, path string, in *rule) error {
	if node == nil {
		return nil
	}
	names := "type url appendQueryString redirectType statusCode subStatusCode statusReason statusDescription"
	if !in.global {
		names += " logRewrittenUrl"
	}
	if err := r.attributes(node, path, names); err != nil {
		return err
	}
	kind, err := r.enumeration(node, path, "type", actionNames...)
	if err != nil {
		return err
	}
	in.action.kind = actionKind(kind) //nolint:gosec // at most 4
	if in.action.appendQuery, err = r.boolean(node, path, "appendQueryString", true); err != nil {
		return err
	}
	if in.action.logURL, err = r.boolean(node, path, "logRewrittenUrl", false); err != nil {
		return err
	}
	if err := r.trimmed(node, path, "url"); err != nil {
		return err
	}
	redirect, err := r.enumeration(node, path, "redirectType", "Permanent", "Found", "SeeOther", "Temporary")
	if err != nil {
		return err
	}
	if err := r.status(node, path, in); err != nil {
		return err
	}
	if in.action.kind == actionRedirect {
		in.action.status = redirects[redirect]
	}
	text := func(attribute string) *template {
		value, _ := node.Attr(attribute)
		return newTemplate(value)
	}
	in.action.url, in.action.reason, in.action.description = text("url"), text("statusReason"), text("statusDescription")
	if (in.action.kind == actionRewrite || in.action.kind == actionRedirect) && in.action.url.text == "" {
		in.fail(path, "an action of type %s needs a url", actionNames[in.action.kind])
	}
	return nil
}

func (r *reader) status(node *xmltree.Node, path string, in *rule) error {
	code, present, err := r.number(node, path, "statusCode", math.MaxUint32)
	if err != nil {
		return err
	}
	if 300 <= code && code <= 307 {
		return r.refuse(node, path, "statusCode %d is excluded", code)
	}
	sub, _, err := r.number(node, path, "subStatusCode", 999)
	if err != nil {
		return err
	}
	if in.action.kind != actionRespond {
		return nil
	}
	if !present || code < 100 || code > 999 {
		in.fail(path, "an action of type CustomResponse needs a statusCode from 100 to 999")
	}
	in.action.status, in.action.subStatus = int(min(code, 999)), int(sub) //nolint:gosec // both are at most 999
	return nil
}

// fail notes something that IIS refuses when a request reaches the rule.
func (in *rule) fail(element, format string, args ...any) {
	fault := in.at
	fault.Element, fault.Reason = element, fmt.Sprintf(format, args...)
	in.faults = append(in.faults, fault)
}

// finish looks at the rule as a whole: what its parts refer to, and what is wrong with them.
func (in *rule) finish() {
	path := in.at.Element
	if in.pattern.fault != "" {
		in.fail(path+"/match", "%s", in.pattern.fault)
	}
	in.faults = append(in.faults, in.conditions.faults(in.at, path+"/conditions")...)
	templates := in.conditions.templates()
	check := func(t *template, element string) {
		if t == nil {
			return
		}
		templates = append(templates, t)
		if t.fault != "" {
			in.fail(element, "%s", t.fault)
		}
	}
	for i := range in.variables {
		check(in.variables[i].value, fmt.Sprintf("%s/serverVariables/set[%d]", path, i+1))
	}
	switch in.action.kind {
	case actionRewrite, actionRedirect:
		check(in.action.url, path+"/action")
	case actionRespond:
		check(in.action.reason, path+"/action")
		check(in.action.description, path+"/action")
	case actionNone, actionAbort:
	}
	for _, t := range templates {
		in.ruleCaptures = in.ruleCaptures || t.rule
		in.conditionCaptures = in.conditionCaptures || t.condition
	}
}

func (c *conditions) templates() []*template {
	list := make([]*template, 0, len(c.list))
	for i := range c.list {
		list = append(list, c.list[i].input)
	}
	return list
}

// faults lists what is wrong with conditions, whatever the request.
func (c *conditions) faults(at Fault, path string) []Fault {
	var faults []Fault
	for i := range c.list {
		for _, reason := range []string{c.list[i].input.fault, c.list[i].pattern.fault} {
			if reason != "" {
				fault := at
				fault.Element, fault.Reason = fmt.Sprintf("%s/add[%d]", path, i+1), reason
				faults = append(faults, fault)
			}
		}
	}
	return faults
}
