package e2e_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

var _ = Describe("A server whose agent is gone", func() {
	It("counts as silent, keeps what it has, and is there again with its agent", func(ctx SpecContext) {
		pool := newPool(ctx, "silence", members("quiet"))
		server := pool.servers[0]
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
		Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))

		begin := time.Now()
		server.Agent.Kill()
		Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionUnknown, emsv1.AgentSilentReason))
		AddReportEntry("from the end of the agent to AgentSilent", time.Since(begin).Round(time.Second).String())
		Eventually(func() []map[string]string {
			return table(kubectl(ctx, "get", "poolmitigationconfig", pool.Name, "-n", pool.Namespace))
		}).WithContext(ctx).Should(ConsistOf(And(HaveKeyWithValue("READY", "False"), HaveKeyWithValue("REASON", emsv1.AgentsSilentReason))))
		Expect(pool.outcomes(harness.ExploitRequest)(Default)).To(HaveEach(rewrite.Aborted))

		Expect(server.Agent.Start()).To(Succeed())
		Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
		waitReady(ctx, "poolmitigationconfig/"+pool.Name, "-n", pool.Namespace)
	}, NodeTimeout(4*limit))
})

var _ = Describe("A person at a server", func() {
	It("switches everything off, and on again, which the cluster sees", func(ctx SpecContext) {
		pool := newPool(ctx, "by-hand", members("hand"))
		server := pool.servers[0]
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
		_, err := server.Command(ctx, "kill-switch", "on", "--reason=end-to-end test")
		Expect(err).NotTo(HaveOccurred())
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).WithTimeout(15 * time.Second).Should(HaveEach(rewrite.Passed))
		Eventually(reported(ctx, server)).WithContext(ctx).Should(And(
			haveReady(metav1.ConditionFalse, emsv1.KillSwitchReason),
			HaveField("Status.Local.KillSwitch.Reason", "end-to-end test"), HaveField("Status.Local.KillSwitch.By", Not(BeEmpty()))))

		_, err = server.Command(ctx, "kill-switch", "off", "--reason=end-to-end test")
		Expect(err).NotTo(HaveOccurred())
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(HaveEach(rewrite.Aborted))
		Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
	}, NodeTimeout(3*limit))
})
