package certificates_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"mitigation.dev/ems/test/harness"
)

// life is that of certificates unless a spec says otherwise: long enough for a busy machine, short enough to see one renewed.
const life = 90 * time.Second

const feed = "contoso"

// signed is how long certificates live that are signed now.
var signed atomic.Int64

var (
	env   *harness.Environment
	pool  = harness.Pool{Name: "frontends", Namespace: "pool-a", FQDN: "mail.contoso.example", Rollout: harness.AtOnce()}
	other = harness.Pool{Name: "frontends", Namespace: "pool-b", FQDN: "mail.contoso.example", Rollout: harness.AtOnce()}
)

func TestCertificates(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a control plane; make test brings one")
	}
	RegisterFailHandler(Fail)
	logf.SetLogger(GinkgoLogr)
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	EnforceDefaultTimeoutsWhenUsingContexts()
	RunSpecs(t, "Certificates suite")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	env, err = harness.Prepare(ctx, GinkgoT().TempDir(), "")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(env.Stop)
	env.ManagerFlags = []string{"--client-certificates"}
	Expect(env.Start(ctx)).To(Succeed())
	_, err = env.Kubectl.Run(ctx, "apply", "--server-side", "--force-conflicts", "-k", filepath.Join(env.Root, "config", "certificates"))
	Expect(err).NotTo(HaveOccurred())
	signed.Store(int64(life))
	DeferCleanup(env.StartSigner(ctx, func() time.Duration { return time.Duration(signed.Load()) }))
	Expect(env.Apply(ctx, env.Feed(feed, env.Publisher.Trust()))).To(Succeed())
	document, err := env.Publisher.Publish(harness.M1())
	Expect(err).NotTo(HaveOccurred())
	env.Endpoint.Serve(document)
	_, err = env.Poll(ctx, feed, time.Minute)
	Expect(err).NotTo(HaveOccurred())
	for _, p := range []harness.Pool{pool, other} {
		Expect(env.AddPool(ctx, p)).To(Succeed())
		Expect(env.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "ems-agents-certificates-" + p.Namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ems-agent-certificates"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + p.Namespace}},
		})).To(Succeed())
	}
}, NodeTimeout(5*time.Minute))

var _ = ReportAfterEach(func(ctx SpecContext, report SpecReport) {
	if report.Failed() && env != nil {
		AddReportEntry("how everything stands", env.Diagnose(context.WithoutCancel(ctx)))
	}
})

// withToken reaches the API server as a ServiceAccount, with a token that is bound to a Secret.
func withToken(ctx context.Context, namespace, account, secret string) *rest.Config {
	GinkgoHelper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret},
	}}
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace}}
	Expect(env.Client.SubResource("token").Create(ctx, of, request)).To(Succeed())
	config := rest.AnonymousClientConfig(env.ControlPlane.Config())
	config.BearerToken = request.Status.Token
	return config
}

// asUser reaches the API server as somebody with a certificate.
func asUser(name string, groups ...string) *rest.Config {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(env.ControlPlane.UserKubeconfig(file, name, groups...)).To(Succeed())
	config, err := clientcmd.BuildConfigFromFlags("", file)
	Expect(err).NotTo(HaveOccurred())
	return config
}

func clientFor(config *rest.Config) client.Client {
	GinkgoHelper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: env.Client.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// refusedBy matches the error of a policy.
func refusedBy(policy string) OmegaMatcher {
	return And(Satisfy(apierrors.IsForbidden), MatchError(ContainSubstring("ValidatingAdmissionPolicy '"+policy+"'")))
}
