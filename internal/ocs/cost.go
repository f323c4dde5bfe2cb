package ocs

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/rewrite/redos"
)

const (
	// minAcknowledgedCost is the lowest degree that acknowledgeCost can name: below it nothing has to be
	// acknowledged.
	minAcknowledgedCost = 3
	// MaxAcknowledgedCost is the highest one. From ten on a URL of 4,096 characters costs more than 10^36
	// steps: nobody can mean that.
	MaxAcknowledgedCost = 9
)

// AnalysisBudget bounds the work of analysing all patterns of a document, in the units of redos, some 25 ns
// each: a second in all. It is what ten patterns may need at the very most; 205 of real configurations and
// tests need a fifth of it together. Without it, a signed document of a megabyte kept the manager and every
// server busy for minutes.
const AnalysisBudget = 10 * redos.DefaultBudget

// PatternCost is what a pattern of an action costs to match.
type PatternCost struct {
	// Where is the element that has the pattern, such as rewrite/rules/rule[1]/match.
	Where   string
	Pattern string
	// Report is valid if Err is nil.
	Report redos.Report
	// Err wraps redos.ErrTooComplex or redos.ErrInvalidPattern.
	Err error
}

// PatternCosts analyses the ECMAScript patterns of an action that Parse has accepted. Other patterns and
// other actions cost nothing that would have to be known.
func (a Action) PatternCosts() []PatternCost {
	patterns := costlyPatterns(a)
	costs := make([]PatternCost, 0, len(patterns))
	for _, p := range patterns {
		costs = append(costs, p.cost(redos.DefaultBudget))
	}
	return costs
}

// expression is a pattern as a rule has it.
type expression struct {
	where, text string
	ignoreCase  bool
}

func (e expression) cost(budget int) PatternCost {
	c := PatternCost{Where: e.where, Pattern: e.text}
	c.Report, c.Err = redos.Analyse(e.text, redos.Options{IgnoreCase: e.ignoreCase, Budget: budget})
	return c
}

// costlyPatterns lists the patterns whose cost has to be known: Wildcard and ExactMatch have no ambiguity
// that a request could use.
func costlyPatterns(a Action) []expression {
	if a.Type != URLRewrite {
		return nil
	}
	root, err := xmltree.Parse(a.Rewrite, treeLimits)
	if err != nil {
		return nil
	}
	var found []expression
	var walk func(node *xmltree.Node, where string, syntax rewrite.Syntax)
	walk = func(node *xmltree.Node, where string, syntax rewrite.Syntax) {
		switch node.Name {
		case "rule", "preCondition":
			syntax = syntaxOf(node)
		case "match", "add":
			if e, ok := expressionOf(node, where); ok && syntax == rewrite.ECMAScript {
				found = append(found, e)
			}
		}
		position := map[string]int{}
		for _, child := range node.Children {
			position[child.Name]++
			place := where + "/" + child.Name
			if slices.Contains([]string{"rule", "add", "preCondition"}, child.Name) {
				place += "[" + strconv.Itoa(position[child.Name]) + "]"
			}
			walk(child, place, syntax)
		}
	}
	// Nothing outside of rules and preConditions has a syntax, nor a pattern.
	walk(root, root.Name, "")
	return found
}

func expressionOf(node *xmltree.Node, where string) (expression, bool) {
	text, ok := node.Attr("pattern")
	if !ok {
		text, ok = node.Attr("url")
	}
	if matchType, _ := node.Attr("matchType"); matchType != "" && !strings.EqualFold(matchType, "Pattern") {
		ok = false
	}
	ignoreCase, _ := node.Attr("ignoreCase")
	return expression{where: where, text: text, ignoreCase: !strings.EqualFold(ignoreCase, "false")}, ok
}

// refuseCostly refuses every Config with a pattern that must not come to a server: IIS has no time limit,
// so that a request can keep a thread busy for as long as the pattern lets it.
//
// A document of version 1.0.4 has no means to acknowledge a cost. Microsoft shipped rules of degree three
// and four with such documents, against holes that were being used; to refuse them would leave the hole
// open. There only what stops a server with a short request is refused.
func refuseCostly(version string, configs []Config, refusals []error) {
	acknowledgeable := !strings.HasPrefix(version+".", "1.0.")
	var patterns []weighed
	for i := range configs {
		for k := range configs[i].Actions {
			if a := &configs[i].Actions[k]; refusals[i] == nil {
				for _, e := range costlyPatterns(*a) {
					patterns = append(patterns, weighed{expression: e, config: i, action: a})
				}
			}
		}
	}
	weigh(patterns)
	for _, p := range patterns {
		if refusals[p.config] != nil {
			continue
		}
		if reason := p.action.objection(p.cost, acknowledgeable); reason != "" {
			refusals[p.config] = refuse(ReasonCostlyPattern, "Config %q: Action %q: %s: %s", configs[p.config].ID, p.action.ID, p.where, reason)
		}
	}
}

// weighed is a pattern of a document with its cost.
type weighed struct {
	expression
	config int
	action *Action
	cost   PatternCost
}

// weigh analyses the patterns of a document within AnalysisBudget. Each has an equal share of it, so that
// no pattern depends on what others are like. What is left of that goes to those for which it was not
// enough, in their order. A pattern that stands there again costs nothing. All of it depends on the
// document alone: manager and servers come to one result.
func weigh(patterns []weighed) {
	type same struct {
		text       string
		ignoreCase bool
	}
	places := map[same][]*weighed{}
	var order []same
	for i := range patterns {
		p := &patterns[i]
		key := same{p.text, p.ignoreCase}
		if places[key] == nil {
			order = append(order, key)
		}
		places[key] = append(places[key], p)
	}
	left := AnalysisBudget
	// analyse returns those for which the budget did not do, of those that could get more.
	analyse := func(keys []same, budget func() int) (again []same) {
		for _, key := range keys {
			allowed := min(budget(), redos.DefaultBudget)
			cost := places[key][0].expression.cost(allowed)
			left -= cost.Report.Work
			for _, p := range places[key] {
				p.cost = cost
				p.cost.Where = p.where
			}
			if errors.Is(cost.Err, redos.ErrTooComplex) && allowed < redos.DefaultBudget {
				for _, p := range places[key] {
					p.cost.Err = fmt.Errorf("%w: all patterns of the document together have %d units", cost.Err, AnalysisBudget)
				}
				again = append(again, key)
			}
		}
		return again
	}
	share := AnalysisBudget / max(len(order), 1)
	again := analyse(order, func() int { return share })
	// redos takes 0 for its own default.
	analyse(again, func() int { return max(left, 1) })
}

// objection says why a pattern of the action must not come to a server; empty if it may.
func (a Action) objection(c PatternCost, acknowledgeable bool) string {
	switch {
	case errors.Is(c.Err, redos.ErrTooComplex):
		return fmt.Sprintf("%v: nobody can say what a request makes it cost", c.Err)
	case c.Err != nil:
		return c.Err.Error()
	}
	verdict := redos.Judge(c.Report, !acknowledgeable || c.Report.Degree <= a.AcknowledgedCost)
	if verdict.Decision != redos.Refused {
		return ""
	}
	reason := fmt.Sprintf("pattern %q: %s", shown(c.Pattern), verdict.Reason)
	if c.Report.Complexity == redos.Polynomial && c.Report.Degree <= MaxAcknowledgedCost {
		reason += fmt.Sprintf("; or say that it is meant, by acknowledgeCost=\"%d\"", c.Report.Degree)
	}
	return reason
}

func (a *Action) parseAcknowledgedCost(node *xmltree.Node, where string) error {
	text, ok := node.Attr("acknowledgeCost")
	if !ok {
		return nil
	}
	degree, err := strconv.Atoi(text)
	if err != nil || len(text) != 1 || degree < minAcknowledgedCost || degree > MaxAcknowledgedCost {
		return refuse(ReasonInvalidValue, "%s: acknowledgeCost %q is no degree from %d to %d", where, shown(text), minAcknowledgedCost, MaxAcknowledgedCost)
	}
	if a.Type != URLRewrite {
		return refuse(ReasonInvalidValue, "%s: acknowledgeCost beside type %s, which has no patterns", where, a.Type)
	}
	a.AcknowledgedCost = degree
	return nil
}
