package rewrite_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"mitigation.dev/ems/internal/rewrite"
)

// fuzzLimit is how long one input may take: maxEvaluation of a request, times the readings,
// never comes near it. Compiling a pattern with wide ranges takes most.
const fuzzLimit = 20 * time.Second

func FuzzParse(f *testing.F) {
	f.Add([]byte("<rewrite>" + typicalRules + "</rewrite>"))
	f.Add([]byte(`<outboundRules rewriteBeforeCache="true">` + isHTML + `<customTags><tags name="t"><tag name="x" attribute="y"/></tags></customTags>` +
		outboundRule(`preCondition="IsHTML"`, `filterByTags="A, CustomTags" customTags="t" pattern="(.*)" occurrences="3"`, "{ToLower:{R:1}}") + `</outboundRules>`))
	f.Add([]byte(`<rules><clear/><remove name="x"/><rule name="a"><match url="("/><conditions><add input="{C:1" pattern="[[:x:]]"/></conditions></rule></rules>`))
	f.Add([]byte(`<globalRules useOriginalURLEncoding="false"><rule name="a" responseCacheDirective="Auto"><serverVariables><set name="x" value="{R:0}"/></serverVariables></rule></globalRules>`))
	f.Fuzz(func(t *testing.T, fragment []byte) {
		start := time.Now()
		config, err := rewrite.Parse(fragment)
		if err != nil {
			if !errors.Is(err, rewrite.ErrInvalidConfiguration) && !errors.Is(err, rewrite.ErrUnsupported) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		s := rewrite.NewSite(rewrite.Options{}, rewrite.Level{Server: true, Config: config}, rewrite.Level{Path: "/a", Config: config})
		for _, problem := range append(config.Problems(), s.Problems()...) {
			if problem.Status != 500 || problem.Reason == "" {
				t.Fatalf("problem %+v", problem)
			}
		}
		check(t, s, get("/a/b.c?d=e"))
		if took := time.Since(start); took > fuzzLimit {
			t.Fatalf("took %s", took)
		}
	})
}

func check(t *testing.T, s *rewrite.Site, request rewrite.Request) {
	result, err := s.Evaluate(request)
	if err != nil {
		for _, kind := range []error{rewrite.ErrUnsupported, rewrite.ErrInvalidRequest, rewrite.ErrTooExpensive} {
			if errors.Is(err, kind) {
				return
			}
		}
		t.Fatalf("untyped error %v", err)
	}
	switch {
	case result.Blocked() && result.Rule == "",
		result.Outcome == rewrite.Error && (result.Fault == nil || result.Status != 500),
		result.Verdict() == rewrite.Unknown && len(result.Uncertain) == 0:
		t.Fatalf("result %+v", result)
	}
	response, err := s.EvaluateResponse(request, result, htmlResponse(`<a href="/x"><img src=y>`))
	if err == nil && response.Outcome == rewrite.Error && response.Fault == nil {
		t.Fatalf("response %+v", response)
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add(proxyNotShell("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"), "/autodiscover/?powershell", "mail.example.com", "a=b")
	f.Add(`<rule name="a" patternSyntax="Wildcard"><match url="*a?b*"/><action type="CustomResponse" statusCode="403"/></rule>`, "/%41+b/../c?d%2541", "h", "")
	f.Add(`<rule name="a"><match url="^(x|y)+$"/><conditions logicalGrouping="MatchAny" trackAllCaptures="true"><add input="{ToLower:{HTTP_COOKIE}}" pattern="([a-z])" negate="true"/><add input="{R:1}{C:1}" pattern="(.)"/></conditions><action type="Rewrite" url="{UrlEncode:{C:2}}?{QUERY_STRING}"/></rule>`, "/x", "H", "ä=ö")
	f.Add(rule(`<action type="Redirect" url="http://{HTTP_HOST}/{R:0}"/>`), "/%c3%a4?%ff%", "[::1]:80", "\n")
	s := ""
	var site *rewrite.Site
	f.Fuzz(func(t *testing.T, rules, target, host, cookie string) {
		// Compiling costs more than evaluating; most inputs share the rules of the one before.
		if rules != s || site == nil {
			config, err := rewrite.Parse([]byte("<rules>" + rules + "</rules>"))
			if err != nil {
				return
			}
			s, site = rules, rewrite.NewSite(rewrite.Options{}, rewrite.Level{Config: config})
		}
		start := time.Now()
		check(t, site, rewrite.SplitTarget(http.MethodGet, host, target, http.Header{"Cookie": {cookie}}))
		if took := time.Since(start); took > fuzzLimit {
			t.Fatalf("took %s", took)
		}
	})
}
