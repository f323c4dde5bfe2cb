package liveness

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/heartbeat"
)

const (
	// retry is the wait after somebody else changed the PoolServer at the same time.
	retry = time.Second
)

// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationplans;poolservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=poolservers/status,verbs=patch

// Reconciler tells which servers are silent.
type Reconciler struct {
	Client client.Client
	// Reader reads past the cache.
	Reader client.Reader
	Clock  clock.PassiveClock

	mu    sync.Mutex
	heard map[types.NamespacedName]sign
}

// sign is the last sign of life of a server.
type sign struct {
	// lease is the version of the Lease that was seen last.
	lease string
	// silent says that the server was called silent when it was looked at last.
	silent bool
	// limit is how long the server may be silent, as its plan said then.
	limit time.Duration
	at    time.Time
}

// SetupWithManager registers the reconciler. The manager needs the index of package members.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("liveness").
		For(&emsv1.PoolServer{}, builder.WithPredicates(saidToBeSilent())).
		WatchesMetadata(&coordinationv1.Lease{}, &handler.EnqueueRequestForObject{}).
		Watches(&emsv1.MitigationPlan{}, handler.EnqueueRequestsFromMapFunc(r.serversOf), builder.WithPredicates(asksForMoreOrLess())).
		Complete(r)
}

// asksForMoreOrLess lets a plan through when it comes or asks for another period. A server that was looked at before has its next look by
// the old one, which is a minute or two late where the first look came before the plan.
func asksForMoreOrLess() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*emsv1.MitigationPlan)
			after, isPlan := e.ObjectNew.(*emsv1.MitigationPlan)
			return ok && isPlan && before.Spec.Reporting.LeaseSeconds != after.Spec.Reporting.LeaseSeconds
		},
		DeleteFunc: func(event.DeleteEvent) bool { return false }, // without a plan servers have longer
	}
}

// serversOf gives the servers of a plan, which has the name of its pool.
func (r *Reconciler) serversOf(ctx context.Context, plan client.Object) []ctrl.Request {
	servers, err := members.Of(ctx, r.Client, client.ObjectKeyFromObject(plan))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Servers whose plan has another period cannot be looked at now; each has its look by the old one")
		return nil
	}
	requests := make([]ctrl.Request, 0, len(servers))
	for i := range servers {
		requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&servers[i])})
	}
	return requests
}

// saidToBeSilent lets a server through when it comes, goes, or is called silent or no longer. Its other reports do not matter.
func saidToBeSilent() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*emsv1.PoolServer)
		after, isServer := e.ObjectNew.(*emsv1.PoolServer)
		return ok && isServer && (IsSilent(before) != IsSilent(after) || before.Spec.PoolName != after.Spec.PoolName)
	}}
}

// IsSilent reports whether a server is called silent.
func IsSilent(server *emsv1.PoolServer) bool {
	c := meta.FindStatusCondition(server.Status.Conditions, emsv1.ReadyCondition)
	return c != nil && c.Status == metav1.ConditionUnknown && c.Reason == emsv1.AgentSilentReason
}

// Reconcile looks at one server. Its Lease bears the same name.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	server := &emsv1.PoolServer{}
	if err := r.Client.Get(ctx, req.NamespacedName, server); apierrors.IsNotFound(err) {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("look at server: %w", err)
	}
	lease, err := version(ctx, r.Client, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("look at server: %w", err)
	}
	if lease == "" && server.Status.Credential.ExpiryTime == nil {
		r.forget(req.NamespacedName) // it was not enrolled
		return ctrl.Result{}, nil
	}
	limit, err := r.limit(ctx, server)
	if err != nil {
		return ctrl.Result{}, err
	}
	silent := IsSilent(server)
	left := limit - r.since(req.NamespacedName, lease, limit, silent)
	switch {
	case silent:
		return ctrl.Result{}, nil // The agent's next report takes it back, and a renewal comes here again.
	case left > 0:
		return ctrl.Result{RequeueAfter: left}, nil
	}
	if lease, err = version(ctx, r.Reader, req.NamespacedName); err != nil {
		// Whether the server is silent or the API server away cannot be told.
		r.forget(req.NamespacedName)
		return ctrl.Result{}, fmt.Errorf("read Lease: %w", err)
	}
	if left = limit - r.since(req.NamespacedName, lease, limit, silent); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	return r.call(ctx, server, limit, lease == "")
}

// version is that of the Lease of a server; empty if there is none.
func version(ctx context.Context, reader client.Reader, server types.NamespacedName) (string, error) {
	lease := &metav1.PartialObjectMetadata{}
	lease.SetGroupVersionKind(coordinationv1.SchemeGroupVersion.WithKind("Lease"))
	err := reader.Get(ctx, server, lease)
	return lease.ResourceVersion, client.IgnoreNotFound(err)
}

// call calls a server silent.
func (r *Reconciler) call(ctx context.Context, server *emsv1.PoolServer, limit time.Duration, gone bool) (ctrl.Result, error) {
	before := server.DeepCopy()
	server.Status.Conditions = silentConditions(server, limit, gone)
	err := r.Client.Status().Patch(ctx, server, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: retry}, nil
	case err != nil:
		return ctrl.Result{}, client.IgnoreNotFound(fmt.Errorf("patch status: %w", err))
	}
	r.called(client.ObjectKeyFromObject(server))
	ctrl.LoggerFrom(ctx).Info("Server is silent", "limit", limit.String())
	return ctrl.Result{}, nil
}

// silentConditions are those of a server that is silent, or whose Lease is gone. What it said last of its state otherwise stays, since it may be so still.
func silentConditions(server *emsv1.PoolServer, limit time.Duration, gone bool) []metav1.Condition {
	conditions := slices.Clone(server.Status.Conditions)
	message := fmt.Sprintf("the agent has not renewed its Lease for %s; what is applied stays applied, and what is told here was true before; "+
		"see whether the server is on, its agent runs and its connection works", limit)
	if was := meta.FindStatusCondition(conditions, emsv1.ReadyCondition); was == nil {
		message = fmt.Sprintf("the agent has not been heard of for %s, nor ever before; install it with what `kubectl mitigation enroll` prints", limit)
	}
	if gone {
		message = fmt.Sprintf("the Lease of the server has been deleted, so that nobody can tell for %s whether its agent works; what is told here was true before; "+
			"`kubectl mitigation enroll` makes it again, also for a server that it refuses because it is enrolled", limit)
	}
	meta.RemoveStatusCondition(&conditions, emsv1.ReconcilingCondition)
	meta.RemoveStatusCondition(&conditions, emsv1.StalledCondition)
	meta.SetStatusCondition(&conditions, metav1.Condition{
		Type: emsv1.ReadyCondition, Status: metav1.ConditionUnknown, Reason: emsv1.AgentSilentReason, Message: message,
		ObservedGeneration: ptr.Deref(server.Status.ObservedGeneration, 0),
	})
	return conditions
}

// limit is how long a server may be silent.
func (r *Reconciler) limit(ctx context.Context, server *emsv1.PoolServer) (time.Duration, error) {
	var plan emsv1.MitigationPlan
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: server.Namespace, Name: server.Spec.PoolName}, &plan, client.UnsafeDisableDeepCopy)
	if client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("get MitigationPlan: %w", err)
	}
	if seconds := plan.Spec.Reporting.LeaseSeconds; seconds > 0 {
		return heartbeat.Silence(time.Duration(seconds) * time.Second), nil
	}
	return heartbeat.Silence(heartbeat.DefaultPeriod), nil
}

// since is how long ago the last sign of life of a server was, after a look at it. A server whose plan asks for more signs than before
// has a whole limit for the next one: it goes by the shorter period when it has read that plan, and not before.
func (r *Reconciler) since(name types.NamespacedName, lease string, limit time.Duration, silent bool) time.Duration {
	now := r.Clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.heard[name]
	if !known || last.lease != lease || last.silent && !silent || limit < last.limit {
		last.at = now
	}
	last.lease, last.silent, last.limit = lease, silent, limit
	if r.heard == nil {
		r.heard = map[types.NamespacedName]sign{}
	}
	r.heard[name] = last
	return now.Sub(last.at)
}

// called remembers that a server was called silent, so that its next report is noticed even if it comes at once.
func (r *Reconciler) called(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.heard[name]
	last.silent = true
	r.heard[name] = last
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.heard, name)
}
