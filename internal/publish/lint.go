package publish

import (
	"fmt"
	"io/fs"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/simulate"
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
		sites, unknown := simulate.MitigationSites(m.Config)
		lintRules(m.Config, sites, add)
		lintCosts(m.Config, add)
		lintSamples(m.Config, sites, unknown, add)
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
		mitigations = append(mitigations, Source{File: file, Config: acknowledgedAs(parsed.Version, c)})
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

// lintRules looks for what IIS refuses only when a request comes. What may be defined elsewhere on a server, such as a
// rewrite map or the permission to set a server variable, is a warning: a mitigation should bring what it needs.
func lintRules(c ocs.Config, sites []*rewrite.Site, add func(Level, string, ...any)) {
	certain := map[string]bool{}
	for _, a := range c.Actions {
		if config, err := rewrite.Parse(a.Rewrite); a.Type == ocs.URLRewrite && err == nil {
			for _, problem := range config.Problems() {
				certain[problem.String()] = true
			}
		}
	}
	seen := map[string]bool{}
	for _, site := range sites {
		for _, problem := range site.Problems() {
			text := problem.String()
			switch {
			case seen[text]:
			case certain[text], problem.SubStatus == statusOfConfiguration:
				add(Problem, "%s", text)
			default:
				add(Warning, "%s, unless the server has it", text)
			}
			seen[text] = true
		}
	}
}

// statusOfConfiguration is the sub-status of 500 for what IIS refuses when it reads its configuration.
const statusOfConfiguration = 19
