package telemetry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/internal/fetch"
	"mitigation.dev/ems/internal/shard"
	"mitigation.dev/ems/internal/telemetry"
)

const (
	// requestTimeout bounds each request: a thousand servers are some twenty kilobytes.
	requestTimeout = 30 * time.Second
	// sendTimeout bounds all requests of one sending: twenty slow ones, which are 20,000 servers.
	sendTimeout = 10 * time.Minute
	// maxMessage is what the API takes.
	maxMessage = 1024
)

// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationconfigurations;poolmitigationconfigs;mitigationplans;poolservers,verbs=get;list;watch
// +kubebuilder:rbac:groups=ems.mitigation.dev,resources=mitigationconfigurations/status,verbs=get;patch;update
// +kubebuilder:rbac:groups="",namespace=ems-system,resources=configmaps,verbs=get;create

// Reconciler sends diagnostic data.
type Reconciler struct {
	Client client.Client
	// Reader reads past the cache.
	Reader client.Reader
	// Namespace is the manager's own.
	Namespace string
	// Installed is the choice that was made when the manager was installed.
	Installed telemetry.Endpoint
	Clock     clock.PassiveClock
	// Limits bounds each request; zero for those of this package.
	Limits fetch.Limits

	// now is where the sending stands. One worker uses it.
	now standing
	// known says that it was read from the status after the start.
	known bool
	// said is the last word to the log on why nothing is sent.
	said string
}

// standing is where the sending stands. The manager goes on from the status after a restart.
type standing struct {
	next, last time.Time
	failures   int
	servers    int
}

var global = types.NamespacedName{Name: emsv1.GlobalConfigurationName}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	isGlobal := predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetName() == global.Name })
	// Where there is no such object, there is still the choice of the installation.
	begin := source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.Add(reconcile.Request{NamespacedName: global})
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("telemetry").
		For(&emsv1.MitigationConfiguration{}, builder.WithPredicates(isGlobal, predicate.GenerationChangedPredicate{})).
		WatchesRawSource(begin).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, ReconciliationTimeout: sendTimeout}).
		Complete(r)
}

// Reconcile sends what is due, and comes back when it is due again.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	configuration := &emsv1.MitigationConfiguration{}
	if err := r.Client.Get(ctx, global, configuration); apierrors.IsNotFound(err) {
		configuration = nil
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("get MitigationConfiguration: %w", err)
	}
	to, on, why := telemetry.Choose(configuration, r.Installed)
	if !on {
		return ctrl.Result{}, r.rest(ctx, configuration, why)
	}
	r.said = ""
	id, err := r.organization(ctx)
	if err != nil && !errors.Is(err, errNoID) {
		return ctrl.Result{}, err
	}
	now := r.Clock.Now()
	r.recall(configuration)
	var result emsv1.TelemetryResult
	switch {
	case err != nil:
		result = r.failed(ctx, id, now, err)
	case r.now.next.IsZero() || r.now.next.Sub(now) > telemetry.Interval+telemetry.FirstWait:
		// The second is the work of a clock that was set back.
		r.now.next = telemetry.First(id, now)
	case !now.Before(r.now.next):
		servers, sendErr := r.send(ctx, id, to)
		if ctx.Err() != nil {
			return ctrl.Result{}, fmt.Errorf("send diagnostic data: %w", ctx.Err())
		}
		if now, err = r.Clock.Now(), sendErr; err != nil {
			result = r.failed(ctx, id, now, err)
			break
		}
		r.now = standing{next: telemetry.Next(id, now, 0), last: now, servers: servers}
		ctrl.LoggerFrom(ctx).Info("Diagnostic data sent", "servers", servers, "next", r.now.next)
	}
	return ctrl.Result{RequeueAfter: max(r.now.next.Sub(now), time.Second)}, r.report(ctx, configuration, id, result, err)
}

// failed plans another attempt.
func (r *Reconciler) failed(ctx context.Context, id uuid.UUID, now time.Time, err error) emsv1.TelemetryResult {
	r.now.failures++
	r.now.next = telemetry.Next(id, now, r.now.failures)
	ctrl.LoggerFrom(ctx).Info("Sending diagnostic data failed", "error", err.Error(), "failures", r.now.failures, "next", r.now.next)
	return emsv1.TelemetryFailed
}

// recall goes on, once after the start, from what the status says.
func (r *Reconciler) recall(configuration *emsv1.MitigationConfiguration) {
	known := r.known
	if r.known = true; known || configuration == nil {
		return
	}
	status := &configuration.Status.Telemetry
	r.now.failures, r.now.servers = int(ptr.Deref(status.Failures, 0)), int(ptr.Deref(status.Servers, 0))
	if status.NextTime != nil {
		r.now.next = status.NextTime.Time
	}
	if status.LastSentTime != nil {
		r.now.last = status.LastSentTime.Time
	}
}

// rest says once that nothing is sent. When it is switched on again, it begins anew.
func (r *Reconciler) rest(ctx context.Context, configuration *emsv1.MitigationConfiguration, why string) error {
	if r.said != why {
		r.said = why
		ctrl.LoggerFrom(ctx).Info("No diagnostic data sent", "reason", why)
	}
	r.now, r.known = standing{}, true
	if configuration == nil {
		return nil
	}
	status := configuration.Status.Telemetry
	if ptr.Deref(configuration.Spec.Telemetry, emsv1.TelemetrySpec{}) == (emsv1.TelemetrySpec{}) && status == (emsv1.TelemetryStatus{}) {
		return nil // Who never spoke of it needs no word of it.
	}
	return r.save(ctx, configuration, emsv1.TelemetryStatus{
		Result: emsv1.TelemetryDisabled, Message: "nothing is sent: " + why,
		OrganizationID: status.OrganizationID, LastSentTime: status.LastSentTime, Servers: status.Servers,
	})
}

// report writes where the sending stands.
func (r *Reconciler) report(ctx context.Context, configuration *emsv1.MitigationConfiguration, id uuid.UUID, result emsv1.TelemetryResult, err error) error {
	if configuration == nil {
		return nil
	}
	status := emsv1.TelemetryStatus{Result: result, NextTime: moment(r.now.next), LastSentTime: moment(r.now.last)}
	if id != uuid.Nil {
		status.OrganizationID = id.String()
	}
	if !r.now.last.IsZero() {
		status.Servers = new(int32(r.now.servers)) //nolint:gosec // a cluster has no two billion servers
	}
	if r.now.failures > 0 {
		status.Failures = new(int32(min(r.now.failures, 1<<30))) //nolint:gosec // bounded
	}
	switch before := configuration.Status.Telemetry; {
	case err != nil:
		status.Message = shorten(err.Error())
	case result == "" && before.Result == emsv1.TelemetryFailed && r.now.failures > 0:
		status.Result, status.Message = before.Result, before.Message // looked at while it waits
	case r.now.last.IsZero():
		status.Result, status.Message = emsv1.TelemetryPending, "nothing has been sent yet"
	case r.now.servers == 0:
		status.Result, status.Message = emsv1.TelemetrySent, "no server takes part, so there was nothing to send"
	default:
		status.Result = emsv1.TelemetrySent
	}
	return r.save(ctx, configuration, status)
}

func (r *Reconciler) save(ctx context.Context, configuration *emsv1.MitigationConfiguration, status emsv1.TelemetryStatus) error {
	before := configuration.DeepCopy()
	configuration.Status.Telemetry = status
	if equality.Semantic.DeepEqual(before.Status.Telemetry, status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, configuration, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("patch status: %w", err))
	}
	return nil
}

// send sends a record of each server, and returns how many there were.
func (r *Reconciler) send(ctx context.Context, id uuid.UUID, to telemetry.Endpoint) (int, error) {
	delivery := fetch.Delivery{URL: to.URL, ContentType: telemetry.ContentType, ContentEncoding: "gzip", UserAgent: "ems-telemetry/1", Limits: r.Limits}
	if delivery.Limits == (fetch.Limits{}) {
		delivery.Limits.Total = requestTimeout
	}
	if to.ProxyURL != "" {
		proxy, err := url.Parse(to.ProxyURL)
		if err != nil {
			return 0, errors.New("proxyURL: cannot be parsed") // the error of the parser repeats it, and it can hold a password
		}
		delivery.Proxy = proxy
	}
	if to.CABundle != "" {
		delivery.RootCAs = x509.NewCertPool()
		if !delivery.RootCAs.AppendCertsFromPEM([]byte(to.CABundle)) {
			return 0, errors.New("caBundle: holds no certificate in PEM")
		}
	}
	records, err := r.records(ctx, id)
	if err != nil {
		return 0, err
	}
	bodies, err := telemetry.Bodies(records)
	if err != nil {
		return 0, err
	}
	for i, body := range bodies {
		delivery.Body = telemetry.Compress(body)
		if err := fetch.Send(ctx, delivery); err != nil {
			return 0, fmt.Errorf("request %d of %d: %w", i+1, len(bodies), err)
		}
	}
	return len(records), nil
}

// records reads the caches. What is in them is only read, so nothing is copied. Servers of pools that other managers work for are not in
// them, and are read page by page.
func (r *Reconciler) records(ctx context.Context, id uuid.UUID) ([]telemetry.Record, error) {
	var (
		configurations emsv1.MitigationConfigurationList
		pools          emsv1.PoolMitigationConfigList
		plans          emsv1.MitigationPlanList
		servers        emsv1.PoolServerList
	)
	for _, list := range []client.ObjectList{&configurations, &pools, &plans, &servers} {
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	fleet := telemetry.Fleet{
		OrganizationID: id, Configurations: configurations.Items, Pools: pools.Items, Plans: plans.Items, Servers: servers.Items,
	}
	records, err := telemetry.Records(fleet)
	isElsewhere := func(pool emsv1.PoolMitigationConfig) bool { return !shard.Main.Has(&pool) }
	if err != nil || !slices.ContainsFunc(pools.Items, isElsewhere) {
		return records, err
	}
	var pageErr error
	err = members.Pages(ctx, r.Reader, func(page []emsv1.PoolServer) bool {
		var more []telemetry.Record
		fleet.Servers = page
		more, pageErr = telemetry.Records(fleet)
		records = append(records, more...)
		return pageErr == nil
	}, client.MatchingLabelsSelector{Selector: shard.Main.Others()})
	// One that is handed over at this moment is in both.
	slices.SortFunc(records, func(a, b telemetry.Record) int { return strings.Compare(a.DeviceID, b.DeviceID) })
	records = slices.CompactFunc(records, func(a, b telemetry.Record) bool { return a.DeviceID == b.DeviceID })
	return records, errors.Join(err, pageErr)
}

func moment(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return new(metav1.NewTime(t.UTC().Truncate(time.Second)))
}

func shorten(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	const dots = "..."
	return strings.ToValidUTF8(text[:maxMessage-len(dots)], "") + dots
}
