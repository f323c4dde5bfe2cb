package rollout_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/rollout"
)

// actor plays the agent of one server: it follows the plan of its pool as docs/spec/v1alpha1/mitigationplan.md has it, for mitigation M1.
type actor struct {
	object *emsv1.PoolServer

	// revision that is in place, 0 for none; gate is what the server says of the rollout.
	revision int64
	gate     emsv1.ServerGate
	// failed are rollouts that failed here. The server never goes back to one.
	failed []string
	// had are all revisions that were ever in place.
	had []int64
	// failedAt is when the first failure was reported.
	failedAt time.Time
}

// says is the verdict of a server on a revision; "" is silence.
type says func(server string, revision int64) emsv1.GateVerdict

// always says the same.
func always(verdict emsv1.GateVerdict) says {
	return func(string, int64) emsv1.GateVerdict { return verdict }
}

// harmful is the revision that does harm wherever it goes.
const harmful = 2

// harmfulFails fails that revision and passes every other.
func harmfulFails(_ string, revision int64) emsv1.GateVerdict {
	if revision == harmful {
		return emsv1.GateFailed
	}
	return emsv1.GatePassed
}

// cast are the servers of a pool.
type cast struct {
	pool client.ObjectKey

	mu     sync.Mutex
	actors []*actor
	says   says
}

func newCast(ctx context.Context, pool client.ObjectKey, servers int) *cast {
	GinkgoHelper()
	c := &cast{pool: pool, says: always(emsv1.GatePassed)}
	for i := range servers {
		server := &emsv1.PoolServer{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fe%02d", i+1), Namespace: pool.Namespace},
			Spec:       emsv1.PoolServerSpec{PoolName: pool.Name},
		}
		create(ctx, server)
		c.actors = append(c.actors, &actor{object: server})
	}
	return c
}

func (c *cast) expect(says says) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.says = says
}

// run lets the servers act until the test ends.
func (c *cast) run(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if _, err := c.act(ctx); err != nil && ctx.Err() == nil {
				GinkgoLogr.Info("A server could not report and will try again", "cause", err.Error())
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() { cancel(); <-done }
}

// act lets every server look at the plan once, and reports whether one of them did something.
func (c *cast) act(ctx context.Context) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	plan := &emsv1.MitigationPlan{}
	if err := env.Client.Get(ctx, c.pool, plan); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	at := slices.IndexFunc(plan.Spec.Mitigations, func(m emsv1.PlannedMitigation) bool { return m.ID == "M1" })
	if at < 0 {
		return false, nil
	}
	busy := false
	for _, a := range c.actors {
		a.follow(&plan.Spec.Mitigations[at], c.says)
		wrote, err := a.report(ctx, plan.Generation, plan.Spec.Mitigations[at].Rollout.Reason)
		if err != nil {
			return busy, err
		}
		busy = busy || wrote
	}
	return busy, nil
}

func (a *actor) put(revision int64) {
	if a.revision = revision; revision > 0 && !slices.Contains(a.had, revision) {
		a.had = append(a.had, revision)
	}
}

// follow does what the plan says.
func (a *actor) follow(m *emsv1.PlannedMitigation, says says) {
	name, id, fallback := a.object.Name, m.Rollout.ID, m.Rollout.Fallback.Revision
	released := rollout.Release{ServerNames: m.Release.ServerNames, Below: *m.Release.Below}.Includes(name, string(m.ID))
	switch {
	case m.Desired == emsv1.DesiredHold:
	case m.Desired == emsv1.DesiredRemove:
		a.put(0)
		a.gate = emsv1.ServerGate{}
	case released && slices.Contains(a.failed, id):
	case released:
		verdict := says(name, m.Revision)
		if verdict == "" {
			return
		}
		before := a.revision
		a.put(m.Revision)
		a.gate = emsv1.ServerGate{Rollout: id, Verdict: verdict}
		if verdict == emsv1.GateFailed {
			a.gate.Message = "the sites answer with 503"
			a.failed = append(a.failed, id)
			a.put(before)
		}
	default:
		if !slices.Contains(a.failed, id) {
			a.gate = emsv1.ServerGate{}
		}
		if m.Rollout.Unreleased == emsv1.UnreleasedRevert || a.revision < fallback {
			a.put(fallback)
		}
	}
}

// report writes the status if it changed.
func (a *actor) report(ctx context.Context, plan int64, waits string) (bool, error) {
	status := a.object.Status.DeepCopy()
	status.ObservedGeneration = new(a.object.Generation)
	status.ObservedPlanGeneration = plan
	m := emsv1.ServerMitigation{ID: "M1", State: emsv1.StateHeld, Reason: waits, Revision: a.revision, Gate: a.gate}
	outcome := conditions.Done(emsv1.PlanAppliedReason, "everything is as the plan wants it")
	switch {
	case a.gate.Verdict == emsv1.GateFailed:
		m.State, m.Reason, m.Message = emsv1.StateFailed, "GateFailed", a.gate.Message
		outcome = conditions.Stalled(emsv1.MitigationsFailedReason, "M1: "+a.gate.Message)
	case a.revision > 0:
		m.State, m.Reason = emsv1.StateApplied, "Enabled"
	}
	status.Mitigations = []emsv1.ServerMitigation{m}
	conditions.Set(&status.Conditions, a.object.Generation, outcome)
	if equality.Semantic.DeepEqual(&a.object.Status, status) {
		return false, nil
	}
	changed := a.object.DeepCopy()
	changed.Status = *status
	if err := env.Client.Status().Patch(ctx, changed, client.MergeFrom(a.object)); err != nil {
		return false, err
	}
	a.object = changed
	if a.gate.Verdict == emsv1.GateFailed && a.failedAt.IsZero() {
		a.failedAt = time.Now()
	}
	return true, nil
}

// revisions tells what is in place on each server, "fe01:2 fe02:1".
func (c *cast) revisions() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]int64{}
	for _, a := range c.actors {
		out[a.object.Name] = a.revision
	}
	return out
}

// on counts the servers that have a revision in place now.
func (c *cast) on(revision int64) int {
	return c.count(func(a *actor) bool { return a.revision == revision })
}

// harmed counts the servers that have, or once had, the harmful revision in place.
func (c *cast) harmed() int {
	return c.count(func(a *actor) bool { return slices.Contains(a.had, harmful) })
}

func (c *cast) count(fits func(*actor) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, a := range c.actors {
		if fits(a) {
			n++
		}
	}
	return n
}

// firstFailure is when the first server reported a failure.
func (c *cast) firstFailure() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first time.Time
	for _, a := range c.actors {
		if !a.failedAt.IsZero() && (first.IsZero() || a.failedAt.Before(first)) {
			first = a.failedAt
		}
	}
	return first
}
