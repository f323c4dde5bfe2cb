package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// World is what a command has of the world.
type World struct {
	Stdout, Stderr io.Writer
	Stdin          io.Reader
	Now            func() time.Time
	Getenv         func(string) string
}

// Kind is of what kind an argument is that a shell can complete from the cluster.
type Kind string

// Kinds.
const (
	Pools       Kind = "pools"
	Servers     Kind = "servers"
	Mitigations Kind = "mitigations"
	Feeds       Kind = "feeds"
)

// Command is one command; its name may have several words.
type Command struct {
	Name, Arguments, Summary string
	// Example is a command line or several, without a prompt, that help shows.
	Example string
	// Optional says that the command can do without the arguments.
	Optional bool
	// Completes says what a shell offers for each argument; the last entry counts for those behind it, too.
	Completes []Completion
	// Bind adds the flags and returns what runs with them.
	Bind func(w World, flags *pflag.FlagSet) func(ctx context.Context, operands []string) error
}

// Completion is what a shell offers for one argument: objects of the cluster and words.
type Completion struct {
	Kinds []Kind
	Words []string
	// After has the kinds behind a first argument of a word.
	After map[string]Kind
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

// Names is a flag that may be repeated, and whose value may be a list with commas.
type Names []string

// String implements pflag.Value.
func (n *Names) String() string { return strings.Join(*n, ",") }

// Type implements pflag.Value.
func (*Names) Type() string { return "names" }

// Set implements pflag.Value.
func (n *Names) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			return errors.New("want names with commas between them")
		}
		*n = append(*n, name)
	}
	return nil
}

// Annotations of flags, for shells.
const (
	valuesAnnotation = "ems.mitigation.dev/values"
	kindAnnotation   = "ems.mitigation.dev/kind"
)

// OneOf says which values a flag has, for shells.
func OneOf(flags *pflag.FlagSet, name string, values ...string) {
	annotate(flags, name, valuesAnnotation, values)
}

// OfKind says that the value of a flag names an object of the cluster, for shells.
func OfKind(flags *pflag.FlagSet, name string, kind Kind) {
	annotate(flags, name, kindAnnotation, []string{string(kind)})
}

func annotate(flags *pflag.FlagSet, name, key string, values []string) {
	flag := flags.Lookup(name)
	if flag.Annotations == nil {
		flag.Annotations = map[string][]string{}
	}
	flag.Annotations[key] = values
}

// CompletionOf is what was said of a flag with OneOf and OfKind.
func CompletionOf(flag *pflag.Flag) Completion {
	c := Completion{Words: flag.Annotations[valuesAnnotation]}
	for _, kind := range flag.Annotations[kindAnnotation] {
		c.Kinds = append(c.Kinds, Kind(kind))
	}
	return c
}
