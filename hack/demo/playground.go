package main

import (
	"context"
	"errors"
	"path/filepath"

	"mitigation.dev/ems/test/harness"
)

// playground leaves a fleet running that nobody has decided anything for, until ctx ends.
func playground(ctx context.Context, env *harness.Environment, t *teller) error {
	t.chapter("Control plane: etcd, kube-apiserver, our CRDs and roles")
	if err := env.StartControlPlane(ctx); err != nil {
		return err
	}
	if err := env.Install(ctx); err != nil {
		return err
	}
	pool := harness.PlaygroundPool()
	t.chapter("The manager; pool %s in namespace %s with three servers, in Audit mode; an endpoint with a signed document", pool.Name, pool.Namespace)
	servers, err := env.Playground(ctx, limit)
	if err != nil {
		return err
	}
	for _, s := range servers {
		t.say("%s: IIS configuration in %s, site at %s, agent started", s.Name, shorten(env, s.Root), s.URL)
	}
	t.chapter("Everything keeps running until Ctrl-C. In another terminal, in %s:", env.Root)
	t.text(". " + shorten(env, filepath.Join(env.Dir, harness.PlaygroundEnv)))
	t.say("and go on with docs/quickstart.md")
	<-ctx.Done()
	return nil
}

// runPlayground is run for the playground.
func runPlayground(ctx context.Context, env *harness.Environment, t *teller) int {
	err := playground(ctx, env, t)
	if err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
		t.checkError(err, "the playground is ready")
		t.text(env.Diagnose(ctx))
		return exitFailure
	}
	return 0
}
