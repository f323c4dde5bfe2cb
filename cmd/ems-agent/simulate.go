package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"mitigation.dev/ems/internal/simulate/command"
)

// simulate runs the command "ems-agent simulate". It needs neither a cluster nor the agent's own flags: on a server in trouble,
// it says what the rules that stand there do.
func simulate(arguments []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("ems-agent simulate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "ems-agent simulate: %s\n", command.Summary)
		flags.PrintDefaults()
	}
	c := command.Bind(flags)
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if flags.NArg() > 0 {
		err = command.UsageError{Err: fmt.Errorf("argument %q: not expected", flags.Arg(0))}
	} else {
		err = c.Run(ctx, stdout, stderr)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "ems-agent simulate: %v\n", err)
	if _, misuse := errors.AsType[command.UsageError](err); misuse {
		return exitUsage
	}
	return exitFailure
}
