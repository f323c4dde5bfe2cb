package ocs

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/rewrite/redos"
)

// hostile has patterns that are hard to read or to analyse, each in another way. A number behind
// each makes as many different ones as a document has room for.
func hostile() map[string]string {
	fill := func(unit string) string { return strings.Repeat(unit, 1600/len(unit)) }
	var names []string
	for i := range 200 {
		names = append(names, "bot-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	return map[string]string{
		"lists in a loop":        "(?:.*(" + strings.Join(names, "|") + "))*$",
		"negated classes":        fill(`\W\D\S`),
		"classes of all but one": fill(`[^\d]`),
		"wide classes":           fill(`[\D\W]`),
		"anything":               fill("a.*"),
		"counted repetitions":    fill("x{32}"),
		"copies of copies":       "(" + fill("x{32}") + "){32}",
		"nested groups":          strings.Repeat("(", 530) + "a" + strings.Repeat(")*", 530),
		"nested alternatives":    strings.Repeat("(b|", 24) + fill("[ab]+|a*") + strings.Repeat(")", 24),
		"optional characters":    fill("a?"),
	}
}

// hostileDocument has as many of a pattern as fit.
func hostileDocument(pattern string) []byte {
	const configs, rules = 64, 10
	var b strings.Builder
	b.WriteString(`<EOCS version="1.1">`)
	for c := range configs {
		fmt.Fprintf(&b, `<Config id="M%d"><ActionList><Action type="UrlRewrite" scope="Site"><Value><rewrite><rules>`, c)
		for r := range rules {
			fmt.Fprintf(&b, `<rule name="r%d"><match url="%sz%d"/></rule>`, r, pattern, c*rules+r)
		}
		b.WriteString(`</rules></rewrite></Value></Action></ActionList></Config>`)
	}
	b.WriteString(`</EOCS>`)
	return []byte(b.String())
}

// BenchmarkParseHostileDocument: a megabyte of such patterns takes some seconds at most.
func BenchmarkParseHostileDocument(b *testing.B) {
	for name, pattern := range hostile() {
		document := hostileDocument(pattern)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Parse(document); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(document)))
		})
	}
}

func weighedOf(texts ...string) []weighed {
	patterns := make([]weighed, len(texts))
	for i, text := range texts {
		patterns[i].text, patterns[i].ignoreCase = text, true
		patterns[i].where = fmt.Sprint("place ", i)
	}
	return patterns
}

func TestDocumentsHaveOneBudget(t *testing.T) {
	for name, pattern := range hostile() {
		t.Run(name, func(t *testing.T) {
			texts := []string{"^harmless$"}
			for i := range 200 {
				texts = append(texts, fmt.Sprint(pattern, "z", i))
			}
			texts = append(texts, "^harmless, too$", "^(a+)+$")
			patterns := weighedOf(texts...)
			weigh(patterns)
			// A pattern that exceeds the budget has spent all that it was given.
			work, share := 0, AnalysisBudget/len(patterns)
			for _, p := range patterns {
				work += p.cost.Report.Work
				if p.cost.Report.Work > redos.DefaultBudget {
					t.Errorf("%.20s: %d units", p.text, p.cost.Report.Work)
				}
			}
			if limit := AnalysisBudget + share; work > limit {
				t.Errorf("%d units in all, allowed are %d", work, limit)
			}
			for _, i := range []int{0, len(texts) - 2} {
				if p := patterns[i]; p.cost.Err != nil || p.cost.Report.Complexity != redos.Linear {
					t.Errorf("%s suffers from its neighbours: %+v", p.text, p.cost)
				}
			}
			if p := patterns[len(texts)-1]; p.cost.Report.Complexity != redos.Exponential {
				t.Errorf("the costly one is not found: %+v", p.cost)
			}
		})
	}
}

func TestWhatPatternsNeedNotGoesToOthers(t *testing.T) {
	// It needs more than its share of a document of 200, and much less than there is.
	const demanding = `^.*(alpha|beta|gamma).*(delta|epsilon)\.{1,30}x.{1,30}$`
	alone := weighedOf(demanding)
	weigh(alone)
	if need := alone[0].cost.Report.Work; alone[0].cost.Err != nil || need < AnalysisBudget/200 || need > AnalysisBudget/4 {
		t.Fatalf("it needs %d units: %v", need, alone[0].cost.Err)
	}
	var harmless, same []string
	for i := range 199 {
		harmless = append(harmless, fmt.Sprintf("^harmless/%d$", i))
		same = append(same, demanding)
	}
	for name, texts := range map[string][]string{
		"harmless ones leave what they need not": append(harmless, demanding),
		"the same one costs nothing again":       append(same, demanding),
	} {
		t.Run(name, func(t *testing.T) {
			patterns := weighedOf(texts...)
			weigh(patterns)
			for i, p := range patterns {
				if p.cost.Err != nil || p.cost.Where != fmt.Sprint("place ", i) {
					t.Errorf("%+v", p.cost)
				}
			}
			if last := patterns[199].cost.Report; last.String() != alone[0].cost.Report.String() {
				t.Errorf("%s, alone %s", last, alone[0].cost.Report)
			}
		})
	}
}

func TestTheBudgetIsNamed(t *testing.T) {
	document, err := Parse(hostileDocument(hostile()["anything"]))
	if err != nil {
		t.Fatal(err)
	}
	if len(document.Refused) == 0 {
		t.Fatal("nothing is refused")
	}
	for _, r := range document.Refused {
		if r.Reason != ReasonCostlyPattern || !strings.Contains(r.Message, fmt.Sprint("all patterns of the document together have ", AnalysisBudget, " units")) {
			t.Errorf("%s: %s", r.Reason, r.Message)
		}
	}
	alone := expression{text: hostile()["anything"], ignoreCase: true}.cost(redos.DefaultBudget)
	if !errors.Is(alone.Err, redos.ErrTooComplex) || strings.Contains(alone.Err.Error(), "together") {
		t.Errorf("error %v", alone.Err)
	}
}
