package rewrite_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/rewrite"
)

// What IIS refuses when it reads the configuration is a fault with 500.19 that names the
// place.
func TestParseRefuses(t *testing.T) {
	inRule := func(parts string) string {
		return "<rules>\n <rule name=\"a\">" + parts + "</rule></rules>"
	}
	const match = `<match url=".*"/>`
	condition := func(attributes string) string {
		return inRule(match + `<conditions><add ` + attributes + `/></conditions>`)
	}
	twice := `<conditions><add input="{URL}" pattern="x"/><add input="{URL}" pattern="x"/></conditions>`
	outbound := func(inside string) string { return "<outboundRules>" + inside + "</outboundRules>" }
	cases := map[string]struct{ fragment, want string }{
		"bytes that are no XML":              {"<rules>", `line 1, column 8: malformed XML`},
		"another element":                    {"<system.webServer/>", `line 1, column 1: system.webServer: unknown section`},
		"an unknown section":                 {"<rewrite><rule/></rewrite>", `column 10: rewrite/rule: unknown section <rule>`},
		"a section that occurs twice":        {"<rewrite><rules/><rules/></rewrite>", `rewrite/rules: the section occurs twice`},
		"an attribute of the element":        {`<rewrite enabled="true"/>`, `unrecognized attribute "enabled"`},
		"an attribute of the section":        {`<rules enabled="false"/>`, `unrecognized attribute "enabled"`},
		"a rule without a name":              {"<rules><rule/></rules>", `rules/rule[1]: attribute name is missing`},
		"a name that occurs twice":           {`<rules><rule name="a"/><rule name="A"/></rules>`, `rules/rule[2]: cannot add duplicate collection entry with unique key a (500.19)`},
		"an unknown child of the rules":      {`<rules><add/></rules>`, `unknown element <add>`},
		"an unknown child of a rule":         {inRule("<matches/>"), `line 2, column 17: rules/rule[1]: unrecognized element <matches>`},
		"remove without name":                {`<rules><remove/></rules>`, `attribute name is missing`},
		"an unknown attribute of a rule":     {`<rules><rule name="a" order="1"/></rules>`, `unrecognized attribute "order"`},
		"an unknown syntax":                  {`<rules><rule name="a" patternSyntax="Regular Expressions"/></rules>`, `patternSyntax "Regular Expressions" is none of ECMAScript, Wildcard, ExactMatch`},
		"a bad boolean":                      {`<rules><rule name="a" enabled="yes"/></rules>`, `enabled "yes" is neither true nor false`},
		"a bad stopProcessing":               {`<rules><rule name="a" stopProcessing="1"/></rules>`, `stopProcessing "1"`},
		"a bad directive":                    {`<rules><rule name="a" responseCacheDirective="x"/></rules>`, `responseCacheDirective "x"`},
		"a repeated part":                    {inRule(match + match), `the element occurs twice`},
		"an empty url":                       {inRule(`<match url=""/>`), `rules/rule[1]/match: url must not be empty`},
		"a bad match":                        {inRule(`<match url="x" negate="no"/>`), `negate "no"`},
		"an unknown grouping":                {inRule(match + `<conditions logicalGrouping="Some"/>`), `logicalGrouping "Some"`},
		"an unknown match type":              {condition(`matchType="IsLink"`), `matchType "IsLink" is none of Pattern, IsFile, IsDirectory`},
		"clear in conditions":                {inRule(match + `<conditions><clear/></conditions>`), `unrecognized element <clear>`},
		"files in global rules":              {`<globalRules><rule name="a">` + match + `<conditions><add matchType="IsFile"/></conditions></rule></globalRules>`, `matchType "IsFile" is none of Pattern`},
		"equal conditions in global rules":   {`<globalRules><rule name="a">` + match + twice + `</rule></globalRules>`, `conditions/add[2]: the same condition occurs twice`},
		"a log flag in global rules":         {`<globalRules><rule name="a"><action logRewrittenUrl="true"/></rule></globalRules>`, `unrecognized attribute "logRewrittenUrl"`},
		"an unknown action":                  {inRule(match + `<action type="Drop"/>`), `type "Drop" is none of None, Rewrite, Redirect, CustomResponse, AbortRequest`},
		"a response that redirects":          {inRule(match + `<action type="CustomResponse" statusCode="301"/>`), `statusCode 301 is excluded`},
		"a status that is no number":         {inRule(match + `<action type="CustomResponse" statusCode="40x"/>`), `statusCode "40x"`},
		"a sub-status that is too high":      {inRule(match + `<action type="CustomResponse" statusCode="403" subStatusCode="1000"/>`), `subStatusCode "1000"`},
		"an unknown redirect":                {inRule(match + `<action type="Redirect" url="/" redirectType="308"/>`), `redirectType "308"`},
		"white space around a url":           {inRule(match + `<action type="Redirect" url=" /x"/>`), `url " /x" has to be a text without white space`},
		"white space around a variable":      {inRule(match + `<serverVariables><set name=" X" value="1"/></serverVariables>`), `name " X"`},
		"a variable that is set twice":       {inRule(match + `<serverVariables><set name="X"/><set name="x"/></serverVariables>`), `duplicate collection entry`},
		"a variable that is removed":         {inRule(match + `<serverVariables><clear/></serverVariables>`), `unrecognized element`},
		"a map without name":                 {`<rewriteMaps><rewriteMap/></rewriteMaps>`, `attribute name is missing`},
		"a key that occurs twice":            {`<rewriteMaps><rewriteMap name="m"><add key="k"/><add key="k"/></rewriteMap></rewriteMaps>`, `rewriteMaps/rewriteMap[1]/add[2]: cannot add duplicate`},
		"a map that occurs twice":            {`<rewriteMaps><rewriteMap name="m"/><rewriteMap name="M"/></rewriteMaps>`, `duplicate`},
		"a variable that is allowed twice":   {`<allowedServerVariables><add name="x"/><add name="X"/></allowedServerVariables>`, `duplicate`},
		"a provider without type":            {`<providers><provider name="p" type=""/></providers>`, `type ""`},
		"an unknown tag":                     {outbound(`<rule name="a"><match filterByTags="A, Blink"/></rule>`), `filterByTags " Blink" is unknown`},
		"occurrences below zero":             {outbound(`<rule name="a"><match occurrences="-1"/></rule>`), `occurrences "-1"`},
		"an outbound redirect":               {outbound(`<rule name="a"><action type="Redirect"/></rule>`), `type "Redirect" is none of None, Rewrite`},
		"equal preconditions":                {outbound(`<preConditions><preCondition name="p"/><preCondition name="P"/></preConditions>`), `duplicate`},
		"equal conditions in outbound rules": {outbound(`<rule name="a">` + twice + `</rule>`), `the same condition occurs twice`},
		"a custom tag without attribute":     {outbound(`<customTags><tags name="t"><tag name="x" attribute=""/></tags></customTags>`), `must not be empty`},
		"two lists of preconditions":         {outbound(`<preConditions/><preConditions/>`), `the element occurs twice`},
		"an outbound rule twice":             {outbound(`<rule name="a"/><rule name="A"/>`), `duplicate`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := rewrite.Parse([]byte(tc.fragment))
			var fault *rewrite.FaultError
			if !errors.As(err, &fault) || !errors.Is(err, rewrite.ErrInvalidConfiguration) {
				t.Fatalf("error %v is no fault of the configuration", err)
			}
			if !strings.Contains(err.Error(), tc.want) || fault.Status != 500 || fault.SubStatus != 19 || fault.Line == 0 || fault.Code == "" {
				t.Errorf("error %v with code %q; want 500.19 and %q", err, fault.Code, tc.want)
			}
		})
	}
	if _, err := rewrite.Parse([]byte("<rules>")); !errors.Is(err, xmltree.ErrMalformed) {
		t.Errorf("error %v does not wrap that of the XML", err)
	}
}

// What only this package cannot do is no fault of the configuration.
func TestParseLimits(t *testing.T) {
	cases := map[string]struct{ fragment, want string }{
		"a section in another file":  {`<rewriteMaps configSource="maps.config"/>`, `configSource "maps.config"`},
		"too many bytes":             {"<rules>" + strings.Repeat(" ", 5<<20) + "</rules>", "bytes, allowed are"},
		"too many rules":             {"<rules>" + manyRules(2001) + "</rules>", "more than 2000 rules"},
		"elements that are too deep": {strings.Repeat("<a>", 13) + strings.Repeat("</a>", 13), "nested deeper"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := rewrite.Parse([]byte(tc.fragment))
			if !errors.Is(err, rewrite.ErrUnsupported) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that wraps ErrUnsupported and says %q", err, tc.want)
			}
		})
	}
	if _, err := rewrite.Parse([]byte("<rules>" + manyRules(2000) + "</rules>")); err != nil {
		t.Errorf("as many rules as allowed: %v", err)
	}
}

func manyRules(count int) string {
	var out strings.Builder
	for i := range count {
		fmt.Fprintf(&out, `<rule name="r%d"><match url="x"/></rule>`, i)
	}
	return out.String()
}

// What the schema allows is read, whatever it is good for.
func TestParseAccepts(t *testing.T) {
	for name, fragment := range map[string]string{
		"lock attributes":                `<rules lockItem="true" lockElements="clear"><rule name="a" lockAttributes="enabled"><match url="x" lockItem="false"/></rule></rules>`,
		"a rule with a name only":        `<rules><rule name="test"/></rules>`,
		"the attributes of 2.1":          `<globalRules useOriginalURLEncoding="true"><rule name="a" responseCacheDirective="Never"/></globalRules>`,
		"enumerations in any case":       `<rules><rule name="a" patternSyntax="wildcard"><match url="x"/><conditions logicalGrouping="matchany"/><action type="abortrequest"/></rule></rules>`,
		"equal conditions in rules":      `<rules><rule name="a"><match url="x"/><conditions><add input="{URL}" pattern="x"/><add input="{URL}" pattern="x"/></conditions></rule></rules>`,
		"keys that differ in case":       `<rewriteMaps><rewriteMap name="m"><add key="k"/><add key="K"/></rewriteMap></rewriteMaps>`,
		"two attributes of a custom tag": `<outboundRules><customTags><tags name="t"><tag name="x" attribute="a"/><tag name="x" attribute="b"/></tags></customTags></outboundRules>`,
		"empty sections":                 `<rewrite><globalRules/><rules/><outboundRules/><rewriteMaps/><allowedServerVariables/><providers/></rewrite>`,
		"a comment in a rule":            `<rules><rule name="a"><!-- x --><match url="x"/></rule></rules>`,
		"a provider's settings":          `<providers><provider name="p" type="t"><settings><add key="k" value="v"/></settings></provider></providers>`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := rewrite.Parse([]byte(fragment)); err != nil {
				t.Error(err)
			}
		})
	}
}

var rewriteElement = regexp.MustCompile(`(?s)<rewrite>.*?</rewrite>`)

// The <rewrite> elements of real configuration files are read. Which of them have problems at
// a request is known.
func TestRealConfigurations(t *testing.T) {
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		t.Skip("EMS_TESTDATA is not set: the published files are not available")
	}
	names, err := filepath.Glob(filepath.Join(folder, "iis-configs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Comments are taken out first: they hold commented-out rules.
		for _, element := range rewriteElement.FindAll(regexp.MustCompile(`(?s)<!--.*?-->`).ReplaceAll(content, nil), -1) {
			config, err := rewrite.Parse(element)
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(name), err)
				continue
			}
			rules += len(config.Names("rules")) + len(config.Names("globalRules")) + len(config.Names("outboundRules"))
			for _, problem := range config.Problems() {
				t.Errorf("%s: %v", filepath.Base(name), &problem)
			}
		}
	}
	if rules < 40 {
		t.Errorf("%d rules, want at least 40", rules)
	}
}
