package fleet_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/fleet"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/controllers/rollout"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/shard"
	"mitigation.dev/ems/test/kstatus"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// report writes what the agent of a server would: it has followed the pool's current plan, and this is how M1 went.
func report(ctx context.Context, server *emsv1.PoolServer, outcome conditions.Outcome, state emsv1.ServerMitigation) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		plan := &emsv1.MitigationPlan{}
		g.Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: server.Namespace, Name: server.Spec.PoolName}, plan)).To(Succeed())
		g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(server), server)).To(Succeed())
		server.Status.ObservedGeneration = new(server.Generation)
		server.Status.ObservedPlanGeneration = plan.Generation
		if state.Gate = (emsv1.ServerGate{}); len(plan.Spec.Mitigations) > 0 {
			state.Gate = gateOf(plan.Spec.Mitigations[0].Rollout.ID, state.State)
		}
		server.Status.Mitigations = []emsv1.ServerMitigation{state}
		conditions.Set(&server.Status.Conditions, server.Generation, outcome)
		g.Expect(env.Client.Status().Update(ctx, server)).To(Succeed())
	}).Should(Succeed())
}

// gateOf is what a server in the given state says of a rollout.
func gateOf(rollout string, state emsv1.MitigationState) emsv1.ServerGate {
	switch {
	case rollout == "":
		return emsv1.ServerGate{}
	case state == emsv1.StateApplied:
		return emsv1.ServerGate{Rollout: rollout, Verdict: emsv1.GatePassed}
	case state == emsv1.StateFailed:
		return emsv1.ServerGate{Rollout: rollout, Verdict: emsv1.GateFailed, Message: "create the site"}
	default:
		return emsv1.ServerGate{}
	}
}

var _ = Describe("The fleet controllers", func() {
	var (
		pool          *emsv1.PoolMitigationConfig
		mitigation    *emsv1.Mitigation
		configuration *emsv1.MitigationConfiguration
		servers       []*emsv1.PoolServer
	)

	BeforeEach(func(ctx SpecContext) {
		mitigation = &emsv1.Mitigation{
			ObjectMeta: metav1.ObjectMeta{Name: "m1"},
			Spec: emsv1.MitigationSpec{
				ID: "M1", Revision: 1, Lifecycle: emsv1.LifecycleActive, FeedName: "exchange", BundleName: "exchange-0123456789ab",
				DocumentDigest: digest, Actions: []emsv1.MitigationAction{{ID: "M1.1", Type: "UrlRewrite", Scope: "Site"}},
			},
		}
		configuration = &emsv1.MitigationConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "global"},
			Spec:       emsv1.MitigationConfigurationSpec{Mitigations: emsv1.Enabled},
		}
		pool = &emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: env.Namespace(ctx)},
			Spec: emsv1.PoolMitigationConfigSpec{
				Mode:    emsv1.ModeEnforce,
				Rollout: emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{{Name: "all", Servers: new(intstr.FromString("100%"))}}},
			},
		}
		objects := []client.Object{mitigation, configuration, pool}
		servers = nil
		for _, name := range []string{"fe01", "fe02", "fe03"} {
			server := &emsv1.PoolServer{
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: pool.Namespace},
				Spec:       emsv1.PoolServerSpec{PoolName: pool.Name},
			}
			servers = append(servers, server)
			objects = append(objects, server)
		}
		for _, object := range objects {
			Expect(env.Client.Create(ctx, object)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, object)).To(Succeed()) })
		}
		DeferCleanup(env.RunManager(ctx, func(mgr ctrl.Manager) error {
			if err := members.Index(ctx, mgr.GetFieldIndexer()); err != nil {
				return err
			}
			plans := &rollout.Reconciler{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("ems-rollout"), Clock: clock.RealClock{}}
			if err := plans.SetupWithManager(mgr); err != nil {
				return err
			}
			return fleet.SetupWithManager(mgr, shard.Main)
		}))
	})

	readyReason := func(ctx context.Context, object interface {
		client.Object
		GetConditions() []metav1.Condition
	}) func() (string, error) {
		return func() (string, error) {
			if err := env.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
				return "", err
			}
			outcome := conditions.Current(object.GetConditions())
			return outcome.Reason, nil
		}
	}

	applied := emsv1.ServerMitigation{ID: "M1", State: emsv1.StateApplied, Reason: "Enabled", Revision: 1}

	// complete lets all servers apply the mitigation, and report once more that they follow the plan which says that it is everywhere.
	complete := func(ctx context.Context) {
		GinkgoHelper()
		for _, server := range servers {
			report(ctx, server, conditions.Done(emsv1.PlanAppliedReason, "done"), applied)
		}
		Eventually(func(g Gomega) {
			plan := &emsv1.MitigationPlan{}
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.Mitigations[0].Rollout.State).To(Equal(emsv1.RolloutComplete))
		}).Should(Succeed())
		for _, server := range servers {
			report(ctx, server, conditions.Done(emsv1.PlanAppliedReason, "done"), applied)
		}
	}

	It("rolls up reports of servers into pool, mitigation and configuration", func(ctx SpecContext) {
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.RollingOutReason))

		By("two of three servers reporting that they applied it")
		for _, server := range servers[:2] {
			report(ctx, server, conditions.Done(emsv1.PlanAppliedReason, "done"), applied)
		}
		Eventually(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool)).To(Succeed())
			g.Expect(pool.Status.Summary).To(Equal(emsv1.PoolSummary{Mode: "Enforce", InSync: "2/3", Applied: "M1", Rollout: "M1 all 1/1"}))
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(mitigation), mitigation)).To(Succeed())
			g.Expect(mitigation.Status.Applied).To(Equal("2/3"))
		}).Should(Succeed())
		Expect(pool).To(kstatus.BeConsistent())

		By("the third reporting too")
		complete(ctx)
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.InSyncReason))
		Eventually(readyReason(ctx, mitigation)).Should(Equal(emsv1.AppliedReason))
		Eventually(readyReason(ctx, configuration)).Should(Equal(emsv1.InEffectReason))
		Expect(mitigation.Status.Applied).To(Equal("3/3"))
		Expect(mitigation.Status.Types).To(Equal("UrlRewrite"))
		Expect(configuration.Status.Pools).To(HaveValue(BeEquivalentTo(1)))
		for _, object := range []any{pool, mitigation, configuration} {
			Expect(object).To(kstatus.BeConsistent())
		}
	})

	It("names servers that failed and recovers when they do", func(ctx SpecContext) {
		complete(ctx)
		report(ctx, servers[2], conditions.Stalled(emsv1.MitigationsFailedReason, "M1: create the site"),
			emsv1.ServerMitigation{ID: "M1", State: emsv1.StateFailed, Reason: "SiteNotFound", Message: "create the site"})
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.ServersFailedReason))
		Expect(pool.Status.Mitigations[0].Failing).To(Equal([]string{"fe03"}))
		Eventually(readyReason(ctx, mitigation)).Should(Equal(emsv1.ServersFailedReason))
		Expect(pool).To(kstatus.BeConsistent())
		Expect(mitigation).To(kstatus.BeConsistent())

		report(ctx, servers[2], conditions.Done(emsv1.PlanAppliedReason, "done"), applied)
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.InSyncReason))
		Eventually(readyReason(ctx, mitigation)).Should(Equal(emsv1.AppliedReason))
	})

	It("is not ready again until servers have followed a changed policy", func(ctx SpecContext) {
		complete(ctx)
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.InSyncReason))

		patch := client.MergeFrom(pool.DeepCopy())
		pool.Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks printing"}}
		Expect(env.Client.Patch(ctx, pool, patch)).To(Succeed())
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.RollingOutReason))
		Expect(pool.Status.Summary.Blocked).To(Equal("M1"))

		removed := emsv1.ServerMitigation{ID: "M1", State: emsv1.StateRemoved, Reason: "BlockedByPool"}
		for _, server := range servers {
			report(ctx, server, conditions.Done(emsv1.PlanAppliedReason, "done"), removed)
		}
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.InSyncReason))
		Eventually(readyReason(ctx, mitigation)).Should(Equal(emsv1.NotWantedReason))
		Expect(mitigation.Status.BlockedPools).To(HaveValue(BeEquivalentTo(1)))
		Expect(mitigation).To(kstatus.BeConsistent())
	})

	It("writes a pool's status at most once a second, however many reports come", func(ctx SpecContext) {
		Eventually(readyReason(ctx, pool)).Should(Equal(emsv1.RollingOutReason))
		before := pool.ResourceVersion
		versions := map[string]bool{}
		started := time.Now()
		for i := range 60 {
			report(ctx, servers[i%3], conditions.Working(emsv1.ProgressingReason, "working"),
				emsv1.ServerMitigation{ID: "M1", State: []emsv1.MitigationState{emsv1.StatePending, emsv1.StateApplied}[i%2]})
			Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), pool)).To(Succeed())
			versions[pool.ResourceVersion] = true
		}
		delete(versions, before)
		Expect(len(versions)).To(BeNumerically("<=", int(time.Since(started).Seconds())+1))
	})
})
