package iis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sort"
	"time"

	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/iis/switchoff"
	"mitigation.dev/ems/agent/journal/durable"
)

const (
	// attempts is how often a change is begun anew because another program wrote a file in the meantime. An attempt takes
	// milliseconds, so five with growing pauses between them mean a program that keeps writing; the next Reconcile tries
	// again.
	attempts = 5
	// firstPause is the pause before the second attempt; it doubles each time.
	firstPause = 10 * time.Millisecond
)

// Reconcile makes the server match wanted: afterwards exactly these mitigations are on it, apart from those whose outcome
// says otherwise. There is an outcome for every wanted mitigation and for every one that was removed or could not be,
// ordered by id. The error is for what concerns no single mitigation: a list that is not valid, or a journal or state
// folder that cannot be used. Outcomes are given with an error as well.
func (s *Server) Reconcile(ctx context.Context, wanted []Mitigation) ([]Outcome, error) {
	if err := checkIDs(wanted); err != nil {
		return nil, fmt.Errorf("iis: reconcile: %w", err)
	}
	wanted = append([]Mitigation(nil), wanted...)
	sortMitigations(wanted)
	s.mu.Lock()
	defer s.mu.Unlock()
	unlock, err := s.lock()
	if errors.Is(err, durable.ErrLocked) {
		return failAll(wanted, refusal.Wrap(ConfigurationBusy, err, "another agent is working on this server")), nil
	}
	if err != nil {
		return failAll(wanted, refusal.Wrap(JournalFailed, err, "state folder")), fmt.Errorf("iis: reconcile: %w", err)
	}
	defer unlock()
	led, err := s.ledger()
	if err == nil {
		err = led.countCrashes(s.process)
	}
	if err != nil {
		return failAll(wanted, refusal.Wrap(JournalFailed, err, "nothing was changed")), fmt.Errorf("iis: reconcile: %w", err)
	}
	sameAs, err := json.Marshal(wanted)
	if err != nil {
		return nil, fmt.Errorf("iis: reconcile: %w", err)
	}
	list, _, listErr := folderList(s.journalDir)
	if m := s.memo; m != nil && m.led == led && m.journal == list && bytes.Equal(m.wanted, sameAs) && unchangedSince(m.stamps) {
		return s.again(ctx, m, wanted)
	}
	var outcomes []Outcome
	for {
		run := &run{Server: s, led: led, wanted: wanted, changed: map[string]bool{}, late: map[string]error{}}
		round, err := run.work(ctx)
		run.end(round)
		outcomes = merge(outcomes, round)
		if err != nil || len(run.waiting) == 0 {
			s.forgetSurvivors(wanted)
			if s.memo = nil; err == nil && listErr == nil {
				s.remember(run, sameAs, list)
			}
			return outcomes, err
		}
	}
}

// again is a Reconcile of what was found in order last time, while no file has changed: only what is switched off is
// looked at.
func (s *Server) again(ctx context.Context, m *memo, wanted []Mitigation) ([]Outcome, error) {
	r := &run{Server: s, led: m.led, wanted: wanted, plan: m.plan, changed: map[string]bool{}, late: map[string]error{}}
	if _, err := r.switchOff(ctx); err != nil {
		return nil, fmt.Errorf("iis: reconcile: %w", err)
	}
	for _, t := range r.plan.targets() {
		if t.Kind == switchoff.Pool {
			r.contest(t, true)
		}
	}
	r.restoreUnused(ctx, r.plan.targets())
	return r.outcomes(), nil
}

// work does one round.
func (r *run) work(ctx context.Context) ([]Outcome, error) {
	r.broken = map[string]error{}
	err := r.attempt(ctx)
	for n := 1; err != nil; {
		// A file that cannot be written fails what has a part in it, and the others go on without it.
		failure, ok := errors.AsType[*writeError](err)
		if !ok {
			break
		}
		switch {
		case !errors.Is(err, errChanged):
			r.broken[failure.file] = failure.err
		case n == attempts:
			r.broken[failure.file] = refusal.Wrap(ConfigurationBusy, failure.err, "%s: gave up after %d attempts", failure.path, attempts)
		default:
			if err := r.pause(ctx, firstPause<<(n-1)); err != nil {
				return nil, fmt.Errorf("iis: reconcile: %w", err)
			}
			n++
		}
		err = r.attempt(ctx)
	}
	if err == nil {
		return r.outcomes(), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("iis: reconcile: %w", ctx.Err())
	}
	var refused *refusal.Error
	if errors.As(err, &refused) && refused.Reason != JournalFailed {
		r.hold(ctx)
		return r.withoutFile(err)
	}
	return failAll(r.wanted, err), fmt.Errorf("iis: reconcile: %w", err)
}

func (s *Server) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.clock.After(d):
		return nil
	}
}

func failAll(wanted []Mitigation, err error) []Outcome {
	out := make([]Outcome, 0, len(wanted))
	for _, m := range wanted {
		out = append(out, failedFor(m, err))
	}
	return out
}

// run is one Reconcile.
type run struct {
	*Server
	led     *ledger
	wanted  []Mitigation
	plan    *plan
	removed []Mitigation     // gone from the server by this run
	changed map[string]bool  // keys of mitigations for which something was changed
	late    map[string]error // failures of mitigations that stay chosen
	waiting map[string]error // of mitigations that are for another round
	broken  map[string]error // why files could not be written, by name
	wrote   bool             // a file, or something that has to be written was put off
	set     *fileSet         // of the last attempt
}

// journalFailed marks an error as one of the journal, after which nothing more must be done.
func journalFailed(err error) error {
	if err == nil {
		return nil
	}
	return refusal.Wrap(JournalFailed, err, "the change was not begun or not completed")
}

// attempt does everything once. Its error is a *writeError, or one that concerns everything, or a JournalFailed.
func (r *run) attempt(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	set, err := r.openFiles(r.led, r.broken)
	if err != nil {
		return err
	}
	r.set = set
	if err := set.settle(); err != nil {
		return journalFailed(err)
	}
	if err := set.strip(); err != nil {
		return err
	}
	if err := r.choose(ctx, set); err != nil {
		return err
	}
	results, err := r.render(set)
	if err != nil {
		return err
	}
	write := false
	for _, res := range results {
		write = write || res.changes()
	}
	if r.repairWaits(set, write) {
		r.wrote = true
		r.restoreUnused(ctx, r.plan.targets())
		return nil
	}
	if write {
		r.noteDrift(set)
	}
	if err := r.commit(set, results); err != nil {
		if r.untouched(results) {
			// What was switched off for something that did not come about runs again.
			r.restoreUnused(ctx, r.led.currentTargets())
		}
		return err
	}
	r.restoreUnused(ctx, r.plan.targets())
	return journalFailed(r.finish())
}

// choose decides and switches off, until a decision holds: a fresh mitigation of which something cannot be switched off falls
// back to its earlier revision. One that is there already stays, and its outcome tells.
func (r *run) choose(ctx context.Context, set *fileSet) error {
	r.admit()
	if err := r.beginUnknown(); err != nil {
		return err
	}
	blocked := maps.Clone(r.waiting)
	r.late = map[string]error{}
	for {
		if err := set.strip(); err != nil {
			return err
		}
		r.plan = decide(r.led, set, r.wanted, blocked)
		if err := r.beginChosen(); err != nil {
			return err
		}
		impossible, err := r.switchOff(ctx)
		if err != nil {
			return err
		}
		if len(impossible) == 0 {
			return nil
		}
		maps.Copy(blocked, impossible)
	}
}

// noteDrift remembers which mitigations this run changes something for.
func (r *run) noteDrift(set *fileSet) {
	accounted := len(r.removals()) > 0
	for _, ch := range r.plan.chosen {
		lost := false
		for name, part := range ch.parts {
			lost = lost || set.missing(name, part)
		}
		if !ch.stuck && (ch.altered || lost) {
			r.changed[key(ch.mitigation.ID)] = true
			accounted = true
		}
	}
	if accounted {
		return
	}
	// Only the order or the surroundings were wrong, which concerns them all.
	for _, ch := range r.plan.chosen {
		if len(ch.content.Groups) > 0 {
			r.changed[key(ch.mitigation.ID)] = true
		}
	}
}

// removals gives the mitigations of the journal that are not chosen.
func (r *run) removals() []Mitigation {
	stay := map[string]bool{}
	for _, ch := range r.plan.chosen {
		stay[key(ch.mitigation.ID)] = true
	}
	var out []Mitigation
	for _, k := range sortedKeys(r.led.mitigations) {
		if rec := r.led.mitigations[k]; !stay[k] && rec.Current != nil {
			out = append(out, *rec.Current)
		}
	}
	return out
}

// finish makes the records of the mitigations say what is on the server now.
func (r *run) finish() error {
	for _, ch := range r.plan.chosen {
		if ch.orphan || ch.stuck {
			continue
		}
		k := key(ch.mitigation.ID)
		m := ch.mitigation
		if ch.altered {
			r.changed[k] = true
		}
		if err := r.led.putMitigation(mitigationRecord{Current: &m}); err != nil {
			return err
		}
		if r.led.damaged[k] {
			if err := r.led.store.Resolve(kindMitigation, k); err != nil {
				return err
			}
		}
	}
	for _, m := range r.removals() {
		r.removed = append(r.removed, m)
		if r.late[key(m.ID)] != nil {
			// A pool of it could not be started. The record stays, so that the failure is reported until it is.
			if err := r.led.putMitigation(mitigationRecord{Current: &m, Removing: true}); err != nil {
				return err
			}
			continue
		}
		if err := r.led.deleteMitigation(m.ID); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) outcomes() []Outcome {
	var out []Outcome
	wanted := map[string]bool{}
	add := func(m Mitigation, state State) {
		k := key(m.ID)
		o := Outcome{ID: m.ID, Revision: m.Revision, State: state, Changed: r.changed[k]}
		err := r.plan.failures[k]
		if err == nil {
			err = r.late[k]
		}
		if err != nil {
			o = failedFor(m, err)
			o.Changed = r.changed[k] && !r.isBroken(err)
		}
		out = append(out, o)
	}
	for _, m := range r.wanted {
		wanted[key(m.ID)] = true
		add(m, Applied)
	}
	for _, ch := range r.plan.chosen {
		if ch.orphan || ch.stuck && !wanted[key(ch.mitigation.ID)] {
			add(ch.mitigation, Failed)
		}
	}
	for _, m := range r.removed {
		if !wanted[key(m.ID)] {
			r.changed[key(m.ID)] = true
			add(m, Removed)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return key(out[i].ID) < key(out[j].ID) })
	return out
}

// isBroken reports whether an error is that a file could not be written: what an attempt began before it found that out
// did not come about.
func (r *run) isBroken(err error) bool {
	for _, broken := range r.broken {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// withoutFile gives the outcomes when the configuration file cannot be used. What needs it fails with the reason, be it
// an installation or a removal; mitigations without any content of theirs in the file go on.
func (r *run) withoutFile(cause error) ([]Outcome, error) {
	var out []Outcome
	wanted := map[string]bool{}
	for _, m := range r.wanted {
		k := key(m.ID)
		wanted[k] = true
		_, err := m.content()
		if err == nil && (m.acts() || r.led.mitigations[k].acts()) {
			err = cause
		}
		if err != nil {
			out = append(out, failedFor(m, err))
			continue
		}
		rec := mitigationRecord{Current: &m}
		altered := alters(r.led.mitigations[k].current(), m)
		if err := r.led.putMitigation(rec); err != nil {
			return failAll(r.wanted, journalFailed(err)), fmt.Errorf("iis: reconcile: %w", err)
		}
		out = append(out, Outcome{ID: m.ID, Revision: m.Revision, State: Applied, Changed: altered})
	}
	for _, k := range sortedKeys(r.led.mitigations) {
		rec := r.led.mitigations[k]
		if wanted[k] || rec.Current == nil {
			continue
		}
		if rec.acts() {
			out = append(out, failedFor(*rec.Current, refusal.Wrap(refusal.Of(cause, ConfigurationWriteFailed), cause, "cannot be removed")))
			continue
		}
		m := *rec.Current
		if err := r.led.deleteMitigation(k); err != nil {
			return failAll(r.wanted, journalFailed(err)), fmt.Errorf("iis: reconcile: %w", err)
		}
		out = append(out, Outcome{ID: m.ID, Revision: m.Revision, State: Removed, Changed: true})
	}
	sort.SliceStable(out, func(i, j int) bool { return key(out[i].ID) < key(out[j].ID) })
	return out, nil
}

// acts reports whether a mitigation of the journal has, or may have, changed anything on the server.
func (r mitigationRecord) acts() bool {
	return r.Current != nil && r.Current.acts() || r.Next != nil && r.Next.acts()
}
