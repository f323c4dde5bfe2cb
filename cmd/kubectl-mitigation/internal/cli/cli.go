package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"
)

// World is what a command has of the world.
type World struct {
	Stdout, Stderr io.Writer
	Stdin          io.Reader
	Now            func() time.Time
	Getenv         func(string) string
}

// Command is one command; its name may have two words.
type Command struct {
	Name, Arguments, Summary string
	// Optional says that the command can do without the arguments.
	Optional bool
	// Bind adds the flags and returns what runs with them.
	Bind func(w World, flags *flag.FlagSet) func(ctx context.Context, operands []string) error
}

// UsageError is an error in how a command was called. It ends the program with exit code 2.
type UsageError struct{ Err error }

// Error implements error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e UsageError) Unwrap() error { return e.Err }

// Misused is an error in how a command was called.
func Misused(format string, arguments ...any) error {
	return UsageError{fmt.Errorf(format, arguments...)}
}

// ExitError ends the program with an exit code, without another word: the output has said what there is to say.
type ExitError struct{ Code int }

// Error implements error.
func (e ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }
