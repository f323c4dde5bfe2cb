package apphost

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/refusal"
)

func TestReadRules(t *testing.T) {
	rules, err := ReadRules([]byte("<rewrite>\n <rules><!-- one -->\n  <rule enabled='True' name='R&amp;D - \"in\"' patternSyntax=\"Wildcard\"><!-- two --><match url=\"*\"></match>"+
		"<action type=\"CustomResponse\" statusCode=\"403\" subStatusCode=\"0\"/></rule><rule name=\"b\"/>\n </rules>\n</rewrite>"), "EMS M1.1")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range rules {
		got[r.Name] = string(r.XML)
	}
	want := map[string]string{
		`EMS M1.1 R&D - "in"`: `<rule enabled='True' name="EMS M1.1 R&amp;D - &quot;in&quot;" patternSyntax="Wildcard"><!-- two --><match url="*"></match><action type="CustomResponse" statusCode="403" subStatusCode="0"/></rule>`,
		"EMS M1.1 b":          `<rule name="EMS M1.1 b"/>`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	out, _, err := Render([]byte(file("")), Wanted{Rules: []RuleGroup{{Site: site, Rules: rules}}})
	if err != nil || strings.Contains(string(out), "two") {
		t.Errorf("a comment of the document was installed (error %v)\n%s", err, out)
	}
}

func TestReadRulesRefuses(t *testing.T) {
	rule := func(inside string) string {
		return "<rewrite><rules><rule name=\"a\">" + inside + "</rule></rules></rewrite>"
	}
	tests := map[string]struct{ in, wantText string }{
		"another root":                        {"<rules/>", `"rules"`},
		"nothing readable":                    {"<rewrite>", "not readable"},
		"no rule":                             {"<rewrite><rules/></rewrite>", "no rule"},
		"global rules":                        {"<rewrite><globalRules><rule name='a'/></globalRules></rewrite>", "<globalRules>"},
		"outbound rules":                      {"<rewrite><rules><rule name='a'/></rules><outboundRules/></rewrite>", "<outboundRules>"},
		"rewrite maps":                        {"<rewrite><rewriteMaps/></rewrite>", "<rewriteMaps>"},
		"a clear, which drops others' rules":  {"<rewrite><rules><clear/><rule name='a'/></rules></rewrite>", "<clear>"},
		"an action in place of a rule":        {"<rewrite><rules><action type='None'/></rules></rewrite>", "<action>"},
		"an attribute of rewrite":             {"<rewrite xmlns='u'><rules/></rewrite>", `"xmlns"`},
		"an attribute of rules":               {"<rewrite><rules useOriginalURLEncoding='false'><rule name='a'/></rules></rewrite>", `"useOriginalURLEncoding"`},
		"a rule without a name":               {"<rewrite><rules><rule/></rules></rewrite>", `"name" is missing`},
		"a rule with an empty name":           {"<rewrite><rules><rule name=''/></rules></rewrite>", `"name"`},
		"a name with blanks around":           {"<rewrite><rules><rule name=' a'/></rules></rewrite>", `" a"`},
		"an unknown attribute":                {"<rewrite><rules><rule name='a' responseCacheDirective='Never'/></rules></rewrite>", `"responseCacheDirective"`},
		"an attribute in other letter case":   {"<rewrite><rules><rule Name='a'/></rules></rewrite>", `"Name"`},
		"a pattern syntax outside the schema": {"<rewrite><rules><rule name='a' patternSyntax='Regular Expressions'/></rules></rewrite>", "Regular Expressions"},
		"a boolean that is none":              {rule("<match url='x' negate='yes'/>"), `"yes"`},
		"server variables":                    {rule("<serverVariables><set name='X' value='1'/></serverVariables>"), "<serverVariables>"},
		"an unknown element":                  {rule("<matches/>"), "<matches>"},
		"two actions":                         {rule("<action type='None'/><action type='None'/>"), "more than one"},
		"a condition inside match":            {rule("<match url='x'><add/></match>"), "<add>"},
		"text in a rule":                      {rule("<match url='x'/>oops"), "text"},
		"text between comments":               {rule("<!-- a -->oops<!-- b -->"), "text"},
		"CDATA in a rule":                     {rule("<![CDATA[x]]>"), "text"},
		"a redirect as custom response":       {rule("<action type='CustomResponse' statusCode='302'/>"), `"302"`},
		"a status code that is no number":     {rule("<action type='CustomResponse' statusCode='4x3'/>"), `"4x3"`},
		"a huge status code":                  {rule("<action type='CustomResponse' statusCode='99999999999999999999'/>"), "statusCode"},
		"a redirect type outside the schema":  {rule("<action type='Redirect' url='/' redirectType='308'/>"), `"308"`},
		"too much":                            {"<rewrite>" + strings.Repeat(" ", MaxContentBytes) + "</rewrite>", "limit"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ReadRules([]byte(tc.in), "EMS M1.1")
			if got := refusal.Of(err, ""); got != refusal.UnsupportedContent {
				t.Fatalf("reason %q (%v)", got, err)
			}
			if !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("message %q does not say %q", err, tc.wantText)
			}
		})
	}
}
