package switchoff

import (
	"context"
	"errors"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/refusal"
)

// sight is what one look at a target shows.
type sight struct {
	// off and on are both false while the target is on its way, and for a service that is stopped but not disabled.
	off, on bool
	// passing states end by themselves.
	passing bool
	// process is the one that a service runs in, and 0 for everything else.
	process uint32
	// words describe the state.
	words  string
	record Record
}

// subject is a target with the calls that concern it.
type subject interface {
	look(ctx context.Context) (sight, error)
	// switchOff does what is left to do after a look.
	switchOff(ctx context.Context, now sight) error
	// allow lets the target be started again, as it was recorded.
	allow(ctx context.Context, rec Record, now sight) error
	start(ctx context.Context) error
	// seal undoes what allow did beyond the record.
	seal(ctx context.Context, rec Record) error
	reasons() (stop, start string)
}

func (k *Keeper) subject(t Target) subject {
	if t.Kind == Pool {
		return poolSubject{k.pools, t.Name}
	}
	return serviceSubject{k.services, t.Name}
}

type poolSubject struct {
	pools control.PoolController
	name  string
}

func (p poolSubject) look(ctx context.Context) (sight, error) {
	state, err := p.pools.State(ctx, p.name)
	if err == nil && state == control.PoolUnknown {
		err = control.ErrPoolsUnavailable
	}
	return sight{
		off: state == control.PoolStopped, on: state == control.PoolStarted,
		passing: state == control.PoolStarting || state == control.PoolStopping,
		words:   strings.ToLower(string(state)), record: Record{Name: p.name, Prior: string(state)},
	}, err
}

func (p poolSubject) switchOff(ctx context.Context, _ sight) error {
	if err := p.pools.Stop(ctx, p.name); !errors.Is(err, control.ErrPoolNotRunning) {
		return err
	}
	return nil
}

func (p poolSubject) allow(context.Context, Record, sight) error { return nil }

func (p poolSubject) seal(context.Context, Record) error { return nil }

func (p poolSubject) start(ctx context.Context) error {
	if err := p.pools.Start(ctx, p.name); !errors.Is(err, control.ErrPoolRunning) {
		return err
	}
	return nil
}

func (p poolSubject) reasons() (stop, start string) {
	return refusal.PoolStopFailed, refusal.PoolStartFailed
}

type serviceSubject struct {
	services control.ServiceController
	name     string
}

func (s serviceSubject) look(ctx context.Context) (sight, error) {
	found, err := s.services.Query(ctx, s.name)
	pending := []control.ServiceState{control.ServiceStartPending, control.ServiceStopPending, control.ServicePausePending}
	return sight{
		off: found.State == control.ServiceStopped && found.StartType == control.StartDisabled,
		on:  found.State == control.ServiceRunning, passing: slices.Contains(pending, found.State), process: found.Process,
		words:  strings.ToLower(string(found.State) + ", start type " + string(found.StartType)),
		record: Record{Name: s.name, Prior: string(found.State), StartType: found.StartType},
	}, err
}

func (s serviceSubject) switchOff(ctx context.Context, now sight) error {
	if now.record.StartType != control.StartDisabled {
		if err := s.services.SetStartType(ctx, s.name, control.StartDisabled); err != nil {
			return err
		}
	}
	if now.record.Prior == string(control.ServiceStopped) {
		return nil
	}
	if err := s.services.Stop(ctx, s.name); !errors.Is(err, control.ErrServiceNotRunning) {
		return err
	}
	return nil
}

// allow gives back the start type. One that is no longer Disabled was set by somebody after us and stays.
func (s serviceSubject) allow(ctx context.Context, rec Record, now sight) error {
	start := rec.StartType
	if start == control.StartDisabled && rec.wasOn() && !now.on {
		start = control.StartManual // it ran all the same, and has to be started for that
	}
	if now.record.StartType != control.StartDisabled || start == control.StartDisabled {
		return nil
	}
	return s.services.SetStartType(ctx, s.name, start)
}

func (s serviceSubject) seal(ctx context.Context, rec Record) error {
	if rec.StartType != control.StartDisabled || !rec.wasOn() {
		return nil
	}
	return s.services.SetStartType(ctx, s.name, control.StartDisabled)
}

func (s serviceSubject) start(ctx context.Context) error {
	if err := s.services.Start(ctx, s.name); !errors.Is(err, control.ErrServiceRunning) {
		return err
	}
	return nil
}

func (s serviceSubject) reasons() (stop, start string) {
	return refusal.ServiceStopFailed, refusal.ServiceStartFailed
}
