package e2e_test

import (
	"bytes"
	"os"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/iis"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/iistree"
	"mitigation.dev/ems/test/kstatus"
)

// badServer is a server on which M1 cannot be applied.
type badServer struct {
	// options and spoil make it bad, before its agent starts.
	options harness.ServerOptions
	spoil   func(*harness.Server)
	// repair makes it good again.
	repair     func(*harness.Server, harness.Snapshot)
	wantReason string
	// wantMessage is a part of what it says to do.
	wantMessage string
}

func write(s *harness.Server, content []byte) {
	GinkgoHelper()
	Expect(s.WriteConfig(content)).To(Succeed())
}

func read(s *harness.Server) []byte {
	GinkgoHelper()
	content, err := os.ReadFile(s.ConfigFile())
	Expect(err).NotTo(HaveOccurred())
	return content
}

var badServers = map[string]badServer{
	"malformed": {
		spoil:      func(s *harness.Server) { write(s, bytes.Replace(read(s), []byte("</sites>"), nil, 1)) },
		repair:     restoreConfig,
		wantReason: iis.ConfigurationMalformed, wantMessage: "line",
	},
	"missing": {
		spoil:      func(s *harness.Server) { Expect(os.Remove(s.ConfigFile())).To(Succeed()) },
		repair:     restoreConfig,
		wantReason: iis.ConfigurationMissing, wantMessage: "applicationHost.config",
	},
	"read-only": {
		spoil:      func(s *harness.Server) { Expect(os.Chmod(s.ConfigFile(), 0o444)).To(Succeed()) },
		repair:     func(s *harness.Server, _ harness.Snapshot) { Expect(os.Chmod(s.ConfigFile(), 0o644)).To(Succeed()) },
		wantReason: iis.ConfigurationReadOnly, wantMessage: "read-only",
	},
	"no-site": {
		options: harness.ServerOptions{Tree: iistree.Options{Sites: []iistree.Site{{Name: "Intranet", Port: 80, Pool: "DefaultAppPool"}}}},
		repair: func(s *harness.Server, _ harness.Snapshot) {
			write(s, iistree.Config(iistree.Options{Server: s.HostName(), CRLF: true}))
		},
		wantReason: iis.SiteNotFound, wantMessage: harness.Site,
	},
	"no-rewrite": {
		options: harness.ServerOptions{Tree: iistree.Options{NoRewrite: true}},
		repair: func(s *harness.Server, _ harness.Snapshot) {
			write(s, iistree.Config(iistree.Options{Server: s.HostName(), CRLF: true}))
		},
		wantReason: iis.RewriteSectionMissing, wantMessage: "rewrite",
	},
	"no-module": {
		spoil: func(s *harness.Server) {
			write(s, regexp.MustCompile(`\s*<add name="RewriteModule" image=[^>]*>`).ReplaceAll(read(s), nil))
		},
		repair:     restoreConfig,
		wantReason: iis.RewriteModuleMissing, wantMessage: "RewriteModule",
	},
}

// restoreConfig puts the original file back.
func restoreConfig(s *harness.Server, original harness.Snapshot) {
	GinkgoHelper()
	write(s, []byte(original[iistree.ConfigFile]))
}

var _ = Describe("A pool with servers on which M1 cannot be applied", Ordered, func() {
	var (
		pool *fixture
		good *harness.Server
	)
	names := []string{"malformed", "missing", "read-only", "no-site", "no-rewrite", "no-module"}
	// originals are the files before they were spoilt, spoilt those that the agents meet.
	originals, spoilt := map[string]harness.Snapshot{}, map[string]harness.Snapshot{}

	BeforeAll(func(ctx SpecContext) {
		publish(ctx, full()...)
		list := members("good")
		for _, name := range names {
			list = append(list, member{name: name, options: badServers[name].options})
		}
		pool = newPool(ctx, "trouble", list, func(s *harness.Server) {
			if bad := badServers[s.Name]; bad.spoil != nil {
				bad.spoil(s)
			}
		})
		for _, name := range names {
			originals[name] = pool.start[name]
			snapshot, err := pool.server(name).Snapshot()
			Expect(err).NotTo(HaveOccurred())
			spoilt[name] = snapshot
		}
		good = pool.server("good")
	}, NodeTimeout(3*limit))

	for _, name := range names {
		It("names the reason on the server "+name, func(ctx SpecContext) {
			bad, server := badServers[name], pool.server(name)
			Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionFalse, emsv1.MitigationsFailedReason))
			status := reported(ctx, server)(Default)
			Expect(status).To(kstatus.BeConsistent())
			Expect(harness.StateOf(status, "M1")).To(And(
				HaveField("State", emsv1.StateFailed), HaveField("Reason", bad.wantReason), HaveField("Message", ContainSubstring(bad.wantMessage)),
			))
			Eventually(eventsAbout(ctx, pool.Namespace, name)).WithContext(ctx).Should(ContainElement(HavePrefix("MitigationFailed: M1 failed")))
			rows := table(kubectl(ctx, "get", "poolservers", "-n", pool.Namespace, "-o", "wide"))
			Expect(rows).To(ContainElement(And(
				HaveKeyWithValue("NAME", name), HaveKeyWithValue("FAILED", ContainSubstring("M1")), HaveKeyWithValue("MESSAGE", ContainSubstring(bad.wantMessage)),
			)))
		}, NodeTimeout(2*limit))
	}

	It("does its work on the good server and says what failed where", func(ctx SpecContext) {
		Expect(env.WaitForState(ctx, limit, []*harness.Server{good}, "M1", emsv1.StateApplied)).To(Succeed())
		Eventually(reported(ctx, good)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
		outcome, err := good.Request("GET", harness.ExploitRequest)
		Expect(err).NotTo(HaveOccurred())
		Expect(outcome.Outcome).To(Equal(rewrite.Aborted))
		Eventually(func() []map[string]string {
			return table(kubectl(ctx, "get", "poolmitigationconfig", pool.Name, "-n", pool.Namespace, "-o", "wide"))
		}).WithContext(ctx).Should(ConsistOf(And(
			HaveKeyWithValue("FAILED", ContainSubstring("M1")), HaveKeyWithValue("READY", "False"), HaveKeyWithValue("REASON", emsv1.ServersFailedReason),
		)))
	}, NodeTimeout(2*limit))

	It("leaves the files that it cannot use as they are", func(ctx SpecContext) {
		for _, name := range []string{"malformed", "missing", "read-only"} {
			// Each try begins with the services, and puts them back when the pool cannot be stopped: a look may fall in between.
			Eventually(func(g Gomega) []string {
				now, err := pool.server(name).Snapshot()
				g.Expect(err).NotTo(HaveOccurred())
				return now.Differences(spoilt[name])
			}).WithContext(ctx).Should(BeEmpty(), name)
		}
	}, NodeTimeout(limit))

	for _, name := range names {
		It("applies M1 once the server "+name+" is repaired", func(ctx SpecContext) {
			server := pool.server(name)
			badServers[name].repair(server, originals[name])
			Expect(env.WaitForState(ctx, limit, []*harness.Server{server}, "M1", emsv1.StateApplied)).To(Succeed())
			Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
		}, NodeTimeout(2*limit))
	}

	It("reports a file that breaks later, touches it not, and goes on when it is whole again", func(ctx SpecContext) {
		whole := read(good)
		broken := bytes.Replace(whole, []byte("</sites>"), nil, 1)
		write(good, broken)
		Eventually(func(g Gomega) emsv1.ServerMitigation {
			return harness.StateOf(reported(ctx, good)(g), "M1")
		}).WithContext(ctx).Should(And(HaveField("State", emsv1.StateFailed), HaveField("Reason", iis.ConfigurationMalformed)))
		Expect(read(good)).To(Equal(broken))
		write(good, whole)
		Expect(env.WaitForState(ctx, limit, []*harness.Server{good}, "M1", emsv1.StateApplied)).To(Succeed())
		Expect(read(good)).To(Equal(whole))
		snapshot, err := good.Snapshot()
		Expect(err).NotTo(HaveOccurred())
		Expect(snapshot.Names()).To(Equal(pool.start["good"].Names()), "no file of a change is left behind")
	}, NodeTimeout(3*limit))
})
