package feed

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/feed/push"
	"mitigation.dev/ems/controllers/gather"
	"mitigation.dev/ems/controllers/reconnect"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/trust"
)

const (
	// firstRetry is the wait after the first failed poll. It doubles with every further failure up to the feed's interval:
	// 15 s, 30 s, 1 min, 2 min, 4 min … An endpoint that is down for a moment is found again soon, one that is down
	// for a day is not asked more often than a healthy one.
	firstRetry = 15 * time.Second
	// jitter is the share by which waits are lengthened at random, so that managers do not poll in step.
	jitter = 0.1
	// burst is how long changes of Mitigations are gathered before they are checked against the document.
	burst = time.Second
	// concurrentPolls is how many feeds are polled at a time, so that a slow endpoint does not keep the others waiting. Each
	// holds a document of at most 1 MiB and some ten times that while it is verified.
	concurrentPolls = 4
	// pollTimeout ends a reconcile that hangs: the longest download that the API allows, ten minutes, and time to write.
	pollTimeout = 12 * time.Minute
)

// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationfeeds,verbs=get;list;watch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationfeeds/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationbundles,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigations,verbs=get;list;watch;create;update
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationplans,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",namespace=ems-system,resources=configmaps,verbs=get

// Reconciler polls feeds.
type Reconciler struct {
	Client client.Client
	// Reader reads without a cache: ConfigMaps, which the manager may not list, and bundles, which are large.
	Reader client.Reader
	// Namespace is the manager's own; ConfigMaps of feeds are read from it.
	Namespace string
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock

	mu       sync.Mutex
	nextPoll map[types.NamespacedName]time.Time
	// expected are the feeds whose endpoint has told of another document.
	expected map[types.NamespacedName]bool
	// issuers are the authorities in the accepted documents, by feed.
	issuers map[string][]trust.Anchor
	// lists are the revocation lists, by feed.
	lists map[string]*listState

	watcher *push.Watcher
	// events are feeds that the watcher wants to have looked at.
	events chan event.GenericEvent
}

// Reconcile brings one feed up to date: polls it if that is due, else checks that what the accepted document says is there.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	feed := &emsv1.MitigationFeed{}
	if err := r.Client.Get(ctx, req.NamespacedName, feed); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	if !feed.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}

	before := feed.DeepCopy()
	now := r.Clock.Now()
	outcome, err := r.step(ctx, feed, now)
	if err != nil {
		// Not the feed's fault: the API server's. Nothing is known that could be reported.
		return ctrl.Result{}, err
	}
	r.finish(feed, outcome, now)
	if err := r.save(ctx, before, feed); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: r.nextLook(feed, now)}, nil
}

// step does what is due and says how it went. Errors are those of the API server.
func (r *Reconciler) step(ctx context.Context, feed *emsv1.MitigationFeed, now time.Time) (conditions.Outcome, error) {
	if feed.Spec.Polling == emsv1.Disabled {
		return conditions.Done(emsv1.PollingDisabledReason, "polling is disabled by spec.polling; what was accepted stays"), nil
	}
	// Lists come first: a document is judged by them.
	if err := r.refreshLists(ctx, feed, now); err != nil {
		return conditions.Outcome{}, err
	}
	look := r.restore
	if r.due(feed, now) {
		look = r.poll
	}
	outcome, err := look(ctx, feed, now)
	if err != nil {
		return conditions.Outcome{}, err
	}
	return outcome, r.handOutLists(ctx, feed, now)
}

// due reports whether it is time to poll: never polled, spec changed, asked for, news told of, or the interval is over.
func (r *Reconciler) due(feed *emsv1.MitigationFeed, now time.Time) bool {
	status := &feed.Status
	requested := feed.Annotations[emsv1.ReconcileRequestAnnotation]
	if status.LastReadTime == nil || specChanged(feed) || (requested != "" && requested != status.LastHandledReconcileAt) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := client.ObjectKeyFromObject(feed)
	if r.expected[key] {
		return true
	}
	next, known := r.nextPoll[key]
	if !known {
		// This manager has just started. A failing feed is tried at once, a healthy one when its interval is over.
		if failures(feed) > 0 {
			return true
		}
		next = status.LastReadTime.Add(feed.Spec.Interval())
		r.remember(key, next)
	}
	return !now.Before(next)
}

func specChanged(feed *emsv1.MitigationFeed) bool {
	return feed.Status.ObservedGeneration == nil || *feed.Status.ObservedGeneration != feed.Generation
}

// schedule sets the time of the next poll after one that succeeded or failed.
func (r *Reconciler) schedule(feed *emsv1.MitigationFeed, now time.Time) {
	pause := feed.Spec.Interval()
	if n := failures(feed); n > 0 {
		retry := firstRetry
		for i := int32(1); i < n && retry < pause; i++ {
			retry *= 2
		}
		pause = min(retry, pause)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remember(client.ObjectKeyFromObject(feed), now.Add(wait.Jitter(pause, jitter)))
}

// remember must be called with the lock held.
func (r *Reconciler) remember(key types.NamespacedName, next time.Time) {
	if r.nextPoll == nil {
		r.nextPoll = map[types.NamespacedName]time.Time{}
	}
	r.nextPoll[key] = next
}

func (r *Reconciler) forget(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.nextPoll, key)
	delete(r.expected, key)
	delete(r.issuers, key.Name)
	delete(r.lists, key.Name)
	r.watcher.Forget(key.Name)
	measured.forget(key.Name)
}

// nextLook returns how long to wait until something has to be done without being asked: poll, fetch revocation lists, or
// notice that the feed is stale or that a certificate runs out.
func (r *Reconciler) nextLook(feed *emsv1.MitigationFeed, now time.Time) time.Duration {
	var look time.Time
	if feed.Spec.Polling != emsv1.Disabled {
		r.mu.Lock()
		look = r.nextPoll[client.ObjectKeyFromObject(feed)]
		if state := r.lists[feed.Name]; state != nil && !state.next.IsZero() && (look.IsZero() || state.next.Before(look)) {
			look = state.next
		}
		r.mu.Unlock()
	}
	for _, change := range []time.Time{freshUntil(feed), anchorsUntil(feed, now)} {
		if change.After(now) && (look.IsZero() || change.Before(look)) {
			look = change
		}
	}
	if look.IsZero() {
		return 0
	}
	return max(look.Sub(now), time.Millisecond)
}

// save writes the status and then, if something changed that a person should know, events.
func (r *Reconciler) save(ctx context.Context, before, feed *emsv1.MitigationFeed) error {
	if equality.Semantic.DeepEqual(before.Status, feed.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, feed, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("patch status: %w", err))
	}
	r.announce(before, feed)
	return nil
}

// announce records the events of a change of the status.
func (r *Reconciler) announce(before, feed *emsv1.MitigationFeed) {
	if beganToRunOut(before.Status.Conditions, feed.Status.Conditions) {
		c := meta.FindStatusCondition(feed.Status.Conditions, emsv1.TrustAnchorsCurrentCondition)
		r.Recorder.Eventf(feed, nil, corev1.EventTypeWarning, c.Reason, "Check", "%s", c.Message)
	}
	if beganToFailChecks(before.Status.Conditions, feed.Status.Conditions) {
		c := meta.FindStatusCondition(feed.Status.Conditions, emsv1.TrustChecksPassedCondition)
		r.Recorder.Eventf(feed, nil, corev1.EventTypeWarning, c.Reason, "Verify", "%s", c.Message)
	}
	if beganToMissLists(before.Status.Conditions, feed.Status.Conditions) {
		c := meta.FindStatusCondition(feed.Status.Conditions, emsv1.RevocationListsReadCondition)
		r.Recorder.Eventf(feed, nil, corev1.EventTypeWarning, c.Reason, "Poll", "%s", c.Message)
	}
	was := meta.FindStatusCondition(before.Status.Conditions, emsv1.ReadyCondition)
	is := meta.FindStatusCondition(feed.Status.Conditions, emsv1.ReadyCondition)
	newDocument := before.Status.Document.Digest != feed.Status.Document.Digest
	if was != nil && was.Status == is.Status && was.Reason == is.Reason && !newDocument {
		return
	}
	kind := corev1.EventTypeWarning
	if meta.IsStatusConditionTrue(feed.Status.Conditions, emsv1.ReadyCondition) && len(feed.Status.Refused) == 0 {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(feed, nil, kind, is.Reason, "Poll", "%s", is.Message)
}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	feedOf := func(_ context.Context, o client.Object) []reconcile.Request {
		name := o.(*emsv1.Mitigation).Spec.FeedName
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
	}
	feedOfBundle := func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetLabels()[emsv1.FeedLabel]}}}
	}
	r.events = make(chan event.GenericEvent)
	r.watcher = push.New(push.Options{Notify: r.news, Log: mgr.GetLogger().WithName("push")})
	if err := mgr.Add(r.watcher); err != nil {
		return fmt.Errorf("add the watcher of endpoints: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("feed").
		For(&emsv1.MitigationFeed{}, builder.WithPredicates(
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&emsv1.Mitigation{}, gather.Handler(burst, feedOf), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesMetadata(&emsv1.MitigationBundle{}, gather.Handler(burst, feedOfBundle)).
		WatchesRawSource(source.Channel(r.events, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrentPolls, ReconciliationTimeout: pollTimeout, RateLimiter: reconnect.RateLimiter()}).
		Complete(r)
}
