package iis

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/test/iistree"
)

func testdata(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("EMS_TESTDATA")
	if dir == "" {
		t.Skip("EMS_TESTDATA is not set: no real configuration files and mitigations")
	}
	return dir
}

// TestEveryKindOnRealFiles applies and reverts every kind of mitigation on public configuration files: those with sites as
// the server's own, the others as the web.config of a site. Malformed ones are refused untouched.
func TestEveryKindOnRealFiles(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(testdata(t), "iis-configs", "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	did := map[string]int{}
	for _, name := range names {
		original, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for variant, data := range map[string][]byte{"as it is": original, "other line ends": otherLineEnds(original), "other mark": otherMark(original)} {
			t.Run(filepath.Base(name)+"/"+variant, func(t *testing.T) {
				c, err := apphost.Parse(data)
				if err != nil && bytes.Contains(data, []byte("<configuration")) {
					refusedOnDisk(t, data)
					did["refused"]++
					return
				}
				if err != nil {
					return // a schema, or a file of another kind
				}
				if sites := c.Sites(); len(sites) > 0 {
					did[hostOnDisk(t, data, c)]++
					return
				}
				webConfigOnDisk(t, data)
				did["web.config"]++
			})
		}
	}
	t.Logf("files by what was done with them: %v", did)
	for what, want := range map[string]int{"applicationHost.config": 9, "applicationHost.config without URL Rewrite": 3, "web.config": 36, "refused": 6} {
		if did[what] < want {
			t.Errorf("%s: %d, want at least %d; all: %v", what, did[what], want, did)
		}
	}
}

func otherLineEnds(data []byte) []byte {
	if lf := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")); !bytes.Equal(lf, data) {
		return lf
	}
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
}

func otherMark(data []byte) []byte {
	if rest, ok := bytes.CutPrefix(data, []byte("\xEF\xBB\xBF")); ok {
		return rest
	}
	return append([]byte("\xEF\xBB\xBF"), data...)
}

func refusedOnDisk(t *testing.T, data []byte) {
	t.Helper()
	l := newLab(t, iistree.Options{})
	l.put(iistree.ConfigFile, string(data))
	l.wantState(l.reconcile(mitigation("M1", 1, rewrite("M1.1", "a")))["M1"], Failed, ConfigurationMalformed, false)
	l.put(iistree.ConfigFile, string(l.original))
	l.put(webConfig, string(data))
	before := l.tree()
	l.wantState(l.reconcile(inWebConfig(mitigation("M1", 1, rewrite("M1.1", "a"))))["M1"], Failed, ConfigurationMalformed, false)
	l.wantTree(before)
}

// hostOnDisk says what became of it.
func hostOnDisk(t *testing.T, data []byte, c *apphost.Config) string {
	t.Helper()
	l := newLab(t, iistree.Options{})
	l.put(iistree.ConfigFile, string(data))
	l.pools = &memoryPools{}
	l.open()
	before := l.tree()
	kinds := map[string][]Action{
		"rules": {rewriteAt("M1.1", c.Sites()[0].Name, "a")}, "all content": {whole("M1.1", c.Sites()[0].Name)}, "the server": {forServer("M1.1")},
		"pools": {}, "nothing": {{ID: "M1.1", Type: ActionDoNothing}},
	}
	for _, p := range c.Pools() {
		kinds["pools"] = append(kinds["pools"], pool("M1.1", p.Name))
		kinds["everything"] = []Action{rewriteAt("M1.1", c.Sites()[0].Name, "a"), whole("M1.2", c.Sites()[0].Name), forServer("M1.3"), pool("M1.4", p.Name)}
	}
	for kind, actions := range kinds {
		o := l.reconcile(mitigation("M1", 1, actions...))["M1"]
		rules := kind != "pools" && kind != "nothing"
		if rules && (!c.RewriteSectionDeclared() || !c.RewriteModuleRegistered()) {
			if o.Reason != RewriteSectionMissing && o.Reason != RewriteModuleMissing {
				t.Errorf("%s: %+v", kind, o)
			}
		} else if o.State != Applied {
			t.Errorf("%s: %+v", kind, o)
		}
		l.reconcile()
		l.wantTree(before)
	}
	if !c.RewriteSectionDeclared() || !c.RewriteModuleRegistered() {
		return "applicationHost.config without URL Rewrite"
	}
	return "applicationHost.config"
}

func webConfigOnDisk(t *testing.T, data []byte) {
	t.Helper()
	l := newLab(t, iistree.Options{})
	l.put(webConfig, string(data))
	before := l.tree()
	for kind, actions := range map[string][]Action{"rules": {rewrite("M1.1", "a")}, "all content": {whole("M1.1", site)}, "everything": {rewrite("M1.1", "a"), whole("M1.2", site), forServer("M1.3"), pool("M1.4", owaPool)}} {
		if o := l.reconcile(inWebConfig(mitigation("M1", 1, actions...)))["M1"]; o.State != Applied {
			t.Errorf("%s: %+v", kind, o)
		}
		if !strings.Contains(l.tree()[webConfig], "EMS M1.1") {
			t.Errorf("%s: nothing in web.config", kind)
		}
		l.reconcile()
		l.wantTree(before)
	}
}

// TestTheFiveFormsOfARuleFollowEachOther installs the versions of 2022 as revisions: there is one rule each time.
func TestTheFiveFormsOfARuleFollowEachOther(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testdata(t), "rewrite", "exchange-mitigation-history.json"))
	if err != nil {
		t.Fatal(err)
	}
	var history struct {
		Versions []struct {
			Version        int64
			Input, Pattern string
			StopProcessing bool
			Action         string
		}
	}
	if err := json.Unmarshal(data, &history); err != nil || len(history.Versions) != 5 {
		t.Fatalf("%d versions, error %v", len(history.Versions), err)
	}
	for _, placement := range []string{PlaceApplicationHost, PlaceWebConfig} {
		t.Run(placement, func(t *testing.T) {
			l := newLab(t, iistree.Options{CRLF: true})
			before := l.tree()
			for _, v := range history.Versions {
				a := Action{ID: "M1.1", Type: ActionUrlRewrite, Site: site, Rewrite: fmt.Appendf(nil,
					`<rewrite><rules><rule name="PowerShell - inbound" stopProcessing="%t"><match url=".*"/><conditions><add input="%s" pattern="%s"/></conditions><action type="%s"/></rule></rules></rewrite>`,
					v.StopProcessing, escaped(v.Input), escaped(v.Pattern), v.Action)}
				m := mitigation("M1", v.Version, a)
				if m.Placement = ""; placement == PlaceWebConfig {
					m = inWebConfig(m)
				}
				l.wantState(l.reconcile(m)["M1"], Applied, "", true)
				all := l.tree()
				text := all[iistree.ConfigFile] + all[webConfig]
				if strings.Count(text, "<rule ") != 1 || strings.Count(text, `pattern="`+escaped(v.Pattern)+`"`) != 1 {
					t.Errorf("version %d: not exactly one rule:\n%s", v.Version, text)
				}
				l.wantApplied(fmt.Sprintf("M1/%d", v.Version))
			}
			l.reconcile()
			l.wantTree(before)
		})
	}
}

func escaped(s string) string {
	var b bytes.Buffer
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic(err) // a buffer does not fail
	}
	return b.String()
}

// TestTheOutboundRuleOf2026 applies and reverts the published outbound rule with its precondition.
func TestTheOutboundRuleOf2026(t *testing.T) {
	m2 := mitigation("M2", 1, Action{ID: "M2.1", Type: ActionUrlRewrite, Site: site + "/owa", Rewrite: []byte(`<rewrite><outboundRules>
  <rule name="EOMT OWA CSP - outbound" preCondition="EOMT OWA SPA HTML shell - precondition" patternSyntax="ECMAScript" stopProcessing="false">
    <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)" />
    <action type="Rewrite" value="{R:1}; script-src-attr 'none'" />
  </rule>
  <preConditions>
    <preCondition name="EOMT OWA SPA HTML shell - precondition" logicalGrouping="MatchAll" patternSyntax="ECMAScript">
      <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html" />
      <add input="{REQUEST_URI}" pattern="^/owa/?($|\?|default\.aspx|projection\.aspx|readingPane\.aspx|popout\.aspx)" />
    </preCondition>
  </preConditions>
</outboundRules></rewrite>`)})
	for name, m := range map[string]Mitigation{"in applicationHost.config": m2, "in web.config": inWebConfig(m2)} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			if err := os.MkdirAll(l.file("inetpub/wwwroot/owa"), 0o755); err != nil {
				t.Fatal(err)
			}
			before := l.tree()
			l.wantState(l.reconcile(m)["M2"], Applied, "", true)
			all := l.tree()
			text := all[iistree.ConfigFile] + all["inetpub/wwwroot/owa/web.config"]
			for _, want := range []string{
				`<rule name="EMS M2.1 EOMT OWA CSP - outbound" preCondition="EMS M2.1 EOMT OWA SPA HTML shell - precondition" patternSyntax="ECMAScript" stopProcessing="false">`,
				`<preCondition name="EMS M2.1 EOMT OWA SPA HTML shell - precondition" logicalGrouping="MatchAll" patternSyntax="ECMAScript">`,
				`<add input="{REQUEST_URI}" pattern="^/owa/?($|\?|default\.aspx|projection\.aspx|readingPane\.aspx|popout\.aspx)" />`,
			} {
				if strings.Count(text, want) != 1 {
					t.Errorf("%s stands %d times in\n%s", want, strings.Count(text, want), text)
				}
			}
			l.wantState(l.reconcile()["M2"], Removed, "", true)
			l.wantTree(before)
		})
	}
}
