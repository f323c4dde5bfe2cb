package rewrite_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rewrite"
)

// named is a rule that rewrites or aborts, by name.
func named(name, match, action string) string {
	return `<rule name="` + name + `"><match url="` + match + `"/>` + action + `</rule>`
}

func TestLevels(t *testing.T) {
	rules := func(inside string) string { return "<rules>" + inside + "</rules>" }
	global := func(inside string) string { return "<globalRules>" + inside + "</globalRules>" }
	to := func(url string) string { return `<action type="Rewrite" url="` + url + `"/>` }
	const stop = `stopProcessing="true"`
	cases := map[string]struct {
		levels func(*testing.T) []rewrite.Level
		target string
		want   string
	}{
		"global, parent, child": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{
				serverLevel(t, "<rewrite>"+global(named("g", "^(.*)$", to("{R:1}g")))+rules(named("s", "^(.*)$", to("{R:1}s")))+"</rewrite>"),
				siteLevel(t, rules(named("w", "^(.*)$", to("{R:1}w")))),
				folderLevel(t, "/app", rules(named("f", "^(.*)$", to("{R:1}f")))),
			}
		}, "/app/x", `Rewritten to /app/xgswf by rule "f"`},
		"rules of a folder see a relative path": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{folderLevel(t, "app/sub/", rules(named("a", "^x$", abort)))}
		}, "/APP/Sub/x", abortedByA},
		"a folder without its last slash": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{folderLevel(t, "/app", rules(named("a", "^$", abort)))}
		}, "/app", abortedByA},
		"rules of a folder do not act beside it": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{folderLevel(t, "/app", rules(named("a", ".*", abort)))}
		}, "/apple", passed},
		"a relative rewrite stays in the folder": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{folderLevel(t, "/app", rules(named("a", "^x$", to("y"))))}
		}, "/app/x", `Rewritten to /app/y by rule "a"`},
		"a relative redirect stays in the folder": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{folderLevel(t, "/app", rules(named("a", "^x$", `<action type="Redirect" url="y"/>`)))}
		}, "/app/x", `Redirected 301 to http://mail.example.com/app/y by rule "a"`},
		"clear drops what is inherited": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", ".*", abort))), folderLevel(t, "/app", rules("<clear/>"))}
		}, "/app/x", passed},
		"clear does not reach global rules": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{serverLevel(t, global(named("a", ".*", abort))), folderLevel(t, "/app", rules("<clear/>"))}
		}, "/app/x", abortedByA},
		"clear does not reach beside the folder": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", ".*", abort))), folderLevel(t, "/app", rules("<clear/>"))}
		}, "/x", abortedByA},
		"remove drops one rule": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", ".*", abort)+named("b", ".*", abort))), folderLevel(t, "/app", rules(`<remove name="A"/>`))}
		}, "/app/x", `Aborted by rule "b"`},
		"removing what is not there": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(`<remove name="nothing"/>`+named("a", ".*", abort)))}
		}, "/app/x", abortedByA},
		"a removed rule can come again": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", ".*", abort))), folderLevel(t, "/app", rules(`<remove name="a"/>`+named("a", "^y$", abort)))}
		}, "/app/x", passed},
		"the same name in a child": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", "^y$", abort))), folderLevel(t, "/app", rules(named("A", ".*", abort)))}
		}, "/app/x", "Error 500.19: cannot add duplicate collection entry with unique key a"},
		"the same name in a child hurts only there": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", ".*", abort))), folderLevel(t, "/app", rules(named("A", ".*", abort)))}
		}, "/x", abortedByA},
		"rules that are kept apart by their installer": {func(t *testing.T) []rewrite.Level {
			mine := parse(t, rules(named("a", "^x$", abort)))
			return []rewrite.Level{siteLevel(t, rules(named("a", "^y$", abort))), {Config: mine.Apart("1")}, {Config: mine.Apart("2")}, siteLevel(t, rules(`<remove name="a"/>`))}
		}, "/x", abortedByA},
		"global rules in a site": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, global(named("a", ".*", abort)))}
		}, "/x", "Error 500.19: globalRules are allowed in applicationHost.config only, outside of <location>"},
		"a file that cannot be read": {func(*testing.T) []rewrite.Level {
			return []rewrite.Level{{Name: "web.config", Path: "/app", Err: errors.New("not well-formed")}}
		}, "/app/x", "Error 500.19: not well-formed"},
		"a file that cannot be read hurts only there": {func(*testing.T) []rewrite.Level {
			return []rewrite.Level{{Name: "web.config", Path: "/app", Err: errors.New("not well-formed")}}
		}, "/x", passed},
		"the place is that after global rules": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{serverLevel(t, global(named("g", "^x$", to("app/x")))), folderLevel(t, "/app", rules(named("a", "^x$", abort)))}
		}, "/x", abortedByA},
		"a rewrite of the site into a folder with rules": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("w", "^x$", to("app/x")))), folderLevel(t, "/app", rules(named("a", "^x$", abort)))}
		}, "/x", `Rewritten to /app/x by rule "w" (uncertain: RewrittenIntoLevel)`},
		"a rewrite of the site into a folder without rules": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("w", "^x$", to("app/x")))), folderLevel(t, "/app", "<rules/>")}
		}, "/x", `Rewritten to /app/x by rule "w"`},
		"a rule of a folder that the URL has left": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("w", "^app/x$", to("/y")))), folderLevel(t, "/app", rules(named("a", "^y$", abort)))}
		}, "/app/x", abortedByA + unsureAbout + "OutsideLevel)"},
		"stopProcessing of a global rule": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{serverLevel(t, global(`<rule name="g" `+stop+`><match url=".*"/></rule>`+named("h", ".*", abort))), siteLevel(t, rules(named("a", ".*", abort)))}
		}, "/x", abortedByA + unsureAbout + "StopInGlobalRules)"},
		"stopProcessing of a parent": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(`<rule name="w" `+stop+`><match url=".*"/></rule>`)), folderLevel(t, "/app", rules(named("a", ".*", abort)))}
		}, "/app/x", `Passed by rule "w"`},
		"useOriginalURLEncoding switched off": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, `<rules useOriginalURLEncoding="false">`+named("a", "^x$", to("y"))+"</rules>")}
		}, "/x", `Rewritten to /y by rule "a" (uncertain: OriginalURLEncoding)`},
		"maps are inherited": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, `<rewriteMaps><rewriteMap name="M"><add key="k" value="v"/></rewriteMap></rewriteMaps>`), folderLevel(t, "/app", rules(named("a", "^x$", to("/{m:k}"))))}
		}, "/app/x", `Rewritten to /v by rule "a"`},
		"a map of a folder is not known above it": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", "^x$", to("/{M:k}")))), folderLevel(t, "/app", `<rewriteMaps><rewriteMap name="M"/></rewriteMaps>`)}
		}, "/x", `Error 500.50 by rule "a": rewrite map "m" is not defined`},
		"a map that is removed and cleared": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, `<rewrite><rewriteMaps><rewriteMap name="M" defaultValue="d"><add key="x" value="1"/><remove key="x"/><add key="k" value="v"/><add key="K" value="w"/></rewriteMap></rewriteMaps>`+
				rules(named("a", "^x$", to("/{M:x}{M:K}")))+"</rewrite>")}
		}, "/x", `Rewritten to /dv by rule "a"`},
		"a pattern that IIS cannot use": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("a", "*", abort)))}
		}, "/x", `Error 500.50 by rule "a": pattern "*": at byte 0: a repetition does not follow an expression`},
		"one in the global rules": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{serverLevel(t, global(named("a", "*", abort)))}
		}, "/x", `Error 500.51 by rule "a": pattern "*": at byte 0: a repetition does not follow an expression`},
		"one that no request reaches": {func(t *testing.T) []rewrite.Level {
			return []rewrite.Level{siteLevel(t, rules(named("b", ".*", abort)+named("a", "*", abort)))}
		}, "/x", `Aborted by rule "b"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := summary(evaluate(t, rewrite.NewSite(rewrite.Options{}, tc.levels(t)...), get(tc.target))); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestProvidersAreNotEvaluated(t *testing.T) {
	providers := `<providers><provider name="DB" type="DbProvider, Microsoft.Web.Iis.Rewrite.Providers"><settings><add key="k" value="v"/></settings></provider></providers>`
	s := rewrite.NewSite(rewrite.Options{}, siteLevel(t, "<rewrite>"+providers+"<rules>"+named("free", "^x$", abort)+named("bound", ".*", `<action type="Rewrite" url="{DB:{R:0}}"/>`)+"</rules></rewrite>"))
	if got := summary(evaluate(t, s, get("/x"))); got != `Aborted by rule "free"` {
		t.Errorf("a rule before the provider: %s", got)
	}
	if got, err := s.Evaluate(get("/y")); !errors.Is(err, rewrite.ErrUnsupported) || !strings.Contains(err.Error(), `"bound"`) {
		t.Errorf("%s, error %v; want one that names the rule", got, err)
	}
}

func TestProblems(t *testing.T) {
	const bad = `<rewrite>
<globalRules><rule name="g"><match url="("/></rule></globalRules>
<rules>
  <rule name="off" enabled="false"><match url="("/></rule>
  <rule name="pattern"><match url="x(?i)"/></rule>
  <rule name="condition"><match url="x"/><conditions><add input="{C:32}" pattern="x"/><add input="x" pattern="+"/></conditions></rule>
  <rule name="url"><match url="x"/><action type="Redirect"/></rule>
  <rule name="status"><match url="x"/><action type="CustomResponse"/></rule>
  <rule name="braces"><match url="x"/><action type="Rewrite" url="{R:1"/></rule>
  <rule name="map"><match url="x"/><action type="Rewrite" url="{Nobody:{R:1}}"/></rule>
  <rule name="variable"><match url="x"/><serverVariables><set name="HTTP_X" value="1"/></serverVariables></rule>
</rules></rewrite>`
	config, err := rewrite.ParseAt(rewrite.Position{File: "applicationHost.config", Line: 11, Column: 5}, []byte(bad))
	if err != nil {
		t.Fatal(err)
	}
	show := func(faults []rewrite.Fault) []string {
		var list []string
		for i := range faults {
			if !errors.Is(faults[i].Err(), rewrite.ErrInvalidRule) {
				t.Errorf("%v does not wrap ErrInvalidRule", &faults[i])
			}
			list = append(list, strings.TrimPrefix(faults[i].String(), "applicationHost.config:"))
		}
		return list
	}
	want := []string{
		`12:14: rewrite/globalRules/rule[1]/match: rule "g": pattern "(": at byte 1: a group is not closed (500.51)`,
		`15:3: rewrite/rules/rule[2]/match: rule "pattern": pattern "x(?i)": at byte 2: "(?" is followed by something other than ":", "=" or "!" (no look-behind, named groups or inline options) (500.50)`,
		`16:3: rewrite/rules/rule[3]/conditions/add[1]: rule "condition": "{C:32}": {C:32}: back references go up to 31 (500.50)`,
		`16:3: rewrite/rules/rule[3]/conditions/add[2]: rule "condition": pattern "+": at byte 0: a repetition does not follow an expression (500.50)`,
		`17:3: rewrite/rules/rule[4]/action: rule "url": an action of type Redirect needs a url (500.50)`,
		`18:3: rewrite/rules/rule[5]/action: rule "status": an action of type CustomResponse needs a statusCode from 100 to 999 (500.50)`,
		`19:3: rewrite/rules/rule[6]/action: rule "braces": "{R:1": {R:1} is no back reference (500.50)`,
	}
	if diff := cmp.Diff(want, show(config.Problems())); diff != "" {
		t.Errorf("problems of the configuration: %s", diff)
	}
	s := rewrite.NewSite(rewrite.Options{}, rewrite.Level{Name: "server", Server: true, Config: config})
	want = append(want,
		`20:3: rewrite/rules/rule[7]: rule "map": rewrite map "nobody" is not defined (500.50)`,
		`21:3: rewrite/rules/rule[8]/serverVariables/set[1]: rule "variable": server variable "HTTP_X" is not in allowedServerVariables (500.50)`)
	if diff := cmp.Diff(want, show(s.Problems())); diff != "" {
		t.Errorf("problems of the site: %s", diff)
	}
	if diff := cmp.Diff([]string{"off", "pattern", "condition", "url", "status", "braces", "map", "variable"}, config.Names("rules")); diff != "" {
		t.Errorf("names: %s", diff)
	}
}
