package iis

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"mitigation.dev/ems/test/iistree"
)

const webConfig = "inetpub/wwwroot/web.config"

// whole is an action with every kind of content that a site can have.
func whole(id, target string) Action {
	return Action{ID: id, Type: ActionUrlRewrite, Site: target, Rewrite: []byte(`<rewrite>
<rules><rule name="in"><match url=".*"/><conditions><add input="{blocked:{REQUEST_URI}}" pattern="(.+)"/></conditions>` +
		`<serverVariables><set name="HTTP_X_EMS" value="1"/></serverVariables><action type="AbortRequest"/></rule></rules>
<outboundRules>
  <rule name="out" preCondition="is html"><match filterByTags="A, CustomTags" customTags="more" pattern="x"/><action type="Rewrite" value="y"/></rule>
  <preConditions><preCondition name="is html"><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/></preCondition></preConditions>
  <customTags><tags name="more"><tag name="data" attribute="url"/></tags></customTags>
</outboundRules>
<rewriteMaps><rewriteMap name="blocked"><add key="/a" value="1"/></rewriteMap></rewriteMaps>
<allowedServerVariables><add name="HTTP_X_EMS"/></allowedServerVariables>
</rewrite>`)}
}

func forServer(id string) Action {
	return Action{ID: id, Type: ActionUrlRewrite, Scope: ScopeServer, Rewrite: []byte(
		`<rewrite><globalRules><rule name="everywhere" stopProcessing="true"><match url="^a"/><action type="AbortRequest"/></rule></globalRules></rewrite>`)}
}

// inWebConfig puts a mitigation into web.config.
func inWebConfig(m Mitigation) Mitigation {
	m.Placement = PlaceWebConfig
	return m
}

// tree gives every file of the server's disk.
func (l *lab) tree() map[string]string {
	l.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(l.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, relErr := filepath.Rel(l.root, path)
		files[filepath.ToSlash(name)] = string(data)
		return errors.Join(err, relErr)
	})
	if err != nil {
		l.t.Fatal(err)
	}
	for name := range files {
		if strings.HasSuffix(name, ".json") {
			delete(files, name) // states of the stand-ins
		}
	}
	return files
}

func (l *lab) wantTree(want map[string]string) {
	l.t.Helper()
	got := l.tree()
	for name, text := range want {
		if now, ok := got[name]; !ok {
			l.t.Errorf("%s is gone", name)
		} else if now != text {
			l.t.Errorf("%s is not as it was:\n%s", name, now)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			l.t.Errorf("%s is left behind", name)
		}
	}
}

func (l *lab) file(name string) string { return filepath.Join(l.root, filepath.FromSlash(name)) }

func (l *lab) put(name, text string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(l.file(name)), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.file(name), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func TestAllContentComesAndGoes(t *testing.T) {
	tests := map[string]struct {
		prepare func(*lab)
		// caseOfNames is whether the case tells upper from lower case in names of files.
		caseOfNames bool
		wanted      []Mitigation
		want        map[string][]string // what each file then holds
		wantNot     map[string][]string
	}{
		"at a site": {
			wanted: []Mitigation{mitigation("M1", 1, whole("M1.1", site))},
			want: map[string][]string{iistree.ConfigFile: {`<rule name="EMS M1.1 in">`, `<rule name="EMS M1.1 out" preCondition="EMS M1.1 is html">`,
				`customTags="EMS M1.1 more"`, `<preCondition name="EMS M1.1 is html">`, `<tags name="EMS M1.1 more">`, `<rewriteMap name="blocked">`, `<add name="HTTP_X_EMS" />`}},
		},
		"at the server": {
			wanted: []Mitigation{mitigation("M1", 1, forServer("M1.1"))},
			want:   map[string][]string{iistree.ConfigFile: {`<globalRules>`, `<rule name="EMS M1.1 everywhere" stopProcessing="true">`}},
		},
		"at several levels, of several mitigations with several actions": {
			prepare: func(l *lab) { l.put("inetpub/wwwroot/owa/default.aspx", "") },
			wanted: []Mitigation{mitigation("M1", 1, whole("M1.1", site), forServer("M1.2"), pool("M1.3", owaPool)),
				mitigation("M2", 1, rewrite("M2.1", "b"), whole("M2.2", backEnd), forServer("M2.3")),
				inWebConfig(mitigation("M3", 1, rewriteAt("M3.1", site+"/owa", "c")))},
			want: map[string][]string{iistree.ConfigFile: {"EMS M1.1 in", "EMS M1.2 everywhere", "EMS M2.1 block", "EMS M2.2 out", "EMS M2.3 everywhere"},
				"inetpub/wwwroot/owa/web.config": {"EMS M3.1 block"}},
		},
		"in the web.config of a site, with server variables in applicationHost.config": {
			wanted:  []Mitigation{inWebConfig(mitigation("M1", 1, whole("M1.1", site)))},
			want:    map[string][]string{webConfig: {"EMS M1.1 in", "EMS M1.1 out", `<rewriteMap name="blocked">`}, iistree.ConfigFile: {`<add name="HTTP_X_EMS" />`}},
			wantNot: map[string][]string{webConfig: {"HTTP_X_EMS\" />\n"}, iistree.ConfigFile: {"EMS M1.1"}},
		},
		"in a web.config that has to be made": {
			prepare: func(l *lab) { l.put("inetpub/wwwroot/owa/default.aspx", "") },
			wanted:  []Mitigation{inWebConfig(mitigation("M1", 1, rewriteAt("M1.1", site+"/owa", "a")))},
			want:    map[string][]string{"inetpub/wwwroot/owa/web.config": {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<configuration>\r\n", "EMS M1.1 block"}},
		},
		"in the file that a configSource names": {
			caseOfNames: true,
			prepare: func(l *lab) {
				l.put(webConfig, "<configuration>\n  <system.webServer>\n    <rewrite>\n      <rules configSource=\"cfg\\Rules.config\"/>\n    </rewrite>\n  </system.webServer>\n</configuration>\n")
				l.put("inetpub/wwwroot/cfg/rules.config", "<rules>\n  <rule name=\"theirs\"><match url=\"x\"/></rule>\n</rules>")
			},
			wanted:  []Mitigation{inWebConfig(mitigation("M1", 1, whole("M1.1", site)))},
			want:    map[string][]string{"inetpub/wwwroot/cfg/rules.config": {"<rules>\n  <rule name=\"EMS M1.1 in\">"}, webConfig: {"EMS M1.1 out"}},
			wantNot: map[string][]string{webConfig: {"EMS M1.1 in"}},
		},
		"with a server variable that is allowed already": {
			prepare: func(l *lab) {
				l.edit("        <httpProtocol>", "        <rewrite><allowedServerVariables><add name=\"http_x_ems\" /></allowedServerVariables></rewrite>\n        <httpProtocol>")
			},
			wanted:  []Mitigation{mitigation("M1", 1, whole("M1.1", site)), mitigation("M2", 1, whole("M2.1", backEnd))},
			want:    map[string][]string{iistree.ConfigFile: {"EMS M1.1 in", "EMS M2.1 in"}},
			wantNot: map[string][]string{iistree.ConfigFile: {"HTTP_X_EMS\" />"}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.caseOfNames && runtime.GOOS == "windows" {
				t.Skip("names that differ in case alone are one file here")
			}
			l := newLab(t, iistree.Options{CRLF: true})
			if tc.prepare != nil {
				tc.prepare(l)
			}
			before := l.tree()
			for _, o := range l.reconcile(tc.wanted...) {
				l.wantState(o, Applied, "", true)
			}
			applied := l.tree()
			for file, texts := range tc.want {
				for _, text := range texts {
					if strings.Count(applied[file], text) != 1 {
						t.Errorf("%q stands %d times in %s:\n%s", text, strings.Count(applied[file], text), file, applied[file])
					}
				}
			}
			for file, texts := range tc.wantNot {
				for _, text := range texts {
					if strings.Contains(applied[file], text) {
						t.Errorf("%q stands in %s", text, file)
					}
				}
			}
			l.open()
			for _, o := range l.reconcile(tc.wanted...) {
				l.wantState(o, Applied, "", false)
			}
			l.wantTree(applied)
			for _, o := range l.reconcile() {
				l.wantState(o, Removed, "", true)
			}
			l.wantTree(before)
			l.wantNothingRecorded()
		})
	}
}

func rewriteAt(id, target, url string) Action {
	a := rewrite(id, url)
	a.Site = target
	return a
}

func TestAMitigationMovesBetweenFiles(t *testing.T) {
	l := newLab(t, iistree.Options{})
	before := l.tree()
	m := mitigation("M1", 1, whole("M1.1", site))
	l.reconcile(m)
	here := l.tree()
	l.wantState(l.reconcile(inWebConfig(m))["M1"], Applied, "", true)
	there := l.tree()
	if strings.Contains(there[iistree.ConfigFile], "EMS M1.1") || !strings.Contains(there[webConfig], "EMS M1.1 in") {
		t.Errorf("the rule did not move:\n%s", there[webConfig])
	}
	l.reconcile(m)
	l.wantTree(here)
	l.reconcile(inWebConfig(m))
	l.reconcile()
	l.wantTree(before)
}

func TestWebConfigIsRefused(t *testing.T) {
	const owa = `physicalPath="%SystemDrive%\inetpub\wwwroot\owa"`
	tests := map[string]struct {
		prepare    func(*lab)
		target     string
		wantReason string
		wantText   string
	}{
		"a site that is not there":        {target: "Intranet", wantReason: SiteNotFound},
		"a folder that is not there":      {target: site + "/owa", wantReason: WebConfigUnavailable, wantText: "does not exist"},
		"a folder on a share":             {prepare: func(l *lab) { l.edit(owa, `physicalPath="\\files\owa"`) }, target: site + "/owa", wantReason: WebConfigUnavailable, wantText: "share"},
		"an unknown environment variable": {prepare: func(l *lab) { l.edit(owa, `physicalPath="%NoSuchPlace%\owa"`) }, target: site + "/owa", wantReason: WebConfigUnavailable, wantText: "NoSuchPlace"},
		"a path that is not absolute":     {prepare: func(l *lab) { l.edit(owa, `physicalPath="owa"`) }, target: site + "/owa", wantReason: WebConfigUnavailable, wantText: "absolute"},
		"a folder whose web.config is unread": {prepare: func(l *lab) {
			l.edit(`<virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" />`, `<virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" allowSubDirConfig="false" />`)
			l.put("inetpub/wwwroot/files/x", "")
		}, target: site + "/files", wantReason: WebConfigUnavailable, wantText: "allowSubDirConfig"},
		"a link in place of the file": {prepare: func(l *lab) {
			l.put("secret", "<configuration/>")
			_ = os.Remove(l.file(webConfig))
			if err := os.Symlink(l.file("secret"), l.file(webConfig)); err != nil {
				l.t.Skip("no right to make links: ", err)
			}
			if info, err := os.Lstat(l.file(webConfig)); err != nil || info.Mode()&os.ModeSymlink == 0 {
				l.t.Skipf("links of this system do not look like any, as those of Wine: %v, %v", info, err)
			}
		}, wantReason: WebConfigUnavailable, wantText: "regular"},
		"a malformed web.config": {prepare: func(l *lab) { l.put(webConfig, "<configuration>\n<a></configuration>") }, wantReason: ConfigurationMalformed, wantText: "line 2"},
		"a web.config in UTF-16": {prepare: func(l *lab) { l.put(webConfig, "\xFF\xFE<\x00c\x00") }, wantReason: ConfigurationMalformed, wantText: "UTF-16"},
		"a section that is locked by default": {prepare: func(l *lab) {
			l.edit(`<section name="rules" overrideModeDefault="Allow" />`, `<section name="rules" overrideModeDefault="Deny" />`)
		},
			wantReason: SectionLocked, wantText: "overrideModeDefault"},
		"a section that a location locks": {prepare: func(l *lab) {
			l.edit(`    <location path="Default Web Site">`, `    <location path="Default Web Site" overrideMode="Deny"><system.webServer><rewrite><rules /></rewrite></system.webServer></location>`+"\n"+`    <location path="Default Web Site">`)
		}, wantReason: SectionLocked, wantText: "location"},
		"a section that the web.config above locks": {prepare: func(l *lab) {
			l.put("inetpub/wwwroot/owa/x", "")
			l.put(webConfig, `<configuration><system.webServer><rewrite><rules lockElements="rule" /></rewrite></system.webServer></configuration>`)
		}, target: site + "/owa", wantReason: SectionLocked, wantText: "web.config"},
		"a rule of that name in the file": {prepare: func(l *lab) {
			l.put(webConfig, `<configuration><system.webServer><rewrite><rules><rule name="ems m1.1 BLOCK" /></rules></rewrite></system.webServer></configuration>`)
		}, wantReason: NameCollision, wantText: "web.config"},
		"a rule of that name in the web.config above": {prepare: func(l *lab) {
			l.put("inetpub/wwwroot/owa/x", "")
			l.put(webConfig, `<configuration><system.webServer><rewrite><rules><rule name="EMS M1.1 block" /></rules></rewrite></system.webServer></configuration>`)
		}, target: site + "/owa", wantReason: NameCollision, wantText: "web.config"},
		"a rule of that name in the web.config below": {prepare: func(l *lab) {
			l.put("inetpub/wwwroot/owa/web.config", `<configuration><system.webServer><rewrite><rules><rule name="EMS M1.1 block" /></rules></rewrite></system.webServer></configuration>`)
		}, wantReason: NameCollision, wantText: "owa"},
		"a rule of that name in applicationHost.config": {prepare: func(l *lab) {
			l.edit("        <httpProtocol>", "        <rewrite><rules><rule name=\"EMS M1.1 block\" /></rules></rewrite>\n        <httpProtocol>")
		}, wantReason: NameCollision},
		"a configSource outside of the folder": {prepare: func(l *lab) {
			l.put(webConfig, `<configuration><system.webServer><rewrite><rules configSource="..\..\rules.config" /></rewrite></system.webServer></configuration>`)
		}, wantReason: SectionLocked, wantText: "outside"},
		"a configSource that is not there": {prepare: func(l *lab) {
			l.put(webConfig, `<configuration><system.webServer><rewrite><rules configSource="rules.config" /></rewrite></system.webServer></configuration>`)
		}, wantReason: SectionLocked, wantText: "no such file"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			if tc.prepare != nil {
				tc.prepare(l)
			}
			before := l.tree()
			if tc.target == "" {
				tc.target = site
			}
			out := l.reconcile(inWebConfig(mitigation("M1", 1, rewriteAt("M1.1", tc.target, "a"))), mitigation("M2", 1, rewriteAt("M2.1", backEnd, "b")))
			l.wantState(out["M1"], Failed, tc.wantReason, false)
			l.wantState(out["M2"], Applied, "", true)
			if !strings.Contains(out["M1"].Message, tc.wantText) {
				t.Errorf("message %q does not say %q", out["M1"].Message, tc.wantText)
			}
			l.reconcile()
			l.wantTree(before)
		})
	}
}

func TestARuleOfThatNameInAWebConfigIsACollisionForALocationToo(t *testing.T) {
	l := newLab(t, iistree.Options{})
	l.put(webConfig, `<configuration><system.webServer><rewrite><rules><rule name="EMS M1.1 block" /></rules></rewrite></system.webServer></configuration>`)
	l.wantState(l.reconcile(mitigation("M1", 1, rewrite("M1.1", "a")))["M1"], Failed, NameCollision, false)
	l.wantOriginal()
}

func TestNamesOfOthersAreRespected(t *testing.T) {
	l := newLab(t, iistree.Options{})
	l.edit("        <httpProtocol>", `        <rewrite><outboundRules><preConditions><preCondition name="is html" /></preConditions></outboundRules></rewrite>`+"\n        <httpProtocol>")
	l.original = l.read()
	l.wantState(l.reconcile(mitigation("M1", 1, whole("M1.1", site)))["M1"], Applied, "", true) // its own is renamed
	out := l.reconcile(mitigation("M1", 1, whole("M1.1", site)), mitigation("M2", 1, whole("M2.1", site)))
	l.wantState(out["M1"], Applied, "", false)
	l.wantState(out["M2"], Failed, NameCollision, false) // maps are not
	if !strings.Contains(out["M2"].Message, `"blocked"`) {
		t.Errorf("message %q", out["M2"].Message)
	}
	l.reconcile()
	l.wantOriginal()
	l.edit("<rewrite><outboundRules>", `<rewrite><rewriteMaps><rewriteMap name="BLOCKED" /></rewriteMaps><outboundRules>`)
	l.wantState(l.reconcile(mitigation("M1", 1, whole("M1.1", site)))["M1"], Failed, NameCollision, false)
}

func TestAServerVariableThatNobodyAllowsIsRefused(t *testing.T) {
	l := newLab(t, iistree.Options{})
	a := whole("M1.1", site)
	a.Rewrite = bytes.Replace(a.Rewrite, []byte(`<add name="HTTP_X_EMS"/>`), []byte(`<add name="HTTP_OTHER"/>`), 1)
	out := l.reconcile(mitigation("M1", 1, a))["M1"]
	l.wantState(out, Failed, UnsupportedContent, false)
	if !strings.Contains(out.Message, "HTTP_X_EMS") {
		t.Errorf("message %q", out.Message)
	}
}

func TestSectionsThatAServerDoesNotDeclareAreRefused(t *testing.T) {
	for _, section := range []string{"outboundRules", "rewriteMaps", "allowedServerVariables", "globalRules"} {
		t.Run(section, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			l.edit(`<section name="`+section+`"`, `<section name="other"`)
			out := l.reconcile(mitigation("M1", 1, whole("M1.1", site), forServer("M1.2")), mitigation("M2", 1, rewrite("M2.1", "a")))
			l.wantState(out["M1"], Failed, RewriteSectionMissing, false)
			if !strings.Contains(out["M1"].Message, section) {
				t.Errorf("message %q does not name the section", out["M1"].Message)
			}
			l.wantState(out["M2"], Applied, "", true)
		})
	}
}

func TestOneFileThatFailsLeavesTheOthersToWork(t *testing.T) {
	web := inWebConfig(mitigation("M1", 1, rewrite("M1.1", "a")))
	both := inWebConfig(mitigation("M3", 1, whole("M3.1", site)))
	host := mitigation("M2", 1, rewrite("M2.1", "b"))
	t.Run("while installing", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		before := l.tree()
		l.fs = &failingFS{FS: quickFS{}, suffix: "web.config", writeErr: syscall.ENOSPC}
		l.open()
		out := l.reconcile(web, host, both)
		l.wantState(out["M1"], Failed, ConfigurationWriteFailed, false)
		l.wantState(out["M3"], Failed, ConfigurationWriteFailed, false)
		l.wantState(out["M2"], Applied, "", true)
		l.wantApplied("M2/1")
		l.wantInFile("HTTP_X_EMS", 0)
		l.fs = quickFS{}
		l.open()
		for _, o := range l.reconcile(web, host, both) {
			l.wantState(o, Applied, "", o.ID != "M2")
		}
		l.reconcile()
		l.wantTree(before)
	})
	t.Run("while removing", func(t *testing.T) {
		l := newLab(t, iistree.Options{})
		before := l.tree()
		l.reconcile(web, host, both)
		applied := l.tree()[webConfig]
		l.put(webConfig, strings.Replace(applied, "</configuration>", "", 1))
		for range 2 {
			out := l.reconcile()
			l.wantState(out["M1"], Failed, ConfigurationMalformed, false)
			l.wantState(out["M3"], Failed, ConfigurationMalformed, false)
			if o, ok := out["M2"]; ok {
				l.wantState(o, Removed, "", true)
			}
			l.wantApplied("M1/1", "M3/1")
			l.wantInFile("HTTP_X_EMS", 1) // one unit: nothing of M3 went
		}
		l.put(webConfig, applied)
		l.reconcile()
		l.wantTree(before)
	})
}

func TestAWebConfigThatWasMadeStaysWhenOthersUseIt(t *testing.T) {
	l := newLab(t, iistree.Options{})
	l.put("inetpub/wwwroot/owa/x", "")
	m := inWebConfig(mitigation("M1", 1, rewriteAt("M1.1", site+"/owa", "a")))
	l.reconcile(m)
	name := "inetpub/wwwroot/owa/web.config"
	l.put(name, strings.Replace(l.tree()[name], "</configuration>", "  <appSettings />\r\n</configuration>", 1))
	l.reconcile()
	if got := l.tree()[name]; strings.Contains(got, "EMS") || !strings.Contains(got, "<appSettings />") {
		t.Errorf("web.config is\n%s", got)
	}
	l.reconcile(m)
	if err := os.Remove(l.file(name)); err != nil {
		t.Fatal(err)
	}
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	l.reconcile()
	if _, ok := l.tree()[name]; ok {
		t.Error("the web.config is left behind")
	}
}

func TestADamagedRecordOfAWebConfigIsSurvived(t *testing.T) {
	l := newLab(t, iistree.Options{})
	m := inWebConfig(mitigation("M1", 1, whole("M1.1", site)))
	l.reconcile(m)
	applied := l.tree()
	entries, err := filepath.Glob(filepath.Join(l.state, "journal", "file-web.config-*.json"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("records %v, error %v", entries, err)
	}
	if err := os.WriteFile(entries[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.reconcile(m)
	l.wantTree(applied)
	l.reconcile()
	for name, text := range l.tree() {
		if strings.Contains(text, "EMS") || strings.Contains(text, "blocked") {
			t.Errorf("%s still has something of ours:\n%s", name, text)
		}
	}
	if f, err := l.server.Facts(); err != nil || slices.ContainsFunc(f.Damaged, func(s string) bool { return strings.HasPrefix(s, "file") }) {
		t.Errorf("damaged %v, error %v", f.Damaged, err)
	}
}
