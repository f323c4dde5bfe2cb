//go:build !windows

package main

import (
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/inventory/inventorytest"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/telemetry"
	sender "mitigation.dev/ems/controllers/telemetry"
)

// page is what "telemetry show -o json" prints.
func (t *terminal) page(ctx SpecContext, more string) telemetry.Diagnostics {
	GinkgoHelper()
	var page telemetry.Diagnostics
	Expect(json.Unmarshal([]byte(t.must(ctx, "telemetry show -o json "+more)), &page)).To(Succeed())
	return page
}

// bare makes an object without a status, until the test ends.
func bare(ctx SpecContext, object client.Object) {
	GinkgoHelper()
	Expect(env.Client.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, object)).To(Succeed()) })
}

var _ = Describe("The commands of diagnostic data", Serial, func() {
	var (
		alice  *terminal
		got    []string
		server *httptest.Server
		ca     string
	)
	global := func(ctx SpecContext) *emsv1.MitigationConfiguration {
		GinkgoHelper()
		c := &emsv1.MitigationConfiguration{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Name: emsv1.GlobalConfigurationName}, c)).To(Succeed())
		return c
	}

	BeforeEach(func(ctx SpecContext) {
		alice, got = newTerminal(ctx, "alice"), nil
		server = httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if unpack, err := gzip.NewReader(r.Body); err == nil {
				body, _ := io.ReadAll(unpack)
				got = append(got, string(body))
			}
		}))
		DeferCleanup(server.Close)
		ca = filepath.Join(GinkgoT().TempDir(), "ca.pem")
		Expect(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600)).To(Succeed())
		clearFleet(ctx)
		fleet := inventorytest.New()
		for i := range fleet.Pools {
			fleet.Pools[i].Namespace = alice.namespace
			create(ctx, &fleet.Pools[i])
		}
		for i := range fleet.Plans {
			fleet.Plans[i].Namespace = alice.namespace
			create(ctx, &fleet.Plans[i])
		}
		for i := range fleet.Servers {
			fleet.Servers[i].Namespace = alice.namespace
			create(ctx, &fleet.Servers[i])
		}
		DeferCleanup(func(ctx SpecContext) {
			Expect(client.IgnoreNotFound(env.Client.Delete(ctx, &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}}))).To(Succeed())
		})
	})

	It("show the very bytes that the manager sends", func(ctx SpecContext) {
		more := "--manager-namespace " + alice.namespace
		before := alice.page(ctx, more)
		Expect(before.Enabled).To(BeFalse())
		Expect(before.Why).To(Equal("nobody has switched it on"))
		Expect(before.OrganizationID).To(BeEmpty())
		Expect(before.Servers).To(Equal(4))
		Expect(before.Unknown).To(BeEmpty())
		Expect(before.Requests[0].Body).To(ContainSubstring(`"organizationID":"00000000-0000-0000-0000-000000000000"`))

		Expect(alice.must(ctx, "telemetry enable --url "+server.URL+" --ca-file "+ca)).To(Equal("mitigationconfiguration.ems.mitigation.dev/global: telemetry enabled\n"))
		Expect(alice.must(ctx, "telemetry disable --pool shop")).To(ContainSubstring("telemetry disabled"))
		clock := clocktesting.NewFakePassiveClock(inventorytest.Morning)
		manager := &sender.Reconciler{Client: env.Client, Reader: env.Client, Namespace: alice.namespace, Clock: clock}
		_, err := manager.Reconcile(ctx, ctrl.Request{})
		Expect(err).NotTo(HaveOccurred())

		page := alice.page(ctx, more)
		Expect(page.Enabled).To(BeTrue())
		Expect(page.URL).To(Equal(server.URL))
		Expect(page.OptedOut).To(Equal([]string{alice.namespace + "/shop"}))
		Expect(page.Servers).To(Equal(3))
		Expect(page.Result).To(Equal(emsv1.TelemetryPending))
		Expect(page.NextTime.Time).To(BeTemporally(">", clock.Now().Add(10*time.Minute)))
		body := alice.must(ctx, "telemetry show -o body "+more)
		Expect(body).To(And(Equal(page.Requests[0].Body), ContainSubstring(page.OrganizationID), Not(ContainSubstring("web0"))))
		clock.SetTime(page.NextTime.Time)
		_, err = manager.Reconcile(ctx, ctrl.Request{})
		Expect(err).NotTo(HaveOccurred())
		Expect(got).To(Equal([]string{body}))
		Expect(alice.must(ctx, "telemetry show "+more)).To(And(
			HavePrefix("telemetry     enabled by MitigationConfiguration global\nto            "+server.URL+"\norganisation  "+page.OrganizationID+"\nsent          2026-05-15T"),
			ContainSubstring("\nRequest 1 of 1, this is sent (by gzip):\n"), HaveSuffix(body)))
		Expect(alice.must(ctx, "telemetry show --summary "+more)).NotTo(ContainSubstring("deviceID"))
	})

	It("switch it on and off, and keep the endpoint", func(ctx SpecContext) {
		code, _, stderr := alice.types(ctx, "telemetry enable")
		Expect(code).To(Equal(exitUsage))
		Expect(stderr).To(ContainSubstring("--url: missing: diagnostic data goes to an endpoint of your own, and none is known yet"))
		alice.must(ctx, "telemetry enable --url https://telemetry.contoso.com/v1 --endpoint-proxy http://proxy:3128 --ca-file "+ca)
		Expect(*global(ctx).Spec.Telemetry).To(And(HaveField("Mode", emsv1.Enabled), HaveField("URL", "https://telemetry.contoso.com/v1"),
			HaveField("ProxyURL", "http://proxy:3128"), HaveField("CABundle", ContainSubstring("BEGIN CERTIFICATE"))))
		alice.must(ctx, "block M1 --organization --reason x")
		alice.must(ctx, "telemetry disable")
		alice.must(ctx, "unblock M1 --organization")
		Expect(*global(ctx).Spec.Telemetry).To(And(HaveField("Mode", emsv1.Disabled), HaveField("URL", "https://telemetry.contoso.com/v1")), "an explicit no outlives other verbs")
		alice.must(ctx, "telemetry enable")
		Expect(global(ctx).Spec.Telemetry.Mode).To(Equal(emsv1.Enabled))
		alice.must(ctx, "telemetry enable --url https://other.contoso.com/")
		Expect(*global(ctx).Spec.Telemetry).To(Equal(emsv1.TelemetrySpec{Mode: emsv1.Enabled, URL: "https://other.contoso.com/"}), "what belonged to the endpoint before goes with it")
		Expect(alice.must(ctx, "telemetry enable")).To(ContainSubstring("telemetry enabled already"))
		alice.must(ctx, "telemetry disable --pool mail,shop")
		alice.must(ctx, "telemetry enable --pool mail")
		Expect(alice.page(ctx, "").OptedOut).To(Equal([]string{alice.namespace + "/shop"}))
	})

	DescribeTable("refuse what makes no sense", func(ctx SpecContext, line, want string) {
		code, _, stderr := alice.types(ctx, line)
		Expect(code).To(Equal(exitUsage))
		Expect(stderr).To(ContainSubstring(want))
	},
		Entry("no TLS", "telemetry enable --url http://telemetry.contoso.com/", "want one that begins with https://"),
		Entry("an endpoint of a pool", "telemetry enable --pool mail --url https://telemetry.contoso.com/", "are the organisation's: leave --pool out"),
		Entry("a proxy to nowhere", "telemetry enable --endpoint-proxy http://proxy:3128", "go with --url"),
		Entry("a file that is not there", "telemetry enable --url https://telemetry.contoso.com/ --ca-file /nowhere/ca.pem", "--ca-file: "),
		Entry("a form that there is not", "telemetry show -o csv", "want text, json, yaml or body"),
		Entry("an operand", "telemetry disable mail", `argument "mail": not expected`),
	)

	It("know what the manager was installed with", func(ctx SpecContext) {
		labels := map[string]string{"app": "ems"}
		bare(ctx, &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: alice.namespace, Name: "ems-manager"},
			Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Image: "ems-manager", Args: []string{
					"--leader-elect", "--telemetry-url=https://telemetry.contoso.com/v1?a=b", "--telemetry-proxy-url=http://proxy:3128",
				}}}},
			}},
		})
		more := "--summary --manager-namespace " + alice.namespace
		Expect(alice.page(ctx, more)).To(And(HaveField("Enabled", true), HaveField("URL", "https://telemetry.contoso.com/v1?a=b"),
			HaveField("ProxyURL", "http://proxy:3128"), HaveField("From", "the installation of the manager")))
		alice.must(ctx, "telemetry disable")
		Expect(alice.page(ctx, more)).To(And(HaveField("Enabled", false), HaveField("URL", ""), HaveField("Why", "spec.telemetry.mode is Disabled")))
	})

	It("say what they could not find out", func(ctx SpecContext) {
		content, err := os.ReadFile(filepath.Join(repository, "config", "rbac", "viewer_role.yaml"))
		Expect(err).NotTo(HaveOccurred())
		role := &rbacv1.ClusterRole{}
		Expect(yaml.Unmarshal(content, role)).To(Succeed())
		bare(ctx, role)
		bare(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "telemetry-viewers"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "bob"}},
		})
		bob := terminalIn(alice.namespace, "bob")
		Eventually(func() string {
			_, stdout, stderr := bob.types(ctx, "telemetry show --summary --manager-namespace "+alice.namespace)
			return stdout + stderr
		}).Should(And(ContainSubstring("servers       4\n"), ContainSubstring("unknown       what the manager was installed with: "), ContainSubstring("unknown       the organisation's id: ")))
	})
})
