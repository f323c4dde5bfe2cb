package feed_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/publish"
	"mitigation.dev/ems/test/kstatus"
	"mitigation.dev/ems/test/pki"
)

// pushGoal is how long a published document may take until its mitigations stand in the API server.
const pushGoal = 2 * time.Second

// runFeeds runs the reconciler alone and deletes what is left at the end.
func runFeeds(ctx context.Context) (stop func()) {
	return env.RunManager(ctx, func(mgr ctrl.Manager) error {
		return (&feed.Reconciler{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: "default",
			Recorder: mgr.GetEventRecorder("ems-feed"), Clock: clock.RealClock{},
		}).SetupWithManager(mgr)
	})
}

func deleteAll(ctx SpecContext) {
	for _, kind := range []client.Object{&emsv1.MitigationFeed{}, &emsv1.Mitigation{}, &emsv1.MitigationBundle{}} {
		Expect(env.Client.DeleteAllOf(ctx, kind)).To(Succeed())
	}
}

// reasonOf returns the reason of Ready of a feed, and reads the feed anew.
func reasonOf(ctx context.Context, source *emsv1.MitigationFeed) func() (string, error) {
	return func() (string, error) {
		err := env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)
		return conditions.Current(source.Status.Conditions).Reason, err
	}
}

// served is a document served as `kubectl mitigation feed serve` does.
type served struct {
	*httptest.Server

	file      string
	publisher *publish.Server
}

func serveDocument(document []byte) *served {
	GinkgoHelper()
	s := &served{file: filepath.Join(GinkgoT().TempDir(), "mitigations.xml")}
	Expect(os.WriteFile(s.file, document, 0o600)).To(Succeed())
	var err error
	s.publisher, err = publish.NewServer(publish.ServerOptions{
		Document: s.file, Path: "/mitigations.xml", Read: os.ReadFile, MaxWaiting: 10, Log: logr.Discard(),
	})
	Expect(err).NotTo(HaveOccurred())
	s.Server = httptest.NewTLSServer(s.publisher)
	DeferCleanup(s.Close)
	return s
}

func (s *served) publish(document []byte) {
	GinkgoHelper()
	Expect(os.WriteFile(s.file, document, 0o600)).To(Succeed())
	Expect(s.publisher.Reload()).To(BeTrue())
}

func (s *served) spec(keys *pki.PKI) emsv1.MitigationFeedSpec {
	return emsv1.MitigationFeedSpec{
		URL: s.URL + "/mitigations.xml", Product: emsv1.ExchangeServer,
		CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})),
		Trust:    emsv1.TrustPolicy{Roots: string(keys.Root.PEM())},
	}
}

var _ = Describe("Push", func() {
	var (
		keys   *pki.PKI
		server *served
		source *emsv1.MitigationFeed
	)

	BeforeEach(func() {
		var err error
		keys, err = pki.New(time.Now())
		Expect(err).NotTo(HaveOccurred())
		server = serveDocument(signed(keys, 1, config("M1", 1)))
		source = &emsv1.MitigationFeed{ObjectMeta: metav1.ObjectMeta{Name: "pushed"}, Spec: server.spec(keys)}
		DeferCleanup(deleteAll)
	})

	pushState := func(ctx context.Context) func() (emsv1.PushState, error) {
		return func() (emsv1.PushState, error) {
			err := env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)
			return source.Status.Push, err
		}
	}
	// revision returns the revision of m1.
	revision := func(ctx context.Context) func() (int64, error) {
		return func() (int64, error) {
			m := &emsv1.Mitigation{}
			err := env.Client.Get(ctx, client.ObjectKey{Name: "m1"}, m)
			return m.Spec.Revision, err
		}
	}

	It("brings a published mitigation into the API server within two seconds, again and again", func(ctx SpecContext) {
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(pushState(ctx)).Should(Equal(emsv1.PushConnected))
		Expect(source).To(kstatus.BeConsistent())

		var took []time.Duration
		for n := int64(2); n <= 4; n++ {
			document := signed(keys, n, config("M1", n))
			start := time.Now()
			server.publish(document)
			Eventually(revision(ctx)).WithPolling(5 * time.Millisecond).WithTimeout(10 * time.Second).Should(Equal(n))
			took = append(took, time.Since(start))
			Eventually(func(g Gomega) {
				g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
				g.Expect(source.Status.Document.Sequence).To(Equal(n))
			}).Should(Succeed())
		}
		AddReportEntry("from publishing to the Mitigation in the API server", fmt.Sprint(took))
		Expect(took).To(HaveEach(BeNumerically("<", pushGoal)))
		Expect(source.Status.Push).To(Equal(emsv1.PushConnected))
		Expect(source).To(kstatus.BeConsistent())
	})

	It("tells once of a document that is refused, and brings the next one", func(ctx SpecContext) {
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(pushState(ctx)).Should(Equal(emsv1.PushConnected))

		foreign, err := pki.New(time.Now())
		Expect(err).NotTo(HaveOccurred())
		server.publish(signed(foreign, 2, config("M1", 2)))
		Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.SignerUntrustedReason))
		Expect(source.Status.Failures).To(HaveValue(BeEquivalentTo(1)))
		Expect(source).To(kstatus.BeConsistent())

		server.publish(signed(keys, 3, config("M1", 3)))
		Eventually(revision(ctx)).WithTimeout(10 * time.Second).Should(BeEquivalentTo(3))
		Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
		Expect(source.Status.Failures).To(BeNil(), "the endpoint was asked for the good one at once")
	})

	It("can be switched off, and says so", func(ctx SpecContext) {
		source.Spec.Push = emsv1.Disabled
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(pushState(ctx)).Should(Equal(emsv1.PushDisabled))

		patch := client.MergeFrom(source.DeepCopy())
		source.Spec.Push = emsv1.Enabled
		Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
		Eventually(pushState(ctx)).WithTimeout(10 * time.Second).Should(Equal(emsv1.PushConnected))

		patch = client.MergeFrom(source.DeepCopy())
		source.Spec.Polling = emsv1.Disabled
		Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
		Eventually(pushState(ctx)).Should(Equal(emsv1.PushDisabled))
	})

	It("is not offered by a plain endpoint, which is polled", func(ctx SpecContext) {
		plain := newEndpoint()
		plain.serve(signed(keys, 1, config("M1", 1)), `"one"`, 200)
		source.Spec.URL, source.Spec.CABundle = plain.URL, plain.caBundle()
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(pushState(ctx)).Should(Equal(emsv1.PushNotOffered))
		Expect(reasonOf(ctx, source)()).To(Equal(emsv1.DocumentAcceptedReason))
		Expect(source).To(kstatus.BeConsistent())
	})

	It("ends with the feed and with the manager", func(ctx SpecContext) {
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		stop := runFeeds(ctx)
		Eventually(pushState(ctx)).Should(Equal(emsv1.PushConnected))
		Expect(env.Client.Delete(ctx, source)).To(Succeed())
		stop()
		// Close waits for every open request.
		closed := make(chan struct{})
		go func() { defer close(closed); server.Close() }()
		Eventually(closed).WithTimeout(5 * time.Second).Should(BeClosed())
	})

	It("cuts an answer beyond the feed's own limits", func(ctx SpecContext) {
		source.Spec.Limits = emsv1.FetchLimits{MaxBytes: 1024}
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(runFeeds(ctx))
		Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentTooLargeReason))
		Expect(conditions.Current(source.Status.Conditions).Message).To(ContainSubstring("more than 1024 bytes"))
		Expect(source.Status.Push).To(BeEmpty())

		patch := client.MergeFrom(source.DeepCopy())
		source.Spec.Limits = emsv1.FetchLimits{MaxBytes: 65536, HeaderTimeoutSeconds: 5, ConnectTimeoutSeconds: 2, MinimumBytesPerSecond: 1000}
		Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
		Eventually(reasonOf(ctx, source)).Should(Equal(emsv1.DocumentAcceptedReason))
		Expect(source).To(kstatus.BeConsistent())
	})
})
