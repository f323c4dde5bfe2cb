package publish

import (
	"slices"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/ocs"
)

// withoutCostOfM1 leaves out the warning about the rule that the guide starts from.
func withoutCostOfM1(findings []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool {
		return f.Mitigation == "M1" && f.Level == Warning && strings.Contains(f.Message, "at most polynomial of degree 2")
	})
}

func TestLintTellsWhatPatternsCost(t *testing.T) {
	for name, tc := range map[string]struct {
		pattern     string
		acknowledge int
		want        []Level
		text        string
	}{
		"linear":                 {pattern: "evil"},
		"quadratic":              {pattern: "evil.*good", want: []Level{Warning}, text: "degree 2"},
		"cubic":                  {pattern: ".*evil.*good.*", want: []Level{Problem}, text: `acknowledgeCost="3"`},
		"cubic and acknowledged": {pattern: ".*evil.*good.*", acknowledge: 3, want: []Level{Warning}, text: "degree 3"},
		"exponential":            {pattern: "(e+)+vil", acknowledge: 9, want: []Level{Problem}, text: "exponential"},
	} {
		t.Run(name, func(t *testing.T) {
			config := reviewed()
			config.Actions[0].Rewrite, config.Actions[0].AcknowledgedCost = rule(tc.pattern, abort), tc.acknowledge
			config.Samples[0].URL = "/evil/good"
			findings := Lint([]Source{{File: "m.yaml", Config: config}})
			if len(findings) != len(tc.want) || len(findings) == 1 && (findings[0].Level != tc.want[0] || !strings.Contains(findings[0].Message, tc.text)) {
				t.Errorf("findings = %v, want %v about %q", findings, tc.want, tc.text)
			}
		})
	}
}

func TestLintTakesOldDocumentsAsServersDo(t *testing.T) {
	config := reviewed()
	config.Actions[0].Rewrite, config.Actions[0].AcknowledgedCost = rule(".*evil.*good.*", abort), 3
	config.Samples[0].URL = "/evil/good"
	document, err := ocs.Build(ocs.Document{Configs: []ocs.Config{config}})
	if err != nil {
		t.Fatal(err)
	}
	old := strings.NewReplacer(` acknowledgeCost="3"`, "", `version="1.1"`, `version="1.0.4"`).Replace(string(document))
	findings := LintDocument("d.xml", []byte(old))
	if len(findings) != 1 || findings[0].Level != Warning || !strings.Contains(findings[0].Message, "degree 3") {
		t.Errorf("findings = %v, want a warning", findings)
	}
	newer := strings.Replace(old, `version="1.0.4"`, `version="1.1"`, 1)
	if findings := LintDocument("d.xml", []byte(newer)); !Failed(findings) {
		t.Errorf("findings = %v, want an error", findings)
	}
}

func TestBrokenSamplesAreNotSigned(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*ocs.Config)
		want   string
	}{
		"an attack that passes":              {func(c *ocs.Config) { c.Samples[0].URL = "/e-v-i-l" }, `sample 1 (GET "/e-v-i-l"): expected to be blocked, but no rule stops it`},
		"a harmless request that is blocked": {func(c *ocs.Config) { c.Samples[1].URL = "/medieval" }, `sample 2 (GET "/medieval"): expected to pass, but rule "r" answers it with Aborted`},
		"a mitigation with warnings only":    {func(c *ocs.Config) { c.Severity = "" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := reviewed()
			config.Actions[0].Rewrite = rule("evil|medieval", abort)
			tc.change(&config)
			r := request(t, testKeys(t).ECDSA)
			r.Mitigations = []Source{{File: "m.yaml", Config: config}}
			document, _, err := Sign(r)
			if (document == nil) != (tc.want != "") {
				t.Errorf("a document of %d bytes", len(document))
			}
			if tc.want == "" {
				expectError(t, err)
				return
			}
			expectError(t, err, "m.yaml", tc.want)
		})
	}
}

func TestAcknowledgedCostIsReadFromYAML(t *testing.T) {
	config, err := ReadMitigation([]byte("apiVersion: ems.mitigation.dev/publish/v1\nid: M1\ndescription: d\nactions:\n- type: UrlRewrite\n  scope: Site\n  description: d\n  acknowledgeCost: 4\n  rewrite: <rewrite/>\n"))
	if err != nil || len(config.Actions) != 1 || config.Actions[0].AcknowledgedCost != 4 {
		t.Errorf("%+v, %v", config, err)
	}
}
