package apphost

import (
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// MaxContentBytes of one <rewrite> element: the whole signed document has at most 1 MiB.
const MaxContentBytes = 1 << 20

// Rule is one inbound rule, complete with its final name.
type Rule struct {
	Name string `json:"name"`
	XML  []byte `json:"xml"` // the <rule> element; comments and white space between its parts do not matter
}

// ReadRules takes the rules out of a <rewrite> element as a document carries it and gives them their installed names,
// prefix followed by a blank and the name in the document. Everything but inbound rules is refused with
// UnsupportedContent, and so is whatever rewrite_schema.xml of URL Rewrite 2.0 does not know: IIS would answer every
// request of the site with 500.19.
func ReadRules(rewrite []byte, prefix string) ([]Rule, error) {
	if len(rewrite) > MaxContentBytes {
		return nil, refusal.New(refusal.UnsupportedContent, "rewrite: %d bytes: more than the limit of %d", len(rewrite), MaxContentBytes)
	}
	doc, err := lossless.Parse(rewrite)
	if err != nil {
		return nil, refusal.Wrap(refusal.UnsupportedContent, err, "rewrite: not readable")
	}
	if doc.Root.Name != "rewrite" {
		return nil, refusal.New(refusal.UnsupportedContent, "rewrite: element %q where <rewrite> is expected", doc.Root.Name)
	}
	if len(doc.Root.Attrs) > 0 {
		return nil, refusal.New(refusal.UnsupportedContent, "rewrite: attribute %q: not supported", doc.Root.Attrs[0].Name)
	}
	var rules []Rule
	for _, section := range doc.Root.Children {
		if section.Name != "rules" {
			return nil, refusal.New(refusal.UnsupportedContent, "rewrite: <%s>: only inbound <rules> can be installed by this agent", section.Name)
		}
		if len(section.Attrs) > 0 {
			return nil, refusal.New(refusal.UnsupportedContent, "rules: attribute %q: not supported", section.Attrs[0].Name)
		}
		for _, e := range section.Children {
			if err := checkElement(doc, e, "rules"); err != nil {
				return nil, err
			}
			rules = append(rules, rename(doc, e, prefix+" "+e.Value("name")))
		}
	}
	if len(rules) == 0 {
		return nil, refusal.New(refusal.UnsupportedContent, "rewrite: no rule in it")
	}
	return rules, nil
}

func rename(doc *lossless.Document, e *lossless.Element, name string) Rule {
	a := e.Attr("name")
	xml := append([]byte(nil), doc.Data[e.Start:a.Start]...)
	xml = append(xml, `name="`+lossless.EscapeAttr(name)+`"`...)
	return Rule{Name: name, XML: append(xml, doc.Data[a.End:e.End]...)}
}

// element is what the schema allows for one element: its attributes with a check of the value each, and its children.
type element struct {
	attrs    map[string]func(string) bool
	required []string
	children []string
	single   bool // at most once in its parent
}

// inboundSchema is the part of rewrite_schema.xml 2.0 for inbound rules, without serverVariables: these need an entry
// in allowedServerVariables, else every request that the rule matches ends in an error.
var inboundSchema = map[string]element{
	"rule": {
		attrs: map[string]func(string) bool{"name": isTrimmed, "enabled": isBool, "stopProcessing": isBool,
			"patternSyntax": oneOf("ECMAScript", "Wildcard", "ExactMatch")},
		required: []string{"name"}, children: []string{"match", "conditions", "action"},
	},
	"match": {attrs: map[string]func(string) bool{"url": notEmpty, "ignoreCase": isBool, "negate": isBool}, single: true},
	"conditions": {attrs: map[string]func(string) bool{"logicalGrouping": oneOf("MatchAll", "MatchAny"), "trackAllCaptures": isBool},
		children: []string{"add"}, single: true},
	"add": {attrs: map[string]func(string) bool{"input": anything, "pattern": anything, "ignoreCase": isBool, "negate": isBool,
		"matchType": oneOf("Pattern", "IsFile", "IsDirectory")}},
	"action": {attrs: map[string]func(string) bool{"type": oneOf("None", "Rewrite", "Redirect", "CustomResponse", "AbortRequest"),
		"url": isTrimmed, "appendQueryString": isBool, "logRewrittenUrl": isBool,
		"redirectType": oneOf("Permanent", "Found", "SeeOther", "Temporary"),
		"statusCode":   statusCode, "subStatusCode": number(0, 999), "statusReason": anything, "statusDescription": anything}, single: true},
}

func checkElement(doc *lossless.Document, e *lossless.Element, parent string) error {
	where := "<" + e.Name + "> in <" + parent + ">"
	known, ok := inboundSchema[e.Name]
	if !ok || (parent == "rules" && e.Name != "rule") {
		return refusal.New(refusal.UnsupportedContent, "rewrite: %s: not supported", where)
	}
	for _, a := range e.Attrs {
		valid, ok := known.attrs[a.Name]
		if !ok {
			return refusal.New(refusal.UnsupportedContent, "rewrite: %s: attribute %q: not in the schema of inbound rules", where, a.Name)
		}
		if !valid(a.Value) {
			return refusal.New(refusal.UnsupportedContent, "rewrite: %s: attribute %q: value %q is not valid", where, a.Name, a.Value)
		}
	}
	for _, name := range known.required {
		if e.Attr(name) == nil {
			return refusal.New(refusal.UnsupportedContent, "rewrite: %s: attribute %q is missing", where, name)
		}
	}
	if hasText(doc, e) {
		return refusal.New(refusal.UnsupportedContent, "rewrite: %s: text in it", where)
	}
	seen := map[string]bool{}
	for _, c := range e.Children {
		allowed := false
		for _, name := range known.children {
			allowed = allowed || name == c.Name
		}
		if !allowed || (inboundSchema[c.Name].single && seen[c.Name]) {
			return refusal.New(refusal.UnsupportedContent, "rewrite: <%s> in <%s>: not supported or more than one", c.Name, e.Name)
		}
		seen[c.Name] = true
		if err := checkElement(doc, c, e.Name); err != nil {
			return err
		}
	}
	return nil
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
