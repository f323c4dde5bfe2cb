package e2e_test

import (
	"bytes"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/lastpass"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

const (
	// converge is how soon after the API server answers again everything has to be as it would have been.
	converge = 10 * time.Second
	// offlineStart is how soon after its start an agent without a network has put right what was put wrong.
	offlineStart = 5 * time.Second
)

// EMS_OUTAGE, such as 5m, is how long the API server is away.
var _ = Describe("A cluster that is away for a while", Label("outage"), Ordered, func() {
	var (
		pool *fixture
		away time.Duration
		// left is when the API server went, broken and whole when a server began and ceased to be in trouble.
		left, broken, whole time.Time
	)
	aborts := HaveEach(rewrite.Aborted)
	const comment = "<!-- somebody else -->"

	ready := func(s *emsv1.PoolServer) *metav1.Condition {
		return meta.FindStatusCondition(s.Status.Conditions, emsv1.ReadyCondition)
	}

	BeforeAll(func(ctx SpecContext) {
		away = duration("EMS_OUTAGE", 15*time.Second)
		publish(ctx, full()...)
		pool = newPool(ctx, "outage", members("drift", "troubled", "restarted", "switched"))
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
		for _, s := range pool.servers {
			Eventually(reported(ctx, s)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
		}
	}, NodeTimeout(3*limit))

	It("keeps its servers protected, and they put right what is put wrong", func(ctx SpecContext) {
		env.ControlPlane.APIServer.Kill()
		left = time.Now()
		end := time.NewTimer(away)
		defer end.Stop()

		pool.deleteRules(pool.server("drift"))
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(aborts)

		restarted := pool.server("restarted")
		restarted.Agent.Kill()
		pool.deleteRules(restarted)
		begin := time.Now()
		Expect(restarted.Agent.Start()).To(Succeed())
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).WithTimeout(offlineStart).WithPolling(10 * time.Millisecond).Should(aborts)
		AddReportEntry("from the start of an agent without a network to the rule", time.Since(begin).Round(10*time.Millisecond).String())

		// A change that is not ours stays, and so does a file that IIS could not read until it is whole.
		troubled := pool.server("troubled")
		content, err := os.ReadFile(troubled.ConfigFile())
		Expect(err).NotTo(HaveOccurred())
		content = bytes.Replace(content, []byte("</configuration>"), []byte(comment+"\r\n</configuration>"), 1)
		Expect(troubled.WriteConfig(bytes.Replace(content, []byte("</sites>"), nil, 1))).To(Succeed())
		broken = time.Now()
		Eventually(lastState(troubled)).WithContext(ctx).Should(Equal("Failed"))
		Expect(troubled.WriteConfig(content)).To(Succeed())
		Eventually(lastState(troubled)).WithContext(ctx).Should(Equal("Applied"))
		whole = time.Now()

		switched := pool.server("switched")
		_, err = switched.Command(ctx, "kill-switch", "on", "--reason=logins fail")
		Expect(err).NotTo(HaveOccurred())
		Eventually(func(g Gomega) rewrite.Outcome { return outcome(g, switched) }).WithContext(ctx).Should(Equal(rewrite.Passed))
		_, err = switched.Command(ctx, "kill-switch", "off", "--reason=it was the network")
		Expect(err).NotTo(HaveOccurred())
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(aborts)

		document, err := env.Publisher.Publish(harness.PING1(), revised(), harness.ECP1())
		Expect(err).NotTo(HaveOccurred())
		env.Endpoint.Serve(document)

		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for over := false; !over; {
			select {
			case <-end.C:
				over = true
			case <-ticker.C:
			}
			Expect(pool.outcomes(harness.ExploitRequest)(Default)).To(aborts)
		}
		Expect(time.Since(left)).To(BeNumerically(">=", away))
	}, NodeTimeout(3*limit+duration("EMS_OUTAGE", 0)))

	It("has everything as it would have been soon after it is back", func(ctx SpecContext) {
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		back := time.Now()
		AddReportEntry("the API server was away for", back.Sub(left).Round(time.Second).String())
		soon := func(actual any) AsyncAssertion {
			return Eventually(actual).WithContext(ctx).WithTimeout(max(0, converge-time.Since(back))).WithPolling(20 * time.Millisecond)
		}
		// The endpoint has another document, which the manager finds out at its next poll or when it is asked.
		soon(func(g Gomega) {
			_, err := env.Kubectl.Run(ctx, "annotate", "--overwrite", "mitigationfeed", feedName, emsv1.ReconcileRequestAnnotation+"="+back.String())
			g.Expect(err).NotTo(HaveOccurred())
		}).Should(Succeed())
		for _, s := range pool.servers {
			soon(s.RuleNames).Should(HaveLen(2), s.Name)
		}
		AddReportEntry("from its return to the new revision on 4 of 4 servers", time.Since(back).Round(10*time.Millisecond).String())
		for _, s := range pool.servers {
			soon(reported(ctx, s)).Should(And(
				haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason),
				WithTransform(func(p *emsv1.PoolServer) int64 { return harness.StateOf(p, "M1").Revision }, BeEquivalentTo(2)),
			), s.Name)
		}
		AddReportEntry("from its return to the last status", time.Since(back).Round(10*time.Millisecond).String())
	}, NodeTimeout(3*limit))

	It("learns what happened meanwhile", func(ctx SpecContext) {
		for _, name := range []string{"drift", "restarted"} {
			Eventually(eventsAbout(ctx, pool.Namespace, name)).WithContext(ctx).Should(ContainElement(HavePrefix("DriftRepaired")), name)
		}
		server := func(name string) *emsv1.PoolServer { return reported(ctx, pool.server(name))(Default) }
		// Ready was False from broken to whole, which nobody in the cluster saw, and is True since.
		since := ready(server("troubled")).LastTransitionTime.Time
		Expect(since).To(And(BeTemporally(">=", broken.Truncate(time.Second)), BeTemporally("<=", whole)))
		for _, name := range []string{"drift", "restarted"} {
			Expect(ready(server(name)).LastTransitionTime.Time).To(BeTemporally("<", left), "%s was Ready all the time", name)
		}
		local := server("switched").Status.Local
		Expect(local.KillSwitch.By).To(BeEmpty())
		Expect(local.Recent).To(HaveExactElements(
			And(HaveField("Did", "the kill switch was taken back"), HaveField("Use.Reason", "it was the network")),
			And(HaveField("Did", "the kill switch was thrown"), HaveField("Use.Reason", "logins fail"), HaveField("Use.By", Not(BeEmpty())), HaveField("Use.Time.Time", BeTemporally(">=", left.Truncate(time.Second)))),
		))
		content, err := os.ReadFile(pool.server("troubled").ConfigFile())
		Expect(err).NotTo(HaveOccurred())
		Expect(string(content)).To(ContainSubstring(comment))
		waitReady(ctx, "poolmitigationconfig/"+pool.Name, "-n", pool.Namespace)
	}, NodeTimeout(2*limit))

	AfterAll(func(ctx SpecContext) {
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		publish(ctx, full()...)
	}, NodeTimeout(2*limit))
})

// lastState is what the agent of a server has last found of M1.
func lastState(s *harness.Server) func(Gomega) string {
	return func(g Gomega) string {
		pass, err := lastpass.Read(s.StateDir)
		g.Expect(err).NotTo(HaveOccurred())
		for _, m := range pass.Mitigations {
			if m.ID == "M1" {
				return m.State
			}
		}
		return ""
	}
}

// outcome is what becomes of the exploit on one server.
func outcome(g Gomega, s *harness.Server) rewrite.Outcome {
	result, err := s.Request("GET", harness.ExploitRequest)
	g.Expect(err).NotTo(HaveOccurred())
	return result.Outcome
}
