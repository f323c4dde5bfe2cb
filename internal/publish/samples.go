package publish

import (
	"errors"
	"fmt"
	"slices"

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

// acknowledgedAs returns a mitigation of a document as the reader of that version takes it: version 1.0.4 cannot
// acknowledge costs, and has to be accepted without. Lint judges by version 1.1, which it would be signed as.
func acknowledgedAs(version string, c ocs.Config) ocs.Config {
	if version != ocs.Version104 {
		return c
	}
	c.Actions = slices.Clone(c.Actions)
	for i := range c.Actions {
		if a := &c.Actions[i]; a.Type == ocs.URLRewrite {
			a.AcknowledgedCost = ocs.MaxAcknowledgedCost
		}
	}
	return c
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
