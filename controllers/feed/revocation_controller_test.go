package feed_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed/lists"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/revocation"
	"mitigation.dev/ems/test/kstatus"
	"mitigation.dev/ems/test/pki"
)

// distributionPoint serves revocation lists over plain http, as authorities do.
type distributionPoint struct {
	*httptest.Server

	mu    sync.Mutex
	lists map[string][]byte
}

func newDistributionPoint() *distributionPoint {
	p := &distributionPoint{lists: map[string][]byte{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		der, ok := p.lists[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(der)
	}))
	DeferCleanup(p.Close)
	return p
}

// serve serves a list of the authority from a while ago, and returns it.
func (p *distributionPoint) serve(path string, authority *pki.Identity, age time.Duration, revoked ...*pki.Identity) []byte {
	GinkgoHelper()
	from := time.Now().Add(-age)
	list, err := authority.RevocationList(from, from.Add(7*24*time.Hour), revoked...)
	Expect(err).NotTo(HaveOccurred())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lists[path] = list.Raw
	return list.Raw
}

func (p *distributionPoint) remove(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.lists, path)
}

func pemLists(ders ...[]byte) string {
	var bundle []byte
	for _, der := range ders {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return string(bundle)
}

// digestOf is the digest of lists in DER.
func digestOf(ders ...[]byte) string {
	GinkgoHelper()
	var parsed []*revocation.List
	for _, der := range ders {
		list, err := revocation.Parse(der)
		Expect(err).NotTo(HaveOccurred())
		parsed = append(parsed, list)
	}
	return revocation.Digest(parsed)
}

var _ = Describe("Revocation lists", func() {
	var (
		keys   *pki.PKI
		server *endpoint
		point  *distributionPoint
		source *emsv1.MitigationFeed
	)

	BeforeEach(func() {
		var err error
		keys, err = pki.New(time.Now())
		Expect(err).NotTo(HaveOccurred())
		server, point = newEndpoint(), newDistributionPoint()
		server.serve(signed(keys, 1, config("M1", 1)), `"one"`, http.StatusOK)
		source = &emsv1.MitigationFeed{
			ObjectMeta: metav1.ObjectMeta{Name: "revoking"},
			Spec: emsv1.MitigationFeedSpec{
				URL: server.URL, CABundle: server.caBundle(), Product: emsv1.ExchangeServer,
				Trust: emsv1.TrustPolicy{
					Roots: string(keys.Root.PEM()),
					Revocation: emsv1.Revocation{
						Mode: emsv1.RevocationMode("Require"),
						URLs: []string{point.URL + "/issuing.crl", point.URL + "/root.crl"},
					},
				},
			},
		}
		DeferCleanup(deleteAll)
	})

	// poll asks for a poll and waits until it has been made.
	poll := func(ctx context.Context) {
		GinkgoHelper()
		stamp := time.Now().Format(time.RFC3339Nano)
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
		patch := client.MergeFrom(source.DeepCopy())
		source.Annotations = map[string]string{emsv1.ReconcileRequestAnnotation: stamp}
		Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
			g.Expect(source.Status.LastHandledReconcileAt).To(Equal(stamp))
		}).Should(Succeed())
		Expect(source).To(kstatus.BeConsistent())
	}
	// inBundles returns the digests of the lists in all bundles.
	inBundles := func(ctx context.Context) func() ([]string, error) {
		return func() ([]string, error) {
			var list emsv1.MitigationBundleList
			err := env.Client.List(ctx, &list)
			var digests []string
			for i := range list.Items {
				digests = append(digests, digestOf(list.Items[i].Spec.RevocationLists...))
			}
			return digests, err
		}
	}
	listsRead := func() string {
		c := meta.FindStatusCondition(source.Status.Conditions, emsv1.RevocationListsReadCondition)
		if c == nil {
			return "absent"
		}
		return string(c.Status) + " " + c.Reason
	}
	// ready returns the reason of Ready as it was read last.
	ready := func() string { return conditions.Current(source.Status.Conditions).Reason }

	When("they have been fetched", func() {
		var ofIssuing, ofRoot []byte

		BeforeEach(func(ctx SpecContext) {
			ofIssuing, ofRoot = point.serve("/issuing.crl", keys.Issuing, time.Hour), point.serve("/root.crl", keys.Root, time.Hour)
			Expect(env.Client.Create(ctx, source)).To(Succeed())
		})

		It("are there before the first document is judged, and go with its bundle", func(ctx SpecContext) {
			DeferCleanup(runFeeds(ctx))
			Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
			Expect(source).To(kstatus.BeConsistent())
			Expect(source.Status.Failures).To(BeNil(), "no document was refused for want of a list")
			Expect(listsRead()).To(Equal("True ListsRead"))

			status := source.Status.Revocation
			Expect(status.BundleName).To(Equal(source.Status.Document.BundleName))
			Expect(status.Digest).To(Equal(digestOf(ofIssuing, ofRoot)))
			Expect(status.LastReadTime).NotTo(BeNil())
			Expect(status.Lists).To(ConsistOf(
				And(HaveField("Issuer", keys.Issuing.Certificate.Subject.String()), HaveField("Source", point.URL+"/issuing.crl"), HaveField("Number", Not(BeEmpty()))),
				And(HaveField("Issuer", keys.Root.Certificate.Subject.String()), HaveField("Source", point.URL+"/root.crl"), HaveField("NextUpdateTime", Not(BeNil()))),
			))
			Expect(inBundles(ctx)()).To(Equal([]string{status.Digest}))
		})

		It("reach every bundle when the signer is revoked, and refuse its documents, and take nothing away", func(ctx SpecContext) {
			DeferCleanup(runFeeds(ctx))
			Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
			server.serve(signed(keys, 2, config("M1", 2)), `"two"`, http.StatusOK)
			poll(ctx)
			Expect(ready()).To(Equal(emsv1.DocumentAcceptedReason))
			accepted := source.Status.Document.Digest

			revoking := point.serve("/issuing.crl", keys.Issuing, time.Minute, keys.ECDSA)
			server.serve(signed(keys, 3, config("M1", 3)), `"three"`, http.StatusOK)
			poll(ctx)
			Expect(ready()).To(Equal(emsv1.SignerUntrustedReason))
			Expect(conditions.Current(source.Status.Conditions).Message).To(ContainSubstring("revoked"))
			Expect(source.Status.Document.Digest).To(Equal(accepted))
			digest := digestOf(revoking, ofRoot)
			Expect(source.Status.Revocation.Digest).To(Equal(digest))
			Expect(inBundles(ctx)()).To(Equal([]string{digest, digest}), "agents of the older document have to know as well")
			m1 := &emsv1.Mitigation{}
			Expect(env.Client.Get(ctx, client.ObjectKey{Name: "m1"}, m1)).To(Succeed())
			Expect(m1.Spec.Revision).To(BeEquivalentTo(2))
			Expect(m1.Spec.Lifecycle).To(Equal(emsv1.LifecycleActive))
		})

		It("reach the bundle while the endpoint of the documents is down", func(ctx SpecContext) {
			DeferCleanup(runFeeds(ctx))
			Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
			revoking := point.serve("/issuing.crl", keys.Issuing, time.Minute, keys.ECDSA)
			server.serve(nil, "", http.StatusInternalServerError)
			poll(ctx)
			Expect(ready()).To(Equal(emsv1.UnexpectedStatusReason))
			Expect(inBundles(ctx)()).To(Equal([]string{digestOf(revoking, ofRoot)}))
		})

		It("never go back, not even over a restart", func(ctx SpecContext) {
			stop := runFeeds(ctx)
			Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
			newest := source.Status.Revocation.Digest

			point.serve("/issuing.crl", keys.Issuing, 48*time.Hour)
			poll(ctx)
			Expect(listsRead()).To(Equal("False ListRefused"))
			Expect(source.Status.Revocation.Digest).To(Equal(newest))
			Expect(ready()).To(Equal(emsv1.DocumentAcceptedReason), "the list that is there still counts")
			stop()

			DeferCleanup(runFeeds(ctx))
			poll(ctx)
			Expect(listsRead()).To(Equal("False ListRefused"))
			Expect(source.Status.Revocation.Digest).To(Equal(newest))
			Expect(inBundles(ctx)()).To(Equal([]string{newest}))
			Expect(source.Status.Revocation.Lists).To(HaveEach(HaveField("Source", HavePrefix(point.URL))), "where a list came from is known over a restart")
		})

		It("stay in use while they cannot be fetched, with condition and event", func(ctx SpecContext) {
			DeferCleanup(runFeeds(ctx))
			Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
			before := source.Status.Revocation

			point.remove("/issuing.crl")
			poll(ctx)
			Expect(listsRead()).To(Equal("False ListUnreadable"))
			Expect(meta.FindStatusCondition(source.Status.Conditions, emsv1.RevocationListsReadCondition).Message).To(
				And(ContainSubstring("/issuing.crl"), ContainSubstring("status 404"), Not(ContainSubstring("/root.crl"))))
			Expect(ready()).To(Equal(emsv1.DocumentAcceptedReason))
			Expect(source.Status.Revocation.Digest).To(Equal(before.Digest))
			Expect(source.Status.Revocation.LastReadTime).To(Equal(before.LastReadTime), "not all lists were read")
			Eventually(func(g Gomega) {
				var list eventsv1.EventList
				g.Expect(env.Client.List(ctx, &list)).To(Succeed())
				g.Expect(list.Items).To(ContainElement(And(
					HaveField("Reason", emsv1.ListUnreadableReason), HaveField("Type", corev1.EventTypeWarning), HaveField("Regarding.Name", "revoking"))))
			}).Should(Succeed())

			point.serve("/issuing.crl", keys.Issuing, time.Minute)
			poll(ctx)
			Expect(listsRead()).To(Equal("True ListsRead"))
			Expect(source.Status.Revocation.Digest).NotTo(Equal(before.Digest))
		})

		It("are put back when somebody takes them out of the bundle", func(ctx SpecContext) {
			DeferCleanup(runFeeds(ctx))
			Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
			bundle := &emsv1.MitigationBundle{}
			Expect(env.Client.Get(ctx, client.ObjectKey{Name: source.Status.Document.BundleName}, bundle)).To(Succeed())
			patch := client.MergeFrom(bundle.DeepCopy())
			bundle.Spec.RevocationLists = nil
			Expect(env.Client.Patch(ctx, bundle, patch)).To(Succeed())
			Eventually(inBundles(ctx)).Should(Equal([]string{source.Status.Revocation.Digest}))
		})

		It("stay in the bundle when revocation is switched off", func(ctx SpecContext) {
			DeferCleanup(runFeeds(ctx))
			Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
			digest := source.Status.Revocation.Digest
			patch := client.MergeFrom(source.DeepCopy())
			source.Spec.Trust.Revocation = emsv1.Revocation{Mode: emsv1.RevocationMode("Off")}
			Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
			Eventually(func() (string, error) {
				err := env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)
				return listsRead(), err
			}).Should(Equal("absent"))
			Expect(source).To(kstatus.BeConsistent())
			Expect(inBundles(ctx)()).To(Equal([]string{digest}))
		})
	})

	It("that cannot be fetched refuse the first document in mode Require, and say why", func(ctx SpecContext) {
		point.serve("/root.crl", keys.Root, time.Hour)
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.SignerUntrustedReason))
		Expect(conditions.Current(source.Status.Conditions).Message).To(And(ContainSubstring("no current revocation list"), ContainSubstring("/issuing.crl"), ContainSubstring("404")))
		Expect(listsRead()).To(Equal("False ListUnreadable"))
		Expect(source).To(kstatus.BeConsistent())

		point.serve("/issuing.crl", keys.Issuing, time.Hour)
		poll(ctx)
		Expect(ready()).To(Equal(emsv1.DocumentAcceptedReason))
		Expect(source.Status.Revocation.Lists).To(HaveLen(2))
	})

	It("that somebody forged are not used, however new", func(ctx SpecContext) {
		foreign, err := pki.New(time.Now())
		Expect(err).NotTo(HaveOccurred())
		point.serve("/issuing.crl", foreign.Issuing, time.Minute)
		ofRoot := point.serve("/root.crl", keys.Root, time.Hour)
		source.Spec.Trust.Revocation.Mode = "Prefer"
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
		Expect(listsRead()).To(Equal("False ListRefused"))
		Expect(source.Status.Revocation.Digest).To(Equal(digestOf(ofRoot)))
		Expect(source).To(kstatus.BeConsistent())
	})

	It("of the policy itself go with the bundle, too", func(ctx SpecContext) {
		ofIssuing, ofRoot := point.serve("/issuing.crl", keys.Issuing, time.Hour), point.serve("/root.crl", keys.Root, time.Hour)
		source.Spec.Trust.Revocation.URLs = nil
		source.Spec.Trust.Revocation.CRLs = pemLists(ofIssuing, ofRoot)
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
		Expect(listsRead()).To(Equal("absent"))
		Expect(source.Status.Revocation.Lists).To(HaveEach(HaveField("Source", lists.ConfiguredSource)))
		Expect(inBundles(ctx)()).To(Equal([]string{digestOf(ofIssuing, ofRoot)}))
	})
})
