package e2e_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"mitigation.dev/ems/test/harness"
)

const (
	feedName = "contoso"
	// limit of whatever has to come true.
	limit = 90 * time.Second
)

var env *harness.Environment

func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a control plane, which -short leaves out")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(limit)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "End-to-end suite")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	env, err = harness.Launch(ctx, GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	// The processes live longer than the context of this node.
	DeferCleanup(env.Stop)
	Expect(env.Apply(ctx, env.Feed(feedName, env.Publisher.Trust()))).To(Succeed())
	publish(ctx, full()...)
}, NodeTimeout(5*time.Minute))

var _ = ReportAfterEach(func(ctx SpecContext, report SpecReport) {
	if report.Failed() && env != nil {
		AddReportEntry("how everything stands", env.Diagnose(context.WithoutCancel(ctx)))
	}
})
