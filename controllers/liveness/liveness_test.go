package liveness

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/test/kstatus"
)

// cluster has one server, whose plan says ten seconds: it is silent after forty.
type cluster struct {
	*testing.T

	client client.Client
	clock  *clocktesting.FakePassiveClock
	under  *Reconciler
	// readErr fails reads past the cache, patchErr writes.
	readErr, patchErr error
	patches           int
}

func newCluster(t *testing.T, outcome conditions.Outcome, objects ...client.Object) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{emsv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	server := &emsv1.PoolServer{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "fe01", Generation: 2}, Spec: emsv1.PoolServerSpec{PoolName: "frontends"},
	}
	if outcome.Reason != "" {
		server.Status = emsv1.PoolServerStatus{
			ObservedGeneration: new(int64(2)), Mitigations: []emsv1.ServerMitigation{{ID: "M1", State: emsv1.StateApplied, Reason: "Enabled"}},
		}
		conditions.Set(&server.Status.Conditions, 2, outcome)
	}
	c := &cluster{T: t, clock: clocktesting.NewFakePassiveClock(time.Unix(1_900_000_000, 0))}
	c.client = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(server).WithObjects(append(objects, server)...).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, next client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
				c.patches++
				if c.patchErr != nil {
					return c.patchErr
				}
				return next.SubResource(sub).Patch(ctx, o, patch, opts...)
			},
		}).Build()
	past := interceptor.NewClient(c.client.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, next client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if c.readErr != nil {
				return c.readErr
			}
			return next.Get(ctx, key, o, opts...)
		},
	})
	c.under = &Reconciler{Client: c.client, Reader: past, Clock: c.clock}
	return c
}

func withLease() []client.Object {
	return []client.Object{
		&emsv1.MitigationPlan{
			ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "frontends"},
			Spec:       emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce, Reporting: emsv1.PlanReporting{LeaseSeconds: 10}},
		},
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "fe01"}},
	}
}

// look reconciles after some time.
func (c *cluster) look(after time.Duration) (ctrl.Result, error) {
	c.Helper()
	c.clock.SetTime(c.clock.Now().Add(after))
	return c.under.Reconcile(c.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "pool", Name: "fe01"}})
}

func (c *cluster) want(after, wantNext time.Duration, wantSilent bool) {
	c.Helper()
	result, err := c.look(after)
	if err != nil || result.RequeueAfter != wantNext {
		c.Fatalf("next look after %v, error %v, want %v", result.RequeueAfter, err, wantNext)
	}
	if got := IsSilent(c.server()); got != wantSilent {
		c.Fatalf("silent = %t, want %t", got, wantSilent)
	}
}

func (c *cluster) server() *emsv1.PoolServer {
	c.Helper()
	server := &emsv1.PoolServer{}
	if err := c.client.Get(c.Context(), client.ObjectKey{Namespace: "pool", Name: "fe01"}, server); err != nil {
		c.Fatal(err)
	}
	return server
}

func (c *cluster) renew() {
	c.Helper()
	lease := &coordinationv1.Lease{}
	if err := c.client.Get(c.Context(), client.ObjectKey{Namespace: "pool", Name: "fe01"}, lease); err != nil {
		c.Fatal(err)
	}
	lease.Spec.RenewTime = new(metav1.NewMicroTime(time.Unix(1, 0))) // a server with a wrong clock
	if lease.Spec.LeaseTransitions == nil {
		lease.Spec.LeaseTransitions = new(int32(0))
	}
	*lease.Spec.LeaseTransitions++
	if err := c.client.Update(c.Context(), lease); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) report(outcome conditions.Outcome) {
	c.Helper()
	server := c.server()
	conditions.Set(&server.Status.Conditions, 2, outcome)
	if err := c.client.Status().Update(c.Context(), server); err != nil {
		c.Fatal(err)
	}
}

var fine, failing = conditions.Done(emsv1.PlanAppliedReason, "1 in place"), conditions.Stalled(emsv1.MitigationsFailedReason, "M1")

func TestSilentServerIsCalledSo(t *testing.T) {
	for name, outcome := range map[string]conditions.Outcome{"that was fine": fine, "that failed": failing, "that never reported": {}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, outcome, withLease()...)
			before := c.server()
			c.want(0, 40*time.Second, false)
			c.want(39*time.Second, time.Second, false)
			c.want(time.Second, 0, true)
			after := c.server()
			ready := meta.FindStatusCondition(after.Status.Conditions, emsv1.ReadyCondition)
			if ready.Message == "" || ready.Status != metav1.ConditionUnknown || len(after.Status.Mitigations) != len(before.Status.Mitigations) {
				t.Errorf("status = %+v", after.Status)
			}
			for _, kind := range []string{emsv1.StalledCondition, emsv1.ReconcilingCondition} {
				if meta.FindStatusCondition(after.Status.Conditions, kind) != nil {
					t.Errorf("condition %s is still there", kind)
				}
			}
			c.want(time.Hour, 0, true)
			if c.patches != 1 {
				t.Errorf("%d writes, want 1", c.patches)
			}
		})
	}
}

func TestSilentServerFitsKstatus(t *testing.T) {
	c := newCluster(t, failing, withLease()...)
	c.want(0, 40*time.Second, false)
	c.want(40*time.Second, 0, true)
	server := c.server()
	for _, violation := range kstatus.Check(server, server.Generation, *server.Status.ObservedGeneration) {
		t.Error(violation)
	}
}

func TestRenewalsKeepAServerAlive(t *testing.T) {
	c := newCluster(t, fine, withLease()...)
	c.want(0, 40*time.Second, false)
	for range 10 {
		c.renew()
		c.want(30*time.Second, 40*time.Second, false)
	}
	c.want(40*time.Second, 0, true)
	c.renew()
	c.want(time.Second, 0, true) // until the server says how it is
	c.report(fine)
	c.want(time.Second, 40*time.Second, false)
	if c.patches != 1 {
		t.Errorf("%d writes, want 1", c.patches)
	}
}

// A fleet that shrinks has shorter periods, which its servers know when they have read their plan.
func TestShorterPeriodGivesTimeForTheNextRenewal(t *testing.T) {
	c := newCluster(t, fine, withLease()...)
	period := func(seconds int32) {
		plan := &emsv1.MitigationPlan{}
		if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "pool", Name: "frontends"}, plan); err != nil {
			t.Fatal(err)
		}
		plan.Spec.Reporting.LeaseSeconds = seconds
		if err := c.client.Update(t.Context(), plan); err != nil {
			t.Fatal(err)
		}
	}
	period(120)
	c.want(0, 260*time.Second, false)
	c.want(100*time.Second, 160*time.Second, false)
	period(10)
	c.want(time.Second, 40*time.Second, false)
	period(120)
	c.want(39*time.Second, 221*time.Second, false) // a longer one counts from the last sign of life
	period(10)
	c.want(0, 40*time.Second, false)
	c.want(40*time.Second, 0, true)
}

func TestServerThatReportsWithoutRenewingDoesNotFlap(t *testing.T) {
	c := newCluster(t, fine, withLease()...)
	c.want(0, 40*time.Second, false)
	c.want(40*time.Second, 0, true)
	for range 100 {
		c.report(fine)
		c.want(0, 40*time.Second, false)
		c.want(10*time.Second, 30*time.Second, false)
		c.want(30*time.Second, 0, true)
	}
	if c.patches != 101 {
		t.Errorf("%d writes, want one for each 40 seconds", c.patches)
	}
}

func TestServerWithoutLeaseIsNotJudged(t *testing.T) {
	c := newCluster(t, fine)
	c.want(0, 0, false)
	c.want(time.Hour, 0, false)
	// Once it is enrolled it has the whole time. Without a plan the period is a minute.
	if err := c.client.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "fe01"}}); err != nil {
		t.Fatal(err)
	}
	c.want(0, 140*time.Second, false)
}

// A Lease that was deleted by hand would otherwise hide that the server has failed.
func TestEnrolledServerWhoseLeaseIsGoneIsCalledSilent(t *testing.T) {
	c := newCluster(t, fine, withLease()...)
	server := c.server()
	server.Status.Credential.ExpiryTime = new(metav1.NewTime(c.clock.Now()))
	if err := c.client.Status().Update(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	c.want(0, 40*time.Second, false)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "fe01"}}
	if err := c.client.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	c.want(time.Second, 40*time.Second, false)
	c.want(40*time.Second, 0, true)
	if ready := meta.FindStatusCondition(c.server().Status.Conditions, emsv1.ReadyCondition); !strings.Contains(ready.Message, "Lease of the server has been deleted") {
		t.Errorf("message %q", ready.Message)
	}
	c.report(fine)
	lease.ResourceVersion = ""
	if err := c.client.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	c.want(time.Second, 40*time.Second, false)
	c.renew()
	c.want(39*time.Second, 40*time.Second, false)
}

func TestOutageOfTheAPIServerMakesNobodySilent(t *testing.T) {
	c := newCluster(t, fine, withLease()...)
	c.want(0, 40*time.Second, false)
	c.readErr = errors.New("connection refused")
	if _, err := c.look(5 * time.Minute); err == nil {
		t.Fatal("no error, so nobody comes back")
	}
	c.readErr = nil
	c.want(time.Second, 40*time.Second, false)
	c.renew()
	c.want(39*time.Second, 40*time.Second, false)
	if c.patches != 0 {
		t.Errorf("%d writes, want none", c.patches)
	}
}

func TestReportAtTheSameTimeWins(t *testing.T) {
	c := newCluster(t, fine, withLease()...)
	c.want(0, 40*time.Second, false)
	c.patchErr = apierrors.NewConflict(schema.GroupResource{Resource: "poolservers"}, "fe01", errors.New("changed"))
	c.want(40*time.Second, retry, false)
	c.patchErr = nil
	c.want(retry, 0, true)
}

func TestServerThatIsGoneIsForgotten(t *testing.T) {
	c := newCluster(t, fine, withLease()...)
	c.want(0, 40*time.Second, false)
	if err := c.client.Delete(t.Context(), c.server()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.look(time.Second); err != nil || len(c.under.heard) != 0 {
		t.Errorf("error %v, %d servers remembered", err, len(c.under.heard))
	}
}

func TestPlansThatAskForAnotherPeriodHaveTheirServersLookedAt(t *testing.T) {
	plan := func(seconds int32) *emsv1.MitigationPlan {
		return &emsv1.MitigationPlan{
			ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "frontends"}, Spec: emsv1.MitigationPlanSpec{Reporting: emsv1.PlanReporting{LeaseSeconds: seconds}},
		}
	}
	asks := asksForMoreOrLess()
	if !asks.Create(event.CreateEvent{Object: plan(10)}) || asks.Delete(event.DeleteEvent{Object: plan(10)}) {
		t.Error("a plan has to be looked at when it comes, and not when it goes")
	}
	for name, test := range map[string]struct {
		before, after int32
		want          bool
	}{
		"a shorter period":      {100, 10, true},
		"a longer period":       {10, 100, true},
		"a stage of a rollout":  {10, 10, false},
		"the first it asks for": {0, 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := asks.Update(event.UpdateEvent{ObjectOld: plan(test.before), ObjectNew: plan(test.after)}); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestServersOfAPlanAreThoseOfItsPool(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := emsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	server := func(namespace, name, pool string) *emsv1.PoolServer {
		return &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: emsv1.PoolServerSpec{PoolName: pool}}
	}
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).
		WithIndex(&emsv1.PoolServer{}, "spec.poolName", func(o client.Object) []string { return []string{o.(*emsv1.PoolServer).Spec.PoolName} }).
		WithObjects(server("pool", "fe01", "frontends"), server("pool", "be01", "backends"), server("other", "fe02", "frontends")).Build()}
	got := r.serversOf(t.Context(), &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: "pool", Name: "frontends"}})
	if len(got) != 1 || got[0].NamespacedName != (client.ObjectKey{Namespace: "pool", Name: "fe01"}) {
		t.Errorf("%v", got)
	}
}
