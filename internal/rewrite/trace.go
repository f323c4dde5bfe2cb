package rewrite

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Trace tells how a request went through the rules, with the documented answers to the open
// points.
type Trace struct {
	// Request is the request line, as an absolute URL.
	Request string `json:"request"`
	// Rules are the rules that were reached, in order.
	Rules []*RuleTrace `json:"rules"`
	// Result is that of the evaluation.
	Result Result `json:"result"`
}

// RuleTrace tells how one rule was evaluated.
type RuleTrace struct {
	// Section is rules or globalRules, Level the name of the Level, Rule that of the rule.
	Section string `json:"section"`
	Level   string `json:"level,omitempty"`
	Rule    string `json:"rule"`
	Position
	// Input is what match saw, Pattern what it was compared with.
	Input   string `json:"input"`
	Pattern string `json:"pattern"`
	Syntax  Syntax `json:"syntax"`
	Negate  bool   `json:"negate,omitempty"`
	// PatternMatched tells whether the pattern matched, before negation. Captures are {R:0},
	// {R:1} and so on.
	PatternMatched bool     `json:"patternMatched"`
	Captures       []string `json:"captures,omitempty"`
	// Grouping is MatchAll or MatchAny; Conditions are those that were evaluated.
	Grouping   string           `json:"grouping,omitempty"`
	Conditions []ConditionTrace `json:"conditions,omitempty"`
	// Matched tells whether the rule matched as a whole. Action is the type of its action,
	// Effect what that did.
	Matched        bool   `json:"matched"`
	Action         string `json:"action,omitempty"`
	Effect         string `json:"effect,omitempty"`
	StopProcessing bool   `json:"stopProcessing,omitempty"`
	// Fault says why IIS fails at this rule.
	Fault *Fault `json:"fault,omitempty"`
}

// ConditionTrace tells how one condition was evaluated.
type ConditionTrace struct {
	// Input is the input as written, Value what it stands for here.
	Input     string `json:"input"`
	Value     string `json:"value"`
	MatchType string `json:"matchType"`
	Pattern   string `json:"pattern,omitempty"`
	Negate    bool   `json:"negate,omitempty"`
	// Matched is the result before negation, Holds after it.
	Matched bool `json:"matched"`
	Holds   bool `json:"holds"`
}

// traceRequest is the request line of a trace.
func traceRequest(r *Request) string {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	return method + " " + r.origin() + r.target()
}

func (t *Trace) begin(section string, b *boundRule) *RuleTrace {
	r := &RuleTrace{
		Section: section, Level: b.level, Rule: b.name, Position: b.at.Position,
		Pattern: b.pattern.text, Syntax: b.pattern.syntax, Negate: b.negate, Action: actionNames[b.action.kind],
		StopProcessing: b.stopProcessing,
	}
	if len(b.conditions.list) > 0 {
		r.Grouping = "MatchAll"
		if b.conditions.any {
			r.Grouping = "MatchAny"
		}
	}
	t.Rules = append(t.Rules, r)
	return r
}

// The methods below do nothing without a trace.

func (r *RuleTrace) matched(input string, matched bool, captures []string) {
	if r != nil {
		r.Input, r.PatternMatched = input, matched
		if matched {
			r.Captures = append([]string(nil), captures...)
		}
	}
}

func (r *RuleTrace) condition(c *condition, value string, matched, holds bool) {
	if r == nil {
		return
	}
	names := []string{"Pattern", "IsFile", "IsDirectory"}
	t := ConditionTrace{Input: c.input.text, Value: value, MatchType: names[c.matchType], Negate: c.negate, Matched: matched, Holds: holds}
	if c.matchType == matchPattern {
		t.Pattern = c.pattern.text
	}
	r.Conditions = append(r.Conditions, t)
}

func (r *RuleTrace) did(effect string) {
	if r != nil {
		r.Matched, r.Effect = true, effect
	}
}

func (r *RuleTrace) failed(fault *Fault) {
	if r != nil {
		r.Fault = fault
	}
}

// WriteText writes the trace for people.
func (t *Trace) WriteText(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintln(&out, t.Request)
	for _, r := range t.Rules {
		r.write(&out)
	}
	fmt.Fprintf(&out, "=> %s\n", t.Result)
	_, err := io.WriteString(w, out.String())
	return err
}

func (r *RuleTrace) write(out *strings.Builder) {
	where := r.Section
	if r.Level != "" {
		where += " of " + r.Level
	}
	if r.Line != 0 {
		where += ", line " + itoa(r.Line)
	}
	fmt.Fprintf(out, "rule %q (%s)\n", r.Rule, where)
	if r.Fault != nil {
		fmt.Fprintf(out, "  fails: %s: %s\n", r.Fault.Element, r.Fault.Reason)
		return
	}
	fmt.Fprintf(out, "  match      %q\n             %s %s\n", r.Input, verb(r.PatternMatched, r.Syntax), shownPattern(r.Pattern, r.Negate))
	for i, c := range r.Conditions {
		what := verb(c.Matched, r.Syntax) + " " + c.Pattern
		if c.MatchType != "Pattern" {
			what = map[bool]string{true: "is a ", false: "is no "}[c.Matched] + strings.ToLower(strings.TrimPrefix(c.MatchType, "Is"))
		}
		if c.Negate {
			what += " (negate)"
		}
		fmt.Fprintf(out, "  condition %d %s = %q\n             %s: %s\n", i+1, c.Input, c.Value, what, map[bool]string{true: "holds", false: "does not hold"}[c.Holds])
	}
	if !r.Matched {
		fmt.Fprintln(out, "  the rule does not match")
		return
	}
	fmt.Fprintf(out, "  %s: %s", r.Action, r.Effect)
	if r.StopProcessing {
		out.WriteString("; stopProcessing")
	}
	out.WriteString("\n")
}

func verb(matched bool, syntax Syntax) string {
	if matched {
		return "matches " + string(syntax)
	}
	return "does not match " + string(syntax)
}

func shownPattern(pattern string, negate bool) string {
	if negate {
		return pattern + " (negate)"
	}
	return pattern
}

// String returns the result as one line.
func (r Result) String() string {
	out := string(r.Outcome)
	switch r.Outcome {
	case Responded, Error:
		out += fmt.Sprintf(" %d.%d", r.Status, r.SubStatus)
	case Redirected:
		out += fmt.Sprintf(" %d to %s", r.Status, r.URL)
	case Rewritten:
		out += " to " + r.URL
	case Passed, Aborted:
	}
	if r.Rule != "" {
		out += fmt.Sprintf(" by rule %q", r.Rule)
	}
	if r.Fault != nil {
		out += ": " + r.Fault.Reason
	}
	if len(r.Uncertain) > 0 {
		names := make([]string, len(r.Uncertain))
		for i, p := range r.Uncertain {
			names[i] = string(p)
		}
		out += " (uncertain: " + strings.Join(names, ", ") + ")"
	}
	return out
}
