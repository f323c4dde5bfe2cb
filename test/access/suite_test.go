package access_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/testenv"
)

// The namespaces and servers of the tests. Each pool has a web01, so that a policy that looks at names alone is found out.
const (
	ownPool   = "pool-a"
	otherPool = "pool-b"
	manager   = "ems-system"

	ownServer   = "web01"
	otherServer = "web02"

	credentialType = corev1.SecretType("ems.mitigation.dev/credential")
	ceiling        = "ems.mitigation.dev/token-ceiling-seconds"
	longLived      = "ems.mitigation.dev/long-lived"
)

var env *testenv.Environment

func TestAccess(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a control plane; make test brings one")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	RunSpecs(t, "Access suite")
}

var _ = AfterSuite(func() { env.Stop() })

// address is the URL of the API server.
func address() string {
	host := strings.TrimSuffix(env.Config.Host, "/")
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	return host
}

// install applies a folder of config, as an operator does, with kubectl.
func install(ctx context.Context, folder string) {
	const name = "admin"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: address(), CertificateAuthorityData: env.Config.CAData}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: env.Config.CertData, ClientKeyData: env.Config.KeyData}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	dir := GinkgoT().TempDir()
	file := filepath.Join(dir, "kubeconfig")
	Expect(clientcmd.WriteToFile(*config, file)).To(Succeed())
	command := exec.CommandContext(ctx, filepath.Join(testenv.AssetsDirectory(), "kubectl"), "--cache-dir="+dir,
		"apply", "--server-side", "--force-conflicts", "-k", filepath.Join(testenv.Root(), "config", folder))
	command.Env = append(os.Environ(), "KUBECONFIG="+file)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}

// enrol makes what enrolment makes for a server.
func enrol(ctx context.Context, namespace, server, pool string) {
	owner := &emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Name: server, Namespace: namespace, Labels: map[string]string{"ems.mitigation.dev/pool": pool}},
		Spec:       emsv1.PoolServerSpec{PoolName: pool},
	}
	meta := metav1.ObjectMeta{Name: server, Namespace: namespace}
	for _, object := range []client.Object{
		owner, &corev1.ServiceAccount{ObjectMeta: meta}, &coordinationv1.Lease{ObjectMeta: meta},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: server + "-bootstrap", Namespace: namespace}, Type: credentialType},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: server + "-agent", Namespace: namespace}, Type: credentialType},
		&eventsv1.Event{
			ObjectMeta: meta, EventTime: metav1.NowMicro(), ReportingController: "ems-agent", ReportingInstance: server,
			Action: "Apply", Reason: "MitigationApplied", Type: corev1.EventTypeNormal, Regarding: about(namespace, server),
		},
	} {
		Expect(env.Client.Create(ctx, object)).To(Succeed())
	}
	owner.Status.Feeds = []emsv1.ObservedFeed{{Name: "exchange", Sequence: 7}}
	Expect(env.Client.Status().Update(ctx, owner)).To(Succeed())
}

func about(namespace, server string) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: emsv1.GroupVersion.String(), Kind: "PoolServer", Namespace: namespace, Name: server}
}

// addPool makes a pool with two servers, whose agents have the rights that the documents tell operators to give them.
func addPool(ctx context.Context, namespace string) {
	Expect(env.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
	agents := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace}
	bind(ctx, namespace, "ems-agent", agents)
	bind(ctx, "", "ems-agent-bundles", agents)
	for _, object := range []client.Object{
		&emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Name: ownServer, Namespace: namespace, Labels: map[string]string{"tier": "production"}},
			Spec:       emsv1.PoolMitigationConfigSpec{PoolFQDN: "pool.contoso.com"},
		},
		&emsv1.MitigationPlan{
			ObjectMeta: metav1.ObjectMeta{Name: ownServer, Namespace: namespace}, Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce},
		},
	} {
		Expect(env.Client.Create(ctx, object)).To(Succeed())
	}
	for _, server := range []string{ownServer, otherServer} {
		enrol(ctx, namespace, server, ownServer)
	}
}

// bind binds a role in a namespace, or in the cluster if namespace is empty.
func bind(ctx context.Context, namespace, role string, subject rbacv1.Subject) {
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
	meta := metav1.ObjectMeta{GenerateName: role + "-", Namespace: namespace}
	if namespace == "" {
		Expect(env.Client.Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: []rbacv1.Subject{subject}})).To(Succeed())
		return
	}
	Expect(env.Client.Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: []rbacv1.Subject{subject}})).To(Succeed())
}

// careless is a user, and a role.
const careless = "careless"

func carelessRole() *rbacv1.ClusterRole {
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	return &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: careless},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{emsv1.GroupVersion.Group}, Verbs: verbs, Resources: []string{
				"mitigationbundles", "mitigationconfigurations", "mitigationfeeds", "mitigationplans", "mitigations", "poolmitigationconfigs",
				"poolservers", "mitigationconfigurations/status", "mitigationfeeds/status", "mitigations/status", "poolmitigationconfigs/status",
				"poolservers/status",
			}},
			{APIGroups: []string{"coordination.k8s.io"}, Verbs: verbs, Resources: []string{"leases"}},
			{APIGroups: []string{"events.k8s.io"}, Verbs: verbs, Resources: []string{"events"}},
			{APIGroups: []string{""}, Verbs: verbs, Resources: []string{"secrets", "serviceaccounts/token"}},
		},
	}
}

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}
}

// tokenOf asks for a token as enrolment does.
func tokenOf(ctx context.Context, namespace, account, secret string) string {
	request := &authenticationv1.TokenRequest{}
	if secret != "" {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret}
	}
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace}}
	Expect(env.Client.SubResource("token").Create(ctx, of, request)).To(Succeed())
	return request.Status.Token
}

// withToken is a connection that has nothing but a token.
func withToken(token string) *rest.Config {
	return &rest.Config{Host: env.Config.Host, TLSClientConfig: rest.TLSClientConfig{CAData: env.Config.CAData}, BearerToken: token, QPS: -1}
}

func agentOf(ctx context.Context, namespace, server string) *rest.Config {
	return withToken(tokenOf(ctx, namespace, server, server+"-agent"))
}

func clientFor(config *rest.Config) client.Client {
	config = rest.CopyConfig(config)
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: env.Scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// One set of pools for all specs: policies take a second to act, and what the specs may write is little.
var _ = BeforeSuite(func(ctx context.Context) {
	env = testenv.Start()
	install(ctx, "default")
	for _, namespace := range []string{ownPool, otherPool} {
		addPool(ctx, namespace)
	}
	// Roles as somebody might write them who does not know better: all verbs by name on all objects of EMS and on what agents use.
	Expect(env.Client.Create(ctx, carelessRole())).To(Succeed())
	bind(ctx, "", careless, user(careless))
	bind(ctx, ownPool, "ems-pool-operator", user("operator"))
	bind(ctx, ownPool, "ems-enroller", user("enroller"))
	bind(ctx, "", "ems-viewer", user("viewer"))
	bind(ctx, "", "ems-admin", user("admin"))
	bind(ctx, "", "ems-break-glass", user("firefighter"))
	// All policies act once the API server has read the last of them; each is asked for by what it alone refuses.
	agent, operator := clientFor(agentOf(ctx, ownPool, ownServer)), clientFor(env.User("operator"))
	for _, try := range []func() error{
		func() error { return forgeStatus(ctx, agent, ownPool, otherServer) },
		func() error { return touchLease(ctx, agent, ownPool, otherServer) },
		func() error { return deleteSecret(ctx, agent, ownPool, otherServer+"-bootstrap") },
		func() error { return askToken(ctx, agent, ownPool, otherServer, otherServer+"-agent", 3600) },
		func() error { return askToken(ctx, agent, ownPool, ownServer, ownServer+"-agent", 90000) },
		func() error { return createEvent(ctx, agent, ownPool, about(ownPool, otherServer), "ems-agent") },
		func() error { return clientFor(env.User(careless)).Create(ctx, plan(ownPool, "forged")) },
		func() error { return relabel(ctx, operator, ownPool) },
	} {
		Eventually(try).Should(Satisfy(apierrors.IsForbidden))
	}
})
