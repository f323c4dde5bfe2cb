package rewrite_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rewrite"
)

// The table of published forms of the rule and what each of them catches.
func TestFormsOfTheProxyNotShellRule(t *testing.T) {
	forms := []struct{ date, input, pattern string }{
		{"2022-09-30", "{REQUEST_URI}", `.*autodiscover\.json.*\@.*Powershell.*`},
		{"2022-10-03", "{REQUEST_URI}", `.*autodiscover\.json.*Powershell.*`},
		{"2022-10-06", "{UrlDecode:{REQUEST_URI}}", `.*autodiscover\.json.*Powershell.*`},
		{"2022-10-07", "{UrlDecode:{REQUEST_URI}}", `(?=.*autodiscover)(?=.*powershell)`},
	}
	const yes, no = rewrite.Blocked, rewrite.Allowed
	cases := map[string]struct {
		target string
		want   [4]rewrite.Verdict
	}{
		"the first exploit": {
			"/autodiscover/autodiscover.json?@example.com/PowerShell/", [4]rewrite.Verdict{yes, yes, yes, yes}},
		"an encoded at sign evades the first form": {
			"/autodiscover/autodiscover.json?%40example.com/PowerShell", [4]rewrite.Verdict{no, yes, yes, yes}},
		"an encoded letter evades the second form": {
			"/autodiscover/autodiscover.json?@example.com/%50owerShell/", [4]rewrite.Verdict{no, no, yes, yes}},
		"the reversed order evades the third form": {
			"/powershell?x=autodiscover", [4]rewrite.Verdict{no, no, no, yes}},
		"a harmless search is blocked by the last form": {
			"/owa/?q=autodiscover+powershell", [4]rewrite.Verdict{no, no, no, yes}},
		"PowerShell alone passes":   {"/powershell?serializationLevel=Full", [4]rewrite.Verdict{no, no, no, no}},
		"autodiscover alone passes": {"/autodiscover/autodiscover.xml", [4]rewrite.Verdict{no, no, no, no}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for i, form := range forms {
				got := evaluate(t, site(t, proxyNotShell(form.input, form.pattern)), get(tc.target))
				if got.Verdict() != tc.want[i] {
					t.Errorf("form of %s: %s is %s, want %s", form.date, got, got.Verdict(), tc.want[i])
				}
			}
		})
	}
}

// rule is a rule "a" with a match for everything.
func rule(inside string) string {
	return `<rule name="a"><match url=".*"/>` + inside + `</rule>`
}

// when is a rule "a" that aborts under one condition.
func when(input, pattern string) string {
	return rule(`<conditions><add input="` + input + `" pattern="` + pattern + `"/></conditions>` + abort)
}

// tell is a rule "a" that answers with a text, to see what the text becomes.
func tell(match, text string) string {
	return `<rule name="a"><match url="` + match + `"/><action type="CustomResponse" statusCode="404" statusReason="` + text + `"/></rule>`
}

const (
	abort       = `<action type="AbortRequest"/>`
	abortedByA  = `Aborted by rule "a"`
	passed      = "Passed"
	unsureAbout = " (uncertain: "
)

func TestInboundRules(t *testing.T) {
	cases := map[string]struct {
		rules, target, want string
	}{
		"no rules let everything pass": {"", "/", passed},

		// What match sees.
		"match sees the path without slash and query": {`<rule name="a"><match url="^owa/$"/>` + abort + `</rule>`, "/owa/?x=1", abortedByA},
		"match never sees a leading slash":            {`<rule name="a"><match url="^/"/>` + abort + `</rule>`, "/owa/", passed},
		"match sees the decoded path with dots resolved": {
			`<rule name="a"><match url="^ecp/x y$"/>` + abort + `</rule>`, "/owa//%2e%2e/e%63p/./x%20y", abortedByA},
		"case does not matter":               {`<rule name="a"><match url="OWA"/>` + abort + `</rule>`, "/owa/", abortedByA},
		"case matters when it is told to":    {`<rule name="a"><match url="OWA" ignoreCase="false"/>` + abort + `</rule>`, "/owa/", passed},
		"a negated match":                    {`<rule name="a"><match url="^owa" negate="True"/>` + abort + `</rule>`, "/ecp/", abortedByA},
		"a negated match that matches":       {`<rule name="a"><match url="^owa" negate="True"/>` + abort + `</rule>`, "/owa/", passed},
		"the root of the site":               {`<rule name="a"><match url="^$"/>` + abort + `</rule>`, "/", abortedByA},
		"a rule that is not enabled":         {`<rule name="a" enabled="false"><match url=".*"/>` + abort + `</rule>`, "/", passed},
		"a rule without match, for the root": {`<rule name="a">` + abort + `</rule>`, "/", abortedByA + unsureAbout + "MissingMatch)"},

		// Syntaxes.
		"a wildcard covers the whole path": {`<rule name="a" patternSyntax="Wildcard"><match url="*.asp?"/>` + abort + `</rule>`, "/OWA/default.aspx", abortedByA},
		"a wildcard does not search":       {`<rule name="a" patternSyntax="Wildcard"><match url="default"/>` + abort + `</rule>`, "/owa/default", passed},
		"a wildcard captures each asterisk": {
			`<rule name="a" patternSyntax="wildcard"><match url="*/x?/*"/><action type="Rewrite" url="[{R:0}|{R:1}|{R:2}]"/></rule>`, "/a/b/xy/c", `Rewritten to /[a/b/xy/c|a/b|c] by rule "a"`},
		"an exact match applies to conditions too": {
			`<rule name="a" patternSyntax="ExactMatch"><match url="owa/"/><conditions><add input="{QUERY_STRING}" pattern="A=.*"/></conditions>` + abort + `</rule>`, "/OWA/?a=.*", abortedByA},

		// Conditions.
		"all conditions have to hold": {
			rule(`<conditions><add input="{REQUEST_METHOD}" pattern="^POST$"/><add input="{HTTP_HOST}" pattern="^mail\."/></conditions>` + abort), "/", passed},
		"all conditions hold": {
			rule(`<conditions><add input="{REQUEST_METHOD}" pattern="^GET$"/><add input="{HTTP_HOST}" pattern="^mail\."/></conditions>` + abort), "/", abortedByA},
		"one condition is enough with MatchAny": {
			rule(`<conditions logicalGrouping="MatchAny"><add input="{REQUEST_METHOD}" pattern="^POST$"/><add input="{HTTP_HOST}" pattern="^mail\."/></conditions>` + abort), "/", abortedByA},
		"no condition of MatchAny holds": {
			rule(`<conditions logicalGrouping="MatchAny"><add input="{REQUEST_METHOD}" pattern="^POST$"/><add input="{HTTP_HOST}" pattern="^www\."/></conditions>` + abort), "/", passed},
		"MatchAny without conditions":                     {rule(`<conditions logicalGrouping="MatchAny"/>` + abort), "/", abortedByA},
		"a negated condition":                             {rule(`<conditions><add input="{HTTP_HOST}" pattern="^www\." negate="true"/></conditions>` + abort), "/", abortedByA},
		"a condition that regards case":                   {rule(`<conditions><add input="{HTTP_HOST}" pattern="^MAIL" ignoreCase="false"/></conditions>` + abort), "/", passed},
		"an input of text and variables":                  {when("[{REQUEST_METHOD}] {URL}", `^\[GET\] /x$`), "/x", abortedByA},
		"an input without braces":                         {when("text", "^text$"), "/", abortedByA},
		"a rule pattern in a condition":                   {`<rule name="a"><match url="^(\w+)/(\w+)$"/><conditions><add input="{R:1}={R:2}" pattern="^a=b$"/></conditions>` + abort + `</rule>`, "/a/b", abortedByA},
		"a condition in a later condition":                {rule(`<conditions><add input="{URL}" pattern="/(\w+)"/><add input="{C:1}" pattern="^owa$"/></conditions>` + abort), "/owa/x", abortedByA},
		"an encoded path that reads alike":                {when("{UrlDecode:{REQUEST_URI}}", "powershell"), "/%50owershell", abortedByA},
		"double encoding that stays unmatched either way": {when("{UrlDecode:{REQUEST_URI}}", "powershell"), "/?%2550owershell", passed},

		// Captures.
		"captures of the last matched condition": {
			rule(`<conditions><add input="{URL}" pattern="^/(.)(.)"/><add input="{QUERY_STRING}" pattern="x=(.)"/></conditions><action type="Redirect" url="/{C:0}-{C:1}" appendQueryString="false"/>`),
			"/ab?x=c", `Redirected 301 to http://mail.example.com/x=c-c by rule "a"`},
		"captures of all conditions": {
			rule(`<conditions trackAllCaptures="true"><add input="{URL}" pattern="^/(.)(.)"/><add input="{QUERY_STRING}" pattern="x=(.)"/></conditions><action type="Redirect" url="/{C:0}-{C:1}{C:2}{C:3}" appendQueryString="false"/>`),
			"/ab?x=c", `Redirected 301 to http://mail.example.com//ab-abc by rule "a"`},
		"a group that takes no part is empty": {`<rule name="a"><match url="^(x)?(y)$"/><action type="Redirect" url="/[{R:1}{R:2}]"/></rule>`, "/y", `Redirected 301 to http://mail.example.com/[y] by rule "a"`},
		"letters of references in lower case": {`<rule name="a"><match url="^(x)$"/><action type="Redirect" url="/{r:1}"/></rule>`, "/x", `Redirected 301 to http://mail.example.com/x by rule "a"`},

		// Actions.
		"a response with a status":       {rule(`<action type="CustomResponse" statusCode="403" subStatusCode="900"/>`), "/", `Responded 403.900 by rule "a"`},
		"a redirect is permanent":        {rule(`<action type="Redirect" url="https://{HTTP_HOST}/"/>`), "/", `Redirected 301 to https://mail.example.com/ by rule "a"`},
		"a temporary redirect":           {rule(`<action type="Redirect" url="/sorry" redirectType="temporary"/>`), "/", `Redirected 307 to http://mail.example.com/sorry by rule "a"`},
		"a redirect keeps the query":     {rule(`<action type="Redirect" url="/a?x=1"/>`), "/?y=2", `Redirected 301 to http://mail.example.com/a?x=1&y=2 by rule "a"`},
		"a redirect drops the query":     {rule(`<action type="Redirect" url="/a" appendQueryString="false"/>`), "/?y=2", `Redirected 301 to http://mail.example.com/a by rule "a"`},
		"a rewrite keeps the query":      {rule(`<action type="Rewrite" url="/a"/>`), "/?y=2", `Rewritten to /a?y=2 by rule "a"`},
		"a rewrite adds to the query":    {rule(`<action type="Rewrite" url="a?x=1"/>`), "/b/c?y=2", `Rewritten to /a?x=1&y=2 by rule "a"`},
		"a rewrite drops the query":      {rule(`<action type="Rewrite" url="/a" appendQueryString="false"/>`), "/?y=2", `Rewritten to /a by rule "a"`},
		"a rewrite to another server":    {rule(`<action type="Rewrite" url="http://backend/{R:0}"/>`), "/x?y", `Rewritten to http://backend/x?y by rule "a"`},
		"a rule that does nothing":       {rule(`<action type="None"/>`), "/x", passed},
		"a rule without action":          {rule(""), "/x", passed},
		"a backslash in the URL as sent": {when("{UNENCODED_URL}", `^/a%5Cb\?q$`), "/a%5Cb?q", abortedByA},

		// Order.
		"the first ending rule wins": {`<rule name="a"><match url="x"/>` + abort + `</rule><rule name="b"><match url=".*"/>` + abort + `</rule>`, "/owa", `Aborted by rule "b"`},
		"an allowing rule hides later ones": {
			`<rule name="a" stopProcessing="true"><match url=".*"/><action type="None"/></rule><rule name="b"><match url=".*"/>` + abort + `</rule>`, "/owa", `Passed by rule "a"`},
		"stopProcessing of a rule that does not match has no effect": {
			`<rule name="a" stopProcessing="true"><match url="x"/></rule><rule name="b"><match url=".*"/>` + abort + `</rule>`, "/owa", `Aborted by rule "b"`},
		"a later rule gets the rewritten URL": {
			`<rule name="a"><match url="^a$"/><action type="Rewrite" url="b?x=1"/></rule><rule name="b"><match url="^b$"/><conditions><add input="{QUERY_STRING}" pattern="^x=1&amp;y=2$"/></conditions>` + abort + `</rule>`, "/a?y=2", `Aborted by rule "b"`},
		"a rewrite that stops": {
			`<rule name="a" stopProcessing="true"><match url="^a$"/><action type="Rewrite" url="b"/></rule><rule name="b"><match url="^b$"/>` + abort + `</rule>`, "/a", `Rewritten to /b by rule "a"`},
		"a redirect ends the rules": {
			`<rule name="a"><match url="^a$"/><action type="Redirect" url="/b"/></rule><rule name="b"><match url=".*"/>` + abort + `</rule>`, "/a", `Redirected 301 to http://mail.example.com/b by rule "a"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := summary(evaluate(t, site(t, tc.rules), get(tc.target))); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestServerVariablesAndFunctions(t *testing.T) {
	request := rewrite.Request{
		Method: "POST", Host: "mail.example.com:8443", Path: "/a%20b", RawQuery: "q=%41", TLS: true, Port: 8443, RemoteAddr: "192.0.2.7",
		Headers:   http.Header{"User-Agent": {"Scanner/1.0"}, "X_odd-name": {"odd"}, "Content-Type": {"text/plain"}, "Content-Length": {"3"}},
		Variables: map[string]string{"LOGON_USER": "EXAMPLE\\ann"},
	}
	cases := map[string]struct{ text, want string }{
		"the method":                        {"{REQUEST_METHOD}={HTTP_METHOD}", "POST=POST"},
		"the host":                          {"{HTTP_HOST} {SERVER_NAME}", "mail.example.com:8443 mail.example.com"},
		"the connection":                    {"{HTTPS} {SERVER_PORT} {SERVER_PORT_SECURE} {REMOTE_ADDR}", "ON 8443 1 192.0.2.7"},
		"the path in every name":            {"{URL}{PATH_INFO}{SCRIPT_NAME}{URL_PATH_INFO}", strings.Repeat("/a b", 4)},
		"the query is not decoded":          {"{QUERY_STRING}", "q=%41"},
		"the URL as sent":                   {"{UNENCODED_URL}", "/a%20b?q=%41"},
		"a header":                          {"{HTTP_USER_AGENT}", "Scanner/1.0"},
		"a header with an underscore":       {"{HTTP_X_ODD_NAME}", "odd"},
		"names in lower case":               {"{http_user_agent}", "Scanner/1.0"},
		"an absent header":                  {"[{HTTP_REFERER}]", "[]"},
		"the content":                       {"{CONTENT_TYPE} {CONTENT_LENGTH}", "text/plain 3"},
		"a variable of the request":         {"{LOGON_USER}", "EXAMPLE\\ann"},
		"a variable of the server":          {"{SERVER_SOFTWARE}", "Microsoft-IIS/10.0"},
		"a variable that nobody sets":       {"[{NO_SUCH_THING}]", "[]"},
		"the protocol":                      {"{SERVER_PROTOCOL} {GATEWAY_INTERFACE}", "HTTP/1.1 CGI/1.1"},
		"a name with a blank":               {"[{NO SUCH}]", "[]"},
		"the original URL before a rewrite": {"[{HTTP_X_ORIGINAL_URL}]", "[]"},
		"ToLower":                           {"{ToLower:{HTTP_USER_AGENT}}", "scanner/1.0"},
		"UrlDecode":                         {"{UrlDecode:{QUERY_STRING}}", "q=A"},
		"UrlEncode of safe text":            {"{UrlEncode:a-b_c.d~e}", "a-b_c.d~e"},
		"UrlEncode of unsafe text":          {"{UrlEncode:ä %}", "%C3%A4%20%25"},
		"HtmlEncode":                        {"{HtmlEncode:&lt;&amp;&gt;}", "&lt;&amp;&gt;"},
		"functions in functions":            {"{ToLower:{UrlDecode:{QUERY_STRING}}}", "q=a"},
		"functions in any case":             {"{tolower:X}", "x"},
		"a map":                             {"{Hosts:MAIL}", "front"},
		"a map that regards case":           {"[{Exact:MAIL}]", "[]"},
		"a map's default":                   {"{Hosts:other}", "none"},
		"a map in a function":               {"{ToLower:{Loud:x}}", "shout"},
		"a function as key":                 {"{Exact:{ToLower:MAIL}}", "front"},
		"a closing brace alone":             {"a}b", "a}b"},
	}
	maps := `<rewriteMaps><rewriteMap name="Hosts" defaultValue="none"><add key="mail" value="front"/></rewriteMap>
		<rewriteMap name="Exact" ignoreCase="false"><add key="mail" value="front"/></rewriteMap>
		<rewriteMap name="Loud"><add key="x" value="SHOUT"/></rewriteMap></rewriteMaps>`
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := rewrite.NewSite(rewrite.Options{Variables: map[string]string{"SERVER_SOFTWARE": "Microsoft-IIS/10.0"}},
				siteLevel(t, "<rewrite>"+maps+"<rules>"+tell(".*", tc.text)+"</rules></rewrite>"))
			got := evaluate(t, s, request)
			if got.Reason != tc.want || len(got.Uncertain) > 0 {
				t.Errorf("%q %v, want %q", got.Reason, got.Uncertain, tc.want)
			}
		})
	}
}

func TestSettingServerVariables(t *testing.T) {
	set := func(name, value, replace string) string {
		return rule(`<serverVariables><set name="` + name + `" value="` + value + `" replace="` + replace + `"/></serverVariables>`)
	}
	then := `<rule name="b"><match url=".*"/><conditions><add input="{HTTP_X_FROM}" pattern="^set$"/></conditions>` + abort + `</rule>`
	cases := map[string]struct {
		level, allowed, rules string
		want                  string
		wantSet               []rewrite.Variable
	}{
		"an allowed variable":     {"rules", "HTTP_X_FROM", set("HTTP_X_FROM", "set", "true") + then, `Aborted by rule "b"`, []rewrite.Variable{{Name: "HTTP_X_FROM", Value: "set"}}},
		"permission ignores case": {"rules", "http_x_from", set("Http_X_From", "set", "true") + then, `Aborted by rule "b"`, []rewrite.Variable{{Name: "HTTP_X_FROM", Value: "set"}}},
		"one that is not allowed": {"rules", "HTTP_X_OTHER", set("HTTP_X_FROM", "set", "true") + then,
			`Error 500.50 by rule "a": server variable "HTTP_X_FROM" is not in allowedServerVariables`, nil},
		"global rules need no permission": {"globalRules", "HTTP_X_OTHER", set("HTTP_X_FROM", "set", "true") + then, `Aborted by rule "b"`, []rewrite.Variable{{Name: "HTTP_X_FROM", Value: "set"}}},
		"one that is there stays":         {"globalRules", "x", set("HTTP_HOST", "set", "false"), passed, nil},
		"one that is not there is set":    {"globalRules", "x", set("HTTP_X_FROM", "set", "false") + then, `Aborted by rule "b"`, []rewrite.Variable{{Name: "HTTP_X_FROM", Value: "set"}}},
		"a value of variables":            {"globalRules", "x", set("ORIGINAL", "http://{HTTP_HOST}{REQUEST_URI}", "true"), passed, []rewrite.Variable{{Name: "ORIGINAL", Value: "http://mail.example.com/x"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := rewrite.NewSite(rewrite.Options{}, serverLevel(t, `<rewrite><allowedServerVariables><add name="`+tc.allowed+`"/></allowedServerVariables><`+tc.level+`>`+tc.rules+`</`+tc.level+`></rewrite>`))
			got := evaluate(t, s, get("/x"))
			if summary(got) != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
			if diff := cmp.Diff(tc.wantSet, got.ServerVariables); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// files is a file system of one file and one folder.
type files struct{}

func (files) PhysicalPath(path string) string { return `C:\www` + strings.ReplaceAll(path, "/", `\`) }
func (files) IsFile(path string) bool         { return path == `C:\www\x.css` }
func (files) IsDirectory(path string) bool    { return path == `C:\www\img` }

func TestFileConditions(t *testing.T) {
	front := `<conditions><add input="{REQUEST_FILENAME}" matchType="isFile" negate="true"/><add matchType="IsDirectory" negate="true"/></conditions><action type="Rewrite" url="index.php"/>`
	cases := map[string]struct {
		options      rewrite.Options
		rules        string
		target, want string
	}{
		"a file is served":                      {rewrite.Options{Files: files{}}, rule(front), "/x.css", passed},
		"a folder is served":                    {rewrite.Options{Files: files{}}, rule(front), "/img", passed},
		"the physical path as text":             {rewrite.Options{Files: files{}}, tell(".*", "{REQUEST_FILENAME}"), "/a/b", `Responded 404.0 by rule "a"`},
		"the physical path in a pattern":        {rewrite.Options{Files: files{}}, when("{REQUEST_FILENAME}", `^C:\\www\\a\\b$`), "/a/b", abortedByA},
		"the rest goes to the front controller": {rewrite.Options{Files: files{}}, rule(front), "/blog/1", `Rewritten to /index.php by rule "a"`},
		"without files it is uncertain":         {rewrite.Options{}, rule(front), "/blog/1", `Rewritten to /index.php by rule "a" (uncertain: FileExistence, DirectoryExistence)`},
		"uncertain only where it matters": {rewrite.Options{}, rule(`<conditions><add matchType="IsFile"/></conditions>`) +
			`<rule name="b"><match url=".*"/>` + abort + `</rule>`, "/", `Aborted by rule "b"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := rewrite.NewSite(tc.options, siteLevel(t, "<rules>"+tc.rules+"</rules>"))
			if got := summary(evaluate(t, s, get(tc.target))); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

// Each open point that comes up and changes the result is named; where it does not change it,
// the result is certain.
func TestOpenPoints(t *testing.T) {
	negated := `<conditions><add input="{URL}" pattern="^/(.)"/><add input="{HTTP_HOST}" pattern="nobody" negate="true"/></conditions>`
	headers := http.Header{"X-A": {"1", "2"}, "X-B": {"1"}, "X_B": {"2"}, "Cookie": {"a=1", "b=2"}}
	cases := map[string]struct {
		rules       string
		request     rewrite.Request
		want        string
		wantVerdict rewrite.Verdict
	}{
		"an encoded path in an undecoded variable": {when("{REQUEST_URI}", "powershell"), get("/%50owershell"), abortedByA + unsureAbout + "RequestURIEncoding)", rewrite.Unknown},
		"{REQUEST_URI} after a rewrite": {`<rule name="r"><match url="^a$"/><action type="Rewrite" url="b"/></rule>` + when("{REQUEST_URI}", "^/b"), get("/a"),
			abortedByA + unsureAbout + "RequestURIAfterRewrite)", rewrite.Unknown},
		"a plus sign that may be a blank":        {when("{UrlDecode:{QUERY_STRING}}", `a\+b`), get("/?q=a+b"), passed + unsureAbout + "PlusInURLDecode)", rewrite.Unknown},
		"double encoding may make it fail":       {when("{UrlDecode:{REQUEST_URI}}", "powershell"), get("/?powershell%2541"), abortedByA + unsureAbout + "DoubleDecoding)", rewrite.Unknown},
		"a query that is not UTF-8 when decoded": {when("{UrlDecode:{QUERY_STRING}}", "ÿ"), get("/?%ff"), abortedByA + unsureAbout + "DecodedNotUTF8)", rewrite.Unknown},
		"a blank after the colon":                {when("{UrlDecode: {REQUEST_URI}}", "powershell"), get("/powershell"), abortedByA + unsureAbout + "BlankAfterColon)", rewrite.Unknown},
		"what UrlEncode keeps": {rule(`<action type="Redirect" url="/?{UrlEncode:{URL}}"/>`), get("/a/b"),
			`Redirected 301 to http://mail.example.com/?%2Fa%2Fb by rule "a" (uncertain: URLEncodeSet)`, rewrite.Blocked},
		"captures after a negated condition": {rule(negated + `<action type="Redirect" url="/{C:1}"/>`), get("/xyz"),
			`Redirected 301 to http://mail.example.com/x by rule "a" (uncertain: NegatedConditionCaptures)`, rewrite.Blocked},
		"a negated match has no captures": {`<rule name="a"><match url="^x" negate="true"/><action type="Redirect" url="/[{R:0}]"/></rule>`, get("/abc"),
			`Redirected 301 to http://mail.example.com/[] by rule "a" (uncertain: NegatedMatchCaptures)`, rewrite.Blocked},
		"a group that does not exist": {`<rule name="a"><match url="^(.)"/><conditions><add input="{R:2}" pattern="^$"/></conditions>` + abort + `</rule>`, get("/abc"),
			abortedByA + unsureAbout + "ReferenceOutOfRange)", rewrite.Unknown},
		"captures of MatchAny": {rule(`<conditions logicalGrouping="MatchAny" trackAllCaptures="true"><add input="{URL}" pattern="(a)"/><add input="{URL}" pattern="(b)"/></conditions><action type="Redirect" url="/{C:1}{C:2}"/>`), get("/ab"),
			`Redirected 301 to http://mail.example.com/a by rule "a" (uncertain: ReferenceOutOfRange, MatchAnyCaptures)`, rewrite.Unknown},
		"a rule without url": {`<rule name="a"><match/>` + abort + `</rule>`, get("/x"), abortedByA + unsureAbout + "MissingMatch)", rewrite.Unknown},
		"two headers of one name": {when("{HTTP_X_A}", "2"), rewrite.Request{Path: "/", Headers: headers},
			abortedByA + unsureAbout + "RepeatedHeader)", rewrite.Unknown},
		"headers of one name with dash and underscore": {when("{HTTP_X_B}", "^1, 2$"), rewrite.Request{Path: "/", Headers: headers},
			abortedByA + unsureAbout + "RepeatedHeader)", rewrite.Unknown},
		"cookies are joined otherwise": {when("{HTTP_COOKIE}", "^a=1; b=2$"), rewrite.Request{Path: "/", Headers: headers},
			abortedByA + unsureAbout + "RepeatedHeader)", rewrite.Unknown},
		"two headers where the first decides": {when("{HTTP_X_A}", "^1"), rewrite.Request{Path: "/", Headers: headers}, abortedByA, rewrite.Blocked},
		"rules after a rewrite to another server": {`<rule name="r"><match url="^a$"/><action type="Rewrite" url="http://b/a"/></rule>` + when("{URL}", "a"), get("/a"),
			abortedByA + unsureAbout + "AbsoluteRewrite)", rewrite.Unknown},
		"an encoded rewrite": {`<rule name="r"><match url="^a$"/><action type="Rewrite" url="%62"/></rule>` + when("{URL}", "^/b$"), get("/a"),
			`Rewritten to /%62 by rule "r" (uncertain: EncodedRewrite)`, rewrite.Unknown},
		"a pattern that is not known here":                    {when("{URL}", "[[=a=]]"), get("/a"), passed + unsureAbout + "UnknownPattern)", rewrite.Unknown},
		"a pattern that would take long to compile":           {when("{URL}", strings.Repeat(`[\D]`, 9)), get("/a"), passed + unsureAbout + "UnknownPattern)", rewrite.Unknown},
		"an empty class":                                      {when("{URL}", "[]a]"), get("/a"), passed + unsureAbout + "UnknownPattern)", rewrite.Unknown},
		"an anchor in a text of two lines":                    {when("{UrlDecode:{QUERY_STRING}}", "^evil$"), get("/?a%0aevil"), passed + unsureAbout + "LineAnchors)", rewrite.Unknown},
		"an anchor in a text of two lines that do not matter": {when("{UrlDecode:{QUERY_STRING}}", "^evil$"), get("/?a%0a-evil"), passed, rewrite.Allowed},
		"captures at the end of a line": {rule(`<conditions><add input="{UrlDecode:{QUERY_STRING}}" pattern="^(.*)$"/></conditions><action type="Redirect" url="/{C:1}" appendQueryString="false"/>`), get("/?a%0ab"),
			passed + unsureAbout + "LineAnchors)", rewrite.Unknown},
		"a client that is not known":        {when("{REMOTE_ADDR}", `^192\.`), get("/"), passed + unsureAbout + "UnknownVariable)", rewrite.Unknown},
		"a client that does not matter":     {when("{REMOTE_ADDR}", `^192\.`) + `<rule name="b"><match url=".*"/>` + abort + `</rule>`, get("/"), `Aborted by rule "b"` + unsureAbout + "UnknownVariable)", rewrite.Blocked},
		"an unknown variable in a redirect": {rule(`<action type="Redirect" url="/{INSTANCE_NAME}"/>`), get("/"), `Redirected 301 to http://mail.example.com/ by rule "a"` + unsureAbout + "UnknownVariable)", rewrite.Blocked},
		"answers that block only together": {rule(`<conditions><add input="{REMOTE_ADDR}" pattern="z"/></conditions><action type="Rewrite" url="/moved"/>`) +
			`<rule name="b"><match url="^moved$"/><conditions><add matchType="IsFile"/></conditions>` + abort + `</rule>`, get("/x"),
			passed + unsureAbout + "UnknownVariable, FileExistence)", rewrite.Unknown},
		"more points than are tried": {rule(`<conditions logicalGrouping="MatchAny"><add input="{UrlDecode: {UrlDecode:{REQUEST_URI}}}" pattern="zzz"/><add input="{REMOTE_ADDR}" pattern="z"/>
			<add input="{URL}" pattern="[]a]"/><add matchType="IsFile"/><add matchType="IsDirectory"/></conditions>` + abort), get("/%61?a+b%2541"),
			passed + unsureAbout + "RequestURIEncoding, PlusInURLDecode, DoubleDecoding, BlankAfterColon, UnknownPattern, UnknownVariable, FileExistence, DirectoryExistence)", rewrite.Unknown},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := evaluate(t, site(t, tc.rules), tc.request)
			if summary(got) != tc.want || got.Verdict() != tc.wantVerdict {
				t.Errorf("%s is %s\nwant %s is %s", got, got.Verdict(), tc.want, tc.wantVerdict)
			}
		})
	}
}

func TestRequestsThatCannotBeEvaluated(t *testing.T) {
	cases := map[string]struct {
		rules    string
		request  rewrite.Request
		wantKind error
		wantText string
	}{
		"a path that is not UTF-8 when decoded": {when("{URL}", "x"), get("/%ff"), rewrite.ErrUnsupported, "not UTF-8"},
		"a path that leaves the root":           {when("{URL}", "x"), get("/a/../../b"), rewrite.ErrUnsupported, "leaves the root"},
		"a broken escape in the path":           {when("{URL}", "x"), get("/%zz"), rewrite.ErrInvalidRequest, "percent encoding"},
		"a control character in the path":       {when("{URL}", "x"), get("/%0d%0a"), rewrite.ErrInvalidRequest, "control character"},
		"a path without slash":                  {when("{URL}", "x"), get("owa"), rewrite.ErrInvalidRequest, "slash"},
		"a pattern that explodes":               {when("{QUERY_STRING}", `^(a+)+$`), get("/?" + strings.Repeat("a", 5000) + "!"), rewrite.ErrTooExpensive, "too expensive"},
		"a pattern with captures that explodes": {rule(`<conditions><add input="{QUERY_STRING}" pattern="^((a+)+)$"/></conditions><action type="Redirect" url="{C:1}"/>`), get("/?" + strings.Repeat("a", 5000) + "!"), rewrite.ErrTooExpensive, `rule "a"`},
		"text without end":                      {strings.Repeat(`<rule name="`+"x"+`"><match url="(.*)"/><action type="Rewrite" url="{R:1}{R:1}{R:1}{R:1}{R:1}{R:1}{R:1}{R:1}"/></rule>`, 1), get("/" + strings.Repeat("a", 10000)), rewrite.ErrUnsupported, "more than 65536 bytes"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := site(t, tc.rules).Evaluate(tc.request)
			if !errors.Is(err, tc.wantKind) || !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("%s, error %v; want an error that wraps %q and says %q", got, err, tc.wantKind, tc.wantText)
			}
		})
	}
}

// Results of different goroutines do not mix, although evaluations share memory.
func TestConcurrentUse(t *testing.T) {
	s := site(t, `<rule name="a"><match url="^(\w+)/(\w+)$"/><conditions><add input="{UrlDecode:{QUERY_STRING}}" pattern="^(\w+)$"/></conditions><action type="Redirect" url="/{R:2}/{R:1}/{C:1}" appendQueryString="false"/></rule>`)
	done := make(chan string)
	for worker := range 4 {
		letter := string(rune('a' + worker))
		go func() {
			problem := ""
			for range 500 {
				got, err := s.Evaluate(get("/" + letter + "/x" + letter + "?q" + letter))
				if want := "http://mail.example.com/x" + letter + "/" + letter + "/q" + letter; err != nil || got.URL != want {
					problem = got.String() + ", want " + want
				}
			}
			done <- problem
		}()
	}
	for range 4 {
		if problem := <-done; problem != "" {
			t.Error(problem)
		}
	}
}
