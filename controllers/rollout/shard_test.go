package rollout

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/shard"
)

func markedAs(of shard.Name) map[string]string {
	if of == shard.Main {
		return nil
	}
	return map[string]string{emsv1.ShardLabel: string(of)}
}

// board is an API server with one pool and two servers, and how often it was asked for servers.
type board struct {
	client.Client

	pool  *emsv1.PoolMitigationConfig
	asked int
}

func newBoard(t *testing.T, others ...client.Object) *board {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := emsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	b := &board{pool: &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: "frontends"}}}
	objects := append([]client.Object{b.pool}, others...)
	for _, name := range []string{"fe01", "fe02"} {
		objects = append(objects, &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: name}, Spec: emsv1.PoolServerSpec{PoolName: "frontends"}})
	}
	under := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(b.pool).
		WithIndex(&emsv1.PoolServer{}, "spec.poolName", func(o client.Object) []string { return []string{o.(*emsv1.PoolServer).Spec.PoolName} }).Build()
	b.Client = interceptor.NewClient(under, interceptor.Funcs{
		List: func(ctx context.Context, next client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			switch list.(type) {
			case *emsv1.PoolServerList, *metav1.PartialObjectMetadataList:
				b.asked++
			}
			return next.List(ctx, list, options...)
		},
	})
	return b
}

// give labels the pool, mark a server.
func (b *board) give(t *testing.T, of shard.Name) {
	t.Helper()
	b.pool.Labels = markedAs(of)
	if err := b.Update(t.Context(), b.pool); err != nil {
		t.Fatal(err)
	}
}

func (b *board) mark(t *testing.T, name string, of shard.Name) {
	t.Helper()
	server := &emsv1.PoolServer{}
	if err := b.Get(t.Context(), client.ObjectKey{Namespace: "vienna", Name: name}, server); err != nil {
		t.Fatal(err)
	}
	server.Labels = markedAs(of)
	if err := b.Update(t.Context(), server); err != nil {
		t.Fatal(err)
	}
}

func TestAManagerPlansAPoolWhenItHasAllItsServers(t *testing.T) {
	b := newBoard(t)
	r := &Reconciler{Client: b, Reader: b, Shard: "europe"}
	b.give(t, "europe")
	want := func(want bool) {
		t.Helper()
		if got, err := r.mayPlan(t.Context(), b.pool); err != nil || got != want {
			t.Fatalf("may plan: %t, %v, want %t", got, err, want)
		}
	}
	want(false)
	b.mark(t, "fe01", "europe")
	want(false)
	b.mark(t, "fe02", "europe")
	want(true)
	asked := b.asked
	want(true)
	if b.asked != asked {
		t.Error("it is asked again, although all servers have come")
	}

	// The pool goes to another one and comes back before its servers have.
	b.give(t, "asia")
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.pool)}); err != nil {
		t.Fatal(err)
	}
	b.mark(t, "fe02", "asia")
	b.give(t, "europe")
	want(false)
	b.mark(t, "fe02", "europe")
	want(true)
}

// A kill switch must not wait for servers that another manager has yet to hand over, or never does.
func TestWhatIsRemovedWaitsForNoServers(t *testing.T) {
	mitigation := func(id emsv1.MitigationID) *emsv1.Mitigation {
		return &emsv1.Mitigation{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(string(id))}, Spec: emsv1.MitigationSpec{
			ID: id, Revision: 1, Lifecycle: emsv1.LifecycleActive, FeedName: "exchange", BundleName: "b", DocumentDigest: "d", ContentDigest: "c",
		}}
	}
	before := &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: "frontends"}, Spec: emsv1.MitigationPlanSpec{
		Mode: emsv1.ModeEnforce, Mitigations: []emsv1.PlannedMitigation{{ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled", Revision: 1}},
	}}
	b := newBoard(t, before, mitigation("M1"), mitigation("M2"))
	b.mark(t, "fe01", "europe") // The other one is on its way.
	b.pool.Spec.Mode = emsv1.ModeAudit
	b.give(t, "europe")
	r := &Reconciler{
		Client: b, Reader: b, Shard: "europe", Recorder: events.NewFakeRecorder(10), Clock: clocktesting.NewFakePassiveClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)),
	}
	plan := func() *emsv1.MitigationPlan {
		t.Helper()
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.pool)})
		if err != nil || result.RequeueAfter != arrivalRetry {
			t.Fatalf("%+v, %v: it does not look again", result, err)
		}
		found := &emsv1.MitigationPlan{}
		if err := b.Get(t.Context(), client.ObjectKeyFromObject(b.pool), found); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if diff := cmp.Diff(before.Spec, plan().Spec); diff != "" {
		t.Errorf("something new is planned from some of the servers:\n%s", diff)
	}
	b.pool.Spec.Suspend = emsv1.SuspendRevert
	b.give(t, "europe")
	after := plan()
	if len(after.Spec.Mitigations) != 1 || after.Spec.Mitigations[0].Desired != emsv1.DesiredRemove || after.Spec.Mode != emsv1.ModeEnforce {
		t.Errorf("%+v: want M1 removed, and nothing else new", after.Spec)
	}
	if of := shard.Of(after); of != shard.Main {
		t.Errorf("the plan is that of %q, and its servers have not come", of)
	}
	if again := plan(); again.ResourceVersion != after.ResourceVersion {
		t.Error("it is written again and again")
	}
}

func TestWithOneManagerNobodyIsAskedForServers(t *testing.T) {
	b := newBoard(t)
	r := &Reconciler{Client: b} // A Reader that is not there cannot be asked.
	if may, err := r.mayPlan(t.Context(), b.pool); err != nil || !may || b.asked != 0 {
		t.Errorf("may plan: %t, %v, after %d questions", may, err, b.asked)
	}
}

func TestTheMainManagerAsksWhereThereAreOthers(t *testing.T) {
	for name, other := range map[string]client.Object{
		"a pool is another's":      &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "graz", Name: "frontends", Labels: markedAs("asia")}},
		"a plan was until now one": &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: "vienna", Name: "frontends", Labels: markedAs("asia")}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBoard(t, other)
			r := &Reconciler{Client: b, Reader: b}
			b.mark(t, "fe02", "asia")
			if may, err := r.mayPlan(t.Context(), b.pool); err != nil || may {
				t.Errorf("may plan without a server: %t, %v", may, err)
			}
			b.mark(t, "fe02", shard.Main)
			if may, err := r.mayPlan(t.Context(), b.pool); err != nil || !may {
				t.Errorf("may plan with all servers: %t, %v", may, err)
			}
		})
	}
}
