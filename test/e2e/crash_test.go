package e2e_test

import (
	"bytes"
	"context"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

// Rules on a server, as the watcher sees them.
const (
	noRules  = ""
	oneRule  = "EMS M1.1 PowerShell - inbound"
	twoRules = "EMS M1.1 PowerShell - inbound; EMS M1.1 PowerShell - header"
)

// revised is M1 in a second revision with a second rule.
func revised() ocs.Config {
	config := harness.M1()
	config.Revision = 2
	const second = `<rule name="PowerShell - header" stopProcessing="true">
          <match url=".*" />
          <conditions>
            <add input="{HTTP_X_REWRITE_TO}" pattern="powershell" />
          </conditions>
          <action type="AbortRequest" />
        </rule>
      </rules>`
	config.Actions = slices.Clone(config.Actions)
	config.Actions[0].Rewrite = bytes.Replace(config.Actions[0].Rewrite, []byte("</rules>"), []byte(second), 1)
	return config
}

var _ = Describe("When processes are killed", Ordered, func() {
	var (
		pool    *fixture
		looking *watcher
	)
	passes, aborts := HaveEach(rewrite.Passed), HaveEach(rewrite.Aborted)

	BeforeAll(func(ctx SpecContext) {
		publish(ctx, full()...)
		pool = newPool(ctx, "crashes", members("c1", "c2", "c3"))
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
		looking = watch(pool.servers, noRules, oneRule, twoRules)
		DeferCleanup(looking.stop)
	}, NodeTimeout(3*limit))

	restart := func() {
		GinkgoHelper()
		for _, s := range pool.servers {
			if !s.Agent.Running() {
				Expect(s.Agent.Start()).To(Succeed())
			}
		}
	}
	generation := func(ctx context.Context) func(Gomega) int64 {
		return func(g Gomega) int64 {
			var plan emsv1.MitigationPlan
			g.Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: pool.Name}, &plan)).To(Succeed())
			return plan.Generation
		}
	}

	It("the manager: servers keep protecting, and the new manager catches up", func(ctx SpecContext) {
		env.Manager.Kill()
		pool.deleteRules(pool.servers[0])
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(aborts)
		document, err := env.Publisher.Publish(harness.PING1(), revised(), harness.ECP1())
		Expect(err).NotTo(HaveOccurred())
		env.Endpoint.Serve(document)
		Expect(env.StartManager(ctx)).To(Succeed())
		expectReady(poll(ctx), emsv1.DocumentAcceptedReason)
		for _, s := range pool.servers {
			Eventually(s.RuleNames).WithContext(ctx).Should(HaveLen(2))
		}
		waitReady(ctx, "mitigation/m1")
	}, NodeTimeout(3*limit))

	It("the API server: servers keep protecting", func(ctx SpecContext) {
		env.ControlPlane.APIServer.Kill()
		pool.deleteRules(pool.servers[2])
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(aborts)
		// A server that starts without an API server works from what it remembers.
		pool.servers[1].Agent.Kill()
		pool.deleteRules(pool.servers[1])
		restart()
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(aborts)
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		waitReady(ctx, "poolservers", "--all", "-n", pool.Namespace)
	}, NodeTimeout(4*limit))

	It("the API server, with a change on its way: the change arrives", func(ctx SpecContext) {
		pool.configure(ctx, block)
		env.ControlPlane.APIServer.Kill()
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(passes)
		pool.waitFor(ctx, emsv1.StateRemoved, "M1")
		pool.configure(ctx, unblock)
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
	}, NodeTimeout(4*limit))

	It("the agents, again and again in the middle of changes: every change is done in the end", func(ctx SpecContext) {
		for round := range 6 {
			policy, from, to := block, rewrite.Aborted, rewrite.Passed
			if round%2 == 1 {
				policy, from, to = unblock, to, from
			}
			Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(HaveEach(from))
			old := generation(ctx)(Default)
			pool.configure(ctx, policy)
			if round < 2 {
				// As soon as the agents can know of the change.
				Eventually(generation(ctx)).WithContext(ctx).WithPolling(pollFast).Should(BeNumerically(">", old))
			} else {
				// As soon as the first of them has acted.
				Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).WithPolling(pollFast).Should(ContainElement(to))
			}
			for _, s := range pool.servers {
				s.Agent.Kill()
			}
			restart()
		}
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(aborts)
	}, NodeTimeout(4*limit))

	It("everything at once: it is as if nothing had been", func(ctx SpecContext) {
		pool.configure(ctx, block)
		env.ControlPlane.APIServer.Kill()
		env.ControlPlane.Etcd.Kill()
		env.Manager.Kill()
		for _, s := range pool.servers {
			s.Agent.Kill()
		}
		restart()
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		Expect(env.StartManager(ctx)).To(Succeed())
		pool.waitFor(ctx, emsv1.StateRemoved, "M1")
		Expect(pool.outcomes(harness.ExploitRequest)(Default)).To(passes)
		pool.configure(ctx, unblock)
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
	}, NodeTimeout(5*limit))

	It("leaves no trace when all mitigations go", func(ctx SpecContext) {
		pool.configure(ctx, `{"suspend":"Revert"}`)
		pool.waitFor(ctx, emsv1.StateRemoved, "PING1", "M1", "ECP1")
		Expect(pool.differences(Default)).To(BeEmpty())
		pool.configure(ctx, `{"suspend":null}`)
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
	}, NodeTimeout(3*limit))

	It("never had a file that was not whole", func() {
		looks, problems := looking.result()
		Expect(looks).To(BeNumerically(">", 1000))
		Expect(problems).To(BeEmpty())
		AddReportEntry("looks at applicationHost.config", looks)
	})

	AfterAll(func(ctx SpecContext) { publish(ctx, full()...) }, NodeTimeout(2*limit))
})

// pollFast is how often a moment is looked for that soon goes by.
const pollFast = 5 * time.Millisecond
