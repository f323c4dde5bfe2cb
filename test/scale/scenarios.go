package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/pause"
	"mitigation.dev/ems/test/harness"
)

// scenario is something that is done and measured.
type scenario struct {
	name, title string
	// run does it. What is measured beside the figures (requests, processor time) is what happens meanwhile.
	run   func(ctx context.Context, w *world, r *Result) error
	goals []goal
	// rested scenarios begin when the servers have reported what the one before caused.
	rested bool
	// needs is the scenario without which it means nothing; empty for none.
	needs string
	// after is what the files of all servers say in the end.
	after expectation
}

const (
	seconds = "s"
	// limit is how long is waited for what takes seconds, per thousand servers.
	limit = 3 * time.Minute
	// idleTime is how long nothing is done.
	idleTime = time.Minute
	// bakes are the bake times of profile Emergency before its last stage, with one server and with a tenth.
	bakes                = firstBake + tenthBake
	firstBake, tenthBake = 15 * time.Second, 30 * time.Second
	// away is how long the API server is gone.
	away = 5 * time.Second
	mib  = 1 << 20
)

// scenarios are all, in the order in which they build on each other.
func scenarios() []scenario {
	untouched, protected := expectation{untouched: true}, expectation{}
	return []scenario{
		{name: "connect", title: "all agents start at once", run: connect, after: untouched},
		{name: "seen", title: "plan released → seen by every agent", run: seen, rested: true, after: untouched, goals: []goal{{"p99", .3, 3}}},
		{
			name: "publish", title: "document published → enforced on every server, profile Emergency", run: publish, rested: true, after: protected,
			goals: []goal{{"verified Mitigation", 2, 2}, {"enforced everywhere, beyond the bake times", 5, 30}, {"full success count visible", 15, 90}},
		},
		{name: "idle", title: "idle", run: idle, rested: true, needs: "publish", after: protected, goals: []goal{{"writes", 10, 50}, {"lists", 0, 0}, {"manager", 2, 5}}},
		{
			name: "outage", title: "API server restart", run: outage, rested: true, needs: "publish", after: protected,
			goals: []goal{{"all agents watch again", 30, 120}, {"servers unprotected meanwhile", 0, 0}},
		},
		{
			name: "manager", title: "manager cold start", run: managerStart, needs: "publish", after: protected,
			goals: []goal{{"all plans right", 5, 30}, {"manager RSS", 128, 256}},
		},
		{name: "kill", title: "kill switch → reverted everywhere", run: kill, rested: true, needs: "publish", after: untouched, goals: []goal{{"p99", 2, 10}}},
		{name: "return", title: "kill switch taken back → enforced again", run: comeBack, rested: true, needs: "kill", after: protected},
		{
			name: "bad", title: "bad mitigation", run: bad, rested: true, needs: "publish", after: protected,
			goals: []goal{{"first failing server → halted", 5, 5}, {"first failing server → reverted", 15, 15}, {"servers touched beyond the first stage", 0, 0}, {"failure visible on the pool", 2, 3}},
		},
	}
}

// within is how long is waited, which grows with the servers.
func (w *world) within() time.Duration {
	return limit * time.Duration(1+len(w.fleet.servers)/1000)
}

// stands waits until all servers say a state of a mitigation, and returns when each did, after begin.
func (w *world) stands(ctx context.Context, id string, state emsv1.MitigationState, begin time.Time) ([]time.Time, error) {
	return w.fleet.await(ctx, w.within(), fmt.Sprintf("%s to be %s", id, state), func(s *server) (time.Time, bool) {
		at := s.stands(id)
		return at.at, at.state == string(state) && at.at.After(begin)
	})
}

// connect starts the agents.
func connect(ctx context.Context, w *world, r *Result) error {
	begin := time.Now()
	if err := w.fleet.start(ctx); err != nil {
		return err
	}
	open, err := w.fleet.await(ctx, w.within(), "watches", func(s *server) (time.Time, bool) { return s.watchesSince(begin) })
	r.figure("all watches open", seconds, r.distribution("watches", since(begin, open)).Max)
	if err != nil {
		return err
	}
	if err := w.rest(ctx); err != nil {
		return err
	}
	// The first mitigation goes through the stages like any other.
	begin = time.Now()
	if err := w.env.Apply(ctx, w.subscription); err != nil {
		return err
	}
	applied, err := w.stands(ctx, "PING1", emsv1.StateApplied, time.Time{})
	r.figure("PING1 in place everywhere", seconds, r.distribution("PING1", since(begin, applied)).Max)
	return errors.Join(err, w.complete(ctx, "PING1"))
}

// complete waits until the rollouts of a mitigation are.
func (w *world) complete(ctx context.Context, id string) error {
	done, err := w.poolsSay(ctx, id, func(m emsv1.PoolMitigationStatus, _ int) bool { return m.Rollout.State == emsv1.RolloutComplete })
	if err != nil {
		return err
	}
	return (<-done).err
}

// sizes says how many servers each pool has.
func (w *world) sizes() map[string]int {
	sizes := map[string]int{}
	for _, s := range w.fleet.servers {
		sizes[s.Pool.Name]++
	}
	return sizes
}

// poolsSay follows the status of the pools until each has said something of a mitigation; servers is how many it has.
func (w *world) poolsSay(ctx context.Context, id string, says func(m emsv1.PoolMitigationStatus, servers int) bool) (<-chan sighting, error) {
	sizes, said := w.sizes(), map[string]bool{}
	return follow(ctx, w, &emsv1.PoolMitigationConfigList{}, w.within(), func(p *emsv1.PoolMitigationConfig) bool {
		for _, m := range p.Status.Mitigations {
			if string(m.ID) == id && says(m, sizes[p.Name]) {
				said[p.Name] = true
			}
		}
		return len(said) == len(w.pools)
	})
}

// pushes is how often a plan is changed to see how long it is on its way.
const pushes = 5

// seen writes to the plans and takes the time from the request that changes a plan until the change is in the hands of every agent of its
// pool.
func seen(ctx context.Context, w *world, r *Result) error {
	var all []time.Duration
	worst := 0.0
	for i := range pushes {
		versions, begun := map[string]uint64{}, map[string]time.Time{}
		for _, p := range w.pools {
			begun[p.Name] = time.Now()
			plan := &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}}
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"ems.mitigation.dev/simulated-release":"%d"}}}`, i)
			if err := w.client.Patch(ctx, plan, client.RawPatch(types.MergePatchType, patch)); err != nil {
				return fmt.Errorf("release: %w", err)
			}
			version, err := strconv.ParseUint(plan.ResourceVersion, 10, 64)
			if err != nil {
				return fmt.Errorf("release: version %q: %w", plan.ResourceVersion, err)
			}
			versions[p.Name] = version
		}
		var took []time.Duration
		_, err := w.fleet.await(ctx, w.within(), "the plan to be seen", func(s *server) (time.Time, bool) {
			at, ok := s.arrived(versions[s.Pool.Name])
			if ok {
				took = append(took, at.Sub(begun[s.Pool.Name]))
			}
			return at, ok
		})
		all = append(all, took...)
		worst = max(worst, distribution(took).P99)
		if err != nil {
			return err
		}
		// So that no agent is still busy with one when the next comes. An annotation asks nothing of it beyond reading.
		if err := pause.For(ctx, 3*time.Second); err != nil {
			return err
		}
	}
	d := r.distribution("seen", all)
	r.figure("p99", seconds, d.P99)
	r.figure("p99 of the slowest release", seconds, worst)
	r.figure("max", seconds, d.Max)
	return nil
}

// publish publishes M1.
func publish(ctx context.Context, w *world, r *Result) error {
	verified, err := follow(ctx, w, &emsv1.MitigationList{}, w.within(), func(m *emsv1.Mitigation) bool { return m.Spec.ID == "M1" })
	if err != nil {
		return err
	}
	counted, err := w.poolsSay(ctx, "M1", func(m emsv1.PoolMitigationStatus, servers int) bool {
		return m.Servers.Applied != nil && int(*m.Servers.Applied) == servers
	})
	if err != nil {
		return err
	}
	begin, err := w.publish(harness.PING1(), harness.M1())
	if err != nil {
		return err
	}
	is := <-verified
	if is.err != nil {
		return is.err
	}
	r.figure("verified Mitigation", seconds, is.at.Sub(begin).Seconds())
	times, err := w.stands(ctx, "M1", emsv1.StateApplied, begin)
	d := r.distribution("published to enforced", since(begin, times))
	r.figure("enforced everywhere", seconds, d.Max)
	r.figure("enforced everywhere, beyond the bake times", seconds, d.Max-bakes.Seconds())
	if err != nil {
		return err
	}
	phases(w.fleet, "M1", "m1", begin, r)
	if is = <-counted; is.err != nil {
		return is.err
	}
	r.figure("full success count visible", seconds, is.at.Sub(begin).Seconds()-d.Max)
	return w.complete(ctx, "M1")
}

// rest waits until each server has said that it follows its pool's last plan, and a little longer for what the manager says about that:
// what was done before has an aftermath of minutes (package agent/cluster), which is not what the next scenario measures. A fleet that does
// not come to rest is measured as it is.
func (w *world) rest(ctx context.Context) error {
	const look, most = 5 * time.Second, 10 * time.Minute
	for begin := time.Now(); time.Since(begin) < most; {
		resting, err := w.resting(ctx)
		if err != nil {
			return err
		}
		if err := pause.For(ctx, look); err != nil || resting {
			return err
		}
	}
	return nil
}

// resting reports whether all pools say that all of their servers are as the plan wants them.
func (w *world) resting(ctx context.Context) (bool, error) {
	for name, n := range w.sizes() {
		p := &emsv1.PoolMitigationConfig{}
		pool := w.pools[slices.IndexFunc(w.pools, func(p harness.Pool) bool { return p.Name == name })]
		if err := w.client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: name}, p); err != nil {
			return false, fmt.Errorf("pool %s: %w", name, err)
		}
		if p.Status.Summary.InSync != fmt.Sprintf("%d/%d", n, n) {
			return false, nil
		}
	}
	return true, nil
}

// idle does nothing.
func idle(ctx context.Context, w *world, r *Result) error {
	before, err := w.meter.sample(ctx)
	if err != nil {
		return err
	}
	if err := pause.For(ctx, idleTime); err != nil {
		return err
	}
	after, err := w.meter.sample(ctx)
	if err != nil {
		return err
	}
	var quiet Result
	quiet.difference(before, after)
	took := after.at.Sub(before.at).Seconds()
	share := func(name string) float64 { return 100 * quiet.CPU[name] / took }
	r.figure("writes", "/s", quiet.writes()/took)
	r.figure("lists", "", quiet.lists())
	r.figure("manager", "% of a core", share(w.env.Manager.Name))
	r.figure("API server", "% of a core", share(w.env.ControlPlane.APIServer.Name))
	servers := float64(len(w.fleet.servers))
	r.figure("an agent", "‰ of a core", 10*share(simulator)/servers)
	r.figure("an agent's goroutines", "", float64(runtime.NumGoroutine())/servers)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r.figure("an agent's memory in use", "KiB", float64(memory.HeapAlloc+memory.StackInuse)/1024/servers)
	return nil
}

// outage kills the API server and starts it again.
func outage(ctx context.Context, w *world, r *Result) error {
	api := w.env.ControlPlane.APIServer
	if err := w.meter.keep(ctx, api); err != nil {
		return err
	}
	killed := time.Now()
	api.Kill()
	unprotected := 0
	look := func() {
		// A different twentieth each time.
		for i := int(time.Since(killed)/time.Second) % 20; i < len(w.fleet.servers); i += 20 {
			if w.fleet.servers[i].check(expectation{}) != nil {
				unprotected++
			}
		}
	}
	for time.Since(killed) < away {
		look()
		if err := pause.For(ctx, time.Second); err != nil {
			return err
		}
	}
	if err := w.env.ControlPlane.Start(ctx); err != nil {
		return err
	}
	ready := time.Now()
	times, err := w.fleet.await(ctx, w.within(), "watches", func(s *server) (time.Time, bool) { return s.watchesSince(killed) })
	r.figure("all agents watch again", seconds, r.distribution("watches after readiness", since(ready, times)).Max)
	if err != nil {
		return err
	}
	look()
	r.figure("servers unprotected meanwhile", "", float64(unprotected))
	now, err := w.meter.counters(ctx)
	back := Result{Requests: now.requests}
	r.figure("lists", "", back.lists())
	return err
}

// managerStart changes policy while there is no manager, and starts one.
func managerStart(ctx context.Context, w *world, r *Result) error {
	if err := w.meter.keep(ctx, w.env.Manager); err != nil {
		return err
	}
	w.env.Manager.Kill()
	if _, err := w.policy(ctx, map[string]any{"blocked": []map[string]string{{"id": "PING1", "reason": "the simulation shows that the manager works"}}}); err != nil {
		return err
	}
	right := map[string]bool{}
	seen, err := follow(ctx, w, &emsv1.MitigationPlanList{}, w.within(), func(p *emsv1.MitigationPlan) bool {
		right[p.Name] = slices.ContainsFunc(p.Spec.Mitigations, func(m emsv1.PlannedMitigation) bool {
			return m.ID == "PING1" && m.Desired == emsv1.DesiredRemove
		})
		for _, pool := range w.pools {
			if !right[pool.Name] {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := w.env.StartManager(ctx); err != nil {
		return err
	}
	is := <-seen
	if is.err != nil {
		return is.err
	}
	r.figure("all plans right", seconds, is.at.Sub(begin).Seconds())
	if _, err := w.stands(ctx, "PING1", emsv1.StateRemoved, begin); err != nil {
		return err
	}
	now, err := w.meter.sample(ctx)
	r.figure("manager RSS", "MiB", float64(now.processes[w.env.Manager.Name].peak)/mib)
	return err
}

// kill throws the kill switch of the organisation.
func kill(ctx context.Context, w *world, r *Result) error {
	begin, err := w.policy(ctx, map[string]any{"suspend": emsv1.SuspendRevert})
	if err != nil {
		return err
	}
	times, err := w.stands(ctx, "M1", emsv1.StateRemoved, begin)
	d := r.distribution("reverted", since(begin, times))
	r.figure("p50", seconds, d.P50)
	r.figure("p99", seconds, d.P99)
	r.figure("max", seconds, d.Max)
	return err
}

// comeBack takes the kill switch back.
func comeBack(ctx context.Context, w *world, r *Result) error {
	begin, err := w.policy(ctx, map[string]any{"suspend": emsv1.SuspendNone})
	if err != nil {
		return err
	}
	times, err := w.stands(ctx, "M1", emsv1.StateApplied, begin)
	r.figure("enforced everywhere, beyond the bake times", seconds, r.distribution("enforced", since(begin, times)).Max-bakes.Seconds())
	return errors.Join(err, w.complete(ctx, "M1"))
}

// bad publishes a mitigation that blocks what a load balancer asks for.
func bad(ctx context.Context, w *world, r *Result) error {
	failing := false
	visible, err := follow(ctx, w, &emsv1.PoolMitigationConfigList{}, w.within(), func(p *emsv1.PoolMitigationConfig) bool {
		failing = slices.ContainsFunc(p.Status.Mitigations, func(m emsv1.PoolMitigationStatus) bool {
			return m.ID == "OWA1" && (m.Servers.Failed != nil && *m.Servers.Failed > 0 || m.Rollout.Failed != nil && *m.Rollout.Failed > 0)
		})
		return failing
	})
	if err != nil {
		return err
	}
	halted, err := w.poolsSay(ctx, "OWA1", func(m emsv1.PoolMitigationStatus, _ int) bool { return m.Rollout.State == emsv1.RolloutHalted })
	if err != nil {
		return err
	}
	if _, err := w.publish(harness.PING1(), harness.M1(), harness.OWA1(1)); err != nil {
		return err
	}
	sawHalt, sawFailure := <-halted, <-visible
	if err := errors.Join(sawHalt.err, sawFailure.err); err != nil {
		return err
	}
	// Whoever was touched has had another pass by then.
	if err := pause.For(ctx, 15*time.Second); err != nil {
		return err
	}
	touched := 0
	var first, reverted time.Time
	for _, s := range w.fleet.servers {
		verdict, stands := s.gate("owa1"), s.stands("OWA1")
		if verdict.state == "" && stands.state != string(emsv1.StateApplied) {
			continue
		}
		touched++
		if verdict.state == "Failed" && (first.IsZero() || verdict.at.Before(first)) {
			first = verdict.at
		}
		if stands.at.After(reverted) {
			reverted = stands.at
		}
	}
	if first.IsZero() {
		return errors.New("the pools say that a server failed, and none said so")
	}
	r.figure("first failing server → halted", seconds, sawHalt.at.Sub(first).Seconds())
	r.figure("first failing server → reverted", seconds, reverted.Sub(first).Seconds())
	r.figure("servers touched beyond the first stage", "", float64(touched-len(w.pools)))
	r.figure("failure visible on the pool", seconds, sawFailure.at.Sub(first).Seconds())
	return nil
}
