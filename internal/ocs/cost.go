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

// fullAnalyses is how many patterns of a document are analysed with the whole budget of redos. The longest
// published document has fewer patterns; in one with more they share it, so that no document costs more
// than some seconds. The share depends on the document alone: manager and servers come to one result.
const fullAnalyses = 32

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
	patterns := map[*Action][]expression{}
	total := 0
	for i := range configs {
		for k := range configs[i].Actions {
			if a := &configs[i].Actions[k]; refusals[i] == nil {
				patterns[a] = costlyPatterns(*a)
				total += len(patterns[a])
			}
		}
	}
	budget := redos.DefaultBudget
	if total > fullAnalyses {
		budget = redos.DefaultBudget * fullAnalyses / total
	}
	for i := range configs {
		for k := range configs[i].Actions {
			a := &configs[i].Actions[k]
			for _, p := range patterns[a] {
				if refusals[i] != nil {
					break
				}
				if reason := a.objection(p.cost(budget), acknowledgeable); reason != "" {
					refusals[i] = refuse(ReasonCostlyPattern, "Config %q: Action %q: %s: %s", configs[i].ID, a.ID, p.where, reason)
				}
			}
		}
	}
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
