package rewrite_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mitigation.dev/ems/internal/rewrite"
)

func htmlResponse(body string) rewrite.Response {
	return rewrite.Response{
		Status: 200, Body: []byte(body),
		Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Server": {"Microsoft-IIS/10.0"}, "Location": {"http://webmail/newpage.aspx"}},
	}
}

const isHTML = `<preConditions><preCondition name="IsHTML"><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/></preCondition>
	<preCondition name="IsRedirection" logicalGrouping="MatchAny"><add input="{RESPONSE_STATUS}" pattern="^3\d\d"/></preCondition></preConditions>`

func outboundRule(attributes, match, action string) string {
	return `<rule name="o" ` + attributes + `><match ` + match + `/><action type="Rewrite" value="` + action + `"/></rule>`
}

func TestOutboundBody(t *testing.T) {
	const links = `<a href="/article.aspx?id=1&amp;title=x"><img src='/logo.jpg' alt=/logo.jpg></a><!-- <a href="/article.aspx"> --><script src="/s.js">x = '<a href="/article.aspx">'</script><A HREF=/article.aspx>`
	cases := map[string]struct {
		rules, body, want string
		wantRules         []string
	}{
		"links of the walk-through": {
			outboundRule(`preCondition="IsHTML"`, `filterByTags="A" pattern="^/article\.aspx\?id=([0-9]+)&amp;(?:amp;)?title=([_0-9a-z-]+)$"`, "/article/{R:1}/{R:2}"),
			`<p><a href="/article.aspx?id=1&amp;title=some-title">Here</a> /article.aspx?id=1</p>`, `<p><a href="/article/1/some-title">Here</a> /article.aspx?id=1</p>`, []string{"o"}},
		"only the tags that are named": {outboundRule("", `filterByTags="Img, Script" pattern="^/(.*)"`, "//cdn/{R:1}"), links,
			strings.NewReplacer(`'/logo.jpg'`, `'//cdn/logo.jpg'`, `"/s.js"`, `"//cdn/s.js"`).Replace(links), []string{"o"}},
		"tags in any case, values without quotes": {outboundRule("", `filterByTags="A" pattern="^/article\.aspx$"`, "/x"), links,
			strings.Replace(links, "HREF=/article.aspx", "HREF=/x", 1), []string{"o"}},
		"custom tags": {`<customTags><tags name="data"><tag name="img" attribute="alt"/></tags></customTags>` + outboundRule("", `filterByTags="CustomTags" customTags="data" pattern="(.*)"`, "[{R:1}]"), links,
			strings.Replace(links, "alt=/logo.jpg", "alt=[/logo.jpg]", 1), []string{"o"}},
		"a rule gets what the rule before made": {
			`<rule name="1"><match filterByTags="A, Img" pattern="^/(.*)"/><action type="Rewrite" value="/1/{R:1}"/></rule><rule name="2"><match filterByTags="A" pattern="^/1/(.*)"/><action type="Rewrite" value="/2/{R:1}"/></rule>`,
			`<a href="/default.aspx"><img src="/logo.jpg"/>Home Page</a>`, `<a href="/2/default.aspx"><img src="/1/logo.jpg"/>Home Page</a>`, []string{"1", "2"}},
		"stopProcessing ends the rules of an attribute": {
			`<rule name="1" stopProcessing="true"><match filterByTags="A" pattern="^/x"/><action type="Rewrite" value="/1"/></rule><rule name="2"><match filterByTags="A" pattern=".*"/><action type="Rewrite" value="/2"/></rule>`,
			`<a href="/x"><a href="/y">`, `<a href="/1"><a href="/2">`, []string{"1", "2"}},
		"the whole content":                      {outboundRule("", `pattern="b(.)"`, "[{R:1}]"), "abcbd", "a[c][d]", []string{"o"}},
		"the content, a number of times":         {outboundRule("", `pattern="&lt;/head&gt;" occurrences="1"`, "x{R:0}"), "</head></head>", "x</head></head>", []string{"o"}},
		"tags, a number of times":                {outboundRule("", `filterByTags="A" pattern=".*" occurrences="1"`, "x"), `<a href="1"><a href="2">`, `<a href="x"><a href="2">`, []string{"o"}},
		"content in characters of several bytes": {outboundRule("", `pattern="ö(.)"`, "oe{R:1}"), "größe höhe", "groeße hoehe", []string{"o"}},
		"exact text is searched":                 {outboundRule(`patternSyntax="ExactMatch"`, `pattern="a.c"`, "[{R:0}]"), "abc A.C a.c", "abc [A.C] [a.c]", []string{"o"}},
		"exact text with regard to case":         {outboundRule(`patternSyntax="ExactMatch"`, `pattern="a.c" ignoreCase="false"`, "x"), "A.C a.c", "A.C x", []string{"o"}},
		"wildcards in tags":                      {outboundRule(`patternSyntax="Wildcard"`, `filterByTags="Img" pattern="/*.jpg"`, "{R:1}.png"), `<img src="/a.jpg">`, `<img src="a.png">`, []string{"o"}},
		"a pattern that does not match":          {outboundRule("", `pattern="x"`, "y"), "abc", "abc", nil},
		"a negated pattern replaces all of it":   {outboundRule("", `pattern="x" negate="true"`, "nothing"), "abc", "nothing", []string{"o"}},
		"a precondition that does not hold":      {outboundRule(`preCondition="isredirection"`, `pattern="b"`, "x"), "abc", "abc", nil},
		"a rule that is not enabled":             {outboundRule(`enabled="false"`, `pattern="b"`, "x"), "abc", "abc", nil},
		"conditions on the request": {
			`<rule name="o"><match pattern="b"/><conditions><add input="{URL}" pattern="^/(app)/"/><add input="{R:0}{HTTP_HOST}" pattern="^b(mail)"/></conditions><action type="Rewrite" value="{C:1}{C:2}"/></rule>`,
			"abc", "aappmailc", []string{"o"}},
		"conditions that do not hold": {
			`<rule name="o"><match pattern="b"/><conditions><add input="{URL}" pattern="^/other/"/></conditions><action type="Rewrite" value="x"/></rule>`, "abc", "abc", nil},
		"an action that does nothing": {`<rule name="o"><match pattern="b"/></rule>`, "abc", "abc", nil},
		"a function in the value":     {outboundRule("", `pattern="Q"`, "{HtmlEncode:{QUERY_STRING}}"), "Q", "a=&lt;b&gt;", []string{"o"}},
		"broken markup":               {outboundRule("", `filterByTags="A" pattern=".*"`, "x"), `<a href="1"><a href='2`, `<a href="x"><a href='2`, []string{"o"}},
		"a script without end":        {outboundRule("", `filterByTags="A" pattern=".*"`, "x"), `<script><a href="1">`, `<script><a href="1">`, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := rewrite.NewSite(rewrite.Options{}, siteLevel(t, "<outboundRules>"+isHTML+tc.rules+"</outboundRules>"))
			response := htmlResponse(tc.body)
			got, err := s.EvaluateResponse(get("/app/x?a=<b>"), rewrite.Result{}, response)
			if err != nil {
				t.Fatal(err)
			}
			if string(got.Body) != tc.want || got.Fault != nil {
				t.Errorf("body %s\nwant %s\nfault %v", got.Body, tc.want, got.Fault)
			}
			if diff := cmp.Diff(tc.wantRules, got.Rules, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("rules: %s", diff)
			}
			if string(response.Body) != tc.body {
				t.Error("the response was changed")
			}
		})
	}
}

func TestOutboundHeaders(t *testing.T) {
	header := func(name, pattern, value, more string) string {
		return `<rule name="o" ` + more + `><match serverVariable="` + name + `" pattern="` + pattern + `"/><action type="Rewrite" value="` + value + `"/></rule>`
	}
	cases := map[string]struct {
		rules string
		name  string
		want  string
	}{
		"a new header":               {header("RESPONSE_X_Custom_Header", ".*", "v", ""), "X-Custom-Header", "v"},
		"a header is replaced whole": {header("RESPONSE_SERVER", "IIS", "hidden", ""), "Server", "hidden"},
		"a header is removed":        {header("RESPONSE_Server", ".*", "", ""), "Server", ""},
		"one that does not match":    {header("RESPONSE_SERVER", "nginx", "hidden", ""), "Server", "Microsoft-IIS/10.0"},
		"the location of the walk-through": {
			`<rule name="o"><match serverVariable="RESPONSE_Location" pattern="^http://[^/]+/(.*)"/><conditions><add input="{ORIGINAL_HOST}" pattern=".+"/><add input="{URL}" pattern="^/(webmail|payroll)/.*"/></conditions><action type="Rewrite" value="http://{ORIGINAL_HOST}/{C:1}/{R:1}"/></rule>`,
			"Location", "http://www.contoso.com/webmail/newpage.aspx"},
		"a header that stays if it is there": {`<rule name="o"><match serverVariable="RESPONSE_SERVER" pattern=".*"/><action type="Rewrite" value="x" replace="false"/></rule>`, "Server", "Microsoft-IIS/10.0"},
		"later rules see the new value":      {header("RESPONSE_SERVER", "IIS", "one", "") + strings.Replace(header("RESPONSE_SERVER", "^one$", "two", ""), `"o"`, `"p"`, 1), "Server", "two"},
		"stopProcessing ends the rules":      {header("RESPONSE_SERVER", "IIS", "one", `stopProcessing="true"`) + strings.Replace(header("RESPONSE_SERVER", "^one$", "two", ""), `"o"`, `"p"`, 1), "Server", "one"},
		"a variable for later rules":         {header("KEPT", ".*", "k", "") + strings.Replace(header("RESPONSE_SERVER", ".*", "{KEPT}", ""), `"o"`, `"p"`, 1), "Server", "k"},
		"a status":                           {header("RESPONSE_X_STATUS", ".*", "{RESPONSE_STATUS}", ""), "X-Status", "200"},
		"exact text in a header":             {header("RESPONSE_SERVER", "-iis", "found {R:0}", `patternSyntax="ExactMatch"`), "Server", "found -iis"},
		"exact text that is not there":       {header("RESPONSE_SERVER", "apache", "x", `patternSyntax="ExactMatch"`), "Server", "Microsoft-IIS/10.0"},
		"a negated pattern":                  {`<rule name="o"><match serverVariable="RESPONSE_SERVER" pattern="nginx" negate="true"/><action type="Rewrite" value="x"/></rule>`, "Server", "x"},
		"a wildcard":                         {header("RESPONSE_SERVER", "*-IIS/*", "{R:1} {R:2}", `patternSyntax="Wildcard"`), "Server", "Microsoft 10.0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := rewrite.NewSite(rewrite.Options{},
				serverLevel(t, `<rewrite><globalRules><rule name="keep"><match url=".*"/><serverVariables><set name="ORIGINAL_HOST" value="www.contoso.com"/></serverVariables></rule></globalRules></rewrite>`),
				siteLevel(t, `<outboundRules>`+tc.rules+`</outboundRules>`))
			request := get("/webmail/index.aspx")
			response := htmlResponse("")
			got, err := s.EvaluateResponse(request, evaluate(t, s, request), response)
			if err != nil {
				t.Fatal(err)
			}
			if got.Header.Get(tc.name) != tc.want || got.Fault != nil {
				t.Errorf("%s: %q, want %q; fault %v", tc.name, got.Header.Get(tc.name), tc.want, got.Fault)
			}
			if response.Header.Get("Server") != "Microsoft-IIS/10.0" {
				t.Error("the response was changed")
			}
		})
	}
}

func TestOutboundFaults(t *testing.T) {
	encoded := htmlResponse("x")
	encoded.Header.Set("Content-Encoding", "gzip")
	body := outboundRule("", `pattern="x"`, "y")
	cases := map[string]struct {
		section, rules string
		response       rewrite.Response
		want           string
		wantSub        int
	}{
		"content that is compressed":      {"", body, encoded, `content of the HTTP response is encoded ("gzip")`, 52},
		"compressed, before the cache":    {`rewriteBeforeCache="true"`, body, encoded, "encoded", 53},
		"a wildcard without tags":         {"", outboundRule(`patternSyntax="Wildcard"`, `pattern="*"`, "y"), htmlResponse("x"), "a wildcard pattern needs filterByTags", 52},
		"a pattern that IIS cannot use":   {"", outboundRule("", `pattern="("`, "y"), htmlResponse("x"), "a group is not closed", 52},
		"a precondition that is missing":  {"", outboundRule(`preCondition="p"`, `pattern="x"`, "y"), htmlResponse("x"), `precondition "p" is not defined`, 52},
		"custom tags that are missing":    {"", outboundRule("", `filterByTags="CustomTags" customTags="t" pattern="x"`, "y"), htmlResponse("x"), `custom tags "t" are not defined`, 52},
		"a map that is missing":           {"", outboundRule("", `pattern="x"`, "{M:x}"), htmlResponse("x"), `rewrite map "m" is not defined`, 52},
		"a value that is not well-formed": {"", outboundRule("", `pattern="x"`, "{R:1"), htmlResponse("x"), "no back reference", 52},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := rewrite.NewSite(rewrite.Options{}, siteLevel(t, "<outboundRules "+tc.section+">"+tc.rules+"</outboundRules>"))
			got, err := s.EvaluateResponse(get("/"), rewrite.Result{}, tc.response)
			if err != nil {
				t.Fatal(err)
			}
			if got.Outcome != rewrite.Error || got.Status != 500 || got.SubStatus != tc.wantSub || got.Fault.Rule != "o" || !strings.Contains(got.Fault.Reason, tc.want) {
				t.Errorf("%+v with fault %v, want 500.%d: %s", got, got.Fault, tc.wantSub, tc.want)
			}
			if tc.response.Header.Get("Content-Encoding") == "" && len(s.Problems()) == 0 {
				t.Error("no problem is listed")
			}
		})
	}
	s := rewrite.NewSite(rewrite.Options{}, siteLevel(t, "<outboundRules>"+outboundRule("", `pattern="x"`, "y")+"</outboundRules>"))
	if _, err := s.EvaluateResponse(get("/"), rewrite.Result{}, rewrite.Response{Body: make([]byte, rewrite.MaxResponseBody+1)}); !errors.Is(err, rewrite.ErrUnsupported) {
		t.Errorf("a body that is too large: %v", err)
	}
}

// A response whose content meets both kinds of rules is marked: which come first is not documented.
func TestOutboundOrderIsOpen(t *testing.T) {
	rules := outboundRule("", `filterByTags="A" pattern=".*"`, "x") + strings.Replace(outboundRule("", `pattern="end"`, "y"), `"o"`, `"p"`, 1)
	s := rewrite.NewSite(rewrite.Options{}, siteLevel(t, "<outboundRules>"+rules+"</outboundRules>"))
	got, err := s.EvaluateResponse(get("/"), rewrite.Result{}, htmlResponse(`<a href="1">end`))
	if err != nil {
		t.Fatal(err)
	}
	anchored := rewrite.NewSite(rewrite.Options{}, siteLevel(t, "<outboundRules>"+outboundRule("", `pattern="^b$"`, "x")+"</outboundRules>"))
	if lines, err := anchored.EvaluateResponse(get("/"), rewrite.Result{}, htmlResponse("a\nb")); err != nil || len(lines.Uncertain) != 1 || lines.Uncertain[0] != rewrite.LineAnchors {
		t.Errorf("anchors in a body of two lines: %v %v", lines.Uncertain, err)
	}
	if diff := cmp.Diff([]rewrite.OpenPoint{rewrite.ContentAfterTags}, got.Uncertain); diff != "" || string(got.Body) != `<a href="x">y` {
		t.Errorf("body %s: %s", got.Body, diff)
	}
}
