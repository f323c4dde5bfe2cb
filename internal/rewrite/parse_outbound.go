package rewrite

import (
	"math"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// outbound reads <outboundRules>.
func (r *reader) outbound(node *xmltree.Node, path string) error {
	c := r.config
	if _, ok := node.Attr("rewriteBeforeCache"); ok {
		before, err := r.boolean(node, path, "rewriteBeforeCache", false)
		if err != nil {
			return err
		}
		c.beforeCache = &before
	}
	if list := node.Child("preConditions"); list != nil {
		err := collect(r, list, path+"/preConditions", &c.preConditions, collection[preCondition]{
			element: "preCondition", key: "name", ignoreCase: true, item: r.preCondition,
		})
		if err != nil {
			return err
		}
	}
	if list := node.Child("customTags"); list != nil {
		err := collect(r, list, path+"/customTags", &c.customTags, collection[tagList]{
			element: "tags", key: "name", ignoreCase: true, item: r.tags,
		})
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"preConditions", "customTags"} {
		for _, child := range node.Children {
			if child.Name == name && node.Child(name) != child {
				return r.refuse(child, path+"/"+name, "the element occurs twice")
			}
		}
	}
	return collect(r, node, path, &c.outbound, collection[outboundRule]{
		element: "rule", key: "name", ignoreCase: true, attributes: "rewriteBeforeCache", others: "preConditions customTags",
		item: r.outboundRule,
	})
}

func (r *reader) preCondition(node *xmltree.Node, path string) (*preCondition, error) {
	syntax, err := r.syntax(node, path)
	if err != nil {
		return nil, err
	}
	p := &preCondition{}
	p.name, _ = node.Attr("name")
	if p.conditions, err = r.conditions(node, path, syntax, preConditionList); err != nil {
		return nil, err
	}
	at := r.at(node, path)
	at.Code, at.SubStatus = "", subStatusOutbound
	p.faults = p.conditions.faults(at, path)
	return p, nil
}

func (r *reader) tags(node *xmltree.Node, path string) (*tagList, error) {
	list := &tagList{}
	list.name, _ = node.Attr("name")
	return list, collect(r, node, path, &list.tags, collection[tag]{
		element: "tag", key: "name attribute", ignoreCase: true, attributes: "name",
		item: func(node *xmltree.Node, path string) (*tag, error) {
			name, _ := node.Attr("name")
			attribute, _ := node.Attr("attribute")
			if name == "" || attribute == "" {
				return nil, r.refuse(node, path, "name and attribute must not be empty")
			}
			return &tag{strings.ToLower(name), strings.ToLower(attribute)}, r.attributes(node, path, "name attribute")
		},
	})
}

func (r *reader) outboundRule(node *xmltree.Node, path string) (*outboundRule, error) {
	if err := r.count(); err != nil {
		return nil, err
	}
	out := &outboundRule{at: r.at(node, path)}
	out.name, _ = node.Attr("name")
	out.preCondition, _ = node.Attr("preCondition")
	out.at.Rule, out.at.Code, out.at.SubStatus = out.name, "", subStatusOutbound
	if err := r.attributes(node, path, "name preCondition enabled patternSyntax stopProcessing"); err != nil {
		return nil, err
	}
	if err := r.children(node, path, "match conditions action"); err != nil {
		return nil, err
	}
	var err error
	if out.enabled, err = r.boolean(node, path, "enabled", true); err != nil {
		return nil, err
	}
	if out.stopProcessing, err = r.boolean(node, path, "stopProcessing", false); err != nil {
		return nil, err
	}
	syntax, err := r.syntax(node, path)
	if err != nil {
		return nil, err
	}
	out.pattern = newPattern(syntax, "", true, &r.wide)
	if match := node.Child("match"); match != nil {
		if err := r.outboundMatch(match, path+"/match", out, syntax); err != nil {
			return nil, err
		}
	}
	if list := node.Child("conditions"); list != nil {
		if out.conditions, err = r.conditions(list, path+"/conditions", syntax, outboundConditions); err != nil {
			return nil, err
		}
	}
	out.value, out.replace = newTemplate(""), true
	if action := node.Child("action"); action != nil {
		if err := r.outboundAction(action, path+"/action", out); err != nil {
			return nil, err
		}
	}
	out.finish()
	return out, nil
}

func (r *reader) outboundMatch(node *xmltree.Node, path string, out *outboundRule, syntax Syntax) error {
	if err := r.attributes(node, path, "filterByTags customTags serverVariable pattern occurrences ignoreCase negate"); err != nil {
		return err
	}
	ignoreCase, err := r.boolean(node, path, "ignoreCase", true)
	if err != nil {
		return err
	}
	if out.negate, err = r.boolean(node, path, "negate", false); err != nil {
		return err
	}
	text, _ := node.Attr("pattern")
	out.pattern = newPattern(syntax, text, ignoreCase, &r.wide)
	variable, _ := node.Attr("serverVariable")
	out.variable = strings.ToUpper(variable)
	occurrences, _, err := r.number(node, path, "occurrences", math.MaxInt64)
	if err != nil {
		return err
	}
	out.occurrences = int64(occurrences) //nolint:gosec // bounded by MaxInt64
	out.customTags, _ = node.Attr("customTags")
	flags, _ := node.Attr("filterByTags")
	for flag := range strings.SplitSeq(flags, ",") {
		name := strings.ToLower(strings.TrimSpace(flag))
		tags, known := predefinedTags[name]
		switch {
		case name == "":
		case name == "customtags":
			out.tagsFilter = true
		case !known:
			return r.refuse(node, path, "filterByTags %q is unknown", firstOf(flag))
		default:
			out.tags = append(out.tags, tags...)
			out.tagsFilter = out.tagsFilter || len(tags) > 0
		}
	}
	return nil
}

func (r *reader) outboundAction(node *xmltree.Node, path string, out *outboundRule) error {
	if err := r.attributes(node, path, "type value replace"); err != nil {
		return err
	}
	kind, err := r.enumeration(node, path, "type", "None", "Rewrite")
	if err != nil {
		return err
	}
	out.rewrite = kind == 1
	if out.replace, err = r.boolean(node, path, "replace", true); err != nil {
		return err
	}
	value, _ := node.Attr("value")
	out.value = newTemplate(value)
	return nil
}

// finish notes what is wrong with the rule, whatever the response.
func (out *outboundRule) finish() {
	path := out.at.Element
	fail := func(element, reason string) {
		if reason != "" {
			fault := out.at
			fault.Element, fault.Reason = element, reason
			out.faults = append(out.faults, fault)
		}
	}
	fail(path+"/match", out.pattern.fault)
	if out.pattern.syntax == Wildcard && !out.tagsFilter && out.variable == "" {
		fail(path+"/match", "a wildcard pattern needs filterByTags or serverVariable")
	}
	out.faults = append(out.faults, out.conditions.faults(out.at, path+"/conditions")...)
	fail(path+"/action", out.value.fault)
}
