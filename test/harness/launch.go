package harness

import (
	"context"
	"errors"
	"path/filepath"
)

// Prepare finds the programs of Kubernetes and ours, and prepares an environment in a folder, which must be empty or not exist.
// Our programs are taken from the folder built if it has them all; otherwise, or if it is empty, they are built.
func Prepare(ctx context.Context, dir, built string) (*Environment, error) {
	root, err := FindRoot()
	if err != nil {
		return nil, err
	}
	var programs Programs
	if err := programs.FindControlPlane(root); err != nil {
		return nil, err
	}
	if built == "" || !programs.SetBuilt(built) {
		if err := programs.Build(ctx, root, filepath.Join(dir, "programs")); err != nil {
			return nil, err
		}
	}
	return New(Options{Root: root, Dir: dir, Programs: programs})
}

// Start starts everything but servers: the control plane, with what an operator installs in it, and the manager.
func (e *Environment) Start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{e.StartControlPlane, e.Install, e.StartManager} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Launch prepares and starts an environment with programs built from the sources as they are. Stop must be called in the end,
// unless Launch fails.
func Launch(ctx context.Context, dir string) (*Environment, error) {
	e, err := Prepare(ctx, dir, "")
	if err != nil {
		return nil, err
	}
	if err := e.Start(ctx); err != nil {
		diagnosis := e.Diagnose(context.WithoutCancel(ctx))
		e.Stop()
		return nil, errors.Join(err, errors.New(diagnosis))
	}
	return e, nil
}
