package ocs_test

import (
	"fmt"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite/redos"
)

const (
	quadratic   = "(?=.*autodiscover)(?=.*powershell)"
	cubic       = `.*autodiscover\.json.*Powershell.*`
	quartic     = `.*autodiscover\.json.*\@.*Powershell.*`
	exponential = "^(a+)+$"
)

func costly(version, attributes, pattern string) []byte {
	return []byte(`<EOCS version="` + version + `"><Config id="M1"><ActionList><Action type="UrlRewrite" scope="Site"` + attributes + `><Value><rewrite><rules>` +
		`<rule name="a"><match url="x"/><conditions><add input="{URL}" pattern="y"/><add input="{URL}" pattern="` + pattern + `"/></conditions></rule>` +
		`</rules></rewrite></Value></Action></ActionList></Config></EOCS>`)
}

func TestPatternsThatStopAServerAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		document   []byte
		wantReason string
		wantText   []string
	}{
		"the square is accepted":                  {document: costly("1.1", "", quadratic)},
		"the third power is not":                  {costly("1.1", "", cubic), ocs.ReasonCostlyPattern, []string{`"M1.1"`, "rules/rule[1]/conditions/add[2]", "degree 3", `acknowledgeCost="3"`}},
		"unless it is acknowledged":               {document: costly("1.1", ` acknowledgeCost="3"`, cubic)},
		"or a higher one is":                      {document: costly("1.1", ` acknowledgeCost="9"`, quartic)},
		"a lower one is no word about it":         {costly("1.1", ` acknowledgeCost="3"`, quartic), ocs.ReasonCostlyPattern, []string{`acknowledgeCost="4"`}},
		"1.0.4 has no such attribute":             {document: costly("1.0.4", "", quartic)},
		"exponential is refused":                  {costly("1.1", "", exponential), ocs.ReasonCostlyPattern, []string{"exponential"}},
		"exponential cannot be acknowledged":      {costly("1.1", ` acknowledgeCost="9"`, exponential), ocs.ReasonCostlyPattern, []string{"exponential"}},
		"exponential is refused in 1.0.4":         {costly("1.0.4", "", exponential), ocs.ReasonCostlyPattern, []string{"exponential"}},
		"nothing below three is acknowledged":     {costly("1.1", ` acknowledgeCost="2"`, "x"), ocs.ReasonInvalidValue, []string{"from 3 to 9"}},
		"nothing above nine is":                   {costly("1.1", ` acknowledgeCost="10"`, "x"), ocs.ReasonInvalidValue, []string{"from 3 to 9"}},
		"a yes is no degree":                      {costly("1.1", ` acknowledgeCost="true"`, "x"), ocs.ReasonInvalidValue, []string{`"true"`}},
		"the match of an outbound rule":           {rewriteDocument("Site", `<outboundRules><rule name="a"><match pattern="`+exponential+`"/></rule></outboundRules>`), ocs.ReasonCostlyPattern, []string{"outboundRules/rule[1]/match"}},
		"a precondition":                          {rewriteDocument("Site", `<outboundRules><preConditions><preCondition name="p"><add input="{X}" pattern="`+exponential+`"/></preCondition></preConditions></outboundRules>`), ocs.ReasonCostlyPattern, []string{"preCondition[1]/add[1]"}},
		"the same text as a wildcard is harmless": {document: rewriteDocument("Site", `<rules><rule name="a" patternSyntax="Wildcard"><match url="`+exponential+`"/></rule></rules>`)},
		"keys of maps are no patterns":            {document: rewriteDocument("Site", `<rewriteMaps><rewriteMap name="m"><add key="`+exponential+`" value="1"/></rewriteMap></rewriteMaps>`)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ocs.Parse(tc.document)
			if err != nil {
				t.Fatal(err)
			}
			if tc.wantReason == "" {
				if len(got.Refused) > 0 {
					t.Errorf("refused: %s", got.Refused[0].Message)
				}
				return
			}
			if len(got.Refused) != 1 || got.Refused[0].Reason != tc.wantReason {
				t.Fatalf("refused %+v, want one for %s", got.Refused, tc.wantReason)
			}
			for _, text := range tc.wantText {
				if !strings.Contains(got.Refused[0].Message, text) {
					t.Errorf("message %q, want %q in it", got.Refused[0].Message, text)
				}
			}
		})
	}
}

func TestAcknowledgementNeedsPatterns(t *testing.T) {
	got, err := ocs.Parse([]byte(`<EOCS version="1.1"><Config id="M1"><ActionList><Action type="DoNothing" scope="Server" acknowledgeCost="3"><Value>DoNothing</Value></Action></ActionList></Config></EOCS>`))
	if err != nil || len(got.Refused) != 1 || !strings.Contains(got.Refused[0].Message, "which has no patterns") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAcknowledgementIsBuilt(t *testing.T) {
	action := ocs.Action{
		ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: ocs.DefaultTarget, AcknowledgedCost: 3,
		Rewrite: []byte(`<rewrite><rules><rule name="a"><match url="` + cubic + `"/></rule></rules></rewrite>`),
	}
	document := ocs.Document{Configs: []ocs.Config{{ID: "M1", Actions: []ocs.Action{action}}}}
	built, err := ocs.Build(document)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ocs.Parse(built)
	if err != nil || len(got.Configs) != 1 || got.Configs[0].Actions[0].AcknowledgedCost != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	document.Configs[0].Actions[0].AcknowledgedCost = 0
	if _, err := ocs.Build(document); err == nil || !strings.Contains(err.Error(), "does not acknowledge") {
		t.Errorf("error = %v", err)
	}
	costs := action.PatternCosts()
	if len(costs) != 1 || costs[0].Where != "rewrite/rules/rule[1]/match" || costs[0].Report.Degree != 3 || costs[0].Report.Complexity != redos.Polynomial {
		t.Errorf("costs = %+v", costs)
	}
}

// TestManyPatternsShareTheWork: the harmless rules of a crowded document are still accepted, and a costly
// one among them is still found.
func TestManyPatternsShareTheWork(t *testing.T) {
	var configs strings.Builder
	for i := range 12 {
		configs.WriteString(fmt.Sprintf(`<Config id="M%d"><ActionList><Action type="UrlRewrite" scope="Site"><Value><rewrite>`, i) + rules(64) + `</rewrite></Value></Action></ActionList></Config>`)
	}
	costly := strings.Replace(configs.String(), `url="x"`, `url="`+exponential+`"`, 1)
	got, err := ocs.Parse([]byte(`<EOCS version="1.1">` + costly + `</EOCS>`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Configs) != 11 || len(got.Refused) != 1 || got.Refused[0].ID != "M0" || got.Refused[0].Reason != ocs.ReasonCostlyPattern {
		t.Errorf("%d accepted, refused %+v", len(got.Configs), got.Refused)
	}
}
