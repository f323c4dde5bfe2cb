package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/pause"
)

// reconnect is the pause before a watch is tried again: random between 50 ms and half a second after the first failure, and between
// half a second and five after five. So all servers of a small fleet are back five seconds after an API server is, which leaves the manager
// five to say what became different meanwhile. client-go's own pauses grow to a minute.
func reconnect() *wait.Backoff {
	return &wait.Backoff{Duration: 50 * time.Millisecond, Cap: 500 * time.Millisecond, Factor: 2, Steps: 5, Jitter: 9}
}

// soonest is the longest of the pauses of reconnect.
const soonest = 5 * time.Second

// scatter is within which further time a server comes back whose pool announces a window for reports, which grows with the fleet. A small
// control plane spends its processors on connections that are given up before they are made if 10,000 servers come within five seconds, and
// then none of them comes through.
func scatter(window time.Duration) time.Duration { return max(0, window*2/3-soonest) }

// watchFor is how long a watch lasts at least, and at most twice as long: client-go's five minutes are, with 10,000 servers, 45 new watches a
// second, nearly as many requests as renewals of Leases. A connection that is dead is found out by its own means, and how long a watch
// goes on after its credential was taken back is for whoever asks to say, whatever this is.
const watchFor = 30 * time.Minute

// single watches one object.
type single struct {
	toolscache.Store

	cluster *Cluster
	name    string
	example client.Object
	list    func() client.ObjectList
	synced  atomic.Bool
	told    atomic.Pointer[string]
}

func (c *Cluster) watch(example client.Object, name string, list func() client.ObjectList) *single {
	return &single{Store: toolscache.NewStore(toolscache.MetaNamespaceKeyFunc), cluster: c, name: name, example: example, list: list}
}

// run watches until the context ends.
func (s *single) run(ctx context.Context) {
	options := toolscache.ReflectorOptions{Name: "agent", Backoff: reconnect(), MinWatchTimeout: watchFor}
	toolscache.NewReflectorWithOptions(s.source(), s.example, s, options).RunWithContext(ctx)
}

// HasSynced reports whether the cluster has said whether there is such an object.
func (s *single) HasSynced() bool { return s.synced.Load() }

// Replace implements toolscache.ReflectorStore.
func (s *single) Replace(list []any, version string) error {
	return s.heard(s.Store.Replace(list, version))
}

// Add implements toolscache.ReflectorStore.
func (s *single) Add(object any) error {
	s.delivered(object)
	return s.heard(s.Store.Add(object))
}

// Update implements toolscache.ReflectorStore.
func (s *single) Update(object any) error {
	s.delivered(object)
	before, known, err := s.Store.Get(object)
	if err == nil && known && (s.cluster.echo(before, object) || sameOrder(before, object)) {
		return s.Store.Update(object)
	}
	return s.heard(s.Store.Update(object))
}

// echo reports whether a change is what this agent wrote itself. Without it each report would be followed by a pass that finds nothing.
func (c *Cluster) echo(before, after any) bool {
	was, ok := before.(*emsv1.PoolServer)
	is, isServer := after.(*emsv1.PoolServer)
	wrote := c.wrote.Load()
	return ok && isServer && wrote != nil && was.UID == is.UID && was.Generation == is.Generation && was.Spec == is.Spec &&
		was.DeletionTimestamp.Equal(is.DeletionTimestamp) && equality.Semantic.DeepEqual(is.Status, *wrote)
}

// sameOrder reports whether a plan says what it said before: somebody wrote a label or an annotation, or a field manager was renamed,
// which in a large pool would be a pass on each of its servers.
func sameOrder(before, after any) bool {
	was, ok := before.(*emsv1.MitigationPlan)
	is, isPlan := after.(*emsv1.MitigationPlan)
	return ok && isPlan && was.UID == is.UID && was.Generation == is.Generation && was.DeletionTimestamp.Equal(is.DeletionTimestamp) &&
		equality.Semantic.DeepEqual(was.Spec, is.Spec)
}

// Delete implements toolscache.ReflectorStore.
func (s *single) Delete(object any) error { return s.heard(s.Store.Delete(object)) }

// delivered notes when a version of the object arrived, for whoever wants to know how long it was on its way.
func (s *single) delivered(object any) {
	if o, ok := object.(client.Object); ok {
		s.cluster.Log.V(1).Info("Watch delivered", "object", fmt.Sprintf("%T", s.example), "name", s.name, "version", o.GetResourceVersion())
	}
}

// heard tells of a change. The first one is that of the whole.
func (s *single) heard(err error) error {
	s.synced.Store(true)
	s.told.Store(nil)
	s.cluster.notify()
	return err
}

// tried logs a problem once: an API server may be away for days, and is asked several times a minute. When it answers again, what
// could not be reported meanwhile is reported now and not with the next pass: there may be nothing new to hear that would cause one.
func (s *single) tried(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if s.told.Swap(nil) != nil {
			s.cluster.relieved.Store(true)
			s.cluster.notify()
		}
		return
	}
	text := err.Error()
	if address, ok := errors.AsType[*url.Error](err); ok {
		text = address.Err.Error() // without the address, which is another one each time
	}
	if old := s.told.Swap(&text); old == nil || *old != text {
		s.cluster.Log.Info("Watch is interrupted and will be tried again", "object", fmt.Sprintf("%T", s.example), "name", s.name, "problem", text)
	}
}

// giveWay waits before a watch that failed before is tried again, for a moment within the time over which the fleet comes back.
func (s *single) giveWay(ctx context.Context) error {
	if s.told.Load() == nil {
		return nil
	}
	return pause.For(ctx, time.Duration(float64(scatter(s.cluster.window()))*s.cluster.Random()))
}

// window is the one for reports that the plan announces; 0 as long as none is known.
func (c *Cluster) window() time.Duration {
	object, exists, err := c.plans.GetByKey(c.Namespace + "/" + c.Pool)
	if p, ok := object.(*emsv1.MitigationPlan); ok && exists && err == nil {
		return windowOf(p)
	}
	return 0
}

// source is where the object comes from.
type source struct {
	*toolscache.ListWatch

	listing bool
}

// IsWatchListSemanticsUnSupported makes the reflector list before it watches.
func (s source) IsWatchListSemanticsUnSupported() bool { return s.listing }

func (s *single) source() source {
	options := func(raw metav1.ListOptions) []client.ListOption {
		return []client.ListOption{
			&client.ListOptions{Raw: &raw}, client.InNamespace(s.cluster.Namespace), client.MatchingFields{metav1.ObjectNameField: s.name},
		}
	}
	return source{listing: s.cluster.Listing, ListWatch: &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			if err := s.giveWay(ctx); err != nil {
				return nil, err
			}
			l := s.list()
			err := s.cluster.Client.List(ctx, l, options(raw)...)
			s.tried(ctx, err)
			return l, err
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			if err := s.giveWay(ctx); err != nil {
				return nil, err
			}
			w, err := s.cluster.Client.Watch(ctx, s.list(), options(raw)...)
			s.tried(ctx, err)
			if err == nil {
				s.cluster.Log.V(1).Info("Watch is open", "object", fmt.Sprintf("%T", s.example), "name", s.name)
			}
			return w, err
		},
	}}
}
