package iis

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/switchoff"
	"mitigation.dev/ems/agent/journal"
	"mitigation.dev/ems/agent/journal/durable"
)

// Options of a server. Root, StateDir, Pools and Services are required.
type Options struct {
	Root     string // root of the system drive, such as C:\
	StateDir string // the agent's own folder on the same machine; made when missing
	Pools    control.PoolController
	Services control.ServiceController
	Clock    clock.Clock // default: the real one
	Log      logr.Logger

	// FS is the file system; tests put one there that fails. Default: durable.OS.
	FS durable.FS
	// Switches reads those of URL Rewrite in the registry. Default: the real ones on Windows, none elsewhere.
	Switches func() effective.Registry
}

// Server is one IIS server. Its methods may be called from several goroutines; one Reconcile runs at a time, on the whole
// machine.
type Server struct {
	root, lockPath string
	keeper         *switchoff.Keeper
	process        string          // name of this process in the journal
	survived       map[string]bool // contents that this process has looked at and lived
	clock          clock.Clock
	log            logr.Logger
	fs             durable.FS
	journal        *journal.Store
	journalDir     string
	memo           *memo
	led            *ledger // of ledList
	ledList        string
	facts          *Facts
	factsOf        map[string]stamp
	factsList      string
	switches       func() effective.Registry
	effective      map[effectiveKey]effectiveFile // files as Effective read them last
	sampled        *sampled
	mu             sync.Mutex
}

// New opens a server and settles what a crash left open, if the configuration can be read. It fails only when the state
// folder cannot be used; a broken IIS is for Reconcile to report.
func New(o Options) (*Server, error) {
	if o.Root == "" || o.StateDir == "" || o.Pools == nil || o.Services == nil {
		return nil, errors.New("iis: options: root, state folder, pools and services are required")
	}
	s := &Server{root: o.Root, clock: o.Clock, log: o.Log, fs: o.FS, lockPath: filepath.Join(o.StateDir, "lock"),
		process: newProcess(), survived: map[string]bool{}, switches: o.Switches}
	if s.switches == nil {
		s.switches = readSwitches
	}
	if s.clock == nil {
		s.clock = clock.RealClock{}
	}
	if s.fs == nil {
		s.fs = durable.OS{}
	}
	if s.log.GetSink() == nil {
		s.log = logr.Discard()
	}
	s.keeper = switchoff.New(switchoff.Options{Pools: o.Pools, Services: o.Services, Clock: s.clock, Log: s.log})
	var err error
	s.journalDir = filepath.Join(o.StateDir, "journal")
	if s.journal, err = journal.Open(s.journalDir, s.fs); err != nil {
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
	if err == nil {
		err = led.countCrashes(s.process)
	}
	if err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	if !led.interrupted() {
		return s, nil // without reading files that may be large
	}
	set, err := s.openFiles(led, nil)
	if err != nil {
		s.log.Info("Configuration cannot be read, open changes are settled later", "problem", err.Error())
		return s, nil
	}
	if err := set.settle(); err != nil {
		return nil, fmt.Errorf("iis: %w", err)
	}
	return s, nil
}

// Applied gives every mitigation that is on the server, by the journal, in the order of their ids.
func (s *Server) Applied() ([]Mitigation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	led, err := s.ledger()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	list, old, err := folderList(s.journalDir)
	if err != nil {
		return Facts{}, fmt.Errorf("iis: facts: %w", err)
	}
	if s.facts != nil && s.factsList == list && unchangedSince(s.factsOf) {
		return *s.facts, nil
	}
	s.facts = nil
	seen := map[string]stamp{}
	c, err := s.readConfig(seen)
	if err != nil {
		return Facts{}, fmt.Errorf("iis: facts: %w", err)
	}
	f := Facts{ConfigPath: c.path, RewriteModule: c.RewriteModuleRegistered(), RewriteSection: c.RewriteSectionDeclared(), Sites: c.Sites()}
	for _, p := range c.Pools() {
		f.Pools = append(f.Pools, p.Name)
	}
	for _, kind := range []string{kindMitigation, kindFile, string(switchoff.Pool), string(switchoff.Service)} {
		names, err := s.journal.Damaged(kind)
		if err != nil {
			return Facts{}, fmt.Errorf("iis: facts: %w", err)
		}
		for _, n := range names {
			f.Damaged = append(f.Damaged, kind+" "+n)
		}
	}
	for _, stamp := range seen {
		old = old && stamp.old()
	}
	if old {
		s.facts, s.factsOf, s.factsList = &f, seen, list
	}
	return f, nil
}

// lock takes the lock of the state folder.
func (s *Server) lock() (func(), error) {
	return durable.Lock(s.lockPath)
}
