package iis

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/journal"
	"mitigation.dev/ems/agent/journal/durable"
)

const (
	// poolTimeout is how long a pool may take to stop. IIS gives worker processes shutdownTimeLimit, 90 seconds by
	// default, and then ends them; the rest is for a server under load.
	poolTimeout = 120 * time.Second
	// poolInterval is the time between two looks at a pool that is on its way.
	poolInterval = time.Second
)

// Options of a server. Root, StateDir and Pools are required.
type Options struct {
	Root     string // root of the system drive, such as C:\
	StateDir string // the agent's own folder on the same machine; made when missing
	Pools    PoolController
	Clock    clock.Clock // default: the real one
	Log      logr.Logger

	// FS is the file system; tests put one there that fails. Default: durable.OS.
	FS durable.FS
}

// Server is one IIS server. Its methods may be called from several goroutines; one Reconcile runs at a time, on the whole
// machine.
type Server struct {
	root, lockPath string
	pools          PoolController
	clock          clock.Clock
	log            logr.Logger
	fs             durable.FS
	journal        *journal.Store
	mu             sync.Mutex
}

// New opens a server and settles what a crash left open, if the configuration can be read. It fails only when the state
// folder cannot be used; a broken IIS is for Reconcile to report.
func New(o Options) (*Server, error) {
	if o.Root == "" || o.StateDir == "" || o.Pools == nil {
		return nil, errors.New("iis: options: root, state folder and pools are required")
	}
	s := &Server{root: o.Root, pools: o.Pools, clock: o.Clock, log: o.Log, fs: o.FS, lockPath: filepath.Join(o.StateDir, "lock")}
	if s.clock == nil {
		s.clock = clock.RealClock{}
	}
	if s.fs == nil {
		s.fs = durable.OS{}
	}
	if s.log.GetSink() == nil {
		s.log = logr.Discard()
	}
	var err error
	if s.journal, err = journal.Open(filepath.Join(o.StateDir, "journal"), s.fs); err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	unlock, err := durable.Lock(s.lockPath)
	if errors.Is(err, durable.ErrLocked) {
		return s, nil // its holder settles it, or the next Reconcile
	}
	if err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	defer unlock()
	led, err := s.loadLedger()
	if err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	c, err := s.readConfig()
	if err != nil {
		s.log.Info("Configuration cannot be read, open changes are settled later", "problem", err.Error())
		return s, nil
	}
	if err := s.settle(led, c); err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	return s, nil
}

// Applied gives every mitigation that is on the server, by the journal, in the order of their ids.
func (s *Server) Applied() ([]Mitigation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	led, err := s.loadLedger()
	if err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	var applied []Mitigation
	for _, rec := range led.mitigations {
		if rec.Current != nil && !rec.Removing {
			applied = append(applied, *rec.Current)
		}
	}
	sortMitigations(applied)
	return applied, nil
}

// Facts describes the server. Its errors have the reasons of the configuration file.
func (s *Server) Facts() (Facts, error) {
	c, err := s.readConfig()
	if err != nil {
		return Facts{}, fmt.Errorf("iis: facts: %w", err)
	}
	f := Facts{ConfigPath: c.path, RewriteModule: c.RewriteModuleRegistered(), RewriteSection: c.RewriteSectionDeclared(), Sites: c.Sites()}
	for _, p := range c.Pools() {
		f.Pools = append(f.Pools, p.Name)
	}
	for _, kind := range []string{kindMitigation, kindFile, kindPool} {
		names, err := s.journal.Damaged(kind)
		if err != nil {
			return Facts{}, fmt.Errorf("iis: facts: %w", err)
		}
		for _, n := range names {
			f.Damaged = append(f.Damaged, kind+" "+n)
		}
	}
	return f, nil
}

// settledState gives the state of a pool, after waiting while it is between two states.
func (s *Server) settledState(ctx context.Context, pool string) (PoolState, error) {
	deadline := s.clock.Now().Add(poolTimeout)
	for {
		state, err := s.pools.State(ctx, pool)
		if err != nil || state == PoolStarted || state == PoolStopped {
			return state, err
		}
		if state == PoolUnknown {
			return state, ErrPoolsUnavailable
		}
		if !s.clock.Now().Before(deadline) {
			return state, fmt.Errorf("still %s after %s", strings.ToLower(string(state)), poolTimeout)
		}
		select {
		case <-ctx.Done():
			return state, ctx.Err()
		case <-s.clock.After(poolInterval):
		}
	}
}

// stopPool makes sure that a pool is stopped, having put its state before us into the journal.
func (s *Server) stopPool(ctx context.Context, led *ledger, pool string) (changed bool, err error) {
	state, err := s.settledState(ctx, pool)
	if err != nil {
		return false, err
	}
	if _, known := led.pools[key(pool)]; !known {
		if err := led.putPool(poolRecord{Name: pool, Prior: state}); err != nil {
			return false, err
		}
	}
	if state == PoolStopped {
		return false, nil
	}
	if err := s.pools.Stop(ctx, pool); err != nil && !errors.Is(err, ErrPoolNotRunning) {
		return false, err
	}
	state, err = s.settledState(ctx, pool)
	if err == nil && state != PoolStopped {
		err = fmt.Errorf("is %s again right after it was stopped: another program restarts it", strings.ToLower(string(state)))
	}
	return true, err
}

// restorePool starts a pool that was running before us and forgets it.
func (s *Server) restorePool(ctx context.Context, led *ledger, rec poolRecord) error {
	if rec.Prior == PoolStarted {
		err := s.pools.Start(ctx, rec.Name)
		// A pool that somebody deleted or started in the meantime needs nothing from us.
		if err != nil && !errors.Is(err, ErrPoolRunning) && !errors.Is(err, ErrPoolNotFound) {
			return err
		}
	}
	return led.deletePool(rec.Name)
}

// lock takes the lock of the state folder.
func (s *Server) lock() (func(), error) {
	return durable.Lock(s.lockPath)
}
