package gather_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/gather"
)

const wait = time.Second

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func server(pool string) *emsv1.PoolServer {
	return &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: "exchange", Name: "fe01", Labels: map[string]string{"pool": pool}}}
}

func poolOf(_ context.Context, object client.Object) []reconcile.Request {
	if object.GetLabels()["pool"] == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetLabels()["pool"]}}}
}

// later is a queue that tells what was put off and for how long.
type later struct {
	queue
	added map[string]time.Duration
}

func (l *later) AddAfter(request reconcile.Request, after time.Duration) {
	l.added[request.Name] = after
	l.queue.AddAfter(request, after)
}

func TestChangesAreEnqueuedAfterTheWait(t *testing.T) {
	tests := map[string]struct {
		change func(context.Context, handler.EventHandler, queue)
		want   map[string]time.Duration
	}{
		"a new object": {
			change: func(ctx context.Context, h handler.EventHandler, q queue) {
				h.Create(ctx, event.CreateEvent{Object: server("frontends")}, q)
			},
			want: map[string]time.Duration{"frontends": wait},
		},
		"a deleted object": {
			change: func(ctx context.Context, h handler.EventHandler, q queue) {
				h.Delete(ctx, event.DeleteEvent{Object: server("frontends")}, q)
			},
			want: map[string]time.Duration{"frontends": wait},
		},
		"an object that moves concerns where it came from and where it went": {
			change: func(ctx context.Context, h handler.EventHandler, q queue) {
				h.Update(ctx, event.UpdateEvent{ObjectOld: server("frontends"), ObjectNew: server("staging")}, q)
			},
			want: map[string]time.Duration{"frontends": wait, "staging": wait},
		},
		"an object that concerns nobody": {
			change: func(ctx context.Context, h handler.EventHandler, q queue) {
				h.Create(ctx, event.CreateEvent{Object: server("")}, q)
			},
			want: map[string]time.Duration{},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			q := &later{queue: newQueue(t, clocktesting.NewFakeClock(time.Unix(0, 0))), added: map[string]time.Duration{}}
			test.change(t.Context(), gather.Handler(wait, poolOf), q)
			if diff := cmp.Diff(test.want, q.added); diff != "" {
				t.Errorf("enqueued (-want +got):\n%s", diff)
			}
			if q.Len() != 0 {
				t.Errorf("%d requests are due at once, want none before the wait is over", q.Len())
			}
		})
	}
}

// A burst of changes costs one look at the pool, and the later ones do not put it off.
func TestABurstIsActedOnOnceWithinTheWaitOfItsFirstChange(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(0, 0))
	q := newQueue(t, clock)
	h := gather.Handler(wait, poolOf)
	for range 100 {
		h.Create(t.Context(), event.CreateEvent{Object: server("frontends")}, q)
		clock.Step(wait / 200)
	}
	if q.Len() != 0 {
		t.Fatalf("%d requests are due after half the wait, want none", q.Len())
	}
	clock.Step(wait / 2)
	request, _ := q.Get() // returns only because a request is due by the clock of the test
	if want := (types.NamespacedName{Namespace: "exchange", Name: "frontends"}); request.NamespacedName != want {
		t.Errorf("request for %v, want %v", request.NamespacedName, want)
	}
	q.Done(request)
	if q.Len() != 0 {
		t.Errorf("%d more requests, want none", q.Len())
	}
}

func newQueue(t *testing.T, clock *clocktesting.FakeClock) queue {
	t.Helper()
	q := workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request](),
		workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{Clock: clock})
	t.Cleanup(q.ShutDown)
	return q
}
