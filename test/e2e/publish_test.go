package e2e_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/harness"
)

// publisher works with the real plugin in a folder of its own, as an organisation would.
type publisher struct{ plugin, folder string }

// newPublisher writes what the plugin needs: keys, a trust file, and one mitigation.
func newPublisher() *publisher {
	GinkgoHelper()
	p := &publisher{plugin: env.Programs.Plugin, folder: GinkgoT().TempDir()}
	signer := env.Publisher.PKI.ECDSA
	var chain []byte
	for _, c := range signer.Chain() {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(signer.Key)
	Expect(err).NotTo(HaveOccurred())
	p.write("chain.pem", string(chain))
	p.write("signing.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	root := strings.ReplaceAll(strings.TrimSpace(string(env.Publisher.PKI.Root.PEM())), "\n", "\n      ")
	p.write("trust.yaml", "apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n  own:\n    roots: |\n      "+root+"\n")
	Expect(os.Mkdir(filepath.Join(p.folder, "mitigations"), 0o755)).To(Succeed())
	return p
}

func (p *publisher) write(name, content string) {
	GinkgoHelper()
	Expect(os.WriteFile(filepath.Join(p.folder, name), []byte(content), 0o600)).To(Succeed())
}

// run runs a command of the plugin and expects it to succeed.
func (p *publisher) run(ctx context.Context, arguments ...string) {
	GinkgoHelper()
	command := exec.CommandContext(ctx, p.plugin, arguments...)
	command.Dir = p.folder
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
}

// sign makes the document say a revision of the one mitigation.
func (p *publisher) sign(ctx context.Context, id string, revision int) {
	GinkgoHelper()
	p.write("mitigations/one.yaml", fmt.Sprintf("apiVersion: ems.mitigation.dev/publish/v1\nid: %s\nrevision: %d\ndescription: arrives\nseverity: Low\n"+
		"actions:\n  - {type: DoNothing, scope: Server, description: does nothing, value: DoNothing}\n", id, revision))
	sequence := []string{"--sequence", "1"}
	if revision > 1 {
		sequence = []string{"--increase-from", "own.xml"}
	}
	p.run(ctx, append([]string{"feed", "sign", "--in", "mitigations", "--out", "own.xml", "--key", "signing.key", "--certs", "chain.pem", "--trust", "trust.yaml"}, sequence...)...)
}

// bundle packs the document and a list that revokes nothing.
func (p *publisher) bundle(ctx context.Context, feed, out string) string {
	GinkgoHelper()
	list, err := env.Publisher.PKI.Issuing.RevocationList(time.Now().Add(-time.Minute), time.Now().Add(time.Hour))
	Expect(err).NotTo(HaveOccurred())
	p.write("issuing.crl", string(list.Raw))
	p.run(ctx, "feed", "bundle", "create", "--document", "own.xml", "--trust", "trust.yaml", "--crl", "issuing.crl", "--name", feed+"-document", "--out", out)
	return filepath.Join(p.folder, out)
}

// ownFeed creates a feed beside the one of all tests. It goes with all that it brought, because other tests count mitigations.
func ownFeed(ctx context.Context, name string, spec emsv1.MitigationFeedSpec) {
	GinkgoHelper()
	spec.Product, spec.IntervalSeconds = emsv1.IISServer, 3600
	spec.Trust.Roots = string(env.Publisher.PKI.Root.PEM())
	DeferCleanup(func(ctx SpecContext) {
		kubectl(ctx, "delete", "mitigationfeed", name)
		of := client.MatchingLabels{emsv1.FeedLabel: name}
		Expect(env.Client.DeleteAllOf(ctx, &emsv1.MitigationBundle{}, of)).To(Succeed())
		Expect(env.Client.DeleteAllOf(ctx, &emsv1.Mitigation{}, of)).To(Succeed())
	})
	Expect(env.Apply(ctx, &emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec})).To(Succeed())
	waitReady(ctx, "mitigationfeed/"+name)
}

// revisionOf returns the revision of a mitigation in the API server; 0 while there is none.
func revisionOf(ctx context.Context, name string) func() int64 {
	return func() int64 {
		var m emsv1.Mitigation
		_ = env.Client.Get(ctx, client.ObjectKey{Name: name}, &m)
		return m.Spec.Revision
	}
}

var _ = Describe("An organisation that publishes with the plugin", func() {
	It("carries bundles to a cluster that it cannot reach", func(ctx SpecContext) {
		p := newPublisher()
		p.sign(ctx, "CARRIED1", 1)
		first := p.bundle(ctx, "carried", "first.yaml")
		kubectl(ctx, "apply", "--server-side", "-f", first)
		DeferCleanup(func(ctx SpecContext) {
			Expect(env.Client.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ems-system", Name: "carried-document"}})).To(Succeed())
		})
		ownFeed(ctx, "carried", emsv1.MitigationFeedSpec{
			ConfigMapRef: emsv1.ConfigMapKeyReference{Name: "carried-document", Key: "document.xml"},
			Trust:        emsv1.TrustPolicy{Revocation: emsv1.Revocation{Mode: "Prefer"}},
		})
		Expect(revisionOf(ctx, "carried1")()).To(BeEquivalentTo(1))

		By("bringing the revocation list that came along")
		p.run(ctx, "feed", "bundle", "verify", "first.yaml", "--trust", "trust.yaml", "--extract", "extracted")
		kubectl(ctx, "patch", "mitigationfeed", "carried", "--type=merge", "--patch-file", filepath.Join(p.folder, "extracted", "feed-crls-patch.yaml"))
		Eventually(func(g Gomega) {
			var feed emsv1.MitigationFeed
			g.Expect(env.Client.Get(ctx, client.ObjectKey{Name: "carried"}, &feed)).To(Succeed())
			g.Expect(feed.Status.Revocation.Lists).To(HaveLen(1))
			g.Expect(feed.Status.Revocation.Lists[0].Source).To(Equal("spec.trust.revocation.crls"))
		}).WithContext(ctx).Should(Succeed())

		By("bringing the next bundle")
		p.sign(ctx, "CARRIED1", 2)
		kubectl(ctx, "apply", "--server-side", "-f", p.bundle(ctx, "carried", "second.yaml"))
		feed, err := env.Poll(ctx, "carried", limit)
		Expect(err).NotTo(HaveOccurred())
		expectReady(feed, emsv1.DocumentAcceptedReason)
		Eventually(revisionOf(ctx, "carried1")).WithContext(ctx).Should(BeEquivalentTo(2))

		By("bringing the first one again by mistake")
		kubectl(ctx, "apply", "--server-side", "-f", first)
		feed, err = env.Poll(ctx, "carried", limit)
		Expect(err).NotTo(HaveOccurred())
		Expect(harness.ReadyText(feed.Status.Conditions)).To(HavePrefix("Ready=False, " + emsv1.DocumentRolledBackReason))
		Expect(revisionOf(ctx, "carried1")()).To(BeEquivalentTo(2))
	}, NodeTimeout(4*limit))

	It("serves a document that the manager learns of at once, also when it was restarted meanwhile", func(ctx SpecContext) {
		p := newPublisher()
		p.sign(ctx, "PUSHED1", 1)
		certificate, key, root, err := harness.ServerCertificate()
		Expect(err).NotTo(HaveOccurred())
		p.write("tls.pem", string(certificate))
		p.write("tls.key", string(key))
		address := freeAddress(ctx)
		server := &harness.Process{
			Name: "feed serve", Path: p.plugin, LogPath: filepath.Join(p.folder, "serve.log"),
			Args: []string{
				"feed", "serve", "--document", filepath.Join(p.folder, "own.xml"), "--listen", address, "--trust", filepath.Join(p.folder, "trust.yaml"),
				"--tls-cert", filepath.Join(p.folder, "tls.pem"), "--tls-key", filepath.Join(p.folder, "tls.key"),
			},
		}
		Expect(server.Start()).To(Succeed())
		DeferCleanup(server.Stop)
		Eventually(func() string { return server.Tail(3) }).WithContext(ctx).Should(ContainSubstring("Listening"))
		ownFeed(ctx, "pushed", emsv1.MitigationFeedSpec{URL: "https://" + address + "/mitigations.xml", CABundle: string(root)})
		connected := func() emsv1.PushState {
			var feed emsv1.MitigationFeed
			_ = env.Client.Get(ctx, client.ObjectKey{Name: "pushed"}, &feed)
			return feed.Status.Push
		}
		Eventually(connected).WithContext(ctx).Should(Equal(emsv1.PushConnected))

		By("publishing")
		p.sign(ctx, "PUSHED1", 2)
		published := time.Now()
		Eventually(revisionOf(ctx, "pushed1")).WithContext(ctx).WithPolling(10 * time.Millisecond).Should(BeEquivalentTo(2))
		AddReportEntry("from the signed document to the Mitigation, by push", time.Since(published).Round(time.Millisecond).String())

		By("publishing while the manager is away")
		env.Manager.Kill()
		p.sign(ctx, "PUSHED1", 3)
		Expect(env.StartManager(ctx)).To(Succeed())
		Eventually(revisionOf(ctx, "pushed1")).WithContext(ctx).Should(BeEquivalentTo(3))
	}, NodeTimeout(4*limit))
})

func freeAddress(ctx context.Context) string {
	GinkgoHelper()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(listener.Close()).To(Succeed()) }()
	return listener.Addr().String()
}
