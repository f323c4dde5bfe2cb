package feed

import (
	"slices"
	"testing"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs"
)

func number(t *testing.T, text string) build.Number {
	t.Helper()
	n, err := build.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestContentDigestTellsWhatAMitigationDoesAndToWhom(t *testing.T) {
	example := func() *ocs.Config {
		return &ocs.Config{
			ID: "M1", Revision: 3, Description: "Blocks a path", Severity: ocs.SeverityCritical,
			CVEs: []string{"CVE-2026-0001"}, SideEffects: []string{"none"},
			Applicability: []ocs.Product{
				{Name: ocs.ProductExchangeServer, Role: "Mailbox", Branches: []ocs.Branch{
					{From: number(t, "15.2.1.0"), FixedIn: number(t, "15.2.1118.20")},
					{From: number(t, "15.1.1.0"), FixedIn: number(t, "15.1.2507.16")},
				}},
				{Name: ocs.ProductIIS},
			},
			Actions: []ocs.Action{
				{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Rewrite: []byte("<rewrite/>")},
				{ID: "M1.2", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "Pool", Value: ocs.ValueStopped},
			},
			Samples: []ocs.Sample{{Expect: ocs.Blocked, URL: "/bad"}},
		}
	}
	tests := map[string]struct {
		change   func(*ocs.Config)
		wantSame bool
	}{
		"the same":                 {change: func(*ocs.Config) {}, wantSame: true},
		"another revision":         {change: func(c *ocs.Config) { c.Revision = 4 }, wantSame: true},
		"another description":      {change: func(c *ocs.Config) { c.Description, c.Actions[0].Description = "x", "y" }, wantSame: true},
		"another severity":         {change: func(c *ocs.Config) { c.Severity = ocs.SeverityLow }, wantSame: true},
		"other samples":            {change: func(c *ocs.Config) { c.Samples = nil }, wantSame: true},
		"an acknowledged cost":     {change: func(c *ocs.Config) { c.Actions[0].AcknowledgedCost = 3 }, wantSame: true},
		"products in other order":  {change: func(c *ocs.Config) { slices.Reverse(c.Applicability) }, wantSame: true},
		"builds in other order":    {change: func(c *ocs.Config) { slices.Reverse(c.Applicability[0].Branches) }, wantSame: true},
		"another rule":             {change: func(c *ocs.Config) { c.Actions[0].Rewrite = []byte("<rewrite />") }},
		"another target":           {change: func(c *ocs.Config) { c.Actions[0].Target = "Exchange Back End" }},
		"another scope":            {change: func(c *ocs.Config) { c.Actions[0].Scope = ocs.ScopeServer }},
		"another value":            {change: func(c *ocs.Config) { c.Actions[1].Value = ocs.ValueDisabled }},
		"another type":             {change: func(c *ocs.Config) { c.Actions[1].Type = ocs.Service }},
		"another id of an action":  {change: func(c *ocs.Config) { c.Actions[0].ID = "M1.3" }},
		"actions in another order": {change: func(c *ocs.Config) { slices.Reverse(c.Actions) }},
		"an action less":           {change: func(c *ocs.Config) { c.Actions = c.Actions[:1] }},
		"another product":          {change: func(c *ocs.Config) { c.Applicability[1].Name = ocs.ProductSharePointServer }},
		"another role":             {change: func(c *ocs.Config) { c.Applicability[0].Role = "Edge" }},
		"another fixed build":      {change: func(c *ocs.Config) { c.Applicability[0].Branches[0].FixedIn = number(t, "15.2.1118.21") }},
		"a branch without fix":     {change: func(c *ocs.Config) { c.Applicability[0].Branches[0].FixedIn = build.Number{} }},
		"a role on the other product": {change: func(c *ocs.Config) {
			c.Applicability[0].Role, c.Applicability[1].Role = "", "Mailbox"
		}},
		"text moved from one field to the next": {change: func(c *ocs.Config) {
			c.Actions[1].Target, c.Actions[1].Value = "PoolS", "topped"
		}},
	}
	want := contentDigest(example())
	if want != contentDigest(example()) || len(want) != 64 {
		t.Fatalf("digest %q is not stable or not a SHA-256 in hex", want)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			config := example()
			tc.change(config)
			if same := contentDigest(config) == want; same != tc.wantSame {
				t.Errorf("same digest = %t, want %t", same, tc.wantSame)
			}
		})
	}
}

// Managers of different versions must agree, or an update of the manager would begin every rollout anew.
func TestContentDigestIsFixed(t *testing.T) {
	config := &ocs.Config{
		Applicability: []ocs.Product{{Name: ocs.ProductIIS, Branches: []ocs.Branch{{From: number(t, "10.0.1.0")}}}},
		Actions:       []ocs.Action{{ID: "M1.1", Type: ocs.DoNothing, Scope: ocs.ScopeServer, Value: ocs.ValueDoNothing}},
	}
	const want = "0f0c3f67a6226426642e414a4ce3844050e433aebbf225d43ab8920b0481edf6"
	if got := contentDigest(config); got != want {
		t.Errorf("contentDigest = %s, want %s", got, want)
	}
}
