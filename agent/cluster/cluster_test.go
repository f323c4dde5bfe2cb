package cluster

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"mitigation.dev/ems/agent/documents"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/api/v1alpha1/applyconfiguration"
)

// api is an API server in memory, with a Cluster that looks at it.
type api struct {
	*testing.T

	client   client.WithWatch
	recorder *events.FakeRecorder
	cluster  *Cluster
	applies  int
	refuse   error
}

func newAPI(t *testing.T, objects ...client.Object) *api {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	byName := func(o client.Object) []string { return []string{o.GetName()} }
	a := &api{T: t, recorder: events.NewFakeRecorder(100)}
	a.client = fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(newMapper()).WithObjects(objects...).
		WithTypeConverters(applyconfiguration.NewTypeConverter(scheme), managedfields.NewDeducedTypeConverter()).
		WithIndex(&emsv1.MitigationPlan{}, metav1.ObjectNameField, byName).
		WithIndex(&emsv1.PoolServer{}, metav1.ObjectNameField, byName).
		WithStatusSubresource(&emsv1.PoolServer{}).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceApply: func(ctx context.Context, c client.Client, sub string, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
				a.applies++
				if a.refuse != nil {
					return a.refuse
				}
				return c.SubResource(sub).Apply(ctx, obj, opts...)
			},
		}).Build()
	a.cluster = New(Options{Client: a.client, Recorder: a.recorder, Namespace: "pool", Pool: "frontends", Server: "fe01", Listing: true})
	return a
}

func (a *api) start() {
	a.Helper()
	go a.cluster.Run(a.Context())
	a.until("the watches are in sync", func() bool { return a.cluster.plans.HasSynced() && a.cluster.servers.HasSynced() })
}

// until waits for something that the watches bring.
func (a *api) until(what string, done func() bool) {
	a.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(20 * time.Second)
	for !done() {
		select {
		case <-ticker.C:
		case <-timeout:
			a.Fatalf("not within 20 seconds: %s", what)
		}
	}
}

func (a *api) server() *emsv1.PoolServer {
	a.Helper()
	var s emsv1.PoolServer
	if err := a.client.Get(a.Context(), client.ObjectKey{Namespace: "pool", Name: "fe01"}, &s); err != nil {
		a.Fatal(err)
	}
	return &s
}

// seen waits until the watch has brought the newest PoolServer.
func (a *api) seen() {
	a.Helper()
	want := a.server().ResourceVersion
	a.until("the watch brings the newest PoolServer", func() bool {
		object, _, _ := a.cluster.servers.GetByKey("pool/fe01")
		s, ok := object.(*emsv1.PoolServer)
		return ok && s.ResourceVersion == want
	})
}

// heard reports whether there was news since the last time.
func (a *api) heard() bool {
	select {
	case <-a.cluster.Changes():
		return true
	default:
		return false
	}
}

func poolServer() *emsv1.PoolServer {
	return &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "fe01", Generation: 1}, Spec: emsv1.PoolServerSpec{PoolName: "frontends"}}
}

func plan(name string) *emsv1.MitigationPlan {
	return &emsv1.MitigationPlan{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: name, Generation: 3},
		Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce, Mitigations: []emsv1.PlannedMitigation{{
			ID: "M1", Desired: emsv1.DesiredRemove, Reason: "Withdrawn", Revision: 1, FeedName: "contoso", BundleName: "contoso-1", DocumentDigest: digest,
			Release: emsv1.Release{Below: ptr.To[int64](0)},
		}}},
	}
}

func TestPlanFollowsTheCluster(t *testing.T) {
	a := newAPI(t, plan("frontends"), plan("backends"), poolServer())
	if _, known, err := a.cluster.Plan(); known || err != nil {
		t.Fatalf("before the first answer: known = %t, error %v, want neither", known, err)
	}
	a.start()
	got, known, err := a.cluster.Plan()
	if err != nil || !known || got == nil || got.Generation != 3 || len(got.Entries) != 1 {
		t.Fatalf("plan = %+v, known = %t, error %v, want generation 3 with one entry", got, known, err)
	}
	<-a.cluster.Changes()
	if err := a.client.Delete(t.Context(), plan("frontends")); err != nil {
		t.Fatal(err)
	}
	a.until("the plan is gone", func() bool {
		p, known, err := a.cluster.Plan()
		return p == nil && known && err == nil
	})
	<-a.cluster.Changes()
}

func TestPlanSaysWhetherStagesCountTheServer(t *testing.T) {
	a := newAPI(t, plan("frontends"), poolServer())
	a.start()
	notEnrolled := func() bool {
		p, known, err := a.cluster.Plan()
		if p == nil || !known || err != nil {
			t.Fatalf("plan = %+v, known = %t, error %v", p, known, err)
		}
		return p.NotEnrolled
	}
	if notEnrolled() {
		t.Error("the server counts as not enrolled although it is")
	}
	moved := a.server()
	moved.Spec.PoolName = "backends"
	if err := a.client.Update(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	a.until("it is in another pool", notEnrolled)
	moved.Spec.PoolName = "frontends"
	if err := a.client.Update(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	a.until("it is back", func() bool { return !notEnrolled() })
	if err := a.client.Delete(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	a.until("it is gone", notEnrolled)
}

func TestPlanThatCannotBeReadIsNotKnown(t *testing.T) {
	odd := plan("frontends")
	odd.Spec.Mode = "Observe"
	a := newAPI(t, odd)
	a.start()
	if _, known, err := a.cluster.Plan(); known || !errors.Is(err, ErrPlanUnreadable) {
		t.Errorf("known = %t, error %v, want ErrPlanUnreadable", known, err)
	}
}

func TestReportWritesOnlyWhatChanged(t *testing.T) {
	a := newAPI(t, poolServer())
	report := Report{PlanGeneration: 3, Results: []enforce.Result{inPlace("M1")}, Facts: Facts{AgentVersion: "v0.1.0"}, Sequences: map[string]int64{"contoso": 42}}
	if err := a.cluster.Report(t.Context(), report); !errors.Is(err, ErrUnheard) {
		t.Fatalf("Report() before the first answer = %v, want ErrUnheard", err)
	}
	a.start()
	send := func(r Report, wantApplies int) {
		t.Helper()
		if err := a.cluster.Report(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if a.applies != wantApplies {
			t.Fatalf("%d writes so far, want %d", a.applies, wantApplies)
		}
	}
	send(report, 1)
	// At once, when the watch may not have brought the own write yet, and after it has.
	send(report, 1)
	a.seen()
	send(report, 1)
	first := a.server().Status

	report.Results = []enforce.Result{inPlace("M1"), inPlace("M2")}
	send(report, 2)
	a.seen()
	second := a.server().Status
	if second.Summary.Applied != "M1,M2" || len(second.Conditions) != 1 {
		t.Errorf("status = %+v, want M1 and M2 applied and one condition", second)
	}
	if !first.Conditions[0].LastTransitionTime.Equal(&second.Conditions[0].LastTransitionTime) {
		t.Errorf("time of transition changed from %v to %v although Ready stayed True", first.Conditions[0].LastTransitionTime, second.Conditions[0].LastTransitionTime)
	}

	report.Results = []enforce.Result{{ID: "M2", State: enforce.Failed, Reason: "SiteNotFound", Message: "create it"}}
	send(report, 3)
	a.seen()
	report.Results = []enforce.Result{inPlace("M2")}
	send(report, 4)
	a.seen()
	last := a.server().Status
	if last.Summary.Applied != "M2" || last.Summary.Failed != "" || len(last.Mitigations) != 1 || len(last.Conditions) != 1 {
		t.Errorf("status = %+v, want what is gone to be gone", last)
	}

	// A gate is told when its verdict changes, and not on every look.
	gated := func(verdict gate.Verdict, message string) {
		report.Results[0].Gate = enforce.Gate{Rollout: "r1-a1-01234567", Verdict: verdict, Message: message}
	}
	gated(gate.Baking, "")
	send(report, 5)
	a.seen()
	send(report, 5)
	gated(gate.Failed, "owa: 503")
	send(report, 6)
	a.seen()
	if got := a.server().Status.Mitigations[0].Gate; got != (emsv1.ServerGate{Rollout: "r1-a1-01234567", Verdict: emsv1.GateFailed, Message: "owa: 503"}) {
		t.Errorf("gate = %+v", got)
	}

	// Somebody else empties the status: it is written again.
	emptied := a.server()
	emptied.Status = emsv1.PoolServerStatus{}
	if err := a.client.Status().Update(t.Context(), emptied); err != nil {
		t.Fatal(err)
	}
	a.seen()
	send(report, 7)
}

func TestReportAnnouncesAFailureOnce(t *testing.T) {
	a := newAPI(t, poolServer())
	a.start()
	failing := Report{PlanGeneration: 3, Results: []enforce.Result{{ID: "M1", State: enforce.Failed, Reason: "SiteNotFound", Message: "create it"}}}
	a.refuse = errors.New("conflict")
	if err := a.cluster.Report(t.Context(), failing); !errors.Is(err, a.refuse) {
		t.Fatalf("Report() = %v, want the refusal", err)
	}
	if len(a.recorder.Events) != 0 {
		t.Fatal("a failure was announced that is not in the status")
	}
	a.refuse = nil
	for range 3 {
		if err := a.cluster.Report(t.Context(), failing); err != nil {
			t.Fatal(err)
		}
		a.seen()
	}
	if len(a.recorder.Events) != 1 {
		t.Fatalf("%d events, want one", len(a.recorder.Events))
	}
	if got, want := <-a.recorder.Events, "Warning MitigationFailed M1 failed (SiteNotFound): create it"; got != want {
		t.Errorf("event = %q, want %q", got, want)
	}
}

func TestReportOfAServerThatIsNotEnrolled(t *testing.T) {
	a := newAPI(t)
	a.start()
	if err := a.cluster.Report(t.Context(), Report{}); !errors.Is(err, ErrNotEnrolled) {
		t.Errorf("Report() = %v, want ErrNotEnrolled", err)
	}
}

func TestBundle(t *testing.T) {
	a := newAPI(t, &emsv1.MitigationBundle{
		ObjectMeta: metav1.ObjectMeta{Name: "contoso-1"},
		Spec:       emsv1.MitigationBundleSpec{FeedName: "contoso", Product: emsv1.ExchangeServer, Document: []byte("<EOCS/>"), RevocationLists: [][]byte{[]byte("list")}},
	})
	got, err := a.cluster.Bundle(t.Context(), "contoso-1")
	if diff := cmp.Diff(documents.Bundle{Product: "ExchangeServer", Document: []byte("<EOCS/>"), RevocationLists: [][]byte{[]byte("list")}}, got); diff != "" || err != nil {
		t.Errorf("bundle differs, error %v (-want +got):\n%s", err, diff)
	}
	if _, err := a.cluster.Bundle(t.Context(), "contoso-2"); !errors.Is(err, documents.ErrNotFound) {
		t.Errorf("Bundle() = %v, want ErrNotFound", err)
	}
}

func TestConnectingNeedsNoAPIServer(t *testing.T) {
	// A port that nobody listens on any more.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	connection, err := ConnectConfig(&rest.Config{Host: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := New(Options{Client: connection.Client, Recorder: connection.Recorder, Namespace: "pool", Pool: "frontends", Server: "fe01", Listing: true})
	stopped := make(chan error, 2)
	go func() { c.Run(ctx); stopped <- nil }()
	go func() { stopped <- connection.Run(ctx) }()
	if _, known, err := c.Plan(); known || err != nil {
		t.Errorf("known = %t, error %v, want neither", known, err)
	}
	if _, err := c.Bundle(ctx, "contoso-1"); err == nil || errors.Is(err, documents.ErrNotFound) {
		t.Errorf("Bundle() = %v, want an error that does not say that the bundle is missing", err)
	}
	if err := c.Report(ctx, Report{}); !errors.Is(err, ErrUnheard) {
		t.Errorf("Report() = %v, want ErrUnheard", err)
	}
	cancel()
	if err := errors.Join(<-stopped, <-stopped); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// An agent that woke up for each report of its own would do everything twice.
func TestPlanThatSaysTheSameIsNoNews(t *testing.T) {
	a := newAPI(t, poolServer(), plan("frontends"))
	a.start()
	write := func(change func(*emsv1.MitigationPlan)) {
		t.Helper()
		p := &emsv1.MitigationPlan{}
		if err := a.client.Get(t.Context(), client.ObjectKeyFromObject(plan("frontends")), p); err != nil {
			t.Fatal(err)
		}
		change(p)
		if err := a.client.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		a.until("the watch brings the plan", func() bool {
			object, _, _ := a.cluster.plans.GetByKey("pool/frontends")
			have, ok := object.(*emsv1.MitigationPlan)
			return ok && have.ResourceVersion == p.ResourceVersion
		})
	}
	a.heard() // whatever came before
	write(func(p *emsv1.MitigationPlan) { p.Annotations = map[string]string{"team": "mail"} })
	if a.heard() {
		t.Error("an annotation was news")
	}
	write(func(p *emsv1.MitigationPlan) { p.Spec.Mode = emsv1.ModeAudit })
	a.until("another mode is news", a.heard)
	write(func(p *emsv1.MitigationPlan) { p.Generation++ })
	a.until("another generation is news", a.heard)
}

func TestOwnReportIsNoNews(t *testing.T) {
	a := newAPI(t, poolServer(), plan("frontends"))
	a.start()
	if err := a.client.Status().Update(t.Context(), func() client.Object { s := a.server(); s.Status.Summary.Applied = "M3"; return s }()); err != nil {
		t.Fatal(err)
	}
	a.seen()
	a.until("somebody else's change is news", a.heard)
	a.heard() // whatever came before
	if err := a.cluster.Report(t.Context(), Report{PlanGeneration: 3, Results: []enforce.Result{inPlace("M1")}}); err != nil {
		t.Fatal(err)
	}
	a.seen()
	if a.heard() {
		t.Error("the report was news to its author")
	}
	server := a.server()
	server.Status.Summary.Applied = "M1,M2"
	if err := a.client.Status().Update(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	a.seen()
	a.until("somebody else's change is news", a.heard)
	server = a.server()
	server.Spec.PoolName, server.Status.Summary.Applied = "backends", "M1"
	if err := a.client.Update(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	a.seen()
	a.until("another pool is news", a.heard)
}
