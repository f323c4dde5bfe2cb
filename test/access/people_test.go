package access_test

import (
	"context"
	"maps"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

var _ = Describe("A pool operator", Ordered, func() {
	var operator client.Client

	BeforeAll(func(ctx context.Context) {
		operator = clientFor(env.User("operator"))
		Expect(merge(ctx, env.Client, poolConfig(ownPool), false,
			`{"spec":{"rollout":{"profile":"Standard","maxFailures":2},"blocked":[{"id":"M7","reason":"printing"}]}}`)).To(Succeed())
	})

	DescribeTable("steers its pool", func(ctx context.Context, patch string) {
		Expect(merge(ctx, operator, poolConfig(ownPool), false, patch)).To(Succeed())
	},
		Entry("blocks", `{"spec":{"blocked":[{"id":"M1","reason":"breaks printing"}]}}`),
		Entry("unblocks", `{"spec":{"blocked":null}}`),
		Entry("approves", `{"spec":{"approved":[{"id":"M1","reason":"tried","revision":1}]}}`),
		Entry("suspends", `{"spec":{"suspend":"Revert"}}`),
		Entry("pauses", `{"spec":{"rollout":{"progress":"Paused","pausedUntilTime":"2026-12-24T18:00:00Z"}}}`),
		Entry("unpauses", `{"spec":{"rollout":{"progress":null,"pausedUntilTime":null}}}`),
		Entry("orders", `{"spec":{"rollout":{"orders":[{"id":"M1","revision":1,"action":"Abort","reason":"breaks printing"}]}}}`),
		Entry("takes an order back", `{"spec":{"rollout":{"orders":null}}}`),
		Entry("asks for a repair", `{"metadata":{"annotations":{"ems.mitigation.dev/repair-requested-at":"now"}}}`),
	)

	DescribeTable("leaves alone how the pool is set up", func(ctx context.Context, patch string) {
		Expect(merge(ctx, operator, poolConfig(ownPool), false, patch)).To(refusedBy("ems-pool-operator"))
	},
		Entry("its name", `{"spec":{"poolFQDN":"other.contoso.com"}}`),
		Entry("whether mitigations are applied", `{"spec":{"mitigations":"Disabled"}}`),
		Entry("and what becomes of them then", `{"spec":{"whenDisabled":"Remove"}}`),
		Entry("the mode", `{"spec":{"mode":"Audit"}}`),
		Entry("the placement", `{"spec":{"placement":"WebConfig"}}`),
		Entry("the profile of rollouts", `{"spec":{"rollout":{"profile":"Emergency"}}}`),
		Entry("taking the profile away", `{"spec":{"rollout":{"profile":null}}}`),
		Entry("taking all of the rollout away", `{"spec":{"rollout":null}}`),
		Entry("how many failures a rollout stands", `{"spec":{"rollout":{"maxFailures":9}}}`),
		Entry("how long a stage may take", `{"spec":{"rollout":{"progressDeadlineSeconds":7200}}}`),
		Entry("what becomes of a stage that failed", `{"spec":{"rollout":{"onFailure":"Hold"}}}`),
		Entry("the windows", `{"spec":{"rollout":{"windows":[{"policy":"Allow","cron":"0 22 * * *","durationSeconds":3600}]}}}`),
		Entry("the stages", `{"spec":{"rollout":{"stages":[{"name":"all","servers":"100%"}]}}}`),
		Entry("health checks", `{"spec":{"healthChecks":{"tcpPorts":[443]}}}`),
		Entry("whether its servers are part of diagnostic data", `{"spec":{"telemetry":"Disabled"}}`),
		Entry("a forbidden field beside a permitted one", `{"spec":{"blocked":[{"id":"M1","reason":"r"}],"mode":"Audit"}}`),
		Entry("the labels by which the organisation finds it", `{"metadata":{"labels":{"tier":"test"}}}`),
		Entry("finalizers", `{"metadata":{"finalizers":["ems.mitigation.dev/stay"]}}`),
		Entry("owner references", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"x","uid":"y"}]}}`),
	)

	It("knows every field of a pool as one that it steers or one that it leaves alone", func(ctx context.Context) {
		crd := &unstructured.Unstructured{}
		crd.SetAPIVersion("apiextensions.k8s.io/v1")
		crd.SetKind("CustomResourceDefinition")
		Expect(env.Client.Get(ctx, client.ObjectKey{Name: "poolmitigationconfigs.ems.mitigation.dev"}, crd)).To(Succeed())
		versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
		Expect(err).NotTo(HaveOccurred())
		Expect(versions).To(HaveLen(1), "the policy speaks of every version")
		fields := func(path ...string) []string {
			at := append([]string{"schema", "openAPIV3Schema", "properties"}, path...)
			properties, ok, err := unstructured.NestedMap(versions[0].(map[string]any), append(at, "properties")...)
			Expect(err).NotTo(HaveOccurred())
			Expect(ok).To(BeTrue())
			return slices.Collect(maps.Keys(properties))
		}
		Expect(fields("spec")).To(ConsistOf(
			"blocked", "approved", "suspend", "rollout",
			"poolFQDN", "mitigations", "whenDisabled", "mode", "placement", "healthChecks", "telemetry",
		), "decide about a new field in config/admission/pool_operator.yaml, try it above, and tell it in docs/reference/access.md")
		Expect(fields("spec", "properties", "rollout")).To(ConsistOf(
			"orders", "progress", "pausedUntilTime",
			"profile", "stages", "maxFailures", "progressDeadlineSeconds", "onFailure", "windows",
		))
	})

	It("makes and deletes no pool, and touches no other", func(ctx context.Context) {
		made := poolConfig(ownPool)
		made.Name, made.Spec.Mode = "another", emsv1.ModeAudit
		Expect(operator.Create(ctx, made)).To(forbidden)
		Expect(operator.Delete(ctx, poolConfig(ownPool))).To(forbidden)
		Expect(merge(ctx, operator, poolConfig(otherPool), false, `{"spec":{"suspend":"Revert"}}`)).To(forbidden)
		Expect(merge(ctx, operator, poolConfig(ownPool), true, `{"status":{"summary":{"inSync":"9/9"}}}`)).To(forbidden)
		// With RBAC that says otherwise it is still the right to configure that decides.
		more := clientFor(env.User(careless))
		made = poolConfig(ownPool)
		made.Name, made.Spec.Mode = "another", emsv1.ModeAudit
		Expect(more.Create(ctx, made)).To(refusedBy("ems-pool-operator"))
		Expect(more.Delete(ctx, poolConfig(ownPool))).To(refusedBy("ems-pool-operator"))
		Expect(more.DeleteAllOf(ctx, poolConfig(""), client.InNamespace(ownPool))).To(refusedBy("ems-pool-operator"))
	})

	It("is no administrator, who sets the pool up", func(ctx context.Context) {
		admin := clientFor(env.User("admin"))
		Expect(merge(ctx, admin, poolConfig(ownPool), false, `{"metadata":{"labels":{"tier":"production"}},"spec":{"mode":"Audit"}}`)).To(Succeed())
		Expect(merge(ctx, admin, poolConfig(ownPool), false, `{"spec":{"mode":null}}`)).To(Succeed())
	})
})

var _ = Describe("What the manager renders", Ordered, func() {
	const digest = "0000000000000000000000000000000000000000000000000000000000000000"
	bundle := func() *emsv1.MitigationBundle {
		return &emsv1.MitigationBundle{
			ObjectMeta: metav1.ObjectMeta{Name: "exchange-1"},
			Spec:       emsv1.MitigationBundleSpec{FeedName: "exchange", Product: emsv1.ExchangeServer, Document: []byte("<d/>"), Digest: digest},
		}
	}
	mitigation := func(id string, lifecycle emsv1.Lifecycle) *emsv1.Mitigation {
		return &emsv1.Mitigation{
			ObjectMeta: metav1.ObjectMeta{Name: id},
			Spec: emsv1.MitigationSpec{
				ID: emsv1.MitigationID(id), Revision: 1, Lifecycle: lifecycle, FeedName: "exchange", BundleName: "exchange-1", DocumentDigest: digest,
				Actions: []emsv1.MitigationAction{{ID: emsv1.MitigationID(id + ".1"), Type: "DoNothing", Scope: "Server"}},
			},
		}
	}
	var renderer, stranger client.Client

	BeforeAll(func(ctx context.Context) {
		renderer = clientFor(withToken(tokenOf(ctx, manager, "ems-manager", "")))
		stranger = clientFor(env.User(careless))
		Expect(renderer.Create(ctx, bundle())).To(Succeed())
		Expect(renderer.Create(ctx, mitigation("m1", emsv1.LifecycleActive))).To(Succeed())
		Expect(renderer.Create(ctx, mitigation("m2", emsv1.LifecycleWithdrawn))).To(Succeed())
		Expect(renderer.Create(ctx, plan(ownPool, "rendered"))).To(Succeed())
	})

	refused := refusedBy("ems-manager-objects")

	It("is written by nobody else", func(ctx context.Context) {
		forged := bundle()
		forged.Name = "exchange-2"
		for _, object := range []client.Object{forged, mitigation("m3", emsv1.LifecycleActive), plan(ownPool, "forged")} {
			Expect(stranger.Create(ctx, object)).To(refused, "%T", object)
		}
		Expect(merge(ctx, stranger, plan(ownPool, "rendered"), false, `{"spec":{"mode":"Enforce"}}`)).To(refused)
		Expect(merge(ctx, stranger, mitigation("m1", ""), false, `{"spec":{"lifecycle":"Withdrawn"}}`)).To(refused)
		Expect(merge(ctx, stranger, bundle(), false, `{"spec":{"revocationLists":null},"metadata":{"labels":{"a":"b"}}}`)).To(refused)
		Expect(stranger.Delete(ctx, plan(ownPool, "rendered"))).To(refused)
		Expect(stranger.Delete(ctx, bundle())).To(refused)
		Expect(stranger.DeleteAllOf(ctx, &emsv1.MitigationPlan{}, client.InNamespace(ownPool))).To(refused)
	})

	It("says where things stand in the manager's words alone", func(ctx context.Context) {
		Expect(merge(ctx, stranger, poolConfig(ownPool), true, `{"status":{"summary":{"inSync":"9/9"}}}`)).To(refused)
		Expect(merge(ctx, stranger, mitigation("m1", ""), true, `{"status":{"observedGeneration":1}}`)).To(refused)
		Expect(merge(ctx, renderer, poolConfig(ownPool), true, `{"status":{"summary":{"inSync":"1/1"}}}`)).To(Succeed())
		Expect(env.Client.Create(ctx, &emsv1.MitigationFeed{
			ObjectMeta: metav1.ObjectMeta{Name: "exchange"}, Spec: emsv1.MitigationFeedSpec{URL: "https://feed.contoso.com/", Product: emsv1.ExchangeServer, Trust: emsv1.TrustPolicy{Roots: "-----BEGIN CERTIFICATE-----"}},
		})).To(Succeed())
		feed := &emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: "exchange"}}
		Expect(merge(ctx, stranger, feed, true, `{"status":{"observedGeneration":1}}`)).To(refused)
		Expect(merge(ctx, renderer, feed, true, `{"status":{"observedGeneration":1}}`)).To(Succeed())
	})

	It("may be deleted where the publisher has withdrawn it", func(ctx context.Context) {
		admin := clientFor(env.User("admin"))
		Expect(admin.Delete(ctx, mitigation("m1", ""))).To(refused)
		Expect(admin.Delete(ctx, mitigation("m2", ""))).To(Succeed())
	})

	It("goes with its owner and its namespace", func(ctx context.Context) {
		collector := clientFor(env.User("system:serviceaccount:kube-system:generic-garbage-collector"))
		Expect(merge(ctx, collector, plan(ownPool, "rendered"), false, `{"metadata":{"annotations":{"a":"b"}}}`)).To(Succeed())
		Expect(merge(ctx, collector, plan(ownPool, "rendered"), false, `{"spec":{"mode":"Enforce"}}`)).To(refused)
		Expect(collector.Delete(ctx, plan(ownPool, "rendered"))).To(Succeed())
	})

	It("opens for those who may break the glass", func(ctx context.Context) {
		firefighter := clientFor(env.User("firefighter"))
		Expect(firefighter.Create(ctx, plan(ownPool, "rendered"))).To(Succeed())
		Expect(firefighter.Delete(ctx, plan(ownPool, "rendered"))).To(Succeed())
		Expect(merge(ctx, firefighter, poolServer(otherPool, otherServer), true, `{"status":{"facts":{"role":"Corrected"}}}`)).To(Succeed())
		Expect(merge(ctx, firefighter, poolServer(otherPool, otherServer), false, `{"spec":{"poolName":"another"}}`)).To(forbidden)
	})
})

var _ = Describe("The manager", func() {
	It("says of a server that it is silent, and nothing else about it", func(ctx context.Context) {
		// A pool that the matrix does not try: there the manager has no more than its role.
		const namespace = "pool-d"
		addPool(ctx, namespace)
		bind(ctx, namespace, careless, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: "ems-manager", Namespace: manager})
		manager := clientFor(withToken(tokenOf(ctx, manager, "ems-manager", "")))
		silent := `{"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"AgentSilent","message":"silent","lastTransitionTime":"2026-01-02T03:04:05Z"}]}}`
		Expect(merge(ctx, manager, poolServer(namespace, ownServer), true, silent)).To(Succeed())
		for _, patch := range []string{
			`{"status":{"facts":{"role":"Forged"}}}`, `{"status":{"feeds":null}}`, `{"status":{"mitigations":[{"id":"M1","state":"Applied"}]}}`,
		} {
			Expect(merge(ctx, manager, poolServer(namespace, ownServer), true, patch)).To(refusedBy("ems-agent-own-poolserver"), patch)
		}
		// Of a server that has never reported, too.
		fresh := poolServer(namespace, "web50")
		fresh.Spec.PoolName = ownServer
		Expect(env.Client.Create(ctx, fresh)).To(Succeed())
		Expect(merge(ctx, manager, poolServer(namespace, "web50"), true, silent)).To(Succeed())
		Expect(merge(ctx, manager, poolServer(namespace, "web50"), true, `{"status":{"facts":{"role":"Forged"}}}`)).To(refusedBy("ems-agent-own-poolserver"))
	})

	It("is not replaced by a ServiceAccount of its name elsewhere", func(ctx context.Context) {
		name := "system:serviceaccount:" + otherPool + ":ems-manager"
		bind(ctx, "", careless, user(name))
		twin := clientFor(env.User(name))
		Expect(twin.Create(ctx, plan(otherPool, "forged"))).To(refusedBy("ems-manager-objects"))
		Expect(forgeStatus(ctx, twin, otherPool, ownServer)).To(refusedBy("ems-agent-own-poolserver"))
	})
})
