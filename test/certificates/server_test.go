package certificates_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent/credential"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/clientcert"
	"mitigation.dev/ems/test/harness"
)

// name is that of the server.
const name = "cert01"

// stored is the credential of a server.
func stored(s *harness.Server) credential.Credential {
	GinkgoHelper()
	c, err := credential.Open(s.StateDir).Load()
	Expect(err).NotTo(HaveOccurred())
	return c
}

func leaf(c credential.Credential) *x509.Certificate {
	GinkgoHelper()
	block, _ := pem.Decode([]byte(c.Certificate))
	Expect(block).NotTo(BeNil())
	certificate, err := x509.ParseCertificate(block.Bytes)
	Expect(err).NotTo(HaveOccurred())
	return certificate
}

// heard is when the agent of a server has renewed its Lease last.
func heard(ctx context.Context) time.Time {
	GinkgoHelper()
	var lease coordinationv1.Lease
	Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: name}, &lease)).To(Succeed())
	if lease.Spec.RenewTime == nil {
		return time.Time{}
	}
	return lease.Spec.RenewTime.Time
}

// renewLease writes as the agent does.
func renewLease(ctx context.Context, c client.Client) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: name}}
	return c.Patch(ctx, lease, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"renewTime":"`+time.Now().UTC().Format(metav1.RFC3339Micro)+`"}}`)))
}

func readServer(ctx context.Context, c client.Client) error {
	return c.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: name}, &emsv1.PoolServer{})
}

var _ = Describe("A server with a client certificate", Ordered, func() {
	var (
		server *harness.Server
		first  credential.Credential
		thief  client.Client
		copied *credential.Source
	)

	It("is enrolled and works", func(ctx SpecContext) {
		var err error
		server, err = env.AddServer(ctx, pool, name, harness.ServerOptions{
			Enrolment: []string{"--credential=certificate"}, Believes: map[string]emsv1.TrustPolicy{feed: env.Publisher.Trust()},
		})
		Expect(err).NotTo(HaveOccurred())
		first = stored(server)
		Expect(first.IsCertificate()).To(BeTrue())
		Expect(first.Token).To(BeEmpty())
		Expect(first.Confirmed).To(BeTrue())
		subject := clientcert.Subject{Namespace: pool.Namespace, Server: name, Enrolment: first.Enrolment}
		Expect(leaf(first).Subject.CommonName).To(Equal(subject.User()))
		Expect(leaf(first).Subject.Organization).To(ConsistOf(subject.Groups()))

		By("spending the enrolment string")
		err = env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: name + "-bootstrap"}, &corev1.Secret{})
		Expect(client.IgnoreNotFound(err)).To(Succeed())
		Expect(err).To(HaveOccurred())

		By("reporting")
		Expect(server.Agent.Start()).To(Succeed())
		Eventually(func(g Gomega) {
			reported, err := env.Reported(ctx, server)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(string(harness.StateOf(reported, "M1").State)).To(Equal("Applied"))
			g.Expect(reported.Status.Credential).NotTo(BeNil())
		}).Should(Succeed())
		Eventually(func() time.Time { return heard(ctx) }).ShouldNot(BeZero())
	}, SpecTimeout(3*time.Minute))

	It("renews it and goes on, without a restart", func(ctx SpecContext) {
		Eventually(func() string { return stored(server).Certificate }).WithTimeout(life).ShouldNot(Equal(first.Certificate))
		second := stored(server)
		renewed := time.Since(first.Received)
		AddReportEntry("renewed after", renewed.String()+" of "+first.Life.String())
		Expect(renewed).To(BeNumerically(">=", first.Life*7/10-2*time.Second))
		Expect(second.Key).NotTo(Equal(first.Key), "a new certificate is for a new key")
		Expect(second.Enrolment).To(Equal(first.Enrolment))
		Eventually(func() time.Time { return heard(ctx) }).WithTimeout(life).Should(BeTemporally(">", first.Expires.Add(2*time.Second)), "the first certificate has ended by then")
		Expect(server.Agent.Running()).To(BeTrue())
	}, SpecTimeout(5*time.Minute))

	It("writes nothing any more once it was revoked, and is not given another one", func(ctx SpecContext) {
		By("stealing it: a copy of the state folder is used, and renewed elsewhere")
		signed.Store(int64(time.Hour))
		present, err := credential.NewSource(credential.Options{Store: credential.Open(server.StateDir)})
		Expect(err).NotTo(HaveOccurred())
		applicant := credential.Applicant{Clock: clock.RealClock{}}
		loot := stored(server)
		loot.Grant, err = applicant.Request(ctx, present.Config(), loot.Identity, loot.Enrolment, 0)
		Expect(err).NotTo(HaveOccurred())
		loot.Received = time.Now()
		elsewhere := credential.Open(GinkgoT().TempDir())
		Expect(elsewhere.Save(loot)).To(Succeed())
		copied, err = credential.NewSource(credential.Options{Store: elsewhere})
		Expect(err).NotTo(HaveOccurred())
		thief = clientFor(copied.Config())
		Expect(renewLease(ctx, thief)).To(Succeed())

		done := make(chan time.Duration, 1)
		begin := time.Now()
		go func() {
			defer GinkgoRecover()
			Eventually(func() error { return renewLease(ctx, thief) }).WithTimeout(15 * time.Second).Should(refusedBy("ems-revoked-certificates"))
			done <- time.Since(begin)
		}()
		output, err := env.Kubectl.Plugin(ctx, env.Programs.Plugin, "enroll", "--revoke", "-n", pool.Namespace, pool.Name+"/"+name)
		Expect(err).NotTo(HaveOccurred(), output)
		Expect(output).To(ContainSubstring("frontends/" + name + ": revoked"))
		Expect(output).To(ContainSubstring("can read until it ends"))
		var after time.Duration
		Eventually(done).Should(Receive(&after))
		AddReportEntry("writes refused after", after.String())

		By("refusing every kind of write")
		status := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: name}}
		Expect(thief.Status().Patch(ctx, status, client.RawPatch("application/merge-patch+json", []byte(`{"status":{"observedGeneration":1}}`)))).To(refusedBy("ems-revoked-certificates"))
		_, err = credential.Request(ctx, copied.Config(), copied.Identity(), 0)
		Expect(err).To(refusedBy("ems-revoked-certificates"))

		By("letting it read until it ends")
		Expect(readServer(ctx, thief)).To(Succeed())

		By("denying another certificate")
		_, err = applicant.Request(ctx, copied.Config(), copied.Identity(), first.Enrolment, 0)
		Expect(err).To(MatchError(credential.ErrDenied))
		Expect(err).To(MatchError(ContainSubstring("NotEnrolledForCertificates")))
	}, SpecTimeout(3*time.Minute))

	It("is enrolled again, which the earlier certificate has nothing of", func(ctx SpecContext) {
		server.Agent.Stop()
		Expect(env.EnrolAgain(ctx, server, "--credential=certificate")).To(Succeed())
		next := stored(server)
		Expect(next.Enrolment).NotTo(Equal(first.Enrolment))
		source, err := credential.NewSource(credential.Options{Store: credential.Open(server.StateDir)})
		Expect(err).NotTo(HaveOccurred())
		Expect(renewLease(ctx, clientFor(source.Config()))).To(Succeed())

		Expect(renewLease(ctx, thief)).To(refusedBy("ems-revoked-certificates"))
		applicant := credential.Applicant{Clock: clock.RealClock{}}
		for _, enrolment := range []string{first.Enrolment, next.Enrolment} {
			_, err := applicant.Request(ctx, copied.Config(), copied.Identity(), enrolment, 0)
			Expect(err).To(MatchError(ContainSubstring("EnrolmentRevoked")))
		}
		var list corev1.ConfigMap
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: pool.Namespace, Name: clientcert.RevokedList}, &list)).To(Succeed())
		Expect(list.Data).To(HaveKeyWithValue(first.Enrolment, HavePrefix(name+" ")))
		Expect(list.Data).NotTo(HaveKey(next.Enrolment))

		By("keeping the list from whoever may delete ConfigMaps")
		Expect(env.Client.Create(ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "cleaner"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"delete", "deletecollection"}}},
		})).To(Succeed())
		Expect(env.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "cleaner"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cleaner"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "cleaner"}},
		})).To(Succeed())
		cleaner := clientFor(asUser("cleaner"))
		Eventually(func() error { return cleaner.Delete(ctx, &list) }).Should(refusedBy("ems-revoked-list"))
		Expect(cleaner.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(pool.Namespace))).To(refusedBy("ems-revoked-list"))

		By("minding nobody else's business")
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "elsewhere"}}
		Expect(env.Client.Create(ctx, lease)).To(Succeed(), "in a namespace without the list")

		By("going back to tokens")
		Expect(env.EnrolAgain(ctx, server)).To(Succeed())
		Expect(stored(server).IsCertificate()).To(BeFalse())
		var requests certificatesv1.CertificateSigningRequestList
		Expect(env.Client.List(ctx, &requests)).To(Succeed())
		Expect(len(requests.Items)).To(BeNumerically(">=", 5))
	}, SpecTimeout(3*time.Minute))
})
