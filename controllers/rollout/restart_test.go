package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/rollout"
)

// errKilled is what a manager gets that is no more.
var errKilled = errors.New("the manager was killed")

// stage plays a rollout step by step: the manager looks, the servers look, a second passes. Managers read past any cache, so that nothing
// depends on how fast the machine is.
type stage struct {
	pool   *emsv1.PoolMitigationConfig
	actors *cast
	clock  *clocktesting.FakePassiveClock
	client client.WithWatch

	// writes counts what the managers wrote. The manager is killed right after the write of that number, before it learns that it took
	// effect. That is also right before the next one.
	writes, killAt int
	dead           bool
}

// manager is a new one, which remembers nothing.
func (s *stage) manager() *rollout.Reconciler {
	s.dead = false
	write := func(do func() error) error {
		if s.dead {
			return errKilled
		}
		s.writes++
		if s.writes != s.killAt {
			return do()
		}
		s.dead = true
		Expect(do()).To(Succeed())
		return errKilled
	}
	c := interceptor.NewClient(s.client, interceptor.Funcs{
		// What the manager asks its index for.
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if _, servers := list.(*emsv1.PoolServerList); servers {
				options = []client.ListOption{client.InNamespace(s.pool.Namespace)}
			}
			return c.List(ctx, list, options...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return write(func() error { return c.Create(ctx, o, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			return write(func() error { return c.Update(ctx, o, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			return write(func() error { return c.SubResource(sub).Patch(ctx, o, patch, options...) })
		},
	})
	return &rollout.Reconciler{Client: c, Recorder: events.NewFakeRecorder(1000), Clock: s.clock}
}

// play goes on until nothing happens for some seconds.
func (s *stage) play(ctx context.Context) {
	GinkgoHelper()
	manager := s.manager()
	for quiet, steps := 0, 0; quiet < 2; steps++ {
		Expect(steps).To(BeNumerically("<", 100), "it never comes to rest")
		writes := s.writes
		_, err := manager.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.pool)})
		if s.dead {
			manager = s.manager()
		} else {
			Expect(err).NotTo(HaveOccurred())
		}
		busy, err := s.actors.act(ctx)
		Expect(err).NotTo(HaveOccurred())
		if quiet++; busy || s.writes != writes {
			quiet = 0
		}
		s.clock.SetTime(s.clock.Now().Add(time.Second))
	}
}

// outcome is where everything stands in the end, and what happened on the way, without times.
func (s *stage) outcome(ctx context.Context) string {
	GinkgoHelper()
	Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(s.pool), s.pool)).To(Succeed())
	where, err := standsIn(ctx, client.ObjectKeyFromObject(s.pool))()
	Expect(err).NotTo(HaveOccurred())
	lines := []string{where}
	for _, e := range s.pool.Status.History {
		lines = append(lines, fmt.Sprintf("%s r%d a%d %s by %s: %s", e.ID, e.Revision, e.Attempt, e.Action, e.By, e.Message))
	}
	for _, a := range s.actors.actors {
		lines = append(lines, fmt.Sprintf("%s has %d, had %v, says %s of %s", a.object.Name, a.revision, a.had, a.gate.Verdict, a.gate.Rollout))
	}
	return strings.Join(lines, "\n")
}

var _ = Describe("A manager that is killed", func() {
	var mitigation *emsv1.Mitigation

	// build makes a pool of three servers on a stage of its own.
	build := func(ctx context.Context) *stage {
		GinkgoHelper()
		watched, err := client.NewWithWatch(env.Config, client.Options{Scheme: env.Scheme})
		Expect(err).NotTo(HaveOccurred())
		s := &stage{client: watched, clock: clocktesting.NewFakePassiveClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC))}
		s.pool = &emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: env.Namespace(ctx)},
			Spec: emsv1.PoolMitigationConfigSpec{Rollout: emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{
				{Name: "canary", ServerNames: []string{"fe02"}}, {Name: "all", Servers: amount("100%")},
			}}},
		}
		Expect(env.Client.Create(ctx, s.pool)).To(Succeed())
		s.actors = newCast(ctx, client.ObjectKeyFromObject(s.pool), 3)
		return s
	}
	revise := func(ctx context.Context, revision int64) {
		GinkgoHelper()
		update(ctx, mitigation, func() { mitigation.Spec.Revision = revision })
	}
	// story is a good revision, one that halts, a corrected one, an abort and a retry.
	story := func(ctx context.Context, s *stage) string {
		GinkgoHelper()
		revise(ctx, 1)
		s.play(ctx)
		s.actors.expect(harmfulFails)
		revise(ctx, 2)
		s.play(ctx)
		Expect(standsIn(ctx, client.ObjectKeyFromObject(s.pool))()).To(Equal("Halted canary RolloutHalted"))
		revise(ctx, 3)
		s.play(ctx)
		for _, o := range []emsv1.RolloutOrder{
			{ID: "M1", Revision: 3, Action: emsv1.OrderAbort, Reason: "breaks printing", Owner: "messaging team"},
			{ID: "M1", Revision: 3, Action: emsv1.OrderRetry, Attempt: 2, Reason: "printing repaired", Owner: "messaging team"},
		} {
			update(ctx, s.pool, func() { s.pool.Spec.Rollout.Orders = []emsv1.RolloutOrder{o} })
			s.play(ctx)
		}
		return s.outcome(ctx)
	}
	// end takes the pool away, so that the next one is alone in the cluster.
	end := func(ctx context.Context, s *stage) {
		GinkgoHelper()
		plan := &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Name: s.pool.Name, Namespace: s.pool.Namespace}}
		Expect(client.IgnoreNotFound(env.Client.Delete(ctx, plan))).To(Succeed())
		Expect(client.IgnoreNotFound(env.Client.Delete(ctx, s.pool))).To(Succeed())
	}

	BeforeEach(func(ctx SpecContext) {
		mitigation = makeMitigation("M1")
		mitigation.Spec.ContentDigest = digest
		create(ctx, mitigation)
	})

	It("at any write of a rollout, and started again, comes to the same end with the same history", func(ctx SpecContext) {
		whole := build(ctx)
		want := story(ctx, whole)
		end(ctx, whole)
		GinkgoWriter.Printf("%d writes:\n%s\n", whole.writes, want)
		Expect(want).To(HavePrefix("Complete all\n"))
		Expect(want).To(And(ContainSubstring("Halted"), ContainSubstring("Reverted"), ContainSubstring("Aborted"), ContainSubstring("Retried")))
		Expect(strings.Count(want, "had [1 3]")).To(Equal(2), "the harmful revision must have been on the first server only")

		for kill := 1; kill <= whole.writes; kill++ {
			By(fmt.Sprintf("killing it at write %d of %d", kill, whole.writes))
			s := build(ctx)
			s.killAt = kill
			Expect(story(ctx, s)).To(Equal(want))
			end(ctx, s)
		}
	})

	It("and whose cluster is put back to an older state, brings nothing back that failed and nothing twice", func(ctx SpecContext) {
		s := build(ctx)
		defer end(ctx, s)
		revise(ctx, 1)
		s.play(ctx)
		plan := &emsv1.MitigationPlan{}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(s.pool), plan)).To(Succeed())
		complete1 := plan.Spec.DeepCopy()
		restore := func(spec *emsv1.MitigationPlanSpec) {
			GinkgoHelper()
			update(ctx, plan, func() { plan.Spec = *spec })
			s.play(ctx)
		}

		By("halting a revision and restoring the state before it")
		s.actors.expect(harmfulFails)
		revise(ctx, 2)
		s.play(ctx)
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(s.pool), plan)).To(Succeed())
		halted2 := plan.Spec.DeepCopy()
		restore(complete1)
		Expect(s.outcome(ctx)).To(HavePrefix("Halted canary RolloutHalted\n"))
		Expect(s.actors.harmed()).To(Equal(1), "no further server may get what failed")
		Expect(s.actors.on(1)).To(Equal(3))

		By("completing a second attempt and restoring the halt of the first")
		s.actors.expect(always(emsv1.GatePassed))
		update(ctx, s.pool, func() {
			s.pool.Spec.Rollout.Orders = []emsv1.RolloutOrder{{ID: "M1", Revision: 2, Action: emsv1.OrderRetry, Attempt: 2, Reason: "repaired"}}
		})
		s.play(ctx)
		Expect(s.outcome(ctx)).To(HavePrefix("Complete all\n"))
		update(ctx, s.pool, func() { s.pool.Spec.Rollout.Orders = nil })
		restore(halted2)
		Expect(s.outcome(ctx)).To(HavePrefix("Halted canary RolloutHalted\n"), "a halt that the cluster knows of stays until a person acts")
		Expect(s.actors.on(1)).To(Equal(3))
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(s.pool), plan)).To(Succeed())
		Expect(plan.Spec.Mitigations[0].Rollout.Attempt).To(BeEquivalentTo(2), "servers know of a second attempt, so its number must not be used again")

		By("beginning the third")
		update(ctx, s.pool, func() {
			s.pool.Spec.Rollout.Orders = []emsv1.RolloutOrder{{ID: "M1", Revision: 2, Action: emsv1.OrderRetry, Attempt: 3, Reason: "repaired"}}
		})
		s.play(ctx)
		Expect(s.outcome(ctx)).To(HavePrefix("Complete all\n"))
		Expect(s.actors.on(2)).To(Equal(3))
	})
})
