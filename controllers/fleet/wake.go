package fleet

import (
	"context"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// poolHandler wakes the mitigations of which a pool says something else than before, and all of them when a pool comes or goes. While one of
// a hundred mitigations is rolled out, pools write their status once a second, and say nothing new of the others.
func (r reconciler) poolHandler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	everything := func(ctx context.Context, q queue) {
		for _, request := range r.every(ctx, &emsv1.MitigationList{}) {
			q.AddAfter(request, burst)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, _ event.CreateEvent, q queue) { everything(ctx, q) },
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q queue) { everything(ctx, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			before, ok := e.ObjectOld.(*emsv1.PoolMitigationConfig)
			after, isPool := e.ObjectNew.(*emsv1.PoolMitigationConfig)
			if !ok || !isPool {
				return
			}
			for _, id := range changed(before.Status.Mitigations, after.Status.Mitigations) {
				// Mitigations are named by their id, in lower case.
				q.AddAfter(request("", strings.ToLower(string(id)))[0], burst)
			}
		},
	}
}

// changed are the mitigations of which a pool says something else than before.
func changed(before, after []emsv1.PoolMitigationStatus) []emsv1.MitigationID {
	was := make(map[emsv1.MitigationID]*emsv1.PoolMitigationStatus, len(before))
	for i := range before {
		was[before[i].ID] = &before[i]
	}
	var ids []emsv1.MitigationID
	for i := range after {
		m := &after[i]
		// What only looks different, such as a time in another zone, costs a look and no more.
		if old := was[m.ID]; old == nil || !reflect.DeepEqual(old, m) {
			ids = append(ids, m.ID)
		}
		delete(was, m.ID)
	}
	for i := range before {
		if was[before[i].ID] != nil {
			ids = append(ids, before[i].ID)
		}
	}
	return ids
}

// calledAbandoned lets a pool through when it is said that no manager works for it: the one that does says something else.
func calledAbandoned() predicate.Predicate {
	reason := func(pool *emsv1.PoolMitigationConfig) string {
		if c := meta.FindStatusCondition(pool.Status.Conditions, emsv1.ReadyCondition); c != nil {
			return c.Reason
		}
		return ""
	}
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false }, // Others let these through.
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*emsv1.PoolMitigationConfig)
			after, isPool := e.ObjectNew.(*emsv1.PoolMitigationConfig)
			return ok && isPool && reason(after) == emsv1.NoManagerReason && reason(before) != emsv1.NoManagerReason
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
