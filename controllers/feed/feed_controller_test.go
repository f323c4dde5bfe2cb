package feed_test

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/kstatus"
	"mitigation.dev/ems/test/pki"
)

// endpoint is an OCS endpoint that serves what a test tells it to.
type endpoint struct {
	*httptest.Server

	mu     sync.Mutex
	body   []byte
	eTag   string
	status int
	served int
}

func newEndpoint() *endpoint {
	e := &endpoint{status: http.StatusOK}
	e.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.served++
		if e.eTag != "" && r.Header.Get("If-None-Match") == e.eTag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", e.eTag)
		w.WriteHeader(e.status)
		_, _ = w.Write(e.body)
	}))
	DeferCleanup(e.Close)
	return e
}

func (e *endpoint) serve(body []byte, eTag string, status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.body, e.eTag, e.status = body, eTag, status
}

func (e *endpoint) caBundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw}))
}

// config is a Config that does nothing, of the given id and revision.
func config(id string, revision int64, supersedes ...string) ocs.Config {
	return ocs.Config{
		ID: id, Revision: revision, Description: "test of " + id, Supersedes: supersedes,
		Actions: []ocs.Action{{Type: ocs.DoNothing, Scope: ocs.ScopeServer, Description: "nothing", Value: "DoNothing"}},
	}
}

// signed builds and signs a document.
func signed(keys *pki.PKI, sequence int64, configs ...ocs.Config) []byte {
	GinkgoHelper()
	now := time.Now()
	document, err := ocs.Build(ocs.Document{
		Version: "1.1", Publisher: "Contoso Security Response", Sequence: sequence,
		Issued: now.Add(-time.Minute), Expires: now.Add(24 * time.Hour), Configs: configs,
	})
	Expect(err).NotTo(HaveOccurred())
	out, err := xmlsig.Sign(document, xmlsig.SignOptions{Key: keys.ECDSA.Key, Certificates: keys.ECDSA.Chain()})
	Expect(err).NotTo(HaveOccurred())
	return out
}

var _ = Describe("The feed controller", func() {
	var (
		keys   *pki.PKI
		server *endpoint
		source *emsv1.MitigationFeed
		start  func(ctx context.Context) (stop func())
	)

	BeforeEach(func() {
		var err error
		keys, err = pki.New(time.Now())
		Expect(err).NotTo(HaveOccurred())
		server = newEndpoint()
		source = &emsv1.MitigationFeed{
			ObjectMeta: metav1.ObjectMeta{Name: "exchange"},
			Spec: emsv1.MitigationFeedSpec{
				URL: server.URL, CABundle: server.caBundle(), Product: emsv1.ExchangeServer,
				Trust: emsv1.TrustPolicy{Roots: string(keys.Root.PEM())},
			},
		}
		start = func(ctx context.Context) func() {
			return env.RunManager(ctx, func(mgr ctrl.Manager) error {
				return (&feed.Reconciler{
					Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: "default",
					Recorder: mgr.GetEventRecorder("ems-feed"), Clock: clock.RealClock{},
				}).SetupWithManager(mgr)
			})
		}
		DeferCleanup(func(ctx SpecContext) {
			for _, kind := range []client.Object{&emsv1.MitigationFeed{}, &emsv1.Mitigation{}, &emsv1.MitigationBundle{}} {
				Expect(env.Client.DeleteAllOf(ctx, kind)).To(Succeed())
			}
		})
	})

	// outcome returns the summary of the feed: "DocumentAccepted", "SignatureInvalid".
	outcome := func(ctx context.Context) func() (string, error) {
		return func() (string, error) {
			err := env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)
			return conditions.Current(source.Status.Conditions).Reason, err
		}
	}
	// mitigations returns what there is, in order: "m1 rev 1 Active".
	mitigations := func(ctx context.Context) func() ([]string, error) {
		return func() ([]string, error) {
			var list emsv1.MitigationList
			err := env.Client.List(ctx, &list)
			out := []string{}
			for _, m := range list.Items {
				out = append(out, m.Name+" rev "+strconv.FormatInt(m.Spec.Revision, 10)+" "+string(m.Spec.Lifecycle))
			}
			return out, err
		}
	}
	// pollNow asks for a poll and waits until it has been made.
	pollNow := func(ctx context.Context) {
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
	}

	When("a document has been accepted", func() {
		BeforeEach(func(ctx SpecContext) {
			server.serve(signed(keys, 7, config("M1", 1), config("PING1", 1)), "", http.StatusOK)
			Expect(env.Client.Create(ctx, source)).To(Succeed())
			DeferCleanup(start(ctx))
			Eventually(outcome(ctx)).Should(Equal(emsv1.DocumentAcceptedReason))
		})

		It("holds it as a bundle, its mitigations, and a status that says where they come from", func(ctx SpecContext) {
			Expect(mitigations(ctx)()).To(Equal([]string{"m1 rev 1 Active", "ping1 rev 1 Active"}))
			Expect(source).To(kstatus.BeConsistent())
			Expect(source.Status.HighestSequence).To(BeEquivalentTo(7))
			Expect(source.Status.Mitigations).To(HaveValue(BeEquivalentTo(2)))
			Expect(source.Status.Document.Publisher).To(Equal("Contoso Security Response"))

			bundle := &emsv1.MitigationBundle{}
			Expect(env.Client.Get(ctx, client.ObjectKey{Name: source.Status.Document.BundleName}, bundle)).To(Succeed())
			Expect(bundle.Spec.Document).To(Equal(server.body), "the original bytes must be kept")

			m1 := &emsv1.Mitigation{}
			Expect(env.Client.Get(ctx, client.ObjectKey{Name: "m1"}, m1)).To(Succeed())
			Expect(m1.Spec.BundleName).To(Equal(bundle.Name))
			Expect(m1.Spec.DocumentDigest).To(Equal(bundle.Spec.Digest))
			Expect(m1.Spec.Actions).To(HaveLen(1))
			Expect(m1.Spec.Actions[0].ID).To(BeEquivalentTo("M1.1"))
			Expect(m1.Spec.ContentDigest).To(HaveLen(64))
		})

		It("revises, supersedes and withdraws as a newer document says", func(ctx SpecContext) {
			server.serve(signed(keys, 8, config("M1", 1), config("M2", 3, "M1")), "", http.StatusOK)
			pollNow(ctx)
			Expect(mitigations(ctx)()).To(Equal([]string{"m1 rev 1 Superseded", "m2 rev 3 Active", "ping1 rev 1 Withdrawn"}))

			server.serve(signed(keys, 9, config("PING1", 2)), "", http.StatusOK)
			pollNow(ctx)
			Expect(mitigations(ctx)()).To(Equal([]string{"m1 rev 1 Withdrawn", "m2 rev 3 Withdrawn", "ping1 rev 2 Active"}))
		})

		DescribeTable("refuses and keeps what it has when",
			func(ctx SpecContext, spoil func() ([]byte, int), wantReason string, wantStalled bool) {
				good := server.body
				digest := source.Status.Document.Digest
				body, status := spoil()
				server.serve(body, "", status)
				pollNow(ctx)
				Expect(outcome(ctx)()).To(Equal(wantReason))
				Expect(conditions.Current(source.Status.Conditions).IsReady()).To(BeFalse())
				Expect(source).To(kstatus.BeConsistent())
				want := kstatus.InProgress
				if wantStalled {
					want = kstatus.Failed
				}
				Expect(kstatus.Of(source)).To(Equal(want))
				Expect(source.Status.Document.Digest).To(Equal(digest))
				Expect(source.Status.Failures).To(HaveValue(BeEquivalentTo(1)))
				Expect(mitigations(ctx)()).To(Equal([]string{"m1 rev 1 Active", "ping1 rev 1 Active"}))
				Eventually(func(g Gomega) {
					var list eventsv1.EventList
					g.Expect(env.Client.List(ctx, &list)).To(Succeed())
					g.Expect(list.Items).To(ContainElement(HaveField("Reason", wantReason)))
				}).Should(Succeed(), "an event must tell of the change")

				By("restoring the document")
				server.serve(good, "", http.StatusOK)
				pollNow(ctx)
				Expect(outcome(ctx)()).To(Equal(emsv1.DocumentAcceptedReason))
				Expect(source.Status.Failures).To(BeNil())
				Expect(source).To(kstatus.BeConsistent())
			},
			Entry("the content was tampered with", func() ([]byte, int) {
				return []byte(strings.Replace(string(server.body), "test of M1", "test of MX", 1)), http.StatusOK
			}, emsv1.SignatureInvalidReason, true),
			Entry("somebody else signed", func() ([]byte, int) {
				foreign, err := pki.New(time.Now())
				Expect(err).NotTo(HaveOccurred())
				return signed(foreign, 8, config("M1", 2)), http.StatusOK
			}, emsv1.SignerUntrustedReason, true),
			Entry("an older document is replayed", func() ([]byte, int) {
				return signed(keys, 6, config("M1", 1)), http.StatusOK
			}, emsv1.DocumentRolledBackReason, true),
			Entry("the sequence jumps", func() ([]byte, int) {
				return signed(keys, 20_000, config("M1", 1)), http.StatusOK
			}, emsv1.SequenceJumpReason, true),
			Entry("it is no XML", func() ([]byte, int) { return []byte("<html>sorry"), http.StatusOK }, emsv1.DocumentMalformedReason, true),
			Entry("it is too large", func() ([]byte, int) {
				return []byte(strings.Repeat(" ", xmlsig.MaxDocumentBytes+1)), http.StatusOK
			}, emsv1.DocumentTooLargeReason, true),
			Entry("the endpoint answers 500", func() ([]byte, int) { return nil, http.StatusInternalServerError }, emsv1.UnexpectedStatusReason, false),
		)

		It("restores a Mitigation that somebody deleted or changed", func(ctx SpecContext) {
			m1 := &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: "m1"}}
			Expect(env.Client.Delete(ctx, m1)).To(Succeed())
			ping := &emsv1.Mitigation{}
			Expect(env.Client.Get(ctx, client.ObjectKey{Name: "ping1"}, ping)).To(Succeed())
			ping.Spec.Revision = 99
			Expect(env.Client.Update(ctx, ping)).To(Succeed())
			polls := server.served
			Eventually(mitigations(ctx)).Should(Equal([]string{"m1 rev 1 Active", "ping1 rev 1 Active"}))
			Expect(server.served).To(Equal(polls), "the bundle has all that is needed")
		})

		It("restores a bundle that somebody deleted", func(ctx SpecContext) {
			bundle := &emsv1.MitigationBundle{ObjectMeta: metav1.ObjectMeta{Name: source.Status.Document.BundleName}}
			Expect(env.Client.Delete(ctx, bundle)).To(Succeed())
			Eventually(func() error {
				return env.Client.Get(ctx, client.ObjectKeyFromObject(bundle), bundle)
			}).Should(Succeed())
			Expect(outcome(ctx)()).To(Equal(emsv1.DocumentAcceptedReason))
		})

		It("judges the document anew when the trust policy changes", func(ctx SpecContext) {
			server.serve(server.body, `"seven"`, http.StatusOK)
			pollNow(ctx)
			foreign, err := pki.New(time.Now())
			Expect(err).NotTo(HaveOccurred())
			patch := client.MergeFrom(source.DeepCopy())
			source.Spec.Trust.Roots = string(foreign.Root.PEM())
			Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
			Eventually(outcome(ctx)).Should(Equal(emsv1.SignerUntrustedReason))
			Expect(mitigations(ctx)()).To(HaveLen(2))
		})

		It("asks whether the document changed and goes on without it when it did not", func(ctx SpecContext) {
			server.serve(server.body, `"seven"`, http.StatusOK)
			pollNow(ctx)
			read := source.Status.LastReadTime
			Expect(source.Status.ETag).To(Equal(`"seven"`))
			server.serve([]byte("not served, since the client has it"), `"seven"`, http.StatusOK)
			pollNow(ctx)
			Expect(outcome(ctx)()).To(Equal(emsv1.DocumentAcceptedReason))
			Expect(source.Status.LastReadTime.Time).To(BeTemporally(">=", read.Time))
		})

		It("stops polling when told to and keeps everything", func(ctx SpecContext) {
			patch := client.MergeFrom(source.DeepCopy())
			source.Spec.Polling = emsv1.Disabled
			Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
			Eventually(outcome(ctx)).Should(Equal(emsv1.PollingDisabledReason))
			Expect(source).To(kstatus.BeConsistent())
			Expect(mitigations(ctx)()).To(HaveLen(2))
		})

		It("deletes bundles that nobody needs any more", func(ctx SpecContext) {
			for sequence := int64(8); sequence < 13; sequence++ {
				server.serve(signed(keys, sequence, config("M1", 1), config("PING1", 1)), "", http.StatusOK)
				pollNow(ctx)
			}
			Eventually(func(g Gomega) {
				var bundles emsv1.MitigationBundleList
				g.Expect(env.Client.List(ctx, &bundles)).To(Succeed())
				g.Expect(len(bundles.Items)).To(BeNumerically("<=", 4))
			}).Should(Succeed())
			bundle := &emsv1.MitigationBundle{}
			Expect(env.Client.Get(ctx, client.ObjectKey{Name: source.Status.Document.BundleName}, bundle)).To(Succeed())
		})

		It("keeps bundles that a plan names as what to go back to", func(ctx SpecContext) {
			first := source.Status.Document
			plan := &emsv1.MitigationPlan{
				ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: "default"},
				Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce, Mitigations: []emsv1.PlannedMitigation{{
					ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled", Revision: 2, FeedName: source.Name,
					BundleName: "exchange-ffffffffffff", DocumentDigest: strings.Repeat("f", 64), Release: emsv1.Release{Below: new(int64(0))},
					Rollout: emsv1.PlanRollout{
						ID: "r2-a1-ffffffff", Attempt: 1, State: emsv1.RolloutHalted, Reason: emsv1.RolloutHaltedReason,
						StageNumber: new(int32(1)), Stages: 2, StartTime: new(metav1.Now()), Unreleased: emsv1.UnreleasedRevert,
						Fallback: emsv1.PlanFallback{Rollout: "r1-a1-ffffffff", Revision: 1, BundleName: first.BundleName, DocumentDigest: first.Digest},
					},
				}}},
			}
			Expect(env.Client.Create(ctx, plan)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, plan)).To(Succeed()) })
			for sequence := int64(8); sequence < 13; sequence++ {
				server.serve(signed(keys, sequence, config("M1", sequence), config("PING1", 1)), "", http.StatusOK)
				pollNow(ctx)
			}
			bundle := &emsv1.MitigationBundle{}
			Expect(env.Client.Get(ctx, client.ObjectKey{Name: first.BundleName}, bundle)).To(Succeed())
			var bundles emsv1.MitigationBundleList
			Expect(env.Client.List(ctx, &bundles)).To(Succeed())
			Expect(len(bundles.Items)).To(BeNumerically("<=", 5), "what nobody names has to go")
		})
	})

	It("accepts the one jump of the sequence that the annotation names", func(ctx SpecContext) {
		annotate := func(jump string) {
			GinkgoHelper()
			stamp := time.Now().Format(time.RFC3339Nano)
			Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
			patch := client.MergeFrom(source.DeepCopy())
			source.Annotations = map[string]string{emsv1.AcceptSequenceJumpAnnotation: jump, emsv1.ReconcileRequestAnnotation: stamp}
			Expect(env.Client.Patch(ctx, source, patch)).To(Succeed())
			Eventually(func(g Gomega) {
				g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(source), source)).To(Succeed())
				g.Expect(source.Status.LastHandledReconcileAt).To(Equal(stamp))
			}).Should(Succeed())
		}
		server.serve(signed(keys, 7, config("M1", 1)), "", http.StatusOK)
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(start(ctx))
		Eventually(outcome(ctx)).Should(Equal(emsv1.DocumentAcceptedReason))

		server.serve(signed(keys, 20_000, config("M1", 2)), "", http.StatusOK)
		annotate("20001")
		Expect(outcome(ctx)()).To(Equal(emsv1.SequenceJumpReason), "another document was named")
		Expect(conditions.Current(source.Status.Conditions).Message).To(ContainSubstring("ems.mitigation.dev/accept-sequence-jump=20000"))

		annotate("20000")
		Expect(outcome(ctx)()).To(Equal(emsv1.DocumentAcceptedReason))
		Expect(source.Status.HighestSequence).To(BeEquivalentTo(20_000))
		Expect(conditions.Current(source.Status.Conditions).Message).To(ContainSubstring("it has served and can be removed"))
		Expect(mitigations(ctx)()).To(Equal([]string{"m1 rev 2 Active"}))
		Eventually(func(g Gomega) {
			var list eventsv1.EventList
			g.Expect(env.Client.List(ctx, &list)).To(Succeed())
			g.Expect(list.Items).To(ContainElement(HaveField("Reason", "SequenceJumpAccepted")))
		}).Should(Succeed())

		server.serve(signed(keys, 40_000, config("M1", 3)), "", http.StatusOK)
		pollNow(ctx)
		Expect(outcome(ctx)()).To(Equal(emsv1.SequenceJumpReason), "the permission was for one document")
	})

	It("warns with condition, event and metric before the signer's certificate runs out", func(ctx SpecContext) {
		// Certificates of that time last a year: 35 days are left.
		old, err := pki.New(time.Now().AddDate(-1, 0, 35))
		Expect(err).NotTo(HaveOccurred())
		source.Spec.Trust.Roots = string(old.Root.PEM())
		server.serve(signed(old, 1, config("M1", 1)), "", http.StatusOK)
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(start(ctx))
		Eventually(outcome(ctx)).Should(Equal(emsv1.DocumentAcceptedReason))

		condition := meta.FindStatusCondition(source.Status.Conditions, emsv1.TrustAnchorsCurrentCondition)
		Expect(condition).To(HaveValue(And(
			HaveField("Status", metav1.ConditionFalse), HaveField("Reason", emsv1.AnchorExpiringReason),
			HaveField("Message", ContainSubstring("status.document")))))
		Expect(source).To(kstatus.BeConsistent(), "a warning takes nothing from Ready")
		Expect(source.Status.Document.SignerExpiryTime.Time).To(BeTemporally("==", old.ECDSA.Certificate.NotAfter))
		Eventually(func(g Gomega) {
			var list eventsv1.EventList
			g.Expect(env.Client.List(ctx, &list)).To(Succeed())
			g.Expect(list.Items).To(ContainElement(And(HaveField("Reason", emsv1.AnchorExpiringReason), HaveField("Type", corev1.EventTypeWarning))))
		}).Should(Succeed())
		families := func() []string {
			gathered, err := metrics.Registry.Gather()
			Expect(err).NotTo(HaveOccurred())
			var found []string
			for _, family := range gathered {
				if !strings.HasPrefix(family.GetName(), "ems_trust_anchor_") {
					continue
				}
				for _, m := range family.GetMetric() {
					of := map[string]string{}
					for _, label := range m.GetLabel() {
						of[label.GetName()] = label.GetValue()
					}
					// Feeds of other tests are gone without a manager that noticed.
					if of["feed"] == source.Name {
						found = append(found, of["kind"])
					}
				}
			}
			return found
		}
		Expect(families()).To(ConsistOf("issuer", "root"))

		By("deleting the feed")
		Expect(env.Client.Delete(ctx, source)).To(Succeed())
		Eventually(families).Should(BeEmpty())
	})

	It("refuses a Config alone and says which and why", func(ctx SpecContext) {
		document, err := ocs.Build(ocs.Document{Version: "1.1", Sequence: 1, Configs: []ocs.Config{config("M1", 1), config("M2", 1)}})
		Expect(err).NotTo(HaveOccurred())
		spoiled := strings.Replace(string(document), `desc="test of M2"`, `desc="test of M2" colour="red"`, 1)
		body, err := xmlsig.Sign([]byte(spoiled), xmlsig.SignOptions{Key: keys.RSA.Key, Certificates: keys.RSA.Chain()})
		Expect(err).NotTo(HaveOccurred())
		server.serve(body, "", http.StatusOK)
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(start(ctx))

		Eventually(outcome(ctx)).Should(Equal(emsv1.PartlyAcceptedReason))
		Expect(source).To(kstatus.BeConsistent())
		Expect(source.Status.Refused).To(ConsistOf(And(HaveField("ID", "M2"), HaveField("Reason", ocs.ReasonUnknownContent))))
		Expect(mitigations(ctx)()).To(Equal([]string{"m1 rev 1 Active"}))
	})

	It("refuses an id that another feed already uses", func(ctx SpecContext) {
		server.serve(signed(keys, 1, config("M1", 1)), "", http.StatusOK)
		second := newEndpoint()
		second.serve(signed(keys, 1, config("M1", 5), config("S1", 1)), "", http.StatusOK)
		other := source.DeepCopy()
		other.Name, other.Spec.URL, other.Spec.CABundle = "sharepoint", second.URL, second.caBundle()
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(start(ctx))
		Eventually(outcome(ctx)).Should(Equal(emsv1.DocumentAcceptedReason))

		Expect(env.Client.Create(ctx, other)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(other), other)).To(Succeed())
			g.Expect(other.Status.Refused).To(ConsistOf(And(HaveField("ID", "M1"), HaveField("Reason", emsv1.IDTakenReason))))
		}).Should(Succeed())
		Expect(mitigations(ctx)()).To(Equal([]string{"m1 rev 1 Active", "s1 rev 1 Active"}))
	})

	It("reads a document from a ConfigMap", func(ctx SpecContext) {
		configMap := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: "offline", Namespace: "default"},
			BinaryData: map[string][]byte{"document.xml": signed(keys, 1, config("M1", 1))},
		}
		source.Spec.URL, source.Spec.CABundle = "", ""
		source.Spec.ConfigMapRef = emsv1.ConfigMapKeyReference{Name: "offline", Key: "document.xml"}
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		DeferCleanup(start(ctx))
		Eventually(outcome(ctx)).Should(Equal(emsv1.SourceMissingReason))

		Expect(env.Client.Create(ctx, configMap)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(env.Client.Delete(ctx, configMap)).To(Succeed()) })
		pollNow(ctx)
		Expect(outcome(ctx)()).To(Equal(emsv1.DocumentAcceptedReason))
		Expect(source).To(kstatus.BeConsistent())
	})

	It("goes on where a stopped manager left off, without polling early", func(ctx SpecContext) {
		server.serve(signed(keys, 1, config("M1", 1)), "", http.StatusOK)
		Expect(env.Client.Create(ctx, source)).To(Succeed())
		stop := start(ctx)
		Eventually(outcome(ctx)).Should(Equal(emsv1.DocumentAcceptedReason))
		stop()
		polls := server.served
		Expect(env.Client.Delete(ctx, &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: "m1"}})).To(Succeed())

		DeferCleanup(start(ctx))
		Eventually(mitigations(ctx)).Should(Equal([]string{"m1 rev 1 Active"}))
		Expect(server.served).To(Equal(polls))
	})
})
