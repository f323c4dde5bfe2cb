package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/internal/policy"
)

// Make plans a pool. It never leaves a mitigation out: agents take away only what a plan tells them to remove. Made again from
// its own outcome at the same time, with servers saying the same, it changes nothing.
func Make(in Input) Plan {
	p := planning{
		in: &in, now: in.Now.UTC().Truncate(time.Second), crowd: gather(in.Servers), planned: make(map[string]*Entry, len(in.Mitigations)),
		supersededBy: map[string]string{},
	}
	p.configurations = slices.SortedFunc(slices.Values(in.Configurations), func(a, b policy.Configuration) int {
		return strings.Compare(a.Name, b.Name)
	})
	p.approvals = append(p.approvals, in.Pool.Approved)
	for _, c := range p.configurations {
		p.approvals = append(p.approvals, c.Approved)
	}
	mitigations := slices.SortedStableFunc(slices.Values(in.Mitigations), func(a, b Mitigation) int {
		return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID))
	})
	for _, m := range mitigations {
		if m.Lifecycle == policy.LifecycleSuperseded {
			p.supersededBy[strings.ToLower(m.ID)] = m.SupersededBy
		}
	}
	entries := make([]Entry, len(mitigations))
	// What replaces others comes first: whether the others may go depends on how far it is.
	for _, replaced := range []bool{false, true} {
		for i, m := range mitigations {
			if (m.Lifecycle == policy.LifecycleSuperseded) == replaced {
				entries[i] = p.plan(m)
				p.planned[strings.ToLower(m.ID)] = &entries[i]
			}
		}
	}
	return Plan{Entries: entries, Next: p.next}
}

// planning is one run of the planner.
type planning struct {
	in *Input
	// now has whole seconds, for what is written down; what is waited for is compared with in.Now.
	now            time.Time
	crowd          crowd
	configurations []policy.Configuration
	approvals      [][]policy.Approval
	// planned has the entries so far, supersededBy the successors of superseded mitigations, both by id in lower case.
	planned      map[string]*Entry
	supersededBy map[string]string
	next         time.Time
}

// look makes the caller look again at the given time, if that is to come.
func (p *planning) look(at time.Time) {
	if at.After(p.in.Now) && (p.next.IsZero() || at.Before(p.next)) {
		p.next = at
	}
}

func (p *planning) plan(m Mitigation) Entry {
	id := strings.ToLower(m.ID)
	if m.Lifecycle == policy.LifecycleSuperseded {
		m.SuccessorPending = p.successorPending(m.ID)
	}
	decision, next := policy.ForPool(m.Mitigation, p.configurations, p.in.Pool, p.in.Now)
	p.look(next)

	r := &run{planning: p, id: id}
	r.before, r.known = p.in.Before[id]
	r.before.Rollout = p.inThePast(r.before.Rollout)
	if r.known && r.before.Rollout.ID == "" {
		r.before.Rollout = p.adopt(m, r.before)
	}
	r.entry = Entry{Mitigation: m, Decision: decision, Release: r.before.Release, Rollout: r.before.Rollout, Transition: r.before.Transition}
	r.profile, r.own, r.stages = p.in.Settings.For(m.Severity)
	switch decision.Desired {
	case policy.Apply:
		r.apply()
	case policy.Remove:
		// Taking away needs no stages, and what was good before is no longer wanted either.
		r.entry.Release = ToAll()
		r.entry.Rollout.Fallback = Fallback{}
		r.noteDecision()
	default:
		r.freeze()
		r.noteDecision()
	}
	r.entry.Transition = r.transition()
	return r.entry
}

// successorPending reports whether what replaces a mitigation is not yet in place in the pool: it is wanted, and no revision of
// it was ever completed here.
func (p *planning) successorPending(id string) bool {
	last, ok := policy.Successor(id, p.supersededBy)
	if !ok {
		return true
	}
	successor := p.planned[strings.ToLower(last)]
	if successor == nil || successor.Lifecycle != policy.LifecycleActive {
		return false
	}
	rollout := successor.Rollout
	identity, _ := ParseID(rollout.ID)
	return rollout.Fallback.Rollout == "" && (rollout.State != Complete || identity.Audit)
}

// inThePast takes back times to come: a clock that was wrong once must not hold a rollout for years.
func (p *planning) inThePast(r Rollout) Rollout {
	for _, at := range []*time.Time{&r.StartTime, &r.StageTime, &r.CompletionTime} {
		if at.After(p.in.Now) {
			*at = p.now
		}
	}
	return r
}

// adopt takes what a manager without stages had planned as complete: it is on the servers already.
func (p *planning) adopt(m Mitigation, before Entry) Rollout {
	if before.Desired != policy.Apply || before.Release.Below < Everything {
		return Rollout{}
	}
	had := Mitigation{Revision: before.Revision, DocumentDigest: before.DocumentDigest}
	if before.Revision == m.Revision {
		had = m
	}
	_, _, stages := p.in.Settings.For(m.Severity)
	return Rollout{
		ID: IdentityOf(had, 1, p.in.AuditBefore).ID(), Attempt: 1, State: Complete, Reason: RolloutComplete,
		Message: "it was in place before there were stages", Stages: len(stages), StartTime: p.now, CompletionTime: p.now, Unreleased: Keep,
	}
}

// run plans one mitigation.
type run struct {
	*planning

	id      string
	before  Entry
	known   bool
	entry   Entry
	profile Profile
	own     bool
	stages  []Stage

	identity Identity
	order    Order
	draw     *draw
	tally    tally
	notes    []note
	// agreed has the approvals that were asked for since the last stage began.
	agreed []note
	// heldBy is the person who pauses the rollout.
	heldBy string
	// ignored says in words why an order has no effect.
	ignored string
}

// freeze leaves everything as it is. What completed is written down as fallback as long as its document is known: the entry
// goes on to other revisions meanwhile.
func (r *run) freeze() {
	if r.entry.Rollout.ID == "" {
		if !r.known || r.before.Desired != policy.Hold {
			r.entry.Release = Release{}
		}
		return
	}
	identity, ok := ParseID(r.entry.Rollout.ID)
	if ok && !identity.Same(IdentityOf(r.entry.Mitigation, 1, identity.Audit)) && r.entry.Rollout.State == Complete {
		r.entry.Rollout.Fallback = r.fallback()
	}
	switch {
	case r.before.Desired != policy.Remove:
	case !ok || r.stopped():
		r.entry.Release, r.entry.Rollout.Unreleased = Release{}, Revert
	default:
		// The servers have taken it away. Whenever it comes back, it comes in stages.
		r.identity = identity
		r.begin(identity.Attempt + 1)
	}
}

// stopped reports whether only a person or another content moves the rollout.
func (r *run) stopped() bool {
	return r.entry.Rollout.State == Halted || r.entry.Rollout.State == Aborted
}

// fallback returns what is good besides the content that begins now.
func (r *run) fallback() Fallback {
	had := r.entry.Rollout
	identity, ok := ParseID(had.ID)
	switch {
	case had.ID == "" || !ok || r.before.Desired == policy.Remove:
		return Fallback{}
	case had.State != Complete || identity.Audit || had.Fallback.Rollout == had.ID:
		return had.Fallback
	default:
		return Fallback{
			Rollout: had.ID, Revision: identity.Revision, BundleName: r.before.BundleName, DocumentDigest: r.before.DocumentDigest,
		}
	}
}

// begin starts an attempt at the first stage.
func (r *run) begin(attempt int) {
	had := r.entry.Rollout
	identity, _ := ParseID(had.ID)
	fallback := r.fallback()
	if identity.Same(r.identity) && r.before.Desired == policy.Apply {
		fallback = had.Fallback // Another attempt at the same content: it is no way back from itself.
	}
	unreleased := Keep
	if had.ID != "" && had.State != Complete {
		unreleased = had.Unreleased
	}
	for _, id := range []string{had.ID, fallback.Rollout, had.Fallback.Rollout} {
		if other, ok := ParseID(id); ok && other.Revision == r.identity.Revision && other.Content == r.identity.Content {
			attempt = max(attempt, other.Attempt+1)
		}
	}
	r.identity.Attempt = min(attempt, maxAttempt)
	r.entry.Release = Release{}
	r.entry.Rollout = Rollout{
		ID: r.identity.ID(), Attempt: r.identity.Attempt, State: Waiting, Reason: policy.AwaitingStage,
		StartTime: r.now, Unreleased: cmp.Or(unreleased, Keep), Fallback: fallback,
	}
	r.describe(0, Stage{})
}

// apply goes on with the rollout of a mitigation that is wanted.
func (r *run) apply() {
	r.identity = IdentityOf(r.entry.Mitigation, 1, r.in.Audit)
	r.draw = r.crowd.draw(r.id)
	had, ok := ParseID(r.entry.Rollout.ID)
	r.readOrder()
	switch same := ok && had.Same(r.identity); {
	case !same:
		r.begin(1)
		r.notePublished(had, ok)
		r.noteDecision()
	default:
		r.identity = had
		r.comeBack(had.Attempt)
	}
	if r.order.Action == OrderRetry {
		if r.order.Attempt > r.entry.Rollout.Attempt && r.order.Attempt <= maxAttempt {
			r.begin(r.order.Attempt)
			r.note(Retried, r.order.Owner, fmt.Sprintf("attempt %d begins: %s", r.entry.Rollout.Attempt, r.order.Reason))
		}
	}
	r.catchUp()
	r.proceed()
}

func (r *run) notePublished(had Identity, ok bool) {
	what := fmt.Sprintf("revision %d", r.entry.Revision)
	switch {
	case !ok || had.Revision != r.identity.Revision:
		r.note(Published, r.entry.FeedName, what)
	case had.Content != r.identity.Content:
		r.note(Published, r.entry.FeedName, what+" with other content")
	case r.identity.Audit:
		r.note(Published, System, what+" in mode Audit")
	default:
		r.note(Published, System, what+" in mode Enforce")
	}
}

// readOrder finds the order about this revision. One about another counts for nothing.
func (r *run) readOrder() {
	if order, ok := orderFor(r.in.Settings.Orders, r.entry.ID); ok && order.Revision == r.entry.Revision {
		r.order = order
	}
}

// comeBack goes on with the same run after it was removed, held, or lost a part to a block.
func (r *run) comeBack(attempt int) {
	rollout := r.entry.Rollout
	switch {
	case r.before.Desired == policy.Remove && r.stopped():
		r.entry.Release, r.entry.Rollout.Unreleased = Release{}, Revert
	case r.before.Desired == policy.Remove:
		r.begin(attempt + 1)
	case r.stopped():
	case r.before.Desired == policy.Hold && rollout.State != Complete && rollout.StageNumber > 0:
		// Nobody was at work meanwhile, so the silence of the servers says nothing.
		r.entry.Rollout.StageTime = r.now
	case r.actionReturns() && (rollout.State == Complete || rollout.StageNumber > 0):
		r.begin(attempt + 1)
		r.note(Unblocked, System, "an action is no longer blocked, so the mitigation is rolled out anew")
	}
	r.noteDecision()
}

// actionReturns reports whether an action was blocked and no longer is: it is new content for the servers.
func (r *run) actionReturns() bool {
	return r.before.Desired == policy.Apply && slices.ContainsFunc(r.before.BlockedActions, func(action string) bool {
		return slices.Contains(r.entry.ActionIDs, action) && !slices.Contains(r.entry.BlockedActions, action)
	})
}

// catchUp goes on at the attempt that servers speak of, if that is a later one: the memory is from a backup.
func (r *run) catchUp() {
	if attempt := r.draw.hear(r.identity); attempt > r.identity.Attempt {
		r.identity.Attempt = attempt
		r.entry.Rollout.ID, r.entry.Rollout.Attempt = r.identity.ID(), attempt
		r.draw.hear(r.identity)
	}
	if r.entry.Rollout.State != Complete {
		r.recount()
	}
}

func (r *run) recount() { r.tally = r.draw.count(r.entry.Release) }

// proceed does what the state, the order and the servers ask for.
func (r *run) proceed() {
	rollout := &r.entry.Rollout
	if r.order.Action == OrderAbort && rollout.State != Aborted {
		r.abort()
	}
	switch rollout.State {
	case Complete:
		r.entry.Release = ToAll()
		r.describe(len(r.stages), r.stages[len(r.stages)-1])
	case Aborted:
		r.reverted()
	case Halted:
		if r.promote() {
			r.advance()
			return
		}
		r.say(rollout.Message)
		r.reverted()
	default:
		rollout.ForgivenFailures = min(rollout.ForgivenFailures, len(r.tally.failed))
		number, stage := r.position()
		if number == 0 {
			number = min(rollout.StageNumber, len(r.stages))
		}
		r.describe(number, stage)
		r.promote()
		r.advance()
	}
}

// describe writes down which stage is released, in the words and terms that count now: settings may change at any time.
func (r *run) describe(number int, stage Stage) {
	rollout := &r.entry.Rollout
	rollout.Stages = len(r.stages)
	rollout.Profile = r.profile
	if r.own {
		rollout.Profile = ""
	}
	rollout.Stage, rollout.StageNumber, rollout.Gate = stage.Name, number, Terms{Bake: stage.Bake, MinRequests: stage.MinRequests}
}

func (r *run) abort() {
	rollout := &r.entry.Rollout
	rollout.State, rollout.Reason = Aborted, policy.RolloutAborted
	rollout.Message = shorten(fmt.Sprintf("%s aborted it: %s; an order with action Retry and attempt %d begins it anew",
		cmp.Or(r.order.Owner, "a person"), r.order.Reason, rollout.Attempt+1), maxMessage)
	rollout.CompletionTime, rollout.Unreleased = time.Time{}, Revert
	if good, ok := ParseID(rollout.Fallback.Rollout); ok && good.Revision == r.identity.Revision && good.Content == r.identity.Content {
		rollout.Fallback = Fallback{}
	}
	r.entry.Release = Release{}
	r.note(AbortedByPerson, r.order.Owner, r.order.Reason)
	r.recount()
}

// promote carries out an order to pass stages, if it has something to pass. An order that stays in the policy does so once: the
// rollout is beyond its stage from then on.
func (r *run) promote() bool {
	if !r.promoting() {
		return false
	}
	if r.order.Stage == "" {
		r.entry.Rollout.ForgivenFailures = len(r.tally.failed)
		r.note(Promoted, r.order.Owner, "released to all servers: "+r.order.Reason)
		r.complete("")
		return true
	}
	number := r.promotes()
	if number == 0 {
		return false
	}
	r.entry.Rollout.ForgivenFailures = len(r.tally.failed)
	r.note(Promoted, r.order.Owner, fmt.Sprintf("stage %q passed: %s", r.order.Stage, r.order.Reason))
	if number == len(r.stages) {
		r.complete("")
		return true
	}
	r.start(number + 1)
	return true
}

// promoting reports whether there is an order to pass stages of this very attempt. One that names an attempt does not pass those of
// the next, which a block that is taken back begins.
func (r *run) promoting() bool {
	return r.order.Action == OrderPromote && (r.order.Attempt == 0 || r.order.Attempt == r.entry.Rollout.Attempt)
}

// promotes returns the stage that an order passes, and 0 if it has none to pass. It says why then, unless it is that the rollout has gone on.
func (r *run) promotes() int {
	if !r.promoting() || r.order.Stage == "" {
		return 0
	}
	number := 1 + slices.IndexFunc(r.stages, func(s Stage) bool { return s.Name == r.order.Stage })
	switch {
	case number == 0:
		r.ignored = fmt.Sprintf("%q has no effect: there is no such stage", r.order.Stage)
	case r.number() <= number:
		return number
	case r.entry.Rollout.State == Halted:
		r.ignored = fmt.Sprintf("%q has no effect: it halted in stage %q", r.order.Stage, r.entry.Rollout.Stage)
	}
	return 0
}

// position returns the number of the stage that is released, and the stage. Stages may be taken out or renamed meanwhile: then the
// one that is released stays what it was until its servers have passed, and what comes next is the first stage that adds a
// server. The number never is the last one unless everything is released, so that the last stage begins like any other.
func (r *run) position() (int, Stage) {
	rollout := r.entry.Rollout
	if rollout.StageNumber <= 0 {
		return 0, Stage{}
	}
	last := len(r.stages)
	if r.entry.Release.Below < Everything && rollout.State != Halted {
		last--
	}
	named := func(s Stage) bool { return s.Name == rollout.Stage }
	if n := rollout.StageNumber; n <= last && named(r.stages[n-1]) {
		return n, r.stages[n-1]
	}
	if i := slices.IndexFunc(r.stages, named); i >= 0 && i < last {
		return i + 1, r.stages[i]
	}
	was := Stage{Name: rollout.Stage, Bake: rollout.Gate.Bake, MinRequests: rollout.Gate.MinRequests}
	switch {
	case rollout.State == Halted:
		return min(rollout.StageNumber, last), was
	case r.entry.Release.Below >= Everything:
		return last, was
	default:
		return 0, was
	}
}

func (r *run) number() int {
	number, _ := r.position()
	return number
}

// start releases a stage.
func (r *run) start(number int) {
	stage := r.stages[number-1]
	if number == len(r.stages) {
		r.entry.Release = ToAll()
	} else {
		r.entry.Release = r.draw.release(r.entry.Release, stage)
	}
	r.describe(number, stage)
	r.entry.Rollout.StageTime = r.now
	r.entry.Rollout.State, r.entry.Rollout.Reason = Progressing, policy.AwaitingStage
	r.recount()
	r.noteAgreed()
	r.note(StageReleased, System, fmt.Sprintf("stage %q, %d of %d: released to %d of %d servers",
		stage.Name, number, len(r.stages), r.tally.released, len(r.crowd)))
}

func (r *run) complete(without string) {
	r.describe(len(r.stages), r.stages[len(r.stages)-1])
	rollout := &r.entry.Rollout
	rollout.State, rollout.Reason, rollout.Message = Complete, RolloutComplete, shorten("every stage passed"+without, maxMessage)
	rollout.CompletionTime = r.now
	if rollout.StageTime.IsZero() {
		rollout.StageTime = r.now
	}
	r.entry.Release = ToAll()
	rollout.Unreleased = Keep
	r.noteAgreed()
	r.note(Completed, System, fmt.Sprintf("released to all %d servers%s", len(r.crowd), without))
}

func (r *run) noteAgreed() {
	r.notes = append(r.notes, r.agreed...)
	r.agreed = nil
}
