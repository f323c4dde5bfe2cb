package rollout

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

const (
	// few is how many Leases a second a fleet renews that is small enough for it, most what every fleet renews at most: an API server
	// and etcd take several hundred writes a second, and each costs them about 5 ms of a processor. Between both sizes the period is that
	// of the smaller fleet: the period is what an operator waits for when a server has died, and 50 writes a second for 1,000 servers
	// would cost a quarter of a processor for nothing else.
	few, most = 10, 50
	// small is how large a fleet with few renewals can be.
	small = 1000
	// good is how many reports of success a second the whole fleet makes: what is published for all is rolled out in all pools at once. A
	// report costs the API server and etcd about 10 ms of a processor.
	good = 100
	// handful is a fleet whose servers all report at once.
	handful = 50
	// slack is how much smaller than a shorter period would allow the fleet has to be before the period becomes shorter, in
	// percent: a server more and one less does not change every plan of the cluster each time.
	slack = 125
)

// periods and windows are what plans can say, in seconds. A plan that changes is read by every server, so there are few steps. The last
// period is enough for 30,000 servers. The last window is enough for 6,000; more servers report faster than that rather than later.
var (
	periods = []int{10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600}
	windows = []int{0, 1, 2, 5, 10, 20, 30, 60}
)

// reporting says how servers report. fleet is how many there are in all pools; before is what the plan said last.
func reporting(fleet int, before emsv1.PlanReporting) emsv1.PlanReporting {
	window := 0
	if fleet >= handful {
		window = step(windows, upTo(good, fleet), int(ptr.Deref(before.WindowSeconds, 0)), upTo(good, fleet*slack/100))
	}
	return emsv1.PlanReporting{
		LeaseSeconds:  int32(step(periods, atLeast(fleet), int(before.LeaseSeconds), atLeast(fleet*slack/100))), //nolint:gosec // one of periods
		WindowSeconds: new(int32(window)),                                                                       //nolint:gosec // one of windows
	}
}

// atLeast is the shortest period for a fleet, in seconds.
func atLeast(fleet int) int {
	return max(upTo(few, min(fleet, small)), upTo(most, fleet))
}

// upTo is how many seconds a fleet needs for something that so many servers do in each.
func upTo(each, fleet int) int { return (fleet + each - 1) / each }

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
	return reporting(max(fleet(pools.Items), servers), before), nil
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
		if !equality.Semantic.DeepEqual(reporting(servers, p.Spec.Reporting), p.Spec.Reporting) {
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
