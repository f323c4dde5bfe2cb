package handover

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/gather"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/controllers/reconnect"
	"mitigation.dev/ems/internal/shard"
)

const (
	// burst is how long servers that come are gathered.
	burst = 300 * time.Millisecond
	// parallel is how many servers are marked at a time: a thousand take a second or two, and others are still served.
	parallel = 8
	// failed is the reason of the event about servers that could not be marked.
	failed = "HandoverFailed"
)

// Reconciler hands over the servers of pools that are other managers'.
//
// The right to patch PoolServers is not among the markers that the manager's role is generated from: who has one manager does not need
// it. It is in config/shards.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	// Shard is the manager's own.
	Shard shard.Name
}

// SetupWithManager registers the reconciler. Servers have to be indexed (package members).
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	poolOf := func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.(*emsv1.PoolServer).Spec.PoolName}}}
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("handover").
		For(&emsv1.PoolMitigationConfig{}, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&emsv1.PoolServer{}, gather.Handler(burst, poolOf), builder.WithPredicates(arrives())).
		WithOptions(controller.Options{RateLimiter: reconnect.RateLimiter()}).
		Complete(r)
}

// arrives lets a server through when it comes, or comes to another pool. Its reports do not matter.
func arrives() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*emsv1.PoolServer)
			after, isServer := e.ObjectNew.(*emsv1.PoolServer)
			return ok && isServer && before.Spec.PoolName != after.Spec.PoolName
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

// Reconcile hands over the servers of one pool that this manager has, if the pool is another's.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pool := &emsv1.PoolMitigationConfig{}
	if err := r.Client.Get(ctx, req.NamespacedName, pool, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err) // Servers of no pool stay with whom they are.
	}
	to := shard.Of(pool)
	if to == r.Shard {
		return ctrl.Result{}, nil
	}
	servers, err := members.Of(ctx, r.Client, req.NamespacedName)
	if err != nil || len(servers) == 0 {
		return ctrl.Result{}, err
	}
	keys := make([]types.NamespacedName, 0, len(servers))
	for i := range servers {
		if !to.Marked(&servers[i]) {
			keys = append(keys, client.ObjectKeyFromObject(&servers[i]))
		}
	}
	if err := mark(ctx, r.Client, keys, to); err != nil {
		r.Recorder.Eventf(pool.DeepCopy(), nil, corev1.EventTypeWarning, failed, "HandOver", "its servers cannot be handed over to %s: %v", to.Manager(), err)
		return ctrl.Result{}, err
	}
	ctrl.LoggerFrom(ctx).Info("Handed servers over", "servers", len(keys), "shard", string(to))
	return ctrl.Result{}, nil
}

// mark makes servers those of a shard.
func mark(ctx context.Context, c client.Writer, servers []types.NamespacedName, to shard.Name) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]*string{emsv1.ShardLabel: to.Mark()}}})
	if err != nil {
		return fmt.Errorf("mark servers: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, key := range servers {
		group.Go(func() error {
			server := &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
			err := c.Patch(ctx, server, client.RawPatch(types.MergePatchType, patch))
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("mark PoolServer %q: %w", key, err)
			}
			return nil
		})
	}
	return group.Wait()
}
