package e2e_test

import (
	"fmt"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent/iis/control"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/kstatus"
)

var _ = Describe("A pool of three servers", Ordered, func() {
	var pool *fixture

	BeforeAll(func(ctx SpecContext) {
		pool = newPool(ctx, "frontends", members("fe01", "fe02", "fe03"))
	}, NodeTimeout(2*limit))

	passes, aborts := HaveEach(rewrite.Passed), HaveEach(rewrite.Aborted)

	It("gets every mitigation of the feed", func(ctx SpecContext) {
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
		Expect(pool.outcomes(harness.ExploitRequest)(Default)).To(aborts)
		Expect(pool.outcomes(harness.HarmlessRequest)(Default)).To(passes)
		for _, s := range pool.servers {
			Expect(s.PoolState(ctx, harness.ECPPool)).To(Equal(control.PoolStopped))
			Expect(s.Service(ctx, harness.HealthManager)).To(Equal(control.Service{StartType: control.StartDisabled, State: control.ServiceStopped}))
			Eventually(eventsAbout(ctx, pool.Namespace, s.Name)).WithContext(ctx).Should(ContainElements(
				"MitigationApplied: Revision 1 of ECP1 is in place", "MitigationApplied: Revision 1 of M1 is in place", "MitigationApplied: Revision 1 of PING1 is in place"))
		}
	}, NodeTimeout(2*limit))

	It("is Ready in every object that has a status", func(ctx SpecContext) {
		kubectl(ctx, "apply", "-f", filepath.Join(env.Root, "config", "samples", "mitigationconfiguration_site.yaml"))
		DeferCleanup(func(ctx SpecContext) {
			kubectl(ctx, "delete", "-f", filepath.Join(env.Root, "config", "samples", "mitigationconfiguration_site.yaml"))
		})
		for _, kind := range []string{"mitigationfeeds", "mitigations", "mitigationconfigurations"} {
			waitReady(ctx, kind, "--all")
		}
		for _, kind := range []string{"poolmitigationconfigs", "poolservers"} {
			waitReady(ctx, kind, "--all", "-n", pool.Namespace)
		}
		for _, list := range []client.ObjectList{
			&emsv1.MitigationFeedList{}, &emsv1.MitigationList{}, &emsv1.MitigationConfigurationList{}, &emsv1.PoolMitigationConfigList{}, &emsv1.PoolServerList{},
		} {
			Expect(env.Client.List(ctx, list)).To(Succeed())
			Expect(list).To(HaveField("Items", And(Not(BeEmpty()), HaveEach(WithTransform(pointer, kstatus.BeConsistent())))))
		}
	}, NodeTimeout(4*limit))

	It("is shown by kubectl get", func(ctx SpecContext) {
		// The manager sums up what servers report once in a second.
		Eventually(func() []map[string]string { return table(kubectl(ctx, "get", "mitigations")) }).WithContext(ctx).Should(ConsistOf(
			And(HaveKeyWithValue("NAME", "ping1"), HaveKeyWithValue("TYPE", "DoNothing"), HaveKeyWithValue("SEVERITY", "Low"), HaveKeyWithValue("APPLIED", "3/3"), HaveKeyWithValue("READY", "True")),
			And(HaveKeyWithValue("NAME", "m1"), HaveKeyWithValue("TYPE", "UrlRewrite"), HaveKeyWithValue("SEVERITY", "Critical"), HaveKeyWithValue("LIFECYCLE", "Active"),
				HaveKeyWithValue("APPLIED", "3/3"), HaveKeyWithValue("FAILED", "0"), HaveKeyWithValue("BLOCKED POOLS", "0"), HaveKeyWithValue("REASON", "Applied")),
			And(HaveKeyWithValue("NAME", "ecp1"), HaveKeyWithValue("TYPE", "AppPool"), HaveKeyWithValue("APPLIED", "3/3"), HaveKeyWithValue("READY", "True")),
		))
		Expect(table(kubectl(ctx, "get", "poolservers", "-A", "-o", "wide"))).To(And(HaveLen(3), HaveEach(And(
			HaveKeyWithValue("NAMESPACE", pool.Namespace), HaveKeyWithValue("POOL", pool.Name),
			HaveKeyWithValue("APPLIED", MatchRegexp(`^ECP1, ?M1, ?PING1$`)), HaveKeyWithValue("READY", "True"), HaveKeyWithValue("REASON", emsv1.PlanAppliedReason),
			HaveKeyWithValue("BUILD", harness.VulnerableBuild), HaveKeyWithValue("PRODUCT", "ExchangeServer"), HaveKeyWithValue("REWRITE", "Present"),
			HaveKey("AGENT"), HaveKey("PLAN"), HaveKey("MESSAGE"),
		))))
		Expect(table(kubectl(ctx, "get", "mitigationfeeds", "-o", "wide"))).To(ConsistOf(And(
			HaveKeyWithValue("NAME", feedName), HaveKeyWithValue("READY", "True"), HaveKeyWithValue("FRESH", "True"),
			HaveKeyWithValue("MITIGATIONS", "3"), HaveKeyWithValue("URL", env.Endpoint.URL),
		)))
		everything := kubectl(ctx, "get", "ems", "-A")
		for _, kind := range []string{"mitigationbundle", "mitigationfeed", "mitigationplan", "mitigation", "poolmitigationconfig", "poolserver"} {
			Expect(everything).To(ContainSubstring(kind + ".ems.mitigation.dev/"))
		}
	}, NodeTimeout(limit))

	It("gets a rule back that somebody deleted", func(ctx SpecContext) {
		server := pool.servers[1]
		pool.deleteRules(server)
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(aborts)
		Eventually(eventsAbout(ctx, pool.Namespace, server.Name)).WithContext(ctx).Should(ContainElement(HavePrefix("DriftRepaired")))
		Expect(eventsAbout(ctx, pool.Namespace, pool.servers[0].Name)(Default)).NotTo(ContainElement(HavePrefix("DriftRepaired")))
	}, NodeTimeout(2*limit))

	It("loses a mitigation that its policy blocks, and gets it back", func(ctx SpecContext) {
		begin := time.Now()
		pool.configure(ctx, block)
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).WithPolling(20 * time.Millisecond).Should(passes)
		AddReportEntry("from the block to the rule's absence on 3 of 3 servers", fmt.Sprintf("%.2f s", time.Since(begin).Seconds()))
		pool.waitFor(ctx, emsv1.StateRemoved, "M1")
		waitReady(ctx, "poolmitigationconfig/"+pool.Name, "-n", pool.Namespace)
		Expect(table(kubectl(ctx, "get", "poolmitigationconfigs", "-n", pool.Namespace))).To(ConsistOf(And(
			HaveKeyWithValue("NAME", pool.Name), HaveKeyWithValue("IN SYNC", "3/3"), HaveKeyWithValue("BLOCKED", "M1"), HaveKeyWithValue("READY", "True"),
		)))
		Expect(table(kubectl(ctx, "get", "poolservers", "-n", pool.Namespace))).To(HaveEach(HaveKeyWithValue("BLOCKED", "M1")))

		begin = time.Now()
		pool.configure(ctx, unblock)
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).WithPolling(20 * time.Millisecond).Should(aborts)
		AddReportEntry("from the end of the block to the rule's presence on 3 of 3 servers", fmt.Sprintf("%.2f s", time.Since(begin).Seconds()))
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
	}, NodeTimeout(3*limit))

	It("keeps what it has when mitigations are disabled, and loses it when told to", func(ctx SpecContext) {
		pool.configure(ctx, `{"mitigations":"Disabled"}`)
		waitReady(ctx, "poolmitigationconfig/"+pool.Name, "-n", pool.Namespace)
		Expect(pool.outcomes(harness.ExploitRequest)(Default)).To(aborts)
		pool.configure(ctx, `{"whenDisabled":"Remove"}`)
		pool.waitFor(ctx, emsv1.StateRemoved, "M1", "ECP1", "PING1")
		Expect(pool.differences(Default)).To(BeEmpty())
		pool.configure(ctx, `{"mitigations":null,"whenDisabled":null}`)
		pool.waitFor(ctx, emsv1.StateApplied, "M1", "ECP1", "PING1")
	}, NodeTimeout(4*limit))

	It("is as it was before when the publisher withdraws everything that changes something", func(ctx SpecContext) {
		publish(ctx, harness.PING1())
		pool.waitFor(ctx, emsv1.StateRemoved, "M1", "ECP1")
		Expect(pool.differences(Default)).To(BeEmpty())
		for _, s := range pool.servers {
			Expect(s.PoolState(ctx, harness.ECPPool)).To(Equal(control.PoolStarted))
			Expect(s.Service(ctx, harness.HealthManager)).To(Equal(control.Service{StartType: control.StartAutomatic, State: control.ServiceRunning}))
		}
		waitReady(ctx, "mitigations", "--all")
		Eventually(func() []map[string]string { return table(kubectl(ctx, "get", "mitigation", "m1")) }).WithContext(ctx).Should(ConsistOf(And(
			HaveKeyWithValue("LIFECYCLE", "Withdrawn"), HaveKeyWithValue("APPLIED", "0/0"), HaveKeyWithValue("REASON", "NotWanted"),
		)))
		publish(ctx, full()...)
		pool.waitFor(ctx, emsv1.StateApplied, "M1", "ECP1")
		// A newer document that says the same again is no drift.
		Expect(eventsAbout(ctx, pool.Namespace, pool.servers[0].Name)(Default)).NotTo(ContainElement(HavePrefix("DriftRepaired")))
	}, NodeTimeout(4*limit))
})

// pointer makes an object of an item of a list.
func pointer(item any) client.Object {
	switch o := item.(type) {
	case emsv1.MitigationFeed:
		return &o
	case emsv1.Mitigation:
		return &o
	case emsv1.MitigationConfiguration:
		return &o
	case emsv1.PoolMitigationConfig:
		return &o
	case emsv1.PoolServer:
		return &o
	}
	return nil
}
