package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // windows of rollouts name time zones, and Windows has no such data

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/enroll"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/internal/version"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// errRefused ends a command whose output has said already what is wrong.
var errRefused = errors.New("refused")

// usageError is an error in how the command was called.
type usageError = cli.UsageError

func misused(format string, args ...any) error { return cli.Misused(format, args...) }

// program is what a command has of the world.
type program struct {
	stdout, stderr io.Writer
	now            func() time.Time
}

// command is one command; its name may have two words.
type command struct {
	name, arguments, summary string
	// optional says that the command can do without the arguments.
	optional bool
	// bind adds the flags and returns what runs with them.
	bind func(p *program, flags *flag.FlagSet) func(ctx context.Context, arguments []string) error
}

func commands() []command {
	list := []command{
		{name: "feed lint", arguments: "DIRECTORY|DOCUMENT...", summary: "check mitigations and their samples without signing", bind: bindLint},
		{name: "feed sign", summary: "make a signed document of a directory of mitigations", bind: bindSign},
		{name: "feed verify", arguments: "DOCUMENT...", summary: "verify signed documents under a trust policy", bind: bindVerify},
		{name: "feed serve", summary: "serve a signed document over HTTPS", bind: bindServe},
		{name: "feed bundle create", summary: "pack a signed document into one file, to be carried to a cluster that cannot reach the publisher", bind: bindBundleCreate},
		{name: "feed bundle verify", arguments: "FILE", summary: "verify a packed document and take it apart", bind: bindBundleVerify},
		{name: "test-connectivity", summary: "go the way of a feed: fetch, verify, read", bind: bindConnectivity},
		{name: "simulate", summary: simulateSummary, bind: bindSimulate},
	}
	for _, c := range slices.Concat(explain.Commands(), steer.Commands(), rolloutcmd.Commands(), enroll.Commands()) {
		list = append(list, command{c.Name, c.Arguments, c.Summary, c.Optional, func(p *program, flags *flag.FlagSet) func(context.Context, []string) error {
			return c.Bind(p.world(), flags)
		}})
	}
	return append(list, command{name: "version", summary: "print the version", bind: bindVersion})
}

// world is what the commands that work with a cluster get.
func (p *program) world() cli.World {
	return cli.World{Stdout: p.stdout, Stderr: p.stderr, Stdin: os.Stdin, Now: p.now, Getenv: os.Getenv}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{stdout: os.Stdout, stderr: os.Stderr, now: time.Now}
	code := p.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func (p *program) run(ctx context.Context, arguments []string) int {
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(arguments) >= len(words) && strings.Join(arguments[:len(words)], " ") == c.name {
			return p.execute(ctx, c, arguments[len(words):])
		}
	}
	if len(arguments) > 0 && (arguments[len(arguments)-1] == "--help" || arguments[len(arguments)-1] == "-h" || arguments[0] == "help") {
		p.overview(p.stdout)
		return 0
	}
	if len(arguments) > 0 {
		fmt.Fprintf(p.stderr, "kubectl-mitigation: unknown command %q\n", strings.Join(arguments[:min(3, len(arguments))], " "))
	}
	p.overview(p.stderr)
	return exitUsage
}

func (p *program) execute(ctx context.Context, c command, arguments []string) int {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	// Messages of the flag package would come without the name of the program; they are printed below.
	flags.SetOutput(io.Discard)
	run := c.bind(p, flags)
	operands, err := parse(flags, arguments)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(p.stdout, "%s\n\n  kubectl mitigation %s\n", c.summary, strings.TrimSpace(c.name+" [flags] "+c.arguments))
		flags.SetOutput(p.stdout)
		flags.PrintDefaults()
		return 0
	case err != nil:
		err = usageError{Err: err}
	case c.arguments == "" && len(operands) > 0:
		err = misused("argument %q: not expected", operands[0])
	case c.arguments != "" && !c.optional && len(operands) == 0:
		err = misused("%s: missing", c.arguments)
	default:
		err = run(ctx, operands)
	}
	exit, exits := errors.AsType[cli.ExitError](err)
	switch _, usage := errors.AsType[usageError](err); {
	case err == nil:
		return 0
	case exits:
		return exit.Code
	case errors.Is(err, errRefused):
		return exitFailure
	case usage:
		fmt.Fprintf(p.stderr, "kubectl-mitigation %s: %v\nSee kubectl mitigation %s --help.\n", c.name, err, c.name)
		return exitUsage
	default:
		fmt.Fprintf(p.stderr, "kubectl-mitigation %s: %v\n", c.name, err)
		return exitFailure
	}
}

// parse lets flags stand behind operands too, as users of kubectl are used to.
func parse(flags *flag.FlagSet, arguments []string) (operands []string, err error) {
	for {
		if err := flags.Parse(arguments); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return operands, nil
		}
		operands = append(operands, flags.Arg(0))
		arguments = flags.Args()[1:]
	}
}

func (p *program) overview(w io.Writer) {
	fmt.Fprintln(w, "Usage: kubectl mitigation COMMAND [flags]\n\nCommands:")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-20s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\nkubectl mitigation COMMAND --help lists the flags of a command.")
}

func bindVersion(p *program, _ *flag.FlagSet) func(context.Context, []string) error {
	return func(context.Context, []string) error {
		fmt.Fprintln(p.stdout, version.String())
		return nil
	}
}
