package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/pki"
)

var _ = Describe("A signer whose certificate is revoked", func() {
	It("loses the trust of servers that have no path to the list, and takes nothing away from them", func(ctx SpecContext) {
		var list atomic.Pointer[[]byte]
		revoke := func(issued time.Time, certificates ...*pki.Identity) {
			GinkgoHelper()
			made, err := env.Publisher.PKI.Issuing.RevocationList(issued, issued.Add(time.Hour), certificates...)
			Expect(err).NotTo(HaveOccurred())
			list.Store(&made.Raw)
		}
		issued := time.Now().Add(-time.Minute)
		revoke(issued)
		authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(*list.Load()) }))
		DeferCleanup(authority.Close)

		By("making the servers look at lists, and the manager fetch them")
		pool := newPool(ctx, "revoked", members("srv1", "srv2"), func(s *harness.Server) {
			policy := env.Publisher.Trust()
			policy.Revocation.Mode = "Prefer"
			Expect(s.Believe(map[string]emsv1.TrustPolicy{feedName: policy})).To(Succeed())
		})
		kubectl(ctx, "patch", "mitigationfeed", feedName, "--type=merge", "-p",
			`{"spec":{"trust":{"revocation":{"mode":"Prefer","urls":["`+authority.URL+`/issuing.crl"]}}}}`)
		DeferCleanup(func(ctx SpecContext) {
			kubectl(ctx, "patch", "mitigationfeed", feedName, "--type=merge", "-p", `{"spec":{"trust":{"revocation":null}}}`)
			publish(ctx, full()...)
		})
		publish(ctx, full()...)
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
		handed := func(g Gomega) string {
			var plan emsv1.MitigationPlan
			g.Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: pool.Name}, &plan)).To(Succeed())
			g.Expect(plan.Spec.Revocation).To(HaveLen(1))
			return plan.Spec.Revocation[0].Digest
		}
		var before string
		Eventually(func(g Gomega) { before = handed(g) }).WithContext(ctx).Should(Succeed())
		protection := pool.snapshots()

		By("revoking the signer")
		revoke(issued.Add(time.Second), env.Publisher.PKI.RSA)
		revoked := time.Now()
		kubectl(ctx, "annotate", "--overwrite", "mitigationfeed", feedName, emsv1.ReconcileRequestAnnotation+"=revoked")
		for _, s := range pool.servers {
			Eventually(reported(ctx, s)).WithContext(ctx).Should(haveReady(metav1.ConditionFalse, emsv1.MitigationsFailedReason))
			server, err := env.Reported(ctx, s)
			Expect(err).NotTo(HaveOccurred())
			Expect(meta.FindStatusCondition(server.Status.Conditions, emsv1.ReadyCondition).Message).To(ContainSubstring("revoked at"))
		}
		AddReportEntry("revocation to report", time.Since(revoked).Round(time.Millisecond).String())
		Eventually(handed).WithContext(ctx).ShouldNot(Equal(before))
		Expect(pool.snapshots()).To(Equal(protection))
		Eventually(pool.outcomes(harness.ExploitRequest)).WithContext(ctx).Should(HaveEach(rewrite.Aborted))
	}, NodeTimeout(4*limit))
})
