package fleet

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/gather"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/controllers/reconnect"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/shard"
)

// burst is how long reports are gathered before a status is computed again: at most one write per object and second.
const burst = time.Second

// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs;mitigationconfigurations;mitigations;mitigationplans;poolservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs/status;mitigationconfigurations/status;mitigations/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// reconciler holds what the three reconcilers of this package share.
type reconciler struct {
	client   client.Client
	recorder events.EventRecorder
	clock    clock.PassiveClock
	shard    shard.Name
}

// SetupWithManager registers the reconcilers for the statuses of the pools of a shard and, for the main manager, of mitigations and
// configurations. Servers have to be indexed (package members).
func SetupWithManager(mgr ctrl.Manager, mine shard.Name) error {
	r := reconciler{client: mgr.GetClient(), recorder: mgr.GetEventRecorder("ems-fleet"), clock: clock.RealClock{}, shard: mine}
	if err := r.setupPools(mgr); err != nil {
		return fmt.Errorf("set up the pool status controller: %w", err)
	}
	if mine != shard.Main {
		return nil
	}
	if err := r.setupMitigations(mgr); err != nil {
		return fmt.Errorf("set up the mitigation status controller: %w", err)
	}
	if err := r.setupConfigurations(mgr); err != nil {
		return fmt.Errorf("set up the configuration status controller: %w", err)
	}
	return nil
}

func (r reconciler) setupPools(mgr ctrl.Manager) error {
	poolOf := func(_ context.Context, o client.Object) []reconcile.Request {
		return request(o.GetNamespace(), o.(*emsv1.PoolServer).Spec.PoolName)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("fleet-pool").
		For(&emsv1.PoolMitigationConfig{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}, calledAbandoned()))).
		Owns(&emsv1.MitigationPlan{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&emsv1.PoolServer{}, gather.Handler(burst, poolOf)).
		Watches(&emsv1.MitigationConfiguration{}, gather.Handler(burst, r.everyPool), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{RateLimiter: reconnect.RateLimiter()}).
		Complete(reconcile.Func(r.reconcilePool))
}

func (r reconciler) setupMitigations(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("fleet-mitigation").
		For(&emsv1.Mitigation{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.PoolMitigationConfig{}, r.poolHandler()).
		WithOptions(controller.Options{RateLimiter: reconnect.RateLimiter()}).
		Complete(reconcile.Func(r.reconcileMitigation))
}

func (r reconciler) setupConfigurations(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("fleet-configuration").
		For(&emsv1.MitigationConfiguration{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.PoolMitigationConfig{}, gather.Handler(burst, r.everyConfiguration), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&emsv1.MitigationPlan{}, gather.Handler(burst, r.everyConfiguration), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{RateLimiter: reconnect.RateLimiter()}).
		Complete(reconcile.Func(r.reconcileConfiguration))
}

func (r reconciler) reconcilePool(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pool := &emsv1.PoolMitigationConfig{}
	if err := r.client.Get(ctx, req.NamespacedName, pool); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !r.shard.Has(pool) {
		return ctrl.Result{}, nil
	}
	view := poolView{pool: pool, plan: &emsv1.MitigationPlan{}}
	if err := r.client.Get(ctx, req.NamespacedName, view.plan, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("get MitigationPlan: %w", err)
	} else if err != nil {
		view.plan = nil
	}
	if view.plan != nil && !r.shard.Has(view.plan) {
		return ctrl.Result{}, r.takingOver(ctx, pool, shard.Of(view.plan))
	}
	var err error
	if view.servers, err = members.Of(ctx, r.client, req.NamespacedName); err != nil {
		return ctrl.Result{}, err
	}
	var all emsv1.MitigationConfigurationList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("list MitigationConfigurations: %w", err)
	}
	view.configurations, view.specErr = fromapi.InScope(pool, all.Items)

	before := pool.DeepCopy()
	pool.Status = poolStatus(view)
	if equality.Semantic.DeepEqual(before.Status, pool.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.patch(ctx, before, pool)
}

// takingOver says that the pool comes from another manager, and leaves the rest of the status as that one wrote it: not all servers are here.
func (r reconciler) takingOver(ctx context.Context, pool *emsv1.PoolMitigationConfig, from shard.Name) error {
	before := pool.DeepCopy()
	pool.Status.ObservedGeneration = new(pool.Generation)
	conditions.Set(&pool.Status.Conditions, pool.Generation, handedOver(from, r.shard))
	if equality.Semantic.DeepEqual(before.Status, pool.Status) {
		return nil
	}
	return r.patch(ctx, before, pool)
}

func (r reconciler) reconcileMitigation(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	mitigation := &emsv1.Mitigation{}
	if err := r.client.Get(ctx, req.NamespacedName, mitigation); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var pools emsv1.PoolMitigationConfigList
	if err := r.client.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("list PoolMitigationConfigs: %w", err)
	}
	before := mitigation.DeepCopy()
	mitigation.Status = mitigationStatus(mitigation, pools.Items)
	if equality.Semantic.DeepEqual(before.Status, mitigation.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, r.patch(ctx, before, mitigation)
}

func (r reconciler) reconcileConfiguration(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	configuration := &emsv1.MitigationConfiguration{}
	if err := r.client.Get(ctx, req.NamespacedName, configuration); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var pools emsv1.PoolMitigationConfigList
	if err := r.client.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("list PoolMitigationConfigs: %w", err)
	}
	var list emsv1.MitigationPlanList
	if err := r.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("list MitigationPlans: %w", err)
	}
	plans := make(map[string]*emsv1.MitigationPlan, len(list.Items))
	for i := range list.Items {
		plans[list.Items[i].Namespace+"/"+list.Items[i].Name] = &list.Items[i]
	}
	before := configuration.DeepCopy()
	now := r.clock.Now()
	status, next := configurationStatus(configuration, pools.Items, plans, now)
	configuration.Status = status
	var result ctrl.Result
	if !next.IsZero() {
		result.RequeueAfter = max(next.Sub(now), time.Millisecond)
	}
	if equality.Semantic.DeepEqual(before.Status, configuration.Status) {
		return result, nil
	}
	return result, r.patch(ctx, before, configuration)
}

// patch writes a changed status and then, if Ready changed, an event.
func (r reconciler) patch(ctx context.Context, before, after object) error {
	if err := r.client.Status().Patch(ctx, after, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("patch status: %w", err))
	}
	was := meta.FindStatusCondition(before.GetConditions(), emsv1.ReadyCondition)
	is := meta.FindStatusCondition(after.GetConditions(), emsv1.ReadyCondition)
	if is == nil || (was != nil && was.Status == is.Status && was.Reason == is.Reason) {
		return nil
	}
	kind := corev1.EventTypeNormal
	if meta.IsStatusConditionTrue(after.GetConditions(), emsv1.StalledCondition) {
		kind = corev1.EventTypeWarning
	}
	r.recorder.Eventf(after, nil, kind, is.Reason, "Observe", "%s", is.Message)
	return nil
}

// object is an object with conditions.
type object interface {
	client.Object
	GetConditions() []metav1.Condition
}

func (r reconciler) everyPool(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.every(ctx, &emsv1.PoolMitigationConfigList{})
}

func (r reconciler) everyConfiguration(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.every(ctx, &emsv1.MitigationConfigurationList{})
}

// every asks for each object of the list's kind.
func (r reconciler) every(ctx context.Context, list client.ObjectList) []reconcile.Request {
	if err := r.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing objects failed")
		return nil
	}
	var requests []reconcile.Request
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		item := o.(client.Object)
		requests = append(requests, request(item.GetNamespace(), item.GetName())...)
		return nil
	})
	return requests
}

func request(namespace, name string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}
