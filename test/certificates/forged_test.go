package certificates_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/clientcert"
)

// wanted is a request for a certificate that can be spoilt.
type wanted struct {
	content x509.CertificateRequest
	key     crypto.Signer
	object  certificatesv1.CertificateSigningRequest
}

// requestOf is what the agent of a server asks for.
func requestOf(subject clientcert.Subject) *wanted {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	return &wanted{
		content: x509.CertificateRequest{Subject: pkix.Name{CommonName: subject.User(), Organization: subject.Groups()}}, key: key,
		object: certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "forged-"},
			Spec: certificatesv1.CertificateSigningRequestSpec{
				SignerName: clientcert.Signer, ExpirationSeconds: new(int32(3600)),
				Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature},
			},
		},
	}
}

// ask sends the request as somebody.
func (w *wanted) ask(ctx context.Context, as client.Client) (*certificatesv1.CertificateSigningRequest, error) {
	GinkgoHelper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &w.content, w.key)
	Expect(err).NotTo(HaveOccurred())
	made := w.object.DeepCopy()
	made.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return made, as.Create(ctx, made)
}

// decision is what the conditions of a request say.
func decision(ctx context.Context, name string) func() string {
	return func() string {
		var request certificatesv1.CertificateSigningRequest
		if err := env.Client.Get(ctx, client.ObjectKey{Name: name}, &request); err != nil {
			return err.Error()
		}
		for _, c := range request.Status.Conditions {
			return string(c.Type) + " " + c.Reason
		}
		return ""
	}
}

var _ = Describe("Requests for client certificates", Ordered, func() {
	var (
		own    = clientcert.Subject{Namespace: pool.Namespace, Server: "web01", Enrolment: clientcert.NewEnrolment()}
		agent  client.Client
		agents = map[string]clientcert.Subject{}
	)
	BeforeAll(func(ctx SpecContext) {
		for _, namespace := range []string{pool.Namespace, other.Namespace} {
			for _, name := range []string{"web01", "web02"} {
				_, err := env.Kubectl.Plugin(ctx, env.Programs.Plugin, "enroll", "-n", namespace, "--credential=certificate", "--server="+env.ControlPlane.Config().Host, "frontends/"+name)
				Expect(err).NotTo(HaveOccurred())
				var account corev1.ServiceAccount
				Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &account)).To(Succeed())
				agents[namespace+"/"+name] = clientcert.Subject{Namespace: namespace, Server: name, Enrolment: account.Annotations[clientcert.EnrolmentAnnotation]}
			}
		}
		own = agents[pool.Namespace+"/web01"]
		agent = clientFor(withToken(ctx, pool.Namespace, "web01", "web01-agent"))
		// All policies act once the API server has read them.
		Eventually(func() error {
			w := requestOf(own)
			w.object.Spec.ExpirationSeconds = new(int32(604801))
			_, err := w.ask(ctx, agent)
			return err
		}).Should(refusedBy("ems-agent-requests"))
	}, NodeTimeout(time.Minute))

	DescribeTable("are refused by the API server", func(ctx SpecContext, change func(*wanted), by OmegaMatcher) {
		w := requestOf(own)
		change(w)
		_, err := w.ask(ctx, agent)
		Expect(err).To(by)
	},
		Entry("of another signer", func(w *wanted) { w.object.Spec.SignerName = "kubernetes.io/kube-apiserver-client-kubelet" }, refusedBy("ems-agent-requests")),
		Entry("of a signer that nobody knows", func(w *wanted) { w.object.Spec.SignerName = "contoso.example/signer" }, refusedBy("ems-agent-requests")),
		Entry("for a server's certificate", func(w *wanted) {
			w.object.Spec.Usages = []certificatesv1.KeyUsage{certificatesv1.UsageServerAuth, certificatesv1.UsageDigitalSignature}
		}, refusedBy("ems-agent-requests")),
		Entry("for signing others", func(w *wanted) { w.object.Spec.Usages = append(w.object.Spec.Usages, certificatesv1.UsageCertSign) }, refusedBy("ems-agent-requests")),
		Entry("for a usage too few", func(w *wanted) { w.object.Spec.Usages = w.object.Spec.Usages[:1] }, refusedBy("ems-agent-requests")),
		Entry("for eight days", func(w *wanted) { w.object.Spec.ExpirationSeconds = new(int32(8 * 86400)) }, refusedBy("ems-agent-requests")),
		Entry("for as long as the signer likes", func(w *wanted) { w.object.Spec.ExpirationSeconds = nil }, refusedBy("ems-agent-requests")),
		Entry("for an administrator", func(w *wanted) { w.content.Subject.Organization = []string{"system:masters"} }, Satisfy(apierrors.IsForbidden)),
		Entry("for one's groups and those of an administrator", func(w *wanted) {
			w.content.Subject.Organization = append(w.content.Subject.Organization, "system:masters")
		}, Satisfy(apierrors.IsForbidden)),
	)

	DescribeTable("are denied by the manager", func(ctx SpecContext, reason string, change func(*wanted)) {
		w := requestOf(own)
		change(w)
		made, err := w.ask(ctx, agent)
		Expect(err).NotTo(HaveOccurred())
		Eventually(decision(ctx, made.Name)).Should(Equal("Denied " + reason))
	},
		Entry("in the name of another server", "SubjectNotAllowed", func(w *wanted) { w.content.Subject.CommonName = "system:serviceaccount:pool-a:web02" }),
		Entry("in the name of a server of another pool", "SubjectNotAllowed", func(w *wanted) { w.content.Subject.CommonName = "system:serviceaccount:pool-b:web01" }),
		Entry("in the name of the manager", "SubjectNotAllowed", func(w *wanted) { w.content.Subject.CommonName = "system:serviceaccount:ems-system:ems-manager" }),
		Entry("in the name of a person", "SubjectNotAllowed", func(w *wanted) { w.content.Subject.CommonName = "admin" }),
		Entry("with a second name", "SubjectNotAllowed", func(w *wanted) {
			w.content.Subject.ExtraNames = []pkix.AttributeTypeAndValue{
				{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "admin"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: own.User()},
			}
		}),
		Entry("with the group of nodes", "SubjectNotAllowed", func(w *wanted) {
			w.content.Subject.Organization = append(w.content.Subject.Organization, "system:nodes")
		}),
		Entry("with the group of another pool", "SubjectNotAllowed", func(w *wanted) {
			w.content.Subject.Organization = append(w.content.Subject.Organization, "system:serviceaccounts:pool-b")
		}),
		Entry("without the enrolment", "SubjectNotAllowed", func(w *wanted) { w.content.Subject.Organization = w.content.Subject.Organization[1:] }),
		Entry("with another enrolment", "SubjectNotAllowed", func(w *wanted) {
			w.content.Subject.Organization[0] = clientcert.EnrolmentGroup + clientcert.NewEnrolment()
		}),
		Entry("with a host", "SubjectNotAllowed", func(w *wanted) { w.content.DNSNames = []string{"kubernetes.default.svc"} }),
		Entry("with an address", "SubjectNotAllowed", func(w *wanted) { w.content.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }),
		Entry("with a URI", "SubjectNotAllowed", func(w *wanted) { w.content.URIs = []*url.URL{{Scheme: "spiffe", Host: "contoso.example"}} }),
		Entry("with a mail address", "SubjectNotAllowed", func(w *wanted) { w.content.EmailAddresses = []string{"erin@contoso.example"} }),
		Entry("with an extension", "SubjectNotAllowed", func(w *wanted) {
			w.content.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{0x30, 3, 1, 1, 0xff}}}
		}),
		Entry("with an RSA key", "SubjectNotAllowed", func(w *wanted) {
			var err error
			w.key, err = rsa.GenerateKey(rand.Reader, 2048)
			Expect(err).NotTo(HaveOccurred())
		}),
	)

	It("are judged by who asks, not by what they say", func(ctx SpecContext) {
		By("another server of the pool, and one of another pool, in the name of this one")
		for _, of := range []string{"pool-a/web02", "pool-b/web01"} {
			namespace, name, _ := strings.Cut(of, "/")
			made, err := requestOf(own).ask(ctx, clientFor(withToken(ctx, namespace, name, name+"-agent")))
			Expect(err).NotTo(HaveOccurred())
			Eventually(decision(ctx, made.Name)).Should(Equal("Denied SubjectNotAllowed"), of)
		}
		By("a token that is good for one enrolment, in another name")
		bootstrap := clientFor(withToken(ctx, pool.Namespace, "web01", "web01-bootstrap"))
		made, err := requestOf(agents["pool-a/web02"]).ask(ctx, bootstrap)
		Expect(err).NotTo(HaveOccurred())
		Eventually(decision(ctx, made.Name)).Should(Equal("Denied SubjectNotAllowed"))

		By("a server that has tokens")
		_, err = env.Kubectl.Plugin(ctx, env.Programs.Plugin, "enroll", "-n", pool.Namespace, "frontends/web03")
		Expect(err).NotTo(HaveOccurred())
		tokens := clientcert.Subject{Namespace: pool.Namespace, Server: "web03", Enrolment: own.Enrolment}
		made, err = requestOf(tokens).ask(ctx, clientFor(withToken(ctx, pool.Namespace, "web03", "web03-agent")))
		Expect(err).NotTo(HaveOccurred())
		Eventually(decision(ctx, made.Name)).Should(Equal("Denied NotEnrolledForCertificates"))

		By("a user without rights, and one who may ask for certificates")
		_, err = requestOf(own).ask(ctx, clientFor(asUser("erin")))
		Expect(err).To(Satisfy(apierrors.IsForbidden))
		Expect(env.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "erin"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ems-agent-certificates"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "erin"}},
		})).To(Succeed())
		var left *certificatesv1.CertificateSigningRequest
		Eventually(func() error {
			left, err = requestOf(own).ask(ctx, clientFor(asUser("erin")))
			return err
		}).Should(Succeed())

		By("the server itself, before and after it used its string")
		for _, as := range []client.Client{bootstrap, agent} {
			made, err = requestOf(own).ask(ctx, as)
			Expect(err).NotTo(HaveOccurred())
			Eventually(decision(ctx, made.Name)).Should(Equal("Approved AgentOfPool"))
		}
		Expect(decision(ctx, left.Name)()).To(BeEmpty(), "requests of people are left to people")

		By("the manager's credential in other hands")
		config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(env.Dir, "manager.kubeconfig"))
		Expect(err).NotTo(HaveOccurred())
		manager := clientFor(config)
		left.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "Forged"}}
		Expect(manager.SubResource("approval").Update(ctx, left)).To(refusedBy("ems-manager-approvals"))
		_, err = requestOf(own).ask(ctx, manager)
		Expect(err).To(Satisfy(apierrors.IsForbidden))
		left.Status.Certificate = []byte("x")
		Expect(manager.Status().Update(ctx, left)).To(Satisfy(apierrors.IsForbidden))
		Expect(manager.Delete(ctx, left)).To(Satisfy(apierrors.IsForbidden))
	}, SpecTimeout(2*time.Minute))

	It("let one wait at a time, the last", func(ctx SpecContext) {
		env.Manager.Stop()
		var names []string
		for range 3 {
			// The API tells seconds apart.
			second := time.Now().Truncate(time.Second)
			Eventually(func() time.Time { return time.Now().Truncate(time.Second) }).Should(BeTemporally(">", second))
			made, err := requestOf(agents["pool-b/web02"]).ask(ctx, clientFor(withToken(ctx, "pool-b", "web02", "web02-agent")))
			Expect(err).NotTo(HaveOccurred())
			names = append(names, made.Name)
		}
		Expect(env.StartManager(ctx)).To(Succeed())
		counts := func() map[string]int {
			found := map[string]int{}
			for _, name := range names {
				found[decision(ctx, name)()]++
			}
			return found
		}
		Eventually(counts).Should(Equal(map[string]int{"Approved AgentOfPool": 1, "Denied Superseded": 2}))
	}, SpecTimeout(2*time.Minute))

	It("go to no other signer while the RoleBinding of the pool is away", func(ctx SpecContext) {
		stopped := clientFor(withToken(ctx, other.Namespace, "web01", "web01-agent"))
		binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: other.Namespace, Name: "ems-agents"}}
		Expect(env.Client.Delete(ctx, binding)).To(Succeed())
		Eventually(func() error {
			return stopped.Get(ctx, client.ObjectKey{Namespace: other.Namespace, Name: "web01"}, &emsv1.PoolServer{})
		}).Should(Satisfy(apierrors.IsForbidden))
		w := requestOf(agents[other.Namespace+"/web01"])
		w.object.Spec.SignerName = "contoso.example/signer"
		_, err := w.ask(ctx, stopped)
		Expect(err).To(refusedBy("ems-agent-requests"))
	}, SpecTimeout(time.Minute))
})
