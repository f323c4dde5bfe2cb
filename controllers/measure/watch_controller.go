package measure

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/gather"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/shard"
)

// burst is how long reports of a pool are gathered. Prometheus asks every fifteen seconds or more seldom.
const burst = 5 * time.Second

// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs;mitigationfeeds;mitigations;mitigationplans;poolservers,verbs=get;list;watch

// watcher counts what happens in pools. It writes to no object.
type watcher struct {
	client client.Reader
	clock  clock.PassiveClock
	shard  shard.Name
	to     *watched
}

// watched is what the watcher found out and the collector exports.
type watched struct {
	mu sync.Mutex
	*memory
	*counters
}

func newWatched() *watched { return &watched{memory: newMemory(), counters: newCounters()} }

// again begins a new memory: a process may run several managers in turn. What was counted stays.
func (w *watched) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memory = newMemory()
}

// snapshot gives how the servers of each pool stand, and where mitigations come from.
func (w *watched) snapshot() (pools map[types.NamespacedName][standings]int, origins map[emsv1.MitigationID]origin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pools = make(map[types.NamespacedName][standings]int, len(w.pools))
	for key, pool := range w.pools {
		pools[key] = pool.counts
	}
	return pools, maps.Clone(w.origins)
}

// SetupWithManager registers what counts the things that happen in the pools of a shard. Servers have to be indexed (package members).
func SetupWithManager(mgr ctrl.Manager, mine shard.Name) error {
	exported.watched.again()
	w := &watcher{client: mgr.GetClient(), clock: clock.RealClock{}, shard: mine, to: exported.watched}
	poolOf := func(_ context.Context, o client.Object) []reconcile.Request {
		server, ok := o.(*emsv1.PoolServer)
		if !ok {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: server.Namespace, Name: server.Spec.PoolName}}}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("measure").
		For(&emsv1.PoolMitigationConfig{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Owns(&emsv1.MitigationPlan{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&emsv1.PoolServer{}, gather.Handler(burst, poolOf)).
		Complete(reconcile.Func(w.reconcile))
}

func (w *watcher) leave(pool types.NamespacedName) {
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	w.to.memory.leave(w.to.counters, pool)
}

func (w *watcher) reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pool := &emsv1.PoolMitigationConfig{}
	err := w.client.Get(ctx, req.NamespacedName, pool, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		w.to.mu.Lock()
		defer w.to.mu.Unlock()
		w.to.forget(w.to.counters, req.NamespacedName)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("get PoolMitigationConfig: %w", err)
	}
	if !w.shard.Has(pool) {
		w.leave(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	sight := poolSight{key: req.NamespacedName, history: pool.Status.History, plan: &emsv1.MitigationPlan{}, now: w.clock.Now()}
	if err := w.client.Get(ctx, req.NamespacedName, sight.plan, client.UnsafeDisableDeepCopy); apierrors.IsNotFound(err) {
		sight.plan = nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("get MitigationPlan: %w", err)
	}
	if sight.plan != nil && !w.shard.Has(sight.plan) {
		w.leave(req.NamespacedName) // It is being taken over, and not all of its servers are here.
		return ctrl.Result{}, nil
	}
	if sight.servers, err = members.Of(ctx, w.client, req.NamespacedName); err != nil {
		return ctrl.Result{}, err
	}
	var mitigations emsv1.MitigationList
	var feeds emsv1.MitigationFeedList
	for _, list := range []client.ObjectList{&mitigations, &feeds} {
		if err := w.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return ctrl.Result{}, fmt.Errorf("list mitigations and feeds: %w", err)
		}
	}
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	// The way from the publisher to the cluster is counted once.
	published := w.to.counters
	if w.shard != shard.Main {
		published = nil
	}
	w.to.learn(published, mitigations.Items, feeds.Items, sight.now)
	w.to.look(w.to.counters, sight)
	return ctrl.Result{}, nil
}
