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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/service"
)

// The service as Windows knows it.
const (
	serviceName        = "EMSAgent"
	serviceDisplayName = eventlog.Source
	serviceDescription = "Applies signed emergency mitigations to Internet Information Services and repairs them when they are changed. While it does not run, mitigations stay in place, but nothing repairs them and no new ones arrive."
)

// exitNotRunning is what "service status" ends with when the service is not running.
const exitNotRunning = 3

// noDependencies instead of names makes the service depend on none.
const noDependencies = "none"

// serviceCommands are what can be done with the service.
var serviceCommands = []struct {
	name, summary string
	run           func(*serviceCommand, []string) error
}{
	{"install", "install the service, or give an installed one other settings", (*serviceCommand).install},
	{"uninstall", "stop and remove the service; mitigations stay in place", (*serviceCommand).uninstall},
	{"start", "start the service and wait until it runs", (*serviceCommand).start},
	{"stop", "stop the service and wait until it has stopped", (*serviceCommand).stop},
	{"status", "show the service", (*serviceCommand).status},
}

// serviceCommand is a command with what it needs of the machine.
type serviceCommand struct {
	goos       string
	getenv     func(string) string
	executable func() (string, error)
	control    service.Control
	validate   func(*agent.Options) error
	secure     func(folder string) error
	// addSource and removeSource make the source of events known, or take it away.
	addSource, removeSource func() error

	ctx    context.Context
	stdout io.Writer
}

// usageError is a mistake in the arguments.
type usageError struct{ error }

// errNotRunning makes "service status" end with its own exit code.
var errNotRunning = errors.New("not running")

// runService is "ems-agent service".
func runService(arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) > 0 && arguments[0] == "run" {
		return runAsService(arguments[1:], stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	manager, err := service.Connect()
	c := &serviceCommand{
		goos: runtime.GOOS, getenv: os.Getenv, executable: os.Executable, control: service.Control{Manager: manager, Clock: clock.RealClock{}},
		validate: (*agent.Options).Validate, secure: service.SecureFolder, addSource: eventlog.Install, removeSource: eventlog.Remove,
		ctx: ctx, stdout: stdout,
	}
	return c.run(arguments, err, stderr)
}

// run calls the command that the arguments name. noManager is why there is no service control manager.
func (c *serviceCommand) run(arguments []string, noManager error, stderr io.Writer) int {
	if len(arguments) == 0 {
		serviceOverview(stderr)
		return exitUsage
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, arguments[0]) {
		serviceOverview(c.stdout)
		return 0
	}
	for _, known := range serviceCommands {
		if known.name != arguments[0] {
			continue
		}
		if noManager != nil {
			fmt.Fprintf(stderr, "ems-agent service %s: this is no Windows. Here an init system runs ems-agent as it is; config/systemd/ems-agent.service is a unit for systemd.\n", known.name)
			return exitFailure
		}
		err := known.run(c, arguments[1:])
		var usage usageError
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errNotRunning):
			return exitNotRunning
		case errors.As(err, &usage):
			fmt.Fprintf(stderr, "ems-agent service %s: usage:\n%v\nSee ems-agent service %s --help.\n", known.name, err, known.name)
			return exitUsage
		}
		fmt.Fprintf(stderr, "ems-agent: %v\n", err)
		return exitFailure
	}
	fmt.Fprintf(stderr, "ems-agent service: unknown command %q\n", arguments[0])
	serviceOverview(stderr)
	return exitUsage
}

func serviceOverview(w io.Writer) {
	fmt.Fprintf(w, "Usage: ems-agent service COMMAND [flags]\n\nThe agent as the service %s of Windows. Commands:\n", serviceName)
	for _, c := range serviceCommands {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 not running (status).\nems-agent service install --help lists the settings.")
}

// runAsService is "ems-agent service run", which Windows calls. Nothing comes before service.Run: Windows does not wait long.
func runAsService(arguments []string, stderr io.Writer) int {
	code, err := service.Run(serviceName, func(ctx context.Context, ready func()) error {
		f := agentFlags{logDir: thisLogDir()}
		flags := flag.NewFlagSet("ems-agent service run", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		if err := f.parse(flags, arguments); err != nil {
			explain(f.logDir, err)
			return err
		}
		f.options.Ready = ready
		return f.serve(ctx, logr.Logger{}, true)
	})
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent: %v\n", err)
	}
	return int(code)
}

// installFlags are those of "service install".
type installFlags struct {
	agentFlags

	dependencies string
	anyFolder    bool
	start        bool
}

func (c *serviceCommand) install(arguments []string) error {
	flags := flag.NewFlagSet("ems-agent service install", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	f := installFlags{agentFlags: agentFlags{logDir: defaultLogDir(c.goos, c.getenv)}}
	f.bind(flags)
	flags.StringVar(&f.dependencies, "dependencies", "WAS,W3SVC", "services that are started before, with commas; those that are missing or disabled are left out; "+noDependencies+" for none")
	flags.BoolVar(&f.anyFolder, "any-folder", false, "take a program that lies elsewhere than below Program Files; make sure that only administrators can write to its folder")
	flags.BoolVar(&f.start, "start", false, "start the service, or start it again with the new settings")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(c.stdout, "Usage: ems-agent service install [flags]")
		flags.SetOutput(c.stdout)
		flags.PrintDefaults()
		return err
	} else if err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("argument %q: not expected", flags.Arg(0))}
	}
	program, err := c.executable()
	if err != nil {
		return fmt.Errorf("path of this program: %w", err)
	}
	if err := errors.Join(c.checkPaths(flags, program, f.anyFolder), c.validate(&f.options)); err != nil {
		return usageError{err}
	}
	for _, folder := range c.ownFolders(&f) {
		if err := c.secure(folder); err != nil {
			return err
		}
	}
	if err := c.addSource(); err != nil {
		return err
	}
	outcome, err := c.control.Install(c.ctx, definition(program, &f, flags))
	if err != nil {
		return err
	}
	what := "Installed"
	if outcome.Existed {
		what = "Changed the settings of"
	}
	fmt.Fprintf(c.stdout, "%s service %s (%s).\n", what, serviceName, serviceDisplayName)
	if len(outcome.DependsOn) > 0 {
		fmt.Fprintf(c.stdout, "Started before it: %s.\n", strings.Join(outcome.DependsOn, ", "))
	}
	if len(outcome.LeftOut) > 0 {
		fmt.Fprintf(c.stdout, "It does not depend on: %s.\n", strings.Join(outcome.LeftOut, ", "))
	}
	if !f.start {
		fmt.Fprintln(c.stdout, "Start it with: ems-agent service start")
		return nil
	}
	if outcome.Existed {
		if err := c.control.Stop(c.ctx, serviceName); err != nil {
			return err
		}
	}
	return c.start(nil)
}

// definition is the service that flags ask for. It gets the settings that were given and no others, so that defaults of a newer
// version reach it.
func definition(program string, f *installFlags, flags *flag.FlagSet) service.Definition {
	d := service.Definition{
		Name: serviceName, DisplayName: serviceDisplayName, Description: serviceDescription, Program: program, Arguments: []string{"service", "run"},
		// At once after an accident, then slowly, so that a mistake in the settings does not fill the event log.
		Restarts: []time.Duration{5 * time.Second, 30 * time.Second, 5 * time.Minute}, FailuresForgotten: 24 * time.Hour, PreShutdown: service.StopLimit,
	}
	if f.dependencies != noDependencies {
		d.DependsOn = strings.FieldsFunc(f.dependencies, func(r rune) bool { return r == ',' || r == ' ' })
	}
	flags.Visit(func(given *flag.Flag) {
		if !slices.Contains([]string{"dependencies", "any-folder", "start"}, given.Name) {
			d.Arguments = append(d.Arguments, "--"+given.Name+"="+given.Value.String())
		}
	})
	return d
}

// pathFlags are the flags that name files and folders.
var pathFlags = []string{"kubeconfig", "iis-root", "state-dir", "trust-file", "appcmd", "facts-file", "log-dir", "metrics-file"}

// checkPaths refuses paths that are not safe for a service, and a program that others than administrators could replace.
func (c *serviceCommand) checkPaths(flags *flag.FlagSet, program string, anyFolder bool) error {
	var problems []error
	for _, name := range pathFlags {
		f := flags.Lookup(name)
		if f == nil || f.Value.String() == "" || name == "appcmd" && f.Value.String() == drivers.NoAppCmd {
			continue
		}
		if err := service.CheckPath(f.Value.String()); err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", name, err))
		}
	}
	if err := service.CheckPath(program); err != nil {
		return errors.Join(append(problems, fmt.Errorf("this program: %w", err))...)
	}
	safe := slices.ContainsFunc([]string{"ProgramFiles", "ProgramW6432", "SystemRoot"}, func(variable string) bool {
		folder := c.getenv(variable)
		return service.CheckPath(folder) == nil && service.Below(folder, program)
	})
	if !safe && !anyFolder {
		problems = append(problems, fmt.Errorf("this program: %w: %s: copy it to a folder below Program Files, or say --any-folder", service.ErrUnsafeLocation, program))
	}
	return errors.Join(problems...)
}

// ownFolders are the folders that only administrators may use, those that hold others first.
func (c *serviceCommand) ownFolders(f *installFlags) []string {
	var folders []string
	if data := strings.TrimRight(c.getenv("ProgramData"), `\`); data != "" {
		if own := data + `\EMS`; service.Below(own, f.options.StateDir) || service.Below(own, f.logDir) || service.Below(own, f.options.TrustFile) {
			folders = append(folders, own)
		}
	}
	for _, folder := range []string{f.options.StateDir, f.logDir} {
		if folder != "" {
			folders = append(folders, folder)
		}
	}
	return folders
}

// withoutArguments refuses arguments.
func (c *serviceCommand) withoutArguments(verb string, arguments []string) error {
	flags := flag.NewFlagSet("ems-agent service "+verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(c.stdout, "Usage: ems-agent service %s\n", verb)
		return err
	} else if err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("argument %q: not expected", flags.Arg(0))}
	}
	return nil
}

func (c *serviceCommand) uninstall(arguments []string) error {
	if err := c.withoutArguments("uninstall", arguments); err != nil {
		return err
	}
	existed, err := c.control.Uninstall(c.ctx, serviceName)
	if err := errors.Join(err, c.removeSource()); err != nil {
		return err
	}
	if !existed {
		fmt.Fprintf(c.stdout, "There was no service %s.\n", serviceName)
		return nil
	}
	fmt.Fprintf(c.stdout, "Removed service %s. Mitigations stay in place, and so do its state and logs.\n", serviceName)
	return nil
}

func (c *serviceCommand) start(arguments []string) error {
	if err := c.withoutArguments("start", arguments); err != nil {
		return err
	}
	if err := c.control.Start(c.ctx, serviceName); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Service %s runs.\n", serviceName)
	return nil
}

func (c *serviceCommand) stop(arguments []string) error {
	if err := c.withoutArguments("stop", arguments); err != nil {
		return err
	}
	if err := c.control.Stop(c.ctx, serviceName); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "Service %s has stopped. Mitigations stay in place.\n", serviceName)
	return nil
}

func (c *serviceCommand) status(arguments []string) error {
	if err := c.withoutArguments("status", arguments); err != nil {
		return err
	}
	status, err := c.control.Manager.Query(serviceName)
	if errors.Is(err, service.ErrNotInstalled) {
		fmt.Fprintf(c.stdout, "Service %s is not installed.\n", serviceName)
		return errNotRunning
	}
	if err != nil {
		return fmt.Errorf("service %s: %w", serviceName, err)
	}
	fmt.Fprintf(c.stdout, "Service:     %s (%s)\nState:       %s\nStart:       %s\n", serviceName, serviceDisplayName, status.State, status.StartType)
	if status.PID != 0 {
		fmt.Fprintf(c.stdout, "Process:     %d\n", status.PID)
	}
	if status.State == service.Stopped && status.ExitCode != 0 {
		fmt.Fprintf(c.stdout, "Ended with:  %d\n", status.ExitCode)
	}
	if len(status.DependsOn) > 0 {
		fmt.Fprintf(c.stdout, "Depends on:  %s\n", strings.Join(status.DependsOn, ", "))
	}
	fmt.Fprintf(c.stdout, "Command:     %s\n", status.Command)
	if status.State != service.Running {
		return errNotRunning
	}
	return nil
}
