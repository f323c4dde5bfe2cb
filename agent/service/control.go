package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

const (
	// pollInterval is how often a state is looked at: a start or stop takes a second or so.
	pollInterval = 100 * time.Millisecond
	// patience is how long a state is waited for: StopLimit and some time for Windows.
	patience = StopLimit + 30*time.Second
)

// Outcome is what Install did.
type Outcome struct {
	// Existed says that the service was there before and was set up anew.
	Existed bool
	// DependsOn are the services that it depends on, LeftOut those that it would have, and why not.
	DependsOn, LeftOut []string
}

// Control manages a service.
type Control struct {
	Manager Manager
	Clock   clock.WithTicker
}

// Install makes the service, or sets up anew what is there. A service of the same name that runs another program is refused
// with ErrForeign. The service is not started, and one that runs goes on with its old settings.
func (c Control) Install(ctx context.Context, d Definition) (Outcome, error) {
	var outcome Outcome
	var err error
	if d.DependsOn, outcome.LeftOut, err = c.dependencies(d.DependsOn); err != nil {
		return outcome, fmt.Errorf("install service %s: %w", d.Name, err)
	}
	outcome.DependsOn = d.DependsOn
	err = c.poll(ctx, "to be removed", func() (bool, error) {
		status, err := c.Manager.Query(d.Name)
		switch {
		case err == nil:
			if !sameProgram(status.Command, d.Program) {
				return false, fmt.Errorf("%w: %s", ErrForeign, status.Command)
			}
			outcome.Existed = true
			err = c.Manager.Configure(d)
		case errors.Is(err, ErrNotInstalled):
			outcome.Existed = false
			err = c.Manager.Create(d)
		}
		if errors.Is(err, ErrBeingDeleted) {
			return false, nil // it goes when the last program has closed it
		}
		return true, err
	})
	if err != nil {
		return outcome, fmt.Errorf("install service %s: %w", d.Name, err)
	}
	return outcome, nil
}

// dependencies picks the services that are there and can be started.
func (c Control) dependencies(names []string) (there, leftOut []string, err error) {
	for _, name := range names {
		status, err := c.Manager.Query(name)
		switch {
		case errors.Is(err, ErrNotInstalled):
			leftOut = append(leftOut, name+" (not installed)")
		case err != nil:
			return nil, nil, fmt.Errorf("service %s: %w", name, err)
		case status.StartType == Disabled:
			leftOut = append(leftOut, name+" (disabled)")
		default:
			there = append(there, name)
		}
	}
	return there, leftOut, nil
}

// Uninstall stops the service, removes it and waits until it is gone. One that is not there is no error.
func (c Control) Uninstall(ctx context.Context, name string) (existed bool, err error) {
	if err := c.Stop(ctx, name); errors.Is(err, ErrNotInstalled) {
		return false, nil
	} else if err != nil && !errors.Is(err, ErrBeingDeleted) {
		return true, err
	}
	if err := c.Manager.Delete(name); err != nil && !errors.Is(err, ErrNotInstalled) && !errors.Is(err, ErrBeingDeleted) {
		return true, fmt.Errorf("uninstall service %s: %w", name, err)
	}
	err = c.poll(ctx, "to be removed", func() (bool, error) {
		_, err := c.Manager.Query(name)
		if errors.Is(err, ErrNotInstalled) {
			return true, nil
		}
		if errors.Is(err, ErrBeingDeleted) {
			err = nil
		}
		return false, err
	})
	if err != nil {
		return true, fmt.Errorf("uninstall service %s: %w; a program that has it open, such as the window of services, keeps it", name, err)
	}
	return true, nil
}

// Start starts the service and waits until it runs. One that runs already is no error.
func (c Control) Start(ctx context.Context, name string) error {
	if err := c.Manager.Start(name); err != nil && !errors.Is(err, ErrRunning) {
		return fmt.Errorf("start service %s: %w", name, err)
	}
	err := c.poll(ctx, "to run", func() (bool, error) {
		status, err := c.Manager.Query(name)
		if err == nil && status.State == Stopped {
			err = fmt.Errorf("%w with code %d; its log and the Application event log say why", ErrEndedAtOnce, status.ExitCode)
		}
		return status.State == Running, err
	})
	if err != nil {
		return fmt.Errorf("start service %s: %w", name, err)
	}
	return nil
}

// Stop stops the service and waits until it has stopped. One that does not run is no error.
func (c Control) Stop(ctx context.Context, name string) error {
	asked := false
	err := c.poll(ctx, "to stop", func() (bool, error) {
		status, err := c.Manager.Query(name)
		if err != nil || status.State == Stopped {
			return true, err
		}
		if !asked {
			err = c.Manager.Stop(name)
			asked = err == nil
			if errors.Is(err, ErrNotReady) || errors.Is(err, ErrNotRunning) {
				err = nil // it is about to start or to stop: the next look tells
			}
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("stop service %s: %w", name, err)
	}
	return nil
}

// poll calls look until it is done or fails, for as long as patience.
func (c Control) poll(ctx context.Context, what string, look func() (done bool, err error)) error {
	deadline := c.Clock.Now().Add(patience)
	ticker := c.Clock.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		if !c.Clock.Now().Before(deadline) {
			return fmt.Errorf("%w %s: %s", ErrTakesTooLong, what, patience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C():
		}
	}
}

// sameProgram tells whether a command line starts a program of the same name: the same one, or one that lies elsewhere
// because it was moved.
func sameProgram(command, program string) bool {
	first := command
	if quoted, ok := strings.CutPrefix(command, `"`); ok {
		first, _, _ = strings.Cut(quoted, `"`)
	} else if at := strings.Index(strings.ToLower(command), ".exe"); at >= 0 {
		first = command[:at+len(".exe")]
	}
	base := func(path string) string { return path[strings.LastIndexAny(path, `\/`)+1:] }
	return strings.EqualFold(base(first), base(program))
}
