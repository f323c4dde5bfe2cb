package iis

import (
	"slices"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/samples"
	urlrewrite "mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/iistree"
)

func blocked(url string) samples.Sample {
	return samples.Sample{Number: 1, Expect: samples.Blocked, URL: url}
}

func passed(url string) samples.Sample {
	return samples.Sample{Number: 2, Expect: samples.Passed, URL: url}
}

func withSamples(m Mitigation, list ...samples.Sample) Mitigation {
	m.Samples = list
	return m
}

// rules is a web.config with foreign rules.
func rules(text string) string {
	return "<configuration>\n<system.webServer>\n<rewrite><rules>" + text + "</rules></rewrite>\n</system.webServer>\n</configuration>"
}

const (
	letThrough  = `<rule name="Open" stopProcessing="true"><match url=".*" /><action type="None" /></rule>`
	letOneShare = `<rule name="Share" stopProcessing="true"><match url="share" /><action type="None" /></rule>`
	denyAll     = `<rule name="Deny" stopProcessing="true"><match url=".*" /><action type="AbortRequest" /></rule>`
)

func TestAMitigationIsAppliedOnlyIfItsSamplesComeOutWell(t *testing.T) {
	everywhere := Action{ID: "M1.1", Type: ActionUrlRewrite, Scope: ScopeServer, Rewrite: []byte(
		`<rewrite><globalRules><rule name="block" stopProcessing="true"><match url="powershell"></match><action type="AbortRequest"></action></rule></globalRules></rewrite>`)}
	pool := passed("/health")
	pool.Pool, pool.Number = true, 1
	tests := map[string]struct {
		mitigation  Mitigation
		webConfig   string
		owa         string // web.config of /owa
		host        string // foreign rules of the site's location
		wantMessage []string
	}{
		"they do":                           {mitigation: withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/powershell"), passed("/owa/"))},
		"they do for the whole server":      {mitigation: withSamples(mitigation("M1", 1, everywhere), blocked("/powershell"), passed("/owa/"))},
		"they do in the web.config":         {mitigation: inWebConfig(withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/powershell"), passed("/owa/")))},
		"a rule of the site comes later":    {mitigation: withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/powershell")), webConfig: rules(letThrough)},
		"what must pass is blocked already": {mitigation: withSamples(mitigation("M1", 1, rewrite("M1.1", ".*")), passed("/owa/")), webConfig: rules(denyAll)},
		"a foreign configSource is not evaluated": {
			mitigation: withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/owa/other")), owa: "<configuration><system.webServer><rewrite><rules configSource=\"x.config\" /></rewrite></system.webServer></configuration>",
		},
		"it does not block what it must": {
			mitigation:  withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/autodiscover?a=1")),
			wantMessage: []string{`sample 1 (GET "/autodiscover?a=1") on site "Default Web Site": expected Blocked, got Passed`},
		},
		"it blocks what must pass": {
			mitigation:  withSamples(mitigation("M1", 1, rewrite("M1.1", ".*")), passed("/owa/")),
			wantMessage: []string{`sample 2 (GET "/owa/")`, `expected Passed, got Aborted by rule "EMS M1.1 block"`},
		},
		"it blocks what the pool needs": {
			mitigation:  withSamples(mitigation("M1", 1, rewrite("M1.1", ".*")), blocked("/x"), pool),
			wantMessage: []string{`the pool's mustPass request 1 (GET "/health")`},
		},
		"a web.config of a folder drops its rules": {
			mitigation: withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/owa/powershell")), owa: clearing,
			wantMessage: []string{`sample 1 (GET "/owa/powershell")`, "expected Blocked, got Passed"},
		},
		"a rule of applicationHost.config is in front of the web.config": {
			mitigation: inWebConfig(withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/powershell"))), host: letThrough,
			wantMessage: []string{`by rule "Open" of`, "applicationHost.config, location Default Web Site"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			if tc.webConfig != "" {
				l.put(webConfig, tc.webConfig)
			}
			if tc.owa != "" {
				l.put("inetpub/wwwroot/owa/web.config", tc.owa)
			}
			if tc.host != "" {
				l.edit("</configuration>", `<location path="Default Web Site"><system.webServer><rewrite><rules>`+tc.host+"</rules></rewrite></system.webServer></location></configuration>")
			}
			before := l.tree()
			o := l.reconcile(tc.mitigation)["M1"]
			if tc.wantMessage == nil {
				l.wantState(o, Applied, "", true)
				return
			}
			l.wantState(o, Failed, SamplesFailed, false)
			for _, want := range tc.wantMessage {
				if !strings.Contains(o.Message, want) {
					t.Errorf("message %q does not say %q", o.Message, want)
				}
			}
			l.wantTree(before)
			l.wantApplied()
		})
	}
}

func TestARevisionWithBadSamplesLeavesTheEarlierOne(t *testing.T) {
	l := newLab(t, iistree.Options{})
	good := withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/powershell"), passed("/owa/"))
	other := withSamples(mitigation("M2", 1, rewrite("M2.1", "probe")), blocked("/probe"))
	l.reconcile(good)
	bad := withSamples(mitigation("M1", 2, rewrite("M1.1", "p|o")), blocked("/powershell"), passed("/owa/"))
	got := l.reconcile(bad, other)
	l.wantState(got["M1"], Failed, SamplesFailed, false)
	if want := "revision 2 cannot be installed and revision 1 stays"; !strings.Contains(got["M1"].Message, want) {
		t.Errorf("message %q does not say %q", got["M1"].Message, want)
	}
	l.wantState(got["M2"], Applied, "", true)
	l.wantApplied("M1/1", "M2/1")

	l.reconcile(withSamples(mitigation("M1", 3, rewrite("M1.1", "powershell")), blocked("/powershell")), other)
	l.wantApplied("M1/3", "M2/1")
}

func TestAMitigationInPlaceStaysWhateverItsSamplesSay(t *testing.T) {
	l := newLab(t, iistree.Options{})
	m := withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/powershell"))
	l.reconcile(m)
	content := l.read()

	pool := passed("/powershell/healthcheck.htm")
	pool.Pool, pool.Number = true, 1
	m.Samples = append(m.Samples, pool)
	l.wantState(l.reconcile(m)["M1"], Applied, "", false)
	l.wantVerdict(effective.True, effective.InEffect, "")
	if harm := l.verdicts()["M1"].Harm; !strings.Contains(harm, `the pool's mustPass request 1 (GET "/powershell/healthcheck.htm")`) {
		t.Errorf("harm = %q, want the request of the pool", harm)
	}
	if !slices.Equal(content, l.read()) {
		t.Error("the configuration was written")
	}

	m.Samples = m.Samples[:1]
	l.reconcile(m)
	if harm := l.verdicts()["M1"].Harm; harm != "" {
		t.Errorf("harm = %q after the pool took its request back", harm)
	}
}

func TestSamplesCompleteTheVerdict(t *testing.T) {
	block := rewrite("M1.1", "powershell")
	tests := map[string]struct {
		samples    []samples.Sample
		change     func(*lab)
		wantStatus effective.Status
		wantReason string
	}{
		"no samples, a rule in front of some requests":      {change: frontRule, wantStatus: effective.Unknown, wantReason: effective.MayBeShadowed},
		"every sample is blocked by the rule, one in front": {samples: []samples.Sample{blocked("/powershell")}, change: frontRule, wantStatus: effective.True, wantReason: effective.InEffect},
		"a sample goes past through the rule in front":      {samples: []samples.Sample{blocked("/powershell/share")}, change: frontRule, wantStatus: effective.False, wantReason: effective.SampleNotBlocked},
		"a sample that must pass proves nothing":            {samples: []samples.Sample{passed("/owa")}, change: frontRule, wantStatus: effective.Unknown, wantReason: effective.MayBeShadowed},
		"what the configuration says for certain stays":     {samples: []samples.Sample{blocked("/powershell")}, change: func(l *lab) { l.put(webConfig, clearing) }, wantStatus: effective.False, wantReason: effective.Cleared},
		"a web.config on the way of the sample is not evaluated": {samples: []samples.Sample{blocked("/plain/other")}, change: func(l *lab) {
			l.put("inetpub/wwwroot/plain/web.config", strings.Replace(rules(""), "<rules>", `<rules configSource="x.config">`, 1))
		}, wantStatus: effective.Unknown, wantReason: effective.SampleUndecided},
		"a plain folder on the way of the sample clears": {samples: []samples.Sample{blocked("/plain/powershell")}, change: func(l *lab) { l.put("inetpub/wwwroot/plain/web.config", clearing) }, wantStatus: effective.False, wantReason: effective.SampleNotBlocked},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{})
			m := mitigation("M1", 1, block)
			l.wantState(l.reconcile(m)["M1"], Applied, "", true)
			tc.change(l)
			m.Samples = tc.samples
			l.wantState(l.reconcile(m)["M1"], Applied, "", false)
			for range 2 { // the second time from memory
				l.wantVerdict(tc.wantStatus, tc.wantReason, "")
			}
		})
	}
}

// frontRule puts a rule in front for the whole server.
func frontRule(l *lab) {
	l.edit("</configuration>", `<location path=""><system.webServer><rewrite><rules>`+letOneShare+"</rules></rewrite></system.webServer></location></configuration>")
}

func TestSamplesAreNotEvaluatedAgainWhileNothingChanges(t *testing.T) {
	l := newLab(t, iistree.Options{})
	counter := &readCounter{FS: quickFS{}}
	l.fs = counter
	l.open()
	m := withSamples(mitigation("M1", 1, rewrite("M1.1", "powershell")), blocked("/powershell"), passed("/plain/owa"))
	bad := withSamples(mitigation("M2", 1, rewrite("M2.1", ".*")), passed("/owa/"))
	l.reconcile(m, bad)
	l.rest()
	l.reconcile(m, bad)
	l.verdicts()
	counter.reads = nil
	known := l.server.sampled
	l.wantState(l.reconcile(m, bad)["M2"], Failed, SamplesFailed, false)
	l.wantVerdict(effective.True, effective.InEffect, "")
	if len(counter.reads) > 0 || known == nil || l.server.sampled != known {
		t.Errorf("read %v, evaluated again: %v", counter.reads, l.server.sampled != known)
	}

	// A folder that was not there has a say as soon as it is.
	l.put("inetpub/wwwroot/plain/web.config", rules(denyAll))
	l.verdicts()
	if l.server.sampled == known {
		t.Error("a new web.config on the way of a sample was not noticed")
	}
}

func TestFoldersOf(t *testing.T) {
	tests := map[string]struct {
		urls []string
		want []string
	}{
		"the root":                  {urls: []string{"/", "//"}, want: []string{""}},
		"each folder once":          {urls: []string{"/owa/auth/x.js?/not/this", "/OWA/b"}, want: []string{"", "owa", "owa/auth", "owa/auth/x.js", "OWA/b"}},
		"escapes and ways up":       {urls: []string{"/a%20b/../../c%5cd"}, want: []string{"", "c", "c/d"}},
		"an escape that is none":    {urls: []string{"/a%zz"}, want: []string{"", "a%zz"}},
		"a name that no folder has": {urls: []string{"/a/b:c/d"}, want: []string{"", "a"}},
		"no more than can be nested": {urls: []string{strings.Repeat("/a", maxSampleDepth+5)}, want: func() []string {
			list := []string{""}
			for i := range maxSampleDepth {
				list = append(list, strings.TrimPrefix(strings.Repeat("/a", i+1), "/"))
			}
			return list
		}()},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := foldersOf(tc.urls); !slices.Equal(got, tc.want) {
				t.Errorf("foldersOf(%q) = %q, want %q", tc.urls, got, tc.want)
			}
		})
	}
}

func TestAnExcerptHasWhatMattersInItsLine(t *testing.T) {
	const web = "<system.webServer>\n<rewrite><rules/></rewrite></system.webServer>"
	text := "\uFEFF<?xml version=\"1.0\"?>\n<configuration>\n<configSections/>\n" + web + "\n<system.webServer><handlers/></system.webServer>\n" +
		"<location path=\"A\">\n" + web + "</location>\n<location path=\"other\">" + web + "</location>\n<location path=\"a/owa\">" + web + "</location>\n" +
		"<location path=\"a/plain\"/>\n<location>" + web + "</location>\n</configuration>\n"
	config, err := apphost.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	got := string(excerpt(config, "a"))
	for _, mark := range []string{"<location path=\"A\">", "<location path=\"a/owa\">", "<location>", "<system.webServer>\n"} {
		line := func(s string) int { return strings.Count(s[:max(strings.Index(s, mark), 0)], "\n") }
		if !strings.Contains(got, mark) || line(got) != line(text) {
			t.Errorf("%q is in line %d of the excerpt and %d of the file:\n%s", mark, line(got), line(text), got)
		}
	}
	for _, gone := range []string{"other", "plain", "handlers", "configSections"} {
		if strings.Contains(got, gone) {
			t.Errorf("the excerpt has %q:\n%s", gone, got)
		}
	}
	if _, err := urlrewrite.ServerLevels("x", []byte(got), "a"); err != nil {
		t.Error(err)
	}
	empty, err := apphost.Parse([]byte("<configuration/>"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(excerpt(empty, "a")); got != "<configuration/>" {
		t.Errorf("excerpt of an empty file = %q", got)
	}
}
