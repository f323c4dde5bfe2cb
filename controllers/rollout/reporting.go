package rollout

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

const (
	// renewals is how many Leases a second the whole fleet renews at most. An API server and etcd take several hundred writes a
	// second; this leaves nearly all of that to reports.
	renewals = 50
	// good is how many reports of success a second a pool makes.
	good = 200
	// slack is how much smaller than a shorter period would allow the fleet has to be before the period becomes shorter, in
	// percent: a server more and one less does not change every plan of the cluster each time.
	slack = 125
)

// periods and windows are what plans can say, in seconds. A plan that changes is read by every server, so there are few steps. The last
// period is enough for 30,000 servers, the last window for 12,000 in one pool.
var (
	periods = []int{10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600}
	windows = []int{0, 1, 2, 5, 10, 20, 30, 60}
)

// reporting says how the servers of a pool report. fleet is how many servers there are in all pools; before is what the plan said last.
func reporting(fleet, pool int, before emsv1.PlanReporting) emsv1.PlanReporting {
	window := 0
	if pool >= good/4 {
		window = step(windows, pool/good, int(ptr.Deref(before.WindowSeconds, 0)), pool*slack/100/good)
	}
	return emsv1.PlanReporting{
		LeaseSeconds:  int32(step(periods, atLeast(fleet), int(before.LeaseSeconds), atLeast(fleet*slack/100))), //nolint:gosec // one of periods
		WindowSeconds: new(int32(window)),                                                                       //nolint:gosec // one of windows
	}
}

// atLeast is the shortest period for a fleet, in seconds.
func atLeast(fleet int) int { return (fleet + renewals - 1) / renewals }

// step is the least step that reaches what is needed. The step before is kept unless another one reaches what would be needed with some
// more servers, too.
func step(steps []int, need, before, needWithSlack int) int {
	reach := func(need int) int {
		for _, s := range steps {
			if s >= need {
				return s
			}
		}
		return steps[len(steps)-1]
	}
	if now := reach(need); before <= now || !slices.Contains(steps, before) {
		return now
	}
	return min(before, reach(needWithSlack))
}

// fleet counts the servers of all pools, as their statuses say it: counting the servers themselves would cost more than planning.
func fleet(pools []emsv1.PoolMitigationConfig) int {
	servers := 0
	for i := range pools {
		servers += int(ptr.Deref(pools[i].Status.Servers, 0))
	}
	return servers
}

// reporting says how the servers of a pool report.
func (r *Reconciler) reporting(ctx context.Context, servers int, plan *emsv1.MitigationPlan) (emsv1.PlanReporting, error) {
	var pools emsv1.PoolMitigationConfigList
	if err := r.Client.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return emsv1.PlanReporting{}, fmt.Errorf("list PoolMitigationConfigs: %w", err)
	}
	var before emsv1.PlanReporting
	if plan != nil {
		before = plan.Spec.Reporting
	}
	return reporting(max(fleet(pools.Items), servers), servers, before), nil
}

// outOfStep are the pools whose plans should say something else now that the fleet has grown or shrunk.
func (r *Reconciler) outOfStep(ctx context.Context, _ client.Object) []reconcile.Request {
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	for _, list := range []client.ObjectList{&pools, &plans} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Listing pools and plans failed")
			return nil
		}
	}
	servers := fleet(pools.Items)
	var requests []reconcile.Request
	for i := range plans.Items {
		p := &plans.Items[i]
		if reporting(servers, 0, p.Spec.Reporting).LeaseSeconds != p.Spec.Reporting.LeaseSeconds {
			requests = append(requests, request(p.Namespace, p.Name))
		}
	}
	return requests
}

// countChanged lets a pool through when it has another number of servers.
func countChanged() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*emsv1.PoolMitigationConfig)
			after, isPool := e.ObjectNew.(*emsv1.PoolMitigationConfig)
			return ok && isPool && ptr.Deref(before.Status.Servers, 0) != ptr.Deref(after.Status.Servers, 0)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
