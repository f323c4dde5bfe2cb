package rollout_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/controllers/rollout"
)

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func makeMitigation(id emsv1.MitigationID) *emsv1.Mitigation {
	return &emsv1.Mitigation{
		ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(id))},
		Spec: emsv1.MitigationSpec{
			ID: id, Revision: 1, Lifecycle: emsv1.LifecycleActive, FeedName: "exchange", BundleName: "exchange-0123456789ab",
			DocumentDigest: digest,
			Actions:        []emsv1.MitigationAction{{ID: id + ".1", Type: "DoNothing", Scope: "Server"}},
		},
	}
}

var _ = Describe("The rollout controller", func() {
	var pool *emsv1.PoolMitigationConfig

	BeforeEach(func(ctx SpecContext) {
		for _, id := range []emsv1.MitigationID{"M1", "PING1"} {
			create(ctx, makeMitigation(id))
		}
		pool = &emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: env.Namespace(ctx), Labels: map[string]string{"site": "vienna"}},
			Spec:       emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce},
		}
		create(ctx, pool)
		DeferCleanup(env.RunManager(ctx, func(mgr ctrl.Manager) error { return setup(ctx, mgr, clock.RealClock{}) }))
	})

	// wants returns what the plan wants for each mitigation: "M1: Remove BlockedByPool".
	wants := func(ctx context.Context) func() ([]string, error) {
		return func() ([]string, error) {
			plan := &emsv1.MitigationPlan{}
			if err := env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan); err != nil {
				return nil, err
			}
			var out []string
			for _, m := range plan.Spec.Mitigations {
				out = append(out, string(m.ID)+": "+string(m.Desired)+" "+m.Reason)
			}
			return out, nil
		}
	}

	It("writes a plan that names every mitigation, its document and who is released", func(ctx SpecContext) {
		Eventually(wants(ctx)).Should(Equal([]string{"M1: Apply Enabled", "PING1: Apply Enabled"}))

		plan := &emsv1.MitigationPlan{}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
		Expect(plan.Spec.Mitigations[0].BundleName).To(Equal("exchange-0123456789ab"))
		Expect(plan.Spec.Mitigations[0].DocumentDigest).To(Equal(digest))
		Expect(plan.Spec.Mitigations[0].Release.Below).To(HaveValue(Equal(emsv1.ReleaseAll)))
		Expect(metav1.IsControlledBy(plan, pool)).To(BeTrue(), "the plan must go with its pool")
	})

	It("plans a removal when the pool blocks a mitigation, and an application when it does no longer", func(ctx SpecContext) {
		update(ctx, pool, func() { pool.Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks printing"}} })
		Eventually(wants(ctx)).Should(Equal([]string{"M1: Remove BlockedByPool", "PING1: Apply Enabled"}))

		update(ctx, pool, func() { pool.Spec.Blocked = nil })
		Eventually(wants(ctx)).Should(Equal([]string{"M1: Apply Enabled", "PING1: Apply Enabled"}))
	})

	It("lets a block lapse at its expiry without being asked", func(ctx SpecContext) {
		// The block must be seen while it counts, so the manager has to be at work before it begins.
		Eventually(wants(ctx)).Should(HaveLen(2))
		// The API keeps whole seconds.
		expiry := metav1.NewTime(time.Now().Add(5 * time.Second).Truncate(time.Second))
		update(ctx, pool, func() {
			pool.Spec.Blocked = []emsv1.Exception{{ID: "M1", Reason: "breaks printing", ExpiryTime: &expiry}}
		})
		Eventually(wants(ctx)).Should(ContainElement("M1: Remove BlockedByPool"))
		Eventually(wants(ctx)).Should(ContainElement("M1: Apply Enabled"))
		Expect(time.Now()).To(BeTemporally(">=", expiry.Time), "a block must count until its expiry")
	})

	It("follows the configurations in whose scope the pool is", func(ctx SpecContext) {
		vienna := &emsv1.MitigationConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "vienna"},
			Spec: emsv1.MitigationConfigurationSpec{
				PoolSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"site": "vienna"}},
				Blocked:      []emsv1.Exception{{ID: "PING1", Reason: "test"}},
				FixedBuilds:  []emsv1.FixedBuild{{ID: "M1", Build: "15.2.1118.20"}},
			},
		}
		create(ctx, vienna)
		Eventually(wants(ctx)).Should(Equal([]string{"M1: Apply Enabled", "PING1: Remove BlockedByOrganization"}))
		plan := &emsv1.MitigationPlan{}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
		Expect(plan.Spec.FixedBuilds).To(Equal(vienna.Spec.FixedBuilds))

		By("moving the pool out of scope")
		update(ctx, pool, func() { pool.Labels = map[string]string{"site": "graz"} })
		Eventually(wants(ctx)).Should(Equal([]string{"M1: Apply Enabled", "PING1: Apply Enabled"}))
	})

	It("hands the requests that must pass down to the servers", func(ctx SpecContext) {
		Eventually(wants(ctx)).Should(HaveLen(2))
		requests := []emsv1.SampleRequest{{URL: "/owa/healthcheck.htm"}, {Method: "POST", URL: "/ews", Host: "mail.contoso.com", Headers: []emsv1.HTTPHeader{{Name: "X-Probe", Value: "1"}}}}
		update(ctx, pool, func() { pool.Spec.HealthChecks.MustPass = requests })
		Eventually(func(g Gomega) {
			plan := &emsv1.MitigationPlan{}
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.MustPass).To(Equal(requests))
		}).Should(Succeed())

		By("taking them back")
		update(ctx, pool, func() { pool.Spec.HealthChecks.MustPass = nil })
		Eventually(func(g Gomega) {
			plan := &emsv1.MitigationPlan{}
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.MustPass).To(BeEmpty())
		}).Should(Succeed())

		By("refusing what is no path")
		pool.Spec.HealthChecks.MustPass = []emsv1.SampleRequest{{URL: "https://mail.contoso.com/owa"}}
		Expect(env.Client.Update(ctx, pool)).To(MatchError(ContainSubstring("begins with a slash")))
	})

	It("keeps the plan while a configuration cannot be understood", func(ctx SpecContext) {
		Eventually(wants(ctx)).Should(HaveLen(2))
		broken := &emsv1.MitigationConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "broken"},
			Spec: emsv1.MitigationConfigurationSpec{
				PoolSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "site", Operator: "Near"}}},
				Suspend:      emsv1.SuspendRevert,
			},
		}
		create(ctx, broken)
		update(ctx, pool, func() { pool.Spec.Mode, pool.Spec.Placement = emsv1.ModeAudit, emsv1.PlacementWebConfig })
		Consistently(func(g Gomega) {
			plan := &emsv1.MitigationPlan{}
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.Mode).To(Equal(emsv1.ModeEnforce))
		}).WithTimeout(time.Second).Should(Succeed())

		By("correcting the configuration")
		update(ctx, broken, func() {
			broken.Spec.PoolSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"site": "graz"}}
		})
		Eventually(func(g Gomega) {
			plan := &emsv1.MitigationPlan{}
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.Mode).To(Equal(emsv1.ModeAudit))
			g.Expect(plan.Spec.Placement).To(Equal(emsv1.PlacementWebConfig))
		}).Should(Succeed())
	})

	It("tells the servers which revocation lists there are, for the feeds of the plan and on change only", func(ctx SpecContext) {
		Eventually(wants(ctx)).Should(HaveLen(2))
		lists := func(digit, bundle string) emsv1.RevocationStatus {
			return emsv1.RevocationStatus{BundleName: bundle, Digest: strings.Repeat(digit, 64)}
		}
		plan := &emsv1.MitigationPlan{}
		handedOut := func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.Revocation).To(Equal([]emsv1.PlanRevocation{
				{FeedName: "exchange", BundleName: "exchange-0123456789ab", Digest: strings.Repeat("a", 64)},
			}))
		}
		feed, other := makeFeed("exchange"), makeFeed("sharepoint")
		create(ctx, feed)
		create(ctx, other)
		setStatus(ctx, other, func() { other.Status.Revocation = lists("c", "sharepoint-0123456789ab") })
		setStatus(ctx, feed, func() { feed.Status.Revocation = lists("a", "exchange-0123456789ab") })
		Eventually(handedOut).Should(Succeed())

		By("reading the feed again without news")
		version := plan.ResourceVersion
		setStatus(ctx, feed, func() { feed.Status.LastReadTime = new(metav1.Now()) })
		Consistently(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.ResourceVersion).To(Equal(version))
		}).WithTimeout(2 * time.Second).Should(Succeed())

		By("bringing a newer list")
		setStatus(ctx, feed, func() { feed.Status.Revocation = lists("b", "exchange-0123456789ab") })
		Eventually(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.Revocation).To(HaveLen(1))
			g.Expect(plan.Spec.Revocation[0].Digest).To(Equal(strings.Repeat("b", 64)))
		}).Should(Succeed())

		By("deleting the feed")
		Expect(env.Client.Delete(ctx, feed)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.Spec.Revocation).To(BeEmpty())
		}).Should(Succeed())
	})

	It("repairs a plan that somebody changed, and writes nothing when nothing changed", func(ctx SpecContext) {
		Eventually(wants(ctx)).Should(HaveLen(2))
		plan := &emsv1.MitigationPlan{}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
		plan.Spec.Mitigations[0].Desired = emsv1.DesiredRemove
		Expect(env.Client.Update(ctx, plan)).To(Succeed())
		Eventually(wants(ctx)).Should(Equal([]string{"M1: Apply Enabled", "PING1: Apply Enabled"}))

		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
		version := plan.ResourceVersion
		update(ctx, pool, func() { pool.Labels["touched"] = "yes" })
		Consistently(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(pool), plan)).To(Succeed())
			g.Expect(plan.ResourceVersion).To(Equal(version))
		}).WithTimeout(time.Second).Should(Succeed())
	})
})

// setup registers the reconciler with what it needs.
func setup(ctx context.Context, mgr ctrl.Manager, clock clock.PassiveClock) error {
	if err := members.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return (&rollout.Reconciler{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("ems-rollout"), Clock: clock}).SetupWithManager(mgr)
}

func create(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(env.Client.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(client.IgnoreNotFound(env.Client.Delete(ctx, object))).To(Succeed())
	})
}

func makeFeed(name string) *emsv1.MitigationFeed {
	return &emsv1.MitigationFeed{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: emsv1.MitigationFeedSpec{
			URL: "https://ocs.contoso.com/" + name, Product: emsv1.Product("ExchangeServer"),
			Trust: emsv1.TrustPolicy{Roots: "-----BEGIN CERTIFICATE-----"},
		},
	}
}

func setStatus(ctx context.Context, object client.Object, change func()) {
	GinkgoHelper()
	Eventually(func() error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change()
		return env.Client.Status().Update(ctx, object)
	}).Should(Succeed())
}

func update(ctx context.Context, object client.Object, change func()) {
	GinkgoHelper()
	key := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
	Eventually(func() error {
		if err := env.Client.Get(ctx, key, object); err != nil {
			return err
		}
		change()
		return env.Client.Update(ctx, object)
	}).Should(Succeed())
}
