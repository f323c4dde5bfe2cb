package e2e_test

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/harness"
)

const (
	// leasePeriod is what plans say for pools as small as these.
	leasePeriod = 10 * time.Second
	// maxIdleMemory is what an agent may use that has nothing to do.
	maxIdleMemory = 40 << 20
)

var _ = Describe("Agents with nothing to do", Label("idle"), func() {
	It("are no burden: memory, requests and ports", func(ctx SpecContext) {
		idle := duration("EMS_IDLE", 4*leasePeriod)
		pool := newPool(ctx, "idle", members("idle1", "idle2", "idle3"))
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
		for _, s := range pool.servers {
			Eventually(reported(ctx, s)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
		}
		// What they had to say when they began, events among it, is said after the first period.
		begin := time.Now()
		most := idleFor(ctx, pool.servers, leasePeriod, 0)

		quiet := time.Now()
		most = idleFor(ctx, pool.servers, idle, most)
		for _, s := range pool.servers {
			requests, err := env.Requests(s, quiet)
			Expect(err).NotTo(HaveOccurred())
			writes := 0
			for _, r := range requests {
				if r.Writes() {
					writes++
					Expect(r.Resource).To(Equal("leases"), "%s at %s", r.Verb, r.Time)
				}
			}
			Expect(writes).To(And(BeNumerically(">=", 2), BeNumerically("<=", int(time.Since(quiet)/leasePeriod)+1)), s.Name)
			Expect(harness.Listening(s.Agent.Pid())).To(BeEmpty(), s.Name)
		}

		env.ControlPlane.APIServer.Kill()
		// Agents may be back before the start is seen to be complete.
		gone := time.Now()
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		most = idleFor(ctx, pool.servers, 2*leasePeriod, most)
		for _, s := range pool.servers {
			requests, err := env.Requests(s, time.Time{})
			Expect(err).NotTo(HaveOccurred())
			verbs := map[string]int{}
			for _, r := range requests {
				verbs[r.Verb+" "+r.Resource]++
				Expect(r.Verb).NotTo(Equal("list"), "%s of %s at %s", r.Verb, r.Resource, r.Time)
			}
			after, err := env.Requests(s, gone)
			Expect(err).NotTo(HaveOccurred())
			Expect(after).To(ContainElement(HaveField("Verb", "watch")), s.Name)
			AddReportEntry(fmt.Sprintf("requests of %s in %s", s.Name, time.Since(begin).Round(time.Second)), fmt.Sprint(verbs))
		}
		AddReportEntry("most memory of an agent", fmt.Sprintf("%.1f MiB in %s", float64(most)/(1<<20), time.Since(begin).Round(time.Second)))
		if most > 0 { // elsewhere than on Linux nobody knows
			Expect(most).To(BeNumerically("<=", maxIdleMemory))
		}
	}, NodeTimeout(4*limit+duration("EMS_IDLE", 0)))
})

// idleFor lets some time go by and returns the most memory that an agent had meanwhile, or before.
func idleFor(ctx context.Context, servers []*harness.Server, length time.Duration, most int64) int64 {
	GinkgoHelper()
	timer, ticker := time.NewTimer(length), time.NewTicker(250*time.Millisecond)
	defer timer.Stop()
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			Fail("the time is over")
		case <-timer.C:
			return most
		case <-ticker.C:
		}
		for _, s := range servers {
			memory, err := harness.Memory(s.Agent.Pid())
			Expect(err).NotTo(HaveOccurred())
			most = max(most, memory)
		}
	}
}
