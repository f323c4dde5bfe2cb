package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/facts"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/shadow"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/internal/policy"
)

// server is what a command needs of package iis; a Preview and a Server have it.
type server interface {
	Applied() ([]iis.Mitigation, error)
	Facts() (iis.Facts, error)
	Effective() ([]effective.Verdict, error)
	Reconcile(ctx context.Context, wanted []iis.Mitigation) ([]iis.Outcome, error)
}

// session is one run of a command.
type session struct {
	Options

	report *Report
	// looking means that nothing may be changed.
	looking bool
	memory  *state.Memory
	server  server
	changes func() (shadow.Changes, error)
	closers []func()
}

// open opens the server for a command.
func open(o Options, command Command, looking bool) (*session, error) {
	if o.Log.GetSink() == nil {
		o.Log = logr.Discard()
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	s := &session{Options: o, looking: looking, report: newReport(command, looking && command != CommandStatus)}
	// The journal remembers paths below the root, and the next command may be called from another folder.
	err := errors.Join(absolute(&s.IISRoot), absolute(&s.StateDir))
	if err == nil {
		err = s.openState()
	}
	if err != nil {
		s.close()
		return s, err
	}
	options := iis.Options{
		Root: s.IISRoot, StateDir: filepath.Join(s.StateDir, "iis"), Pools: o.Pools, Services: o.Services, Clock: o.Clock, Log: o.Log.WithName("iis"),
	}
	if looking {
		err = s.openPreview(options)
	} else {
		log := shadow.NewLog(s.StateDir)
		options.FS, options.Pools, options.Services = log.Files(durable.OS{}), log.Pools(o.Pools), log.Services(o.Services)
		s.changes = log.Changes
		s.server, err = iis.New(options)
	}
	if err != nil {
		s.close()
	}
	return s, err
}

func absolute(path *string) error {
	full, err := filepath.Abs(*path)
	*path = full
	return err
}

// openState takes the state folder, or reads it.
func (s *session) openState() error {
	if s.looking {
		// A look leaves no folder behind that was not there.
		if _, err := os.Stat(s.StateDir); errors.Is(err, os.ErrNotExist) {
			if s.StateDir, err = os.MkdirTemp("", "ems-state-"); err != nil {
				return err
			}
			empty := s.StateDir
			s.closers = append(s.closers, func() { _ = os.RemoveAll(empty) })
		}
	} else {
		release, err := state.Claim(s.StateDir)
		if errors.Is(err, state.ErrClaimed) {
			return &commandError{reason: ReasonAgentRunning, message: err.Error() + ": wait for it, or stop the service ems-agent first; in a pool, change the policy of the pool instead"}
		}
		if err != nil {
			return err
		}
		s.closers = append(s.closers, release)
	}
	var err error
	s.memory, err = state.Open(filepath.Join(s.StateDir, "agent"))
	return err
}

func (s *session) openPreview(options iis.Options) error {
	preview, err := iis.NewPreview(options)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() {
		if err := preview.Close(); err != nil {
			s.Log.Error(err, "Temporary files are left")
		}
	})
	s.server, s.changes = preview, preview.Changes
	return nil
}

func (s *session) close() {
	for _, closer := range slices.Backward(s.closers) {
		closer()
	}
	s.closers = nil
}

func (s *session) warn(format string, args ...any) {
	s.report.Warnings = append(s.report.Warnings, fmt.Sprintf(format, args...))
}

// look finds out what the server is.
func (s *session) look() policy.Facts {
	known, err := facts.Read(facts.Sources{Said: s.Facts, File: s.FactsFile, Registry: s.Registry})
	if err != nil {
		s.warn("facts of the server are incomplete, which speaks for mitigations: %v", err)
	}
	s.report.Server = &Server{Root: s.IISRoot, Product: known.Product, Role: known.Role, RewriteModule: "Unknown"}
	if !known.Build.IsZero() {
		s.report.Server.Build = known.Build.String()
	}
	switch f, err := s.server.Facts(); {
	case err != nil:
		s.warn("%v", err)
	case f.RewriteModule:
		s.report.Server.RewriteModule = "Present"
	default:
		s.report.Server.RewriteModule = "Missing"
	}
	return known
}

const (
	// lookAttempts is how often a look is begun anew because an agent is at work at that very moment; lookPause lies in
	// between. A pass of the service takes milliseconds, unless it waits for a pool.
	lookAttempts = 5
	lookPause    = time.Second
)

// reconcile brings the server to what is wanted, or looks what would happen.
func (s *session) reconcile(ctx context.Context, wanted []iis.Mitigation) ([]iis.Outcome, error) {
	for attempt := 1; ; attempt++ {
		outcomes, err := s.server.Reconcile(ctx, wanted)
		busy := func(o iis.Outcome) bool { return o.Reason == iis.ConfigurationBusy }
		if !s.looking || attempt == lookAttempts || !slices.ContainsFunc(outcomes, busy) {
			return outcomes, err
		}
		select {
		case <-ctx.Done():
			return outcomes, ctx.Err()
		case <-s.Clock.After(lookPause):
		}
	}
}

// verdicts says which rules in place IIS would really run. A look can foresee that as long as no file comes or goes: whether
// one is there is asked of the real disk.
func (s *session) verdicts() []effective.Verdict {
	if changes, err := s.changes(); s.looking && (err != nil || slices.ContainsFunc(changes.Files, shadow.FileChange.ComesOrGoes)) {
		return nil
	}
	verdicts, err := s.server.Effective()
	if err != nil {
		s.warn("whether rules are in effect is not known: %v", err)
	}
	return verdicts
}

// finish puts into the report what was changed, and remembers when.
func (s *session) finish(outcomes []iis.Outcome, err error) {
	changes, changesErr := s.changes()
	if noteErr := s.noteChanges(changes); changesErr == nil {
		changesErr = noteErr
	}
	when, memoryErr := s.remember(outcomes)
	for i := range s.report.Mitigations {
		m := &s.report.Mitigations[i]
		m.LastChange = when[strings.ToLower(m.ID)]
	}
	s.report.conclude(errors.Join(err, changesErr, memoryErr))
}

// remember keeps when the server was changed for which mitigation, as the agent in a pool does.
func (s *session) remember(outcomes []iis.Outcome) (map[string]time.Time, error) {
	when, err := s.memory.Changes()
	if err != nil {
		return nil, err
	}
	changed := maps.Clone(when)
	if changed == nil {
		changed = map[string]time.Time{}
	}
	for _, o := range outcomes {
		if o.Changed && (o.State == iis.Applied || o.State == iis.Removed) {
			changed[strings.ToLower(o.ID)] = s.Clock.Now().UTC()
		}
	}
	if s.looking || maps.Equal(changed, when) {
		return when, nil
	}
	return changed, s.memory.SaveChanges(changed)
}
