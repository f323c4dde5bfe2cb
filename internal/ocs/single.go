package ocs

import (
	"errors"
	"fmt"

	"mitigation.dev/ems/internal/ocs/xmltree"
)

// ConfigError says why a Config that stands alone is not acceptable. It wraps ErrMalformed, ErrLimitExceeded or ErrInvalid.
type ConfigError struct {
	// Line is where the smallest part begins that breaks the rule, counted from 1.
	Line int
	// Reason is one of the Reason constants; empty if the bytes are no Config at all.
	Reason string
	// Message says which rule, and where.
	Message string
	kind    error
}

// Error implements error. The line is not part of the text, so that a caller can put it behind the name of a file.
func (e *ConfigError) Error() string { return e.Message }

// Unwrap returns the kind.
func (e *ConfigError) Unwrap() error { return e.kind }

// ParseConfig reads one Config element that stands alone, with or without an XML declaration and comments around it, under the
// rules of Parse. The errors are of type *ConfigError. It is for people who write mitigations; servers read documents.
func ParseConfig(content []byte) (Config, error) {
	root, err := xmltree.Parse(content, treeLimits)
	if syntax, ok := errors.AsType[*xmltree.Error](err); ok {
		kind := ErrMalformed
		if errors.Is(err, xmltree.ErrLimit) {
			kind = ErrLimitExceeded
		}
		return Config{}, &ConfigError{Line: syntax.Line, Message: fmt.Sprintf("column %d: %s", syntax.Column, syntax.Reason), kind: kind}
	}
	if root.Name != "Config" {
		return Config{}, &ConfigError{Line: root.Line, Message: fmt.Sprintf("root element %q, expected \"Config\" without a name space", shown(root.Name)), kind: ErrInvalid}
	}
	config, err := parseConfig(root, content)
	refusals := []error{err}
	refuseSharedActionIDs([]Config{config}, refusals)
	if refused, ok := errors.AsType[*refusal](at(root, refusals[0])); ok {
		return Config{}, &ConfigError{Line: refused.line, Reason: refused.reason, Message: refused.message, kind: ErrInvalid}
	}
	return config, nil
}
