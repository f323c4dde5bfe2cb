//go:build !windows

// The control plane of the tests does not compile for Windows.

package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/testenv"
)

var env *testenv.Environment

// TestOnCluster runs what needs a real API server, and the manager.
func TestOnCluster(t *testing.T) { testenv.RunSuite(t, "Plugin suite", &env) }

// terminal is where a person works.
type terminal struct{ kubeconfig, namespace string }

// newTerminal is that of a user who may do everything, in a namespace of its own.
func newTerminal(ctx context.Context, user string) *terminal {
	return terminalIn(env.Namespace(ctx), user, "system:masters")
}

func terminalIn(namespace, user string, groups ...string) *terminal {
	t := &terminal{namespace: namespace, kubeconfig: filepath.Join(GinkgoT().TempDir(), user)}
	config, access := clientcmdapi.NewConfig(), env.User(user, groups...)
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: access.Host, CertificateAuthorityData: access.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: access.CertData, ClientKeyData: access.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: t.namespace}
	config.CurrentContext = "x"
	Expect(clientcmd.WriteToFile(*config, t.kubeconfig)).To(Succeed())
	return t
}

// types runs the plugin. An underscore stands for a blank within an argument.
func (t *terminal) types(ctx context.Context, line string) (code int, stdout, stderr string) {
	words := strings.Fields(line)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "_", " ")
	}
	var out, errs bytes.Buffer
	p := &program{stdout: &out, stderr: &errs, now: time.Now}
	code = p.run(ctx, append(words, "--kubeconfig", t.kubeconfig))
	return code, out.String(), errs.String()
}

func (t *terminal) must(ctx context.Context, line string) string {
	GinkgoHelper()
	code, stdout, stderr := t.types(ctx, line)
	Expect(code).To(BeZero(), stderr)
	return stdout
}

func (t *terminal) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: t.namespace, Name: name}
}

// planned tells what the plan of a pool wants: "M1: Remove BlockedByPool".
func (t *terminal) planned(ctx context.Context, pool string) func() ([]string, error) {
	return func() ([]string, error) {
		plan := &emsv1.MitigationPlan{}
		if err := env.Client.Get(ctx, t.key(pool), plan); err != nil {
			return nil, err
		}
		var out []string
		for _, m := range plan.Spec.Mitigations {
			out = append(out, string(m.ID)+": "+string(m.Desired)+" "+m.Reason)
		}
		return out, nil
	}
}

// transition is what last happened to a mitigation in a pool.
func (t *terminal) transition(ctx context.Context, pool, id string) emsv1.PlanTransition {
	GinkgoHelper()
	plan := &emsv1.MitigationPlan{}
	Expect(env.Client.Get(ctx, t.key(pool), plan)).To(Succeed())
	for _, m := range plan.Spec.Mitigations {
		if string(m.ID) == id {
			return m.Transition
		}
	}
	Fail("the plan has no " + id)
	return emsv1.PlanTransition{}
}

// publishMitigations makes mitigations as the manager makes them of a feed.
func publishMitigations(ctx context.Context, ids ...emsv1.MitigationID) {
	GinkgoHelper()
	for _, id := range ids {
		m := &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(id))}, Spec: emsv1.MitigationSpec{
			ID: id, Revision: 1, Severity: "Critical", Lifecycle: emsv1.LifecycleActive, FeedName: "contoso", BundleName: "contoso-1",
			DocumentDigest: strings.Repeat("0", 64), ContentDigest: strings.Repeat("1", 64),
			Actions: []emsv1.MitigationAction{{ID: id + ".1", Type: "DoNothing", Scope: "Server"}},
		}}
		Expect(env.Client.Create(ctx, m)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, m)).To(Succeed()) })
	}
}
