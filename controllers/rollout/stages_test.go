package rollout_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/fleet"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/shard"
	"mitigation.dev/ems/test/kstatus"
)

// amount is how many servers a stage takes: 2, "10%".
func amount[T int | string](servers T) *intstr.IntOrString {
	switch n := any(servers).(type) {
	case int:
		return new(intstr.FromInt(n))
	default:
		return new(intstr.FromString(n.(string)))
	}
}

// threeStages are one server, half of them, and all, without bake times.
func threeStages() []emsv1.RolloutStage {
	return []emsv1.RolloutStage{
		{Name: "canary", Servers: amount(1)}, {Name: "half", Servers: amount("50%")}, {Name: "all", Servers: amount("100%")},
	}
}

var _ = Describe("A rollout", func() {
	const servers = 6

	var (
		mitigation *emsv1.Mitigation
		pool       *emsv1.PoolMitigationConfig
		actors     *cast
	)

	// start creates a pool with the given rollout, its servers, and a manager.
	start := func(ctx context.Context, spec emsv1.RolloutSpec, time clock.PassiveClock) {
		GinkgoHelper()
		mitigation = makeMitigation("M1")
		mitigation.Spec.Severity, mitigation.Spec.ContentDigest = "Critical", digest
		create(ctx, mitigation)
		pool = &emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: env.Namespace(ctx)},
			Spec:       emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce, Rollout: spec},
		}
		create(ctx, pool)
		actors = newCast(ctx, client.ObjectKeyFromObject(pool), servers)
		DeferCleanup(env.RunManager(ctx, func(mgr ctrl.Manager) error {
			if err := setup(ctx, mgr, time); err != nil {
				return err
			}
			return fleet.SetupWithManager(mgr, shard.Main)
		}))
		DeferCleanup(actors.run(ctx))
	}
	// where tells where the rollout stands: "Progressing canary", "Waiting canary AwaitingApproval".
	where := func(ctx context.Context) func() (string, error) {
		return standsIn(ctx, client.ObjectKeyFromObject(pool))
	}
	// ready tells what the pool says: "True InSync", "Stalled RolloutHalted".
	ready := func(ctx context.Context, object interface {
		client.Object
		kstatus.Conditioned
	}) func() (string, error) {
		return func() (string, error) {
			err := env.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
			return summary(object.GetConditions()), err
		}
	}
	history := func(ctx context.Context) func() ([]string, error) {
		return func() ([]string, error) {
			err := env.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool)
			return actions(pool), err
		}
	}
	order := func(ctx context.Context, orders ...emsv1.RolloutOrder) {
		GinkgoHelper()
		update(ctx, pool, func() { pool.Spec.Rollout.Orders = orders })
	}
	revise := func(ctx context.Context, revision int64) {
		GinkgoHelper()
		update(ctx, mitigation, func() { mitigation.Spec.Revision = revision })
	}

	It("goes from stage to stage and tells who agreed, in status, history and events", func(ctx SpecContext) {
		stages := threeStages()
		stages[1].Approval, stages[2].Approval = emsv1.ApprovalBefore, emsv1.ApprovalBefore
		start(ctx, emsv1.RolloutSpec{Stages: stages}, clock.RealClock{})
		Eventually(where(ctx)).Should(Equal("Waiting canary AwaitingApproval"))
		Expect(actors.on(1)).To(Equal(1), "one server must have it")
		Eventually(ready(ctx, pool)).Should(Equal("Stalled AwaitingApproval"))
		Expect(pool).To(kstatus.BeConsistent())
		Expect(pool.Status.Summary.Rollout).To(Equal("M1 AwaitingApproval"))
		Eventually(ready(ctx, mitigation)).Should(Equal("Stalled AwaitingApproval"))
		Expect(mitigation).To(kstatus.BeConsistent())

		By("approving the second stage")
		update(ctx, pool, func() {
			pool.Spec.Approved = []emsv1.Approval{{ID: "M1", Revision: 1, Stages: []string{"half"}, Reason: "tested", Owner: "messaging team"}}
		})
		Eventually(where(ctx)).Should(Equal("Waiting half AwaitingApproval"))
		Expect(actors.on(1)).To(Equal(3), "half of the servers must have it")

		By("approving everything")
		update(ctx, pool, func() {
			pool.Spec.Approved = []emsv1.Approval{{ID: "M1", Reason: "tested", Owner: "messaging team"}}
		})
		Eventually(where(ctx)).Should(Equal("Complete all"))
		Eventually(ready(ctx, pool)).Should(Equal("True InSync"))
		Eventually(ready(ctx, mitigation)).Should(Equal("True Applied"))
		Expect(pool).To(kstatus.BeConsistent())
		Expect(actors.on(1)).To(Equal(servers))
		Expect(pool.Status.Summary.Rollout).To(BeEmpty())
		Eventually(history(ctx)).Should(HaveExactElements("Published", "Approved", "Approved", "Completed"))
		Expect(pool.Status.History[1].By).To(Equal("messaging team"))
		Expect(pool.Status.History[1].Message).To(And(ContainSubstring("half"), ContainSubstring("tested")))
		Eventually(func() ([]string, error) { return eventReasons(ctx, pool) }).Should(ContainElements("Published", "Approved", "Completed"))
	})

	It("halts at the first failing server, reverts, and goes on with a corrected revision", func(ctx SpecContext) {
		start(ctx, emsv1.RolloutSpec{Stages: threeStages()}, clock.RealClock{})
		Eventually(where(ctx)).Should(Equal("Complete all"))

		By("publishing a revision that does harm")
		actors.expect(harmfulFails)
		revise(ctx, 2)
		var halted time.Time
		Eventually(func(g Gomega) {
			g.Expect(where(ctx)()).To(Equal("Halted canary RolloutHalted"))
			halted = time.Now()
		}).WithPolling(10 * time.Millisecond).Should(Succeed())
		first := actors.firstFailure()
		Eventually(func() map[string]int64 { return actors.revisions() }).WithPolling(10 * time.Millisecond).
			Should(HaveEach(BeEquivalentTo(1)))
		reverted := time.Now()
		GinkgoWriter.Printf("halted %v, reverted %v after the first failure\n", halted.Sub(first), reverted.Sub(first))
		Expect(halted.Sub(first)).To(BeNumerically("<=", 5*time.Second))
		Expect(reverted.Sub(first)).To(BeNumerically("<=", 15*time.Second))
		Expect(actors.harmed()).To(Equal(1), "no server outside of the first stage may ever have it")

		Eventually(ready(ctx, pool)).Should(Equal("Stalled RolloutHalted"))
		Expect(pool).To(kstatus.BeConsistent())
		message := conditions.Current(pool.Status.Conditions).Message
		Expect(message).To(And(
			MatchRegexp("fe0[1-6]"), ContainSubstring("the sites answer with 503"), ContainSubstring("kubectl mitigation rollout retry M1"),
			ContainSubstring("stage canary (1 of 3)")))
		Expect(pool.Status.Mitigations[0].Failing).To(HaveLen(1))
		Expect(pool.Status.Summary.Rollout).To(Equal("M1 Halted"))
		Eventually(ready(ctx, mitigation)).Should(Equal("Stalled RolloutHalted"))
		Expect(mitigation).To(kstatus.BeConsistent())
		Eventually(func() ([]string, error) { return warnings(ctx, pool) }).Should(ContainElement("Halted"))
		// A corrected revision that comes sooner takes the place of this transition.
		Eventually(history(ctx)).Should(ContainElement("Reverted"))

		By("publishing a corrected one")
		revise(ctx, 3)
		Eventually(where(ctx)).Should(Equal("Complete all"))
		Eventually(ready(ctx, pool)).Should(Equal("True InSync"))
		Eventually(ready(ctx, mitigation)).Should(Equal("True Applied"))
		Expect(actors.on(3)).To(Equal(servers))
		Eventually(history(ctx)).Should(ContainElements("Halted", "Reverted", "Completed"))
	})

	It("does what people order, once", func(ctx SpecContext) {
		start(ctx, emsv1.RolloutSpec{Stages: threeStages(), Progress: emsv1.ProgressPaused}, clock.RealClock{})
		Eventually(where(ctx)).Should(HaveSuffix("RolloutPaused"))
		Eventually(ready(ctx, pool)).Should(Equal("Reconciling RolloutPaused"))
		Expect(pool).To(kstatus.BeConsistent())

		By("pausing this one and letting the others go on")
		pause := emsv1.RolloutOrder{ID: "M1", Revision: 1, Action: emsv1.OrderPause, Reason: "wait", Owner: "messaging team"}
		update(ctx, pool, func() {
			pool.Spec.Rollout.Progress, pool.Spec.Rollout.Orders = "", []emsv1.RolloutOrder{pause}
		})
		Consistently(where(ctx)).WithTimeout(time.Second).Should(HaveSuffix("RolloutPaused"))

		By("letting it go on, with servers that never say how they fare")
		actors.expect(always(emsv1.GateBaking))
		order(ctx)
		Eventually(where(ctx)).Should(Equal("Progressing canary"))
		promote := emsv1.RolloutOrder{ID: "M1", Revision: 1, Action: emsv1.OrderPromote, Stage: "canary", Reason: "seen by hand", Owner: "messaging team"}
		order(ctx, promote)
		Eventually(where(ctx)).Should(Equal("Progressing half"))
		Consistently(where(ctx)).WithTimeout(time.Second).Should(Equal("Progressing half"), "an order passes its stage only")
		promote.Stage = ""
		order(ctx, promote)
		Eventually(where(ctx)).Should(Equal("Complete all"))

		By("taking it back")
		order(ctx, emsv1.RolloutOrder{ID: "M1", Revision: 1, Action: emsv1.OrderAbort, Reason: "breaks printing", Owner: "messaging team"})
		Eventually(where(ctx)).Should(Equal("Aborted all RolloutAborted"))
		Eventually(func() map[string]int64 { return actors.revisions() }).Should(HaveEach(BeEquivalentTo(0)))
		Eventually(ready(ctx, pool)).Should(Equal("True RolloutAborted"))
		Expect(pool).To(kstatus.BeConsistent())
		Eventually(ready(ctx, mitigation)).Should(Equal("True RolloutAborted"))
		Expect(mitigation).To(kstatus.BeConsistent())

		By("beginning again")
		actors.expect(always(emsv1.GatePassed))
		order(ctx, emsv1.RolloutOrder{ID: "M1", Revision: 1, Action: emsv1.OrderRetry, Attempt: 2, Reason: "printing repaired", Owner: "messaging team"})
		Eventually(where(ctx)).Should(Equal("Complete all"))
		Eventually(ready(ctx, pool)).Should(Equal("True InSync"))
		Expect(pool.Status.Mitigations[0].Rollout.Attempt).To(BeEquivalentTo(2))
		Eventually(history(ctx)).Should(ContainElements("Promoted", "Aborted", "Retried", "Completed"))
		for _, entry := range pool.Status.History {
			if entry.Action == "Aborted" {
				Expect(entry.By).To(Equal("messaging team"))
				Expect(entry.Message).To(ContainSubstring("breaks printing"))
			}
		}
	})

	It("says that it is stuck when servers are silent, and goes on when they are not", func(ctx SpecContext) {
		start(ctx, emsv1.RolloutSpec{Stages: threeStages(), ProgressDeadlineSeconds: 2}, clock.RealClock{})
		Eventually(where(ctx)).Should(Equal("Complete all"))
		actors.expect(always(emsv1.GateInconclusive))
		revise(ctx, 2)
		Eventually(ready(ctx, pool)).Should(Equal("Stalled RolloutStuck"))
		Expect(pool).To(kstatus.BeConsistent())
		Eventually(ready(ctx, mitigation)).Should(Equal("Stalled RolloutStuck"))
		actors.expect(always(emsv1.GatePassed))
		Eventually(ready(ctx, pool)).Should(Equal("True InSync"))
	})

	It("begins stages within windows only, by the clock of their zone", func(ctx SpecContext) {
		// A Thursday, two hours before the window opens.
		fake := clocktesting.NewFakePassiveClock(time.Date(2026, 5, 14, 18, 0, 0, 0, time.UTC))
		start(ctx, emsv1.RolloutSpec{Stages: threeStages(), Windows: []emsv1.RolloutWindow{
			{Policy: emsv1.WindowAllow, Cron: "0 22 * * *", TimeZone: "Europe/Vienna", DurationSeconds: 7200},
		}}, fake)
		Eventually(where(ctx)).Should(HaveSuffix("AwaitingWindow"))
		Eventually(ready(ctx, pool)).Should(Equal("Reconciling AwaitingWindow"))
		Expect(pool).To(kstatus.BeConsistent())
		Expect(actors.on(1)).To(Equal(0))

		By("waiting for ten in the evening")
		fake.SetTime(time.Date(2026, 5, 14, 20, 0, 0, 0, time.UTC))
		update(ctx, pool, func() { pool.Labels = map[string]string{"looked": "again"} })
		Eventually(where(ctx)).Should(Equal("Complete all"))

		By("misspelling the zone: nothing new begins, and a removal does")
		update(ctx, pool, func() { pool.Spec.Rollout.Windows[0].TimeZone = "Europe/Wien" })
		Eventually(ready(ctx, pool)).Should(Equal("Stalled InvalidSpec"))
		Expect(pool).To(kstatus.BeConsistent())
		Expect(conditions.Current(pool.Status.Conditions).Message).To(ContainSubstring(`spec.rollout.windows[0]: timeZone: "Europe/Wien"`))
		revise(ctx, 2)
		Consistently(func() int { return actors.on(2) }).WithTimeout(time.Second).Should(BeZero())
		update(ctx, pool, func() {
			pool.Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks printing", Owner: "messaging team"}}
		})
		Eventually(func() map[string]int64 { return actors.revisions() }).Should(HaveEach(BeEquivalentTo(0)))
	})

	It("hands health checks and requests for repair down to the servers", func(ctx SpecContext) {
		start(ctx, emsv1.RolloutSpec{Stages: threeStages()}, clock.RealClock{})
		checks := emsv1.HealthChecks{
			HTTP: []emsv1.HTTPCheck{{Name: "owa", Path: "/owa/healthcheck.htm"}}, TCPPorts: []int32{25}, Services: []string{"W3SVC"},
		}
		update(ctx, pool, func() {
			pool.Spec.HealthChecks = checks
			pool.Annotations = map[string]string{emsv1.RepairRequestAnnotation: "2026-05-14T16:00:00Z"}
		})
		planned := func(g Gomega) emsv1.MitigationPlanSpec {
			plan := &emsv1.MitigationPlan{}
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			return plan.Spec
		}
		Eventually(func(g Gomega) {
			g.Expect(planned(g).HealthChecks).To(Equal(emsv1.PlanHealthChecks{HTTP: checks.HTTP, TCPPorts: checks.TCPPorts, Services: checks.Services}))
			g.Expect(planned(g).RepairRequest).To(Equal("2026-05-14T16:00:00Z"))
		}).Should(Succeed())

		By("asking for another repair, which changes no generation")
		update(ctx, pool, func() { pool.Annotations[emsv1.RepairRequestAnnotation] = "2026-05-14T17:00:00Z" })
		Eventually(func(g Gomega) { g.Expect(planned(g).RepairRequest).To(Equal("2026-05-14T17:00:00Z")) }).Should(Succeed())
	})
})

// standsIn tells where the rollout of M1 stands in a pool: state, stage and, unless the state says it all, reason.
func standsIn(ctx context.Context, pool client.ObjectKey) func() (string, error) {
	return func() (string, error) {
		plan := &emsv1.MitigationPlan{}
		if err := env.Client.Get(ctx, pool, plan); err != nil {
			return "", client.IgnoreNotFound(err)
		}
		for _, m := range plan.Spec.Mitigations {
			if m.ID != "M1" {
				continue
			}
			text := string(m.Rollout.State)
			if m.Rollout.Stage != "" {
				text += " " + m.Rollout.Stage
			}
			if m.Rollout.State != emsv1.RolloutProgressing && m.Rollout.State != emsv1.RolloutComplete {
				text += " " + m.Rollout.Reason
			}
			return text, nil
		}
		return "", nil
	}
}

// summary is Ready's status, or what stands beside it while it is False, and its reason.
func summary(list []metav1.Condition) string {
	outcome := conditions.Current(list)
	for _, c := range list {
		if c.Type == emsv1.StalledCondition || c.Type == emsv1.ReconcilingCondition {
			return c.Type + " " + outcome.Reason
		}
	}
	if outcome.IsReady() {
		return "True " + outcome.Reason
	}
	return outcome.Reason
}

// actions are what the pool's history tells, the oldest first.
func actions(pool *emsv1.PoolMitigationConfig) []string {
	var out []string
	for _, entry := range pool.Status.History {
		out = append(out, entry.Action)
	}
	return out
}

func eventsOf(ctx context.Context, pool *emsv1.PoolMitigationConfig) ([]eventsv1.Event, error) {
	var list eventsv1.EventList
	err := env.Client.List(ctx, &list, client.InNamespace(pool.Namespace))
	return list.Items, err
}

func eventReasons(ctx context.Context, pool *emsv1.PoolMitigationConfig) ([]string, error) {
	list, err := eventsOf(ctx, pool)
	var out []string
	for _, e := range list {
		out = append(out, e.Reason)
	}
	return out, err
}

func warnings(ctx context.Context, pool *emsv1.PoolMitigationConfig) ([]string, error) {
	list, err := eventsOf(ctx, pool)
	var out []string
	for _, e := range list {
		if e.Type == "Warning" {
			out = append(out, e.Reason)
		}
	}
	return out, err
}

var _ = Describe("Rings", func() {
	It("let the pools of the first complete before the next ones begin, and hold all when one halts", func(ctx SpecContext) {
		mitigation := makeMitigation("M1")
		mitigation.Spec.ContentDigest = digest
		create(ctx, mitigation)
		global := &emsv1.MitigationConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "global"},
			Spec: emsv1.MitigationConfigurationSpec{
				Rings: []emsv1.Ring{{
					Name: "early", PoolSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"ring": "early"}}, Approval: emsv1.ApprovalAfter,
				}},
				Rollout: emsv1.RolloutSpec{Stages: threeStages()},
			},
		}
		create(ctx, global)
		casts := map[string]*cast{}
		for _, name := range []string{"early", "late"} {
			pool := &emsv1.PoolMitigationConfig{
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: env.Namespace(ctx), Labels: map[string]string{"ring": name}},
				Spec:       emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce},
			}
			create(ctx, pool)
			casts[name] = newCast(ctx, client.ObjectKeyFromObject(pool), 3)
		}
		casts["early"].expect(always(emsv1.GateBaking))
		DeferCleanup(env.RunManager(ctx, func(mgr ctrl.Manager) error {
			if err := setup(ctx, mgr, clock.RealClock{}); err != nil {
				return err
			}
			return fleet.SetupWithManager(mgr, shard.Main)
		}))
		for _, c := range casts {
			DeferCleanup(c.run(ctx))
		}
		where := func(name string) func() (string, error) { return standsIn(ctx, casts[name].pool) }
		pool := func(name string) *emsv1.PoolMitigationConfig {
			GinkgoHelper()
			object := &emsv1.PoolMitigationConfig{}
			Expect(env.Client.Get(ctx, casts[name].pool, object)).To(Succeed())
			return object
		}
		Eventually(where("early")).Should(Equal("Progressing canary"))
		Eventually(where("late")).Should(Equal("Waiting AwaitingRing"))
		Eventually(func() string { return summary(pool("late").Status.Conditions) }).Should(Equal("Reconciling AwaitingRing"))
		Expect(pool("late")).To(kstatus.BeConsistent())
		Expect(pool("late").Status.Summary.Rollout).To(Equal("M1 AwaitingRing"))

		By("the first ring completing, which a person has to look at")
		casts["early"].expect(always(emsv1.GatePassed))
		Eventually(where("early")).Should(Equal("Complete all"))
		Eventually(where("late")).Should(Equal("Waiting AwaitingApproval"))
		Expect(casts["late"].on(1)).To(BeZero())
		update(ctx, global, func() {
			global.Spec.Approved = []emsv1.Approval{{ID: "M1", Stages: []string{"early"}, Reason: "tested", Owner: "security team"}}
		})
		Eventually(where("late")).Should(Equal("Complete all"))

		By("a revision that halts in the first ring")
		casts["early"].expect(harmfulFails)
		update(ctx, mitigation, func() { mitigation.Spec.Revision = 2 })
		Eventually(where("early")).Should(Equal("Halted canary RolloutHalted"))
		Eventually(where("late")).Should(Equal("Waiting HaltedElsewhere"))
		Eventually(func() string { return summary(pool("late").Status.Conditions) }).Should(Equal("Reconciling HaltedElsewhere"))
		Eventually(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(mitigation), mitigation)).To(Succeed())
			g.Expect(summary(mitigation.Status.Conditions)).To(Equal("Stalled RolloutHalted"))
		}).Should(Succeed())
		Expect(conditions.Current(mitigation.Status.Conditions).Message).To(ContainSubstring(casts["early"].pool.String()))
		Expect(casts["late"].harmed()).To(BeZero())
		Expect(casts["late"].on(1)).To(Equal(3))

		By("publishing a corrected one")
		update(ctx, mitigation, func() { mitigation.Spec.Revision = 3 })
		Eventually(where("late")).Should(Equal("Complete all"))
		Expect(casts["late"].on(3)).To(Equal(3))
		Expect(casts["late"].harmed()).To(BeZero())
	})
})
