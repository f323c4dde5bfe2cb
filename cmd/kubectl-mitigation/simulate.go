package main

import (
	"context"
	"errors"
	"flag"

	simulation "mitigation.dev/ems/internal/simulate/command"
)

// simulateSummary stands in the overview.
const simulateSummary = simulation.Summary

func bindSimulate(p *program, flags *flag.FlagSet) func(context.Context, []string) error {
	c := simulation.Bind(flags)
	return func(ctx context.Context, _ []string) error {
		err := c.Run(ctx, p.stdout, p.stderr)
		if misuse, ok := errors.AsType[simulation.UsageError](err); ok {
			return usageError{misuse.Err}
		}
		return err
	}
}
