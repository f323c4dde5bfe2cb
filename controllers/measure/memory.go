package measure

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

const (
	// maxFailureSeries bounds the pairs of pool and reason of which failures are counted, and maxReasons those of one pool: a reason comes from
	// a server, and one that lies shall cost nobody else a series.
	maxFailureSeries = 500
	maxReasons       = 20
	// maxDriftPools bounds the pools of which repairs of drift are counted.
	maxDriftPools = 200

	// others is the pool of everything above a limit. No object can have this name.
	others = "_others"
	// otherReason is the reason of everything above a limit.
	otherReason = "Other"
)

// The steps of the way from the publisher to the servers.
const (
	stepVerified         = "published_verified"
	stepEnforced         = "published_enforced"
	stepReleasedEnforced = "released_enforced"
)

// memory is what was seen of servers and rollouts, so that each thing that happens is counted once. It is of one goroutine at a time.
type memory struct {
	// began is when this process began to look. What happened before has been counted by the one before it, or by nobody.
	began   time.Time
	pools   map[types.NamespacedName]*poolMemory
	origins map[emsv1.MitigationID]origin
	// elsewhere are the pools that other managers work for.
	elsewhere map[types.NamespacedName]bool

	failurePairs map[[3]string]bool
	poolReasons  map[types.NamespacedName]int
	driftPools   map[types.NamespacedName]bool
}

// origin is where a revision of a mitigation comes from: the first document that was seen to hold it.
type origin struct {
	revision int64
	// published is when the document was signed, verified when the manager accepted it. Zero: unknown.
	published, verified time.Time
}

// poolMemory is what was seen of a pool.
type poolMemory struct {
	// began is since when this process looks at the pool.
	began    time.Time
	counts   [standings]int
	servers  map[string]*serverMemory
	rollouts map[emsv1.MitigationID]rolloutMemory
}

type serverMemory struct {
	uid         types.UID
	mitigations []seen
	// round marks what was there at the last look.
	round bool
}

// seen is what was seen last of a mitigation on a server.
type seen struct {
	id     emsv1.MitigationID
	state  emsv1.MitigationState
	reason string
	// revision is the highest that was seen in place; it stays when the mitigation is removed.
	revision int64
	// inPlace and changed are of the last look.
	inPlace int64
	changed int64
}

type rolloutMemory struct {
	id    string
	state emsv1.RolloutState
	// waiting is since when a person is waited for; zero if none is.
	waiting time.Time
}

func newMemory() *memory {
	return &memory{
		pools: map[types.NamespacedName]*poolMemory{}, origins: map[emsv1.MitigationID]origin{}, elsewhere: map[types.NamespacedName]bool{},
		failurePairs: map[[3]string]bool{}, poolReasons: map[types.NamespacedName]int{}, driftPools: map[types.NamespacedName]bool{},
	}
}

// poolSight is what a pool looks like now. Nothing in it is changed.
type poolSight struct {
	key     types.NamespacedName
	history []emsv1.PoolHistoryEntry
	// plan is nil while there is none.
	plan    *emsv1.MitigationPlan
	servers []emsv1.PoolServer
	now     time.Time
}

// learn notes where the revisions of mitigations come from, and counts how long the way to the manager took; without counters it only notes.
func (m *memory) learn(out *counters, mitigations []emsv1.Mitigation, feeds []emsv1.MitigationFeed, now time.Time) {
	if m.began.IsZero() {
		m.began = now.Truncate(time.Second) // the API keeps whole seconds
	}
	documents := make(map[string]*emsv1.AcceptedDocument, len(feeds))
	for i := range feeds {
		documents[feeds[i].Name] = &feeds[i].Status.Document
	}
	for i := range mitigations {
		spec := &mitigations[i].Spec
		known, ok := m.origins[spec.ID]
		document := documents[spec.FeedName]
		if ok && known.revision == spec.Revision || document == nil || document.Digest == "" || document.Digest != spec.DocumentDigest {
			continue
		}
		o := origin{revision: spec.Revision, published: publishedAt(document), verified: timeOf(document.AcceptedTime)}
		m.origins[spec.ID] = o
		if out != nil && !o.verified.Before(m.began) {
			out.way(stepVerified, o.published, o.verified)
		}
	}
}

// look counts what is different in a pool since the last look.
func (m *memory) look(out *counters, s poolSight) {
	pool, known := m.pools[s.key]
	if !known {
		pool = &poolMemory{began: m.began, servers: map[string]*serverMemory{}, rollouts: map[emsv1.MitigationID]rolloutMemory{}}
		if m.elsewhere[s.key] {
			pool.began = s.now.Truncate(time.Second) // another manager has counted what was before
			delete(m.elsewhere, s.key)
		}
		m.pools[s.key] = pool
	}
	pool.counts = [standings]int{}
	for _, server := range pool.servers {
		server.round = false
	}
	planned := map[emsv1.MitigationID]*emsv1.PlannedMitigation{}
	if s.plan != nil {
		for i := range s.plan.Spec.Mitigations {
			planned[s.plan.Spec.Mitigations[i].ID] = &s.plan.Spec.Mitigations[i]
		}
	}
	for i := range s.servers {
		server := &s.servers[i]
		pool.counts[standingOf(server, s.plan)]++
		was := pool.servers[server.Name]
		isNew := was == nil || was.uid != server.UID
		if isNew {
			was = &serverMemory{uid: server.UID}
			pool.servers[server.Name] = was
		}
		was.round = true
		for j := range server.Status.Mitigations {
			m.mitigation(out, pool.began, s, planned, was, j, &server.Status.Mitigations[j], isNew)
		}
		was.keep(server.Status.Mitigations, planned)
	}
	for name, server := range pool.servers {
		if !server.round {
			delete(pool.servers, name)
		}
	}
	m.rollouts(out, s, pool)
}

// mitigation counts what became of a mitigation on a server. firstSight says that nothing is known of how it was before.
// began is since when the pool is looked at, place where the mitigation stands in the report.
func (m *memory) mitigation(out *counters, began time.Time, s poolSight, planned map[emsv1.MitigationID]*emsv1.PlannedMitigation, server *serverMemory, place int, is *emsv1.ServerMitigation, firstSight bool) {
	was := server.of(is.ID, place)
	changed := timeOf(is.ChangedTime)
	if is.State == emsv1.StateFailed && !firstSight && (was.state != emsv1.StateFailed || was.reason != is.Reason) {
		namespace, pool, reason := m.failureLabels(s.key, is.Reason)
		out.failures.WithLabelValues(namespace, pool, reason).Inc()
	}
	enforced := is.State == emsv1.StateApplied && is.Effective != emsv1.EffectiveFalse
	if enforced && was.inPlace != 0 && was.inPlace == is.Revision && was.changed != 0 && changed.Unix() > was.changed {
		out.drift.WithLabelValues(m.driftLabels(s.key)).Inc()
	}
	p := planned[is.ID]
	if enforced && is.Revision > was.revision && p != nil && p.Revision == is.Revision && !changed.Before(began) {
		if o := m.origins[is.ID]; o.revision == is.Revision {
			out.way(stepEnforced, o.published, changed)
		}
		out.way(stepReleasedEnforced, releasedBefore(s.history, p, changed), changed)
	}
	was.state, was.reason = is.State, is.Reason
	was.inPlace, was.changed = 0, 0
	if enforced {
		was.revision = max(was.revision, is.Revision)
		was.inPlace = is.Revision
		if !changed.IsZero() {
			was.changed = changed.Unix()
		}
	}
}

// of gives what was seen of a mitigation, to be written to. It was mostly seen at the same place.
func (s *serverMemory) of(id emsv1.MitigationID, place int) *seen {
	if place < len(s.mitigations) && s.mitigations[place].id == id {
		return &s.mitigations[place]
	}
	for i := range s.mitigations {
		if s.mitigations[i].id == id {
			return &s.mitigations[i]
		}
	}
	s.mitigations = append(s.mitigations, seen{id: id})
	return &s.mitigations[len(s.mitigations)-1]
}

// keep forgets what neither the server nor the plan speaks of any longer: ids come from a server, and one that lies shall not fill the memory.
func (s *serverMemory) keep(reported []emsv1.ServerMitigation, planned map[emsv1.MitigationID]*emsv1.PlannedMitigation) {
	if len(s.mitigations) == len(reported) {
		return // Nearly always: each was added for a report.
	}
	s.mitigations = slices.DeleteFunc(s.mitigations, func(m seen) bool {
		return planned[m.id] == nil && !slices.ContainsFunc(reported, func(r emsv1.ServerMitigation) bool { return r.ID == m.id })
	})
}

// releasedBefore is when a stage of the rollout was last released before a time; zero if none was.
func releasedBefore(history []emsv1.PoolHistoryEntry, p *emsv1.PlannedMitigation, at time.Time) time.Time {
	var released time.Time
	consider := func(t *metav1.Time) {
		if c := timeOf(t); c.After(released) && !c.After(at) {
			released = c
		}
	}
	consider(p.Rollout.StageTime)
	for i := range history {
		e := &history[i]
		if e.ID == p.ID && e.Revision == p.Revision && e.Attempt == p.Rollout.Attempt && e.Action == string(rollout.StageReleased) {
			consider(e.Time)
		}
	}
	return released
}

// rollouts counts the rollouts that ended, and how long they waited for a person.
func (m *memory) rollouts(out *counters, s poolSight, pool *poolMemory) {
	now := map[emsv1.MitigationID]rolloutMemory{}
	if s.plan != nil {
		for i := range s.plan.Spec.Mitigations {
			p := &s.plan.Spec.Mitigations[i]
			if p.Rollout.ID != "" && p.Desired == emsv1.DesiredApply {
				now[p.ID] = m.rollout(out, pool.began, p, pool.rollouts[p.ID], s.now)
			}
		}
	}
	for id, was := range pool.rollouts {
		if _, ok := now[id]; !ok && !was.waiting.IsZero() {
			out.paused(was.waiting, s.now) // it was taken out while it waited
		}
	}
	pool.rollouts = now
}

func (m *memory) rollout(out *counters, began time.Time, p *emsv1.PlannedMitigation, was rolloutMemory, now time.Time) rolloutMemory {
	r := &p.Rollout
	is := rolloutMemory{id: r.ID, state: r.State}
	if was.id == is.id {
		is.waiting = was.waiting
	} else if !was.waiting.IsZero() {
		out.paused(was.waiting, now)
	}
	waits := r.Reason == emsv1.RolloutPausedReason || r.Reason == emsv1.AwaitingApprovalReason
	switch {
	case waits && is.waiting.IsZero():
		is.waiting = now
		if p.Transition.Action == string(rollout.PausedByPerson) && !p.Transition.Time.IsZero() {
			is.waiting = p.Transition.Time.Time
		}
	case !waits && !is.waiting.IsZero():
		out.paused(is.waiting, now)
		is.waiting = time.Time{}
	}
	if was.id == is.id && was.state == is.state {
		return is
	}
	end, ends := now, true
	switch r.State {
	case emsv1.RolloutComplete:
		if t := timeOf(r.CompletionTime); !t.IsZero() {
			end = t
		}
	case emsv1.RolloutHalted, emsv1.RolloutAborted:
		if action := rollout.Action(p.Transition.Action); action == rollout.HaltedByFailures || action == rollout.AbortedByPerson {
			end = timeOf(p.Transition.Time)
		}
	default:
		ends = false
	}
	if ends && !end.Before(began) {
		out.rollout(string(r.State), timeOf(r.StartTime), end)
	}
	return is
}

// leave drops a pool that another manager works for.
func (m *memory) leave(out *counters, key types.NamespacedName) {
	m.forget(out, key)
	m.elsewhere[key] = true
}

// forget drops a pool, with its series.
func (m *memory) forget(out *counters, key types.NamespacedName) {
	delete(m.pools, key)
	delete(m.elsewhere, key)
	of := prometheus.Labels{"namespace": key.Namespace, "pool": key.Name}
	out.failures.DeletePartialMatch(of)
	out.drift.DeletePartialMatch(of)
	delete(m.poolReasons, key)
	delete(m.driftPools, key)
	for pair := range m.failurePairs {
		if pair[0] == key.Namespace && pair[1] == key.Name {
			delete(m.failurePairs, pair)
		}
	}
}

// failureLabels keeps the number of series within the limits.
func (m *memory) failureLabels(key types.NamespacedName, reason string) (namespace, pool, label string) {
	pair := [3]string{key.Namespace, key.Name, reason}
	if !m.failurePairs[pair] && m.poolReasons[key] >= maxReasons {
		pair[2] = otherReason
	}
	if !m.failurePairs[pair] {
		if len(m.failurePairs) >= maxFailureSeries {
			return others, others, otherReason
		}
		m.failurePairs[pair] = true
		m.poolReasons[key]++
	}
	return pair[0], pair[1], pair[2]
}

func (m *memory) driftLabels(key types.NamespacedName) (namespace, pool string) {
	if !m.driftPools[key] {
		if len(m.driftPools) >= maxDriftPools {
			return others, others
		}
		m.driftPools[key] = true
	}
	return key.Namespace, key.Name
}

// timeOf is the zero time for an absent one.
func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
