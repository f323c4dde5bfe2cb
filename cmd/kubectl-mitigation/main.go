package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // windows of rollouts name time zones, and Windows has no such data

	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/check"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/describe"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/diff"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/enroll"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/eventcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/inventory"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/telemetry"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/tree"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

// completer is the name under which kubectl calls a plugin to complete its arguments.
const completer = "kubectl_complete-mitigation"

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

// group is what commands have in common, for the overview.
type group struct {
	title    string
	commands []cli.Command
}

func groups() []group {
	ids := []cli.Completion{{Kinds: []cli.Kind{cli.Mitigations}}}
	return []group{
		{"Look", completing(slices.Concat(inventory.Commands(), describe.Commands(), tree.Commands(), explain.Commands(), diff.Commands(), eventcmd.Commands(), check.Commands()), []cli.Completion{{Kinds: []cli.Kind{cli.Pools, cli.Servers}}, {Kinds: []cli.Kind{cli.Mitigations}}})},
		{"Steer", completing(steer.Commands(), ids)},
		{"Roll out", completing(rolloutcmd.Commands(), ids)},
		{"Servers", enroll.Commands()},
		{"Diagnostic data", telemetry.Commands()},
		{"Try out", []cli.Command{
			{Name: "simulate", Summary: simulateSummary, Bind: own(bindSimulate)},
			{Name: "test-connectivity", Summary: "go the way of a feed: fetch, verify, read", Bind: own(bindConnectivity)},
		}},
		{"Publish", []cli.Command{
			{Name: "feed lint", Arguments: "DIRECTORY|DOCUMENT...", Summary: "check mitigations and their samples without signing", Bind: own(bindLint)},
			{Name: "feed sign", Summary: "make a signed document of a directory of mitigations", Bind: own(bindSign)},
			{Name: "feed verify", Arguments: "DOCUMENT...", Summary: "verify signed documents under a trust policy", Bind: own(bindVerify)},
			{Name: "feed serve", Summary: "serve a signed document over HTTPS", Bind: own(bindServe)},
			{Name: "feed bundle create", Summary: "pack a signed document into one file, to be carried to a cluster that cannot reach the publisher", Bind: own(bindBundleCreate)},
			{Name: "feed bundle verify", Arguments: "FILE", Summary: "verify a packed document and take it apart", Bind: own(bindBundleVerify)},
		}},
		{"The program", []cli.Command{
			{Name: "completion", Arguments: "bash|zsh|fish|powershell", Summary: "print the script that lets a shell complete commands, flags and names", Bind: bindCompletion, Completes: []cli.Completion{{Words: shells}}},
			{Name: "options", Summary: "list the flags of kubectl that every command with a cluster takes", Bind: bindOptions},
			{Name: "version", Summary: "print the versions of this program, the manager and the agents", Bind: bindVersion},
		}},
	}
}

// completing says what shells offer for the arguments of commands that do not say it themselves.
func completing(commands []cli.Command, offer []cli.Completion) []cli.Command {
	for i := range commands {
		if commands[i].Completes == nil && commands[i].Arguments != "" {
			commands[i].Completes = offer
		}
	}
	return commands
}

func commands() []cli.Command {
	var list []cli.Command
	for _, g := range groups() {
		list = append(list, g.commands...)
	}
	return list
}

// own makes a command of one of this package.
func own(bind func(*program, *pflag.FlagSet) func(context.Context, []string) error) func(cli.World, *pflag.FlagSet) func(context.Context, []string) error {
	return func(w cli.World, flags *pflag.FlagSet) func(context.Context, []string) error {
		return bind(&program{stdout: w.Stdout, stderr: w.Stderr, now: w.Now}, flags)
	}
}

// world is what the commands get.
func (p *program) world() cli.World {
	return cli.World{Stdout: p.stdout, Stderr: p.stderr, Stdin: os.Stdin, Now: p.now, Getenv: os.Getenv}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p := &program{stdout: os.Stdout, stderr: os.Stderr, now: time.Now}
	code := p.run(ctx, p.called(os.Args))
	stop()
	os.Exit(code)
}

// called are the arguments; under the name that kubectl looks for, the program completes.
func (p *program) called(arguments []string) []string {
	if strings.TrimSuffix(filepath.Base(arguments[0]), ".exe") == completer {
		return append([]string{"__complete"}, arguments[1:]...)
	}
	return arguments[1:]
}

// run runs a command line and returns the exit code.
func (p *program) run(ctx context.Context, arguments []string) int {
	root := p.tree()
	root.SetArgs(arguments)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	name := strings.TrimPrefix(strings.TrimPrefix(command.CommandPath(), root.CommandPath()), " ")
	return p.explain(name, err)
}

// explain says what went wrong, and returns the exit code.
func (p *program) explain(name string, err error) int {
	called, more := "kubectl-mitigation", "kubectl mitigation"
	if name != "" {
		called, more = called+" "+name, more+" "+name
	}
	exit, exits := errors.AsType[cli.ExitError](err)
	switch _, usage := errors.AsType[usageError](err); {
	case exits:
		return exit.Code
	case errors.Is(err, errRefused):
		return exitFailure
	case usage:
		fmt.Fprintf(p.stderr, "%s: %v\nSee %s --help.\n", called, err, more)
		return exitUsage
	default:
		fmt.Fprintf(p.stderr, "%s: %v\n", called, err)
		return exitFailure
	}
}
