//go:build !windows

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers"
	"mitigation.dev/ems/test/testenv"
)

// gitManager is the field manager that the repository is applied with.
const gitManager = "flux"

// gitRepository is a repository, and the working copy that what runs in the cluster has of it.
type gitRepository struct {
	origin, clone string
	terminal      *terminal
}

func newGitRepository(ctx context.Context, t *terminal) *gitRepository {
	if _, err := exec.LookPath("git"); err != nil {
		Skip("git is not installed, so that the GitOps loop is not tested: " + err.Error())
	}
	dir := GinkgoT().TempDir()
	r := &gitRepository{origin: filepath.Join(dir, "origin"), clone: filepath.Join(dir, "clone"), terminal: t}
	r.run(ctx, dir, "git", "init", "--quiet", "--initial-branch=main", r.origin)
	r.write("kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [pool.yaml]\nnamespace: "+t.namespace+"\n")
	return r
}

// run runs a program without the settings that a person has for git.
func (r *gitRepository) run(ctx context.Context, dir, name string, arguments ...string) string {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, name, arguments...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+r.terminal.kubeconfig, "HOME="+filepath.Dir(r.origin), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	Expect(cmd.Run()).To(Succeed(), "%s %s: %s", name, strings.Join(arguments, " "), &stderr)
	return stdout.String()
}

func (r *gitRepository) write(name, content string) {
	GinkgoHelper()
	Expect(os.WriteFile(filepath.Join(r.origin, name), []byte(content), 0o600)).To(Succeed())
}

// commit makes the blocked list of the pool what the entries say.
func (r *gitRepository) commit(ctx context.Context, message string, entries ...string) {
	GinkgoHelper()
	var b strings.Builder
	b.WriteString("apiVersion: ems.mitigation.dev/v1alpha1\nkind: PoolMitigationConfig\nmetadata:\n  name: mail\nspec:\n  mode: Enforce\n")
	if len(entries) > 0 {
		b.WriteString("  blocked:\n")
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "  - %s\n", e)
	}
	r.write("pool.yaml", b.String())
	r.run(ctx, r.origin, "git", "add", "--all")
	r.run(ctx, r.origin, "git", "-c", "user.name=Operator", "-c", "user.email=operator@contoso.com", "commit", "--quiet", "--message", message)
}

// sync does what runs in the cluster of a repository: it takes the newest commit and applies it. Done twice, it changes nothing the
// second time.
func (r *gitRepository) sync(ctx context.Context) {
	GinkgoHelper()
	if _, err := os.Stat(r.clone); err != nil {
		r.run(ctx, filepath.Dir(r.origin), "git", "clone", "--quiet", r.origin, r.clone)
	}
	r.run(ctx, r.clone, "git", "pull", "--quiet", "--ff-only")
	r.apply(ctx)
	before := r.pool(ctx)
	for _, entry := range before.ManagedFields {
		if entry.Subresource != "" {
			continue // Flux leaves statuses alone.
		}
		Expect(entry.Manager).NotTo(HavePrefix("kubectl"), "Flux would make what this manager owns its own, and remove it with its next apply")
	}
	r.apply(ctx)
	after := r.pool(ctx)
	Expect(after.Generation).To(Equal(before.Generation), "the second run changed the spec")
	Expect(specOwners(after)).To(Equal(specOwners(before)))
}

func (r *gitRepository) apply(ctx context.Context) {
	GinkgoHelper()
	kubectl := filepath.Join(testenv.AssetsDirectory(), "kubectl")
	output := r.run(ctx, r.clone, kubectl, "--cache-dir="+filepath.Join(filepath.Dir(r.origin), "cache"), "apply", "--server-side", "--field-manager="+gitManager, "-k", ".")
	Expect(output).To(Equal("poolmitigationconfig.ems.mitigation.dev/mail serverside-applied\n"))
}

func (r *gitRepository) pool(ctx context.Context) *emsv1.PoolMitigationConfig {
	GinkgoHelper()
	pool := &emsv1.PoolMitigationConfig{}
	Expect(env.Client.Get(ctx, r.terminal.key("mail"), pool)).To(Succeed())
	return pool
}

// specOwners is ownedFields without the status, which the manager may write for the first time between two looks.
func specOwners(pool *emsv1.PoolMitigationConfig) []string {
	GinkgoHelper()
	return slices.DeleteFunc(ownedFields(pool), func(entry string) bool { return strings.HasSuffix(entry, ": status") })
}

// ownedFields lists which manager owns what: "flux: spec.blocked M1", "manager: status".
func ownedFields(pool *emsv1.PoolMitigationConfig) []string {
	GinkgoHelper()
	var out []string
	for _, m := range pool.ManagedFields {
		name := m.Manager
		if m.Operation == metav1.ManagedFieldsOperationUpdate {
			name = "manager"
		}
		if m.Subresource != "" {
			out = append(out, name+": "+m.Subresource)
			continue
		}
		var fields map[string]map[string]map[string]any
		Expect(json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields)).To(Succeed())
		for group, inner := range fields {
			for field, items := range inner {
				path := strings.TrimPrefix(group, "f:") + "." + strings.TrimPrefix(field, "f:")
				if len(items) == 0 {
					out = append(out, name+": "+path)
				}
				for item := range items {
					if item != "." {
						out = append(out, name+": "+path+" "+item)
					}
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var _ = Describe("A repository that is applied again and again", func() {
	It("has its blocked lists followed, beside what people type and what the manager writes", func(ctx SpecContext) {
		publishMitigations(ctx, "M1", "M2")
		person := newTerminal(ctx, "alice")
		repository := newGitRepository(ctx, person)
		DeferCleanup(env.RunManager(ctx, func(mgr ctrl.Manager) error {
			return controllers.Setup(mgr, controllers.Options{Namespace: person.namespace})
		}))
		plan := person.planned(ctx, "mail")
		const applyM1, applyM2 = "M1: Apply Enabled", "M2: Apply Enabled"
		const removeM1, removeM2 = "M1: Remove BlockedByPool", "M2: Remove BlockedByPool"

		By("following a block that is added")
		repository.commit(ctx, "Block M1", "{id: M1, reason: breaks printing, owner: print-team}")
		repository.sync(ctx)
		Eventually(plan).Should(Equal([]string{removeM1, applyM2}))

		By("keeping what a person adds beside it")
		person.must(ctx, "block M2 --pool mail --reason breaks_search --owner search-team")
		Eventually(plan).Should(Equal([]string{removeM1, removeM2}))
		for range 3 {
			repository.sync(ctx)
		}
		Eventually(func() []string { return ownedFields(repository.pool(ctx)) }).Should(Equal([]string{
			`ems-plugin: spec.blocked k:{"id":"M2"}`,
			gitManager + `: spec.blocked k:{"id":"M1"}`, gitManager + ": spec.mode", "manager: status",
		}))

		By("following a change, with the person's entry in place")
		repository.commit(ctx, "Say more", "{id: M1, reason: breaks printing in Vienna, owner: print-team}")
		repository.sync(ctx)
		blocked := repository.pool(ctx).Spec.Blocked
		Expect(blocked).To(ConsistOf(
			emsv1.Exception{ID: "M1", Reason: "breaks printing in Vienna", Owner: "print-team"},
			emsv1.Exception{ID: "M2", Reason: "breaks search", Owner: "search-team"},
		))

		By("telling a person whose entry it is")
		code, _, stderr := person.types(ctx, "unblock M1 --pool mail")
		Expect(code).To(Equal(exitFailure))
		Expect(stderr).To(Equal("kubectl-mitigation unblock: pool " + person.namespace + `/mail: the entry for M1 in spec.blocked is managed by "flux": remove it there, or here with --force-conflicts` + "\n"))

		By("letting an entry expire while it is applied again")
		expiry := time.Now().Add(5 * time.Second).Truncate(time.Second)
		repository.commit(ctx, "Only for now", "{id: M1, reason: breaks printing, owner: print-team, expiryTime: "+expiry.UTC().Format(time.RFC3339)+"}")
		repository.sync(ctx)
		Eventually(plan).Should(Equal([]string{applyM1, removeM2}))
		ended := person.transition(ctx, "mail", "M1")
		Expect(ended.Action).To(Equal("BlockExpired"))
		Expect(ended.Time.Sub(expiry)).To(And(BeNumerically(">=", 0), BeNumerically("<", 5*time.Second)), "an expired block stops counting at its time, within 5 s")
		repository.sync(ctx)
		Consistently(plan, "500ms").Should(Equal([]string{applyM1, removeM2}))
		Expect(person.must(ctx, "explain mail M1")).To(ContainSubstring("no; the entry of the pool for M1 expired at " + expiry.UTC().Format(time.RFC3339)))
		Expect(person.must(ctx, "explain mail")).To(MatchRegexp(`M1 +1 +Apply +Enabled +Complete .*\nM2 +1 +Remove +BlockedByPool +- +the pool blocks M2`))
		Expect(person.must(ctx, "explain mail m2")).To(And(
			ContainSubstring("M2, revision 1: Remove (BlockedByPool)\n  the pool blocks M2: breaks search (ask search-team)\n"),
			ContainSubstring("take the block back:\n    kubectl mitigation unblock M2 --pool "+person.namespace+"/mail\n"),
		))

		By("keeping who did it")
		Eventually(func() []string {
			var out []string
			for _, h := range repository.pool(ctx).Status.History {
				if h.Action == "Blocked" {
					out = append(out, string(h.ID)+" "+h.By)
				}
			}
			return out
		}).Should(ContainElements("M1 print-team", "M2 search-team"))

		By("removing entries, each side its own")
		repository.commit(ctx, "No longer needed")
		repository.sync(ctx)
		Expect(repository.pool(ctx).Spec.Blocked).To(HaveLen(1))
		person.must(ctx, "unblock M2 --pool mail")
		Eventually(plan).Should(Equal([]string{applyM1, applyM2}))
		repository.sync(ctx)
		Expect(repository.pool(ctx).Spec).To(Equal(emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce}))
	})
})
