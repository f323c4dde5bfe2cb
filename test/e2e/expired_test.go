package e2e_test

import (
	"context"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"mitigation.dev/ems/agent/credential"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
)

var _ = Describe("A server whose token has ended", Label("expired"), func() {
	It("goes on protecting, says what to do, and is back when that is done", func(ctx SpecContext) {
		pool := newPool(ctx, "expired", members("late"))
		server := pool.servers[0]
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
		server.Agent.Stop()
		store := credential.Open(server.StateDir)
		present, err := store.Load()
		Expect(err).NotTo(HaveOccurred())
		Expect(answer(ctx, present.Token)).To(Equal(http.StatusOK))

		By("letting the token have ended an hour ago, by its own words, signed by the API server's key")
		good, err := env.ControlPlane.EndedAt(present.Token, time.Now().Add(time.Hour))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer(ctx, good)).To(Equal(http.StatusOK), "the signature is not why it is refused")
		ended := present
		ended.Expires, ended.Received = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour-present.Life)
		ended.Token, err = env.ControlPlane.EndedAt(present.Token, ended.Expires)
		Expect(err).NotTo(HaveOccurred())
		Expect(answer(ctx, ended.Token)).To(Equal(http.StatusUnauthorized))
		Expect(store.Replace(present.ID(), ended)).To(Succeed())

		pool.deleteRules(server)
		Expect(server.Agent.Start()).To(Succeed())
		Eventually(func(g Gomega) rewrite.Outcome { return outcome(g, server) }).WithContext(ctx).Should(Equal(rewrite.Aborted))
		Eventually(func() string { return string(readFile(server.Agent.LogPath)) }).WithContext(ctx).Should(And(
			ContainSubstring("Credential has ended or was taken back; what is in place stays"), ContainSubstring(present.Again())))
		said, err := server.Command(ctx, "status")
		Expect(err).To(HaveOccurred())
		Expect(said).To(And(ContainSubstring("the credential ran out"), ContainSubstring("enrol the server again")))
		said, err = server.Command(ctx, "test-connectivity")
		Expect(err).To(HaveOccurred())
		Expect(said).To(ContainSubstring("PoolServer"))
		AddReportEntry("what test-connectivity says", said)

		Expect(env.EnrolAgain(ctx, server)).To(Succeed())
		Eventually(eventsAbout(ctx, pool.Namespace, server.Name)).WithContext(ctx).Should(ContainElement(HavePrefix("DriftRepaired")))
		Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
	}, NodeTimeout(4*limit))
})

// answer is what the API server answers to who bears a token and asks for its own PoolServer.
func answer(ctx context.Context, token string) int {
	GinkgoHelper()
	config := rest.AnonymousClientConfig(env.ControlPlane.Config())
	config.BearerToken = token
	client, err := rest.HTTPClientFor(config)
	Expect(err).NotTo(HaveOccurred())
	path := config.Host + "/apis/ems.mitigation.dev/v1alpha1/namespaces/pool-expired/poolservers/late"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	response, err := client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	return response.StatusCode
}
