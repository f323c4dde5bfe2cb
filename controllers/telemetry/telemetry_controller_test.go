package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/telemetry"
	"mitigation.dev/ems/internal/fetch"
	data "mitigation.dev/ems/internal/telemetry"
)

// receiver is an endpoint over TLS that keeps what it is sent.
type receiver struct {
	*httptest.Server
	ca string

	mu     sync.Mutex
	bodies []string
	answer http.HandlerFunc
}

func newReceiver() *receiver {
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.StartTLS()
	DeferCleanup(r.Close)
	r.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}))
	return r
}

func (r *receiver) serve(w http.ResponseWriter, request *http.Request) {
	defer GinkgoRecover()
	Expect(request.Method).To(Equal(http.MethodPost))
	Expect(request.Header.Get("Content-Type")).To(Equal("application/json"))
	Expect(request.Header.Get("Content-Encoding")).To(Equal("gzip"))
	Expect(request.Header).NotTo(HaveKey("Authorization"))
	unpack, err := gzip.NewReader(request.Body)
	Expect(err).NotTo(HaveOccurred())
	body, err := io.ReadAll(unpack)
	Expect(err).NotTo(HaveOccurred())
	r.mu.Lock()
	r.bodies = append(r.bodies, string(body))
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, request)
	}
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bodies...)
}

func (r *receiver) answers(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

var _ = Describe("Diagnostic data", func() {
	var (
		to        *receiver
		now       *clocktesting.FakePassiveClock
		sender    *telemetry.Reconciler
		namespace string
		pool      *emsv1.PoolMitigationConfig
		logged    bytes.Buffer
		logger    logr.Logger
	)

	// create makes an object until the test ends.
	create := func(ctx context.Context, o client.Object) {
		GinkgoHelper()
		Expect(env.Client.Create(ctx, o)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(env.Client.Delete(ctx, o))).To(Succeed()) })
	}
	server := func(ctx context.Context, name, pool string) {
		GinkgoHelper()
		s := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: emsv1.PoolServerSpec{PoolName: pool}}
		create(ctx, s)
		s.Status.Facts = emsv1.ServerFacts{Product: emsv1.ExchangeServer, Build: "15.2.2562.43", Role: name}
		s.Status.Mitigations = []emsv1.ServerMitigation{{ID: "M1", State: emsv1.StateApplied}}
		Expect(env.Client.Status().Update(ctx, s)).To(Succeed())
	}
	// restart is the manager anew, with nothing but what the objects say.
	restart := func() {
		sender = &telemetry.Reconciler{
			Client: env.Client, Reader: env.Client, Namespace: namespace, Clock: now, Limits: fetch.Limits{Total: 2 * time.Second, Headers: 300 * time.Millisecond},
		}
	}
	// look lets the sender look once and returns when it wants to look again.
	look := func(ctx context.Context) time.Duration {
		GinkgoHelper()
		result, err := sender.Reconcile(ctrl.LoggerInto(ctx, logger), ctrl.Request{})
		Expect(err).NotTo(HaveOccurred())
		return result.RequeueAfter
	}
	// pass lets time pass, in which the sender looks when it wants to.
	pass := func(ctx context.Context, span time.Duration) {
		GinkgoHelper()
		for end := now.Now().Add(span); ; {
			wait := look(ctx)
			if wait == 0 || now.Now().Add(wait).After(end) {
				now.SetTime(end)
				return
			}
			now.SetTime(now.Now().Add(wait))
		}
	}
	global := func(ctx context.Context) *emsv1.MitigationConfiguration {
		GinkgoHelper()
		c := &emsv1.MitigationConfiguration{}
		Expect(env.Client.Get(ctx, client.ObjectKey{Name: emsv1.GlobalConfigurationName}, c)).To(Succeed())
		return c
	}
	say := func(ctx context.Context, said *emsv1.TelemetrySpec) {
		GinkgoHelper()
		create(ctx, &emsv1.MitigationConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}, Spec: emsv1.MitigationConfigurationSpec{Mitigations: emsv1.Enabled, Telemetry: said},
		})
	}
	enabled := func() *emsv1.TelemetrySpec {
		return &emsv1.TelemetrySpec{Mode: emsv1.Enabled, URL: to.URL + "/v1?key=secret", CABundle: to.ca}
	}
	// preview is what "kubectl mitigation telemetry show" makes of the objects.
	preview := func(ctx context.Context) []string {
		GinkgoHelper()
		var (
			kept  corev1.ConfigMap
			fleet data.Fleet
			c     emsv1.MitigationConfigurationList
			pools emsv1.PoolMitigationConfigList
			plans emsv1.MitigationPlanList
			s     emsv1.PoolServerList
		)
		Expect(env.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: data.OrganizationName}, &kept)).To(Succeed())
		for _, list := range []client.ObjectList{&c, &pools, &plans, &s} {
			Expect(env.Client.List(ctx, list)).To(Succeed())
		}
		fleet = data.Fleet{OrganizationID: uuid.MustParse(kept.Data[data.OrganizationKey]), Configurations: c.Items, Pools: pools.Items, Plans: plans.Items, Servers: s.Items}
		records, err := data.Records(fleet)
		Expect(err).NotTo(HaveOccurred())
		bodies, err := data.Bodies(records)
		Expect(err).NotTo(HaveOccurred())
		texts := make([]string, len(bodies))
		for i := range bodies {
			texts[i] = string(bodies[i])
		}
		return texts
	}

	BeforeEach(func(ctx SpecContext) {
		namespace = env.Namespace(ctx)
		to = newReceiver()
		now = clocktesting.NewFakePassiveClock(time.Date(2026, 5, 15, 8, 0, 0, 0, time.UTC))
		logged.Reset()
		logger = funcr.New(func(_, arguments string) { logged.WriteString(arguments + "\n") }, funcr.Options{})
		restart()
		pool = &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mail"}, Spec: emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce}}
		create(ctx, pool)
		server(ctx, "web01", "mail")
		server(ctx, "web02", "mail")
	})

	DescribeTable("that nobody has asked for is not sent", func(ctx SpecContext, said *emsv1.TelemetrySpec, there bool, why string) {
		if there {
			say(ctx, said)
		}
		for range 72 {
			Expect(look(ctx)).To(BeZero(), "nothing is to be done until somebody says something")
			now.SetTime(now.Now().Add(time.Hour))
		}
		restart()
		look(ctx)
		Expect(to.got()).To(BeEmpty())
		Expect(strings.Count(logged.String(), "No diagnostic data sent")).To(Equal(2), "once for each start:\n%s", logged.String())
		Expect(logged.String()).To(ContainSubstring(why))
		var kept corev1.ConfigMapList
		Expect(env.Client.List(ctx, &kept, client.InNamespace(namespace), client.MatchingFields{"metadata.name": data.OrganizationName})).To(Succeed())
		Expect(kept.Items).To(BeEmpty(), "nobody needs an id")
		if there && said != nil && *said != (emsv1.TelemetrySpec{}) {
			Expect(global(ctx).Status.Telemetry).To(Equal(emsv1.TelemetryStatus{Result: emsv1.TelemetryDisabled, Message: "nothing is sent: " + why}))
		}
	},
		Entry("without a configuration", nil, false, "nobody has switched it on"),
		Entry("with one that says nothing", nil, true, "nobody has switched it on"),
		Entry("with one that the plugin made", &emsv1.TelemetrySpec{}, true, "nobody has switched it on"),
		Entry("with a url alone", &emsv1.TelemetrySpec{URL: "https://telemetry.contoso.com/"}, true, "spec.telemetry has no mode"),
		Entry("switched off", &emsv1.TelemetrySpec{Mode: emsv1.Disabled, URL: "https://telemetry.contoso.com/"}, true, "spec.telemetry.mode is Disabled"),
	)

	It("is sent once an hour, and is the preview", func(ctx SpecContext) {
		say(ctx, enabled())
		Expect(look(ctx)).To(BeNumerically(">", data.FirstWait), "there is time to look at the preview")
		status := global(ctx).Status.Telemetry
		Expect(status.Result).To(Equal(emsv1.TelemetryPending))
		want := preview(ctx)
		Expect(want).To(HaveLen(1))
		Expect(want[0]).To(And(ContainSubstring(status.OrganizationID), Not(ContainSubstring("web0"))))
		now.SetTime(now.Now().Add(data.FirstWait))
		look(ctx)
		Expect(to.got()).To(BeEmpty())

		now.SetTime(status.NextTime.Time)
		look(ctx)
		Expect(to.got()).To(Equal(want))
		status = global(ctx).Status.Telemetry
		Expect(status.Result).To(Equal(emsv1.TelemetrySent))
		Expect(status.Message).To(BeEmpty())
		Expect(status.Servers).To(HaveValue(BeEquivalentTo(2)))
		Expect(status.LastSentTime.Time).To(BeTemporally("==", now.Now()))
		Expect(status.NextTime.Time).To(BeTemporally("==", now.Now().Add(time.Hour)))

		pass(ctx, 24*time.Hour+time.Minute)
		Expect(to.got()).To(HaveLen(25))
		Expect(to.got()[24]).To(Equal(want[0]), "nothing has changed")

		By("a manager that starts anew going on where the last one was")
		restart()
		look(ctx)
		Expect(to.got()).To(HaveLen(25))
		pass(ctx, time.Hour)
		Expect(to.got()).To(HaveLen(26))
		Expect(to.got()[25]).To(Equal(want[0]), "with the same ids")

		By("switching it off")
		c := global(ctx)
		c.Spec.Telemetry.Mode = emsv1.Disabled
		Expect(env.Client.Update(ctx, c)).To(Succeed())
		pass(ctx, 24*time.Hour)
		Expect(to.got()).To(HaveLen(26))
		off := global(ctx).Status.Telemetry
		Expect(off.Result).To(Equal(emsv1.TelemetryDisabled))
		Expect(off.NextTime).To(BeNil())
		Expect(off.OrganizationID).To(Equal(status.OrganizationID))

		By("switching it on again, with the same id, even after global was deleted")
		Expect(env.Client.Delete(ctx, c)).To(Succeed())
		say(ctx, enabled())
		pass(ctx, data.FirstWait+time.Hour)
		Expect(to.got()[26]).To(Equal(want[0]))
	})

	It("leaves out pools that opted out, and ends when none is left", func(ctx SpecContext) {
		create(ctx, &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "shop"}, Spec: emsv1.PoolMitigationConfigSpec{Telemetry: emsv1.Disabled}})
		server(ctx, "shop01", "shop")
		server(ctx, "alone", "nowhere")
		say(ctx, enabled())
		pass(ctx, data.FirstWait+time.Hour)
		Expect(to.got()).To(HaveLen(1))
		Expect(strings.Count(to.got()[0], "deviceID")).To(Equal(2))
		pool.Spec.Telemetry = emsv1.Disabled
		Expect(env.Client.Update(ctx, pool)).To(Succeed())
		pass(ctx, 2*time.Hour)
		Expect(to.got()).To(HaveLen(1))
		Expect(global(ctx).Status.Telemetry.Message).To(Equal("no server takes part, so there was nothing to send"))
	})

	It("goes where the installation says while nobody says something else, and never against a person's word", func(ctx SpecContext) {
		sender.Installed = data.Endpoint{URL: to.URL, CABundle: to.ca}
		pass(ctx, data.FirstWait+time.Hour)
		Expect(to.got()).To(HaveLen(1), "without any configuration")
		say(ctx, &emsv1.TelemetrySpec{Mode: emsv1.Disabled})
		pass(ctx, 24*time.Hour)
		Expect(to.got()).To(HaveLen(1))
	})

	DescribeTable("that the endpoint does not take is tried again, with longer and longer waits", func(ctx SpecContext, answer http.HandlerFunc, want string) {
		say(ctx, enabled())
		pass(ctx, time.Second)
		to.answers(answer)
		at := global(ctx).Status.Telemetry.NextTime.Time
		now.SetTime(at)
		pass(ctx, 22*time.Minute)
		Expect(to.got()).To(HaveLen(4), "at once, after 1, 5 and 15 minutes")
		status := global(ctx).Status.Telemetry
		Expect(status.Result).To(Equal(emsv1.TelemetryFailed))
		Expect(status.Message).To(And(ContainSubstring(want), Not(ContainSubstring("secret")), ContainSubstring("sending to")))
		Expect(status.Failures).To(HaveValue(BeEquivalentTo(4)))
		Expect(status.LastSentTime).To(BeNil())
		Expect(status.NextTime.Time).To(BeTemporally("==", at.Add(time.Hour)))
		restart()
		look(ctx)
		Expect(global(ctx).Status.Telemetry).To(Equal(status), "a restart changes nothing")
		to.answers(nil)
		now.SetTime(at.Add(time.Hour))
		look(ctx)
		status = global(ctx).Status.Telemetry
		Expect(status.Result).To(Equal(emsv1.TelemetrySent))
		Expect(status.Failures).To(BeNil())
	},
		Entry("down", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }), "status 503"),
		Entry("breaking the connection", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			connection, _, err := http.NewResponseController(w).Hijack()
			Expect(err).NotTo(HaveOccurred())
			Expect(connection.Close()).To(Succeed())
		}), "no connection, or it broke"),
		Entry("slow", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "no complete answer in time"),
		Entry("redirecting, even to itself", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}), "redirected with status 307, which is not followed"),
	)

	DescribeTable("does not leave for an endpoint that cannot be trusted", func(ctx SpecContext, change func(*emsv1.TelemetrySpec), want string) {
		spec := enabled()
		change(spec)
		say(ctx, spec)
		pass(ctx, data.FirstWait+time.Hour)
		Expect(to.got()).To(BeEmpty())
		Expect(global(ctx).Status.Telemetry.Message).To(ContainSubstring(want))
	},
		Entry("a certificate of nobody known", func(s *emsv1.TelemetrySpec) { s.CABundle = "" }, "TLS failed"),
		Entry("a certificate for another name", func(s *emsv1.TelemetrySpec) { s.URL = strings.Replace(s.URL, "127.0.0.1", "localhost", 1) }, "TLS failed"),
		Entry("authorities that are none", func(s *emsv1.TelemetrySpec) { s.CABundle = "contoso" }, "caBundle: holds no certificate in PEM"),
		Entry("a proxy that is not there", func(s *emsv1.TelemetrySpec) { s.ProxyURL = "http://127.0.0.1:1" }, "no connection"),
	)

	It("waits for an id that is one", func(ctx SpecContext) {
		kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: data.OrganizationName}, Data: map[string]string{"id": "contoso"}}
		create(ctx, kept)
		say(ctx, enabled())
		pass(ctx, 2*time.Hour)
		Expect(to.got()).To(BeEmpty())
		Expect(global(ctx).Status.Telemetry.Message).To(And(ContainSubstring("no organisation id"), ContainSubstring(`"contoso": not a UUID`)))
		Expect(env.Client.Delete(ctx, kept)).To(Succeed())
		pass(ctx, 2*time.Hour)
		Expect(to.got()).NotTo(BeEmpty())
		made := &corev1.ConfigMap{}
		Expect(env.Client.Get(ctx, client.ObjectKeyFromObject(kept), made)).To(Succeed())
		made.Data["id"] = uuid.NewString()
		Expect(env.Client.Update(ctx, made)).To(MatchError(ContainSubstring("immutable")))
	})

	It("is what a running manager looks after", func(ctx SpecContext) {
		DeferCleanup(env.RunManager(ctx, func(mgr ctrl.Manager) error {
			r := &telemetry.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: namespace, Clock: clock.RealClock{}}
			return r.SetupWithManager(mgr)
		}))
		say(ctx, enabled())
		Eventually(func() emsv1.TelemetryResult { return global(ctx).Status.Telemetry.Result }).WithTimeout(30 * time.Second).Should(Equal(emsv1.TelemetryPending))
		c := global(ctx)
		c.Spec.Telemetry.Mode = emsv1.Disabled
		Expect(env.Client.Update(ctx, c)).To(Succeed())
		Eventually(func() emsv1.TelemetryResult { return global(ctx).Status.Telemetry.Result }).WithTimeout(30 * time.Second).Should(Equal(emsv1.TelemetryDisabled))
		Expect(to.got()).To(BeEmpty())
	})
})
