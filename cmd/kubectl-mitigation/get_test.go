//go:build !windows

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/version"
)

var _ = Describe("The versions", func() {
	It("are those of the program, the manager and the agents", func(ctx SpecContext) {
		person := newTerminal(ctx, "dora")
		code, stdout, _ := person.types(ctx, "version")
		Expect(code).To(BeZero())
		Expect(stdout).To(And(HavePrefix("client   "+version.String()+"\n"), ContainSubstring("unknown  manager: there is no Deployment ems-system/ems-manager")))

		deployment := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: managerName, Namespace: person.namespace},
			Spec: appsv1.DeploymentSpec{
				Replicas: new(int32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "manager", Image: "registry.contoso.com:5000/ems/manager:v1.4.0@sha256:" + strings.Repeat("0", 64)}}},
				},
			},
		}
		Expect(env.Client.Create(ctx, deployment)).To(Succeed())
		for _, name := range []string{"a", "b", "c"} {
			server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: person.namespace}, Spec: emsv1.PoolServerSpec{PoolName: "mail"}}
			if name != "c" {
				server.Status.Facts = emsv1.ServerFacts{AgentVersion: "v1.3.9"}
			}
			create(ctx, server)
		}
		stdout = person.must(ctx, "version -o json --manager-namespace "+person.namespace)
		var versions Versions
		Expect(json.Unmarshal([]byte(stdout), &versions)).To(Succeed())
		Expect(versions.Manager).To(Equal(&ManagerVersion{Namespace: person.namespace, Image: deployment.Spec.Template.Spec.Containers[0].Image, Version: "v1.4.0", Wanted: 2}))
		Expect(versions.Agents).To(ContainElement(AgentVersion{"v1.3.9", 2}))
		Expect(versions.Unknown).To(BeEmpty())
		Expect(person.must(ctx, "version --client -o yaml")).To(HavePrefix("client: "))

		// Who may see nothing is told so.
		code, stdout, stderr := terminalIn(person.namespace, "nobody").types(ctx, "version")
		Expect(code).To(Equal(exitFailure))
		Expect(stdout).To(And(ContainSubstring("unknown  manager: "), ContainSubstring("unknown  agents: ")))
		Expect(stderr).To(ContainSubstring("says nothing of the manager and the agents"))
	})
})

var _ = Describe("Large fleets", func() {
	It("are read in pages", func(ctx SpecContext) {
		person := newTerminal(ctx, "erin")
		const servers = 1100
		var group errgroup.Group
		group.SetLimit(20)
		for i := range servers {
			group.Go(func() error {
				return env.Client.Create(ctx, &emsv1.PoolServer{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%04d", i), Namespace: person.namespace}, Spec: emsv1.PoolServerSpec{PoolName: "mail"},
				})
			})
		}
		Expect(group.Wait()).To(Succeed())
		listed := strings.Split(strings.TrimSpace(person.must(ctx, "get servers -o name")), "\n")
		Expect(listed).To(HaveLen(servers))
		Expect(slices.IsSorted(listed)).To(BeTrue())
		Expect(env.Client.DeleteAllOf(ctx, &emsv1.PoolServer{}, client.InNamespace(person.namespace))).To(Succeed())
	})

	It("are those of the user and the server that kubectl's flags name", func(ctx SpecContext) {
		person := newTerminal(ctx, "frank")
		code, _, stderr := person.types(ctx, "get pools --as nobody --as-group none")
		Expect(code).To(Equal(exitFailure))
		Expect(stderr).To(ContainSubstring(`User "nobody" cannot list resource "poolmitigationconfigs"`))
		code, _, stderr = person.types(ctx, "explain mail --server https://127.0.0.1:1")
		Expect(code).To(Equal(exitFailure))
		Expect(stderr).To(ContainSubstring("connection refused"))
		code, _, stderr = person.types(ctx, "get pools --token x --request-timeout 1ns")
		Expect(code).To(Equal(exitFailure))
		Expect(stderr).To(Or(ContainSubstring("deadline exceeded"), ContainSubstring("Timeout exceeded")))
		_, _, stderr = person.types(ctx, "get pools")
		Expect(stderr).To(Equal(fmt.Sprintf("no pools found in namespace %q; -A looks at all namespaces\n", person.namespace)))
	})
})
