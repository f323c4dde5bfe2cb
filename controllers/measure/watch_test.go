package measure

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/shard"
)

var (
	begin   = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	poolKey = types.NamespacedName{Namespace: "exchange", Name: "frontend"}
)

func at(after time.Duration) *metav1.Time { return new(metav1.NewTime(begin.Add(after))) }

// planned is a mitigation that the plan applies in revision 2, released at the beginning.
func planned() emsv1.PlannedMitigation {
	p := emsv1.PlannedMitigation{ID: "M1", Desired: emsv1.DesiredApply, Revision: 2}
	p.Rollout = emsv1.PlanRollout{ID: "2.1", Attempt: 1, State: emsv1.RolloutProgressing, StartTime: at(0), StageTime: at(0)}
	return p
}

func planOf(mitigations ...emsv1.PlannedMitigation) *emsv1.MitigationPlan {
	return &emsv1.MitigationPlan{Spec: emsv1.MitigationPlanSpec{Mitigations: mitigations}}
}

// server has M1 in a state.
func server(name string, m emsv1.ServerMitigation) emsv1.PoolServer {
	s := emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: poolKey.Namespace, Name: name, UID: types.UID(name)}}
	if m.State != "" {
		m.ID = "M1"
		s.Status.Mitigations = []emsv1.ServerMitigation{m}
	}
	return s
}

func TestAServerStandsAsTheWorstOfItsMitigations(t *testing.T) {
	silentServer := server("a", emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2})
	silentServer.Status.Conditions = []metav1.Condition{{Type: emsv1.ReadyCondition, Status: metav1.ConditionUnknown, Reason: emsv1.AgentSilentReason}}
	killed := server("a", emsv1.ServerMitigation{State: emsv1.StateRemoved})
	killed.Status.Local.KillSwitch.Time = at(0)
	with := func(change func(*emsv1.PlannedMitigation)) emsv1.PlannedMitigation {
		p := planned()
		change(&p)
		return p
	}
	other := with(func(p *emsv1.PlannedMitigation) { p.ID = "M2" })
	for name, test := range map[string]struct {
		plan   *emsv1.MitigationPlan
		server emsv1.PoolServer
		want   standing
	}{
		"without a plan nothing is missing":     {nil, server("a", emsv1.ServerMitigation{}), protected},
		"in place":                              {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2}), protected},
		"not needed":                            {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateNotApplicable}), protected},
		"not spoken of yet":                     {planOf(planned()), server("a", emsv1.ServerMitigation{}), unprotected},
		"waits for its stage":                   {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateHeld, Reason: "AwaitingStage"}), unprotected},
		"has the revision before":               {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 1}), outdated},
		"keeps the revision before":             {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateHeld, Revision: 1}), outdated},
		"IIS does not run it":                   {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2, Effective: emsv1.EffectiveFalse}), unprotected},
		"failed":                                {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateFailed}), failed},
		"took it back":                          {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateRemoved, Gate: emsv1.ServerGate{Rollout: "2.1", Verdict: emsv1.GateFailed}}), failed},
		"only audited":                          {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateAudited}), excepted},
		"blocked at the server":                 {planOf(planned()), server("a", emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "BlockedOnServer"}), excepted},
		"blocked by the pool":                   {planOf(with(func(p *emsv1.PlannedMitigation) { p.Desired, p.Reason = emsv1.DesiredRemove, "BlockedByPool" })), server("a", emsv1.ServerMitigation{State: emsv1.StateRemoved}), excepted},
		"withdrawn":                             {planOf(with(func(p *emsv1.PlannedMitigation) { p.Desired, p.Reason = emsv1.DesiredRemove, "Withdrawn" })), server("a", emsv1.ServerMitigation{State: emsv1.StateRemoved}), protected},
		"held while disabled":                   {planOf(with(func(p *emsv1.PlannedMitigation) { p.Desired = emsv1.DesiredHold })), server("a", emsv1.ServerMitigation{State: emsv1.StateHeld}), excepted},
		"aborted":                               {planOf(with(func(p *emsv1.PlannedMitigation) { p.Rollout.State = emsv1.RolloutAborted })), server("a", emsv1.ServerMitigation{}), excepted},
		"silent, whatever it had":               {planOf(planned()), silentServer, silent},
		"the kill switch of the server":         {planOf(planned()), killed, excepted},
		"one is in place and the other is not":  {planOf(planned(), other), server("a", emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2}), unprotected},
		"one failed and the other is not there": {planOf(planned(), other), server("a", emsv1.ServerMitigation{State: emsv1.StateFailed}), failed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := standingOf(&test.server, test.plan); got != test.want {
				t.Errorf("got %s, want %s", standingNames[got], standingNames[test.want])
			}
		})
	}
}

// observations gives number and sum of a histogram.
func observations(t *testing.T, o prometheus.Observer) string {
	t.Helper()
	var m dto.Metric
	if err := o.(prometheus.Metric).Write(&m); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d in %g s", m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum())
}

// published is M1 in revision 2, signed ten minutes before the beginning and accepted a minute after it.
func published(after time.Duration) ([]emsv1.Mitigation, []emsv1.MitigationFeed) {
	m := emsv1.Mitigation{Spec: emsv1.MitigationSpec{ID: "M1", Revision: 2, Lifecycle: emsv1.LifecycleActive, FeedName: "contoso", DocumentDigest: "d"}}
	f := emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: "contoso"}}
	f.Status.Document = emsv1.AcceptedDocument{Digest: "d", SignedTime: at(after - 10*time.Minute), IssuedTime: at(-time.Hour), AcceptedTime: at(time.Minute)}
	return []emsv1.Mitigation{m}, []emsv1.MitigationFeed{f}
}

func TestTheWayOfARevisionIsCountedOnceForEachServer(t *testing.T) {
	w := newWatched()
	look := func(after time.Duration, servers ...emsv1.PoolServer) {
		mitigations, feeds := published(0)
		w.learn(w.counters, mitigations, feeds, begin.Add(after))
		w.look(w.counters, poolSight{key: poolKey, plan: planOf(planned()), servers: servers, now: begin.Add(after)})
	}
	want := func(step, want string) {
		t.Helper()
		if got := observations(t, w.propagation.WithLabelValues(step)); got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	applied := func(after time.Duration) emsv1.ServerMitigation {
		return emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2, ChangedTime: at(after)}
	}
	// At the start b has it since before, which the process before has counted.
	look(0, server("a", emsv1.ServerMitigation{}), server("b", applied(-time.Minute)))
	want(stepVerified, "1 in 660 s")
	want(stepEnforced, "0 in 0 s")

	look(2*time.Minute, server("a", applied(90*time.Second)), server("b", applied(-time.Minute)))
	want(stepEnforced, "1 in 690 s")
	want(stepReleasedEnforced, "1 in 90 s")

	// It is taken away and comes back, somebody changes it and it is repaired: the same revision counts once.
	look(3*time.Minute, server("a", emsv1.ServerMitigation{State: emsv1.StateRemoved, Reason: "BlockedOnServer"}))
	look(4*time.Minute, server("a", applied(200*time.Second)))
	if got := testutil.ToFloat64(w.drift.WithLabelValues(poolKey.Namespace, poolKey.Name)); got != 0 {
		t.Errorf("%v repairs of drift, and it was only taken away", got)
	}
	look(5*time.Minute, server("a", applied(250*time.Second)))
	if got := testutil.ToFloat64(w.drift.WithLabelValues(poolKey.Namespace, poolKey.Name)); got != 1 {
		t.Errorf("%v repairs of drift, want 1", got)
	}
	want(stepEnforced, "1 in 690 s")

	// The same revision in a document that was signed later is as old as before, and has been verified once.
	mitigations, feeds := published(5 * time.Minute)
	mitigations[0].Spec.DocumentDigest, feeds[0].Status.Document.Digest = "e", "e"
	w.learn(w.counters, mitigations, feeds, begin.Add(6*time.Minute))
	want(stepVerified, "1 in 660 s")
	got := measureMitigations(objects{mitigations: mitigations, feeds: feeds}, w.origins)
	var m dto.Metric
	if err := got[1].Write(&m); err != nil {
		t.Fatal(err)
	}
	if published := int64(m.GetGauge().GetValue()); published != begin.Add(-10*time.Minute).Unix() {
		t.Errorf("published at %d, want %d", published, begin.Add(-10*time.Minute).Unix())
	}
}

func TestReleasedIsTheLastReleaseBeforeTheChange(t *testing.T) {
	p := planned()
	p.Rollout.StageTime = at(time.Hour)
	entry := func(after time.Duration, attempt int32) emsv1.PoolHistoryEntry {
		return emsv1.PoolHistoryEntry{ID: "M1", Revision: 2, Attempt: attempt, Action: string(rollout.StageReleased), Time: at(after)}
	}
	history := []emsv1.PoolHistoryEntry{entry(time.Minute, 1), entry(2*time.Minute, 2), entry(10*time.Minute, 1)}
	for name, test := range map[string]struct{ changed, want time.Duration }{
		"after the second stage": {20 * time.Minute, 10 * time.Minute},
		"after the first stage":  {5 * time.Minute, time.Minute},
		"after the last stage":   {2 * time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if got := releasedBefore(history, &p, begin.Add(test.changed)); !got.Equal(begin.Add(test.want)) {
				t.Errorf("got %s, want %s", got.Sub(begin), test.want)
			}
		})
	}
	if got := releasedBefore(nil, &p, begin); !got.IsZero() {
		t.Errorf("released at %s, and no stage was", got)
	}
}

func TestRolloutsAndPausesAreCountedWhenTheyEnd(t *testing.T) {
	w := newWatched()
	look := func(after time.Duration, change func(*emsv1.PlannedMitigation)) {
		p := planned()
		change(&p)
		w.learn(w.counters, nil, nil, begin.Add(after))
		w.look(w.counters, poolSight{key: poolKey, plan: planOf(p), now: begin.Add(after)})
	}
	state := func(state emsv1.RolloutState, reason string) func(*emsv1.PlannedMitigation) {
		return func(p *emsv1.PlannedMitigation) { p.Rollout.State, p.Rollout.Reason = state, reason }
	}
	look(0, state(emsv1.RolloutProgressing, ""))
	look(time.Minute, func(p *emsv1.PlannedMitigation) {
		state(emsv1.RolloutPaused, emsv1.RolloutPausedReason)(p)
		p.Transition = emsv1.PlanTransition{Action: string(rollout.PausedByPerson), Time: at(50 * time.Second)}
	})
	look(2*time.Minute, state(emsv1.RolloutPaused, emsv1.RolloutPausedReason))
	if got := observations(t, w.pauses); got != "0 in 0 s" {
		t.Errorf("pauses: %s while it is paused", got)
	}
	look(3*time.Minute, state(emsv1.RolloutProgressing, ""))
	if got := observations(t, w.pauses); got != "1 in 130 s" {
		t.Errorf("pauses: %s, want one from the transition on", got)
	}
	look(4*time.Minute, func(p *emsv1.PlannedMitigation) {
		state(emsv1.RolloutHalted, emsv1.RolloutHaltedReason)(p)
		p.Transition = emsv1.PlanTransition{Action: string(rollout.HaltedByFailures), Time: at(220 * time.Second)}
	})
	complete := func(p *emsv1.PlannedMitigation) {
		state(emsv1.RolloutComplete, "")(p)
		p.Rollout.CompletionTime = at(290 * time.Second)
	}
	look(5*time.Minute, complete)
	look(6*time.Minute, complete)
	if got := observations(t, w.counters.rollouts.WithLabelValues("Halted")); got != "1 in 220 s" {
		t.Errorf("halted: %s", got)
	}
	if got := observations(t, w.counters.rollouts.WithLabelValues("Complete")); got != "1 in 290 s" {
		t.Errorf("complete: %s", got)
	}
	// A manager that starts later does not count it again.
	later := newWatched()
	later.learn(later.counters, nil, nil, begin.Add(time.Hour))
	p := planned()
	complete(&p)
	later.look(later.counters, poolSight{key: poolKey, plan: planOf(p), now: begin.Add(time.Hour)})
	if got := observations(t, later.counters.rollouts.WithLabelValues("Complete")); got != "0 in 0 s" {
		t.Errorf("after a restart: %s", got)
	}
}

func TestFailuresAreCountedOnceAndWithinLimits(t *testing.T) {
	w := newWatched()
	look := func(key types.NamespacedName, servers ...emsv1.PoolServer) {
		w.learn(w.counters, nil, nil, begin)
		w.look(w.counters, poolSight{key: key, plan: planOf(planned()), servers: servers, now: begin})
	}
	fails := func(reason string) emsv1.PoolServer {
		return server("a", emsv1.ServerMitigation{State: emsv1.StateFailed, Reason: reason})
	}
	look(poolKey, fails("SectionLocked")) // as it was before this process
	look(poolKey, fails("SectionLocked"))
	look(poolKey, fails("FileBroken"))
	look(poolKey, server("a", emsv1.ServerMitigation{State: emsv1.StateApplied}))
	look(poolKey, fails("FileBroken"))
	want := func(want float64, labels ...string) {
		t.Helper()
		if got := testutil.ToFloat64(w.failures.WithLabelValues(labels...)); got != want {
			t.Errorf("%v: %v failures, want %v", labels, got, want)
		}
	}
	want(2, poolKey.Namespace, poolKey.Name, "FileBroken")
	// A server that lies makes up reasons.
	for i := range 100 {
		look(poolKey, fails(fmt.Sprintf("Made%dUp", i)))
	}
	want(100-(maxReasons-1), poolKey.Namespace, poolKey.Name, otherReason)
	// A fleet of pools that each have a server like that.
	for p := range 100 {
		key := types.NamespacedName{Namespace: "exchange", Name: fmt.Sprintf("pool-%d", p)}
		look(key, server("a", emsv1.ServerMitigation{}))
		for i := range 30 {
			look(key, fails(fmt.Sprintf("Made%dUp", i)))
		}
	}
	if n := testutil.CollectAndCount(w.failures); n > maxFailureSeries+2+maxReasons {
		t.Errorf("%d series of failures, want about %d", n, maxFailureSeries)
	}
	// What is deleted makes room.
	w.forget(w.counters, poolKey)
	if w.poolReasons[poolKey] != 0 || w.pools[poolKey] != nil {
		t.Error("a pool that was deleted is remembered")
	}
}

func TestServersOfManyPoolsAreSummedUp(t *testing.T) {
	pools := map[types.NamespacedName][standings]int{}
	for i := range maxPools + 50 {
		pools[types.NamespacedName{Namespace: "exchange", Name: fmt.Sprintf("pool-%03d", i)}] = [standings]int{protected: 10}
	}
	trouble := types.NamespacedName{Namespace: "zzz", Name: "zzz"}
	pools[trouble] = [standings]int{protected: 3, silent: 1}
	got := map[string]float64{}
	total := 0.0
	for _, m := range measureServers(pools, shard.Main) {
		var d dto.Metric
		if err := m.Write(&d); err != nil {
			t.Fatal(err)
		}
		total += d.GetGauge().GetValue()
		got[d.GetLabel()[0].GetValue()+"/"+d.GetLabel()[1].GetValue()+"/"+d.GetLabel()[2].GetValue()] = d.GetGauge().GetValue()
	}
	if total != (maxPools+50)*10+4 {
		t.Errorf("%v servers in all", total)
	}
	if diff := cmp.Diff([]float64{1, 3, 510}, []float64{got["zzz/zzz/silent"], got["zzz/zzz/protected"], got["_others/_others/protected"]}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// fleetOf has pools of a hundred servers with 20 mitigations each.
func fleetOf(pools int) []poolSight {
	var plan emsv1.MitigationPlan
	for i := range 20 {
		p := planned()
		p.ID = emsv1.MitigationID(fmt.Sprintf("M%d", i))
		plan.Spec.Mitigations = append(plan.Spec.Mitigations, p)
	}
	var all []poolSight
	for p := range pools {
		s := poolSight{key: types.NamespacedName{Namespace: "exchange", Name: fmt.Sprintf("pool-%d", p)}, plan: &plan, now: begin}
		for i := range 100 {
			one := server(fmt.Sprintf("server-%d", i), emsv1.ServerMitigation{})
			for j := range 20 {
				one.Status.Mitigations = append(one.Status.Mitigations, emsv1.ServerMitigation{
					ID: emsv1.MitigationID(fmt.Sprintf("M%d", j)), State: emsv1.StateApplied, Revision: 2, ChangedTime: at(time.Minute),
				})
			}
			s.servers = append(s.servers, one)
		}
		all = append(all, s)
	}
	return all
}

// BenchmarkLook is a look at one pool of a hundred servers, as it follows their reports.
func BenchmarkLook(b *testing.B) {
	w := newWatched()
	s := fleetOf(1)[0]
	w.learn(w.counters, nil, nil, begin)
	b.ReportAllocs()
	for b.Loop() {
		w.look(w.counters, s)
	}
}

// BenchmarkScrape is a scrape with 10,000 servers in 100 pools, with 20 mitigations each.
func BenchmarkScrape(b *testing.B) {
	c := newCollector()
	for _, s := range fleetOf(100) {
		c.watched.learn(c.watched.counters, nil, nil, begin)
		c.watched.look(c.watched.counters, s)
	}
	from := objects{}
	for i := range 20 {
		from.mitigations = append(from.mitigations, emsv1.Mitigation{Spec: emsv1.MitigationSpec{ID: emsv1.MitigationID(fmt.Sprintf("M%d", i)), Revision: 2}})
	}
	for p := range 100 {
		pool := emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "exchange", Name: fmt.Sprintf("pool-%d", p)}}
		plan := emsv1.MitigationPlan{ObjectMeta: pool.ObjectMeta}
		for i := range 20 {
			id := emsv1.MitigationID(fmt.Sprintf("M%d", i))
			pool.Status.Mitigations = append(pool.Status.Mitigations, emsv1.PoolMitigationStatus{
				ID: id, Desired: emsv1.DesiredApply, Servers: emsv1.ServerCounts{Total: new(int32(100)), Applied: new(int32(100))},
			})
			m := planned()
			m.ID = id
			plan.Spec.Mitigations = append(plan.Spec.Mitigations, m)
		}
		from.pools, from.plans = append(from.pools, pool), append(from.plans, plan)
	}
	b.ReportAllocs()
	for b.Loop() {
		pools, origins := c.watched.snapshot()
		measureExceptions(from, begin)
		measureRollouts(from.plans)
		measureServers(pools, shard.Main)
		measureMitigations(from, origins)
		measurePools(from.pools, from.plans)
		measureFeeds(from.feeds)
	}
}

// TestAServerThatInventsMitigationsFillsNoMemory: what neither it nor the plan speaks of any longer is forgotten, what the plan has is not.
func TestAServerThatInventsMitigationsFillsNoMemory(t *testing.T) {
	m, out := newMemory(), newCounters()
	m.began = begin
	sight := func(ids ...emsv1.MitigationID) poolSight {
		s := server("a", emsv1.ServerMitigation{})
		for _, id := range ids {
			s.Status.Mitigations = append(s.Status.Mitigations, emsv1.ServerMitigation{ID: id, State: emsv1.StateApplied, Revision: 2, ChangedTime: at(time.Minute)})
		}
		return poolSight{key: poolKey, plan: planOf(planned()), servers: []emsv1.PoolServer{s}, now: begin.Add(time.Hour)}
	}
	m.look(out, sight("M1"))
	for i := range 100 {
		m.look(out, sight(emsv1.MitigationID(fmt.Sprintf("X%d", i))))
	}
	var ids []emsv1.MitigationID
	for _, s := range m.pools[poolKey].servers["a"].mitigations {
		ids = append(ids, s.id)
	}
	if diff := cmp.Diff([]emsv1.MitigationID{"M1", "X99"}, ids); diff != "" {
		t.Error(diff)
	}
}
