package rewrite_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/rewrite"
)

// proxyNotShell is the rule against CVE-2022-41040 with an input and a pattern of our
// choice: the rule was published in several forms.
func proxyNotShell(input, pattern string) string {
	return fmt.Sprintf(`<rules>
  <rule name="EEMS M1.1 PowerShell - inbound" stopProcessing="true">
    <match url=".*" />
    <conditions>
      <add input="%s" pattern="%s" />
    </conditions>
    <action type="AbortRequest" />
  </rule>
</rules>`, input, pattern)
}

// The table of published forms of the rule and what each of them catches.
func TestFormsOfTheProxyNotShellRule(t *testing.T) {
	forms := []struct{ date, input, pattern string }{
		{"2022-09-30", "{REQUEST_URI}", `.*autodiscover\.json.*\@.*Powershell.*`},
		{"2022-10-03", "{REQUEST_URI}", `.*autodiscover\.json.*Powershell.*`},
		{"2022-10-06", "{UrlDecode:{REQUEST_URI}}", `.*autodiscover\.json.*Powershell.*`},
		{"2022-10-07", "{UrlDecode:{REQUEST_URI}}", `(?=.*autodiscover)(?=.*powershell)`},
	}
	cases := map[string]struct {
		target      string
		wantBlocked [4]bool
	}{
		"the first exploit": {
			"/autodiscover/autodiscover.json?@example.com/PowerShell/", [4]bool{true, true, true, true}},
		"an encoded at sign evades the first form": {
			"/autodiscover/autodiscover.json?%40example.com/PowerShell", [4]bool{false, true, true, true}},
		"an encoded letter evades the second form": {
			"/autodiscover/autodiscover.json?@example.com/%50owerShell/", [4]bool{false, false, true, true}},
		"the reversed order evades the third form": {
			"/powershell?x=autodiscover", [4]bool{false, false, false, true}},
		"a harmless search is blocked by the last form": {
			"/owa/?q=autodiscover+powershell", [4]bool{false, false, false, true}},
		"PowerShell alone passes":   {"/powershell?serializationLevel=Full", [4]bool{}},
		"autodiscover alone passes": {"/autodiscover/autodiscover.xml", [4]bool{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for i, form := range forms {
				set := mustParse(t, proxyNotShell(form.input, form.pattern))
				got := mustEvaluate(t, set, rewrite.SplitTarget("GET", "mail.example.com", tc.target, nil))
				if got.Blocked() != tc.wantBlocked[i] {
					t.Errorf("form of %s: %+v, want blocked %t", form.date, got, tc.wantBlocked[i])
				}
				if got.Blocked() && (got.Kind != rewrite.Aborted || got.Rule != "EEMS M1.1 PowerShell - inbound") {
					t.Errorf("form of %s: %+v, want Aborted by the rule", form.date, got)
				}
			}
		})
	}
}

func TestEvaluate(t *testing.T) {
	abort := `<action type="AbortRequest"/>`
	headers := http.Header{"Cookie": {"X-BEResource=localhost/owa/auth/logon.aspx?~1942062522"}, "User-Agent": {"Scanner/1.0"}}
	cases := map[string]struct {
		rules   string
		request rewrite.Request
		want    rewrite.Outcome
	}{
		"no rules let everything pass": {
			rules: "", want: rewrite.Outcome{Kind: rewrite.Passed}},
		"match sees the path without slash and query": {
			rules:   `<rule name="a"><match url="^owa/$"/>` + abort + `</rule>`,
			request: target("/owa/?x=1"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"match never sees a leading slash": {
			rules:   `<rule name="a"><match url="^/"/>` + abort + `</rule>`,
			request: target("/owa/"), want: rewrite.Outcome{Kind: rewrite.Passed}},
		"match sees the decoded path with dots resolved": {
			rules:   `<rule name="a"><match url="^ecp/x y$"/>` + abort + `</rule>`,
			request: target("/owa//%2e%2e/e%63p/./x%20y"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"case matters when it is told to": {
			rules:   `<rule name="a"><match url="OWA" ignoreCase="false"/>` + abort + `</rule>`,
			request: target("/owa/"), want: rewrite.Outcome{Kind: rewrite.Passed}},
		"a negated match": {
			rules:   `<rule name="a"><match url="^owa" negate="True"/>` + abort + `</rule>`,
			request: target("/ecp/"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"a wildcard covers the whole path": {
			rules:   `<rule name="a" patternSyntax="Wildcard"><match url="*.asp?"/>` + abort + `</rule>`,
			request: target("/OWA/default.aspx"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"a wildcard does not search": {
			rules:   `<rule name="a" patternSyntax="Wildcard"><match url="default"/>` + abort + `</rule>`,
			request: target("/owa/default"), want: rewrite.Outcome{Kind: rewrite.Passed}},
		"an exact match applies to conditions too": {
			rules: `<rule name="a" patternSyntax="ExactMatch"><match url="owa/"/><conditions>
				<add input="{QUERY_STRING}" pattern="A=.*"/></conditions>` + abort + `</rule>`,
			request: target("/OWA/?a=.*"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"all conditions have to hold": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="{REQUEST_METHOD}" pattern="^POST$"/><add input="{HTTP_HOST}" pattern="^mail\."/></conditions>` + abort + `</rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Passed}},
		"one condition is enough with MatchAny": {
			rules: `<rule name="a"><match url=".*"/><conditions logicalGrouping="MatchAny">
				<add input="{REQUEST_METHOD}" pattern="^POST$"/><add input="{HTTP_HOST}" pattern="^mail\."/></conditions>` + abort + `</rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"no condition of MatchAny holds": {
			rules: `<rule name="a"><match url=".*"/><conditions logicalGrouping="MatchAny">
				<add input="{REQUEST_METHOD}" pattern="^POST$"/><add input="{HTTP_HOST}" pattern="^www\."/></conditions>` + abort + `</rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Passed}},
		"a negated condition": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="{HTTP_HOST}" pattern="^www\." negate="true"/></conditions>` + abort + `</rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"a request header": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="{HTTP_COOKIE}" pattern="(.*)X-BEResource=(.+)/(.+)~(.+)"/></conditions>` + abort + `</rule>`,
			request: rewrite.Request{Path: "/ecp/x.js", Headers: headers}, want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"a header with dashes beside other text": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="[{ToLower:{HTTP_USER_AGENT}}]" pattern="^\[scanner/1\.0\]$" ignoreCase="false"/></conditions>` + abort + `</rule>`,
			request: rewrite.Request{Path: "/", Headers: headers}, want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"an absent header is empty": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="{HTTP_REFERER}" pattern="^$"/></conditions>` + abort + `</rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"a response with a status": {
			rules:   `<rule name="a"><match url=".*"/><action type="CustomResponse" statusCode="403" subStatusCode="900"/></rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Responded, Rule: "a", Status: 403}},
		"a redirect is permanent by default": {
			rules:   `<rule name="a"><match url=".*"/><action type="Redirect" url="https://{HTTP_HOST}/"/></rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Redirected, Rule: "a", Status: 301}},
		"a temporary redirect": {
			rules:   `<rule name="a"><match url=".*"/><action type="Redirect" url="/sorry" redirectType="Temporary"/></rule>`,
			request: target("/"), want: rewrite.Outcome{Kind: rewrite.Redirected, Rule: "a", Status: 307}},
		"the first ending rule wins": {
			rules:   `<rule name="a"><match url="x"/>` + abort + `</rule><rule name="b"><match url=".*"/>` + abort + `</rule>`,
			request: target("/owa"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "b"}},
		"an allowing rule hides later ones": {
			rules:   `<rule name="a" stopProcessing="true"><match url=".*"/><action type="None"/></rule><rule name="b"><match url=".*"/>` + abort + `</rule>`,
			request: target("/owa"), want: rewrite.Outcome{Kind: rewrite.Passed, Rule: "a"}},
		"stopProcessing of a rule that does not match has no effect": {
			rules:   `<rule name="a" stopProcessing="true"><match url="x"/></rule><rule name="b"><match url=".*"/>` + abort + `</rule>`,
			request: target("/owa"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "b"}},
		"a rule that does nothing and does not stop": {
			rules:   `<rule name="a"><match url=".*"/></rule><rule name="b"><match url=".*"/>` + abort + `</rule>`,
			request: target("/owa"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "b"}},
		"a disabled rule is not read": {
			rules:   `<rule name="a" enabled="false"><match url="*"/><action type="Rewrite" url="x"/></rule>`,
			request: target("/owa"), want: rewrite.Outcome{Kind: rewrite.Passed}},
		"an encoded path that reads alike either way": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="{UrlDecode:{REQUEST_URI}}" pattern="powershell"/></conditions>` + abort + `</rule>`,
			request: target("/%50owershell"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
		"double encoding that stays unmatched either way": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="{UrlDecode:{REQUEST_URI}}" pattern="powershell"/></conditions>` + abort + `</rule>`,
			request: target("/?%2550owershell"), want: rewrite.Outcome{Kind: rewrite.Passed}},
		"{URL} has the leading slash and no query": {
			rules: `<rule name="a"><match url=".*"/><conditions>
				<add input="{URL}" pattern="^/owa/$"/></conditions>` + abort + `</rule>`,
			request: target("/owa/?x"), want: rewrite.Outcome{Kind: rewrite.Aborted, Rule: "a"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.request.Path == "" {
				tc.request = target("/")
			}
			got := mustEvaluate(t, mustParse(t, "<rules>"+tc.rules+"</rules>"), tc.request)
			if got != tc.want {
				t.Errorf("outcome %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestEvaluateDoesNotGuess(t *testing.T) {
	condition := func(input, pattern string) string {
		return `<rules><rule name="a"><match url=".*"/><conditions><add input="` + input + `" pattern="` + pattern + `"/></conditions><action type="AbortRequest"/></rule></rules>`
	}
	cases := map[string]struct {
		rules    string
		request  rewrite.Request
		wantKind error
		wantText string
	}{
		"an encoded path in an undecoded variable": {
			condition("{REQUEST_URI}", "powershell"), target("/%50owershell"), rewrite.ErrUnsupported, "{REQUEST_URI} of an encoded path"},
		"a plus sign that may be a blank": {
			condition("{UrlDecode:{QUERY_STRING}}", `a\+b`), target("/?q=a+b"), rewrite.ErrUnsupported, `"+"`},
		"double encoding that may make the function fail": {
			condition("{UrlDecode:{REQUEST_URI}}", "powershell"), target("/?powershell%2541"), rewrite.ErrUnsupported, "double or broken encoding"},
		"a query that is not UTF-8 when decoded": {
			condition("{UrlDecode:{QUERY_STRING}}", "x"), target("/?%ff"), rewrite.ErrUnsupported, "not UTF-8"},
		"a path that is not UTF-8 when decoded": {
			condition("{URL}", "x"), target("/%ff"), rewrite.ErrUnsupported, "not UTF-8"},
		"a path that leaves the root": {
			condition("{URL}", "x"), target("/a/../../b"), rewrite.ErrUnsupported, "leaves the root"},
		"two headers of one name": {
			condition("{HTTP_X_A}", "x"), rewrite.Request{Path: "/", Headers: http.Header{"X-A": {"1", "2"}}}, rewrite.ErrUnsupported, "several headers"},
		"a broken escape in the path": {
			condition("{URL}", "x"), target("/%zz"), rewrite.ErrInvalidRequest, "percent encoding"},
		"a control character in the path": {
			condition("{URL}", "x"), target("/%0d%0a"), rewrite.ErrInvalidRequest, "control character"},
		"a path without slash": {
			condition("{URL}", "x"), target("owa"), rewrite.ErrInvalidRequest, "slash"},
		"a pattern that explodes": {
			condition("{QUERY_STRING}", `^(a+)+$`), target("/?" + strings.Repeat("a", 5000) + "!"), rewrite.ErrTooExpensive, "too expensive"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := mustParse(t, tc.rules).Evaluate(tc.request)
			if !errors.Is(err, tc.wantKind) || !strings.Contains(err.Error(), tc.wantText) {
				t.Errorf("outcome %+v, error %v; want an error that wraps %q and says %q", got, err, tc.wantKind, tc.wantText)
			}
		})
	}
}

// historyFile is the part of rewrite/exchange-mitigation-history.json that is used.
type historyFile struct {
	Versions []struct {
		Version int
		Input   string
	}
	Cases []struct {
		ID             string
		Version        *int
		RequestURI     string `json:"request_uri"`
		ConditionInput string `json:"condition_input"`
		Pattern        string
		Expected       struct {
			ConditionMatch bool `json:"condition_match"`
		}
	}
}

func TestPublishedHistory(t *testing.T) {
	history := readCorpus[historyFile](t, "exchange-mitigation-history.json")
	inputs := map[int]string{}
	for _, v := range history.Versions {
		inputs[v.Version] = v.Input
	}
	if len(history.Cases) == 0 {
		t.Fatal("no cases in the file")
	}
	for _, tc := range history.Cases {
		t.Run(tc.ID, func(t *testing.T) {
			// The cookie rules of 2021 state the value of a header in place of a request.
			input, request := "{HTTP_COOKIE}", rewrite.Request{Path: "/", Headers: http.Header{"Cookie": {tc.ConditionInput}}}
			if tc.Version != nil {
				input, request = inputs[*tc.Version], rewrite.SplitTarget("GET", "mail.example.com", tc.RequestURI, nil)
			}
			got := mustEvaluate(t, mustParse(t, proxyNotShell(input, tc.Pattern)), request)
			if got.Blocked() != tc.Expected.ConditionMatch {
				t.Errorf("outcome %+v, want blocked %t", got, tc.Expected.ConditionMatch)
			}
		})
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add(proxyNotShell("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"), "/autodiscover/?powershell", "mail.example.com")
	f.Add(`<rules><rule name="a" patternSyntax="Wildcard"><match url="*a?b*"/><action type="CustomResponse" statusCode="403"/></rule></rules>`, "/%41+b/../c?d%2541", "h")
	f.Add(`<rules><rule name="a"><match url="^(x|y)+$"/><conditions logicalGrouping="MatchAny"><add input="{ToLower:{HTTP_HOST}}" pattern="[a-z]" negate="true"/></conditions></rule></rules>`, "/x", "H")
	f.Fuzz(func(t *testing.T, rules, target, host string) {
		set, err := rewrite.ParseRules([]byte(rules))
		if err != nil {
			return
		}
		outcome, err := set.Evaluate(rewrite.SplitTarget("GET", host, target, nil))
		if err != nil {
			for _, kind := range []error{rewrite.ErrUnsupported, rewrite.ErrInvalidRequest, rewrite.ErrTooExpensive} {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Fatalf("untyped error %v", err)
		}
		if outcome.Blocked() && outcome.Rule == "" {
			t.Fatalf("outcome %+v without a rule", outcome)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	set := mustParse(b, proxyNotShell("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"))
	for name, target := range map[string]string{
		"blocked": "/autodiscover/autodiscover.json?@example.com/%50owerShell/",
		"passed":  "/owa/auth/logon.aspx?url=https%3a%2f%2fmail.example.com%2fowa%2f&reason=0",
	} {
		b.Run(name, func(b *testing.B) {
			request := rewrite.SplitTarget("GET", "mail.example.com", target, nil)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.Evaluate(request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func target(uri string) rewrite.Request {
	return rewrite.SplitTarget("GET", "mail.example.com", uri, nil)
}

func mustParse(tb testing.TB, fragment string) *rewrite.RuleSet {
	tb.Helper()
	set, err := rewrite.ParseRules([]byte(fragment))
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func mustEvaluate(tb testing.TB, set *rewrite.RuleSet, request rewrite.Request) rewrite.Outcome {
	tb.Helper()
	outcome, err := set.Evaluate(request)
	if err != nil {
		tb.Fatal(err)
	}
	return outcome
}

func readCorpus[T any](t *testing.T, name string) T {
	t.Helper()
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		t.Skip("EMS_TESTDATA is not set: the published cases are not available")
	}
	data, err := os.ReadFile(filepath.Join(folder, "rewrite", name))
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
