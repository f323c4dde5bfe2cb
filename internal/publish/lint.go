package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/ocs/xmltree"
	"mitigation.dev/ems/internal/rewrite"
)

// Level says how bad a finding is.
type Level string

// The levels of a finding.
const (
	// Problem: the mitigation cannot be published, or does not do what its samples say.
	Problem Level = "error"
	// Warning: it can be published, and a reviewer should ask why it is so.
	Warning Level = "warning"
	// Unchecked: something could not be checked here. It is no verdict.
	Unchecked Level = "unchecked"
)

// Finding is one thing that Lint has to say.
type Finding struct {
	// File is where the mitigation was read from, Mitigation its id. Both are empty for the document as a whole.
	File string `json:"file,omitempty"`
	// Line is the line in the file, counted from 1, where it is known.
	Line       int    `json:"line,omitempty"`
	Mitigation string `json:"mitigation,omitempty"`
	Level      Level  `json:"level"`
	Message    string `json:"message"`
}

// String returns the finding as one line.
func (f Finding) String() string {
	where := f.File
	if where == "" {
		where = "document"
	}
	if f.Line > 0 {
		where += fmt.Sprintf(":%d", f.Line)
	}
	if f.Mitigation != "" {
		where += fmt.Sprintf(": %q", f.Mitigation)
	}
	return fmt.Sprintf("%s: %s: %s", where, f.Level, printable(f.Message))
}

// Failed reports whether a finding stands against publishing.
func Failed(findings []Finding) bool {
	for _, f := range findings {
		if f.Level == Problem {
			return true
		}
	}
	return false
}

// Lint checks mitigations without signing them: all rules of the format, the patterns of their rules among them;
// whether each sample is blocked or passes as it says, where internal/rewrite can tell; and what is likely a slip.
func Lint(mitigations []Source) []Finding {
	var findings []Finding
	whole := ocs.Document{}
	for _, m := range mitigations {
		add := func(level Level, format string, args ...any) {
			findings = append(findings, Finding{File: m.File, Mitigation: m.Config.ID, Level: level, Message: fmt.Sprintf(format, args...)})
		}
		// One at a time, so that a message names its file.
		if _, err := ocs.Build(ocs.Document{Configs: []ocs.Config{m.Config}}); err != nil {
			add(Problem, "%v", err)
			continue
		}
		whole.Configs = append(whole.Configs, m.Config)
		lintSlips(m.Config, add)
		lintSamples(m.Config, add)
	}
	// Ids that occur twice and the limits of the document.
	if _, err := ocs.Build(whole); err != nil {
		findings = append(findings, Finding{Level: Problem, Message: err.Error()})
	}
	return findings
}

// LintDirectory does the same for the files that ReadDirectory reads, and reports those that cannot be read.
func LintDirectory(name string, folder fs.FS) []Finding {
	mitigations, problems, err := readDirectory(folder)
	if err != nil {
		return []Finding{{File: name, Level: Problem, Message: err.Error()}}
	}
	var findings []Finding
	for _, p := range problems {
		findings = append(findings, Finding{File: p.File, Line: p.Line, Level: Problem, Message: p.Err.Error()})
	}
	return append(findings, Lint(mitigations)...)
}

// LintDocument does the same for a document, signed or not. Whether the signature is good is a matter for Judge.
func LintDocument(file string, document []byte) []Finding {
	parsed, _, err := ReadUnverified(document)
	if err != nil {
		return []Finding{{File: file, Level: Problem, Message: err.Error()}}
	}
	var findings []Finding
	for _, r := range parsed.Refused {
		findings = append(findings, Finding{File: file, Mitigation: r.ID, Level: Problem, Message: r.Message})
	}
	mitigations := make([]Source, 0, len(parsed.Configs))
	for _, c := range parsed.Configs {
		mitigations = append(mitigations, Source{File: file, Config: c})
	}
	return append(findings, Lint(mitigations)...)
}

func lintSlips(c ocs.Config, add func(Level, string, ...any)) {
	blocked, passed, rules := false, false, false
	for _, s := range c.Samples {
		blocked = blocked || s.Expect == ocs.Blocked
		passed = passed || s.Expect == ocs.Passed
	}
	changes := false
	for _, a := range c.Actions {
		changes = changes || a.Type != ocs.DoNothing
		rules = rules || a.Type == ocs.URLRewrite
	}
	if c.Severity == "" {
		add(Warning, "no severity: policy and people sort by it")
	}
	if changes && len(c.CVEs) == 0 {
		add(Warning, "no cves: nobody can find it by the hole that it closes")
	}
	if changes && len(c.Applicability) == 0 {
		add(Warning, "no applicability: it applies to every build of the feed's product, for ever")
	}
	if rules && !blocked {
		add(Warning, "no sample that expects Blocked: nothing shows that its rules work")
	}
	if rules && !passed {
		add(Warning, "no sample that expects Passed: nothing shows that its rules spare harmless requests")
	}
}

// lintSamples evaluates samples against all actions together, because one that blocks is enough.
func lintSamples(c ocs.Config, add func(Level, string, ...any)) {
	if len(c.Samples) == 0 {
		return
	}
	sets, unknown := ruleSets(c)
	for i, s := range c.Samples {
		where := fmt.Sprintf("sample %d (%s %q)", i+1, orElse(s.Method, http.MethodGet), s.URL)
		outcome, err := evaluate(sets, s)
		if err == nil && !outcome.Blocked() {
			err = unknown
		}
		switch {
		case errors.Is(err, rewrite.ErrInvalidRule), errors.Is(err, rewrite.ErrInvalidRequest), errors.Is(err, rewrite.ErrTooExpensive):
			add(Problem, "%s: %v", where, err)
		case err != nil:
			add(Unchecked, "%s: not evaluated: %v", where, err)
		case outcome.Blocked() && s.Expect == ocs.Passed:
			add(Problem, "%s: expected to pass, but rule %q answers it with %s", where, outcome.Rule, outcome.Kind)
		case !outcome.Blocked() && s.Expect == ocs.Blocked:
			add(Problem, "%s: expected to be blocked, but no rule stops it", where)
		}
	}
}

// ruleSets returns the rules that can be evaluated, and an error that says what cannot; nil if all can.
func ruleSets(c ocs.Config) ([]*rewrite.RuleSet, error) {
	var sets []*rewrite.RuleSet
	var unknown []error
	for i, a := range c.Actions {
		name := orElse(a.ID, fmt.Sprint(i+1))
		switch {
		case a.Type == ocs.DoNothing:
		case a.Type != ocs.URLRewrite:
			unknown = append(unknown, fmt.Errorf("action %q: what an action of type %s does to a request cannot be told from here", name, a.Type))
		case a.Scope == ocs.ScopeSite && strings.Contains(a.Target, "/"):
			unknown = append(unknown, fmt.Errorf("action %q: rules of a folder (%q) see other URLs than those of a site", name, a.Target))
		default:
			found, err := sections(a.Rewrite)
			sets = append(sets, found...)
			if err != nil {
				unknown = append(unknown, fmt.Errorf("action %q: %w", name, err))
			}
		}
	}
	return sets, errors.Join(unknown...)
}

// sections reads the sections of a <rewrite> element that decide about requests.
func sections(element []byte) ([]*rewrite.RuleSet, error) {
	root, err := xmltree.Parse(element, signatureLimits)
	if err != nil {
		return nil, err
	}
	var sets []*rewrite.RuleSet
	var unknown []error
	for _, section := range root.Children {
		switch section.Name {
		case "rules", "globalRules":
			set, err := rewrite.ParseRules(section.Raw(element))
			if err != nil {
				unknown = append(unknown, err)
				continue
			}
			sets = append(sets, set)
		case "outboundRules":
			// They change answers; whether a request is blocked does not depend on them.
		default:
			// Maps and server variables decide nothing by themselves; rules that use them are refused above.
		}
	}
	return sets, errors.Join(unknown...)
}

// evaluate returns the first outcome that blocks. An error counts only if nothing blocks.
func evaluate(sets []*rewrite.RuleSet, s ocs.Sample) (rewrite.Outcome, error) {
	headers := http.Header{}
	for _, h := range s.Headers {
		headers.Add(h.Name, h.Value)
	}
	// A site's name is not known here. Rules that look at the host are evaluated with what the sample says.
	request := rewrite.SplitTarget(orElse(s.Method, http.MethodGet), orElse(s.Host, "localhost"), s.URL, headers)
	var first error
	for _, set := range sets {
		outcome, err := set.Evaluate(request)
		if err == nil && outcome.Blocked() {
			return outcome, nil
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return rewrite.Outcome{Kind: rewrite.Passed}, first
}
