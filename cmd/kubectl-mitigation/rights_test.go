//go:build !windows

package main

import (
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

var _ = Describe("The team of a pool", func() {
	It("steers its pool with rights in one namespace only", func(ctx SpecContext) {
		content, err := os.ReadFile(filepath.Join(repository, "config", "rbac", "pool_operator_role.yaml"))
		Expect(err).NotTo(HaveOccurred())
		role := &rbacv1.ClusterRole{}
		Expect(yaml.Unmarshal(content, role)).To(Succeed())
		Expect(env.Client.Create(ctx, role)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, role)).To(Succeed()) })
		namespace := env.Namespace(ctx)
		Expect(env.Client.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "team", Namespace: namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "bob"}},
		})).To(Succeed())
		pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "mail", Namespace: namespace}, Spec: emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce}}
		Expect(env.Client.Create(ctx, pool)).To(Succeed())

		bob := terminalIn(namespace, "bob")
		Eventually(func() string {
			_, stdout, stderr := bob.types(ctx, "block M1 --pool mail --reason x -o yaml")
			return stdout + stderr
		}).Should(And(ContainSubstring("owner: bob"), Not(ContainSubstring("forbidden"))))
		bob.must(ctx, "unblock M1 --pool mail")
		code, _, stderr := bob.types(ctx, "block M1 --organization --reason x")
		Expect(code).To(Equal(exitFailure))
		Expect(stderr).To(And(HavePrefix("kubectl-mitigation block: the organisation (MitigationConfiguration global): "), ContainSubstring(`User "bob" cannot get resource "mitigationconfigurations"`)))
	})
})
