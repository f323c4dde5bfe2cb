package iis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/test/iistree"
)

const clearing = "<configuration>\n<system.webServer>\n<rewrite><rules><clear /></rules></rewrite>\n</system.webServer>\n</configuration>"

// verdicts gives what Effective says, by id.
func (l *lab) verdicts() map[string]effective.Verdict {
	l.t.Helper()
	list, err := l.server.Effective()
	if err != nil {
		l.t.Fatal(err)
	}
	byID := map[string]effective.Verdict{}
	for _, v := range list {
		byID[v.ID] = v
	}
	return byID
}

func (l *lab) wantVerdict(status effective.Status, reason, message string) {
	l.t.Helper()
	v, ok := l.verdicts()["M1"]
	if !ok || v.Status != status || v.Reason != reason || !strings.Contains(v.Message, message) {
		l.t.Errorf("verdict %+v, want %s %s %q", v, status, reason, message)
	}
}

func TestAWebConfigThatClearsIsSeen(t *testing.T) {
	l := newLab(t, iistree.Options{})
	m := mitigation("M1", 1, rewrite("M1.1", ".*"))
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	l.wantVerdict(effective.True, effective.InEffect, "")
	before, err := os.ReadFile(l.file(webConfig))
	if err != nil {
		t.Fatal(err)
	}

	l.put(webConfig, clearing)
	l.wantState(l.reconcile(m)["M1"], Applied, "", false)
	l.wantVerdict(effective.False, effective.Cleared, filepath.FromSlash(webConfig)+", line 3: <clear>")

	l.put(webConfig, string(before))
	l.wantVerdict(effective.True, effective.InEffect, "")

	l.reconcile()
	if got := l.verdicts(); len(got) != 0 {
		t.Errorf("verdicts on nothing: %v", got)
	}
}

func TestVerdictsOnWhatIsApplied(t *testing.T) {
	tests := map[string]struct {
		mitigation Mitigation
		change     func(*lab)
		switches   effective.Registry
		wantStatus effective.Status
		wantReason string
	}{
		"a rule in the web.config":            {mitigation: inWebConfig(mitigation("M1", 1, rewrite("M1.1", "a"))), wantStatus: effective.True, wantReason: effective.InEffect},
		"every kind of content":               {mitigation: mitigation("M1", 1, whole("M1.1", site)), wantStatus: effective.True, wantReason: effective.InEffect},
		"a mitigation that only switches off": {mitigation: mitigation("M1", 1, pool("M1.1", owaPool))},
		"the module is taken away by an application": {mitigation: mitigation("M1", 1, rewrite("M1.1", "a")), change: func(l *lab) {
			l.put("inetpub/wwwroot/owa/web.config", `<configuration><system.webServer><modules><remove name="RewriteModule"/></modules></system.webServer></configuration>`)
		}, wantStatus: effective.False, wantReason: effective.RewriteModuleMissing},
		"the rule is changed between two passes": {mitigation: mitigation("M1", 1, rewrite("M1.1", "a")), change: func(l *lab) { l.edit("EMS M1.1 block", "EMS M1.1 open") }, wantStatus: effective.False, wantReason: effective.Missing},
		"the site moves to a share":              {mitigation: mitigation("M1", 1, rewrite("M1.1", "a")), change: func(l *lab) { l.edit(`physicalPath="%SystemDrive%\inetpub\wwwroot"`, `physicalPath="\\files\share"`) }, wantStatus: effective.Unknown, wantReason: effective.ConfigurationUnreadable},
		"the web.config is a folder":             {mitigation: mitigation("M1", 1, rewrite("M1.1", "a")), change: func(l *lab) { _ = os.MkdirAll(l.file("inetpub/wwwroot/owa/web.config"), 0o755) }, wantStatus: effective.Unknown, wantReason: effective.ConfigurationUnreadable},
		"inbound rules are switched off":         {mitigation: mitigation("M1", 1, rewrite("M1.1", "a")), switches: effective.Registry{Inbound: effective.SwitchOff}, wantStatus: effective.False, wantReason: effective.RewriteSwitchedOff},
		"a configSource leads out of the folder": {mitigation: mitigation("M1", 1, rewrite("M1.1", "a")), change: func(l *lab) {
			l.put("inetpub/wwwroot/owa/web.config", `<configuration><system.webServer><rewrite><rules configSource="..\x"/></rewrite></system.webServer></configuration>`)
		}, wantStatus: effective.Unknown, wantReason: effective.ConfigurationUnreadable},
		"a configSource is followed": {mitigation: mitigation("M1", 1, rewrite("M1.1", "a")), change: func(l *lab) {
			l.put("inetpub/wwwroot/owa/web.config", `<configuration><system.webServer><rewrite><rules configSource="Cfg\X.config"/></rewrite></system.webServer></configuration>`)
			l.put("inetpub/wwwroot/owa/cfg/x.config", `<rules><clear/></rules>`)
		}, wantStatus: effective.False, wantReason: effective.Cleared},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			l.server.switches = func() effective.Registry { return tc.switches }
			l.wantState(l.reconcile(tc.mitigation)["M1"], Applied, "", true)
			if tc.change != nil {
				tc.change(l)
			}
			l.wantVerdict(tc.wantStatus, tc.wantReason, "")
		})
	}
}

func TestVerdictsReadNoFileThatHasNotChanged(t *testing.T) {
	l := newLab(t, iistree.Options{})
	counter := &readCounter{FS: quickFS{}}
	l.fs = counter
	l.open()
	l.put("inetpub/wwwroot/owa/web.config", clearing)
	l.reconcile(mitigation("M1", 1, rewrite("M1.1", ".*")))
	l.rest()
	l.verdicts()
	counter.reads = nil
	l.wantVerdict(effective.False, effective.Cleared, "owa")
	if len(counter.reads) > 0 {
		t.Errorf("read %v", counter.reads)
	}
	l.put("inetpub/wwwroot/owa/web.config", "<configuration />")
	l.wantVerdict(effective.True, effective.InEffect, "")
	if len(counter.reads) != 1 || counter.reads[0] != "web.config" {
		t.Errorf("read %v, want the one that changed", counter.reads)
	}
	if err := os.Remove(l.file("inetpub/wwwroot/owa/web.config")); err != nil {
		t.Fatal(err)
	}
	l.wantVerdict(effective.True, effective.InEffect, "")
}

func TestLookAlikesAreReportedAndLeftAlone(t *testing.T) {
	l := newLab(t, iistree.Options{})
	foreign := `<configuration><system.webServer><rewrite><rules><rule name="EEMS M1.1 PowerShell - inbound" stopProcessing="true"><match url="probe" /><action type="AbortRequest" /></rule></rules></rewrite></system.webServer></configuration>`
	l.put(webConfig, foreign)
	l.reconcile(mitigation("M1", 1, rewrite("M1.1", "probe")))
	got := l.verdicts()["M1"].LookAlikes
	if len(got) != 1 || got[0].Name != "EEMS M1.1 PowerShell - inbound" || got[0].Path != site || got[0].Like != "EMS M1.1 block" || got[0].File != l.file(webConfig) {
		t.Errorf("look-alikes %+v", got)
	}
	l.reconcile()
	if data, err := os.ReadFile(l.file(webConfig)); err != nil || string(data) != foreign {
		t.Errorf("the file of others was changed: %s, %v", data, err)
	}
}
