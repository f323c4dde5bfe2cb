package kstatus

import (
	"fmt"
	"regexp"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// MaxMessageLength is the longest condition message, in characters, that still reads as a message. The API server would
// accept 32,768.
const MaxMessageLength = 1024

// reasonForm is CamelCase in one word. The API server accepts more (colons, underscores); tables and alerts do not want it.
var reasonForm = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,63}$`)

// Conditioned is an object with conditions.
type Conditioned interface {
	GetConditions() []metav1.Condition
}

// Violation is a rule that a status breaks.
type Violation struct {
	// Rule is the short name of the rule.
	Rule string
	// Message says what was found.
	Message string
}

// String returns rule and message in one line.
func (v Violation) String() string { return v.Rule + ": " + v.Message }

// Names of the rules that Check knows.
const (
	RuleReadyPresent      = "ready-present"
	RuleTypeUnique        = "type-unique"
	RuleOnlyWhenTrue      = "only-when-true"
	RuleNeverTogether     = "never-together"
	RuleReadyAlone        = "ready-alone"
	RuleNotReadyExplained = "not-ready-explained"
	RuleNotAhead          = "generation-not-ahead"
	RuleFinalObserved     = "final-state-observed"
	RuleConditionObserved = "condition-observed"
	RuleStatusKnown       = "status-known"
	RuleReasonForm        = "reason-form"
	RuleMessageForm       = "message-form"
	RuleTransitionTimeSet = "transition-time-set"
	RuleMessageReadable   = "message-readable"
)

type checker struct {
	conditions         map[string]metav1.Condition
	generation         int64
	observedGeneration int64
	violations         []Violation
}

// Check judges the conditions of an object of the given metadata.generation and status.observedGeneration (0 when
// absent). It returns one Violation for each broken rule and condition, in the order of the conditions, and nothing for
// a status that keeps all rules.
func Check(object Conditioned, generation, observedGeneration int64) []Violation {
	c := checker{conditions: map[string]metav1.Condition{}, generation: generation, observedGeneration: observedGeneration}
	for _, condition := range object.GetConditions() {
		if _, twice := c.conditions[condition.Type]; twice {
			c.fail(RuleTypeUnique, "condition %s stands there twice", condition.Type)
		}
		c.conditions[condition.Type] = condition
		c.checkForm(condition)
	}
	c.checkSummary()
	c.checkGenerations()
	return c.violations
}

func (c *checker) fail(rule, format string, args ...any) {
	c.violations = append(c.violations, Violation{Rule: rule, Message: fmt.Sprintf(format, args...)})
}

// checkForm judges a condition by itself.
func (c *checker) checkForm(condition metav1.Condition) {
	switch condition.Status {
	case metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown:
	default:
		c.fail(RuleStatusKnown, "condition %s has status %q", condition.Type, condition.Status)
	}
	if !reasonForm.MatchString(condition.Reason) {
		c.fail(RuleReasonForm, "condition %s has reason %q, which is not one CamelCase word", condition.Type, condition.Reason)
	}
	switch length := utf8.RuneCountInString(condition.Message); {
	case !utf8.ValidString(condition.Message):
		c.fail(RuleMessageReadable, "condition %s has a message that is not UTF-8", condition.Type)
	case length == 0:
		c.fail(RuleMessageForm, "condition %s has no message", condition.Type)
	case length > MaxMessageLength:
		c.fail(RuleMessageForm, "condition %s has a message of %d characters, more than %d", condition.Type, length, MaxMessageLength)
	}
	if condition.LastTransitionTime.IsZero() {
		c.fail(RuleTransitionTimeSet, "condition %s has no lastTransitionTime", condition.Type)
	}
	if condition.ObservedGeneration != c.observedGeneration {
		c.fail(RuleConditionObserved, "condition %s speaks of generation %d, and status of %d",
			condition.Type, condition.ObservedGeneration, c.observedGeneration)
	}
}

// checkSummary judges Ready, Reconciling and Stalled together.
func (c *checker) checkSummary() {
	for _, name := range []string{emsv1.ReconcilingCondition, emsv1.StalledCondition} {
		if condition, present := c.conditions[name]; present && condition.Status != metav1.ConditionTrue {
			c.fail(RuleOnlyWhenTrue, "condition %s is %s; it is present only while it is True", name, condition.Status)
		}
	}
	reconciling, stalled := c.isTrue(emsv1.ReconcilingCondition), c.isTrue(emsv1.StalledCondition)
	if reconciling && stalled {
		c.fail(RuleNeverTogether, "conditions Reconciling and Stalled are both True")
	}
	ready, present := c.conditions[emsv1.ReadyCondition]
	switch {
	case !present:
		c.fail(RuleReadyPresent, "condition Ready is missing")
	case ready.Status == metav1.ConditionTrue && reconciling:
		c.fail(RuleReadyAlone, "conditions Ready and Reconciling are both True")
	case ready.Status == metav1.ConditionTrue && stalled:
		c.fail(RuleReadyAlone, "conditions Ready and Stalled are both True")
	case ready.Status == metav1.ConditionUnknown && stalled:
		c.fail(RuleReadyAlone, "condition Stalled is True while Ready is Unknown; what is stalled is not ready")
	case ready.Status == metav1.ConditionFalse && !reconciling && !stalled:
		c.fail(RuleNotReadyExplained, "condition Ready is False, and neither Reconciling nor Stalled says how it goes on")
	}
}

// checkGenerations judges observedGeneration. Tools that follow kstatus look at it first: a final state of an older
// generation would show as InProgress for ever.
func (c *checker) checkGenerations() {
	if c.observedGeneration > c.generation {
		c.fail(RuleNotAhead, "status.observedGeneration is %d, ahead of metadata.generation %d", c.observedGeneration, c.generation)
	}
	for _, name := range []string{emsv1.ReadyCondition, emsv1.StalledCondition} {
		if c.isTrue(name) && c.observedGeneration < c.generation {
			c.fail(RuleFinalObserved, "condition %s is True for generation %d, and metadata.generation is %d",
				name, c.observedGeneration, c.generation)
		}
	}
}

func (c *checker) isTrue(name string) bool {
	condition, present := c.conditions[name]
	return present && condition.Status == metav1.ConditionTrue
}
