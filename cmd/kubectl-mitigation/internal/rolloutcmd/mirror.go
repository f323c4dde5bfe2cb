package rolloutcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Resources of the API.
const (
	poolResource   = "poolmitigationconfigs"
	planResource   = "mitigationplans"
	configResource = "mitigationconfigurations"
	serverResource = "poolservers"
)

const (
	// requestTimeout bounds each request that is no watch.
	requestTimeout = 30 * time.Second
	// pageSize is how many objects one answer brings: 500 plans of 20 mitigations have some 10 MB.
	pageSize = 500
)

// cluster reads the API.
type cluster struct {
	rest.Interface
	// timeout bounds each request that is no watch.
	timeout time.Duration
}

func openCluster(config *rest.Config) (*cluster, error) {
	config = rest.CopyConfig(config)
	// A watch is not bounded: it is open for as long as nothing happens.
	timeout := cmp.Or(config.Timeout, requestTimeout)
	config.Timeout = 0
	config.QPS = -1 // the requests are few, and the API server shares itself out (API Priority and Fairness)
	api, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return &cluster{api, timeout}, nil
}

// kinds has a list and an object of each resource.
var kinds = map[string]struct {
	list   func() runtime.Object
	object runtime.Object
}{
	poolResource:   {func() runtime.Object { return &emsv1.PoolMitigationConfigList{} }, &emsv1.PoolMitigationConfig{}},
	planResource:   {func() runtime.Object { return &emsv1.MitigationPlanList{} }, &emsv1.MitigationPlan{}},
	configResource: {func() runtime.Object { return &emsv1.MitigationConfigurationList{} }, &emsv1.MitigationConfiguration{}},
}

// source is a resource, in one namespace or in all, or one object of it.
type source struct{ resource, namespace, name string }

func (s source) options(options metav1.ListOptions) *metav1.ListOptions {
	if s.name != "" {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", s.name).String()
	}
	return &options
}

func (c *cluster) get(ctx context.Context, resource string, key types.NamespacedName, into runtime.Object) error {
	ctx, stop := context.WithTimeout(ctx, c.timeout)
	defer stop()
	return c.Get().NamespaceIfScoped(key.Namespace, key.Namespace != "").Resource(resource).Name(key.Name).Do(ctx).Into(into)
}

func (c *cluster) page(ctx context.Context, s source, options metav1.ListOptions) (runtime.Object, error) {
	ctx, stop := context.WithTimeout(ctx, c.timeout)
	defer stop()
	list := kinds[s.resource].list()
	err := c.Get().NamespaceIfScoped(s.namespace, s.namespace != "").Resource(s.resource).VersionedParams(s.options(options), metav1.ParameterCodec).Do(ctx).Into(list)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.resource, err)
	}
	return list, nil
}

// list reads a source to its end.
func (c *cluster) list(ctx context.Context, s source, each func(runtime.Object)) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		list, err := c.page(ctx, s, options)
		if err != nil {
			return err
		}
		if err := meta.EachListItem(list, func(o runtime.Object) error { each(o); return nil }); err != nil {
			return err
		}
		accessor, err := meta.ListAccessor(list)
		if err != nil {
			return err
		}
		if options.Continue = accessor.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

func (c *cluster) watch(ctx context.Context, s source, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return c.Get().NamespaceIfScoped(s.namespace, s.namespace != "").Resource(s.resource).VersionedParams(s.options(options), metav1.ParameterCodec).Watch(ctx)
}

// mirror holds what was read, and tells of changes.
type mirror struct {
	// changed has room for one: who looks late sees all of it at once.
	changed chan struct{}

	mu      sync.Mutex
	objects map[source]map[types.NamespacedName]runtime.Object
	synced  map[source]bool
	trouble map[source]error
}

func newMirror() *mirror {
	return &mirror{
		changed: make(chan struct{}, 1), objects: map[source]map[types.NamespacedName]runtime.Object{},
		synced: map[source]bool{}, trouble: map[source]error{},
	}
}

func (m *mirror) tell() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (m *mirror) put(s source, object runtime.Object) {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return
	}
	if m.objects[s] == nil {
		m.objects[s] = map[types.NamespacedName]runtime.Object{}
	}
	// Most of a listed object is who wrote which field, which nobody looks at here.
	accessor.SetManagedFields(nil)
	m.objects[s][types.NamespacedName{Namespace: accessor.GetNamespace(), Name: accessor.GetName()}] = object
}

// report notes that a request for a source came to its end.
func (m *mirror) report(s source, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if errors.Is(err, context.Canceled) {
		return
	}
	if before := m.trouble[s]; (before == nil) == (err == nil) && (err == nil || before.Error() == err.Error()) {
		return
	}
	if err == nil {
		delete(m.trouble, s)
	} else {
		m.trouble[s] = err
	}
	m.tell()
}

// state says whether everything has been read once, and what is wrong now.
func (m *mirror) state(sources []source) (synced bool, trouble error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	synced = true
	var all []error
	for _, s := range sources {
		synced = synced && m.synced[s]
		if err := m.trouble[s]; err != nil {
			all = append(all, err)
		}
	}
	return synced, errors.Join(all...)
}

// input gives out what there is. Objects are never changed once they are in.
func (m *mirror) input(now time.Time, id string, wanted []types.NamespacedName) *input {
	m.mu.Lock()
	defer m.mu.Unlock()
	in := &input{plans: map[types.NamespacedName]*emsv1.MitigationPlan{}, gates: map[serverKey]string{}, now: now, id: id, wanted: wanted}
	for _, objects := range m.objects {
		for key, object := range objects {
			switch o := object.(type) {
			case *emsv1.PoolMitigationConfig:
				in.pools = append(in.pools, o)
			case *emsv1.MitigationPlan:
				in.plans[key] = o
			case *emsv1.MitigationConfiguration:
				in.global = o
			}
		}
	}
	slices.SortFunc(in.pools, func(a, b *emsv1.PoolMitigationConfig) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return in
}

// read fills the mirror once.
func (m *mirror) read(ctx context.Context, c *cluster, sources []source) error {
	for _, s := range sources {
		if err := c.list(ctx, s, func(o runtime.Object) { m.put(s, o) }); err != nil {
			return err
		}
	}
	return nil
}

// follow keeps the mirror up to date until the context ends: by watches that begin where the list ended, again and again. It waits
// for them to end.
func (m *mirror) follow(ctx context.Context, c *cluster, sources []source) (wait func()) {
	var group sync.WaitGroup
	// What the reflector would log is shown as trouble; lines in between would tear the picture.
	quiet := logr.Discard()
	ctx = logr.NewContext(ctx, quiet)
	for _, s := range sources {
		lists := &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				list, err := c.page(ctx, s, options)
				m.report(s, err)
				return list, err
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				w, err := c.watch(ctx, s, options)
				if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
					m.report(s, err)
				}
				return w, err
			},
		}
		reflector := cache.NewReflectorWithOptions(lists, kinds[s.resource].object, &section{m, s}, cache.ReflectorOptions{Logger: &quiet, Name: s.resource})
		group.Go(func() { reflector.RunWithContext(ctx) })
	}
	return group.Wait
}

// section is the part of a mirror that one source fills.
type section struct {
	*mirror
	source source
}

// Add implements cache.ReflectorStore.
func (p *section) Add(object any) error { return p.Update(object) }

// Update implements cache.ReflectorStore.
func (p *section) Update(object any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o, ok := object.(runtime.Object); ok {
		p.put(p.source, o)
	}
	p.tell()
	return nil
}

// Delete implements cache.ReflectorStore.
func (p *section) Delete(object any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if accessor, err := meta.Accessor(object); err == nil {
		delete(p.objects[p.source], types.NamespacedName{Namespace: accessor.GetNamespace(), Name: accessor.GetName()})
	}
	p.tell()
	return nil
}

// Replace implements cache.ReflectorStore.
func (p *section) Replace(objects []any, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.objects, p.source)
	for _, object := range objects {
		if o, ok := object.(runtime.Object); ok {
			p.put(p.source, o)
		}
	}
	p.synced[p.source] = true
	p.tell()
	return nil
}

// Resync implements cache.ReflectorStore.
func (p *section) Resync() error { return nil }
