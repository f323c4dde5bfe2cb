package main

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	simulation "mitigation.dev/ems/internal/simulate/command"
)

// simulateSummary stands in the overview.
const simulateSummary = simulation.Summary

func bindSimulate(p *program, flags *flag.FlagSet) func(context.Context, []string) error {
	c := simulation.Bind(flags)
	connection := fleet.Bind(flags)
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
			return usageError{misuse.Err}
		}
		return err
	}
}

// lookAtServer takes a mitigation out of the cluster.
func (p *program) lookAtServer(ctx context.Context, connection *fleet.Connection, q simulation.Question) (simulation.Found, error) {
	namespace, name, given := strings.Cut(q.Server, "/")
	if !given {
		namespace, name = connection.Namespace(), q.Server
	}
	switch {
	case name == "" || strings.Contains(name, "/") || given && namespace == "":
		return simulation.Found{}, misused("--server: %q: want the form NAME or NAMESPACE/NAME", q.Server)
	case connection.Namespace() != "" && namespace != connection.Namespace():
		return simulation.Found{}, misused("--namespace, --server: %q and %q: want one namespace", connection.Namespace(), namespace)
	}
	reader, fallback, err := connection.Open()
	if err != nil {
		return simulation.Found{}, usageError{err}
	}
	if namespace == "" {
		namespace = fallback
	}
	view, config, err := fleet.Look(ctx, reader, types.NamespacedName{Namespace: namespace, Name: name}, q.Mitigation, p.now())
	if err != nil {
		return simulation.Found{}, err
	}
	view.Limits(q.WithConfiguration)
	return simulation.Found{Config: config, Text: view.Text(), View: view}, nil
}
