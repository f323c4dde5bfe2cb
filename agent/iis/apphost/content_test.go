package apphost

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/refusal"
)

func TestReadContent(t *testing.T) {
	content, err := ReadContent([]byte("<rewrite>\n <rules><!-- one -->\n  <rule enabled='True' name='R&amp;D - \"in\"' patternSyntax=\"Wildcard\"><!-- two --><match url=\"*\"></match>"+
		"<action type=\"CustomResponse\" statusCode=\"403\" subStatusCode=\"0\"/></rule><rule name=\"b\"/>\n </rules>\n</rewrite>"), site, "EMS M1.1")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	rules := content.Groups[0].Items
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
	out, _, err := render([]byte(file("")), Wanted{Groups: []Group{{Path: site, Section: Rules, Items: rules}}})
	if err != nil || strings.Contains(string(out), "two") {
		t.Errorf("a comment of the document was installed (error %v)\n%s", err, out)
	}
}

func TestReadContentRefuses(t *testing.T) {
	rule := func(inside string) string {
		return "<rewrite><rules><rule name=\"a\">" + inside + "</rule></rules></rewrite>"
	}
	tests := map[string]struct{ in, wantText string }{
		"another root":                        {"<rules/>", `"rules"`},
		"nothing readable":                    {"<rewrite>", "not readable"},
		"no rule":                             {"<rewrite><rules/></rewrite>", "no rule"},
		"global rules":                        {"<rewrite><globalRules><rule name='a'/></globalRules></rewrite>", "<globalRules>"},
		"an attribute of outbound rules":      {"<rewrite><outboundRules rewriteBeforeCache='true'><rule name='a'/></outboundRules></rewrite>", "rewriteBeforeCache"},
		"a precondition of somebody else":     {"<rewrite><outboundRules><rule name='a' preCondition='ResponseIsHtml1'/></outboundRules></rewrite>", "ResponseIsHtml1"},
		"custom tags of somebody else":        {"<rewrite><outboundRules><rule name='a'><match customTags='t'/></rule></outboundRules></rewrite>", `"t"`},
		"a flag that is no tag":               {"<rewrite><outboundRules><rule name='a'><match filterByTags='A, Blink'/></rule></outboundRules></rewrite>", "Blink"},
		"a remove in a map":                   {"<rewrite><rewriteMaps><rewriteMap name='m'><remove key='x'/></rewriteMap></rewriteMaps></rewrite>", "<remove>"},
		"a clear of server variables":         {"<rewrite><allowedServerVariables><clear/></allowedServerVariables></rewrite>", "<clear>"},
		"an unknown section":                  {"<rewrite><providers/></rewrite>", "<providers>"},
		"sections with nothing in them":       {"<rewrite><rules/><rewriteMaps/><outboundRules><preConditions/></outboundRules></rewrite>", "no rule"},
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
		"a server variable without a name":    {rule("<serverVariables><set value='1'/></serverVariables>"), `"name" is missing`},
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
			_, err := ReadContent([]byte(tc.in), site, "EMS M1.1")
			if got := refusal.Of(err, ""); got != refusal.UnsupportedContent {
				t.Fatalf("reason %q (%v)", got, err)
			}
			if !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("message %q does not say %q", err, tc.wantText)
			}
		})
	}
}

func TestReferencesFollowTheirNames(t *testing.T) {
	w, err := ReadContent([]byte(`<rewrite><outboundRules>`+
		`<rule name="out" preCondition='is &quot;html&quot;'><match customTags="t" filterByTags="CustomTags" pattern="x"/></rule><rule name="plain" preCondition=""/>`+
		`<preConditions><preCondition name="IS &quot;html&quot;"><add input="{RESPONSE_STATUS}" pattern="200"/></preCondition></preConditions>`+
		`<customTags><tags name="t"><tag name="a" attribute="b"/></tags></customTags></outboundRules>`+
		`<rewriteMaps><rewriteMap name="m"><add key="k" value="v"/></rewriteMap></rewriteMaps><allowedServerVariables><add name="V"/></allowedServerVariables></rewrite>`), site, "EMS M1.1")
	if err != nil {
		t.Fatal(err)
	}
	got := map[Section][]string{}
	for _, g := range w.Groups {
		for _, item := range g.Items {
			got[g.Section] = append(got[g.Section], item.Name+": "+string(item.XML))
		}
	}
	want := map[Section][]string{
		OutboundRules: {`EMS M1.1 out: <rule name="EMS M1.1 out" preCondition="EMS M1.1 is &quot;html&quot;"><match customTags="EMS M1.1 t" filterByTags="CustomTags" pattern="x"/></rule>`,
			`EMS M1.1 plain: <rule name="EMS M1.1 plain" preCondition=""/>`},
		CustomTags:      {`EMS M1.1 t: <tags name="EMS M1.1 t"><tag name="a" attribute="b"/></tags>`},
		PreConditions:   {`EMS M1.1 IS "html": <preCondition name="EMS M1.1 IS &quot;html&quot;"><add input="{RESPONSE_STATUS}" pattern="200"/></preCondition>`},
		RewriteMaps:     {`m: <rewriteMap name="m"><add key="k" value="v"/></rewriteMap>`},
		ServerVariables: {`V: <add name="V"/>`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadContent([]byte(`<rewrite><globalRules><rule name="a"/></globalRules></rewrite>`), site, "EMS M1.1"); refusal.Of(err, "") != refusal.UnsupportedContent {
		t.Errorf("global rules at a site: %v", err)
	}
}

func FuzzReadContent(f *testing.F) {
	for _, s := range []string{
		`<rewrite><rules><rule name="a"><match url=".*"/></rule></rules></rewrite>`,
		`<rewrite><outboundRules><rule name="a" preCondition="p"/><preConditions><preCondition name="p"/></preConditions></outboundRules></rewrite>`,
		`<rewrite><rewriteMaps><rewriteMap name="m"><add key="k"/></rewriteMap></rewriteMaps><globalRules><rule name="g"/></globalRules></rewrite>`,
		`<rewrite><rules><clear/></rules></rewrite>`,
	} {
		f.Add([]byte(s))
	}
	base := []byte(file(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := ReadContent(data, "", "EMS F1.1")
		if err != nil {
			return
		}
		out, edits, err := render(base, w)
		if err != nil {
			if refusal.Of(err, "") != refusal.NameCollision {
				t.Fatalf("accepted content is not rendered: %v", err)
			}
			return
		}
		if bytes.Contains(out, []byte("<clear")) || bytes.Contains(out, []byte("<remove")) {
			t.Fatalf("content that drops others' rules:\n%s", out)
		}
		c, err := Parse(out)
		if err != nil || len(c.Verify(w)) > 0 {
			t.Fatalf("error %v, findings %v", err, c.Verify(w))
		}
		if back, exact, err := strip(out, edits); err != nil || !exact || !bytes.Equal(back, base) {
			t.Fatalf("exact %v, error %v:\n%s", exact, err, back)
		}
	})
}
