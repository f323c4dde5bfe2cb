package kstatus

import (
	"fmt"
	"strings"

	"github.com/onsi/gomega/types"
)

// BeConsistent succeeds for an object of this API whose status keeps all rules that Check knows. It fails with one line
// for each broken rule.
func BeConsistent() types.GomegaMatcher { return &consistencyMatcher{} }

type consistencyMatcher struct {
	violations []Violation
}

// Match implements types.GomegaMatcher.
func (m *consistencyMatcher) Match(actual any) (bool, error) {
	object, ok := actual.(Object)
	if !ok {
		return false, fmt.Errorf("BeConsistent needs an object with metadata and GetConditions, and got %T", actual)
	}
	observed, _, err := observedGeneration(object)
	if err != nil {
		return false, err
	}
	m.violations = Check(object, object.GetGeneration(), observed)
	return len(m.violations) == 0, nil
}

// FailureMessage implements types.GomegaMatcher.
func (m *consistencyMatcher) FailureMessage(actual any) string {
	lines := []string{"Expected the status of " + describe(actual) + " to be consistent, but:"}
	for _, v := range m.violations {
		lines = append(lines, "  "+v.String())
	}
	lines = append(lines, "The conditions are:")
	if object, ok := actual.(Object); ok {
		for _, c := range object.GetConditions() {
			lines = append(lines, fmt.Sprintf("  %s=%s %s (generation %d): %s", c.Type, c.Status, c.Reason, c.ObservedGeneration, c.Message))
		}
	}
	return strings.Join(lines, "\n")
}

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *consistencyMatcher) NegatedFailureMessage(actual any) string {
	return "Expected the status of " + describe(actual) + " to break a rule, and it breaks none"
}

func describe(actual any) string {
	object, ok := actual.(Object)
	if !ok {
		return fmt.Sprintf("%T", actual)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T %s/%s", actual, object.GetNamespace(), object.GetName()), "*")
}
