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

	"github.com/go-logr/logr"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/logfile"
	"mitigation.dev/ems/internal/version"
)

// logName begins the names of the files of the text log.
const logName = "ems-agent"

// agentFlags are the flags of the agent itself, as a program or a service.
type agentFlags struct {
	options agent.Options
	logDir  string
}

func (f *agentFlags) bind(flags *flag.FlagSet) {
	f.options.BindFlags(flags)
	flags.StringVar(&f.logDir, "log-dir", f.logDir, "folder for a text log, beside the log on the standard error (default of a service: "+`logs below %ProgramData%\EMS)`)
}

// parse reads and checks the arguments of the agent.
func (f *agentFlags) parse(flags *flag.FlagSet, arguments []string) error {
	f.bind(flags)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	err := f.options.Validate()
	if flags.NArg() > 0 {
		err = errors.Join(fmt.Errorf("argument %q: not expected", flags.Arg(0)), err)
	}
	return err
}

// runAgent is "ems-agent" without a command: the agent in the foreground.
func runAgent(arguments []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ems-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var f agentFlags
	f.bind(flags)
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	if *showVersion {
		fmt.Fprintln(stdout, version.String())
		return 0
	}
	err := f.options.Validate()
	if flags.NArg() > 0 {
		err = errors.Join(fmt.Errorf("argument %q: not expected", flags.Arg(0)), err)
	}
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent: usage:\n%v\nSee ems-agent -help, and ems-agent local for a server without a cluster.\n", err)
		return exitUsage
	}
	console, err := newLogger()
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent: log: %v\n", err)
		return exitFailure
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := f.serve(ctx, console, false); err != nil {
		fmt.Fprintf(stderr, "ems-agent: %v\n", err)
		return exitFailure
	}
	return 0
}

// serve runs the agent until the context ends, with its logs. A service has the event log of the system too, and maybe no
// console.
func (f *agentFlags) serve(ctx context.Context, console logr.Logger, asService bool) error {
	saveMemory()
	var mirror *logfile.File
	f.options.Log = console
	if f.logDir != "" {
		var err error
		if mirror, err = logfile.Open(logfile.Options{Dir: f.logDir, Name: logName}); err != nil {
			return err
		}
		defer mirror.Close()
		sinks := []logr.LogSink{mirror.Sink()}
		if console.GetSink() != nil {
			sinks = append(sinks, console.GetSink())
		}
		f.options.Log = logr.New(logfile.Tee(sinks...))
	}
	if !asService {
		if mirror != nil {
			f.options.Events = eventlog.InFile(mirror).Write
		}
		return agent.Run(ctx, f.options)
	}
	events := eventlog.Open(mirror)
	defer events.Close()
	f.options.Events = events.Write
	ready := f.options.Ready
	f.options.Ready = func() {
		events.Write(eventlog.ServiceStarted, fmt.Sprintf("The agent %s for server %s of pool %s has started.", version.Version, f.options.Server, f.options.Pool))
		if ready != nil {
			ready()
		}
	}
	err := agent.Run(ctx, f.options)
	if err != nil && ctx.Err() == nil {
		events.Write(eventlog.ServiceFailed, "The agent could not work: "+err.Error())
		return err
	}
	events.Write(eventlog.ServiceStopped, "The agent has stopped. What is in place stays in place.")
	return err
}

// explain tells why a service could not even begin, where nobody reads a standard error.
func explain(logDir string, problem error) {
	var mirror *logfile.File
	if logDir != "" {
		if opened, err := logfile.Open(logfile.Options{Dir: logDir, Name: logName}); err == nil {
			mirror = opened
			defer mirror.Close()
		}
	}
	events := eventlog.Open(mirror)
	defer events.Close()
	events.Write(eventlog.ServiceFailed, "The agent cannot be started with these settings: "+strings.ReplaceAll(problem.Error(), "\n", "; "))
}

// defaultLogDir is where a service writes its text log.
func defaultLogDir(goos string, getenv func(string) string) string {
	if data := getenv("ProgramData"); goos == "windows" && data != "" {
		return strings.TrimRight(data, `\`) + `\EMS\logs`
	}
	return ""
}

// thisLogDir is defaultLogDir on this machine.
func thisLogDir() string { return defaultLogDir(runtime.GOOS, os.Getenv) }
