package incidents_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/intstr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/harness"
)

const (
	// limit of whatever is waited for. It is reached only when something is wrong.
	limit    = 90 * time.Second
	feedName = "exchange"
)

var (
	env     *harness.Environment
	servers []*harness.Server
)

// canary is the server of the first stage.
const canary = "i1"

// pool has a first stage of one server, and a health check on the page that a load balancer asks for.
var pool = harness.Pool{
	Name: "incidents", Namespace: "pool-incidents", FQDN: "incidents.contoso.com",
	Rollout: emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{
		{Name: "first", ServerNames: []string{canary}, BakeSeconds: new(int32(1))},
		{Name: "all", Servers: new(intstr.FromString("100%"))},
	}},
}

func TestIncidents(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a control plane")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(limit)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Incidents")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	env, err = harness.Launch(ctx, GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	// The processes live longer than the context of this node.
	DeferCleanup(env.Stop)
	port, err := env.SitePort()
	Expect(err).NotTo(HaveOccurred())
	if port == 0 {
		Skip("the servers' sites need loopback addresses of their own, which this system does not have")
	}
	pool.HealthChecks = emsv1.HealthChecks{HTTP: []emsv1.HTTPCheck{{Name: "owa", Scheme: "http", Port: int32(port), Path: harness.OWAHealth}}} //nolint:gosec // a port
	Expect(env.AddPool(ctx, pool)).To(Succeed())
	for _, name := range []string{canary, "i2", "i3", "i4"} {
		server, err := env.AddServer(ctx, pool, name, harness.ServerOptions{Believes: map[string]emsv1.TrustPolicy{feedName: env.Publisher.Trust()}})
		Expect(err).NotTo(HaveOccurred())
		Expect(server.Agent.Start()).To(Succeed())
		servers = append(servers, server)
	}
	Expect(env.Apply(ctx, env.Feed(feedName, env.Publisher.Trust()))).To(Succeed())
}, NodeTimeout(5*time.Minute))

var _ = ReportAfterEach(func(ctx SpecContext, report SpecReport) {
	if report.Failed() && env != nil {
		AddReportEntry("how everything stands", env.Diagnose(context.WithoutCancel(ctx)))
	}
})
