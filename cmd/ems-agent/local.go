package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/local"
)

// localCommands are the commands of "ems-agent local", in the order in which they are explained.
var localCommands = []struct {
	name    local.Command
	summary string
	run     func(context.Context, local.Options) *local.Report
}{
	{local.CommandDiff, "print what apply would change, as a unified diff", local.Diff},
	{local.CommandApply, "verify a signed document and bring its mitigations into place", local.Apply},
	{local.CommandStatus, "say what is in place, and whether it still is as it was put there", local.Status},
	{local.CommandRevert, "take everything away again, or what --only names; needs no document", local.Revert},
}

// localFlags are the flags of every command.
type localFlags struct {
	local.Options

	appCmd, output string
	verbose        bool
}

func (f *localFlags) bind(flags *flag.FlagSet) {
	paths := agent.DefaultPaths()
	flags.StringVar(&f.Document, "document", "", "signed document; required by apply and diff, and status compares the server with it")
	flags.StringVar(&f.TrustFile, "trust", paths.TrustFile, "trust policy: which signers this server believes")
	flags.StringVar(&f.Feed, "feed", "", "name of the policy in the trust file (default: the only one)")
	flags.StringVar(&f.IISRoot, "iis-root", paths.IISRoot, "root of the drive that IIS is installed on, or of a copy of it")
	flags.StringVar(&f.StateDir, "state-dir", paths.StateDir, "folder for journal, documents and memory, which revert needs; only administrators may write there")
	flags.Func("only", "id of a mitigation; can be given several times. M1 stands for M1.1 as well", func(id string) error {
		f.Only = append(f.Only, id)
		return nil
	})
	flags.BoolVar(&f.DryRun, "dry-run", false, "do everything but the change")
	flags.BoolVar(&f.WebConfig, "web-config", false, "put rules of sites into their web.config instead of applicationHost.config")
	flags.StringVar(&f.Facts.Product, "product", "", "product on the server: "+strings.Join(facts.Products, ", "))
	flags.StringVar(&f.Facts.Role, "role", "", "role of the server within the product")
	flags.StringVar(&f.Facts.Build, "build", "", "build of the product, four numbers: 15.2.2562.43")
	flags.StringVar(&f.FactsFile, "facts-file", "", "YAML file with product, role and build")
	flags.StringVar(&f.appCmd, "appcmd", "", "path of appcmd.exe (default on Windows: its usual place below --iis-root), or "+drivers.NoAppCmd+" (default elsewhere)")
	flags.StringVar(&f.output, "o", "text", "output: text or json")
	flags.BoolVar(&f.verbose, "verbose", false, "write a log to the standard error")
}

// ownState refuses to keep the journal of another root, such as a copy, in the folder of this machine's agent.
func ownState(flags *flag.FlagSet) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["iis-root"] && !given["state-dir"] {
		return errors.New("--state-dir: required with --iis-root: each root has a journal of its own")
	}
	return nil
}

// runLocal is "ems-agent local".
func runLocal(arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) == 0 {
		localOverview(stderr)
		return exitUsage
	}
	for _, c := range localCommands {
		if arguments[0] == string(c.name) {
			return runLocalCommand(c.name, c.run, arguments[1:], stdout, stderr)
		}
	}
	switch arguments[0] {
	case "help", "-h", "-help", "--help":
		localOverview(stdout)
		return 0
	}
	fmt.Fprintf(stderr, "ems-agent local: unknown command %q\n", arguments[0])
	localOverview(stderr)
	return exitUsage
}

func localOverview(w io.Writer) {
	fmt.Fprintln(w, "Usage: ems-agent local COMMAND [flags]\n\nA single server, without a cluster. Commands:")
	for _, c := range localCommands {
		fmt.Fprintf(w, "  %-7s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\nExit codes: 0 done or nothing to do, 1 refused or failed, 2 wrong usage.\nems-agent local COMMAND --help lists the flags.")
}

func runLocalCommand(name local.Command, run func(context.Context, local.Options) *local.Report, arguments []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ems-agent local "+string(name), flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var options localFlags
	options.bind(flags)
	err := flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "Usage: ems-agent local %s [flags]\n", name)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return 0
	}
	if err == nil {
		err = errors.Join(options.Validate(name), ownState(flags))
	}
	if flags.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("argument %q: not expected", flags.Arg(0)))
	}
	if options.output != "text" && options.output != "json" {
		err = errors.Join(err, fmt.Errorf("-o: %q: want text or json", options.output))
	}
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent local %s: usage:\n%v\nSee ems-agent local %s --help.\n", name, err, name)
		return exitUsage
	}
	if options.verbose {
		if options.Log, err = newLogger(); err != nil {
			fmt.Fprintf(stderr, "ems-agent: log: %v\n", err)
			return exitFailure
		}
	}
	options.Pools, options.Services = drivers.For(runtime.GOOS, options.IISRoot, options.appCmd)
	options.Registry = facts.Registry
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return printReport(run(ctx, options.Options), options.output, stdout, stderr)
}

// printReport writes a report and returns the exit code. A report that cannot be written is a failure: nobody would know
// what was done.
func printReport(report *local.Report, output string, stdout, stderr io.Writer) int {
	var err error
	if output == "json" {
		err = report.WriteJSON(stdout)
	} else if err = report.WriteText(stdout); err == nil {
		err = report.WriteNotes(stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent: output: %v\n", err)
		return max(exitFailure, report.ExitCode())
	}
	return report.ExitCode()
}
