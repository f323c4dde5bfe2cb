package apphost

import (
	"maps"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// element is what the schema allows for one element: its attributes with a check of the value each, and its children.
type element struct {
	attrs    map[string]func(string) bool
	required []string
	children map[string]*element
	single   bool // at most once in its parent
}

type attrs = map[string]func(string) bool

type elements = map[string]*element

// rewriteSchema is rewrite_schema.xml of URL Rewrite 2.0, as far as mitigations may use it. Package ocs checks a document
// by the same schema when it is read; here it stands between any caller and the file.
var rewriteSchema = &element{children: elements{
	"globalRules":            {children: elements{"rule": inboundRule("Pattern")}, single: true},
	"rules":                  {children: elements{"rule": inboundRule("Pattern", "IsFile", "IsDirectory")}, single: true},
	"outboundRules":          outboundRules,
	"rewriteMaps":            rewriteMaps,
	"allowedServerVariables": {children: elements{"add": {attrs: attrs{"name": isTrimmed}, required: []string{"name"}}}, single: true},
}}

func ruleAttrs(more attrs) attrs {
	all := attrs{"name": isTrimmed, "enabled": isBool, "stopProcessing": isBool, "patternSyntax": oneOf("ECMAScript", "Wildcard", "ExactMatch")}
	maps.Copy(all, more)
	return all
}

func conditions(matchTypes ...string) *element {
	return &element{single: true, attrs: attrs{"logicalGrouping": oneOf("MatchAll", "MatchAny"), "trackAllCaptures": isBool},
		children: elements{"add": condition(matchTypes...)}}
}

func condition(matchTypes ...string) *element {
	return &element{attrs: attrs{"input": anything, "pattern": anything, "ignoreCase": isBool, "negate": isBool, "matchType": oneOf(matchTypes...)}}
}

func inboundRule(matchTypes ...string) *element {
	action := attrs{"type": oneOf("None", "Rewrite", "Redirect", "CustomResponse", "AbortRequest"),
		"url": isTrimmed, "appendQueryString": isBool, "redirectType": oneOf("Permanent", "Found", "SeeOther", "Temporary"),
		"statusCode": statusCode, "subStatusCode": number(0, 999), "statusReason": anything, "statusDescription": anything}
	if len(matchTypes) > 1 {
		action["logRewrittenUrl"] = isBool // only in rules, like the other types of matches
	}
	return &element{attrs: ruleAttrs(nil), required: []string{"name"}, children: elements{
		"match":      {attrs: attrs{"url": notEmpty, "ignoreCase": isBool, "negate": isBool}, single: true},
		"conditions": conditions(matchTypes...),
		"serverVariables": {single: true, children: elements{"set": {
			attrs: attrs{"name": isTrimmed, "value": anything, "replace": isBool}, required: []string{"name"}}}},
		"action": {attrs: action, single: true},
	}}
}

// rewriteBeforeCache is for all rules of the section, so only its default may stand there, which is left out.
var outboundRules = &element{single: true, attrs: attrs{"rewriteBeforeCache": oneOf("false")}, children: elements{
	"customTags": {single: true, children: elements{"tags": {attrs: attrs{"name": isTrimmed}, required: []string{"name"}, children: elements{
		"tag": {attrs: attrs{"name": isTrimmed, "attribute": isTrimmed}, required: []string{"name", "attribute"}}}}}},
	"preConditions": {single: true, children: elements{"preCondition": {
		attrs:    attrs{"name": isTrimmed, "logicalGrouping": oneOf("MatchAll", "MatchAny"), "patternSyntax": oneOf("ECMAScript", "Wildcard", "ExactMatch")},
		required: []string{"name"}, children: elements{"add": condition("Pattern")}}}},
	"rule": {attrs: ruleAttrs(attrs{"preCondition": anything}), required: []string{"name"}, children: elements{
		"match": {single: true, attrs: attrs{"filterByTags": tags, "customTags": anything, "serverVariable": anything, "pattern": anything,
			"occurrences": number(0, 1<<31-1), "ignoreCase": isBool, "negate": isBool}},
		"conditions": conditions("Pattern"),
		"action":     {single: true, attrs: attrs{"type": oneOf("None", "Rewrite"), "value": anything, "replace": isBool}},
	}},
}}

var rewriteMaps = &element{single: true, children: elements{"rewriteMap": {
	attrs:    attrs{"name": isTrimmed, "defaultValue": anything, "ignoreCase": isBool},
	required: []string{"name"}, children: elements{"add": {attrs: attrs{"key": anything, "value": anything}, required: []string{"key"}}}}}}

// check compares an element and everything inside of it with the schema.
func (known *element) check(doc *lossless.Document, e *lossless.Element, parent string) error {
	where := "<" + e.Name + "> in <" + parent + ">"
	for _, a := range e.Attrs() {
		valid, ok := known.attrs[a.Name]
		if !ok {
			return unsupported("rewrite: %s: attribute %q: not in the schema, or not for mitigations", where, a.Name)
		}
		if !valid(a.Value) {
			return unsupported("rewrite: %s: attribute %q: value %q is not valid", where, a.Name, a.Value)
		}
	}
	for _, name := range known.required {
		if e.Attr(name) == nil {
			return unsupported("rewrite: %s: attribute %q is missing", where, name)
		}
	}
	if hasText(doc, e) {
		return unsupported("rewrite: %s: text in it", where)
	}
	seen := map[string]bool{}
	for _, c := range e.Children {
		child := known.children[c.Name]
		if child == nil || (child.single && seen[c.Name]) {
			return refusal.New(refusal.UnsupportedContent, "rewrite: <%s> in <%s>: not supported or more than one", c.Name, e.Name)
		}
		seen[c.Name] = true
		if err := child.check(doc, c, e.Name); err != nil {
			return err
		}
	}
	return nil
}

// tags is the flags attribute filterByTags.
func tags(s string) bool {
	known := oneOf("None", "A", "Area", "Base", "Form", "Frame", "Head", "IFrame", "Img", "Input", "Link", "Script", "CustomTags")
	for flag := range strings.SplitSeq(s, ",") {
		if !known(strings.TrimSpace(flag)) {
			return false
		}
	}
	return true
}

// hasText finds anything but white space and comments between the children. Comments are left out of the installed
// rule: they configure nothing, and a publisher's text has no place in the server's file.
func hasText(doc *lossless.Document, e *lossless.Element) bool {
	if e.Bare {
		return false
	}
	at := e.StartEnd
	gaps := ""
	for _, c := range e.Children {
		gaps += string(doc.Data[at:c.Start])
		at = c.End
	}
	gaps += string(doc.Data[at:e.EndStart])
	for {
		before, rest, found := strings.Cut(gaps, "<!--")
		if strings.TrimSpace(before) != "" {
			return true
		}
		if !found {
			return false
		}
		_, gaps, _ = strings.Cut(rest, "-->")
	}
}

func anything(string) bool   { return true }
func notEmpty(s string) bool { return strings.TrimSpace(s) != "" }

// isTrimmed is the schema's requireTrimmedString.
func isTrimmed(s string) bool { return s != "" && strings.TrimSpace(s) == s }

func isBool(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }

func oneOf(names ...string) func(string) bool {
	return func(s string) bool {
		for _, n := range names {
			if strings.EqualFold(n, s) {
				return true
			}
		}
		return false
	}
}

func number(low, high int) func(string) bool {
	return func(s string) bool {
		n := 0
		for _, c := range s {
			if c < '0' || c > '9' || n > high {
				return false
			}
			n = n*10 + int(c-'0')
		}
		return s != "" && n >= low && n <= high
	}
}

// statusCode leaves out 300 to 307, which the schema excludes: redirects have their own action.
func statusCode(s string) bool {
	return number(1, 999)(s) && !number(300, 307)(s)
}
