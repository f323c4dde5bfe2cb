package simulate

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
)

func rule(name, url, action string) string {
	return `<rule name="` + name + `"><match url="` + url + `"/>` + action + `</rule>`
}

const (
	abort  = `<action type="AbortRequest"/>`
	forbid = `<action type="CustomResponse" statusCode="403"/>`
)

func inRules(rules string) string { return "<rewrite><rules>" + rules + "</rules></rewrite>" }

func web(rules string) string {
	return "<configuration><system.webServer>" + inRules(rules) + "</system.webServer></configuration>"
}

// server is an applicationHost.config with the sites A and B.
func server(inServer, inA string) string {
	return `<?xml version="1.0"?><configuration><system.applicationHost><sites><site name="A" id="1"/><site name="B" id="2"/></sites></system.applicationHost>` +
		"<system.webServer>" + inServer + `</system.webServer><location path="A"><system.webServer>` + inA + `</system.webServer></location></configuration>`
}

func file(content string) *File { return &File{Name: "f", Content: []byte(content)} }

func mitigation(target, rules string) *ocs.Config {
	return &ocs.Config{ID: "M1", Actions: []ocs.Action{{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: target, Rewrite: []byte(inRules(rules))}}}
}

func TestRulesComeFromEverywhere(t *testing.T) {
	for name, tc := range map[string]struct {
		rules Rules
		path  string
		want  rewrite.Result
	}{
		"a fragment":          {Rules{Fragment: file(inRules(rule("r", "^x", abort)))}, "/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "f"}},
		"a section of it":     {Rules{Fragment: file("<rules>" + rule("r", "^x", abort) + "</rules>")}, "/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "f"}},
		"a byte order mark":   {Rules{Fragment: file("\uFEFF" + inRules(rule("r", "^x", abort)))}, "/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "f"}},
		"a server, its site":  {Rules{ApplicationHost: file(server("", inRules(rule("r", "^x", abort)))), Site: "a"}, "/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "f, location A"}},
		"a server, other one": {Rules{ApplicationHost: file(server("", inRules(rule("r", "^x", abort)))), Site: "B"}, "/x", rewrite.Result{Outcome: rewrite.Passed, URL: "/x"}},
		"a folder of it": {
			Rules{ApplicationHost: file(server("", "")), Site: "A", WebConfigs: []WebConfig{{"/owa", File{"w", []byte(web(rule("r", "^x", abort)))}}}},
			"/owa/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "w"},
		},
		"a mitigation stands before the site's rules": {
			Rules{ApplicationHost: file(server("", inRules(rule("own", "^x", forbid)))), Site: "A", Mitigation: mitigation("A", rule("r", "^x", abort))},
			"/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "M1.1"},
		},
		"and behind those of the server": {
			Rules{ApplicationHost: file(server(inRules(rule("own", "^x", abort)), "")), Site: "A", Mitigation: mitigation("A", rule("r", "^x", forbid))},
			"/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "own", Level: "f"},
		},
		"a mitigation may have the name of another rule": {
			Rules{ApplicationHost: file(server("", inRules(rule("r", "^y", forbid)))), Site: "A", Mitigation: mitigation("A/", rule("r", "^x", abort))},
			"/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "M1.1"},
		},
		"a fragment may not": {
			Rules{ApplicationHost: file(server("", inRules(rule("r", "^y", forbid)))), Site: "A", Fragment: file(inRules(rule("r", "^x", abort)))},
			"/x", rewrite.Result{Outcome: rewrite.Error, Status: 500, SubStatus: 19},
		},
		"a site that clears what it inherits": {
			Rules{WebConfigs: []WebConfig{{"/", File{"w", []byte(web("<clear/>"))}}}, Mitigation: mitigation("", rule("r", "^x", abort))},
			"/x", rewrite.Result{Outcome: rewrite.Passed, URL: "/x"},
		},
		"a fragment that is broken":         {Rules{Fragment: file(inRules(`<rule nome="r"/>`))}, "/x", rewrite.Result{Outcome: rewrite.Error, Status: 500, SubStatus: 19}},
		"a fragment that is no XML":         {Rules{Fragment: file("<rewrite>")}, "/x", rewrite.Result{Outcome: rewrite.Error, Status: 500, SubStatus: 19}},
		"a server that is no XML":           {Rules{ApplicationHost: file("<configuration>"), Site: "A"}, "/x", rewrite.Result{Outcome: rewrite.Error, Status: 500, SubStatus: 19}},
		"a folder whose file is no XML":     {Rules{WebConfigs: []WebConfig{{"/owa", File{"w", []byte("<")}}}}, "/owa/", rewrite.Result{Outcome: rewrite.Error, Status: 500, SubStatus: 19}},
		"which hurts only in that folder":   {Rules{WebConfigs: []WebConfig{{"/owa", File{"w", []byte("<")}}}}, "/x", rewrite.Result{Outcome: rewrite.Passed, URL: "/x"}},
		"folders are ordered by depth":      {Rules{WebConfigs: []WebConfig{{"/a/b", File{"w", []byte(web("<clear/>"))}}, {"/", File{"v", []byte(web(rule("r", "x$", abort)))}}}}, "/a/b/x", rewrite.Result{Outcome: rewrite.Passed, URL: "/a/b/x"}},
		"rules for the server of a feed":    {Rules{Mitigation: &ocs.Config{Actions: []ocs.Action{{Type: ocs.URLRewrite, Scope: ocs.ScopeServer, Rewrite: []byte(inRules(rule("r", "^x", abort)))}}}}, "/x", rewrite.Result{Outcome: rewrite.Aborted, Rule: "r", Level: "1"}},
		"an application pool blocks nobody": {Rules{Fragment: file(inRules("")), Mitigation: &ocs.Config{Actions: append(mitigation("", rule("r", "^x", abort)).Actions, ocs.Action{Type: ocs.AppPool})}}, "/y", rewrite.Result{Outcome: rewrite.Passed, URL: "/y"}},
	} {
		t.Run(name, func(t *testing.T) {
			site, err := tc.rules.Compose(rewrite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Ask(site, "q", rewrite.SplitTarget(http.MethodGet, "h", tc.path, nil), false)
			if err != nil {
				t.Fatal(err)
			}
			r := got.Result
			if r.Outcome != tc.want.Outcome || r.Rule != tc.want.Rule || r.Status != tc.want.Status || r.SubStatus != tc.want.SubStatus || r.URL != tc.want.URL || r.Outcome != rewrite.Error && r.Level != tc.want.Level {
				t.Errorf("%+v, want %+v", r, tc.want)
			}
		})
	}
}

func TestQuestionsThatCannotBeAnswered(t *testing.T) {
	for name, tc := range map[string]struct {
		rules Rules
		want  string
	}{
		"nothing":                             {Rules{}, "neither a fragment"},
		"a site that is not there":            {Rules{ApplicationHost: file(server("", "")), Site: "C"}, `site "C": not in f, which has "A", "B"`},
		"the default site that is not there":  {Rules{ApplicationHost: file(server("", ""))}, `site "Default Web Site"`},
		"a web.config in place of a server's": {Rules{ApplicationHost: file(web("")), Site: "A"}, "has no sites"},
		"another file in place of a server's": {Rules{ApplicationHost: file("<x/>"), Site: "A"}, `root element "x"`},
		"a mitigation for another site":       {Rules{Site: "B", Mitigation: mitigation("A", rule("r", "x", abort))}, `mitigation "M1" has none for site "B"`},
		"a mitigation that only stops a pool": {Rules{Mitigation: &ocs.Config{ID: "M2", Actions: []ocs.Action{{ID: "M2.1", Type: ocs.AppPool}}}}, `type AppPool does to a request cannot be told`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := tc.rules.Compose(rewrite.Options{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error = %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := (Rules{}).Compose(rewrite.Options{}); !errors.Is(err, ErrNoRules) {
		t.Errorf("error = %v", err)
	}
}

func TestParseRequest(t *testing.T) {
	for text, want := range map[string]rewrite.Request{
		"GET /a?b=c":                       {Method: "GET", Host: "localhost", Path: "/a", RawQuery: "b=c"},
		" /a%20b ":                         {Method: "GET", Host: "localhost", Path: "/a%20b"},
		"POST https://h:444/x?y":           {Method: "POST", Host: "h:444", Path: "/x", RawQuery: "y", TLS: true, Port: 443},
		"/a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p": {Method: "GET", Host: "localhost", Path: "/a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p"},
		"GET /a HTTP/1.1":                  {Method: "GET", Host: "localhost", Path: "/a"},
	} {
		got, err := ParseRequest(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "x", "GET", "GET /a b c", "#Fields: x", "GET /a\nGET /b", "GET x"} {
		if got, err := ParseRequest(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	headers := http.Header{}
	for _, text := range []string{"accept: text/html", "Host:  mail.contoso.example", "X-A: b: c", "X-A: d", "X-Empty:"} {
		if err := ParseHeader(headers, text); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{"", "no colon", ": x", "A B: x", "Ä: x"} {
		if err := ParseHeader(http.Header{}, text); err == nil {
			t.Errorf("%q is a header", text)
		}
	}
	own := http.Header{"Accept": {"own"}, "Cookie": {"a=b"}}
	request := rewrite.Request{Host: "h", Headers: own}
	SetHeaders(&request, headers)
	want := rewrite.Request{Host: "mail.contoso.example", Headers: http.Header{"Accept": {"text/html"}, "Cookie": {"a=b"}, "X-A": {"b: c", "d"}, "X-Empty": {""}}}
	if diff := cmp.Diff(want, request); diff != "" || own.Get("Accept") != "own" {
		t.Errorf("own headers %v\n%s", own, diff)
	}
}

func TestSamplesAreJudged(t *testing.T) {
	blocked := ocs.Sample{Expect: ocs.Blocked, URL: "/x"}
	passed := ocs.Sample{Expect: ocs.Passed, URL: "/x"}
	pool := ocs.Action{ID: "p", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "P"}
	for name, tc := range map[string]struct {
		config ocs.Config
		sample ocs.Sample
		want   Judgement
		text   string
	}{
		"what must be blocked is":                   {*mitigation("", rule("r", "^x", abort)), blocked, Kept, ""},
		"what must be blocked passes":               {*mitigation("", rule("r", "^y", abort)), blocked, Broken, "no rule stops it"},
		"what must pass does":                       {*mitigation("", rule("r", "^y", abort)), passed, Kept, ""},
		"what must pass is blocked":                 {*mitigation("", rule("r", "^x", abort)), passed, Broken, `rule "r" answers it with Aborted`},
		"a rule that fails":                         {*mitigation("", rule("r", "^x", `<action type="Rewrite" url="{R:99}"/>`)), passed, Broken, "IIS answers with an error"},
		"one of two sites blocks":                   {ocs.Config{Actions: append(mitigation("A", rule("r", "^x", abort)).Actions, mitigation("B", rule("r", "^y", abort)).Actions...)}, blocked, Kept, ""},
		"a pool beside rules that block":            {ocs.Config{Actions: append(mitigation("", rule("r", "^x", abort)).Actions, pool)}, blocked, Kept, ""},
		"a pool beside rules that let it pass":      {ocs.Config{Actions: append(mitigation("", rule("r", "^y", abort)).Actions, pool)}, passed, Unchecked, "type AppPool"},
		"nothing but a pool":                        {ocs.Config{Actions: []ocs.Action{pool}}, blocked, Unchecked, "type AppPool"},
		"no action":                                 {ocs.Config{Actions: []ocs.Action{{Type: ocs.DoNothing}}}, blocked, Broken, "no rule stops it"},
		"what Microsoft leaves open decides":        {*mitigation("", `<rule name="r"><match url=".*"/><conditions><add input="{REMOTE_ADDR}" pattern="^1"/></conditions>`+abort+`</rule>`), blocked, Unchecked, "UnknownVariable"},
		"the host of the sample counts":             {*mitigation("", `<rule name="r"><match url=".*"/><conditions><add input="{HTTP_HOST}" pattern="^a$"/></conditions>`+abort+`</rule>`), ocs.Sample{Expect: ocs.Blocked, URL: "/", Host: "a"}, Kept, ""},
		"the headers and method of the sample, too": {*mitigation("", `<rule name="r"><match url=".*"/><conditions><add input="{REQUEST_METHOD}{HTTP_COOKIE}" pattern="^PUTa=b$"/></conditions>`+abort+`</rule>`), ocs.Sample{Expect: ocs.Blocked, Method: "PUT", URL: "/", Headers: []ocs.Header{{Name: "cookie", Value: "a=b"}}}, Kept, ""},
	} {
		t.Run(name, func(t *testing.T) {
			sites, unknown := MitigationSites(tc.config)
			got := CheckSamples(sites, unknown, []ocs.Sample{tc.sample})
			if len(got) != 1 || got[0].Judgement != tc.want || !strings.Contains(got[0].Reason, tc.text) || got[0].Number != 1 {
				t.Errorf("%+v, want %s, %q", got, tc.want, tc.text)
			}
		})
	}
	if got := (SampleCheck{Number: 2, Sample: blocked}).String(); got != `sample 2 (GET "/x")` {
		t.Error(got)
	}
}

func FuzzAsk(f *testing.F) {
	for _, seed := range [][2]string{
		{"GET /a?b=c", inRules(rule("r", "^a", abort))}, {"POST https://h:444/x?y", server("", inRules(rule("r", "^x", forbid)))},
		{"/%zz", web("<clear/>")}, {"# x", "<rewrite/>"}, {"GET /a,b,,,,,,,,,,,,,,,,,", "<"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, content string) {
		request, err := ParseRequest(text)
		if err != nil {
			return
		}
		if !strings.HasPrefix(request.Path, "/") || request.Host == "" || request.Method == "" {
			t.Errorf("%q is %+v", text, request)
		}
		for _, rules := range []Rules{
			{Fragment: file(content)}, {ApplicationHost: file(content), Site: "A"}, {WebConfigs: []WebConfig{{"/", *file(content)}}},
		} {
			site, err := rules.Compose(rewrite.Options{})
			if err != nil {
				continue
			}
			if answer, err := Ask(site, text, request, true); err == nil && (answer.Outcome == "" || answer.Verdict == "" || answer.Text == "") {
				t.Errorf("%+v", answer)
			}
		}
	})
}
