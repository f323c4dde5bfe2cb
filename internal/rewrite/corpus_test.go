package rewrite_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rewrite"
)

// statedCase is a case of rewrite/msdocs-rewrite-cases.json: its result is stated by
// Microsoft's documentation or by the module's developer.
type statedCase struct {
	ID       string
	Kind     string
	RulesXML string `json:"rules_xml"`
	Levels   []struct{ Scope, XML string }
	Request  struct{ Method, URL string }
	Expected struct {
		Action               string
		Status               int
		Location             *string
		LocationWithoutQuery *string `json:"location_without_query"`
		RewrittenPathQuery   *string `json:"rewritten_path_and_query"`
		RewrittenPath        *string `json:"rewritten_path"`
		Set                  map[string]string
		Input                string
		QueryString          *string  `json:"QUERY_STRING"`
		HTTPHost             *string  `json:"HTTP_HOST"`
		ServerPort           *string  `json:"SERVER_PORT"`
		ServerPortSecure     *string  `json:"SERVER_PORT_SECURE"`
		HTTPS                *string  `json:"HTTPS"`
		RequestURI           *string  `json:"REQUEST_URI"`
		PathInfo             *string  `json:"PATH_INFO"`
		C                    []string `json:"C"`
		Match                bool
		Groups               []string
	}
	Scope         string
	PatternSyntax string
	Pattern       string
	Input         string
	ConditionsXML string            `json:"conditions_xml"`
	Variables     map[string]string `json:"server_variables"`
}

func TestStatedByMicrosoft(t *testing.T) {
	file := corpus[struct {
		Total int
		Cases []statedCase
	}](t, "rewrite/msdocs-rewrite-cases.json")
	if len(file.Cases) != file.Total || file.Total == 0 {
		t.Fatalf("%d cases of %d", len(file.Cases), file.Total)
	}
	run := map[string]func(*testing.T, statedCase){
		"request": statedRequest, "rule-input": statedInput, "backrefs": statedReferences, "match": statedMatch,
	}
	for _, tc := range file.Cases {
		t.Run(tc.ID, func(t *testing.T) {
			if run[tc.Kind] == nil {
				t.Fatalf("unknown kind %q", tc.Kind)
			}
			run[tc.Kind](t, tc)
		})
	}
}

func statedRequest(t *testing.T, tc statedCase) {
	var levels []rewrite.Level
	for _, l := range tc.Levels {
		if l.Scope == "globalRules" {
			levels = append(levels, serverLevel(t, l.XML))
		} else {
			levels = append(levels, folderLevel(t, l.Scope, l.XML))
		}
	}
	if tc.RulesXML != "" {
		levels = append(levels, siteLevel(t, tc.RulesXML))
	}
	if tc.Expected.Set != nil {
		// The page has the administrator allow the variables first.
		allowed := "<allowedServerVariables>"
		for name := range tc.Expected.Set {
			allowed += `<add name="` + name + `"/>`
		}
		levels = append([]rewrite.Level{serverLevel(t, allowed+"</allowedServerVariables>")}, levels...)
	}
	got := evaluate(t, rewrite.NewSite(rewrite.Options{}, levels...), getURL(t, tc.Request.URL))
	if got.Verdict() == rewrite.Unknown || len(got.Uncertain) > 0 {
		t.Errorf("%s: a stated case is uncertain", got)
	}
	outcomes := map[string]rewrite.Outcome{
		"None": rewrite.Passed, "Rewrite": rewrite.Rewritten, "Redirect": rewrite.Redirected, "AbortRequest": rewrite.Aborted,
	}
	if got.Outcome != outcomes[tc.Expected.Action] || got.Status != tc.Expected.Status {
		t.Errorf("%s, want %s %d", got, tc.Expected.Action, tc.Expected.Status)
	}
	path, _, _ := strings.Cut(got.URL, "?")
	for _, want := range []struct {
		text *string
		got  string
	}{
		{tc.Expected.Location, got.URL}, {tc.Expected.RewrittenPathQuery, got.URL},
		{tc.Expected.LocationWithoutQuery, path}, {tc.Expected.RewrittenPath, path},
	} {
		if want.text != nil && *want.text != want.got {
			t.Errorf("URL %q, want %q", want.got, *want.text)
		}
	}
	set := map[string]string{}
	for _, v := range got.ServerVariables {
		set[v.Name] = v.Value
	}
	if len(set)+len(tc.Expected.Set) > 0 {
		if diff := cmp.Diff(tc.Expected.Set, set); diff != "" {
			t.Errorf("server variables: %s", diff)
		}
	}
}

func statedInput(t *testing.T, tc statedCase) {
	const rules = `<rules><rule name="a"><match url=".*"/></rule></rules>`
	var level rewrite.Level
	switch folder, isFolder := strings.CutPrefix(tc.Scope, "directory "); {
	case isFolder:
		level = folderLevel(t, folder, rules)
	case tc.Scope == "globalRules":
		level = serverLevel(t, strings.ReplaceAll(rules, "rules>", "globalRules>"))
	default:
		level = siteLevel(t, rules)
	}
	_, trace, err := rewrite.NewSite(rewrite.Options{}, level).Trace(getURL(t, tc.Request.URL))
	if err != nil {
		t.Fatal(err)
	}
	if len(trace.Rules) != 1 || trace.Rules[0].Input != tc.Expected.Input {
		t.Errorf("trace %+v, want input %q", trace.Rules, tc.Expected.Input)
	}
	for name, want := range map[string]*string{
		"QUERY_STRING": tc.Expected.QueryString, "HTTP_HOST": tc.Expected.HTTPHost, "SERVER_PORT": tc.Expected.ServerPort,
		"SERVER_PORT_SECURE": tc.Expected.ServerPortSecure, "HTTPS": tc.Expected.HTTPS, "REQUEST_URI": tc.Expected.RequestURI,
		"PATH_INFO": tc.Expected.PathInfo,
	} {
		if want == nil {
			continue
		}
		s := site(t, `<rule name="a"><match url=".*"/><action type="CustomResponse" statusCode="404" statusReason="{`+name+`}"/></rule>`)
		if got := evaluate(t, s, getURL(t, tc.Request.URL)); got.Reason != *want {
			t.Errorf("{%s} is %q, want %q", name, got.Reason, *want)
		}
	}
}

// references is a text that shows {C:0} to {C:n} or {R:0} to {R:n}.
func references(letter string, count int) string {
	parts := make([]string, count)
	for i := range parts {
		parts[i] = fmt.Sprintf("[{%s:%d}]", letter, i)
	}
	return strings.Join(parts, "")
}

func bracketed(texts []string) string {
	return "[" + strings.Join(texts, "][") + "]"
}

func statedReferences(t *testing.T, tc statedCase) {
	conditions := tc.ConditionsXML
	global := ""
	if tc.Pattern != "" {
		conditions = `<conditions><add input="` + tc.Input + `" pattern="` + tc.Pattern + `"/></conditions>`
	}
	for name, value := range tc.Variables {
		value = strings.ReplaceAll(value, "&", "&amp;")
		global += `<rule name="` + name + `"><match url=".*"/><serverVariables><set name="` + name + `" value="` + value + `"/></serverVariables></rule>`
	}
	s := rewrite.NewSite(rewrite.Options{}, serverLevel(t, "<globalRules>"+global+"</globalRules>"), siteLevel(t,
		`<rules><rule name="a"><match url=".*"/>`+conditions+`<action type="CustomResponse" statusCode="404" statusReason="`+
			references("C", len(tc.Expected.C))+`"/></rule></rules>`))
	if got := evaluate(t, s, get("/")); got.Reason != bracketed(tc.Expected.C) {
		t.Errorf("%s with %s, want %s", got, got.Reason, bracketed(tc.Expected.C))
	}
}

func statedMatch(t *testing.T, tc statedCase) {
	s := site(t, `<rule name="a" patternSyntax="`+tc.PatternSyntax+`"><match url="`+tc.Pattern+`"/><action type="CustomResponse" statusCode="404" statusReason="`+
		references("R", len(tc.Expected.Groups)+1)+`"/></rule>`)
	got := evaluate(t, s, get("/"+tc.Input))
	if got.Blocked() != tc.Expected.Match {
		t.Fatalf("%s, want a match %t", got, tc.Expected.Match)
	}
	if want := bracketed(tc.Expected.Groups); tc.Expected.Match && len(tc.Expected.Groups) > 0 && !strings.HasSuffix(got.Reason, want) {
		t.Errorf("references %s, want %s at the end", got.Reason, want)
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

// The results of the 44 cases are certain under the open points too. Double encoding that stays
// unmatched either way is among them.
func TestPublishedHistory(t *testing.T) {
	history := corpus[historyFile](t, "rewrite/exchange-mitigation-history.json")
	inputs := map[int]string{}
	for _, v := range history.Versions {
		inputs[v.Version] = v.Input
	}
	if len(history.Cases) != 44 {
		t.Fatalf("%d cases in the file, want 44", len(history.Cases))
	}
	for _, tc := range history.Cases {
		t.Run(tc.ID, func(t *testing.T) {
			// The cookie rules of 2021 state the value of a header in place of a request.
			input, request := "{HTTP_COOKIE}", rewrite.Request{Path: "/", Headers: http.Header{"Cookie": {tc.ConditionInput}}}
			if tc.Version != nil {
				input, request = inputs[*tc.Version], get(tc.RequestURI)
			}
			_, trace, err := site(t, proxyNotShell(input, tc.Pattern)).Trace(request)
			if err != nil {
				t.Fatal(err)
			}
			want := rewrite.Allowed
			if tc.Expected.ConditionMatch {
				want = rewrite.Blocked
			}
			if got := trace.Result; got.Verdict() != want {
				t.Errorf("%s is %s, want %s", got, got.Verdict(), want)
			}
			if value := trace.Rules[0].Conditions[0].Value; value != tc.ConditionInput {
				t.Errorf("condition input %q, want %q", value, tc.ConditionInput)
			}
		})
	}
}

// Every published pattern has to pass the check, or real mitigations would be refused.
func TestCheckPatternAcceptsPublishedPatterns(t *testing.T) {
	file := corpus[struct {
		Results []struct{ Pattern, From, Status string }
	}](t, "rewrite/redos-oracle-recheck.json")
	checked := 0
	for _, tc := range file.Results {
		// Probes are made up, what the oracle could not read is wildcard syntax, and a
		// lone brace is an error in IIS although JavaScript accepts it.
		if tc.From != "corpus" || tc.Status == "unknown" || tc.Pattern == "{" {
			continue
		}
		checked++
		if err := rewrite.CheckPattern(rewrite.ECMAScript, tc.Pattern); err != nil {
			t.Errorf("%s: %v", tc.Pattern, err)
		}
	}
	if checked == 0 {
		t.Error("no patterns in the file")
	}
}

// proxyNotShell is the rule against CVE-2022-41040 with an input and a pattern of our
// choice: the rule was published in several forms.
func proxyNotShell(input, pattern string) string {
	return `<rule name="EEMS M1.1 PowerShell - inbound" stopProcessing="true"><match url=".*" /><conditions>` +
		`<add input="` + input + `" pattern="` + pattern + `" /></conditions><action type="AbortRequest" /></rule>`
}
