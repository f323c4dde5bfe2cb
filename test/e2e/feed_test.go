package e2e_test

import (
	"bytes"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/harness"
	"mitigation.dev/ems/test/kstatus"
)

// full is the document that everybody has accepted when a test begins.
func full() []ocs.Config { return []ocs.Config{harness.PING1(), harness.M1(), harness.ECP1()} }

// badFeed is something wrong with the endpoint or its document.
type badFeed struct {
	// breakIt makes it wrong.
	breakIt func(ctx SpecContext)
	// spec is a change of the feed's spec that goes with it.
	spec       string
	wantReason string
	// wantStalled says that the feed waits for a person. Otherwise it tries again by itself.
	wantStalled bool
	wantMessage string
}

// entry is one with a time limit.
func entry(description string, arguments ...any) TableEntry {
	return Entry(description, append(arguments, NodeTimeout(3*limit), Offset(1))...)
}

var _ = Describe("A feed that goes wrong", Ordered, func() {
	var pool *fixture

	signed := func(publisher *harness.Publisher) []byte {
		GinkgoHelper()
		document, err := publisher.Publish(full()...)
		Expect(err).NotTo(HaveOccurred())
		return document
	}

	// older is a genuine document that was never served.
	var older []byte

	BeforeAll(func(ctx SpecContext) {
		older = signed(env.Publisher)
		publish(ctx, full()...)
		pool = newPool(ctx, "feeds", members("srv1"))
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
	}, NodeTimeout(3*limit))

	DescribeTable("says why, changes nothing, and recovers", func(ctx SpecContext, bad badFeed) {
		before := pool.snapshots()
		var m1 emsv1.Mitigation
		Expect(env.Client.Get(ctx, client.ObjectKey{Name: "m1"}, &m1)).To(Succeed())

		bad.breakIt(ctx)
		if bad.spec != "" {
			kubectl(ctx, "patch", "mitigationfeed", feedName, "--type=merge", "-p", `{"spec":`+bad.spec+`}`)
		}
		feed := poll(ctx)
		ready := meta.FindStatusCondition(feed.Status.Conditions, emsv1.ReadyCondition)
		Expect(*ready).To(And(
			HaveField("Status", metav1.ConditionFalse), HaveField("Reason", bad.wantReason), HaveField("Message", ContainSubstring(bad.wantMessage)),
		))
		Expect(meta.IsStatusConditionTrue(feed.Status.Conditions, emsv1.StalledCondition)).To(Equal(bad.wantStalled))
		Expect(meta.IsStatusConditionTrue(feed.Status.Conditions, emsv1.ReconcilingCondition)).To(Equal(!bad.wantStalled))
		Expect(feed).To(kstatus.BeConsistent())
		Eventually(eventsAbout(ctx, "default", feedName)).WithContext(ctx).Should(ContainElement(HavePrefix(bad.wantReason)))

		var still emsv1.Mitigation
		Expect(env.Client.Get(ctx, client.ObjectKey{Name: "m1"}, &still)).To(Succeed())
		Expect(still.Spec).To(Equal(m1.Spec))
		Expect(pool.snapshots()).To(Equal(before))

		Expect(env.Endpoint.Up()).To(Succeed())
		publish(ctx, full()...)
		kubectl(ctx, "patch", "mitigationfeed", feedName, "--type=merge", "-p", `{"spec":{"timeoutSeconds":null}}`)
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
	},
		entry("unreachable", badFeed{breakIt: func(SpecContext) { env.Endpoint.Down() }, wantReason: emsv1.UnreachableReason}),
		entry("slow", badFeed{breakIt: func(SpecContext) { env.Endpoint.Stall() }, spec: `{"timeoutSeconds":2}`, wantReason: emsv1.TimedOutReason}),
		entry("answers 500", badFeed{breakIt: func(SpecContext) {
			env.Endpoint.Answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
		}, wantReason: emsv1.UnexpectedStatusReason, wantMessage: "500"}),
		entry("redirects to another host", badFeed{breakIt: func(SpecContext) {
			env.Endpoint.Answer(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
			})
		}, wantReason: emsv1.RedirectedReason, wantStalled: true, wantMessage: "elsewhere.example"}),
		entry("too large", badFeed{breakIt: func(SpecContext) {
			env.Endpoint.Serve(bytes.Repeat([]byte("x"), xmlsig.MaxDocumentBytes+1))
		}, wantReason: emsv1.DocumentTooLargeReason, wantStalled: true}),
		entry("not XML", badFeed{breakIt: func(SpecContext) {
			env.Endpoint.Serve([]byte("<html>please log in</html"))
		}, wantReason: emsv1.DocumentMalformedReason, wantStalled: true}),
		entry("tampered with", badFeed{breakIt: func(SpecContext) {
			tampered, err := harness.Tamper(signed(env.Publisher))
			Expect(err).NotTo(HaveOccurred())
			env.Endpoint.Serve(tampered)
		}, wantReason: emsv1.SignatureInvalidReason, wantStalled: true}),
		entry("signed under another root", badFeed{breakIt: func(SpecContext) {
			stranger, err := harness.NewPublisher()
			Expect(err).NotTo(HaveOccurred())
			env.Endpoint.Serve(signed(stranger))
		}, wantReason: emsv1.SignerUntrustedReason, wantStalled: true}),
		entry("older than what was accepted", badFeed{breakIt: func(SpecContext) {
			env.Endpoint.Serve(older)
		}, wantReason: emsv1.DocumentRolledBackReason, wantStalled: true}),
	)

	DescribeTable("refuses what is wrong alone", func(ctx SpecContext, change func([]byte) []byte, wantID, wantReason string, configs []ocs.Config) {
		document, err := env.Publisher.PublishChanged(change, configs...)
		Expect(err).NotTo(HaveOccurred())
		env.Endpoint.Serve(document)
		feed := poll(ctx)
		expectReady(feed, emsv1.PartlyAcceptedReason)
		Expect(feed.Status.Refused).To(And(Not(BeEmpty()), HaveEach(And(HaveField("ID", wantID), HaveField("Reason", wantReason)))))
		waitReady(ctx, "poolserver/srv1", "-n", pool.Namespace)
		pool.waitFor(ctx, emsv1.StateApplied, "PING1", "M1", "ECP1")
		publish(ctx, full()...)
	},
		entry("a Config with an unknown element", func(document []byte) []byte {
			return []byte(strings.Replace(string(document), "<SideEffects>", "<Surprise/><SideEffects>", 1))
		}, "M1", ocs.ReasonUnknownContent, full()),
		entry("Configs with the same id", func(document []byte) []byte {
			return []byte(strings.Replace(string(document), `<Config id="M9"`, `<Config id="M1"`, 1))
		}, "M1", ocs.ReasonDuplicateID, append(full(), another())),
	)
})

// another is a Config that no server has, to be renamed.
func another() ocs.Config {
	config := harness.PING1()
	config.ID = "M9"
	return config
}
