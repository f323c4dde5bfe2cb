package rewrite_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rewrite"
)

func TestTrace(t *testing.T) {
	s := rewrite.NewSite(rewrite.Options{},
		serverLevel(t, "<globalRules>\n"+`<rule name="private" patternSyntax="Wildcard"><match url="*.bak" negate="true"/><conditions logicalGrouping="MatchAny"><add input="{HTTP_HOST}" pattern="intranet*"/><add matchType="Pattern" input="{URL}" pattern="/ecp/*" negate="true"/></conditions><action type="None"/></rule></globalRules>`),
		siteLevel(t, "<rules>"+proxyNotShell("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)")+
			`<rule name="old"><match url="^old/(.*)"/><action type="Rewrite" url="new/{R:1}"/></rule><rule name="broken"><match url="("/></rule></rules>`))
	cases := map[string]string{
		"/autodiscover/?@evil/%50owerShell": `GET http://mail.example.com/autodiscover/?@evil/%50owerShell
rule "private" (globalRules of server, line 2)
  match      "autodiscover/"
             does not match Wildcard *.bak (negate)
  condition 1 {HTTP_HOST} = "mail.example.com"
             does not match Wildcard intranet*: does not hold
  condition 2 {URL} = "/autodiscover/"
             does not match Wildcard /ecp/* (negate): holds
  None: nothing
rule "EEMS M1.1 PowerShell - inbound" (rules of site, line 1)
  match      "autodiscover/"
             matches ECMAScript .*
  condition 1 {UrlDecode:{REQUEST_URI}} = "/autodiscover/?@evil/PowerShell"
             matches ECMAScript (?=.*autodiscover)(?=.*powershell): holds
  AbortRequest: drops the connection; stopProcessing
=> Aborted by rule "EEMS M1.1 PowerShell - inbound"
`,
		"/ecp/x": `GET http://mail.example.com/ecp/x
rule "private" (globalRules of server, line 2)
  match      "ecp/x"
             does not match Wildcard *.bak (negate)
  condition 1 {HTTP_HOST} = "mail.example.com"
             does not match Wildcard intranet*: does not hold
  condition 2 {URL} = "/ecp/x"
             matches Wildcard /ecp/* (negate): does not hold
  the rule does not match
rule "EEMS M1.1 PowerShell - inbound" (rules of site, line 1)
  match      "ecp/x"
             matches ECMAScript .*
  condition 1 {UrlDecode:{REQUEST_URI}} = "/ecp/x"
             does not match ECMAScript (?=.*autodiscover)(?=.*powershell): does not hold
  the rule does not match
rule "old" (rules of site, line 1)
  match      "ecp/x"
             does not match ECMAScript ^old/(.*)
  the rule does not match
rule "broken" (rules of site, line 1)
  fails: rules/rule[3]/match: pattern "(": at byte 1: a group is not closed
=> Error 500.50 by rule "broken": pattern "(": at byte 1: a group is not closed
`,
	}
	for target, want := range cases {
		t.Run(target, func(t *testing.T) {
			result, trace, err := s.Trace(get(target))
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := trace.WriteText(&out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, out.String()); diff != "" {
				t.Error(diff)
			}
			if again := evaluate(t, s, get(target)); again.String() != result.String() {
				t.Errorf("without trace: %s, with it: %s", again, result)
			}
		})
	}
}

// The names of JSON are part of the command line's contract.
func TestResultAsJSON(t *testing.T) {
	s := site(t, `<rule name="old"><match url="^old/(.*)"/><action type="Redirect" url="new/{R:1}" redirectType="Found"/></rule>`+when("{REMOTE_ADDR}", "x"))
	for target, want := range map[string]string{
		"/old/a": `{"outcome":"Redirected","status":302,"url":"http://mail.example.com/new/a","rule":"old","level":"site"}`,
		"/x?y":   `{"outcome":"Passed","url":"/x?y","uncertain":["UnknownVariable"]}`,
	} {
		got, err := json.Marshal(evaluate(t, s, get(target)))
		if err != nil || string(got) != want {
			t.Errorf("%s %v, want %s", got, err, want)
		}
	}
}
