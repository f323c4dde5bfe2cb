package main

import (
	"context"
	"errors"
	"flag"
	"slices"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	simulation "mitigation.dev/ems/internal/simulate/command"
)

// simulateSummary stands in the overview.
const simulateSummary = simulation.Summary

func bindSimulate(p *program, flags *flag.FlagSet) func(context.Context, []string) error {
	c := simulation.Bind(flags)
	connection := fleet.BindFor(flags, "server")
	c.BindServer(flags, func(ctx context.Context, q simulation.Question) (simulation.Found, error) {
		return p.lookAtServer(ctx, connection, q)
	})
	return func(ctx context.Context, _ []string) error {
		var idle string
		flags.Visit(func(f *flag.Flag) {
			if c.Server() == "" && slices.Contains(fleet.Names, f.Name) {
				idle = f.Name
			}
		})
		if idle != "" {
			return misused("--%s: needs --server", idle)
		}
		err := c.Run(ctx, p.stdout, p.stderr)
		if misuse, ok := errors.AsType[simulation.UsageError](err); ok {
			return usageError{Err: misuse.Err}
		}
		return err
	}
}

// lookAtServer takes a mitigation out of the cluster.
func (p *program) lookAtServer(ctx context.Context, connection *fleet.Connection, q simulation.Question) (simulation.Found, error) {
	// The form is checked before the kubeconfig is: what is wrong with the call is said first.
	if _, err := connection.ParseKey(q.Server, "", "--server"); err != nil {
		return simulation.Found{}, usageError{Err: err}
	}
	reader, fallback, err := connection.Open()
	if err != nil {
		return simulation.Found{}, usageError{Err: err}
	}
	key, err := connection.ParseKey(q.Server, fallback, "--server")
	if err != nil {
		return simulation.Found{}, usageError{Err: err}
	}
	view, config, err := fleet.Look(ctx, reader, key, q.Mitigation, p.now())
	if err != nil {
		return simulation.Found{}, err
	}
	view.Limits(q.WithConfiguration)
	return simulation.Found{Config: config, Text: view.Text(), View: view}, nil
}
