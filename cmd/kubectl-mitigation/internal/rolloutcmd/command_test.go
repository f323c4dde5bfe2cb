//go:build !windows

// The control plane of the tests does not compile for Windows.

package rolloutcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

var _ = Describe("rollout status", func() {
	var user *terminalOf
	var namespace string
	BeforeEach(func(ctx SpecContext) {
		namespace = env.Namespace(ctx)
		user = newTerminal(env.Config, namespace)
	})

	It("says what is wrong and what to type, with few requests", func(ctx SpecContext) {
		for i := range 12 {
			p := newPool(namespace, fmt.Sprintf("pool%02d", i), 10)
			if i < 2 {
				names := []string{}
				for j := range 8 {
					names = append(names, fmt.Sprintf("s%d%d", i, j))
				}
				p.halted(names...)
			} else {
				p.complete(time.Hour)
			}
			p.create(ctx)
			for _, name := range p.told.Failing {
				p.says(ctx, name, "the check owa answers 500")
			}
		}
		// While a busy API server opens its storage for a resource it answers 429, and the client asks again.
		Expect(env.Client.List(ctx, &emsv1.MitigationConfigurationList{})).To(Succeed())
		code, stdout, stderr := user.run(ctx, "rollout", "status", "m1")
		Expect(stderr).To(BeEmpty())
		Expect(code).To(Equal(1))
		Expect(stdout).To(HavePrefix("M1 revision 3: 10 of 12 pools complete, 2 halted\n"))
		Expect(stdout).To(ContainSubstring("failed  s01: the check owa answers 500\n"))
		Expect(stdout).To(ContainSubstring("    kubectl mitigation rollout retry M1 --pool " + namespace + "/pool00 --reason '...'\n"))
		Expect(strings.Index(stdout, "HALTED")).To(BeNumerically("<", strings.Index(stdout, "Complete  ")))

		lists, servers := 0, 0
		for _, request := range user.seen() {
			switch {
			case strings.Contains(request, "/poolservers/"):
				servers++
			case strings.HasPrefix(request, "GET "):
				lists++
			}
		}
		Expect(lists).To(Equal(4), "two lists, and the global configuration twice: %v", user.seen())
		Expect(servers).To(Equal(2*maxPerPool), "%v", user.seen())
		Expect(user.seen()).NotTo(ContainElement(HaveSuffix("/poolservers")))
	})

	It("prints the same as JSON and YAML", func(ctx SpecContext) {
		p := newPool(namespace, "web", 10).halted("s1")
		p.create(ctx)
		code, stdout, _ := user.run(ctx, "rollout", "status", "-o", "json", "--pool", "web")
		Expect(code).To(Equal(1))
		var fromJSON, fromYAML RolloutStatus
		Expect(json.Unmarshal([]byte(stdout), &fromJSON)).To(Succeed())
		Expect(fromJSON.Rollouts).To(HaveLen(1))
		Expect(fromJSON.Rollouts[0].State).To(Equal("Halted"))
		Expect(fromJSON.Rollouts[0].Failing).To(HaveExactElements(HaveField("Message", ContainSubstring("not found"))))
		code, stdout, _ = user.run(ctx, "rollout", "status", "M1", "-n", namespace, "-o", "yaml")
		Expect(code).To(Equal(1))
		Expect(yaml.Unmarshal([]byte(stdout), &fromYAML)).To(Succeed())
		fromYAML.Time = fromJSON.Time
		Expect(fromYAML).To(Equal(fromJSON))
	})

	It("reads all namespaces, and knows what is not there", func(ctx SpecContext) {
		newPool(namespace, "web", 10).complete(time.Hour).create(ctx)
		code, stdout, _ := user.run(ctx, "rollout", "status", "-A", "--limit", "0")
		Expect(code).To(BeElementOf(0, 1, 3))
		Expect(stdout).To(ContainSubstring("M1 revision 3: "))
		code, _, stderr := user.run(ctx, "rollout", "status", "M77")
		Expect(code).To(Equal(1))
		Expect(stderr).To(And(ContainSubstring(fmt.Sprintf("mitigation M77: no plan in namespace %q has it; -A looks at all namespaces", namespace))))
		_, _, stderr = user.run(ctx, "rollout", "status", "M77", "-A")
		Expect(stderr).To(ContainSubstring("mitigation M77: no plan of these pools has it; kubectl get mitigations"))
		code, _, stderr = user.run(ctx, "rollout", "status", "--pool", "web,nowhere")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("pool " + namespace + "/nowhere: there is none"))
		for _, wrong := range [][]string{{"M1", "M2"}, {"--timeout", "1s"}, {"-o", "wide"}, {"x y"}, {"-A", "--pool", "web"}, {"--limit", "-1"}} {
			code, _, _ = user.run(ctx, append([]string{"rollout", "status"}, wrong...)...)
			Expect(code).To(Equal(2), "%v", wrong)
		}
	})

	It("goes without what the user may not read above the pools", func(ctx SpecContext) {
		newPool(namespace, "web", 10).complete(time.Hour).create(ctx)
		bob := newTerminal(env.User("bob-"+namespace), namespace)
		code, _, stderr := bob.run(ctx, "rollout", "status")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("forbidden"))
		code, _, stderr = bob.run(ctx, "rollout", "status", "--watch", "--timeout", "30s")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("forbidden"))
		allow(ctx, namespace, "bob-"+namespace, "get", "list", "watch")
		Eventually(func(g Gomega) {
			code, stdout, stderr := bob.run(ctx, "rollout", "status", "M1")
			g.Expect(stderr).To(BeEmpty())
			g.Expect(code).To(Equal(0))
			g.Expect(stdout).To(ContainSubstring("1 of 1 pool complete"))
		}).WithContext(ctx).WithTimeout(20 * time.Second).Should(Succeed())
	})

	// watching runs the command until it ends by itself or by the context.
	watching := func(ctx context.Context, arguments ...string) (out, errs *output, code chan int) {
		out, errs, code = &output{}, &output{}, make(chan int, 1)
		go func() {
			defer GinkgoRecover()
			code <- user.start(ctx, out, errs, append([]string{"rollout", "status", "M1", "--watch"}, arguments...)...)
		}()
		return out, errs, code
	}

	It("follows changes, lost connections included, until everything is complete", func(ctx SpecContext) {
		p := newPool(namespace, "web", 10)
		p.create(ctx)
		out, errs, code := watching(ctx)
		Eventually(out.String).WithTimeout(20 * time.Second).Should(ContainSubstring("stage 1 of 4, first"))

		p.stage(2, "tenth", 0).counts(2, 1, 0).write(ctx)
		Eventually(out.String).WithTimeout(20 * time.Second).Should(MatchRegexp(`(?m)^20\S+Z %s/web M1 revision 3 Progressing, stage 2/4 tenth, 2 of 10 servers released: 1 passed`, namespace))

		user.cut(true)
		Eventually(errs.String).WithTimeout(30 * time.Second).Should(ContainSubstring("the connection is lost, and tried again"))
		p.stage(3, "half", 0).counts(5, 5, 0).write(ctx)
		user.cut(false)
		Eventually(out.String).WithTimeout(60 * time.Second).Should(ContainSubstring("stage 3/4 half, 5 of 10 servers released: 5 passed"))
		Expect(code).NotTo(Receive())

		p.complete(0).write(ctx)
		Eventually(code).WithTimeout(20 * time.Second).Should(Receive(Equal(0)))
		Expect(out.String()).To(ContainSubstring(" Complete, stage 4/4 all, 10 of 10 servers released: 10 passed"))
	})

	It("ends when a rollout has halted", func(ctx SpecContext) {
		p := newPool(namespace, "web", 10)
		p.create(ctx)
		out, _, code := watching(ctx, "-o", "json")
		Eventually(out.String).WithTimeout(20 * time.Second).Should(ContainSubstring(`"state": "Progressing"`))
		p.says(ctx, "s1", "the check owa answers 500")
		p.halted("s1").write(ctx)
		Eventually(code).WithTimeout(20 * time.Second).Should(Receive(Equal(1)))
		Expect(out.String()).To(ContainSubstring(`"message": "the check owa answers 500"`))
	})

	It("ends when the time is over, and when the user has enough", func(ctx SpecContext) {
		newPool(namespace, "web", 10).create(ctx)
		out, _, code := watching(ctx, "--timeout", "2s")
		Eventually(code).WithTimeout(20 * time.Second).Should(Receive(Equal(3)))
		Expect(out.String()).To(ContainSubstring("stage 1 of 4"))
		enough, interrupt := context.WithCancel(ctx)
		out, errs, code := watching(enough)
		Eventually(out.String).WithTimeout(20 * time.Second).Should(ContainSubstring("stage 1 of 4"))
		interrupt()
		Eventually(code).WithTimeout(20 * time.Second).Should(Receive(Equal(3)))
		Expect(errs.String()).To(BeEmpty())
	})
})

var _ = Describe("rollout orders", func() {
	var user *terminalOf
	var namespace string
	var p *poolOf
	BeforeEach(func(ctx SpecContext) {
		namespace = env.Namespace(ctx)
		user = newTerminal(env.Config, namespace)
		p = newPool(namespace, "web", 10)
		p.create(ctx)
	})
	spec := func(ctx context.Context) emsv1.RolloutSpec {
		GinkgoHelper()
		pool := &emsv1.PoolMitigationConfig{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "web"}, pool)).To(Succeed())
		return pool.Spec.Rollout
	}
	ordered := func(ctx context.Context, arguments ...string) (emsv1.RolloutOrder, string) {
		GinkgoHelper()
		code, stdout, stderr := user.run(ctx, append([]string{"rollout"}, arguments...)...)
		Expect(stderr).To(BeEmpty())
		Expect(code).To(Equal(0))
		orders := spec(ctx).Orders
		Expect(orders).To(HaveLen(1))
		return orders[0], stdout
	}

	It("goes through a bad night", func(ctx SpecContext) {
		order, stdout := ordered(ctx, "pause", "m1", "--pool", "web", "--reason", "storage is moved", "--owner", "night shift")
		Expect(order).To(Equal(emsv1.RolloutOrder{ID: "M1", Revision: 3, Action: emsv1.OrderPause, Reason: "storage is moved", Owner: "night shift"}))
		Expect(stdout).To(Equal("poolmitigationconfig.ems.mitigation.dev/web in namespace " + namespace + ": M1 revision 3 paused\n"))

		code, _, stderr := user.run(ctx, "rollout", "resume", "M1", "--pool", "web")
		Expect(stderr).To(BeEmpty())
		Expect(code).To(Equal(0))
		Expect(spec(ctx).Orders).To(BeEmpty())
		code, _, stderr = user.run(ctx, "rollout", "resume", "M1", "--pool", "web")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("no order pauses M1"))

		order, _ = ordered(ctx, "promote", "M1", "--pool", namespace+"/web", "--reason", "looks good")
		Expect(order.Stage).To(Equal("first"))
		Expect(order.Owner).NotTo(BeEmpty(), "who the user is to the cluster")
		code, _, stderr = user.run(ctx, "rollout", "resume", "M1", "--pool", "web")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("is Promote, and no pause"))
		code, _, stderr = user.run(ctx, "rollout", "promote", "M1", "--pool", "web", "--reason", "x", "--stage", "halve")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring(`has no stage "halve", but first, tenth, half, all`))

		p.halted("s1").write(ctx)
		order, stdout = ordered(ctx, "retry", "M1", "--pool", "web", "--reason", "the disk was full")
		Expect(order).To(And(HaveField("Action", emsv1.OrderRetry), HaveField("Attempt", int32(2)), HaveField("Stage", "")))
		Expect(stdout).To(ContainSubstring("M1 revision 3 to be tried again, attempt 2"))

		order, _ = ordered(ctx, "abort", "M1", "--pool", "web", "--reason", "enough")
		Expect(order).To(And(HaveField("Action", emsv1.OrderAbort), HaveField("Attempt", int32(0))))

		p.complete(0).write(ctx)
		code, _, stderr = user.run(ctx, "rollout", "abort", "M1", "--pool", "web", "--reason", "enough")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("rollout undo takes back what is complete"))
		order, _ = ordered(ctx, "undo", "M1", "--pool", "web", "--reason", "the shop is down")
		Expect(order).To(And(HaveField("Action", emsv1.OrderAbort), HaveField("Reason", "the shop is down")))
	})

	It("prints what a repository would hold, and sends nothing", func(ctx SpecContext) {
		code, stdout, stderr := user.run(ctx, "rollout", "abort", "M1", "--pool", "web", "--reason", "the shop is down", "--owner", "night shift", "--dry-run=client", "-o", "yaml")
		Expect(stderr).To(BeEmpty())
		Expect(code).To(Equal(0))
		Expect(strings.ReplaceAll(stdout, namespace, "frontends")).To(Equal(`---
apiVersion: ems.mitigation.dev/v1alpha1
kind: PoolMitigationConfig
metadata:
  name: web
  namespace: frontends
spec:
  rollout:
    orders:
    - action: Abort
      id: M1
      owner: night shift
      reason: the shop is down
      revision: 3
`))
		code, _, _ = user.run(ctx, "rollout", "abort", "M1", "--pool", "web", "--reason", "x", "--dry-run=server")
		Expect(code).To(Equal(0))
		Expect(spec(ctx).Orders).To(BeEmpty())
		Expect(slices.ContainsFunc(user.seen(), func(r string) bool { return strings.HasPrefix(r, "PATCH") })).To(BeTrue(), "the server checks")
	})

	It("leaves what a repository holds to the repository", func(ctx SpecContext) {
		git := &emsv1.PoolMitigationConfig{
			TypeMeta:   metav1.TypeMeta{APIVersion: emsv1.GroupVersion.String(), Kind: "PoolMitigationConfig"},
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
			Spec: emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce, Rollout: emsv1.RolloutSpec{
				Progress: emsv1.ProgressPaused,
				Orders:   []emsv1.RolloutOrder{{ID: "M1", Revision: 3, Action: emsv1.OrderPause, Reason: "freeze", Owner: "change board"}},
			}},
		}
		//nolint:staticcheck // the object as a repository has it
		Expect(env.Client.Patch(ctx, git, client.Apply, client.FieldOwner("flux"), client.ForceOwnership)).To(Succeed())
		for _, verb := range [][]string{{"abort", "M1", "--reason", "x"}, {"resume", "M1"}, {"resume", "--all"}} {
			code, _, stderr := user.run(ctx, append(append([]string{"rollout"}, verb...), "--pool", "web")...)
			Expect(code).To(Equal(1), "%v", verb)
			Expect(stderr).To(And(ContainSubstring(`"flux"`), ContainSubstring("--force-conflicts")), "%v", verb)
		}
		Expect(spec(ctx).Orders).To(HaveExactElements(HaveField("Owner", "change board")))
		order, _ := ordered(ctx, "abort", "M1", "--reason", "x", "--pool", "web", "--force-conflicts")
		Expect(order.Action).To(Equal(emsv1.OrderAbort))
	})

	It("pauses every rollout of a pool, says why, and takes it back", func(ctx SpecContext) {
		code, stdout, stderr := user.run(ctx, "rollout", "pause", "--all", "--pool", "web", "--reason", "change freeze", "--owner", "board")
		Expect(stderr).To(BeEmpty())
		Expect(code).To(Equal(0))
		Expect(stdout).To(ContainSubstring("rollouts paused"))
		Expect(spec(ctx).Progress).To(Equal(emsv1.ProgressPaused))
		p.is(emsv1.RolloutPaused, "RolloutPaused", "rollouts are paused").write(ctx)
		code, stdout, _ = user.run(ctx, "rollout", "status", "M1")
		Expect(code).To(Equal(3))
		Expect(strings.Join(strings.Fields(stdout), " ")).To(And(
			ContainSubstring("held by "+namespace+"/web, spec.rollout.progress: board: change freeze"),
			ContainSubstring("kubectl mitigation rollout resume --all --pool "+namespace+"/web")))
		code, _, _ = user.run(ctx, "rollout", "resume", "--all", "--pool", "web")
		Expect(code).To(Equal(0))
		Expect(spec(ctx).Progress).To(BeEmpty())
		pool := &emsv1.PoolMitigationConfig{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "web"}, pool)).To(Succeed())
		Expect(pool.Annotations).To(BeEmpty())
	})

	It("changes no pool if one of them is wrong", func(ctx SpecContext) {
		code, _, stderr := user.run(ctx, "rollout", "abort", "M1", "--pool", "web,nowhere", "--reason", "x")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("nowhere"))
		Expect(spec(ctx).Orders).To(BeEmpty())
		for _, wrong := range [][]string{
			{"abort", "M1", "--pool", "web"}, {"abort", "M1", "--reason", "x"}, {"abort", "--pool", "web", "--reason", "x"},
			{"promote", "M1", "--pool", "web", "--reason", "x", "--stage", "first", "--full"}, {"pause", "M1", "--all", "--pool", "web", "--reason", "x"},
			{"abort", "M1", "--pool", "web", "-A", "--reason", "x"}, {"abort", "M1", "--pool", "web", "--reason", strings.Repeat("x", 1025)},
			{"abort", "M1", "--pool", "web", "--reason", "x", "--revision", "-1"}, {"abort", "1M", "--pool", "web", "--reason", "x"},
		} {
			code, _, _ := user.run(ctx, append([]string{"rollout"}, wrong...)...)
			Expect(code).To(Equal(2), "%v", wrong)
		}
	})
})

var _ = Describe("rollout orders to the organisation", Serial, func() {
	It("counts in every pool, after a question", func(ctx SpecContext) {
		var all emsv1.PoolMitigationConfigList
		Expect(env.Client.List(ctx, &all)).To(Succeed())
		for i := range all.Items {
			Expect(env.Client.Delete(ctx, &all.Items[i])).To(Succeed())
		}
		namespace := env.Namespace(ctx)
		user := newTerminal(env.Config, namespace)
		newPool(namespace, "web", 10).halted("s1").create(ctx)
		lab := newPool(namespace, "lab", 2).complete(time.Hour)
		lab.pool.Spec.Rollout.Orders = []emsv1.RolloutOrder{{ID: "M1", Revision: 2, Action: emsv1.OrderAbort, Reason: "old"}}
		lab.create(ctx)

		code, stdout, stderr := user.run(ctx, "rollout", "retry", "M1", "-A", "--reason", "the disk was full", "--owner", "night shift")
		Expect(code).To(Equal(0), stderr)
		Expect(stdout).To(ContainSubstring("mitigationconfiguration.ems.mitigation.dev/global: M1 revision 3 to be tried again, attempt 2"))
		Expect(stderr).To(And(ContainSubstring("1 pool where revision 3 is complete begin"), ContainSubstring("lab has an order of its own, Abort revision 2")))
		global := &emsv1.MitigationConfiguration{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Name: "global"}, global)).To(Succeed())
		Expect(global.Spec.Rollout.Orders).To(HaveExactElements(HaveField("Attempt", int32(2))))
		code, _, stderr = user.run(ctx, "rollout", "abort", "M1", "--organization", "--reason", "x")
		Expect(code).To(Equal(1))
		Expect(stderr).To(ContainSubstring("is complete in " + namespace + "/lab"))

		code, stdout, _ = user.run(ctx, "rollout", "history", "-A")
		Expect(code).To(Equal(0))
		Expect(stdout).To(Equal("Nothing has happened yet.\n"))
		Expect(env.Client.Delete(ctx, global)).To(Succeed())
	})
})
