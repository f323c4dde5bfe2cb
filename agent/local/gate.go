package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/control"
)

// localRollout is the rollout of a command, which has no stages and no other attempt.
const localRollout = "local"

// guarded brings the server to a decision and looks at it before and afterwards: sites and application pools that ran have to
// run. What made the server worse is taken back, the last one first, as an agent in a pool does; the decision that counts
// then is the second result.
func (s *session) guarded(ctx context.Context, d enforce.Decision, before []iis.Mitigation) ([]iis.Outcome, enforce.Decision, error) {
	trials, histories := s.trials(d, before)
	if s.looking || len(trials) == 0 {
		outcomes, err := s.reconcile(ctx, d.Wanted)
		return outcomes, d, err
	}
	checker := s.checker()
	pools, services := iis.SwitchedOff(slices.Concat(before, d.Wanted))
	off := health.SwitchedOff{Pools: pools, Services: services}
	baseline, err := checker.Baseline(ctx, health.Checks{}, off)
	if err != nil {
		return nil, d, fmt.Errorf("how the server is before the change: %w", err)
	}
	for key, t := range trials {
		histories[key] = histories[key].Begin(t, nil, gate.Begin(localRollout, s.Clock.Now(), baseline))
	}
	outcomes, err := s.reconcile(ctx, d.Wanted)
	for err == nil {
		watched, due := s.watched(trials, histories)
		if len(watched) == 0 {
			break
		}
		if wait := due.Sub(s.Clock.Now()); wait > 0 {
			select {
			case <-ctx.Done():
				return outcomes, d, errors.Join(err, ctx.Err())
			case <-s.Clock.After(wait):
			}
		}
		results, lookErr := checker.Look(ctx, health.Checks{}, off)
		if lookErr != nil {
			return outcomes, d, lookErr
		}
		judged := enforce.Watch(histories, watched, results, s.Clock.Now())
		for key, h := range judged {
			histories[key] = h
			if h.Record.Verdict == gate.Failed {
				d = withdrawn(d, key, h.Record.Message, before)
				outcomes, err = s.reconcile(ctx, d.Wanted)
			}
		}
	}
	return outcomes, d, err
}

// trials are the mitigations that the decision puts in place anew, by lower-case id.
func (s *session) trials(d enforce.Decision, before []iis.Mitigation) (map[string]enforce.Trial, map[string]enforce.History) {
	trials, histories := map[string]enforce.Trial{}, map[string]enforce.History{}
	for _, m := range d.Wanted {
		same := func(b iis.Mitigation) bool {
			return strings.EqualFold(b.ID, m.ID) && iis.ContentOf(b) == iis.ContentOf(m)
		}
		if !slices.ContainsFunc(before, same) {
			key := strings.ToLower(m.ID)
			trials[key], histories[key] = enforce.Trial{ID: m.ID, Rollout: localRollout, Content: m}, enforce.History{}
		}
	}
	return trials, histories
}

// watched are the trials in place that no verdict is final about, and when the first of them has to be looked at.
func (s *session) watched(trials map[string]enforce.Trial, histories map[string]enforce.History) (list []enforce.Watched, due time.Time) {
	applied, err := s.server.Applied()
	if err != nil {
		return nil, due
	}
	now := s.Clock.Now()
	for _, m := range applied {
		key := strings.ToLower(m.ID)
		t, ok := trials[key]
		r := histories[key].Record
		if !ok || !histories[key].Tries(t, &m) || r.Final() || r.Verdict == gate.Inconclusive {
			continue
		}
		list = append(list, enforce.Watched{Trial: t})
		if at, ok := r.Next(t.Terms, now); ok && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return list, due
}

// withdrawn is a decision without a mitigation that made the server worse: what was there before comes back.
func withdrawn(d enforce.Decision, key, message string, before []iis.Mitigation) enforce.Decision {
	isIt := func(m iis.Mitigation) bool { return strings.EqualFold(m.ID, key) }
	d.Wanted = slices.DeleteFunc(slices.Clone(d.Wanted), isIt)
	taken := "taken back"
	if i := slices.IndexFunc(before, isIt); i >= 0 {
		d.Wanted = append(d.Wanted, before[i])
		taken = fmt.Sprintf("taken back, revision %d is in its place", before[i].Revision)
	}
	d.Intents = slices.Clone(d.Intents)
	for i := range d.Intents {
		if r := &d.Intents[i]; strings.EqualFold(r.ID, key) {
			r.State, r.Reason, r.Message = enforce.Failed, enforce.ReasonGateFailed, message+"; "+taken
		}
	}
	return d
}

// checker looks at what there is to be looked at without anybody saying so: sites and application pools.
func (s *session) checker() *health.Checker {
	o := health.Options{Services: s.Services}
	o.Lister, _ = s.Options.Pools.(control.Lister)
	o.Clock, _ = s.Clock.(clock.WithTicker)
	return health.New(o)
}
