//go:build !windows

// The control plane of the tests does not compile for Windows.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/check"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/describe"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/diff"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight/insighttest"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/tree"
	"mitigation.dev/ems/test/testenv"
)

// stage puts a fleet into the cluster as it stands, and takes it out again.
func stage(ctx context.Context, f *insighttest.Fleet) {
	GinkgoHelper()
	put := func(object client.Object) {
		err := env.Client.Create(ctx, object, client.FieldOwner("test"))
		Expect(err).NotTo(HaveOccurred(), "%s", object.GetName())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(env.Client.Delete(ctx, object))).To(Succeed()) })
	}
	for _, name := range []string{"frontends", "pilots", "branches"} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := env.Client.Create(ctx, namespace); !apierrors.IsAlreadyExists(err) {
			Expect(err).NotTo(HaveOccurred())
		}
	}
	for i := range f.Feeds {
		o := f.Feeds[i].DeepCopy()
		status := o.Status
		put(o)
		o.Status = status
		Expect(env.Client.Status().Update(ctx, o)).To(Succeed())
	}
	for i := range f.Mitigations {
		o := f.Mitigations[i].DeepCopy()
		o.CreationTimestamp = metav1.Time{}
		status := o.Status
		put(o)
		o.Status = status
		Expect(env.Client.Status().Update(ctx, o)).To(Succeed())
	}
	for i := range f.Configurations {
		put(f.Configurations[i].DeepCopy())
	}
	for i := range f.Pools {
		o := f.Pools[i].DeepCopy()
		status := o.Status
		put(o)
		o.Status = status
		o.Status.ObservedGeneration = new(o.Generation)
		Expect(env.Client.Status().Update(ctx, o)).To(Succeed())
	}
	for i := range f.Plans {
		put(f.Plans[i].DeepCopy())
	}
	for i := range f.Servers {
		o := f.Servers[i].DeepCopy()
		status := o.Status
		put(o)
		o.Status = status
		Expect(env.Client.Status().Update(ctx, o)).To(Succeed())
	}
}

// safe is a writer that can be read while it is written.
type safe struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buffer.String()
}

var _ = Describe("The commands that look", Serial, func() {
	now := func() time.Time { return insighttest.Evening }
	run := func(ctx context.Context, t *terminal, stdin string, arguments ...string) (int, string, string) {
		var out, errs bytes.Buffer
		p := &program{stdout: &out, stderr: &errs, now: now}
		if stdin != "" {
			file := filepath.Join(GinkgoT().TempDir(), "stdin.yaml")
			Expect(os.WriteFile(file, []byte(stdin), 0o600)).To(Succeed())
			arguments = append(arguments, "-f", file)
		}
		code := p.run(ctx, append(arguments, "--kubeconfig", t.kubeconfig))
		return code, out.String(), errs.String()
	}

	It("says what is wrong on a bad night, and writes nothing", func(ctx SpecContext) {
		stage(ctx, insighttest.New().Halt())
		for _, e := range insighttest.Events() {
			Expect(env.Client.Create(ctx, &e)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(env.Client.Delete(ctx, &e))).To(Succeed()) })
		}
		person := newTerminal(ctx, "alice")

		code, stdout, stderr := run(ctx, person, "", "tree", "-A")
		Expect(code).To(BeZero(), stderr)
		Expect(stdout).To(And(ContainSubstring("feed contoso"), ContainSubstring("frontends/mail: Halted"), ContainSubstring("mail04: Failed (GateFailed)"), ContainSubstring("mail05: Silent")))
		code, stdout, stderr = run(ctx, person, "", "tree", "frontends/mail", "-o", "json")
		Expect(code).To(BeZero(), stderr)
		var grown tree.Tree
		Expect(json.Unmarshal([]byte(stdout), &grown)).To(Succeed())
		Expect(grown.Feeds).To(HaveLen(1))
		code, _, stderr = run(ctx, person, "", "tree", "nothing", "-A")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("neither a mitigation nor a pool"))

		code, stdout, stderr = run(ctx, person, "", "diff", "frontends/mail")
		Expect(code).To(Equal(1), stderr)
		Expect(stdout).To(ContainSubstring("! 1 failed: mail04"))
		code, stdout, _ = run(ctx, person, "", "diff", "pilots/lab", "-o", "json")
		Expect(code).To(BeZero(), stdout)
		var fleet diff.FleetDiff
		Expect(json.Unmarshal([]byte(stdout), &fleet)).To(Succeed())
		Expect(fleet.Same).To(BeTrue())

		for _, operands := range [][]string{{"M1"}, {"mitigation", "m1"}, {"pool", "frontends/mail"}, {"frontends/mail"}, {"server/frontends/mail04"}, {"feed", "contoso"}} {
			code, stdout, stderr = run(ctx, person, "", append([]string{"describe"}, operands...)...)
			Expect(code).To(BeZero(), stderr)
			Expect(stdout).To(And(ContainSubstring("\nConditions\n"), ContainSubstring("\nEvents\n"), ContainSubstring("\nNext\n")), "%v", operands)
		}
		code, stdout, stderr = run(ctx, person, "", "describe", "server", "frontends/mail04", "-o", "yaml")
		Expect(code).To(BeZero(), stderr)
		Expect(stdout).To(ContainSubstring("standing: Failed"))
		var page describe.ServerPage
		_, stdout, _ = run(ctx, person, "", "describe", "server", "frontends/mail04", "-o", "json")
		Expect(json.Unmarshal([]byte(stdout), &page)).To(Succeed())
		Expect(page.Events).NotTo(BeEmpty())

		code, stdout, stderr = run(ctx, person, "", "events", "-A")
		Expect(code).To(BeZero(), stderr)
		Expect(stdout).To(And(ContainSubstring("poolserver/frontends/mail01 and 5 more"), ContainSubstring("mitigationfeed/contoso")))
		code, stdout, _ = run(ctx, person, "", "events", "--for", "mitigation/M1", "--since", "1h")
		Expect(code).To(BeZero())
		Expect(stdout).To(And(ContainSubstring("MitigationFailed"), Not(ContainSubstring("MitigationApplied"))))

		code, stdout, _ = run(ctx, person, "", "check")
		Expect(code).To(Equal(1))
		Expect(stdout).To(And(ContainSubstring("none has ever led in this cluster"), ContainSubstring("crds        all 7 are there as shipped"), ContainSubstring("M1 revision 4 in frontends/mail: RolloutHalted")))

		// Since when a switch is thrown, only the object's managed fields say, which a list has to keep.
		shop := &emsv1.PoolMitigationConfig{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: "branches", Name: "shop"}, shop)).To(Succeed())
		shop.Spec.Suspend = emsv1.SuspendRevert
		Expect(env.Client.Update(ctx, shop)).To(Succeed())
		_, stdout, _ = run(ctx, person, "", "check")
		Expect(stdout).To(ContainSubstring("PoolMitigationConfig/branches/shop is suspended for "))
	})

	It("follows events as they come", func(ctx SpecContext) {
		person := newTerminal(ctx, "alice")
		var out safe
		ctx2, stop := context.WithCancel(ctx)
		ended := make(chan int, 1)
		go func() {
			p := &program{stdout: &out, stderr: &out, now: now}
			ended <- p.run(ctx2, []string{"events", "--watch", "--kubeconfig", person.kubeconfig})
		}()
		e := insighttest.Event("PoolServer", person.namespace, "fe01", "DriftRepaired", "restored", time.Minute)
		Expect(env.Client.Create(ctx, &e)).To(Succeed())
		foreign := insighttest.Event("PoolServer", "default", "fe02", "DriftRepaired", "of another namespace", time.Minute)
		Expect(env.Client.Create(ctx, &foreign)).To(Succeed())
		Eventually(out.String).Should(ContainSubstring("Normal DriftRepaired poolserver/" + person.namespace + "/fe01: restored\n"))
		stop()
		Eventually(ended).Should(Receive(BeZero()))
		Expect(out.String()).NotTo(ContainSubstring("of another namespace"))
		Expect(env.Client.Delete(ctx, &foreign)).To(Succeed())
	})

	It("foresees what a branch does, without writing", func(ctx SpecContext) {
		stage(ctx, insighttest.New())
		person := newTerminal(ctx, "alice")
		const head = "apiVersion: ems.mitigation.dev/v1alpha1\nkind: "
		global := head + "MitigationConfiguration\nmetadata:\n  name: global\nspec:\n"
		apply := func(manifest string) {
			GinkgoHelper()
			kubectl := exec.CommandContext(ctx, filepath.Join(testenv.AssetsDirectory(), "kubectl"), "--kubeconfig", person.kubeconfig, "apply", "--server-side", "--force-conflicts", "--field-manager=flux", "-f", "-")
			kubectl.Stdin = bytes.NewBufferString(manifest)
			output, err := kubectl.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(output))
		}
		pool := head + "PoolMitigationConfig\nmetadata:\n  name: mail\n  namespace: frontends\n  labels: {ring: broad}\nspec:\n  poolFQDN: mail.contoso.com\n  mode: Enforce\n  rollout: {profile: Fast}\n"
		blocked := pool + "  blocked:\n  - {id: M1, reason: breaks search}\n"

		code, stdout, stderr := run(ctx, person, blocked, "diff")
		Expect(code).To(Equal(1), stderr)
		Expect(stdout).To(And(ContainSubstring("~ PoolMitigationConfig frontends/mail"), ContainSubstring("spec.blocked"), ContainSubstring("- M1 revision 3 would be removed from 6 servers: BlockedByPool")))
		live := &emsv1.PoolMitigationConfig{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: "frontends", Name: "mail"}, live)).To(Succeed())
		Expect(live.Spec.Blocked).To(BeEmpty())

		// The field manager that applies is found out, so that what leaves the file leaves the object.
		apply(blocked)
		code, stdout, stderr = run(ctx, person, blocked, "diff")
		Expect(code).To(BeZero(), stdout+stderr)
		code, stdout, stderr = run(ctx, person, pool, "diff", "-o", "json")
		Expect(code).To(Equal(1), stderr)
		var preview diff.ChangePreview
		Expect(json.Unmarshal([]byte(stdout), &preview)).To(Succeed())
		Expect(preview.Objects).To(HaveExactElements(And(HaveField("Action", "Change"), HaveField("Fields", ConsistOf("spec.blocked")))))
		Expect(preview.Notes).To(BeEmpty())

		// Another person's entry stays, as it does when Flux applies.
		code, stdout, stderr = run(ctx, person, global+"  suspend: Revert\n", "diff")
		Expect(code).To(Equal(1), stderr)
		Expect(stdout).To(And(ContainSubstring("spec.suspend"), ContainSubstring("pilots/lab: 2 servers\n  - M1 revision 3 would be removed from 2 servers: Suspended"), ContainSubstring("was not made by a server-side apply")))
		code, stdout, stderr = run(ctx, person, head+"PoolMitigationConfig\nmetadata:\n  name: web\n  namespace: not-there\nspec:\n  mode: Audit\n", "diff")
		Expect(code).To(Equal(1), stderr)
		Expect(stdout).To(And(ContainSubstring("+ PoolMitigationConfig not-there/web"), ContainSubstring("namespace not-there does not exist yet")))

		// Trouble is 2, and never taken for a difference.
		code, _, stderr = run(ctx, person, pool+"  mode: Sometimes\n", "diff")
		Expect(code).To(Equal(2))
		Expect(stderr).To(ContainSubstring("kubectl-mitigation diff: "))
		code, _, stderr = run(ctx, person, pool+"  typo: 1\n", "diff")
		Expect(code).To(Equal(2))
		Expect(stderr).To(ContainSubstring("typo"))
		code, _, _ = run(ctx, person, pool, "diff", "-A")
		Expect(code).To(Equal(2))
		code, _, stderr = run(ctx, terminalIn("frontends", "bob"), pool, "diff")
		Expect(code).To(Equal(2))
		Expect(stderr).To(ContainSubstring("forbidden"))
	})

	It("lets whoever sees one namespace look at it", func(ctx SpecContext) {
		stage(ctx, insighttest.New())
		subject := []rbacv1.Subject{{Kind: "User", Name: "carol", APIGroup: "rbac.authorization.k8s.io"}}
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "look-policy"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{emsv1.GroupVersion.Group}, Resources: []string{"mitigations", "mitigationconfigurations"}, Verbs: []string{"get", "list"},
		}}}
		own := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "look-own"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{emsv1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"get", "list"},
		}}}
		for _, object := range []client.Object{
			role, own,
			&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "look-policy"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "look-policy"}, Subjects: subject},
			&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "look-own", Namespace: "frontends"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "look-own"}, Subjects: subject},
		} {
			Expect(env.Client.Create(ctx, object)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, object)).To(Succeed()) })
		}
		carol := terminalIn("frontends", "carol")
		Eventually(func() string {
			_, stdout, stderr := run(ctx, carol, "", "describe", "pool", "mail")
			return stdout + stderr
		}).Should(And(ContainSubstring("Pool frontends/mail"), ContainSubstring("events are not shown"), ContainSubstring("whether other pools hold a rollout is not known")))
		code, stdout, stderr := run(ctx, carol, "", "diff", "mail")
		Expect(code).To(BeZero(), stdout+stderr)
		code, _, stderr = run(ctx, carol, "", "tree", "-A")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("forbidden"))
	})

	It("checks before an installation, and waits", func(ctx SpecContext) {
		admin := newTerminal(ctx, "alice")
		code, stdout, stderr := run(ctx, admin, "", "check", "--pre", "-o", "json")
		Expect(code).To(BeZero(), stdout+stderr)
		var r check.Health
		Expect(json.Unmarshal([]byte(stdout), &r)).To(Succeed())
		Expect(r.Items).To(ContainElement(And(HaveField("Check", "rights"), HaveField("Result", "OK"))))
		code, stdout, _ = run(ctx, terminalIn("default", "bob"), "", "check", "--pre")
		Expect(code).To(Equal(1))
		Expect(stdout).To(ContainSubstring("you may not "))
		// Who may not read the fleet is not told that it is well, and why.
		code, stdout, _ = run(ctx, terminalIn("default", "bob"), "", "check")
		Expect(code).To(Equal(1))
		Expect(stdout).To(And(ContainSubstring("cannot be read, so nobody can say that it is well"), ContainSubstring(`User "bob" cannot list resource "leases"`)))
		began := time.Now()
		code, _, _ = run(ctx, admin, "", "check", "--wait", "3s")
		Expect(code).To(Equal(1))
		Expect(time.Since(began)).To(BeNumerically(">=", 3*time.Second))
	})
})
