package iis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/journal/durable"
)

// attempts is how often a change is begun anew because another program wrote the file in the meantime. Each attempt
// takes some 100 ms, so three in a row mean a program that keeps writing; the next Reconcile tries again.
const attempts = 3

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
	led, err := s.loadLedger()
	if err != nil {
		return failAll(wanted, refusal.Wrap(JournalFailed, err, "nothing was changed")), fmt.Errorf("iis: reconcile: %w", err)
	}
	run := &run{Server: s, led: led, wanted: wanted, changed: map[string]bool{}, late: map[string]error{}}
	err = run.attempt(ctx)
	for n := 1; errors.Is(err, errChanged); n++ {
		if n == attempts {
			err = refusal.Wrap(ConfigurationBusy, err, "applicationHost.config: gave up after %d attempts", attempts)
			break
		}
		err = run.attempt(ctx)
	}
	if err == nil {
		return run.outcomes(), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("iis: reconcile: %w", ctx.Err())
	}
	var refused *refusal.Error
	if errors.As(err, &refused) && refused.Reason != JournalFailed {
		return run.withoutFile(err)
	}
	return failAll(wanted, err), fmt.Errorf("iis: reconcile: %w", err)
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
}

// journalFailed marks an error as one of the journal, after which nothing more must be done.
func journalFailed(err error) error {
	if err == nil {
		return nil
	}
	return refusal.Wrap(JournalFailed, err, "the change was not begun or not completed")
}

// attempt does everything once. Its error is errChanged, or one for the whole file, or a JournalFailed.
func (r *run) attempt(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := r.readConfig()
	if err != nil {
		return err
	}
	if err := r.settle(r.led, c); err != nil {
		return journalFailed(err)
	}
	base, exact, err := apphost.Strip(c.data, r.led.edits())
	if err != nil {
		return refusal.Wrap(ConfigurationMalformed, err, "%s", c.path)
	}
	if !exact {
		r.log.Info("Configuration of a mitigation was changed by others and is repaired", "path", c.path)
	}
	baseConfig, err := apphost.Parse(base)
	if err != nil {
		return refusal.Wrap(ConfigurationMalformed, err, "%s", c.path)
	}
	if err := r.choose(ctx, baseConfig); err != nil {
		return err
	}
	content := r.plan.content()
	out, edits, err := apphost.Render(base, content)
	if err != nil {
		return refusal.Wrap(refusal.Of(err, ConfigurationMalformed), err, "%s", c.path)
	}
	if err := checkResult(out, content); err != nil {
		return err
	}
	r.noteDrift(c, !bytes.Equal(out, c.data))
	if err := r.commit(c, out, fileState{Edits: edits, Owned: r.plan.owned()}, content); err != nil {
		if now, readErr := r.readConfig(); !errors.Is(err, errChanged) && readErr == nil && hashOf(now.data) == hashOf(c.data) {
			// Pools that were stopped for something that did not come about run again.
			r.restoreUnused(ctx, r.led.currentPools())
		}
		return err
	}
	r.restoreUnused(ctx, r.plan.pools())
	return journalFailed(r.finish())
}

// checkResult reads the new bytes as IIS would, before they go anywhere near the server.
func checkResult(out []byte, content apphost.Wanted) error {
	c, err := apphost.Parse(out)
	if err != nil {
		return refusal.Wrap(ConfigurationMalformed, err, "applicationHost.config: the new content is not readable and was not written")
	}
	if f := c.Verify(content); len(f) > 0 {
		return refusal.New(SectionLocked, "applicationHost.config: rule or pool %q at %q would not take effect (%s), so nothing was written",
			f[0].Rule, f[0].Place, f[0].Problem)
	}
	return nil
}

// choose decides and stops the pools, until a decision holds: a fresh mitigation whose pool cannot be stopped falls
// back to its earlier revision. One that is there already stays, and its outcome tells.
func (r *run) choose(ctx context.Context, base *apphost.Config) error {
	blocked := map[string]error{}
	r.late = map[string]error{}
	for {
		r.plan = decide(r.led, base, r.wanted, blocked)
		again := false
		for _, pool := range r.plan.pools() {
			changed, err := r.stopPool(ctx, r.led, pool)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				err = refusal.Wrap(PoolStopFailed, err, "application pool %q", pool)
			}
			for _, user := range r.plan.users(pool) {
				k := key(user.mitigation.ID)
				switch {
				case err == nil:
					r.changed[k] = r.changed[k] || changed
				case user.fresh:
					blocked[k], again = err, true
				default:
					r.late[k] = err
				}
			}
		}
		if !again {
			return nil
		}
	}
}

// noteDrift remembers which mitigations this run changes something for.
func (r *run) noteDrift(c *config, write bool) {
	if !write {
		return
	}
	accounted := len(r.removals()) > 0
	for _, ch := range r.plan.chosen {
		if ch.altered || len(c.Missing(ch.content)) > 0 {
			r.changed[key(ch.mitigation.ID)] = true
			accounted = true
		}
	}
	if accounted {
		return
	}
	// Only the order or the surroundings were wrong, which concerns them all.
	for _, ch := range r.plan.chosen {
		if len(ch.content.Rules) > 0 {
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

// commit brings the new bytes to the disk, with the journal in front and behind. It writes nothing that is there already.
func (r *run) commit(c *config, out []byte, state fileState, content apphost.Wanted) error {
	if bytes.Equal(out, c.data) {
		if !r.led.hasFile && len(state.Edits) == 0 {
			return nil
		}
		return journalFailed(r.led.putFile(fileRecord{fileState: state}))
	}
	for _, ch := range r.plan.chosen {
		if ch.fresh {
			m := ch.mitigation
			rec := mitigationRecord{Current: r.led.mitigations[key(m.ID)].current(), Next: &m}
			if err := r.led.putMitigation(rec); err != nil {
				return journalFailed(err)
			}
		}
	}
	for _, m := range r.removals() {
		if err := r.led.putMitigation(mitigationRecord{Current: &m, Removing: true}); err != nil {
			return journalFailed(err)
		}
	}
	old := r.led.file.fileState
	old.Edits = r.led.edits()
	err := r.led.putFile(fileRecord{fileState: state, Writing: true, Old: &old, Before: hashOf(c.data), After: hashOf(out)})
	if err != nil {
		return journalFailed(err)
	}
	if err := r.swap(c, out, content); err != nil {
		return err // the record says Writing, and settle finds out what the file has
	}
	return journalFailed(r.led.putFile(fileRecord{fileState: state}))
}

// currentPools lists the pools that the mitigations of the journal want off, as it was before a change under way.
func (l *ledger) currentPools() []string {
	var pools []string
	for _, rec := range l.mitigations {
		if m := rec.Current; m != nil {
			for _, a := range m.Actions {
				if a.Type == ActionAppPool {
					pools = append(pools, a.Pool)
				}
			}
		}
	}
	state := l.file.fileState
	if l.file.Writing && l.file.Old != nil {
		state = *l.file.Old
	}
	for _, o := range state.Owned {
		pools = append(pools, o.Content.DisabledPools...)
	}
	return pools
}

// restoreUnused starts the pools of the journal that are not in the list. A pool that does not start fails the
// mitigations that are being removed and had it off; its record stays, so the next run tries again.
func (r *run) restoreUnused(ctx context.Context, used []string) {
	keep := map[string]bool{}
	for _, name := range used {
		keep[key(name)] = true
	}
	for _, k := range sortedKeys(r.led.pools) {
		if keep[k] {
			continue
		}
		rec := r.led.pools[k]
		users := r.poolUsers(rec.Name)
		err := r.restorePool(ctx, r.led, rec)
		if err == nil {
			for _, id := range users {
				r.changed[key(id)] = true
			}
			continue
		}
		err = refusal.Wrap(PoolStartFailed, err, "application pool %q: start it by hand", rec.Name)
		r.log.Error(err, "Could not start application pool again", "pool", rec.Name)
		for _, id := range users {
			r.late[key(id)] = err
		}
	}
}

// poolUsers gives the ids of mitigations of the journal that have an action for a pool.
func (r *run) poolUsers(pool string) []string {
	var ids []string
	for _, k := range sortedKeys(r.led.mitigations) {
		rec := r.led.mitigations[k]
		for _, m := range []*Mitigation{rec.Current, rec.Next} {
			if m == nil {
				continue
			}
			for _, a := range m.Actions {
				if a.Type == ActionAppPool && key(a.Pool) == key(pool) {
					ids = append(ids, m.ID)
				}
			}
		}
	}
	return ids
}

// finish makes the records of the mitigations say what is on the server now.
func (r *run) finish() error {
	for _, ch := range r.plan.chosen {
		if ch.orphan {
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
			o.Changed = r.changed[k]
		}
		out = append(out, o)
	}
	for _, m := range r.wanted {
		wanted[key(m.ID)] = true
		add(m, Applied)
	}
	for _, ch := range r.plan.chosen {
		if ch.orphan {
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

// withoutFile gives the outcomes when the configuration file cannot be used. What needs it fails with the reason, be it
// an installation or a removal; mitigations without any content of theirs in the file go on.
func (r *run) withoutFile(cause error) ([]Outcome, error) {
	var out []Outcome
	wanted := map[string]bool{}
	for _, m := range r.wanted {
		k := key(m.ID)
		wanted[k] = true
		content, err := m.content()
		if err == nil && (!content.Empty() || r.led.mitigations[k].needsFile()) {
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
		if rec.needsFile() {
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

// needsFile reports whether a mitigation of the journal has, or may have, something in the configuration file.
func (r mitigationRecord) needsFile() bool {
	for _, m := range []*Mitigation{r.Current, r.Next} {
		if m == nil {
			continue
		}
		for _, a := range m.Actions {
			if a.Type != ActionDoNothing {
				return true
			}
		}
	}
	return false
}
