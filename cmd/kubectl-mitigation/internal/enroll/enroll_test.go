//go:build !windows

package enroll

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/spf13/pflag"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent/credential"
	agentenroll "mitigation.dev/ems/agent/enroll"
	"mitigation.dev/ems/agent/identity"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/internal/pause"
	"mitigation.dev/ems/test/testenv"
)

// operator is somebody with the role ems-enroller in the namespace of a pool, at a terminal.
type operator struct {
	namespace, kubeconfig string
	// paused is how often the verb waited.
	paused int
}

// installed is whether roles and policies are in the cluster.
var installed bool

func newOperator(ctx context.Context) *operator {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	if !installed {
		admin := filepath.Join(dir, "admin")
		writeKubeconfig(admin, env.User("admin", "system:masters"), "default")
		Expect(client.IgnoreAlreadyExists(env.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ems-system"}}))).To(Succeed())
		for _, folder := range []string{"rbac", "admission"} {
			command := exec.CommandContext(ctx, filepath.Join(testenv.AssetsDirectory(), "kubectl"), "--kubeconfig="+admin, "--cache-dir="+dir, "apply", "--server-side", "-k", filepath.Join(testenv.Root(), "config", folder))
			output, err := command.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(output))
		}
		installed = true
	}
	o := &operator{namespace: env.Namespace(ctx), kubeconfig: filepath.Join(dir, "kubeconfig")}
	writeKubeconfig(o.kubeconfig, env.User("erin", "enrollers"), o.namespace)
	Expect(env.Client.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "enrollers", Namespace: o.namespace},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ems-enroller"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "enrollers"}},
	})).To(Succeed())
	Expect(env.Client.Create(ctx, &emsv1.PoolMitigationConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: o.namespace}, Spec: emsv1.PoolMitigationConfigSpec{PoolFQDN: "mail.contoso.example"},
	})).To(Succeed())
	return o
}

func writeKubeconfig(name string, user *rest.Config, namespace string) {
	GinkgoHelper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: "https://" + strings.TrimPrefix(user.Host, "https://"), CertificateAuthorityData: user.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: user.CertData, ClientKeyData: user.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: namespace}
	config.CurrentContext = "x"
	Expect(clientcmd.WriteToFile(*config, name)).To(Succeed())
}

// run runs the verb without its pauses.
func (o *operator) run(ctx context.Context, arguments ...string) (stdout, stderr string, err error) {
	GinkgoHelper()
	return o.runWith(ctx, func(context.Context, time.Duration) error { o.paused++; return nil }, arguments...)
}

func (o *operator) runWith(ctx context.Context, pause func(context.Context, time.Duration) error, arguments ...string) (stdout, stderr string, err error) {
	GinkgoHelper()
	var out, errs bytes.Buffer
	flags := pflag.NewFlagSet("enroll", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	run := bind(cli.World{Stdout: &out, Stderr: &errs, Now: time.Now, Getenv: os.Getenv}, flags, pause)
	Expect(flags.Parse(append([]string{"--kubeconfig", o.kubeconfig}, arguments...))).To(Succeed())
	err = run(ctx, flags.Args())
	return out.String(), errs.String(), err
}

// enroll enrols servers and returns what was printed of them.
func (o *operator) enroll(ctx context.Context, arguments ...string) []Enrollment {
	GinkgoHelper()
	stdout, stderr, err := o.run(ctx, append([]string{"-o", "json"}, arguments...)...)
	Expect(err).NotTo(HaveOccurred(), stderr)
	Expect(stderr).NotTo(ContainSubstring(identity.Prefix))
	var list []Enrollment
	Expect(json.Unmarshal([]byte(stdout), &list)).To(Succeed())
	return list
}

// join does on a server what the printed command does, and returns the state folder of its agent.
func join(ctx context.Context, e Enrollment) (stateDir string) {
	GinkgoHelper()
	stateDir = GinkgoT().TempDir()
	result, err := agentenroll.Run(ctx, agentenroll.Options{Text: e.Token, StateDir: stateDir, HostName: e.Server})
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Already).To(BeFalse())
	return stateDir
}

// agentOf is a client with the credential of a server.
func agentOf(stateDir string) (client.Client, *credential.Source) {
	GinkgoHelper()
	source, err := credential.NewSource(credential.Options{Store: credential.Open(stateDir)})
	Expect(err).NotTo(HaveOccurred())
	c, err := client.New(source.Config(), client.Options{Scheme: env.Scheme})
	Expect(err).NotTo(HaveOccurred())
	return c, source
}

func read(ctx context.Context, c client.Client, namespace, server string) error {
	return c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: server}, &emsv1.PoolServer{})
}

var _ = Describe("Enrolment", func() {
	It("marks a server as one of the manager that works for its pool", func(ctx SpecContext) {
		o := newOperator(ctx)
		pool := &emsv1.PoolMitigationConfig{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "frontends"}, pool)).To(Succeed())
		pool.Labels = map[string]string{emsv1.ShardLabel: "europe"}
		Expect(env.Client.Update(ctx, pool)).To(Succeed())
		pool = &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "backends", Namespace: o.namespace}, Spec: emsv1.PoolMitigationConfigSpec{PoolFQDN: "db.contoso.example"}}
		Expect(env.Client.Create(ctx, pool)).To(Succeed())
		o.enroll(ctx, "frontends/fe01", "backends/be01")
		for name, want := range map[string]map[string]string{
			"fe01": {identity.PoolLabel: "frontends", emsv1.ShardLabel: "europe"}, "be01": {identity.PoolLabel: "backends"},
		} {
			server, lease := &emsv1.PoolServer{}, &coordinationv1.Lease{}
			key := client.ObjectKey{Namespace: o.namespace, Name: name}
			Expect(env.Client.Get(ctx, key, server)).To(Succeed())
			Expect(server.Labels).To(Equal(want))
			Expect(env.Client.Get(ctx, key, lease)).To(Succeed())
			Expect(lease.Labels).NotTo(HaveKey(emsv1.ShardLabel))
		}
	})

	It("makes a server a member of its pool, once for each string", func(ctx SpecContext) {
		o := newOperator(ctx)
		list := o.enroll(ctx, "--host-name", "fe01.contoso.example", "frontends/fe01")
		Expect(list).To(HaveLen(1))
		Expect(o.paused).To(BeZero(), "nothing was revoked, so there is nothing to wait for")
		Expect(list[0].ExpiryTime).To(BeTemporally("~", time.Now().Add(time.Hour), time.Minute))

		By("writing what the identity consists of")
		var server emsv1.PoolServer
		key := client.ObjectKey{Namespace: o.namespace, Name: "fe01"}
		Expect(env.Client.Get(ctx, key, &server)).To(Succeed())
		Expect(server.Spec).To(Equal(emsv1.PoolServerSpec{PoolName: "frontends", HostName: "fe01.contoso.example"}))
		var account corev1.ServiceAccount
		Expect(env.Client.Get(ctx, key, &account)).To(Succeed())
		Expect(account.OwnerReferences).To(ConsistOf(HaveField("UID", server.UID)))
		Expect(account.Annotations).NotTo(HaveKey(identity.CeilingAnnotation))
		Expect(account.AutomountServiceAccountToken).To(HaveValue(BeFalse()))
		var lease coordinationv1.Lease
		Expect(env.Client.Get(ctx, key, &lease)).To(Succeed())
		Expect(lease.OwnerReferences).To(ConsistOf(HaveField("UID", server.UID)))
		for _, name := range []string{"fe01-agent", "fe01-bootstrap"} {
			var secret corev1.Secret
			Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: name}, &secret)).To(Succeed())
			Expect(secret.Data).To(BeEmpty())
			Expect(secret.OwnerReferences).To(ConsistOf(HaveField("UID", account.UID)))
		}

		By("exchanging the string on the server")
		stateDir := join(ctx, list[0])
		err := env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "fe01-bootstrap"}, &corev1.Secret{})
		Expect(apierrors.IsNotFound(err)).To(BeTrue(), "the string's Secret: %v", err)
		agent, source := agentOf(stateDir)
		Expect(read(ctx, agent, o.namespace, "fe01")).To(Succeed())
		Expect(source.Expiry()).To(BeTemporally("~", time.Now().Add(24*time.Hour), time.Minute))
		var own coordinationv1.Lease
		Expect(agent.Get(ctx, key, &own)).To(Succeed())
		own.Spec.RenewTime = new(metav1.NowMicro())
		Expect(agent.Update(ctx, &own)).To(Succeed())

		By("renewing")
		there, err := credential.Open(stateDir).Load()
		Expect(err).NotTo(HaveOccurred())
		grant, err := credential.Request(ctx, source.Config(), there.Identity, there.Asked)
		Expect(err).NotTo(HaveOccurred())
		Expect(grant.Life).To(Equal(24 * time.Hour))

		By("refusing the string elsewhere")
		Eventually(func() error {
			_, err := agentenroll.Run(ctx, agentenroll.Options{Text: list[0].Token, StateDir: GinkgoT().TempDir(), HostName: "fe01"})
			return err
		}).WithTimeout(identity.ForgetAfter).WithPolling(time.Second).Should(MatchError(agentenroll.ErrRefused))
		Expect(read(ctx, agent, o.namespace, "fe01")).To(Succeed(), "the attempts must not cost the server its credential")
	}, SpecTimeout(2*time.Minute))

	It("ends credentials within fifteen seconds", func(ctx SpecContext) {
		o := newOperator(ctx)
		agents := map[string]client.Client{}
		for _, e := range o.enroll(ctx, "frontends/fe01", "frontends/fe02") {
			agents[e.Server], _ = agentOf(join(ctx, e))
		}
		for server, agent := range agents {
			Expect(read(ctx, agent, o.namespace, server)).To(Succeed())
		}
		begin := time.Now()
		// With the pause that a user waits through: what the command says is true when it returns.
		stdout, _, err := o.runWith(ctx, pause.For, "--revoke", "frontends/fe01")
		Expect(err).NotTo(HaveOccurred())
		Expect(stdout).To(Equal("frontends/fe01: revoked\n"))
		err = read(ctx, agents["fe01"], o.namespace, "fe01")
		Expect(apierrors.IsUnauthorized(err)).To(BeTrue(), "after %v: %v", time.Since(begin), err)
		Expect(read(ctx, agents["fe02"], o.namespace, "fe02")).To(Succeed(), "another server")

		stdout, _, err = o.run(ctx, "--revoke", "--remove", "frontends/fe01", "frontends/fe02")
		Expect(err).NotTo(HaveOccurred())
		Expect(stdout).To(Equal("frontends/fe01: had no credential, removed\nfrontends/fe02: revoked, removed\n"))
		for _, object := range []client.Object{&emsv1.PoolServer{}, &corev1.ServiceAccount{}, &coordinationv1.Lease{}} {
			err := env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "fe02"}, object)
			Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%T: %v", object, err)
		}
		begin = time.Now()
		Eventually(func() bool { return apierrors.IsUnauthorized(read(ctx, agents["fe02"], o.namespace, "fe02")) }).
			WithTimeout(identity.ForgetAfter).WithPolling(200 * time.Millisecond).Should(BeTrue())
		AddReportEntry("refused after", time.Since(begin).String())
	}, SpecTimeout(2*time.Minute))

	It("enrols again what is asked for, and nothing by mistake", func(ctx SpecContext) {
		o := newOperator(ctx)
		first := o.enroll(ctx, "frontends/fe01", "frontends/fe02")
		old, _ := agentOf(join(ctx, first[0]))
		stdout, _, err := o.run(ctx, "-o", "json", "frontends/fe01", "frontends/fe02")
		Expect(err).To(MatchError(ContainSubstring("frontends/fe01: is enrolled already")))
		var list []Enrollment
		Expect(json.Unmarshal([]byte(stdout), &list)).To(Succeed())
		Expect(list).To(ConsistOf(HaveField("Server", "fe02")), "a string that was not used is replaced")
		Expect(o.paused).To(Equal(1), "the old string of fe02 has to be forgotten before there is a new one")
		Expect(read(ctx, old, o.namespace, "fe01")).To(Succeed())

		By("the string that was replaced is worth nothing")
		_, err = agentenroll.Run(ctx, agentenroll.Options{Text: first[1].Token, StateDir: GinkgoT().TempDir(), HostName: "fe02"})
		Expect(err).To(MatchError(agentenroll.ErrRefused))

		By("asking for it")
		again := o.enroll(ctx, "--again", "frontends/fe01")
		Expect(o.paused).To(Equal(2))
		fresh, _ := agentOf(join(ctx, again[0]))
		Expect(read(ctx, fresh, o.namespace, "fe01")).To(Succeed())
		Eventually(func() bool { return apierrors.IsUnauthorized(read(ctx, old, o.namespace, "fe01")) }).WithTimeout(identity.ForgetAfter).Should(BeTrue())
	}, SpecTimeout(2*time.Minute))

	It("gives tokens that last longer only where the operator allows it", func(ctx SpecContext) {
		o := newOperator(ctx)
		list := o.enroll(ctx, "--max-lifetime", "168h", "frontends/fe01")
		there, err := credential.Open(join(ctx, list[0])).Load()
		Expect(err).NotTo(HaveOccurred())
		Expect(there.Life).To(Equal(7 * 24 * time.Hour))

		By("taking the permission back, and asking all the same")
		list = o.enroll(ctx, "frontends/fe02")
		ticket, err := identity.Decode(list[0].Token)
		Expect(err).NotTo(HaveOccurred())
		ticket.Lifetime = 7 * 24 * time.Hour
		list[0].Token, err = ticket.Encode()
		Expect(err).NotTo(HaveOccurred())
		there, err = credential.Open(join(ctx, list[0])).Load()
		Expect(err).NotTo(HaveOccurred())
		Expect(there.Life).To(Equal(24 * time.Hour))
	}, SpecTimeout(time.Minute))

	It("gives a server nothing of another one", func(ctx SpecContext) {
		o := newOperator(ctx)
		list := o.enroll(ctx, "frontends/fe01", "frontends/fe02")
		ticket, err := identity.Decode(list[0].Token)
		Expect(err).NotTo(HaveOccurred())
		ticket.Server = "fe02"
		forged, err := ticket.Encode()
		Expect(err).NotTo(HaveOccurred())
		stateDir := GinkgoT().TempDir()
		_, err = agentenroll.Run(ctx, agentenroll.Options{Text: forged, StateDir: stateDir, HostName: "fe02"})
		Expect(err).To(MatchError(agentenroll.ErrRights))
		Expect(err).To(MatchError(ContainSubstring("only for its own")))
		_, err = credential.Open(stateDir).Load()
		Expect(err).To(MatchError(credential.ErrNone))
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "fe02-bootstrap"}, &corev1.Secret{})).To(Succeed())
	}, SpecTimeout(time.Minute))

	It("believes no other authority than that of the string", func(ctx SpecContext) {
		o := newOperator(ctx)
		list := o.enroll(ctx, "frontends/fe01")
		ticket, err := identity.Decode(list[0].Token)
		Expect(err).NotTo(HaveOccurred())
		other := testAuthority()
		Expect(ticket.CA[0].Equal(other)).To(BeFalse())
		ticket.CA[0] = other
		text, err := ticket.Encode()
		Expect(err).NotTo(HaveOccurred())
		_, err = agentenroll.Run(ctx, agentenroll.Options{Text: text, StateDir: GinkgoT().TempDir(), HostName: "fe01"})
		Expect(err).To(MatchError(agentenroll.ErrAuthority))
	}, SpecTimeout(time.Minute))

	It("makes a Lease again that somebody deleted", func(ctx SpecContext) {
		o := newOperator(ctx)
		join(ctx, o.enroll(ctx, "frontends/fe01")[0])
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "fe01"}}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(lease), lease)).To(Succeed())
		before := lease.DeepCopy()
		Expect(env.Client.Delete(ctx, lease)).To(Succeed())
		_, stderr, err := o.run(ctx, "frontends/fe01")
		Expect(err).To(MatchError(errEnrolled))
		Expect(stderr).To(ContainSubstring("its Lease was missing and is there again"))
		after := &coordinationv1.Lease{}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(lease), after)).To(Succeed())
		Expect(after.Labels).To(Equal(before.Labels))
		Expect(after.OwnerReferences).To(Equal(before.OwnerReferences))
		_, stderr, err = o.run(ctx, "frontends/fe01")
		Expect(err).To(MatchError(errEnrolled))
		Expect(stderr).NotTo(ContainSubstring("Lease"))
	}, SpecTimeout(time.Minute))

	It("follows the authority when it changes slowly", func(ctx SpecContext) {
		o := newOperator(ctx)
		stateDir := join(ctx, o.enroll(ctx, "frontends/fe01")[0])
		next := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: testAuthority().Raw}))
		Expect(env.Client.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: "kube-root-ca.crt"}, Data: map[string]string{"ca.crt": string(env.Config.CAData) + next},
		})).To(Succeed())
		source, err := credential.NewSource(credential.Options{Store: credential.Open(stateDir), Random: func() float64 { return 0 }})
		Expect(err).NotTo(HaveOccurred())
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- source.Run(running) }()
		Eventually(func() (string, error) {
			there, err := credential.Open(stateDir).Load()
			return there.CA, err
		}).Should(Equal(string(env.Config.CAData) + next))
		stop()
		Eventually(ended).Should(Receive(Not(HaveOccurred())))
	}, SpecTimeout(time.Minute))

	It("changes nothing in a dry run, and shows no secret", func(ctx SpecContext) {
		o := newOperator(ctx)
		stdout, _, err := o.run(ctx, "--dry-run", "client", "-o", "yaml", "frontends/fe01")
		Expect(err).NotTo(HaveOccurred())
		for _, want := range []string{"kind: PoolServer", "kind: ServiceAccount", "kind: Lease", "name: fe01-agent", "name: fe01-bootstrap"} {
			Expect(stdout).To(ContainSubstring(want))
		}
		Expect(stdout).NotTo(ContainSubstring(identity.Prefix))
		for _, object := range []client.Object{&emsv1.PoolServer{}, &corev1.ServiceAccount{}} {
			err := env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "fe01"}, object)
			Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%T: %v", object, err)
		}
		o.enroll(ctx, "frontends/fe01")
		stdout, _, err = o.run(ctx, "--dry-run", "client", "--revoke", "--remove", "frontends/fe01")
		Expect(err).NotTo(HaveOccurred())
		Expect(stdout).To(Equal("frontends/fe01: would be revoked (dry run)\n"))
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "fe01-agent"}, &corev1.Secret{})).To(Succeed())
	}, SpecTimeout(time.Minute))

	It("leaves alone what belongs to others", func(ctx SpecContext) {
		o := newOperator(ctx)
		meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: o.namespace} }
		Expect(env.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta("build")})).To(Succeed())
		Expect(env.Client.Create(ctx, &corev1.Secret{ObjectMeta: meta("fe03-agent"), StringData: map[string]string{"key": "x"}})).To(Succeed())
		Expect(env.Client.Create(ctx, &emsv1.PoolServer{ObjectMeta: meta("be01"), Spec: emsv1.PoolServerSpec{PoolName: "backends"}})).To(Succeed())
		for operand, says := range map[string]string{
			"frontends/build":   "not marked as one of a server",
			"frontends/fe03":    "of type \"Opaque\"",
			"frontends/be01":    "belongs to pool \"backends\"",
			"nowhere/fe01":      "no PoolMitigationConfig",
			"frontends/default": "every namespace's own ServiceAccount",
		} {
			for _, verb := range [][]string{nil, {"--revoke", "--remove"}} {
				if operand == "nowhere/fe01" && verb != nil {
					continue // a pool that is gone is no reason not to revoke
				}
				_, _, err := o.run(ctx, append(verb, operand)...)
				Expect(err).To(MatchError(ContainSubstring(says)), "%v %s", verb, operand)
			}
		}
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "fe03-agent"}, &corev1.Secret{})).To(Succeed())
	}, SpecTimeout(time.Minute))

	It("takes a list", func(ctx SpecContext) {
		o := newOperator(ctx)
		const servers = 100
		var list strings.Builder
		list.WriteString("pool,server,hostName\n")
		for i := range servers {
			fmt.Fprintf(&list, "frontends,fe%04d,fe%04d.contoso.example\n", i, i)
		}
		file := filepath.Join(GinkgoT().TempDir(), "servers.csv")
		Expect(os.WriteFile(file, []byte(list.String()), 0o600)).To(Succeed())
		begin := time.Now()
		made := o.enroll(ctx, "-f", file)
		AddReportEntry("one server", (time.Since(begin) / servers).String())
		Expect(made).To(HaveLen(servers))
		Expect(made[99].Server).To(Equal("fe0099"), "the order of the list")
		seen := map[string]bool{}
		for _, e := range made {
			seen[e.Token] = true
		}
		Expect(seen).To(HaveLen(servers))
	}, SpecTimeout(3*time.Minute))

	It("explains wrong usage before it asks the cluster", func(ctx SpecContext) {
		o := newOperator(ctx)
		for line, says := range map[string]string{
			"":                          "want one of them",
			"fe01":                      "POOL/SERVER",
			"frontends/fe01 other/fe01": "named once",
			"--host-name a frontends/fe01 frontends/fe2": "one server",
			"--expires 5m frontends/fe01":                "10m0s to 24h",
			"--expires 25h frontends/fe01":               "10m0s to 24h",
			"--max-lifetime 8000h frontends/fe01":        "720h",
			"--remove frontends/fe01":                    "needs --revoke",
			"--revoke --again frontends/fe01":            "--revoke",
			"-o wide frontends/fe01":                     "json, yaml or name",
			"--dry-run server frontends/fe01":            "none or client",
			"--server http://a frontends/fe01":           "https",
			"--ca-file /nowhere/ca.crt frontends/fe01":   "ca-file",
			"-f /nowhere/servers.csv":                    "--file",
		} {
			_, _, err := o.run(ctx, strings.Fields(line)...)
			var usage cli.UsageError
			Expect(errors.As(err, &usage)).To(BeTrue(), "%s: %v", line, err)
			Expect(err).To(MatchError(ContainSubstring(says)), line)
		}
	}, SpecTimeout(time.Minute))
})
