package feed_test

import (
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/test/kstatus"
	"mitigation.dev/ems/test/pki"
)

var _ = Describe("A feed whose issuer pin is only logged", func() {
	It("accepts a document of another issuer, says so, and refuses it once the pin is enforced", func(ctx SpecContext) {
		keys, err := pki.New(time.Now())
		Expect(err).NotTo(HaveOccurred())
		server := newEndpoint()
		server.serve(signed(keys, 7, config("M1", 1)), "", http.StatusOK)
		source := &emsv1.MitigationFeed{
			ObjectMeta: metav1.ObjectMeta{Name: "exchange"},
			Spec: emsv1.MitigationFeedSpec{
				URL: server.URL, CABundle: server.caBundle(), Product: emsv1.ExchangeServer,
				Trust: emsv1.TrustPolicy{
					Roots: string(keys.Root.PEM()), IssuerPins: []string{strings.Repeat("a", 64)}, Levels: emsv1.TrustLevels{IssuerPins: emsv1.LogLevel},
				},
			},
		}
		DeferCleanup(func(ctx SpecContext) {
			for _, kind := range []client.Object{&emsv1.MitigationFeed{}, &emsv1.Mitigation{}, &emsv1.MitigationBundle{}} {
				Expect(env.Client.DeleteAllOf(ctx, kind)).To(Succeed())
			}
		})
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(env.RunManager(ctx, func(mgr ctrl.Manager) error {
			return (&feed.Reconciler{
				Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: "default",
				Recorder: mgr.GetEventRecorder("ems-feed"), Clock: clock.RealClock{},
			}).SetupWithManager(mgr)
		}))
		ready := func() (string, error) {
			err := env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)
			return conditions.Current(source.Status.Conditions).Reason, err
		}
		Eventually(ready).Should(Equal(emsv1.DocumentAcceptedReason))
		Expect(source).To(kstatus.BeConsistent())
		checked := meta.FindStatusCondition(source.Status.Conditions, emsv1.TrustChecksPassedCondition)
		Expect(checked).To(And(HaveField("Status", metav1.ConditionFalse), HaveField("Reason", emsv1.IssuerNotPinnedReason)))
		Expect(checked.Message).To(ContainSubstring("is not pinned"))
		Eventually(func(g Gomega) {
			var list eventsv1.EventList
			g.Expect(env.Client.List(ctx, &list)).To(Succeed())
			g.Expect(list.Items).To(ContainElement(And(
				HaveField("Reason", emsv1.IssuerNotPinnedReason), HaveField("Type", "Warning"), HaveField("Regarding.Name", "exchange"))))
		}).Should(Succeed())

		By("enforcing the pin")
		patch := client.MergeFrom(source.DeepCopy())
		source.Spec.Trust.Levels.IssuerPins = emsv1.EnforceLevel
		Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
		Eventually(ready).Should(Equal(emsv1.SignerUntrustedReason))
		Expect(source.Status.Document.Sequence).To(BeEquivalentTo(7), "what was accepted stays")
	})
})
