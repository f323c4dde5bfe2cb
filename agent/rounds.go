package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/health/requests"
	"mitigation.dev/ems/agent/iis"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/internal/policy"
)

const (
	// keepLooks is how often what was observed is put on the disk while nothing else changes: after a crash, so much of a
	// bake time is observed again.
	keepLooks = 30 * time.Second
	// freshBaseline is how old the view of the server before a change may be when the change is made. A content that the
	// server refuses is tried on every pass, and shall not cost a look at the whole server each time.
	freshBaseline = time.Minute
	// afterFailure is when the server is looked at again after something was taken back, to see whether that was it.
	afterFailure = time.Second
)

// checker is what the loop needs of package health.
type checker interface {
	Baseline(ctx context.Context, checks health.Checks, off health.SwitchedOff) ([]health.Result, error)
	Look(ctx context.Context, checks health.Checks, off health.SwitchedOff) ([]health.Result, error)
}

// round is the part of a pass that changes the server.
type round struct {
	*loop
	input    enforce.Input
	decision enforce.Decision
	outcomes []iis.Outcome
	err      error
	after    []iis.Mitigation
	verdicts []effective.Verdict
	changes  []cluster.Change
	// next is when the server has to be looked at again; zero for no reason.
	next time.Time
}

// carryOut brings the server to what is wanted: what is new is put in place after a look at how the server was before, and taken
// back in the same breath if a look afterwards finds it worse.
//
// Each step is on the disk before the next one is made: the record with the baseline before the content is put in place, the
// failure before it is taken back. A process that ends in between leaves to the next one either a record without the content,
// which begins anew; or the content under observation, which goes on; or a failed record with the content, which is taken back.
func (l *loop) carryOut(ctx context.Context, input enforce.Input) *round {
	r := &round{loop: l, input: input}
	r.input.Histories = l.histories
	r.decision = enforce.Decide(r.input)
	if withheld := r.begin(ctx); len(withheld) > 0 {
		r.input.Withheld, r.input.Histories = withheld, l.histories
		r.decision = enforce.Decide(r.input)
	}
	r.audit(ctx)
	r.reconcile(ctx)
	if r.look(ctx) {
		r.input.Applied, r.input.Histories = r.after, l.histories
		r.decision = enforce.Decide(r.input)
		r.audit(ctx)
		r.reconcile(ctx)
	}
	r.forget()
	return r
}

// reconcile makes the server match the decision.
func (r *round) reconcile(ctx context.Context) {
	before := r.input.Applied
	wanted := r.decision.Wanted
	r.outcomes, r.err = r.server.Reconcile(ctx, wanted)
	if left := r.left(wanted); len(left) > 0 {
		// What should have taken its place cannot be installed, and what is there must not stay.
		r.reconcileWithout(ctx, left)
	}
	var err error
	if r.after, err = r.server.Applied(); err != nil {
		r.err, r.after = errors.Join(r.err, err), before
	}
	r.changes = append(r.changes, r.changesSince(before)...)
	r.verdicts, err = r.server.Effective()
	r.logOnce(&r.effectProblem, err, "Whether rules are in effect is not known", "Whether rules are in effect is known again")
}

// reconcileWithout takes off the server what has to go and cannot be replaced. The results still tell of the first try: it says
// what is wrong.
func (r *round) reconcileWithout(ctx context.Context, ids map[string]bool) {
	refused := slices.DeleteFunc(slices.Clone(r.outcomes), func(o iis.Outcome) bool { return !ids[strings.ToLower(o.ID)] })
	wanted := slices.DeleteFunc(slices.Clone(r.decision.Wanted), func(m iis.Mitigation) bool { return ids[strings.ToLower(m.ID)] })
	var second []iis.Outcome
	second, r.err = r.server.Reconcile(ctx, wanted)
	r.outcomes = refused
	for _, o := range second {
		switch {
		case !ids[strings.ToLower(o.ID)]:
			r.outcomes = append(r.outcomes, o)
		case o.State == iis.Removed:
			r.changes = append(r.changes, cluster.Change{Kind: cluster.MitigationReverted, ID: o.ID, Revision: o.Revision})
		}
	}
}

// changesSince says what was done to the server, and of what it was taken back.
func (r *round) changesSince(before []iis.Mitigation) []cluster.Change {
	failed := map[string]bool{}
	for _, intent := range r.decision.Intents {
		failed[strings.ToLower(intent.ID)] = intent.Reason == enforce.ReasonGateFailed
	}
	changes := changesOf(before, r.outcomes)
	for i := range changes {
		if c := &changes[i]; failed[strings.ToLower(c.ID)] && c.Kind != cluster.DriftRepaired {
			c.Kind = cluster.MitigationReverted
		}
	}
	return changes
}

// left gives the ids of what has to go and stayed, because what should take its place was refused.
func (r *round) left(wanted []iis.Mitigation) map[string]bool {
	left := map[string]bool{}
	if len(r.decision.MustGo) == 0 || r.err != nil {
		return left
	}
	now, err := r.server.Applied()
	if err != nil {
		return left
	}
	want := byID(wanted)
	for _, o := range r.outcomes {
		key := strings.ToLower(o.ID)
		w, isWanted := want[key]
		have, isThere := byID(now)[key]
		if o.State == iis.Failed && r.decision.MustGo[key] && isWanted && isThere && iis.ContentOf(w) != iis.ContentOf(have) {
			left[key] = true
		}
	}
	return left
}

// begin makes the records of everything that is about to be put in place under a rollout. What has no record on the disk is
// withheld, and the result says why.
func (r *round) begin(ctx context.Context) (withheld map[string]enforce.Failure) {
	have := byID(r.input.Applied)
	var fresh []enforce.Trial
	for _, t := range r.decision.Trials {
		if r.histories[strings.ToLower(t.ID)].Begins(t, pointerTo(have, t.ID)) && !r.recently(t) {
			fresh = append(fresh, t)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	// Everything that shall be off counts as off before as well as after.
	looking, stop := r.whilePlanStands(ctx)
	results, err := r.checker.Baseline(looking, r.input.Plan.HealthChecks, r.off())
	stop()
	withheld = map[string]enforce.Failure{}
	for _, t := range fresh {
		key := strings.ToLower(t.ID)
		if err != nil {
			withheld[key] = enforce.Failure{Reason: string(policy.AwaitingPlan), Message: "the plan changed while the server was looked at", Transient: true}
			r.dueAt(r.clock.Now().Add(afterFailure))
			continue
		}
		record := gate.Begin(t.Rollout, r.clock.Now(), results)
		record.Logs = r.logs(t)
		if err := r.keep(key, r.histories[key].Begin(t, pointerTo(have, t.ID), record)); err != nil {
			withheld[key] = enforce.Failure{
				Reason: enforce.ReasonStateFailed, Message: fmt.Sprintf("how the server was before cannot be kept, so nothing is put in place: %v; look at the agent's state folder", err),
			}
		}
	}
	return withheld
}

// whilePlanStands gives a context that ends when the cluster has another plan, or somebody at the server switched something: a look at a server that does not answer takes
// its time, and a kill switch does not wait for it. stop has to be called.
func (r *round) whilePlanStands(ctx context.Context) (looking context.Context, stop func()) {
	looking, cancel := context.WithCancel(ctx)
	generation := r.input.Plan.Generation
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(settle)
		defer ticker.Stop()
		for {
			select {
			case <-looking.Done():
				return
			case <-ticker.C:
				if plan, known, err := r.control.Plan(); err == nil && known && (plan == nil || plan.Generation != generation) || r.switchedNow() {
					cancel()
				}
			}
		}
	})
	return looking, func() { cancel(); watching.Wait() }
}

// recently reports whether the record of a trial that is about to be put in place was begun by this process a moment ago, and
// the content was refused since.
func (r *round) recently(t enforce.Trial) bool {
	h := r.histories[strings.ToLower(t.ID)]
	begun, ok := r.begun[strings.ToLower(t.ID)]
	age := r.clock.Now().Sub(begun)
	return ok && h.Record.Rollout == t.Rollout && h.Content == iis.ContentOf(t.Content) && h.Record.Looks == 0 && age >= 0 && age < freshBaseline
}

// logs finds where requests are counted from; nowhere if they do not matter.
func (r *round) logs(t enforce.Trial) []requests.Cursor {
	if t.Terms.MinRequests == 0 {
		return nil
	}
	folders, err := r.server.AccessLogs(t.Content)
	if err != nil {
		r.log.Info("Access logs cannot be found, so requests are not counted", "id", t.ID, "problem", err.Error())
	}
	return requests.Begin(folders, r.clock.Now())
}

// off is what is in place or about to be, and keeps from running.
func (r *round) off() health.SwitchedOff {
	pools, services := iis.SwitchedOff(slices.Concat(r.input.Applied, r.decision.Wanted))
	return health.SwitchedOff{Pools: pools, Services: services}
}

// look looks at the server if something is under observation, and reports whether that has failed.
func (r *round) look(ctx context.Context) (failed bool) {
	have := byID(r.after)
	verdicts := make(map[string]effective.Verdict, len(r.verdicts))
	for _, v := range r.verdicts {
		verdicts[strings.ToLower(v.ID)] = v
	}
	var watched []enforce.Watched
	for _, t := range r.decision.Trials {
		key := strings.ToLower(t.ID)
		h := r.histories[key]
		if h.Tries(t, pointerTo(have, t.ID)) && !h.Record.Final() {
			watched = append(watched, r.watched(t, verdicts[key]))
		}
	}
	if len(watched) == 0 {
		return false
	}
	looking, stop := r.whilePlanStands(ctx)
	results, err := r.checker.Look(looking, r.input.Plan.HealthChecks, r.off())
	stop()
	if err != nil {
		r.dueAt(r.clock.Now().Add(afterFailure)) // the agent stops, or there is another plan
		return false
	}
	now := r.clock.Now()
	judged := enforce.Watch(r.histories, watched, results, now)
	for key, next := range judged {
		was := r.histories[key].Record
		if next.Record.Verdict != was.Verdict {
			r.log.Info("Gate", "id", key, "rollout", next.Record.Rollout, "verdict", next.Record.Verdict, "detail", next.Record.Message, "notes", next.Record.Notes)
		}
		failed = failed || next.Record.Verdict == gate.Failed
		if next.Record.Final() || next.Record.Verdict != was.Verdict || len(next.Record.Suspects) != len(was.Suspects) || now.Sub(r.kept[key]).Abs() >= keepLooks {
			// If this cannot be put on the disk, the failed mitigation is taken back all the same.
			_ = r.keep(key, next)
		}
		r.histories[key] = next
	}
	for _, w := range watched {
		key := strings.ToLower(w.ID)
		if _, ok := judged[key]; !ok {
			r.dueAt(now.Add(afterFailure)) // when it is known whether the one after it was to blame
		} else if at, ok := r.histories[key].Record.Next(w.Terms, now); ok {
			r.dueAt(at)
		}
	}
	if failed {
		r.dueAt(now.Add(afterFailure))
	}
	return failed
}

// watched says what is to be told of a mitigation beside the look at the whole server.
func (r *round) watched(t enforce.Trial, v effective.Verdict) enforce.Watched {
	w := enforce.WatchedOf(t, v)
	key := strings.ToLower(t.ID)
	h := r.histories[key]
	if t.Terms.MinRequests > 0 {
		var seen requests.Seen
		h.Record.Logs, seen = requests.Count(h.Record.Logs, t.Terms.MinRequests)
		r.histories[key] = h
		w.Requests, w.Log = seen.Requests, seen.Log
	}
	return w
}

// dueAt makes the next look come at a time at the latest.
func (r *round) dueAt(at time.Time) {
	if r.next.IsZero() || at.Before(r.next) {
		r.next = at
	}
}

// keep puts a history on the disk.
func (l *loop) keep(key string, h enforce.History) error {
	err := l.memory.SaveHistory(key, h)
	l.logOnce(&l.historyProblem, err, "What became of rollouts cannot be kept", "What becomes of rollouts is kept again")
	if err == nil {
		now := l.clock.Now()
		l.histories[key], l.kept[key] = h, now
		if h.Record.Looks == 0 {
			l.begun[key] = now
		}
	}
	return err
}

// forget drops what concerns mitigations that are gone for good: neither in the plan nor in place.
func (r *round) forget() {
	if r.input.Plan == nil {
		return
	}
	known := map[string]bool{}
	for _, e := range r.input.Plan.Entries {
		known[strings.ToLower(e.ID)] = true
	}
	for _, m := range r.after {
		known[strings.ToLower(m.ID)] = true
	}
	for _, key := range slices.Sorted(maps.Keys(r.histories)) {
		if !known[key] && r.keep(key, enforce.History{}) == nil {
			delete(r.histories, key)
			delete(r.kept, key)
			delete(r.begun, key)
		}
	}
}

// results says where every mitigation stands.
func (r *round) results() []enforce.Result {
	results := enforce.Judge(enforce.Conclude(r.decision, r.outcomes, r.err, r.after), r.verdicts)
	return enforce.Gates(results, r.decision, r.histories, r.after)
}

// due is when the server has to be looked at again: for a gate, or because a word of policy ends.
func (r *round) due() time.Time {
	if next := r.input.Switches.Next(r.input.Now); !next.IsZero() {
		r.dueAt(next)
	}
	if r.input.Plan != nil {
		for _, e := range r.input.Plan.Entries {
			if until := e.Decision.Until; until.After(r.input.Now) {
				r.dueAt(until)
			}
		}
	}
	return r.next
}

// loadHistories reads once what earlier processes left.
func (l *loop) loadHistories() error {
	if l.histories != nil {
		return nil
	}
	histories, err := l.memory.Histories()
	if err != nil {
		return err
	}
	l.histories, l.kept, l.begun = histories, map[string]time.Time{}, map[string]time.Time{}
	return nil
}

// repair answers a request to look at everything anew, once for each.
func (l *loop) repair(plan *enforce.Plan) error {
	if plan == nil || plan.RepairRequest == "" {
		return nil
	}
	done, err := l.memory.Repaired()
	if err != nil || done == plan.RepairRequest {
		return err
	}
	l.log.Info("Everything is looked at anew, as the plan asks", "request", plan.RepairRequest)
	if err := l.lookAnew(); err != nil {
		return err
	}
	return l.memory.SaveRepaired(plan.RepairRequest)
}

// lookAnew forgets what spares a look, and what failed here.
func (l *loop) lookAnew() error {
	if err := l.server.Forget(); err != nil {
		return err
	}
	l.documents.Forget()
	l.audited = nil
	for _, key := range slices.Sorted(maps.Keys(l.histories)) {
		if h := l.histories[key]; len(h.Failed) > 0 {
			if err := l.keep(key, h.Forgiven()); err != nil {
				return err
			}
		}
	}
	clear(l.begun)
	return nil
}

func byID(list []iis.Mitigation) map[string]iis.Mitigation {
	m := make(map[string]iis.Mitigation, len(list))
	for _, x := range list {
		m[strings.ToLower(x.ID)] = x
	}
	return m
}

func pointerTo(list map[string]iis.Mitigation, id string) *iis.Mitigation {
	if m, ok := list[strings.ToLower(id)]; ok {
		return &m
	}
	return nil
}
