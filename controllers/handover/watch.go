package handover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/shard"
)

const (
	// interval is how often the Leases of managers are looked at: one read for each shard.
	interval = 15 * time.Second
	// grace is for how long a shard may be without a manager before it is told: a manager that is replaced is away for some twenty seconds.
	grace = time.Minute
	// sweepEvery is how often servers are looked for that no manager has. They come from mistakes only; what a manager leaves behind that
	// goes away is found at once.
	sweepEvery = 10 * time.Minute
)

// Watch sees whether there is a manager for each shard that a pool names, tells the pools that have none, and gives the servers that a
// manager left behind to whom they belong. It is the main manager's.
type Watch struct {
	Client client.Client
	// Reader reads past the cache.
	Reader   client.Reader
	Recorder events.EventRecorder
	// Namespace is the managers' own, in which their Leases are.
	Namespace string
	Clock     clock.WithTicker

	seen map[shard.Name]lease
	// pools is where each pool belonged when servers were last looked for that no manager has, managed which shards had a manager.
	pools   map[types.NamespacedName]shard.Name
	managed []shard.Name
	swept   time.Time
}

// lease is what was seen of the Lease of a shard. Times are of this process: those in Leases come from other clocks.
type lease struct {
	// version is that of the Lease while somebody holds it, else empty.
	version string
	changed time.Time
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (w *Watch) NeedLeaderElection() bool { return true }

// Start implements manager.Runnable.
func (w *Watch) Start(ctx context.Context) error {
	ticker := w.Clock.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			ctrl.Log.WithName("handover").Error(err, "Looking for managers of other shards failed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// Look looks once at everything.
func (w *Watch) Look(ctx context.Context) error {
	var pools emsv1.PoolMitigationConfigList
	if err := w.Client.List(ctx, &pools, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list PoolMitigationConfigs: %w", err)
	}
	now := w.Clock.Now()
	belongs := make(map[types.NamespacedName]shard.Name, len(pools.Items))
	named := map[shard.Name]bool{}
	for i := range pools.Items {
		of := shard.Of(&pools.Items[i])
		belongs[client.ObjectKeyFromObject(&pools.Items[i])] = of
		if of != shard.Main {
			named[of] = true
		}
	}
	// A manager whose last pool was moved away may have servers left to hand over.
	for _, name := range w.managed {
		named[name] = true
	}
	for _, before := range w.pools {
		if before != shard.Main {
			named[before] = true
		}
	}
	if err := w.renewals(ctx, named, now); err != nil {
		return err
	}
	var managed []shard.Name
	for _, name := range slices.Sorted(maps.Keys(w.seen)) {
		if now.Sub(w.seen[name].changed) < grace {
			managed = append(managed, name)
		}
	}
	for i := range pools.Items {
		if err := w.tell(ctx, &pools.Items[i], managed); err != nil {
			return err
		}
	}
	return w.sweep(ctx, belongs, managed, now)
}

// renewals looks at the Leases of shards.
func (w *Watch) renewals(ctx context.Context, named map[shard.Name]bool, now time.Time) error {
	maps.DeleteFunc(w.seen, func(name shard.Name, _ lease) bool { return !named[name] })
	if w.seen == nil {
		w.seen = map[shard.Name]lease{}
	}
	for name := range named {
		found := &coordinationv1.Lease{}
		err := w.Reader.Get(ctx, types.NamespacedName{Namespace: w.Namespace, Name: name.Lease()}, found)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("get Lease %q: %w", name.Lease(), err)
		}
		is := lease{version: found.ResourceVersion}
		if ptr.Deref(found.Spec.HolderIdentity, "") == "" {
			is.version = ""
		}
		switch before, known := w.seen[name]; {
		case !known:
			is.changed = now
		case is.version == "" || is.version == before.version:
			is.changed = before.changed
		default:
			is.changed = now
		}
		w.seen[name] = is
	}
	return nil
}

// tell says in the status of a pool that no manager works for it. The manager that takes it up again writes another status.
func (w *Watch) tell(ctx context.Context, pool *emsv1.PoolMitigationConfig, managed []shard.Name) error {
	of := shard.Of(pool)
	ready := meta.FindStatusCondition(pool.Status.Conditions, emsv1.ReadyCondition)
	if of == shard.Main || slices.Contains(managed, of) || (ready != nil && ready.Reason == emsv1.NoManagerReason && ready.ObservedGeneration == pool.Generation) {
		return nil
	}
	before, after := pool.DeepCopy(), pool.DeepCopy()
	message := fmt.Sprintf("no manager works for shard %q, which the label %s of the pool names: nobody has renewed the Lease %s in namespace %s for %s; "+
		"what is applied stays applied, and nothing new reaches its servers; start a manager with --shard=%s, or correct the label",
		string(of), emsv1.ShardLabel, of.Lease(), w.Namespace, grace, of)
	if _, err := shard.Parse(string(of)); err != nil {
		message = fmt.Sprintf("no manager can work for what the label %s of the pool names: %v; what is applied stays applied, and nothing new reaches its servers; correct the label",
			emsv1.ShardLabel, err)
	}
	after.Status.ObservedGeneration = new(after.Generation)
	conditions.Set(&after.Status.Conditions, after.Generation, conditions.Stalled(emsv1.NoManagerReason, message))
	// By its version: where somebody else has written it meanwhile there is a manager, or the next look tells.
	err := w.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tell PoolMitigationConfig %q: %w", client.ObjectKeyFromObject(pool), err)
	}
	w.Recorder.Eventf(after, nil, corev1.EventTypeWarning, emsv1.NoManagerReason, "Observe", "%s", message)
	return nil
}

// sweep marks servers anew that no manager has, if they belong to another shard than the one they are marked with.
func (w *Watch) sweep(ctx context.Context, belongs map[types.NamespacedName]shard.Name, managed []shard.Name, now time.Time) error {
	inUse := len(w.seen) > 0
	due := w.swept.IsZero() || inUse && now.Sub(w.swept) >= sweepEvery || inUse && (!maps.Equal(belongs, w.pools) || !slices.Equal(managed, w.managed))
	if !due {
		return nil
	}
	astray := map[shard.Name][]types.NamespacedName{}
	err := members.Pages(ctx, w.Reader, func(servers []emsv1.PoolServer) bool {
		for i := range servers {
			s := &servers[i]
			of, known := belongs[types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.PoolName}]
			if known && !of.Marked(s) {
				astray[of] = append(astray[of], client.ObjectKeyFromObject(s))
			}
		}
		return true
	}, client.MatchingLabelsSelector{Selector: shard.Astray(managed)})
	if err != nil {
		return err
	}
	for _, of := range slices.Sorted(maps.Keys(astray)) {
		if err := mark(ctx, w.Client, astray[of], of); err != nil {
			return err
		}
		ctrl.Log.WithName("handover").Info("Gave servers that no manager had to whom they belong", "servers", len(astray[of]), "shard", string(of))
	}
	w.swept, w.pools, w.managed = now, belongs, managed
	return nil
}
