//go:build !windows

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

const (
	steerGuide = "docs/guides/steer.md"
	prompt     = "$ kubectl mitigation "
	fence      = "```"
)

// rerun runs the commands of a guide and returns it with what they print now.
func rerun(text string, run func(arguments []string) string) string {
	var out strings.Builder
	inConsole, ours := false, false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, fence):
			inConsole, ours = line == fence+"console\n", false
		case inConsole && strings.HasPrefix(line, "$ "):
			arguments := shellWords(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), prompt))
			// Explanations are texts of another test, which has the manager's part too.
			if ours = arguments[0] != "explain"; ours {
				line += run(arguments)
			}
		case inConsole && ours:
			continue
		}
		out.WriteString(line)
	}
	return out.String()
}

// shellWords splits a line as a shell does, as far as single quotes go.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}

var _ = Describe("The guide on steering", func() {
	It("shows what the commands print", func(ctx SpecContext) {
		person := newTerminal(ctx, "alice")
		prepareGuide(ctx)
		file := filepath.Join(repository, steerGuide)
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		got := rerun(string(text), func(arguments []string) string {
			// One writer for both streams, as on a terminal.
			var b bytes.Buffer
			p := &program{stdout: &b, stderr: &b, now: func() time.Time { return time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC) }}
			p.run(ctx, append(arguments, "--kubeconfig", person.kubeconfig, "--namespace", "frontends"))
			return b.String()
		})
		if *update {
			Expect(os.WriteFile(file, []byte(got), 0o600)).To(Succeed())
			return
		}
		Expect(got).To(Equal(string(text)), "run the test with -update")
	})
})

// prepareGuide makes what the guide speaks of: a pool that a repository made, with a plan and a server, and a mitigation of two parts.
func prepareGuide(ctx context.Context) {
	const namespace = "frontends"
	// Other pages have a namespace of this name, too, and the API server of a test never forgets one.
	Expect(client.IgnoreAlreadyExists(env.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))).To(Succeed())
	pool := &emsv1.PoolMitigationConfig{
		ObjectMeta: metav1.ObjectMeta{Name: "mail", Namespace: namespace},
		Spec:       emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce, Blocked: []emsv1.Exception{{ID: "M3", Reason: "breaks search"}}},
	}
	planned := emsv1.PlannedMitigation{
		ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled", Revision: 3, FeedName: "contoso", BundleName: "contoso-1",
		DocumentDigest: strings.Repeat("0", 64), Release: emsv1.Release{Below: new(emsv1.ReleaseAll)},
	}
	action := func(id emsv1.MitigationID) emsv1.MitigationAction {
		return emsv1.MitigationAction{ID: id, Type: "DoNothing", Scope: "Server"}
	}
	mitigation := func(id emsv1.MitigationID, parts ...emsv1.MitigationAction) *emsv1.Mitigation {
		return &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(id))}, Spec: emsv1.MitigationSpec{
			ID: id, Revision: 3, Lifecycle: emsv1.LifecycleActive, FeedName: "contoso", BundleName: "contoso-1",
			DocumentDigest: strings.Repeat("0", 64), Actions: parts,
		}}
	}
	for _, object := range []client.Object{
		pool,
		&emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Name: "mail", Namespace: namespace}, Spec: emsv1.MitigationPlanSpec{
			Mode: emsv1.ModeEnforce, Mitigations: []emsv1.PlannedMitigation{planned},
		}},
		&emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Name: "fe01", Namespace: namespace}, Spec: emsv1.PoolServerSpec{PoolName: "mail"}},
		mitigation("M1", action("M1.1"), action("M1.2")), mitigation("M2", action("M2.1")), mitigation("M3", action("M3.1")),
	} {
		Expect(env.Client.Create(ctx, object, client.FieldOwner(gitManager))).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, object)).To(Succeed()) })
	}
	DeferCleanup(func(ctx SpecContext) {
		global := &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}}
		Expect(env.Client.Delete(ctx, global)).To(Succeed())
	})
}
