package rewrite

import (
	"errors"
	"fmt"
)

var (
	// ErrUnsupported is wrapped when rules or a request use something outside the part
	// of URL Rewrite that this package evaluates, or whose meaning is not documented.
	ErrUnsupported = errors.New("not supported by the evaluation")
	// ErrInvalidRule is wrapped when IIS would refuse the configuration (500.19) or fail
	// every request that reaches the rule (500.50).
	ErrInvalidRule = errors.New("invalid rewrite rule")
	// ErrInvalidRequest is wrapped when no such request reaches the rewrite module.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrTooExpensive is wrapped when a pattern exceeds its time or stack limit.
	ErrTooExpensive = errors.New("pattern is too expensive")
)

// UnsupportedError names the construct that cannot be evaluated. It wraps ErrUnsupported.
type UnsupportedError struct {
	// Rule is the name of the rule, empty if the construct stands outside a rule.
	Rule string
	// Construct names what is not supported, such as `action type "Rewrite"`.
	Construct string
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	if e.Rule == "" {
		return fmt.Sprintf("%v: %s", ErrUnsupported, e.Construct)
	}
	return fmt.Sprintf("rule %q: %v: %s", e.Rule, ErrUnsupported, e.Construct)
}

// Unwrap returns ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }

func unsupported(format string, args ...any) error {
	return &UnsupportedError{Construct: fmt.Sprintf(format, args...)}
}

// inRule adds the rule's name to an error of one of its parts.
func inRule(name string, err error) error {
	if u, ok := errors.AsType[*UnsupportedError](err); ok {
		return &UnsupportedError{Rule: name, Construct: u.Construct}
	}
	return fmt.Errorf("rule %q: %w", name, err)
}
