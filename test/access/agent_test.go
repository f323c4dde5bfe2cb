package access_test

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// refusedBy matches the error of a policy.
func refusedBy(policy string) OmegaMatcher {
	return And(Satisfy(apierrors.IsForbidden), MatchError(ContainSubstring("ValidatingAdmissionPolicy '"+policy+"'")))
}

// tooLong matches the error for a token that shall live longer than a ceiling.
func tooLong(ceiling int) OmegaMatcher {
	return And(refusedBy("ems-agent-token-lifetime"), MatchError(ContainSubstring("lives at most %d s", ceiling)))
}

var forbidden = Satisfy(apierrors.IsForbidden)

var _ = Describe("An agent", Ordered, func() {
	var agent client.Client

	BeforeAll(func(ctx context.Context) { agent = clientFor(agentOf(ctx, ownPool, ownServer)) })

	report := func(namespace, server, rest string) *unstructured.Unstructured {
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": emsv1.GroupVersion.String(), "kind": "PoolServer", "metadata": map[string]any{"name": server, "namespace": namespace},
			"status": map[string]any{
				"facts": map[string]any{"role": "Mailbox"}, "feeds": []any{map[string]any{"name": "exchange", "sequence": int64(8)}},
			},
		}}
		if rest != "" {
			path := strings.Split(rest, ".")
			Expect(unstructured.SetNestedField(object.Object, "smuggled", path...)).To(Succeed())
		}
		return object
	}
	apply := func(ctx context.Context, object *unstructured.Unstructured) error {
		return agent.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("ems-agent"), client.ForceOwnership)
	}

	It("reports the status of its own server", func(ctx context.Context) {
		Expect(apply(ctx, report(ownPool, ownServer, ""))).To(Succeed())
		Expect(merge(ctx, agent, poolServer(ownPool, ownServer), true, `{"status":{"facts":{"role":"EdgeTransport"}}}`)).To(Succeed())
	})

	It("reports for no other server, in no other pool, and for none that is not there", func(ctx context.Context) {
		Expect(apply(ctx, report(ownPool, otherServer, ""))).To(refusedBy("ems-agent-own-poolserver"))
		Expect(apply(ctx, report(otherPool, ownServer, ""))).To(forbidden)
		Expect(apply(ctx, report(ownPool, "web99", ""))).To(Satisfy(apierrors.IsNotFound))
		created := poolServer(ownPool, "")
		created.GenerateName, created.Spec.PoolName = ownServer, ownServer
		Expect(agent.Create(ctx, created)).To(forbidden)
	})

	It("smuggles nothing through the status", func(ctx context.Context) {
		for _, rest := range []string{"spec.poolName", "spec.hostName", "metadata.labels.tier", "metadata.annotations.note"} {
			Expect(client.IgnoreNotFound(ignoreForbidden(apply(ctx, report(ownPool, ownServer, rest))))).To(Succeed(), rest)
		}
		Expect(ignoreForbidden(merge(ctx, agent, poolServer(ownPool, ownServer), true, `{"metadata":{"finalizers":["ems.mitigation.dev/stay"],`+
			`"labels":{"tier":"smuggled"},"ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"x","uid":"y"}]},"spec":{"poolName":"smuggled"}}`))).To(Succeed())
		var now emsv1.PoolServer
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: ownPool, Name: ownServer}, &now)).To(Succeed())
		Expect(now.Spec).To(Equal(emsv1.PoolServerSpec{PoolName: ownServer}))
		Expect(now.Labels).To(Equal(map[string]string{"ems.mitigation.dev/pool": ownServer}))
		Expect(now.Finalizers).To(BeEmpty())
		Expect(now.OwnerReferences).To(BeEmpty())
	})

	It("never takes the sequence of a feed back, not even by leaving it out first", func(ctx context.Context) {
		for _, feeds := range []string{`[{"name":"exchange","sequence":1}]`, `[]`, `null`, `[{"name":"exchange"}]`, `[{"name":"other","sequence":9}]`} {
			err := merge(ctx, agent, poolServer(ownPool, ownServer), true, `{"status":{"feeds":`+feeds+`}}`)
			Expect(err).To(HaveOccurred(), feeds)
			Expect(apierrors.IsForbidden(err) || apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", feeds, err)
		}
		Expect(merge(ctx, agent, poolServer(ownPool, ownServer), true, `{"status":null}`)).To(refusedBy("ems-agent-own-poolserver"))
		Expect(merge(ctx, agent, poolServer(ownPool, ownServer), true, `{"status":{"feeds":[{"name":"exchange","sequence":9}]}}`)).To(Succeed())
	})

	It("renews its own Lease and changes nothing else of it", func(ctx context.Context) {
		Expect(touchLease(ctx, agent, ownPool, ownServer)).To(Succeed())
		Expect(touchLease(ctx, agent, ownPool, otherServer)).To(refusedBy("ems-agent-own-lease"))
		Expect(touchLease(ctx, agent, otherPool, ownServer)).To(forbidden)
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: ownServer, Namespace: ownPool}}
		for _, metadata := range []string{
			`{"labels":{"a":"b"}}`, `{"annotations":{"a":"b"}}`, `{"finalizers":["ems.mitigation.dev/stay"]}`,
			`{"ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"x","uid":"y"}]}`,
		} {
			Expect(merge(ctx, agent, lease, false, `{"metadata":`+metadata+`}`)).To(refusedBy("ems-agent-own-lease"), metadata)
		}
		Expect(agent.Update(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "web99", Namespace: ownPool}})).To(forbidden)
	})

	DescribeTable("gets only tokens of its own, bound to its own Secret, for a day at most",
		func(ctx context.Context, account string, want OmegaMatcher, change func(*authenticationv1.TokenRequestSpec)) {
			Expect(ask(ctx, agent, ownPool, account, change)).To(want)
		},
		Entry("its own, for a day", ownServer, Succeed(), func(*authenticationv1.TokenRequestSpec) {}),
		Entry("another server's", otherServer, refusedBy("ems-agent-own-token"), func(*authenticationv1.TokenRequestSpec) {}),
		Entry("the namespace's default account", "default", Or(forbidden, Satisfy(apierrors.IsNotFound)), func(*authenticationv1.TokenRequestSpec) {}),
		Entry("bound to nothing", ownServer, refusedBy("ems-agent-own-token"), unbound),
		Entry("bound to the Secret of the enrolment", ownServer, refusedBy("ems-agent-own-token"), func(s *authenticationv1.TokenRequestSpec) {
			s.BoundObjectRef.Name = ownServer + "-bootstrap"
		}),
		Entry("bound to another server's Secret", ownServer, refusedBy("ems-agent-own-token"), func(s *authenticationv1.TokenRequestSpec) {
			s.BoundObjectRef.Name = otherServer + "-agent"
		}),
		Entry("a second longer than a day", ownServer, refusedBy("ems-agent-token-lifetime"), func(s *authenticationv1.TokenRequestSpec) {
			s.ExpirationSeconds = new(int64(86401))
		}),
		Entry("for a year", ownServer, refusedBy("ems-agent-token-lifetime"), func(s *authenticationv1.TokenRequestSpec) {
			s.ExpirationSeconds = new(int64(365 * 86400))
		}),
	)

	DescribeTable("gets tokens as long as the operator allows that one server",
		func(ctx context.Context, says string, seconds int64, want OmegaMatcher) {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: ownServer, Namespace: ownPool}}
			Expect(merge(ctx, env.Client, account, false, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, ceiling, says))).To(Succeed())
			DeferCleanup(func(ctx context.Context) {
				Expect(merge(ctx, env.Client, account, false, fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, ceiling))).To(Succeed())
				Eventually(askToken).WithArguments(ctx, agent, ownPool, ownServer, ownServer+"-agent", int64(90000)).Should(forbidden)
			})
			// The policies see the annotation a moment after it was written.
			Eventually(askToken).WithArguments(ctx, agent, ownPool, ownServer, ownServer+"-agent", seconds).Should(want)
			neighbour := clientFor(agentOf(ctx, ownPool, otherServer))
			Expect(askToken(ctx, neighbour, ownPool, otherServer, otherServer+"-agent", 90000)).To(refusedBy("ems-agent-token-lifetime"))
		},
		Entry("a week", "604800", int64(604800), Succeed()),
		Entry("more than a week", "604800", int64(604801), tooLong(604800)),
		Entry("more than any server may have", "9999999", int64(2592001), tooLong(2592000)),
		Entry("what is no number of seconds", "for ever", int64(90000), tooLong(86400)),
		Entry("less than what every server may have", "3600", int64(86400), Succeed()),
		Entry("a number that overflows", "99999999999999999999", int64(90000), tooLong(86400)),
	)

	It("says that it asks for a long life, or gets none", func(ctx context.Context) {
		for _, labels := range []map[string]string{nil, {longLived: "false"}, {longLived: ""}} {
			request := &authenticationv1.TokenRequest{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: authenticationv1.TokenRequestSpec{
					ExpirationSeconds: new(int64(86401)), BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: ownServer + "-agent"},
				},
			}
			of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: ownServer, Namespace: ownPool}}
			Expect(agent.SubResource("token").Create(ctx, of, request)).To(refusedBy("ems-agent-own-token"), "%v", labels)
		}
	})

	It("deletes the Secret of its own enrolment and no other", func(ctx context.Context) {
		Expect(deleteSecret(ctx, agent, ownPool, ownServer+"-bootstrap")).To(Succeed())
		for _, name := range []string{otherServer + "-bootstrap", ownServer + "-agent", otherServer + "-agent"} {
			Expect(deleteSecret(ctx, agent, ownPool, name)).To(refusedBy("ems-agent-own-bootstrap"), name)
		}
		Expect(deleteSecret(ctx, agent, otherPool, ownServer+"-bootstrap")).To(forbidden)
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "web03-bootstrap", Namespace: ownPool}}
		Expect(env.Client.Create(ctx, foreign)).To(Succeed())
		Expect(env.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web03", Namespace: ownPool}})).To(Succeed())
		third := clientFor(withToken(tokenOf(ctx, ownPool, "web03", "")))
		Expect(deleteSecret(ctx, third, ownPool, foreign.Name)).To(refusedBy("ems-agent-own-bootstrap"), "a Secret of another type")
	})

	It("tells events of its own server, in its own name", func(ctx context.Context) {
		Expect(createEvent(ctx, agent, ownPool, about(ownPool, ownServer), "ems-agent")).To(Succeed())
		Expect(createEvent(ctx, agent, ownPool, about(ownPool, ownServer), "ems-rollout")).To(refusedBy("ems-agent-events"))
		for _, regarding := range []corev1.ObjectReference{
			about(ownPool, otherServer),
			{APIVersion: emsv1.GroupVersion.String(), Kind: "MitigationPlan", Namespace: ownPool, Name: ownServer},
			{APIVersion: "v1", Kind: "PoolServer", Namespace: ownPool, Name: ownServer},
		} {
			Expect(createEvent(ctx, agent, ownPool, regarding, "ems-agent")).To(refusedBy("ems-agent-events"), regarding.String())
		}
		others := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Name: otherServer, Namespace: ownPool}}
		Expect(merge(ctx, agent, others, false, `{"metadata":{"annotations":{"a":"b"}}}`)).To(refusedBy("ems-agent-events"))
	})
})

var _ = Describe("An agent with more rights than it should have", Ordered, func() {
	const namespace = "pool-c"
	var agent, stranger client.Client

	BeforeAll(func(ctx context.Context) {
		addPool(ctx, namespace)
		bind(ctx, namespace, careless, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace})
		// The agents of another pool, bound here by mistake.
		foreigners := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + otherPool}
		for _, role := range []string{"ems-agent", careless} {
			bind(ctx, namespace, role, foreigners)
		}
		agent, stranger = clientFor(agentOf(ctx, namespace, ownServer)), clientFor(agentOf(ctx, otherPool, ownServer))
	})

	It("still writes nothing but the status of its PoolServer", func(ctx context.Context) {
		const policy = "ems-agent-own-poolserver"
		own := poolServer(namespace, ownServer)
		for _, patch := range []string{
			`{"spec":{"poolName":"another"}}`, `{"metadata":{"labels":{"a":"b"}}}`, `{"metadata":{"annotations":{"a":"b"}}}`,
			`{"metadata":{"finalizers":["ems.mitigation.dev/stay"]}}`,
			`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"x","uid":"y"}]}}`,
		} {
			Expect(merge(ctx, agent, own, false, patch)).To(refusedBy(policy), patch)
		}
		created := poolServer(namespace, "")
		created.GenerateName, created.Spec.PoolName = ownServer, ownServer
		Expect(agent.Create(ctx, created)).To(refusedBy(policy))
		Expect(agent.Delete(ctx, own)).To(refusedBy(policy))
		Expect(agent.DeleteAllOf(ctx, &emsv1.PoolServer{}, client.InNamespace(namespace))).To(refusedBy(policy))
		Expect(forgeStatus(ctx, agent, namespace, otherServer)).To(refusedBy(policy))
		Expect(forgeStatus(ctx, agent, namespace, ownServer)).To(Succeed())
	})

	It("still does with Leases, Secrets and events no more than with its own", func(ctx context.Context) {
		lease := func(name string) *coordinationv1.Lease {
			return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
		}
		Expect(agent.Create(ctx, lease("web99"))).To(refusedBy("ems-agent-own-lease"))
		Expect(agent.Delete(ctx, lease(ownServer))).To(refusedBy("ems-agent-own-lease"))
		Expect(agent.DeleteAllOf(ctx, &coordinationv1.Lease{}, client.InNamespace(namespace))).To(refusedBy("ems-agent-own-lease"))
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: ownServer + "-agent", Namespace: namespace}}
		Expect(merge(ctx, agent, secret, false, `{"metadata":{"labels":{"a":"b"}}}`)).To(refusedBy("ems-agent-own-bootstrap"))
		Expect(agent.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(namespace))).To(refusedBy("ems-agent-own-bootstrap"))
		secret.Name = "web99-bootstrap"
		Expect(agent.Create(ctx, secret)).To(refusedBy("ems-agent-own-bootstrap"))
		event := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Name: ownServer, Namespace: namespace}}
		Expect(agent.Delete(ctx, event)).To(refusedBy("ems-agent-events"))
	})

	It("is nobody in the pool of another server of the same name", func(ctx context.Context) {
		Expect(forgeStatus(ctx, stranger, namespace, ownServer)).To(refusedBy("ems-agent-own-poolserver"))
		Expect(touchLease(ctx, stranger, namespace, ownServer)).To(refusedBy("ems-agent-own-lease"))
		Expect(deleteSecret(ctx, stranger, namespace, ownServer+"-bootstrap")).To(refusedBy("ems-agent-own-bootstrap"))
		Expect(askToken(ctx, stranger, namespace, ownServer, ownServer+"-agent", 3600)).To(refusedBy("ems-agent-own-token"))
		Expect(createEvent(ctx, stranger, namespace, about(namespace, ownServer), "ems-agent")).To(refusedBy("ems-agent-events"))
	})

	It("shares its namespace with a program only if that may break the glass", func(ctx context.Context) {
		const name = "gitops"
		account := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: namespace}
		Expect(env.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}})).To(Succeed())
		program := clientFor(withToken(tokenOf(ctx, namespace, name, "")))
		attempts := map[string]func() error{
			"a PoolServer": func() error {
				return merge(ctx, program, poolServer(namespace, otherServer), false, `{"metadata":{"labels":{"a":"b"}}}`)
			},
			"a Lease":  func() error { return touchLease(ctx, program, namespace, otherServer) },
			"a Secret": func() error { return deleteSecret(ctx, program, namespace, otherServer+"-agent") },
			"a token":  func() error { return ask(ctx, program, namespace, otherServer, unbound) },
			"an event": func() error { return createEvent(ctx, program, namespace, about(namespace, otherServer), name) },
		}
		for what, attempt := range attempts {
			Expect(attempt()).To(forbidden, what)
		}
		bind(ctx, namespace, "ems-break-glass", account)
		for what, attempt := range attempts {
			Eventually(attempt).Should(Succeed(), what)
		}
	})

	It("writes nothing that the manager renders", func(ctx context.Context) {
		Expect(agent.Create(ctx, plan(namespace, "forged"))).To(refusedBy("ems-manager-objects"))
		Expect(merge(ctx, agent, plan(namespace, ownServer), false, `{"spec":{"mode":"Audit"}}`)).To(refusedBy("ems-manager-objects"))
	})
})

func unbound(s *authenticationv1.TokenRequestSpec) { s.BoundObjectRef = nil }

func ignoreForbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}
