package e2e_test

import (
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/harness"
)

// A machine that is cloned takes its identity along, and so does whoever copies the state folder.
var _ = Describe("A copy of a server", Label("copy"), func() {
	It("is noticed by both, and by the cluster", func(ctx SpecContext) {
		pool := newPool(ctx, "copied", members("one"))
		server := pool.servers[0]
		pool.waitFor(ctx, emsv1.StateApplied, "M1")

		dir := GinkgoT().TempDir()
		Expect(os.CopyFS(filepath.Join(dir, "disk"), os.DirFS(server.Root))).To(Succeed())
		Expect(os.CopyFS(filepath.Join(dir, "state"), os.DirFS(server.StateDir))).To(Succeed())
		Expect(os.Chmod(filepath.Join(dir, "state"), 0o700)).To(Succeed())
		second := &harness.Process{
			Name: "copy of " + server.Name, Path: server.Agent.Path, LogPath: filepath.Join(dir, "log"),
			Args: []string{"--iis-root=" + filepath.Join(dir, "disk"), "--state-dir=" + filepath.Join(dir, "state"), "--trust-file=" + server.TrustFile, "--product=" + string(emsv1.ExchangeServer), "--role=Mailbox"},
		}
		Expect(second.Start()).To(Succeed())
		DeferCleanup(second.Stop)
		begin := time.Now()

		noticed := ContainSubstring("Somebody else works with the identity of this server")
		Eventually(func() string { return second.Tail(200) }).WithContext(ctx).Should(noticed)
		Eventually(func() string { return server.Agent.Tail(200) }).WithContext(ctx).Should(noticed)
		AddReportEntry("noticed by both after", time.Since(begin).Round(time.Second).String())
		Eventually(func() ([]eventsv1.Event, error) {
			var list eventsv1.EventList
			err := env.Client.List(ctx, &list, client.InNamespace(server.Pool.Namespace))
			return list.Items, err
		}).WithContext(ctx).Should(ContainElement(And(
			HaveField("Reason", "IdentityShared"), HaveField("Regarding.Kind", "PoolServer"), HaveField("Regarding.Name", server.Name),
			HaveField("Note", ContainSubstring("enroll --again -n "+server.Pool.Namespace)))))
	}, NodeTimeout(3*limit))
})
