package shadow

import (
	"context"
	"strings"
	"sync"

	"mitigation.dev/ems/agent/iis/control"
)

// Pools are application pools of which starts and stops stay in memory.
type Pools struct {
	base control.PoolController
	mu   sync.Mutex
	now  map[string]control.PoolState // by name in lower case
}

var _ control.PoolController = (*Pools)(nil)

// NewPools makes pools in front of base.
func NewPools(base control.PoolController) *Pools {
	return &Pools{base: base, now: map[string]control.PoolState{}}
}

// State implements control.PoolController.
func (p *Pools) State(ctx context.Context, pool string) (control.PoolState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state(ctx, pool)
}

func (p *Pools) state(ctx context.Context, pool string) (control.PoolState, error) {
	if state, ok := p.now[strings.ToLower(pool)]; ok {
		return state, nil
	}
	return p.base.State(ctx, pool)
}

// Start implements control.PoolController.
func (p *Pools) Start(ctx context.Context, pool string) error {
	return p.change(ctx, pool, control.PoolStarted, control.ErrPoolRunning)
}

// Stop implements control.PoolController.
func (p *Pools) Stop(ctx context.Context, pool string) error {
	return p.change(ctx, pool, control.PoolStopped, control.ErrPoolNotRunning)
}

func (p *Pools) change(ctx context.Context, pool string, to control.PoolState, already error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	state, err := p.state(ctx, pool)
	switch {
	case err != nil:
		return err
	case state == to:
		return already
	}
	p.now[strings.ToLower(pool)] = to
	return nil
}

// Services are Windows services of which changes stay in memory.
type Services struct {
	base control.ServiceController
	mu   sync.Mutex
	now  map[string]control.Service // by name in lower case
}

var _ control.ServiceController = (*Services)(nil)

// NewServices makes services in front of base.
func NewServices(base control.ServiceController) *Services {
	return &Services{base: base, now: map[string]control.Service{}}
}

// Query implements control.ServiceController.
func (s *Services) Query(ctx context.Context, service string) (control.Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.query(ctx, service)
}

func (s *Services) query(ctx context.Context, service string) (control.Service, error) {
	if found, ok := s.now[strings.ToLower(service)]; ok {
		return found, nil
	}
	return s.base.Query(ctx, service)
}

// SetStartType implements control.ServiceController.
func (s *Services) SetStartType(ctx context.Context, service string, start control.StartType) error {
	return s.change(ctx, service, func(now *control.Service) error {
		now.StartType = start
		return nil
	})
}

// Start implements control.ServiceController.
func (s *Services) Start(ctx context.Context, service string) error {
	return s.change(ctx, service, func(now *control.Service) error {
		switch {
		case now.State == control.ServiceRunning:
			return control.ErrServiceRunning
		case now.StartType == control.StartDisabled:
			return control.ErrServiceDisabled
		}
		now.State = control.ServiceRunning
		return nil
	})
}

// Stop implements control.ServiceController. Services that depend on this one are not known, so it cannot fail for them.
func (s *Services) Stop(ctx context.Context, service string) error {
	return s.change(ctx, service, func(now *control.Service) error {
		if now.State == control.ServiceStopped {
			return control.ErrServiceNotRunning
		}
		now.State = control.ServiceStopped
		return nil
	})
}

func (s *Services) change(ctx context.Context, service string, how func(*control.Service) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.query(ctx, service)
	if err == nil {
		err = how(&now)
	}
	if err == nil {
		s.now[strings.ToLower(service)] = now
	}
	return err
}
