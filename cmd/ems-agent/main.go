// Command ems-agent runs on every server of a pool and makes IIS match the pool's MitigationPlan. "ems-agent local" does
// the same for a single server from a signed document, without a cluster. "ems-agent simulate" says what URL Rewrite rules
// do with requests, and does nothing else. "ems-agent enroll" makes the server one of its pool. "ems-agent service"
// makes it a service of Windows. "ems-agent status", "kill-switch", "block", "unblock" and "repair" are for the people in
// charge of the server, with the agent running or not.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mitigation.dev/ems/agent/service"
)

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	// Before anything is loaded: a library in the folder of the program must not become part of a program that may do all.
	if err := service.Harden(); err != nil {
		fmt.Fprintf(os.Stderr, "ems-agent: %v\n", err)
		os.Exit(exitFailure)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) > 0 && arguments[0] == "local" {
		return runLocal(arguments[1:], stdout, stderr)
	}
	if len(arguments) > 0 && arguments[0] == "simulate" {
		return simulate(arguments[1:], stdout, stderr)
	}
	if len(arguments) > 0 && arguments[0] == "enroll" {
		return runEnroll(arguments[1:], os.Stdin, stdout, stderr)
	}
	if len(arguments) > 0 && arguments[0] == "service" {
		return runService(arguments[1:], stdout, stderr)
	}
	if len(arguments) > 0 && isOperatorCommand(arguments[0]) {
		return runOperator(arguments[0], arguments[1:], stdout, stderr)
	}
	return runAgent(arguments, stdout, stderr)
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
