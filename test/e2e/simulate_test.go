package e2e_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

var _ = Describe("Somebody who may only look", func() {
	It("learns what a mitigation does to requests on a server", func(ctx SpecContext) {
		pool := newPool(ctx, "looked-at", members("fe01"))
		pool.waitFor(ctx, emsv1.StateApplied, "M1")
		const user = "onlooker"
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ems-viewer"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}
		Expect(env.Client.Create(ctx, binding)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, binding)).To(Succeed()) })
		plugin := newPublisher().plugin
		kubeconfig := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
		Expect(env.ControlPlane.UserKubeconfig(kubeconfig, user)).To(Succeed())
		simulate := func(g Gomega, arguments ...string) string {
			command := exec.CommandContext(ctx, plugin, append([]string{
				"simulate", "--kubeconfig", kubeconfig, "-n", pool.Namespace, "--mitigation", "M1", "--server", "fe01",
				"--request", harness.ExploitRequest, "--request", harness.HarmlessRequest,
			}, arguments...)...)
			output, err := command.CombinedOutput()
			g.Expect(err).NotTo(HaveOccurred(), string(output))
			return string(output)
		}

		// The API server takes a moment to learn of the binding.
		Eventually(simulate).WithContext(ctx).Should(And(
			ContainSubstring("server      pool-looked-at/fe01 of pool looked-at\n"),
			MatchRegexp(`plan +pool-looked-at/looked-at, generation \d+, mode Enforce, placement ApplicationHost: Apply `),
			ContainSubstring("mitigation  M1, revision 1, of feed "+feedName+"\n"),
			ContainSubstring("verified under spec.trust of MitigationFeed "+feedName),
			MatchRegexp(`reported +Applied .*revision 1 is in place`),
		))
		var got struct {
			Server  struct{ Bundle, Digest string }
			Answers []struct{ Outcome rewrite.Outcome }
		}
		Expect(json.Unmarshal([]byte(simulate(Default, "-o", "json")), &got)).To(Succeed())
		Expect(got.Server.Digest).To(HaveLen(64))
		Expect(got.Answers).To(HaveLen(2))
		for i, target := range []string{harness.ExploitRequest, harness.HarmlessRequest} {
			Expect(got.Answers[i].Outcome).To(Equal(pool.outcomes(target)(Default)[0]), target)
		}

		By("blocking the mitigation")
		pool.configure(ctx, block)
		pool.waitFor(ctx, emsv1.StateRemoved, "M1")
		Expect(simulate(Default)).To(And(ContainSubstring("note        the plan says Remove: "), MatchRegexp(`reported +Removed`), ContainSubstring("=> Aborted")))
	}, NodeTimeout(4*limit))
})
