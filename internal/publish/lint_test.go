package publish

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/ocs"
)

func TestLint(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*ocs.Config)
		want   []Level
		text   string
	}{
		"a reviewed mitigation":               {change: func(*ocs.Config) {}},
		"a rule of the format that is broken": {change: func(c *ocs.Config) { c.Severity = "Bad" }, want: []Level{Problem}, text: "severity"},
		"a pattern that IIS cannot read":      {change: func(c *ocs.Config) { c.Actions[0].Rewrite = rule("(", abort) }, want: []Level{Problem}, text: "pattern"},
		"an attack that passes":               {change: func(c *ocs.Config) { c.Samples[0].URL = "/e-v-i-l" }, want: []Level{Problem}, text: "expected to be blocked, but no rule stops it"},
		"a harmless request that is blocked":  {change: func(c *ocs.Config) { c.Samples[1].URL = "/medieval/evil" }, want: []Level{Problem}, text: `expected to pass, but rule "r" answers it with Aborted`},
		"no samples":                          {change: func(c *ocs.Config) { c.Samples = nil }, want: []Level{Warning, Warning}, text: "no sample that expects"},
		"no severity":                         {change: func(c *ocs.Config) { c.Severity = "" }, want: []Level{Warning}, text: "no severity"},
		"no CVE":                              {change: func(c *ocs.Config) { c.CVEs = nil }, want: []Level{Warning}, text: "no cves"},
		"no product":                          {change: func(c *ocs.Config) { c.Applicability = nil }, want: []Level{Warning}, text: "no applicability"},
		"a rule that only rewrites":           {change: func(c *ocs.Config) { c.Actions[0].Rewrite = rule("evil", `<action type="Rewrite" url="x"/>`) }, want: []Level{Problem}, text: "expected to be blocked, but no rule stops it"},
		"rules of a folder that is another":   {change: func(c *ocs.Config) { c.Actions[0].Target = "Default Web Site/owa" }, want: []Level{Problem}, text: "expected to be blocked, but no rule stops it"},
		"rules of a server":                   {change: func(c *ocs.Config) { c.Actions[0].Scope, c.Actions[0].Target = ocs.ScopeServer, "" }},
		"a back reference that IIS refuses":   {change: func(c *ocs.Config) { c.Actions[0].Rewrite = rule("evil", `<action type="Redirect" url="{R:99}"/>`) }, want: []Level{Problem, Problem, Problem}, text: "back references go up to 31"},
		"two actions with rules of the same name": {
			// The agent tells them apart.
			change: func(c *ocs.Config) {
				c.Actions = append(c.Actions, c.Actions[0])
				c.Actions[0].ID, c.Actions[1].ID = "a", "b"
			},
		},
		"a server variable without permission": {
			change: func(c *ocs.Config) {
				c.Actions[0].Rewrite = bytes.Replace(rule("evil", abort), []byte("<action"), []byte(`<serverVariables><set name="X" value="1"/></serverVariables><action`), 1)
			}, want: []Level{Warning, Problem}, text: `server variable "X" is not in allowedServerVariables`,
		},
		"what Microsoft does not document": {
			change: func(c *ocs.Config) {
				c.Actions[0].Rewrite = bytes.Replace(rule("^192", abort), []byte("{REQUEST_URI}"), []byte("{REMOTE_ADDR}"), 1)
			}, want: []Level{Unchecked, Unchecked}, text: "UnknownVariable",
		},
		"an application pool beside the rules": {
			// What is blocked is known all the same; what passes is not.
			change: func(c *ocs.Config) {
				c.Actions = append(c.Actions, ocs.Action{Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "P", Value: ocs.ValueStopped, Description: "d"})
			}, want: []Level{Unchecked}, text: "type AppPool",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := reviewed()
			tc.change(&config)
			findings := Lint([]Source{{File: "m.yaml", Config: config}})
			var levels []Level
			for _, f := range findings {
				levels = append(levels, f.Level)
				if f.File != "m.yaml" || f.Mitigation != "M9" || !strings.Contains(f.String(), tc.text) {
					t.Errorf("finding = %s, want it to contain %q", f, tc.text)
				}
			}
			if diff := cmp.Diff(tc.want, levels); diff != "" {
				t.Errorf("%s\n%v", diff, findings)
			}
			if Failed(findings) != slices.Contains(tc.want, Problem) {
				t.Errorf("failed = %t", Failed(findings))
			}
		})
	}
}

func TestLintFindsWhatConcernsSeveral(t *testing.T) {
	twin := reviewed()
	twin.ID = "M10"
	twin.Actions[0].ID = "X1"
	other := reviewed()
	other.Actions[0].ID = "x1"
	findings := Lint([]Source{{File: "a", Config: twin}, {File: "b", Config: other}})
	if len(findings) != 1 || findings[0].Level != Problem || findings[0].File != "" {
		t.Errorf("findings = %v, want one about the document", findings)
	}
}

func TestLintOfDocuments(t *testing.T) {
	signed := signedDocument(t, nil)
	unsigned, err := ocs.Build(ocs.Document{Configs: []ocs.Config{reviewed()}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		document   []byte
		wantFailed bool
	}{
		"a signed one":                        {document: signed},
		"one with a byte order mark":          {document: append([]byte("\uFEFF"), signed...)},
		"one without a signature":             {document: unsigned},
		"one with an entry that is refused":   {document: bytes.Replace(unsigned, []byte(`severity="Low"`), []byte(`severity="Bad"`), 1), wantFailed: true},
		"one whose rule does not do its work": {document: bytes.Replace(unsigned, []byte(`pattern="evil"`), []byte(`pattern="good"`), 1), wantFailed: true},
		"no document":                         {document: []byte("<html/>"), wantFailed: true},
	} {
		t.Run(name, func(t *testing.T) {
			findings := LintDocument("d.xml", tc.document)
			if Failed(findings) != tc.wantFailed || !tc.wantFailed && len(withoutCostOfM1(findings)) > 0 {
				t.Errorf("findings = %v", findings)
			}
		})
	}
}

func TestSamplesOfTheGuideAreGood(t *testing.T) {
	findings := LintDirectory("samples", os.DirFS(samplesFolder))
	// The rule is the one that Microsoft published.
	if len(findings) != 1 || len(withoutCostOfM1(findings)) > 0 {
		t.Errorf("findings = %v, want one about the cost of M1", findings)
	}
	if findings := LintDirectory("x", fstest.MapFS{}); !Failed(findings) {
		t.Errorf("an empty folder has findings %v", findings)
	}
}
