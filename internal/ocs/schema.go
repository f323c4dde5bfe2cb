package ocs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// element describes an element of the rewrite sections after rewrite_schema.xml of URL
// Rewrite 2.0, as far as mitigations may use it.
type element struct {
	attributes map[string]attribute
	// children are the elements that may stand inside; those in many may be repeated.
	children map[string]*element
	many     []string
	// key lists the attributes that together have to be unique among the siblings of
	// this name, as isUniqueKey and isCombinedKey of the schema say.
	key []string
	// exactKey compares keys with regard to case.
	exactKey bool
}

// attribute is one attribute of the schema.
type attribute struct {
	required bool
	// absent is the default of the schema, used to compare keys.
	absent string
	check  func(value string) error
}

var rewriteSchema = &element{children: map[string]*element{
	"globalRules":   {children: map[string]*element{"rule": inboundRule(true)}, many: []string{"rule"}},
	"rules":         {children: map[string]*element{"rule": inboundRule(false)}, many: []string{"rule"}},
	"outboundRules": outboundRules(),
	"rewriteMaps": {many: []string{"rewriteMap"}, children: map[string]*element{"rewriteMap": {
		key: []string{"name"},
		attributes: map[string]attribute{
			"name": {required: true, check: name}, "defaultValue": {check: anyText}, "ignoreCase": boolean("true"),
		},
		many: []string{"add"},
		children: map[string]*element{"add": {
			key: []string{"key"}, exactKey: true,
			attributes: map[string]attribute{"key": {required: true, check: anyText}, "value": {check: anyText}},
		}},
	}}},
	"allowedServerVariables": {many: []string{"add"}, children: map[string]*element{"add": {
		key: []string{"name"}, attributes: map[string]attribute{"name": {required: true, check: name}},
	}}},
}}

// inboundRule describes the rules of rules and, with stricter conditions, of globalRules.
func inboundRule(global bool) *element {
	matchTypes := []string{"Pattern", "IsFile", "IsDirectory"}
	action := map[string]attribute{
		"type": enum("None", "Rewrite", "Redirect", "CustomResponse", "AbortRequest"), "url": {check: trimmed},
		"appendQueryString": boolean("true"), "redirectType": enum("Permanent", "Found", "SeeOther", "Temporary"),
		"statusCode": {check: statusCode}, "subStatusCode": {check: subStatusCode},
		"statusReason": {check: anyText}, "statusDescription": {check: anyText},
	}
	if global {
		matchTypes = matchTypes[:1]
	} else {
		action["logRewrittenUrl"] = boolean("false")
	}
	return &element{
		key:        []string{"name"},
		attributes: ruleAttributes(nil),
		children: map[string]*element{
			"match": {attributes: map[string]attribute{
				"url": {required: true, check: notEmpty}, "ignoreCase": boolean("true"), "negate": boolean("false"),
			}},
			"conditions": conditions(global, matchTypes...),
			"serverVariables": {many: []string{"set"}, children: map[string]*element{"set": {
				key: []string{"name"},
				attributes: map[string]attribute{
					"name": {required: true, check: name}, "value": {check: anyText}, "replace": boolean("true"),
				},
			}}},
			"action": {attributes: action},
		},
	}
}

func ruleAttributes(more map[string]attribute) map[string]attribute {
	all := map[string]attribute{
		"name": {required: true, check: name}, "enabled": boolean("true"),
		"patternSyntax": enum("ECMAScript", "Wildcard", "ExactMatch"), "stopProcessing": boolean("false"),
	}
	maps.Copy(all, more)
	return all
}

func conditions(combinedKey bool, matchTypes ...string) *element {
	return &element{
		attributes: map[string]attribute{"logicalGrouping": enum("MatchAll", "MatchAny"), "trackAllCaptures": boolean("")},
		many:       []string{"add"},
		children:   map[string]*element{"add": conditionAdd(combinedKey, matchTypes...)},
	}
}

func conditionAdd(combinedKey bool, matchTypes ...string) *element {
	add := &element{attributes: map[string]attribute{
		"input": {required: true, check: notEmpty}, "matchType": enum(matchTypes...), "pattern": {check: anyText},
		"ignoreCase": boolean("true"), "negate": boolean("false"),
	}}
	if combinedKey {
		add.key = []string{"input", "matchType", "pattern", "ignoreCase", "negate"}
	}
	return add
}

func outboundRules() *element {
	return &element{
		attributes: map[string]attribute{"rewriteBeforeCache": boolean("false")},
		many:       []string{"rule"},
		children: map[string]*element{
			"customTags": {many: []string{"tags"}, children: map[string]*element{"tags": {
				key: []string{"name"}, attributes: map[string]attribute{"name": {required: true, check: name}},
				many: []string{"tag"},
				children: map[string]*element{"tag": {
					key:        []string{"name", "attribute"},
					attributes: map[string]attribute{"name": {required: true, check: name}, "attribute": {required: true, check: name}},
				}},
			}}},
			"preConditions": {many: []string{"preCondition"}, children: map[string]*element{"preCondition": {
				key: []string{"name"},
				attributes: map[string]attribute{
					"name": {required: true, check: name}, "logicalGrouping": enum("MatchAll", "MatchAny"),
					"patternSyntax": enum("ECMAScript", "Wildcard", "ExactMatch"),
				},
				many:     []string{"add"},
				children: map[string]*element{"add": conditionAdd(true, "Pattern")},
			}}},
			"rule": {
				key:        []string{"name"},
				attributes: ruleAttributes(map[string]attribute{"preCondition": {check: anyText}}),
				children: map[string]*element{
					"match": {attributes: map[string]attribute{
						"filterByTags": {check: tags}, "customTags": {check: anyText}, "serverVariable": {check: anyText}, "pattern": {required: true, check: anyText},
						"occurrences": {check: occurrences}, "ignoreCase": boolean("true"), "negate": boolean("false"),
					}},
					"conditions": conditions(true, "Pattern"),
					"action": {attributes: map[string]attribute{
						"type": enum("None", "Rewrite"), "value": {check: anyText}, "replace": boolean("true"),
					}},
				},
			},
		},
	}
}

// check compares an element and everything inside of it with the schema.
func (e *element) check(node *xmltree.Node, where string) error {
	if text := xmltree.TrimSpace(node.Text); text != "" {
		return fmt.Errorf("%s: text %q where only elements may stand", where, shown(text))
	}
	for _, a := range node.Attrs {
		rule, known := e.attributes[a.Name]
		if !known {
			return fmt.Errorf("%s: unknown attribute %q", where, shown(a.Name))
		}
		if err := rule.check(a.Value); err != nil {
			return fmt.Errorf("%s: %s %q: %w", where, a.Name, shown(a.Value), err)
		}
	}
	for _, required := range sortedKeys(e.attributes) {
		if _, there := node.Attr(required); !there && e.attributes[required].required {
			return fmt.Errorf("%s: attribute %q is missing", where, required)
		}
	}
	return e.checkChildren(node, where)
}

func (e *element) checkChildren(node *xmltree.Node, where string) error {
	seen := map[string]bool{}
	for i, c := range node.Children {
		child, known := e.children[c.Name]
		if !known {
			return fmt.Errorf("%s: element %q is unknown or not allowed here", where, shown(c.Name))
		}
		place := where + "/" + c.Name
		repeatable := slices.Contains(e.many, c.Name)
		switch {
		case repeatable:
			place = fmt.Sprintf("%s[%d]", place, i+1)
		case seen[c.Name]:
			return fmt.Errorf("%s: element %q occurs more than once", where, c.Name)
		}
		seen[c.Name] = true
		if err := child.check(c, place); err != nil {
			return err
		}
		if !repeatable || len(child.key) == 0 {
			continue
		}
		key := c.Name + "\x00" + child.keyOf(c)
		if seen[key] {
			return fmt.Errorf("%s: the same %s as in an earlier %s, which IIS refuses", place, strings.Join(child.key, ", "), c.Name)
		}
		seen[key] = true
	}
	return nil
}

// keyOf joins the key attributes, defaults filled in. The separator is no XML character.
func (e *element) keyOf(node *xmltree.Node) string {
	parts := make([]string, len(e.key))
	for i, name := range e.key {
		value, there := node.Attr(name)
		if !there {
			value = e.attributes[name].absent
		}
		parts[i] = value
	}
	key := strings.Join(parts, "\x00")
	if !e.exactKey {
		key = strings.ToLower(key)
	}
	return key
}

// enum is an enumeration whose first value is the default. IIS ignores the case.
func enum(values ...string) attribute {
	return attribute{absent: values[0], check: func(value string) error {
		for _, v := range values {
			if strings.EqualFold(v, value) {
				return nil
			}
		}
		return fmt.Errorf("none of %s", strings.Join(values, ", "))
	}}
}

func boolean(absent string) attribute {
	a := enum("true", "false")
	a.absent = absent
	return a
}

func anyText(string) error { return nil }

func notEmpty(value string) error {
	if value == "" {
		return errors.New("must not be empty")
	}
	return nil
}

func trimmed(value string) error {
	if strings.TrimSpace(value) != value {
		return errors.New("begins or ends with white space")
	}
	return nil
}

// name checks names of rules and the like. IIS takes more, but a name is how an agent
// finds its rules again and what people see in logs.
func name(value string) error {
	if err := notEmpty(value); err != nil {
		return err
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return errors.New("has control characters")
	}
	if err := length(value, MaxNameLength); err != nil {
		return err
	}
	return trimmed(value)
}

// statusCode checks what the schema takes for every type of action.
func statusCode(value string) error {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || 300 <= n && n <= 307 {
		return errors.New("no unsigned number, or one from 300 to 307")
	}
	return nil
}

func subStatusCode(value string) error {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n > 999 {
		return errors.New("no number from 0 to 999")
	}
	return nil
}

func occurrences(value string) error {
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
		return errors.New("no number from 0")
	}
	return nil
}

// tags checks the flags of filterByTags.
func tags(value string) error {
	known := []string{"None", "A", "Area", "Base", "Form", "Frame", "Head", "IFrame", "Img", "Input", "Link", "Script", "CustomTags"}
	for flag := range strings.SplitSeq(value, ",") {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, strings.TrimSpace(flag)) }) {
			return fmt.Errorf("%q is none of %s", shown(flag), strings.Join(known, ", "))
		}
	}
	return nil
}
