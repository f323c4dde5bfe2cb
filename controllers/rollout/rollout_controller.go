package rollout

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/gather"
	"mitigation.dev/ems/controllers/scope"
	"mitigation.dev/ems/internal/rollout"
)

// burst is how long changes of Mitigations are gathered before plans are rendered again.
const burst = 500 * time.Millisecond

// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs;mitigationconfigurations;mitigations;mitigationfeeds,verbs=get;list;watch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs/finalizers,verbs=update
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationplans,verbs=get;list;watch;create;update

// Reconciler renders the plans of pools.
type Reconciler struct {
	Client client.Client
	Clock  clock.PassiveClock
}

// Reconcile renders the plan of one pool.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pool := &emsv1.PoolMitigationConfig{}
	if err := r.Client.Get(ctx, req.NamespacedName, pool); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !pool.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	var all emsv1.MitigationConfigurationList
	if err := r.Client.List(ctx, &all); err != nil {
		return ctrl.Result{}, fmt.Errorf("list MitigationConfigurations: %w", err)
	}
	var mitigations emsv1.MitigationList
	if err := r.Client.List(ctx, &mitigations); err != nil {
		return ctrl.Result{}, fmt.Errorf("list Mitigations: %w", err)
	}
	var feeds emsv1.MitigationFeedList
	if err := r.Client.List(ctx, &feeds); err != nil {
		return ctrl.Result{}, fmt.Errorf("list MitigationFeeds: %w", err)
	}
	configurations, err := scope.For(pool, all.Items)
	if err != nil {
		// The plan stays as it is. A change of the configuration brings the pool back here.
		return ctrl.Result{}, reconcile.TerminalError(err)
	}

	now := r.Clock.Now()
	plan := rollout.Make(input(pool, configurations, mitigations.Items, now))
	if err := r.write(ctx, pool, render(pool, configurations, feeds.Items, plan)); err != nil {
		return ctrl.Result{}, err
	}
	if plan.Next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(plan.Next.Sub(now), time.Millisecond)}, nil
}

// write creates or updates the plan if it differs from the one that is there. Plain updates rather than server-side
// apply: the manager alone writes plans, and a list entry that is no longer wanted has to go whoever added it.
func (r *Reconciler) write(ctx context.Context, pool *emsv1.PoolMitigationConfig, spec emsv1.MitigationPlanSpec) error {
	plan := &emsv1.MitigationPlan{}
	plan.Namespace, plan.Name = pool.Namespace, pool.Name
	result, err := controllerutil.CreateOrUpdate(ctx, r.Client, plan, func() error {
		plan.Spec = spec
		return controllerutil.SetControllerReference(pool, plan, r.Client.Scheme())
	})
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write MitigationPlan: %w", err)
	}
	if result != controllerutil.OperationResultNone {
		ctrl.LoggerFrom(ctx).Info("Wrote plan", "operation", result, "mitigations", len(spec.Mitigations))
	}
	return nil
}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("rollout").
		For(&emsv1.PoolMitigationConfig{}, builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Owns(&emsv1.MitigationPlan{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.MitigationConfiguration{}, handler.EnqueueRequestsFromMapFunc(r.allPools),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.Mitigation{}, gather.Handler(burst, r.allPools),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&emsv1.MitigationFeed{}, gather.Handler(burst, r.allPools), builder.WithPredicates(revocationChanged())).
		Complete(r)
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

func (r *Reconciler) allPools(ctx context.Context, _ client.Object) []reconcile.Request {
	var pools emsv1.PoolMitigationConfigList
	if err := r.Client.List(ctx, &pools); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing pools failed")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(pools.Items))
	for i := range pools.Items {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{
			Namespace: pools.Items[i].Namespace, Name: pools.Items[i].Name,
		}})
	}
	return requests
}
