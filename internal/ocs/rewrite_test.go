package ocs_test

import (
	"fmt"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/ocs"
)

func rewriteDocument(scope, content string) []byte {
	return []byte(`<EOCS version="1.1"><Config id="M1"><ActionList><Action type="UrlRewrite" scope="` + scope + `"><Value><rewrite>` +
		content + `</rewrite></Value></Action></ActionList></Config></EOCS>`)
}

func TestRewriteContentThatIISTakes(t *testing.T) {
	cases := map[string]struct {
		scope   string
		content string
	}{
		"the rule against CVE-2022-41040": {"Site", `<rules><rule name="PowerShell - inbound" stopProcessing="True">
			<match url=".*"/><conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/></conditions>
			<action type="AbortRequest"/></rule></rules>`},
		"every attribute of a rule": {"Site", `<rules><rule name="a" enabled="false" patternSyntax="wildcard" stopProcessing="FALSE">
			<match url="*" ignoreCase="true" negate="false"/>
			<conditions logicalGrouping="MatchAny" trackAllCaptures="true">
				<add input="{URL}" matchType="pattern" pattern="*x*" ignoreCase="true" negate="true"/><add input="{REQUEST_FILENAME}" matchType="isFile"/></conditions>
			<serverVariables><set name="HTTP_X" value="{C:1}" replace="true"/></serverVariables>
			<action type="Redirect" url="https://contoso.example/{R:1}" appendQueryString="false" logRewrittenUrl="true" redirectType="Temporary"/></rule></rules>`},
		"a response": {"Site", `<rules><rule name="a"><match url="x"/>
			<action type="CustomResponse" statusCode="403" subStatusCode="999" statusReason="Forbidden" statusDescription=""/></rule></rules>`},
		"equal conditions in a site rule": {"Site", `<rules><rule name="a"><match url="x"/><conditions><add input="{URL}" pattern="x"/><add input="{URL}" pattern="x"/></conditions></rule></rules>`},
		"equal names in two sections":     {"Server", `<rules><rule name="a"><match url="x"/></rule></rules><globalRules><rule name="a"><match url="x"/></rule></globalRules>`},
		"comments":                        {"Site", `<!-- a --><rules><!-- b --><rule name="a"><match url="x"/></rule></rules>`},
		"maps and variables": {"Server", `<rewriteMaps><rewriteMap name="Hosts" defaultValue="" ignoreCase="false"><add key="a" value="1"/><add key="A" value="2"/></rewriteMap></rewriteMaps>
			<allowedServerVariables><add name="HTTP_X"/></allowedServerVariables>`},
		"outbound rules": {"Site", `<outboundRules rewriteBeforeCache="false"><rule name="a" patternSyntax="ECMAScript">
			<match filterByTags="A, Img" pattern="x" occurrences="1" negate="false"/><conditions logicalGrouping="MatchAll"><add input="{URL}" pattern="y"/></conditions>
			<action type="Rewrite" value="z" replace="true"/></rule></outboundRules>`},
		"64 rules": {"Site", rules(64)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ocs.Parse(rewriteDocument(tc.scope, tc.content))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Refused) > 0 {
				t.Errorf("refused: %s", got.Refused[0].Message)
			}
		})
	}
}

func rules(n int) string {
	var b strings.Builder
	b.WriteString("<rules>")
	for i := range n {
		fmt.Fprintf(&b, `<rule name="r%d"><match url="x"/></rule>`, i)
	}
	b.WriteString("</rules>")
	return b.String()
}

func TestRewriteContentThatIsRefused(t *testing.T) {
	rule := func(parts string) string { return `<rules><rule name="a"><match url="x"/>` + parts + `</rule></rules>` }
	outbound := func(attributes, parts string) string {
		return `<outboundRules><rule name="a" ` + attributes + `>` + parts + `</rule></outboundRules>`
	}
	cases := map[string]struct {
		scope    string
		content  string
		wantText string
	}{
		"nothing":                                {"Site", ``, "nothing in it"},
		"sections without content":               {"Site", `<rules/><rewriteMaps/>`, "nothing in it"},
		"globalRules for a site":                 {"Site", `<globalRules><rule name="a"><match url="x"/></rule></globalRules>`, "need scope Server"},
		"providers":                              {"Server", `<providers><provider name="a" type="b"/></providers>`, `"providers"`},
		"a section twice":                        {"Site", rules(1) + rules(1), `"rules" occurs more than once`},
		"clear":                                  {"Site", `<rules><clear/></rules>`, `"clear"`},
		"remove":                                 {"Site", `<rules><remove name="x"/></rules>`, `"remove"`},
		"clear in a map":                         {"Site", `<rewriteMaps><rewriteMap name="a"><clear/></rewriteMap></rewriteMaps>`, `"clear"`},
		"custom tags without an attribute":       {"Site", `<outboundRules><customTags><tags name="t"><tag name="a"/></tags></customTags></outboundRules>`, `"attribute" is missing`},
		"clear in custom tags":                   {"Site", `<outboundRules><customTags><clear/></customTags></outboundRules>`, `"clear"`},
		"the same custom tag twice":              {"Site", `<outboundRules><customTags><tags name="t"><tag name="a" attribute="b"/><tag name="A" attribute="B"/></tags></customTags></outboundRules>`, "the same name, attribute"},
		"an attribute of URL Rewrite 2.1":        {"Site", `<rules useOriginalURLEncoding="false"/>`, `"useOriginalURLEncoding"`},
		"an attribute in another case":           {"Site", `<rules><rule Name="a"><match url="x"/></rule></rules>`, `"Name"`},
		"a prefix":                               {"Site", `<rules xmlns:x="urn:x"/>`, `"xmlns:x"`},
		"text":                                   {"Site", `<rules>text</rules>`, `text "text"`},
		"65 rules":                               {"Site", rules(65), "65 rules, allowed are 64"},
		"65 rules in two sections":               {"Site", rules(64) + outbound("", `<match pattern="x"/>`), "65 rules"},
		"a rule without name":                    {"Site", `<rules><rule><match url="x"/></rule></rules>`, `attribute "name" is missing`},
		"a rule with an empty name":              {"Site", `<rules><rule name=""><match url="x"/></rule></rules>`, "must not be empty"},
		"a name with white space around it":      {"Site", `<rules><rule name="a "><match url="x"/></rule></rules>`, "white space"},
		"a name with a line end":                 {"Site", `<rules><rule name="a&#10;b"><match url="x"/></rule></rules>`, "control characters"},
		"a name that is too long":                {"Site", `<rules><rule name="` + strings.Repeat("x", 257) + `"><match url="x"/></rule></rules>`, "257 characters"},
		"two rules of one name":                  {"Site", `<rules><rule name="a"><match url="x"/></rule><rule name="A"><match url="x"/></rule></rules>`, "the same name"},
		"a boolean that is none":                 {"Site", `<rules><rule name="a" enabled="1"><match url="x"/></rule></rules>`, `enabled "1"`},
		"the syntax that Microsoft once wrote":   {"Site", `<rules><rule name="a" patternSyntax="Regular Expressions"><match url="x"/></rule></rules>`, `"Regular Expressions"`},
		"a rule without match":                   {"Site", `<rules><rule name="a"/></rules>`, "no match"},
		"a match without url":                    {"Site", `<rules><rule name="a"><match/></rule></rules>`, `attribute "url" is missing`},
		"an empty url":                           {"Site", `<rules><rule name="a"><match url=""/></rule></rules>`, "must not be empty"},
		"two matches":                            {"Site", rule(`<match url="y"/>`), `"match" occurs more than once`},
		"an asterisk as a regex":                 {"Site", `<rules><rule name="a"><match url="*"/></rule></rules>`, "does not follow an expression"},
		"a pattern of 2,049 characters":          {"Site", `<rules><rule name="a"><match url="` + strings.Repeat("x", 2049) + `"/></rule></rules>`, "2049 characters"},
		"a condition without input":              {"Site", rule(`<conditions><add pattern="x"/></conditions>`), `"input" is missing`},
		"a condition without pattern":            {"Site", rule(`<conditions><add input="{URL}"/></conditions>`), "condition 1: no pattern"},
		"a condition with look-behind":           {"Site", rule(`<conditions><add input="{URL}" pattern="(?&lt;=a)b"/></conditions>`), "condition 1"},
		"an unknown grouping":                    {"Site", rule(`<conditions logicalGrouping="MatchSome"/>`), `"MatchSome"`},
		"a file check in globalRules":            {"Server", `<globalRules><rule name="a"><match url="x"/><conditions><add input="{URL}" matchType="IsFile"/></conditions></rule></globalRules>`, `"IsFile"`},
		"equal conditions in globalRules":        {"Server", `<globalRules><rule name="a"><match url="x"/><conditions><add input="{URL}" pattern="x"/><add input="{url}" pattern="x" negate="false" ignoreCase="True"/></conditions></rule></globalRules>`, "which IIS refuses"},
		"logRewrittenUrl in globalRules":         {"Server", `<globalRules><rule name="a"><match url="x"/><action type="None" logRewrittenUrl="true"/></rule></globalRules>`, `"logRewrittenUrl"`},
		"an unknown action":                      {"Site", rule(`<action type="Drop"/>`), `"Drop"`},
		"a rewrite to nowhere":                   {"Site", rule(`<action type="Rewrite"/>`), "needs a url"},
		"a redirect with blanks":                 {"Site", rule(`<action type="Redirect" url=" /x"/>`), "white space"},
		"a redirect by number":                   {"Site", rule(`<action type="Redirect" url="/x" redirectType="308"/>`), `"308"`},
		"a response without status":              {"Site", rule(`<action type="CustomResponse"/>`), "needs a statusCode"},
		"a response that redirects":              {"Site", rule(`<action type="CustomResponse" statusCode="302"/>`), "300 to 307"},
		"a sub-status of four digits":            {"Site", rule(`<action type="CustomResponse" statusCode="403" subStatusCode="1000"/>`), "0 to 999"},
		"a variable set twice":                   {"Site", rule(`<serverVariables><set name="X" value="1"/><set name="x" value="2"/></serverVariables>`), "the same name"},
		"a map key that occurs twice":            {"Site", `<rewriteMaps><rewriteMap name="a"><add key="k" value="1"/><add key="k" value="2"/></rewriteMap></rewriteMaps>`, "the same key"},
		"a map without name":                     {"Site", `<rewriteMaps><rewriteMap/></rewriteMaps>`, `"name" is missing`},
		"an allowed variable twice":              {"Server", `<allowedServerVariables><add name="X"/><add name="x"/></allowedServerVariables>`, "the same name"},
		"an outbound rule without pattern":       {"Site", outbound("", `<match/>`), `"pattern" is missing`},
		"custom tags that are not there":         {"Site", outbound("", `<match pattern="x" filterByTags="CustomTags" customTags="t"/>`), `customTags "t" is not in this Value`},
		"a flag that is no tag":                  {"Site", outbound("", `<match pattern="x" filterByTags="A, Blink"/>`), `Blink" is none of`},
		"negative occurrences":                   {"Site", outbound("", `<match pattern="x" occurrences="-1"/>`), "occurrences"},
		"an outbound action that aborts":         {"Site", outbound("", `<match pattern="x"/><action type="AbortRequest"/>`), `"AbortRequest"`},
		"a precondition that is not there":       {"Site", outbound(`preCondition="html"`, `<match pattern="x"/>`), `preCondition "html" is not in this Value`},
		"a precondition without conditions":      {"Site", `<outboundRules><preConditions><preCondition name="p"/></preConditions></outboundRules>`, "preCondition[1]: no condition"},
		"a precondition with a broken pattern":   {"Site", `<outboundRules><preConditions><preCondition name="p"><add input="{X}" pattern="("/></preCondition></preConditions></outboundRules>`, "not closed"},
		"two preconditions of one name":          {"Site", `<outboundRules><preConditions><preCondition name="p"><add input="{X}" pattern="x"/></preCondition><preCondition name="P"><add input="{X}" pattern="x"/></preCondition></preConditions></outboundRules>`, "the same name"},
		"preconditions in front of no outbound":  {"Site", `<rules><preConditions/></rules>`, `"preConditions"`},
		"an outbound condition on files":         {"Site", outbound("", `<match pattern="x"/><conditions><add input="{X}" matchType="IsFile"/></conditions>`), `"IsFile"`},
		"an empty list of outbound rules only":   {"Site", `<outboundRules/>`, "nothing in it"},
		"a rewriteBeforeCache that is no switch": {"Site", `<outboundRules rewriteBeforeCache="never"/>`, `"never"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ocs.Parse(rewriteDocument(tc.scope, tc.content))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Refused) != 1 {
				t.Fatalf("refused %v, want one Config", got.Refused)
			}
			r := got.Refused[0]
			if r.Reason != ocs.ReasonInvalidRewrite || !strings.Contains(r.Message, tc.wantText) {
				t.Errorf("refused for %s: %s; want %s and the words %q", r.Reason, r.Message, ocs.ReasonInvalidRewrite, tc.wantText)
			}
		})
	}
}
