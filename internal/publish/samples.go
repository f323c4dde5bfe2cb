package publish

import (
	"errors"
	"fmt"

	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/internal/rewrite/redos"
	"mitigation.dev/ems/internal/simulate"
)

// lintSamples sends the samples through the rules.
func lintSamples(c ocs.Config, sites []*rewrite.Site, unknown error, add func(Level, string, ...any)) {
	for _, check := range simulate.CheckSamples(sites, unknown, c.Samples) {
		switch check.Judgement {
		case simulate.Broken:
			add(Problem, "%s: %s", check, check.Reason)
		case simulate.Unchecked:
			add(Unchecked, "%s: %s", check, check.Reason)
		case simulate.Kept:
		}
	}
}

// lintCosts tells what patterns cost that are accepted all the same. Those that are not, ocs.Build refuses.
func lintCosts(c ocs.Config, add func(Level, string, ...any)) {
	for i, a := range c.Actions {
		for _, cost := range a.PatternCosts() {
			if cost.Err != nil {
				continue
			}
			if verdict := redos.Judge(cost.Report, true); verdict.Decision == redos.Warned {
				add(Warning, "action %q: %s: pattern %q: %s", orElse(a.ID, fmt.Sprint(i+1)), cost.Where, cost.Pattern, verdict.Reason)
			}
		}
	}
}

// checkContent refuses to sign what Lint has an error about.
func checkContent(mitigations []Source) error {
	var problems []error
	for _, f := range Lint(mitigations) {
		if f.Level == Problem {
			problems = append(problems, errors.New(f.String()))
		}
	}
	return errors.Join(problems...)
}
