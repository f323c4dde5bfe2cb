package e2e_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/lastpass"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

var _ = Describe("A server without a network", Label("offline"), Ordered, func() {
	var (
		pool   *fixture
		server *harness.Server
		// saved is the state folder as the agent left it.
		saved map[string][]byte
	)

	BeforeAll(func(ctx SpecContext) {
		pool = newPool(ctx, "offline", members("alone"))
		server = pool.servers[0]
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
		Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
		_, err := server.Command(ctx, "block", "M99", "--reason=so that there is something to damage")
		Expect(err).NotTo(HaveOccurred())
		Eventually(reported(ctx, server)).WithContext(ctx).Should(HaveField("Status.Local.Blocked", HaveLen(1)))
		server.Agent.Stop()
		saved = readTree(server.StateDir)
		env.ControlPlane.APIServer.Kill()
	}, NodeTimeout(3*limit))

	AfterAll(func(ctx SpecContext) {
		server.Agent.Stop()
		writeTree(server.StateDir, saved)
		Expect(env.ControlPlane.Start(ctx)).To(Succeed())
		Expect(server.Agent.Start()).To(Succeed())
		Eventually(reported(ctx, server)).WithContext(ctx).Should(haveReady(metav1.ConditionTrue, emsv1.PlanAppliedReason))
	}, NodeTimeout(3*limit))

	It("gets its rule back soon after the start of the agent", func(ctx SpecContext) {
		for range 5 {
			server.Agent.Kill()
			pool.deleteRules(server)
			Expect(outcome(Default, server)).To(Equal(rewrite.Passed))
			begin := time.Now()
			Expect(server.Agent.Start()).To(Succeed())
			Eventually(func(g Gomega) rewrite.Outcome { return outcome(g, server) }).WithContext(ctx).WithTimeout(offlineStart).WithPolling(5 * time.Millisecond).
				Should(Equal(rewrite.Aborted))
			AddReportEntry("from the start of the process to the rule in the file", time.Since(begin).Round(time.Millisecond).String())
		}
	}, NodeTimeout(limit))

	It("keeps its protection whatever file of the agent is damaged, and somebody is told", func(ctx SpecContext) {
		server.Agent.Stop()
		before, err := server.Snapshot()
		Expect(err).NotTo(HaveOccurred())
		damaged := 0
		for i, name := range slices.Sorted(maps.Keys(saved)) {
			content := saved[name]
			if len(content) == 0 || name == "last-pass.json" || strings.HasSuffix(name, "lock") {
				continue // what only people read, and what nobody does
			}
			// Each in another place, or in all of them for who has a minute.
			places := []int{0, len(content) / 2, len(content) - 2}
			if os.Getenv("EMS_THOROUGH") == "" {
				places = places[i%len(places):][:1]
			}
			for _, at := range places {
				damaged++
				writeTree(server.StateDir, saved)
				spoilt := append([]byte(nil), content...)
				spoilt[at] ^= 0x04
				Expect(os.WriteFile(filepath.Join(server.StateDir, name), spoilt, 0o600)).To(Succeed())
				logged := len(readFile(server.Agent.LogPath))
				Expect(server.Agent.Start()).To(Succeed())
				// It has worked, or it has ended because of what it found.
				Eventually(func() bool {
					_, err := lastpass.Read(server.StateDir)
					return err == nil || !server.Agent.Running()
				}).WithContext(ctx).WithPolling(10*time.Millisecond).Should(BeTrue(), name)
				works := server.Agent.Running()
				server.Agent.Stop()

				now, err := server.Snapshot()
				Expect(err).NotTo(HaveOccurred())
				Expect(now.Differences(before)).To(BeEmpty(), "%s with another byte %d", name, at)
				said := string(readFile(server.Agent.LogPath)[logged:])
				Expect(said).NotTo(ContainSubstring("panic"), name)
				if !works {
					Expect(said).To(ContainSubstring("credential"), "%s: an agent that does not even begin", name)
				}
				Expect(said).To(Or(ContainSubstring("amaged"), ContainSubstring("cannot be"), ContainSubstring("corrupt")), "%s with another byte %d of %d: nobody is told", name, at, len(content))
			}
		}
		Expect(damaged).To(BeNumerically(">", 10))
		AddReportEntry("bytes changed in files of the agent", damaged)
	}, NodeTimeout(4*limit))
})

func readFile(name string) []byte {
	GinkgoHelper()
	content, err := os.ReadFile(name)
	Expect(err).NotTo(HaveOccurred())
	return content
}

// readTree reads all files below a folder.
func readTree(dir string) map[string][]byte {
	GinkgoHelper()
	files := map[string][]byte{}
	Expect(filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			name, relErr := filepath.Rel(dir, path)
			Expect(relErr).NotTo(HaveOccurred())
			files[filepath.ToSlash(name)] = readFile(path)
		}
		return err
	})).To(Succeed())
	return files
}

// writeTree makes a folder hold these files and no others.
func writeTree(dir string, files map[string][]byte) {
	GinkgoHelper()
	Expect(os.RemoveAll(dir)).To(Succeed())
	for name, content := range files {
		if name == "last-pass.json" {
			continue // it is written anew
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		Expect(os.MkdirAll(filepath.Dir(path), 0o700)).To(Succeed())
		Expect(os.WriteFile(path, content, 0o600)).To(Succeed())
	}
}
