package main

import (
	"context"
	"errors"
	"flag"

	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	simulation "mitigation.dev/ems/internal/simulate/command"
)

// simulateSummary stands in the overview.
const simulateSummary = simulation.Summary

func bindSimulate(p *program, flags *pflag.FlagSet) func(context.Context, []string) error {
	connection := fleet.BindFor(flags, "server", fleet.OwnServer)
	// The flags are shared with ems-agent, which has those of the standard library.
	shared := flag.NewFlagSet("", flag.ContinueOnError)
	c := simulation.Bind(shared)
	c.BindServer(shared, func(ctx context.Context, q simulation.Question) (simulation.Found, error) {
		return p.lookAtServer(ctx, connection, q)
	})
	shared.VisitAll(func(f *flag.Flag) {
		if len(f.Name) == 1 {
			return
		}
		mine := pflag.PFlagFromGoFlag(f)
		if one := f.Name[:1]; one == "o" && shared.Lookup(one) != nil {
			mine.Shorthand = one
		}
		flags.AddFlag(mine)
	})
	cli.OfKind(flags, "server", cli.Servers)
	cli.OneOf(flags, "output", outputText, outputJSON)
	return func(ctx context.Context, _ []string) error {
		var idle string
		flags.Visit(func(f *pflag.Flag) {
			if c.Server() == "" && fleet.IsConnection(f) {
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
