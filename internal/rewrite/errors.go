package rewrite

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrInvalidConfiguration is wrapped when IIS would refuse the configuration and answer
	// every request in its scope with 500.19.
	ErrInvalidConfiguration = errors.New("invalid rewrite configuration")
	// ErrInvalidRule is wrapped when IIS would answer every request that reaches the rule
	// with 500.50 to 500.53.
	ErrInvalidRule = errors.New("invalid rewrite rule")
	// ErrInvalidRequest is wrapped when no such request reaches the rewrite module.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrTooExpensive is wrapped when a pattern exceeds its time or stack limit. IIS has no
	// time limit: there, such a request keeps a thread busy.
	ErrTooExpensive = errors.New("pattern is too expensive")
	// ErrUnsupported is wrapped when a request or a configuration uses something whose
	// result this package cannot know.
	ErrUnsupported = errors.New("not supported by the evaluation")
)

// Position says where in a configuration file something stands.
type Position struct {
	// File is the name that the caller gave to the configuration; it may be empty.
	File string `json:"file,omitempty"`
	// Line and Column count from 1; Column counts bytes. Both are 0 if unknown.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// String returns file:line:column, as far as they are known.
func (p Position) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.File == "":
		return fmt.Sprintf("line %d, column %d", p.Line, p.Column)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
}

// Fault is what IIS answers with an error: the status that a client gets, and the element
// at fault.
type Fault struct {
	Position
	// Status is always 500. SubStatus is 19 for what IIS refuses when it reads the
	// configuration, 50 and 51 for inbound rules and global rules that fail at a request,
	// 52 and 53 for outbound rules after and before the output cache.
	Status    int `json:"status"`
	SubStatus int `json:"subStatus"`
	// Code is the error code that IIS shows, such as 0x8007000d. It is empty where it is not
	// known.
	Code string `json:"code,omitempty"`
	// Rule is the name of the rule; empty outside of rules.
	Rule string `json:"rule,omitempty"`
	// Element is the path of the element, such as rules/rule[2]/match.
	Element string `json:"element"`
	// Reason says what is wrong.
	Reason string `json:"reason"`

	cause error
}

// The error codes that IIS shows with 500.19.
const (
	codeInvalidData   = "0x8007000d"
	codeAlreadyExists = "0x800700b7"
	codeLockViolation = "0x80070021"
)

// String returns the fault as one line.
func (f *Fault) String() string {
	where := f.Element
	if at := f.Position.String(); at != "" {
		where = strings.TrimSuffix(at+": "+where, ": ")
	}
	if f.Rule != "" {
		where += fmt.Sprintf(": rule %q", f.Rule)
	}
	return fmt.Sprintf("%s: %s (%d.%d)", where, f.Reason, f.Status, f.SubStatus)
}

// Err returns the fault as an error.
func (f *Fault) Err() error { return &FaultError{Fault: *f} }

// FaultError is a Fault as an error.
type FaultError struct{ Fault }

// Error implements error.
func (f *FaultError) Error() string { return f.String() }

// Unwrap returns ErrInvalidConfiguration for 500.19, else ErrInvalidRule, and the error that
// led to it, if there was one.
func (f *FaultError) Unwrap() []error {
	kind := ErrInvalidRule
	if f.SubStatus == subStatusConfiguration {
		kind = ErrInvalidConfiguration
	}
	if f.cause != nil {
		return []error{kind, f.cause}
	}
	return []error{kind}
}

// The sub-status codes of status 500.
const (
	subStatusConfiguration = 19
	subStatusInbound       = 50
	subStatusGlobal        = 51
	subStatusOutbound      = 52
	subStatusBeforeCache   = 53
)

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}
