package rollout

import (
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/gather"
	"mitigation.dev/ems/controllers/reconnect"
	"mitigation.dev/ems/internal/policy/fromapi"
)

const (
	// burst is how long changes of Mitigations and of other pools are gathered before plans are rendered again.
	burst = 250 * time.Millisecond
	// reports is how long good news of servers are gathered. Each stage ends that much later.
	reports = 150 * time.Millisecond
	// alarm is how long bad news are gathered: nobody notices the wait, and a pool whose servers all fail at once is not planned
	// anew for each of them.
	alarm = 50 * time.Millisecond
	// workers is how many pools are planned at a time. Most of the time goes into waiting for the API server.
	workers = 4
)

// SetupWithManager registers the reconciler. Servers have to be indexed (package members).
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("rollout").
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: reconnect.RateLimiter()}).
		For(&emsv1.PoolMitigationConfig{}, builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, repairRequested()))).
		Owns(&emsv1.MitigationPlan{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.PoolServer{}, serverHandler()).
		Watches(&emsv1.MitigationPlan{}, r.planHandler(), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.PoolMitigationConfig{}, gather.Handler(burst, r.poolsBehind),
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&emsv1.PoolMitigationConfig{}, gather.Handler(burst, r.outOfStep), builder.WithPredicates(countChanged())).
		Watches(&emsv1.MitigationConfiguration{}, handler.EnqueueRequestsFromMapFunc(r.allPools),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.Mitigation{}, gather.Handler(burst, r.allPools),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.MitigationFeed{}, gather.Handler(burst, r.allPools), builder.WithPredicates(revocationChanged())).
		Complete(r)
}

// repairRequested lets a pool through when somebody asks its servers to look at everything anew.
func repairRequested() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetAnnotations()[emsv1.RepairRequestAnnotation] != e.ObjectNew.GetAnnotations()[emsv1.RepairRequestAnnotation]
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// revocationChanged lets a feed through only when other revocation lists shall reach the servers. Everything else that plans take from a
// feed comes with its Mitigations, and the status of a feed changes with every poll.
func revocationChanged() predicate.Predicate {
	handsOut := func(object client.Object) bool {
		feed, ok := object.(*emsv1.MitigationFeed)
		return ok && feed.Status.Revocation.Digest != ""
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return handsOut(e.Object) },
		DeleteFunc: func(e event.DeleteEvent) bool { return handsOut(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*emsv1.MitigationFeed)
			after, isFeed := e.ObjectNew.(*emsv1.MitigationFeed)
			return ok && isFeed && (before.Status.Revocation.Digest != after.Status.Revocation.Digest ||
				before.Status.Revocation.BundleName != after.Status.Revocation.BundleName)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// serverHandler wakes a pool when servers come and go, when selectors of stages might choose others, and when a server says something
// new of a rollout. Everything else that servers report is for package fleet.
func serverHandler() handler.EventHandler {
	wake := func(object client.Object, q queue, wait time.Duration) {
		if server, ok := object.(*emsv1.PoolServer); ok {
			q.AddAfter(request(server.Namespace, server.Spec.PoolName), wait)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { wake(e.Object, q, reports) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { wake(e.Object, q, reports) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			before, ok := e.ObjectOld.(*emsv1.PoolServer)
			after, isServer := e.ObjectNew.(*emsv1.PoolServer)
			if !ok || !isServer {
				return
			}
			if before.Spec.PoolName != after.Spec.PoolName {
				wake(before, q, reports)
				wake(after, q, reports)
				return
			}
			changed, bad := news(before, after)
			switch {
			case bad:
				wake(after, q, alarm)
			case changed || !sameLabels(before, after):
				wake(after, q, reports)
			}
		},
	}
}

// news reports whether a server says something else of rollouts than before, and whether that is a failure.
func news(before, after *emsv1.PoolServer) (changed, bad bool) {
	if sameGates(before.Status.Mitigations, after.Status.Mitigations) {
		return false, false // Nearly every report: a server speaks of a hundred mitigations, and of one of them something new.
	}
	was := make(map[string]emsv1.ServerGate, len(before.Status.Mitigations))
	for i := range before.Status.Mitigations {
		if m := &before.Status.Mitigations[i]; m.Gate.Rollout != "" {
			was[fromapi.Key(m.ID)] = m.Gate
		}
	}
	is := 0
	for i := range after.Status.Mitigations {
		m := &after.Status.Mitigations[i]
		if m.Gate.Rollout == "" {
			continue
		}
		is++
		old := was[fromapi.Key(m.ID)]
		if old.Rollout != m.Gate.Rollout || old.Verdict != m.Gate.Verdict {
			changed, bad = true, bad || m.Gate.Verdict == emsv1.GateFailed
		}
	}
	return changed || is != len(was), bad
}

// sameGates reports whether two reports say the same of rollouts, mitigation by mitigation in the same order.
func sameGates(before, after []emsv1.ServerMitigation) bool {
	return slices.EqualFunc(before, after, func(a, b emsv1.ServerMitigation) bool {
		return a.ID == b.ID && a.Gate.Rollout == b.Gate.Rollout && a.Gate.Verdict == b.Gate.Verdict
	})
}

func sameLabels(a, b client.Object) bool { return maps.Equal(a.GetLabels(), b.GetLabels()) }

// planHandler wakes pools when another one halts, or no longer is halted, and those that wait for the rings before them when there is
// one pool less to wait for.
func (r *Reconciler) planHandler() handler.EventHandler {
	wake := func(ctx context.Context, before, after *emsv1.MitigationPlan, q queue) {
		halts, ends := turned(before, after)
		if len(halts)+len(ends) == 0 {
			return
		}
		for _, request := range r.concerned(ctx, after, func(m *emsv1.PlannedMitigation) bool {
			if m.Rollout.State == emsv1.RolloutComplete {
				return false
			}
			return len(halts) > 0 && halts[fromapi.Key(m.ID)] || len(ends) > 0 && waitsForOthers(m) && ends[fromapi.Key(m.ID)]
		}) {
			q.AddAfter(request, burst)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) {
			wake(ctx, &emsv1.MitigationPlan{}, e.Object.(*emsv1.MitigationPlan), q)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			wake(ctx, e.ObjectOld.(*emsv1.MitigationPlan), e.ObjectNew.(*emsv1.MitigationPlan), q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			wake(ctx, e.Object.(*emsv1.MitigationPlan), &emsv1.MitigationPlan{ObjectMeta: e.Object.(*emsv1.MitigationPlan).ObjectMeta}, q)
		},
	}
}

// waitsForOthers reports whether the rollout is held because of where other pools stand.
func waitsForOthers(m *emsv1.PlannedMitigation) bool {
	return m.Rollout.Reason == emsv1.AwaitingRingReason || m.Rollout.Reason == emsv1.HaltedElsewhereReason
}

// turned names the mitigations, by id in lower case, that halted in the pool or no longer are, and those for which other pools may have
// to wait no longer: their rollout completed, or nothing is rolled out any more.
func turned(before, after *emsv1.MitigationPlan) (halts, ends map[string]bool) {
	type stand struct {
		mode             emsv1.Mode
		desired          emsv1.DesiredState
		halted, complete string
	}
	stands := func(plan *emsv1.MitigationPlan) map[string]stand {
		out := make(map[string]stand, len(plan.Spec.Mitigations))
		for i := range plan.Spec.Mitigations {
			m := &plan.Spec.Mitigations[i]
			s := stand{mode: plan.Spec.Mode, desired: m.Desired}
			switch m.Rollout.State {
			case emsv1.RolloutHalted:
				s.halted = m.Rollout.ID
			case emsv1.RolloutComplete:
				s.complete = m.Rollout.ID
			default:
			}
			out[fromapi.Key(m.ID)] = s
		}
		return out
	}
	was, is := stands(before), stands(after)
	halts, ends = map[string]bool{}, map[string]bool{}
	for id := range was {
		if _, still := is[id]; !still {
			is[id] = stand{}
		}
	}
	for id, s := range is {
		if was[id].halted != s.halted {
			halts[id] = true
		}
		if was[id] != s {
			ends[id] = true
		}
	}
	return halts, ends
}

// poolsBehind are the pools that wait for rings before theirs, or because of a halt in another pool. Which pools are in those rings may
// have changed.
func (r *Reconciler) poolsBehind(ctx context.Context, changed client.Object) []reconcile.Request {
	return r.concerned(ctx, changed, waitsForOthers)
}

// concerned asks for every pool but the given one whose plan has a mitigation that is to be applied and fits.
func (r *Reconciler) concerned(ctx context.Context, except client.Object, fits func(*emsv1.PlannedMitigation) bool) []reconcile.Request {
	var plans emsv1.MitigationPlanList
	if err := r.Client.List(ctx, &plans, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing plans failed")
		return nil
	}
	var requests []reconcile.Request
	for i := range plans.Items {
		plan := &plans.Items[i]
		if plan.Namespace == except.GetNamespace() && plan.Name == except.GetName() {
			continue
		}
		for j := range plan.Spec.Mitigations {
			if m := &plan.Spec.Mitigations[j]; m.Desired == emsv1.DesiredApply && fits(m) {
				requests = append(requests, request(plan.Namespace, plan.Name))
				break
			}
		}
	}
	return requests
}

func (r *Reconciler) allPools(ctx context.Context, _ client.Object) []reconcile.Request {
	var pools emsv1.PoolMitigationConfigList
	if err := r.Client.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing pools failed")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(pools.Items))
	for i := range pools.Items {
		requests = append(requests, request(pools.Items[i].Namespace, pools.Items[i].Name))
	}
	return requests
}

func request(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}
