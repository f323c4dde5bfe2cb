// Command ems-agent runs on every server of a pool and makes IIS match the pool's MitigationPlan. "ems-agent local" does
// the same for a single server from a signed document, without a cluster. "ems-agent simulate" says what URL Rewrite rules
// do with requests, and does nothing else.
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

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/internal/version"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) > 0 && arguments[0] == "local" {
		return runLocal(arguments[1:], stdout, stderr)
	}
	if len(arguments) > 0 && arguments[0] == "simulate" {
		return simulate(arguments[1:], stdout, stderr)
	}
	flags := flag.NewFlagSet("ems-agent", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var options agent.Options
	options.BindFlags(flags)
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
	err := options.Validate()
	if flags.NArg() > 0 {
		err = errors.Join(fmt.Errorf("argument %q: not expected", flags.Arg(0)), err)
	}
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent: usage:\n%v\nSee ems-agent -help, and ems-agent local for a server without a cluster.\n", err)
		return exitUsage
	}
	options.Log, err = newLogger()
	if err != nil {
		fmt.Fprintf(stderr, "ems-agent: log: %v\n", err)
		return exitFailure
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := agent.Run(ctx, options); err != nil {
		fmt.Fprintf(stderr, "ems-agent: %v\n", err)
		return exitFailure
	}
	return 0
}

// newLogger writes JSON to the standard error. Nothing is sampled away: every line tells of a change on the server.
func newLogger() (logr.Logger, error) {
	config := zap.NewProductionConfig()
	config.Sampling = nil
	config.DisableStacktrace = true
	config.EncoderConfig.EncodeTime = zapcore.RFC3339TimeEncoder
	logger, err := config.Build()
	if err != nil {
		return logr.Logger{}, err
	}
	return zapr.NewLogger(logger), nil
}
