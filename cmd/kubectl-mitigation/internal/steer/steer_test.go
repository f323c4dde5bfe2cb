//go:build !windows

// The control plane of the tests does not compile for Windows.

package steer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
)

// git is the field manager of a repository.
const git = "flux"

// world is a cluster with one pool, which a repository made, and a user at a terminal.
type world struct {
	kubeconfig string
	namespace  string
}

func newWorld(ctx context.Context) *world {
	w := &world{namespace: env.Namespace(ctx), kubeconfig: filepath.Join(GinkgoT().TempDir(), "kubeconfig")}
	w.writeKubeconfig(env.User("alice", "system:masters"))
	w.apply(ctx, "mode: Enforce")
	return w
}

func (w *world) writeKubeconfig(user *rest.Config) {
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: user.Host, CertificateAuthorityData: user.CAData}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: user.CertData, ClientKeyData: user.KeyData}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: w.namespace}
	config.CurrentContext = "x"
	Expect(clientcmd.WriteToFile(*config, w.kubeconfig)).To(Succeed())
}

// apply does what a repository does that says this of the pool.
func (w *world) apply(ctx context.Context, spec string) {
	GinkgoHelper()
	Expect(w.tryApply(ctx, spec)).To(Succeed())
}

func (w *world) tryApply(ctx context.Context, spec string) error {
	return applyText(ctx, "apiVersion: ems.mitigation.dev/v1alpha1\nkind: PoolMitigationConfig\nmetadata: {name: mail, namespace: "+w.namespace+"}\nspec:\n"+indent(spec))
}

func applyText(ctx context.Context, text string, options ...client.ApplyOption) error {
	var object map[string]any
	Expect(yaml.Unmarshal([]byte(text), &object)).To(Succeed())
	return env.Client.Apply(ctx, asUnstructured(object), append([]client.ApplyOption{client.FieldOwner(git)}, options...)...)
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

func (w *world) pool(ctx context.Context) *emsv1.PoolMitigationConfig {
	GinkgoHelper()
	pool := &emsv1.PoolMitigationConfig{}
	Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "mail"}, pool)).To(Succeed())
	return pool
}

// run runs a verb as the plugin does. Arguments are separated by blanks; an underscore stands for a blank in one.
func (w *world) run(ctx context.Context, line string) (stdout, stderr string, err error) {
	GinkgoHelper()
	var out, errs bytes.Buffer
	words := strings.Fields(line)
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "_", " ")
	}
	for _, c := range steer.Commands() {
		if c.Name != words[0] {
			continue
		}
		flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
		flags.SetOutput(io.Discard)
		run := c.Bind(cli.World{Stdout: &out, Stderr: &errs, Now: func() time.Time { return now }, Getenv: os.Getenv}, flags)
		operands, rest := []string(nil), append([]string{"--kubeconfig", w.kubeconfig}, words[1:]...)
		for {
			Expect(flags.Parse(rest)).To(Succeed())
			if flags.NArg() == 0 {
				break
			}
			operands, rest = append(operands, flags.Arg(0)), flags.Args()[1:]
		}
		err = run(ctx, operands)
		return out.String(), errs.String(), err
	}
	Fail("no verb " + words[0])
	return "", "", nil
}

func (w *world) must(ctx context.Context, line string) (stdout, stderr string) {
	GinkgoHelper()
	stdout, stderr, err := w.run(ctx, line)
	Expect(err).NotTo(HaveOccurred(), line)
	return stdout, stderr
}

// owners lists what each manager owns of the pool's spec, as paths.
func owners(object client.Object) map[string][]string {
	out := map[string][]string{}
	for _, m := range object.GetManagedFields() {
		if m.Subresource != "" {
			continue
		}
		var fields map[string]any
		Expect(json.Unmarshal(m.FieldsV1.GetRawBytes(), &fields)).To(Succeed())
		out[m.Manager+"/"+string(m.Operation)] = slices.Sorted(slices.Values(paths("", fields)))
	}
	return out
}

func paths(prefix string, fields map[string]any) []string {
	var out []string
	for key, inner := range fields {
		children, _ := inner.(map[string]any)
		switch {
		case key == ".":
		case strings.HasPrefix(key, "k:"):
			out = append(out, prefix+strings.TrimPrefix(key, "k:"))
		case len(children) == 0:
			out = append(out, prefix+"."+strings.TrimPrefix(key, "f:"))
		default:
			out = append(out, paths(prefix+"."+strings.TrimPrefix(key, "f:"), children)...)
		}
	}
	return out
}

func blockedIDs(pool *emsv1.PoolMitigationConfig) []string {
	ids := []string{}
	for _, e := range pool.Spec.Blocked {
		ids = append(ids, string(e.ID))
	}
	return ids
}

var _ = Describe("Blocking beside a repository", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx) })

	It("keeps an entry with who, why and until when", func(ctx SpecContext) {
		stdout, stderr := w.must(ctx, "block M1 --pool mail --reason breaks_printing --expires 72h")
		Expect(stdout).To(Equal("poolmitigationconfig.ems.mitigation.dev/mail in namespace " + w.namespace + ": M1 blocked until 2026-05-17 16:00:00Z\n"))
		Expect(stderr).To(ContainSubstring("the cluster knows no mitigation M1"))
		expiry := metav1.NewTime(now.Add(72 * time.Hour))
		blocked := w.pool(ctx).Spec.Blocked
		Expect(blocked).To(HaveLen(1))
		Expect(blocked[0].ExpiryTime.Equal(&expiry)).To(BeTrue())
		blocked[0].ExpiryTime = nil
		Expect(blocked[0]).To(Equal(emsv1.Exception{ID: "M1", Reason: "breaks printing", Owner: "alice"}))
	})

	It("does not write again what is there", func(ctx SpecContext) {
		w.must(ctx, "block M1 --pool mail --reason x")
		before := w.pool(ctx).ResourceVersion
		stdout, _ := w.must(ctx, "block M1 --pool mail --reason x")
		Expect(stdout).To(HaveSuffix("M1 blocked already\n"))
		Expect(w.pool(ctx).ResourceVersion).To(Equal(before))
	})

	It("does not fight with the repository, however often both write", func(ctx SpecContext) {
		const repository = "mode: Enforce\nblocked:\n- {id: M2, reason: of the repository}"
		w.apply(ctx, repository)
		w.must(ctx, "block M1 --pool mail --reason of_the_plugin")
		settled := w.pool(ctx).ResourceVersion
		for range 5 {
			w.apply(ctx, repository)
			w.must(ctx, "block M1 --pool mail --reason of_the_plugin")
		}
		pool := w.pool(ctx)
		Expect(pool.ResourceVersion).To(Equal(settled), "nobody may have changed anything")
		Expect(blockedIDs(pool)).To(ConsistOf("M1", "M2"))
		Expect(owners(pool)).To(Equal(map[string][]string{
			git + "/Apply":           {`.spec.blocked{"id":"M2"}`, ".spec.mode"},
			steer.Manager + "/Apply": {`.spec.blocked{"id":"M1"}`},
		}))

		By("keeping the plugin's entry when the repository drops its own")
		w.apply(ctx, "mode: Enforce")
		Expect(blockedIDs(w.pool(ctx))).To(ConsistOf("M1"))
		By("keeping the repository's fields when the plugin drops its own")
		w.must(ctx, "unblock m1 --pool mail")
		Expect(w.pool(ctx).Spec.Blocked).To(BeEmpty())
		Expect(w.pool(ctx).Spec.Mode).To(Equal(emsv1.ModeEnforce))
	})

	It("says in words whose entry it is, and takes it over only when told to", func(ctx SpecContext) {
		w.apply(ctx, "blocked:\n- {id: m1, reason: of the repository, expiryTime: '2026-06-01T00:00:00Z'}")
		_, _, err := w.run(ctx, "block M1 --pool mail --reason other")
		Expect(err).To(MatchError("pool " + w.namespace + `/mail: the entry for m1 in spec.blocked is managed by "flux": change it there, or take it over with --force-conflicts`))
		_, _, err = w.run(ctx, "unblock M1 --pool mail")
		Expect(err).To(MatchError(ContainSubstring(`the entry for m1 in spec.blocked is managed by "flux": remove it there, or here with --force-conflicts`)))
		Expect(blockedIDs(w.pool(ctx))).To(ConsistOf("m1"))

		w.must(ctx, "block M1 --pool mail --reason other --force-conflicts")
		blocked := w.pool(ctx).Spec.Blocked
		Expect(blocked).To(Equal([]emsv1.Exception{{ID: "m1", Reason: "other", Owner: "alice"}}), "an expiry of the other manager must not be left")
		Expect(w.tryApply(ctx, "blocked:\n- {id: m1, reason: of the repository}")).To(MatchError(ContainSubstring("conflict with \"ems-plugin\"")))
	})

	It("removes an entry of the repository only when told to", func(ctx SpecContext) {
		w.apply(ctx, "blocked:\n- {id: M1, reason: x}\n- {id: M2, reason: z}")
		w.must(ctx, "unblock M1 --pool mail --force-conflicts")
		Expect(blockedIDs(w.pool(ctx))).To(ConsistOf("M2"))
	})

	It("shares an entry that both say alike, and leaves it to the other", func(ctx SpecContext) {
		w.must(ctx, "block M1 --pool mail --reason x --owner storage")
		w.apply(ctx, "mode: Enforce\nblocked:\n- {id: M1, reason: x, owner: storage}")
		_, _, err := w.run(ctx, "unblock M1 --pool mail")
		Expect(err).To(MatchError(ContainSubstring(`managed by "flux"`)))
		w.must(ctx, "unblock M1 --pool mail --force-conflicts")
		Expect(w.pool(ctx).Spec.Blocked).To(BeEmpty())
	})

	It("says what is meant when there is no such entry", func(ctx SpecContext) {
		w.must(ctx, "block M1 --pool mail --reason x")
		_, _, err := w.run(ctx, "unblock M1.1 --pool mail")
		Expect(err).To(MatchError("pool " + w.namespace + "/mail: spec.blocked has no entry for M1.1, only for M1"))
	})

	It("writes what several terminals want at once", func(ctx SpecContext) {
		const terminals = 8
		done := make(chan error, terminals)
		for i := range terminals {
			go func() {
				defer GinkgoRecover()
				_, _, err := w.run(ctx, "block N"+string(rune('1'+i))+" --pool mail --reason x")
				done <- err
			}()
		}
		for range terminals {
			Expect(<-done).To(Succeed())
		}
		Expect(w.pool(ctx).Spec.Blocked).To(HaveLen(terminals))
	})

	It("loses nothing when several terminals make the first configuration of the organisation", func(ctx SpecContext) {
		const terminals = 6
		done := make(chan error, terminals)
		for i := range terminals {
			go func() {
				defer GinkgoRecover()
				_, _, err := w.run(ctx, "suspend N"+string(rune('1'+i))+" --organization --reason x")
				done <- err
			}()
		}
		for range terminals {
			Expect(<-done).To(Succeed())
		}
		global := &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(global), global)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, global)).To(Succeed()) })
		Expect(global.Spec.SuspendedMitigations).To(HaveLen(terminals))
	})

	It("goes on with the other pools when one is not there", func(ctx SpecContext) {
		stdout, _, err := w.run(ctx, "block M1 --pool nowhere,mail --reason x")
		Expect(err).To(MatchError(And(ContainSubstring("pool "+w.namespace+"/nowhere"), ContainSubstring("not found"))))
		Expect(stdout).To(HavePrefix("poolmitigationconfig.ems.mitigation.dev/mail in namespace"))
		Expect(blockedIDs(w.pool(ctx))).To(ConsistOf("M1"))
	})
})

var _ = Describe("Dry runs and output", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx) })

	It("prints a document for a repository, whoever has the entry now", func(ctx SpecContext) {
		w.apply(ctx, "blocked:\n- {id: M1, reason: old}")
		w.must(ctx, "disable --pool mail")
		stdout, _ := w.must(ctx, "block M1 --pool mail --reason new --dry-run client -o yaml")
		Expect(stdout).To(Equal(`---
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata:
  name: mail
  namespace: ` + w.namespace + `
spec:
  blocked:
  - id: M1
    owner: alice
    reason: new
  mitigations: Disabled
`))
		Expect(w.pool(ctx).Spec.Blocked[0].Reason).To(Equal("old"))
		Expect(applyText(ctx, stdout, client.ForceOwnership)).To(Succeed())
		Expect(w.pool(ctx).Spec.Blocked[0].Reason).To(Equal("new"))
	})

	It("lets the server check and keeps nothing", func(ctx SpecContext) {
		stdout, _ := w.must(ctx, "block M1 --pool mail --reason x --dry-run server")
		Expect(stdout).To(HaveSuffix("M1 blocked (server dry run)\n"))
		Expect(w.pool(ctx).Spec.Blocked).To(BeEmpty())
		_, _, err := w.run(ctx, "block M1 --pool mail --dry-run server --reason "+strings.Repeat("x", 1025))
		Expect(err).To(MatchError(ContainSubstring("Too long")))
	})

	It("prints the object without who owns what", func(ctx SpecContext) {
		stdout, _ := w.must(ctx, "block M1 --pool mail --reason x -o json")
		var pool emsv1.PoolMitigationConfig
		Expect(json.Unmarshal([]byte(stdout), &pool)).To(Succeed())
		Expect(pool.ManagedFields).To(BeEmpty())
		Expect(pool.Spec.Blocked).To(HaveLen(1))
		stdout, _ = w.must(ctx, "block M1 --pool mail --reason x -o name")
		Expect(stdout).To(Equal("poolmitigationconfig.ems.mitigation.dev/mail\n"))
	})
})

var _ = Describe("Switches", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx) })

	It("are switched and taken back", func(ctx SpecContext) {
		w.must(ctx, "suspend --all --pool mail")
		w.must(ctx, "disable --pool mail --when-disabled Remove")
		Expect(w.pool(ctx).Spec).To(Equal(emsv1.PoolMitigationConfigSpec{
			Mode: emsv1.ModeEnforce, Suspend: emsv1.SuspendRevert, Mitigations: emsv1.Disabled, WhenDisabled: emsv1.RemoveWhenDisabled,
		}))
		w.must(ctx, "unsuspend --all --pool mail")
		w.must(ctx, "enable --pool mail")
		Expect(w.pool(ctx).Spec).To(Equal(emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce}))
		stdout, _ := w.must(ctx, "enable --pool mail")
		Expect(stdout).To(HaveSuffix("mitigations enabled already\n"))
	})

	It("remember who threw the one for everything, and why", func(ctx SpecContext) {
		because := func() string { return w.pool(ctx).Annotations[steer.SuspendedBecause] }
		w.must(ctx, "suspend --all --pool mail --owner mail_team --reason mail_is_down")
		Expect(because()).To(Equal("mail team: mail is down"))
		w.must(ctx, "suspend --all --pool mail --owner mail_team")
		Expect(because()).To(Equal("mail team"))
		w.must(ctx, "unsuspend --all --pool mail")
		Expect(because()).To(BeEmpty())
	})

	It("of a repository are not overruled without being told to", func(ctx SpecContext) {
		w.apply(ctx, "mitigations: Disabled")
		_, _, err := w.run(ctx, "enable --pool mail")
		Expect(err).To(MatchError("pool " + w.namespace + `/mail: spec.mitigations is managed by "flux": change it there, or take it over with --force-conflicts`))
		w.must(ctx, "enable --pool mail --force-conflicts")
		w.must(ctx, "block M1 --pool mail --reason x")
		Expect(w.pool(ctx).Spec.Mitigations).To(Equal(emsv1.Enabled), "what was taken over must stay so")
	})

	It("of the organisation begin with nothing and end with nothing", func(ctx SpecContext) {
		global := &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}}
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, global)).To(Succeed()) })
		stdout, _ := w.must(ctx, "suspend M1 --organization --reason it_breaks_mail")
		Expect(stdout).To(Equal("mitigationconfiguration.ems.mitigation.dev/global: M1 suspended\n"))
		w.must(ctx, "unsuspend M1 --organization")
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(global), global)).To(Succeed())
		Expect(global.Spec).To(Equal(emsv1.MitigationConfigurationSpec{Telemetry: &emsv1.TelemetrySpec{}}), "a spec must say something")

		By("leaving what it left to a repository")
		const repository = "apiVersion: ems.mitigation.dev/v1alpha1\nkind: MitigationConfiguration\nmetadata: {name: global}\nspec: {blocked: [{id: M2, reason: x}]}"
		Expect(applyText(ctx, repository)).To(Succeed())
		w.must(ctx, "block M1 --organization --reason x")
		Expect(applyText(ctx, repository)).To(Succeed())
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(global), global)).To(Succeed())
		Expect(global.Spec.Blocked).To(HaveLen(2))
		w.must(ctx, "unblock M1 --organization")
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(global), global)).To(Succeed())
		Expect(global.Spec).To(Equal(emsv1.MitigationConfigurationSpec{Telemetry: &emsv1.TelemetrySpec{}, Blocked: []emsv1.Exception{{ID: "M2", Reason: "x"}}}))
	})
})

var _ = Describe("Approvals", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		plan := &emsv1.MitigationPlan{
			ObjectMeta: metav1.ObjectMeta{Name: "mail", Namespace: w.namespace},
			Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce, Mitigations: []emsv1.PlannedMitigation{{
				ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled", Revision: 7, FeedName: "f", BundleName: "b",
				DocumentDigest: strings.Repeat("0", 64), Release: emsv1.Release{Below: new(emsv1.ReleaseAll)},
			}}},
		}
		Expect(env.Client.Create(ctx, plan)).To(Succeed())
	})

	It("are for the planned revision, and stages come together", func(ctx SpecContext) {
		stdout, _ := w.must(ctx, "approve m1 --pool mail --reason looked_at_it --stage first")
		Expect(stdout).To(HaveSuffix("m1 revision 7 approved for first\n"))
		w.must(ctx, "approve M1 --pool mail --reason looked_at_it --stage tenth,half")
		approved := w.pool(ctx).Spec.Approved
		Expect(approved).To(Equal([]emsv1.Approval{{ID: "m1", Revision: 7, Stages: []string{"first", "half", "tenth"}, Reason: "looked at it", Owner: "alice"}}))
		w.must(ctx, "approve M1 --pool mail --reason looked_at_it --revision 8 --stage first")
		Expect(w.pool(ctx).Spec.Approved[0].Stages).To(Equal([]string{"first"}), "another revision begins anew")
		w.must(ctx, "approve M1 --pool mail --reason all_of_it --revision 8 --expires 1h")
		w.must(ctx, "approve M1 --pool mail --reason looked_at_it --revision 8 --stage half --expires 2h")
		Expect(w.pool(ctx).Spec.Approved[0].Stages).To(BeEmpty(), "an approval for every stage stays one")
		w.apply(ctx, "mode: Enforce\nblocked:\n- {id: M2, reason: of the repository}")
		Expect(w.pool(ctx).Spec.Approved).To(HaveLen(1))
		w.must(ctx, "unapprove M1 --pool mail")
		Expect(w.pool(ctx).Spec.Approved).To(BeEmpty())
	})

	It("for stages that the pool does not have are told of", func(ctx SpecContext) {
		m := &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: "m1"}, Spec: emsv1.MitigationSpec{
			ID: "M1", Revision: 7, Lifecycle: emsv1.LifecycleActive, FeedName: "f", BundleName: "b", DocumentDigest: strings.Repeat("0", 64),
			Actions: []emsv1.MitigationAction{{ID: "M1.1", Type: "DoNothing", Scope: "Server"}},
		}}
		Expect(env.Client.Create(ctx, m)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, m)).To(Succeed()) })
		stdout, stderr := w.must(ctx, "approve M1 --pool mail --reason x --stage frist,half")
		Expect(stdout).To(HaveSuffix("M1 revision 7 approved for frist, half\n"))
		Expect(stderr).To(Equal("note: pool " + w.namespace + "/mail has no stage frist for M1, but first, tenth, half, all; a ring is approved with --organization\n"))
		_, stderr = w.must(ctx, "approve M1 --pool mail --reason x --stage first")
		Expect(stderr).To(BeEmpty())
	})

	It("need a revision that is known", func(ctx SpecContext) {
		_, _, err := w.run(ctx, "approve M2 --pool mail --reason x")
		Expect(err).To(MatchError(ContainSubstring("its plan has no mitigation M2")))
		_, _, err = w.run(ctx, "approve M2 --organization --reason x")
		Expect(err).To(MatchError(ContainSubstring("give --revision")))
	})
})

var _ = Describe("Repair", func() {
	It("annotates the pool, for a server that of the server", func(ctx SpecContext) {
		w := newWorld(ctx)
		server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Name: "fe01", Namespace: w.namespace}, Spec: emsv1.PoolServerSpec{PoolName: "mail"}}
		Expect(env.Client.Create(ctx, server)).To(Succeed())
		stdout, stderr := w.must(ctx, "repair fe01 mail")
		Expect(stdout).To(Equal("poolmitigationconfig.ems.mitigation.dev/mail in namespace " + w.namespace + ": repair requested\n"))
		Expect(stderr).To(ContainSubstring("every server of mail looks anew"))
		Expect(w.pool(ctx).Annotations).To(Equal(map[string]string{emsv1.RepairRequestAnnotation: "2026-05-14T16:00:00Z by alice"}))
		_, _, err := w.run(ctx, "repair nothing")
		Expect(err).To(MatchError(ContainSubstring("neither a pool nor a server")))
	})
})

var _ = Describe("What an id covers", func() {
	It("is said", func(ctx SpecContext) {
		w := newWorld(ctx)
		m := &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: "m5"}, Spec: emsv1.MitigationSpec{
			ID: "M5", Revision: 1, Lifecycle: emsv1.LifecycleActive, FeedName: "f", BundleName: "b", DocumentDigest: strings.Repeat("0", 64),
			Actions: []emsv1.MitigationAction{{ID: "M5.1", Type: "DoNothing", Scope: "Server"}, {ID: "M5.2", Type: "DoNothing", Scope: "Server"}},
		}}
		Expect(env.Client.Create(ctx, m)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, m)).To(Succeed()) })
		for line, want := range map[string]string{
			"M5":   "note: M5 covers its parts M5.1, M5.2\n",
			"m5.1": "note: m5.1 is a part of mitigation M5: the rest, M5.2, stays as it is\n",
			"M5.3": "note: mitigation M5 has no part M5.3, only M5.1, M5.2\n",
		} {
			_, stderr := w.must(ctx, "block "+line+" --pool mail --reason x --dry-run server")
			Expect(stderr).To(Equal(want))
		}
	})
})
