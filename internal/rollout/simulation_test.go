package rollout_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

// The simulation plays a manager and the agents of some pools against each other, in memory and on a clock of its own. Hosts
// follow the rules for agents, and no more: they look at the plan and at themselves.

// content is what a host has in place of a mitigation. The zero value means nothing.
type content struct {
	Revision int64
	Content  string
}

// standing is what a host knows about one mitigation. It survives restarts.
type standing struct {
	has content
	// rollout is under observation since a time; failed has the rollouts that failed here.
	rollout string
	since   time.Time
	failed  map[string]string
	// good is the content before, which the host goes back to by itself.
	good content
}

// host is a server with its agent.
type host struct {
	name   string
	labels map[string]string
	// away hosts do nothing and say nothing; what they last said stays.
	away  bool
	state map[string]*standing
	gates map[string]rollout.Gate
}

// fate says how a host fares with a content: the verdict after its bake time; GateFailed shows at once; empty for no answer.
type fate func(host string, c content) (rollout.Verdict, string)

// pool is a pool with its plan as it is stored.
type pool struct {
	name     string
	ring     int
	audit    bool
	policy   policy.Pool
	settings rollout.Settings
	hosts    []*host
	stored   []byte
	plan     []rollout.Entry
	next     time.Time
	// unmanaged pools have no manager for a while: it is killed, or another one has to become the leader.
	unmanaged bool
}

// world is everything there is.
type world struct {
	t              *testing.T
	now            time.Time
	pools          []*pool
	rings          []rollout.Ring
	approved       []policy.Approval
	configurations []policy.Configuration
	mitigations    []rollout.Mitigation
	fate           fate
	order          *rand.Rand
	log            strings.Builder
	// stopped has the contents that halted or were aborted, by pool, mitigation and content.
	stopped map[string]content
}

var start = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	return &world{t: t, now: start, stopped: map[string]content{}, fate: func(string, content) (rollout.Verdict, string) { return rollout.GatePassed, "" }}
}

func (w *world) pool(name string, hosts int) *pool {
	p := &pool{name: name}
	for i := range hosts {
		p.join(fmt.Sprintf("%s%02d", name, i+1))
	}
	w.pools = append(w.pools, p)
	return p
}

func (p *pool) join(name string) {
	p.hosts = append(p.hosts, &host{name: name, state: map[string]*standing{}, gates: map[string]rollout.Gate{}})
}

func (p *pool) leave(name string) {
	p.hosts = slices.DeleteFunc(p.hosts, func(h *host) bool { return h.name == name })
}

// publish makes a mitigation known, or another revision of it.
func (w *world) publish(id string, revision int64, digest string) {
	m := rollout.Mitigation{
		Mitigation: policy.Mitigation{ID: id, Lifecycle: policy.LifecycleActive, ActionIDs: []string{id + ".1", id + ".2"}}, Revision: revision,
		Content: digest, Severity: "Critical", FeedName: "vendor", BundleName: fmt.Sprintf("bundle-%d", revision), DocumentDigest: digest,
	}
	w.mitigations = slices.DeleteFunc(w.mitigations, func(other rollout.Mitigation) bool { return other.ID == id })
	w.mitigations = append(w.mitigations, m)
}

// supersede makes one mitigation the successor of another.
func (w *world) supersede(id, successor string) {
	for i := range w.mitigations {
		if m := &w.mitigations[i]; m.ID == id {
			m.Lifecycle, m.SupersededBy = policy.LifecycleSuperseded, successor
		}
	}
}

// decode reads what a pool's plan holds. Everything goes through text: nothing can hide in a pointer.
func decode(t *testing.T, stored []byte) map[string]rollout.Entry {
	t.Helper()
	before := map[string]rollout.Entry{}
	if stored == nil {
		return before
	}
	var entries []rollout.Entry
	if err := json.Unmarshal(stored, &entries); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		// A plan has no room for these.
		e.Content, e.Severity, e.ActionIDs, e.By = "", "", nil, ""
		before[strings.ToLower(e.ID)] = e
	}
	return before
}

// input gathers what the planner sees of a pool now.
func (w *world) input(p *pool) rollout.Input {
	in := rollout.Input{
		Mitigations: w.mitigations, Configurations: w.configurations, Pool: p.policy, Audit: p.audit, Settings: p.settings,
		Before: decode(w.t, p.stored), Now: w.now,
	}
	for _, h := range p.hosts {
		in.Servers = append(in.Servers, rollout.Server{Name: h.name, Labels: h.labels, Gates: h.gates})
	}
	if len(w.pools) > 1 {
		rings := rollout.RingInput{
			Rings: w.rings, Own: rollout.RingPool{Name: p.name, Ring: p.ring, Audit: p.audit}, Mitigations: w.mitigations,
			Settings: p.settings, Approved: w.approved, Now: w.now,
		}
		for _, other := range w.pools {
			if other != p {
				rings.Others = append(rings.Others, rollout.RingPool{Name: other.name, Ring: other.ring, Audit: other.audit, Entries: decode(w.t, other.stored)})
			}
		}
		in.Rings = rollout.JudgeRings(rings)
	}
	return in
}

// manage plans a pool, checks what must hold of every plan, and stores it if it is another one.
func (w *world) manage(p *pool) {
	w.t.Helper()
	in := w.input(p)
	plan := rollout.Make(in)
	stored, err := json.Marshal(plan.Entries)
	if err != nil {
		w.t.Fatal(err)
	}
	again := in
	again.Before = decode(w.t, stored)
	second := rollout.Make(again)
	if diff := gocmp.Diff(plan.Entries, second.Entries); diff != "" {
		w.t.Fatalf("%s: planned again at the same time, the plan of %s differs:\n%s\n%s", w.clock(), p.name, diff, w.log.String())
	}
	if !plan.Next.IsZero() && !plan.Next.After(w.now) {
		w.t.Fatalf("%s: the next look, %v, is not to come", w.clock(), plan.Next)
	}
	if bad := broken(in, plan); bad != "" {
		w.t.Fatalf("%s: pool %s: %s\n%s", w.clock(), p.name, bad, w.log.String())
	}
	for _, e := range plan.Entries {
		before := in.Before[strings.ToLower(e.ID)]
		if changed(before, e) {
			w.tell(p, in, before, e)
		}
	}
	w.remember(p, plan)
	p.stored, p.plan, p.next = stored, plan.Entries, plan.Next
}

// remember notes which contents no host may have unless it is released.
func (w *world) remember(p *pool, plan rollout.Plan) {
	for _, e := range plan.Entries {
		identity, ok := rollout.ParseID(e.Rollout.ID)
		key := fmt.Sprintf("%s/%s/%d/%s", p.name, e.ID, identity.Revision, identity.Content)
		switch {
		case !ok || identity.Audit:
		case e.Rollout.State == rollout.Aborted || e.Rollout.State == rollout.Halted && e.Rollout.Unreleased == rollout.Revert:
			w.stopped[key] = content{Revision: identity.Revision, Content: identity.Content}
		default:
			delete(w.stopped, key)
		}
	}
}

// mustNot fails if a host that has just looked at its plan has what was stopped.
func (w *world) mustNot(p *pool, h *host, e rollout.Entry) {
	has := h.state[e.ID].has
	key := fmt.Sprintf("%s/%s/%d/%s", p.name, e.ID, has.Revision, has.Content)
	identity, _ := rollout.ParseID(e.Rollout.ID)
	current := has.Revision == identity.Revision && has.Content == identity.Content
	allowed := current && e.Release.Includes(h.name, e.ID)
	if _, ok := w.stopped[key]; ok && e.Desired == policy.Apply && !p.audit && !allowed {
		w.t.Fatalf("%s: %s has revision %d of %s, which was stopped\n%s", w.clock(), h.name, has.Revision, e.ID, w.log.String())
	}
}

func changed(before, after rollout.Entry) bool {
	return before.Transition != after.Transition || before.Rollout.ID != after.Rollout.ID || before.Rollout.Reason != after.Rollout.Reason ||
		before.Rollout.StageNumber != after.Rollout.StageNumber || before.Desired != after.Desired
}

func (w *world) clock() string { return w.now.Format("Mon 15:04:05") }

func (w *world) tell(p *pool, in rollout.Input, before, e rollout.Entry) {
	fmt.Fprintf(&w.log, "%s %s %s: ", w.clock(), p.name, e.ID)
	if e.Transition != before.Transition {
		fmt.Fprintf(&w.log, "%s by %s: %s\n%s", e.Transition.Action, e.Transition.By, e.Transition.Message, strings.Repeat(" ", 14))
	}
	progress := rollout.ProgressOf(e, in.Servers)
	fmt.Fprintf(&w.log, "%s %s (%s) stage %d of %d: %d of %d servers released, %d passed, %d failed",
		cmp.Or(e.Rollout.ID, "no rollout"), cmp.Or(string(e.Rollout.State), string(e.Reason)), cmp.Or(e.Rollout.Reason, e.Reason), e.Rollout.StageNumber, e.Rollout.Stages,
		progress.Released, progress.Servers, progress.Passed, progress.Failed)
	if e.Rollout.Fallback.Rollout != "" {
		fmt.Fprintf(&w.log, ", fallback %s", e.Rollout.Fallback.Rollout)
	}
	w.log.WriteString("\n")
}

func (w *world) say(format string, arguments ...any) {
	fmt.Fprintf(&w.log, "%s -- %s\n", w.clock(), fmt.Sprintf(format, arguments...))
}

// census tells what the hosts of a pool have in place of M1.
func (w *world) census(p *pool) {
	const id = "M1"
	counts := map[string]int{}
	for _, h := range p.hosts {
		what := "nothing"
		if s := h.state[id]; s != nil && s.has.Revision > 0 {
			what = fmt.Sprintf("revision %d", s.has.Revision)
		}
		counts[what]++
	}
	var words []string
	for what, n := range counts {
		words = append(words, fmt.Sprintf("%d have %s", n, what))
	}
	slices.Sort(words)
	w.say("of the servers of %s, %s in place of %s", p.name, strings.Join(words, ", "), id)
}

// step is how long a turn takes.
const step = 5 * time.Second

// turn lets every host act once and every manager plan, in the order that the world has, and moves the clock.
func (w *world) turn() {
	w.t.Helper()
	var acts []func()
	for _, p := range w.pools {
		if !p.unmanaged {
			acts = append(acts, func() { w.manage(p) })
		}
		for _, h := range p.hosts {
			acts = append(acts, func() { w.act(p, h) })
		}
	}
	if w.order != nil {
		w.order.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	}
	for _, act := range acts {
		act()
	}
	w.now = w.now.Add(step)
}

func (w *world) run(d time.Duration) {
	w.t.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.turn()
	}
}

// act is one look of an agent at its pool's plan.
func (w *world) act(p *pool, h *host) {
	if h.away {
		return
	}
	for _, e := range p.plan {
		s := h.state[e.ID]
		if s == nil {
			s = &standing{failed: map[string]string{}}
			h.state[e.ID] = s
		}
		w.follow(h, s, e, p.audit)
		w.mustNot(p, h, e)
	}
}

func (w *world) follow(h *host, s *standing, e rollout.Entry, audit bool) {
	id := strings.ToLower(e.ID)
	r := e.Rollout
	forget := func() {
		s.rollout = ""
		if h.gates[id].Verdict != rollout.GateFailed {
			delete(h.gates, id)
		}
	}
	if e.Desired == policy.Remove {
		if !audit || e.Reason == policy.Suspended {
			s.has = content{}
		}
		forget()
		return
	}
	if e.Desired == policy.Hold {
		return
	}
	identity, _ := rollout.ParseID(r.ID)
	target := content{Revision: identity.Revision, Content: identity.Content}
	var back content
	if good, ok := rollout.ParseID(r.Fallback.Rollout); ok {
		back = content{Revision: good.Revision, Content: good.Content}
	}
	released := e.Release.Includes(h.name, e.ID)
	if released && s.failed[r.ID] == "" {
		w.observe(h, s, e, target, back, audit)
		return
	}
	if released {
		h.gates[id] = rollout.Gate{Rollout: r.ID, Verdict: rollout.GateFailed, Message: s.failed[r.ID]}
	} else {
		forget()
	}
	switch {
	case audit:
	case r.Unreleased == rollout.Revert, released && s.has == target, s.has.Revision < back.Revision:
		s.has = back
	}
}

// observe puts the target in place and reports on it.
func (w *world) observe(h *host, s *standing, e rollout.Entry, target, back content, audit bool) {
	if s.rollout != e.Rollout.ID {
		s.rollout, s.since = e.Rollout.ID, w.now
		if s.has != target {
			s.good = s.has
		}
	}
	if !audit {
		s.has = target
	}
	gate := rollout.Gate{Rollout: e.Rollout.ID, Verdict: rollout.GateBaking}
	verdict, message := w.fate(h.name, target)
	switch {
	case verdict == "":
		return
	case verdict == rollout.GateFailed:
		// The host goes back by itself, and never again to this rollout.
		s.failed[e.Rollout.ID], s.rollout = message, ""
		switch {
		case audit:
		case e.Rollout.Unreleased == rollout.Revert:
			s.has = back // What it had before may be what was stopped.
		default:
			s.has = s.good
		}
		gate.Verdict, gate.Message = verdict, message
	case !w.now.Before(s.since.Add(e.Rollout.Gate.Bake)) || verdict == rollout.GateNotNeeded:
		gate.Verdict, gate.Message = verdict, message
	}
	h.gates[strings.ToLower(e.ID)] = gate
}

// broken names an invariant that a plan breaks.
func broken(in rollout.Input, plan rollout.Plan) string {
	for _, e := range plan.Entries {
		before := in.Before[strings.ToLower(e.ID)]
		if bad := brokenEntry(in, before, e); bad != "" {
			return e.ID + ": " + bad
		}
	}
	return ""
}

func brokenEntry(in rollout.Input, before, e rollout.Entry) string {
	was, is := before.Rollout, e.Rollout
	progress := rollout.ProgressOf(e, in.Servers)
	if e.Desired != policy.Apply {
		return ""
	}
	_, _, stages := in.Settings.For(in.Mitigations[slices.IndexFunc(in.Mitigations, func(m rollout.Mitigation) bool { return m.ID == e.ID })].Severity)
	promoted := slices.ContainsFunc(in.Settings.Orders, func(o rollout.Order) bool {
		return strings.EqualFold(o.ID, e.ID) && o.Action == rollout.OrderPromote && o.Revision == e.Revision
	})
	emergency := in.Settings.Profile == rollout.Emergency
	if is.State == rollout.Aborted && (progress.Released != 0 || is.Unreleased != rollout.Revert) {
		return "an aborted rollout is released to somebody, or lets servers keep it"
	}
	if is.State == rollout.Complete && e.Release.Below != rollout.Everything {
		return "a complete rollout is not released to all"
	}
	if was.ID == is.ID && before.Desired == policy.Apply {
		if was.State == rollout.Aborted && is.State != rollout.Aborted {
			return "an aborted rollout moves again"
		}
		if was.State == rollout.Halted && is.State != rollout.Halted && is.State != rollout.Aborted && !promoted {
			return "a halted rollout moves again without an order"
		}
	}
	had := before.Release
	wasRun, _ := rollout.ParseID(was.ID)
	isRun, _ := rollout.ParseID(is.ID)
	// A memory from a backup goes on under the number that servers speak of: that is the same run with the same start.
	caughtUp := wasRun.Same(isRun) && was.StartTime.Equal(is.StartTime)
	if !caughtUp || before.Desired == policy.Remove {
		had = rollout.Release{}
	}
	grows := slices.ContainsFunc(in.Servers, func(s rollout.Server) bool {
		return e.Release.Includes(s.Name, e.ID) && !had.Includes(s.Name, e.ID)
	})
	if grows && (is.State == rollout.Halted || is.State == rollout.Aborted) {
		return "a stopped rollout is released to more servers"
	}
	if !grows || promoted {
		return ""
	}
	maximum := 0
	if in.Settings.MaxFailures != nil {
		maximum = *in.Settings.MaxFailures
	}
	if progress.Failed > maximum+is.ForgivenFailures {
		return fmt.Sprintf("stage %d begins with %d failed servers", is.StageNumber, progress.Failed)
	}
	if is.StageNumber > len(stages) {
		return "there is no such stage"
	}
	if stage := stages[is.StageNumber-1]; is.StageNumber < len(stages) && stage.Servers.Said {
		// Those who were released by the stage before may be more than this one asks for: late joiners. It adds none then.
		previous := rollout.ProgressOf(rollout.Entry{Mitigation: e.Mitigation, Release: had}, in.Servers).Released
		allowed := stage.Servers.Value
		if stage.Servers.Percent {
			allowed = (len(in.Servers)*stage.Servers.Value + 99) / 100
		}
		if progress.Released > max(allowed, previous, 1) {
			return fmt.Sprintf("stage %d is released to %d servers, where %d are allowed", is.StageNumber, progress.Released, allowed)
		}
	}
	if !emergency {
		old := rollout.ProgressOf(rollout.Entry{Mitigation: e.Mitigation, Release: had, Rollout: is}, in.Servers)
		if old.Waiting > 0 {
			return fmt.Sprintf("stage %d begins while %d servers of the stage before have not passed", is.StageNumber, old.Waiting)
		}
	}
	return ""
}
