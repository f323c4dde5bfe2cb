package rollout

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/handover"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/shard"
)

// conflictRetry is the wait before a pool is planned from scratch because what was read had changed meanwhile.
const conflictRetry = 20 * time.Millisecond

// arrivalRetry is the wait before it is asked again whether all servers of a pool have come from another manager.
const arrivalRetry = 2 * time.Second

// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs;mitigationconfigurations;mitigations;mitigationfeeds;poolservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs/finalizers,verbs=update
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolmitigationconfigs/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationplans,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler renders the plans of pools.
type Reconciler struct {
	Client client.Client
	// Reader reads past the cache. It is asked only where there are several managers.
	Reader   client.Reader
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Shard is whose pools the reconciler plans. The plans of all others are read, since rings and halts go beyond shards.
	Shard shard.Name

	// whole has the pools of this manager of which all servers have been in its cache, by their names. A pool that goes to another manager
	// and comes back is looked at anew: its servers may be on their way.
	whole sync.Map
}

// Reconcile renders the plan of one pool.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pool := &emsv1.PoolMitigationConfig{}
	if err := r.Client.Get(ctx, req.NamespacedName, pool); err != nil {
		r.whole.Delete(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !r.Shard.Has(pool) {
		r.whole.Delete(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if !pool.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	result, err := r.reconcile(ctx, pool)
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		// Somebody was faster, or the cache is behind. What was decided may no longer be right, so nothing of it is kept.
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{}, nil
	}
	return result, err
}

func (r *Reconciler) reconcile(ctx context.Context, pool *emsv1.PoolMitigationConfig) (ctrl.Result, error) {
	if may, err := r.mayPlan(ctx, pool); err != nil {
		return ctrl.Result{}, err
	} else if !may {
		return ctrl.Result{RequeueAfter: arrivalRetry}, r.takeAway(ctx, pool)
	}
	seen, feeds, err := r.look(ctx, pool)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.remember(ctx, pool, seen.Plan); err != nil {
		return ctrl.Result{}, err
	}
	plan := rollout.Make(seen.Input())
	spec := render(seen, feeds, plan)
	if spec.Reporting, err = r.reporting(ctx, len(seen.Servers), seen.Plan); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.write(ctx, seen, fit(spec, seen.Plan), r.Shard); err != nil {
		return ctrl.Result{}, err
	}
	if plan.Next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(plan.Next.Sub(seen.Now), time.Millisecond)}, nil
}

// mayPlan reports whether all servers of the pool are in the cache: a plan that is made from some of them would release the next stage too
// early. It is asked once for each pool that this manager has, and not at all where there is one manager.
func (r *Reconciler) mayPlan(ctx context.Context, pool *emsv1.PoolMitigationConfig) (bool, error) {
	key := client.ObjectKeyFromObject(pool)
	if _, known := r.whole.Load(key); known {
		return true, nil
	}
	alone, err := r.alone(ctx)
	if err != nil {
		return false, err
	}
	if !alone {
		missing, err := handover.Missing(ctx, r.Client, r.Reader, pool, r.Shard)
		if err != nil {
			return false, fmt.Errorf("find the servers of the pool: %w", err)
		}
		if missing > 0 {
			ctrl.LoggerFrom(ctx).Info("Waiting for servers that another manager hands over", "missing", missing)
			return false, nil
		}
	}
	r.whole.Store(key, true)
	return true, nil
}

// takeAway plans what is to be removed, and nothing else, from the servers that have come so far. A kill switch or a block does not depend on
// who has which servers, and must not wait for any. Whose plan it is stays as it was.
func (r *Reconciler) takeAway(ctx context.Context, pool *emsv1.PoolMitigationConfig) error {
	seen, feeds, err := r.look(ctx, pool)
	if err != nil || seen.Plan == nil {
		return err
	}
	spec, removes := withRemovals(seen.Plan.Spec, render(seen, feeds, rollout.Make(seen.Input())))
	if !removes {
		return nil
	}
	if err := r.remember(ctx, pool, seen.Plan); err != nil {
		return err
	}
	return r.write(ctx, seen, fit(spec, seen.Plan), shard.Of(seen.Plan))
}

// withRemovals takes from a new plan what it removes and the one before does not, and reports whether that is anything.
func withRemovals(before, after emsv1.MitigationPlanSpec) (spec emsv1.MitigationPlanSpec, removes bool) {
	spec = *before.DeepCopy()
	for i := range spec.Mitigations {
		m := &spec.Mitigations[i]
		at := slices.IndexFunc(after.Mitigations, func(n emsv1.PlannedMitigation) bool { return n.ID == m.ID })
		if at >= 0 && m.Desired != emsv1.DesiredRemove && after.Mitigations[at].Desired == emsv1.DesiredRemove {
			*m, removes = after.Mitigations[at], true
		}
	}
	return spec, removes
}

// alone reports whether no pool is, or was until just now, another manager's.
func (r *Reconciler) alone(ctx context.Context) (bool, error) {
	if r.Shard != shard.Main {
		return false, nil
	}
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	for _, list := range []client.ObjectList{&pools, &plans} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return false, fmt.Errorf("look for pools of other managers: %w", err)
		}
	}
	return !slices.ContainsFunc(pools.Items, func(p emsv1.PoolMitigationConfig) bool { return !shard.Main.Has(&p) }) &&
		!slices.ContainsFunc(plans.Items, func(p emsv1.MitigationPlan) bool { return !shard.Main.Has(&p) }), nil
}

// look reads everything that the plan of a pool depends on.
func (r *Reconciler) look(ctx context.Context, pool *emsv1.PoolMitigationConfig) (*fromapi.Sight, []emsv1.MitigationFeed, error) {
	seen := &fromapi.Sight{Pool: pool, Now: r.Clock.Now(), Plan: &emsv1.MitigationPlan{}}
	key := client.ObjectKeyFromObject(pool)
	if err := r.Client.Get(ctx, key, seen.Plan); apierrors.IsNotFound(err) {
		seen.Plan = nil
	} else if err != nil {
		return nil, nil, fmt.Errorf("get MitigationPlan: %w", err)
	}
	var all emsv1.MitigationConfigurationList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list MitigationConfigurations: %w", err)
	}
	var err error
	if seen.Configurations, err = fromapi.InScope(pool, all.Items); err != nil {
		// The plan stays as it is. A change of the configuration brings the pool back here.
		return nil, nil, reconcile.TerminalError(err)
	}
	var mitigations emsv1.MitigationList
	if err := r.Client.List(ctx, &mitigations, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list Mitigations: %w", err)
	}
	var feeds emsv1.MitigationFeedList
	if err := r.Client.List(ctx, &feeds, client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list MitigationFeeds: %w", err)
	}
	seen.Mitigations = mitigations.Items
	if seen.Servers, err = members.Of(ctx, r.Client, key); err != nil {
		return nil, nil, err
	}
	if len(seen.Moving()) > 0 {
		err = r.lookAround(ctx, seen)
	}
	return seen, feeds.Items, err
}

// lookAround reads where other pools stand. Only pools that roll something out have to know.
func (r *Reconciler) lookAround(ctx context.Context, seen *fromapi.Sight) error {
	var pools emsv1.PoolMitigationConfigList
	if err := r.Client.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list PoolMitigationConfigs: %w", err)
	}
	var plans emsv1.MitigationPlanList
	if err := r.Client.List(ctx, &plans, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list MitigationPlans: %w", err)
	}
	seen.Pools, seen.Plans = pools.Items, plans.Items
	return nil
}

// write creates or updates the plan if it differs from the one that was read. Plain updates rather than server-side
// apply: the manager alone writes plans, and a list entry that is no longer wanted has to go whoever added it. The version that was read
// is part of the write, since the new plan is a step from that one and from no other.
//
// The plan is marked as that of a shard.
func (r *Reconciler) write(ctx context.Context, seen *fromapi.Sight, spec emsv1.MitigationPlanSpec, of shard.Name) error {
	plan := &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: seen.Pool.Namespace, Name: seen.Pool.Name}}
	if seen.Plan != nil {
		plan = seen.Plan.DeepCopy()
	}
	plan.Spec = spec
	if mark := of.Mark(); mark != nil {
		metav1.SetMetaDataLabel(&plan.ObjectMeta, emsv1.ShardLabel, *mark)
	} else {
		delete(plan.Labels, emsv1.ShardLabel)
	}
	if err := controllerutil.SetControllerReference(seen.Pool, plan, r.Client.Scheme()); err != nil {
		return reconcile.TerminalError(fmt.Errorf("own MitigationPlan: %w", err))
	}
	did := "created"
	var err error
	switch {
	case seen.Plan == nil:
		err = r.Client.Create(ctx, plan)
	case equality.Semantic.DeepEqual(seen.Plan, plan):
		return nil
	default:
		did, err = "updated", r.Client.Update(ctx, plan)
	}
	if err != nil {
		return fmt.Errorf("write MitigationPlan: %w", err)
	}
	ctrl.LoggerFrom(ctx).Info("Wrote plan", "operation", did, "mitigations", len(spec.Mitigations))
	return nil
}
