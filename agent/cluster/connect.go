package cluster

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	eventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mitigation.dev/ems/agent/skew"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/version"
)

// Connection is how the agent reaches the API server. Making one does not talk to it.
type Connection struct {
	Client   client.WithWatch
	Recorder events.EventRecorder
	// Leases gives those of a namespace.
	Leases coordinationv1.LeasesGetter

	// Clock compares the server's clock with that of the API server, by what it answers.
	Clock *skew.Meter

	broadcaster events.EventBroadcaster
}

// Connect prepares a connection as a kubeconfig file describes it, through a proxy as ParseProxy takes it. Without one, that
// of the file is used.
func Connect(kubeconfig, proxy string) (*Connection, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cluster: kubeconfig %s: %w", kubeconfig, err)
	}
	choose, err := ParseProxy(proxy)
	if err != nil {
		return nil, fmt.Errorf("cluster: proxy: %w", err)
	}
	if choose != nil {
		config.Proxy = choose
	}
	return ConnectConfig(config)
}

// ConnectConfig prepares a connection from a configuration.
func ConnectConfig(config *rest.Config) (*Connection, error) {
	config = rest.CopyConfig(config)
	config.UserAgent = FieldOwner + "/" + version.Version
	meter := skew.New(clock.RealClock{})
	config.Wrap(meter.Wrap)
	scheme, err := newScheme()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("cluster: connection: %w", err)
	}
	c, err := client.NewWithWatch(config, client.Options{HTTPClient: transport, Scheme: scheme, Mapper: newMapper()})
	if err != nil {
		return nil, fmt.Errorf("cluster: client: %w", err)
	}
	eventsOf, err := eventsv1.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("cluster: events: %w", err)
	}
	leases, err := coordinationv1.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("cluster: leases: %w", err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: eventsOf})
	return &Connection{Client: c, Recorder: broadcaster.NewRecorder(scheme, FieldOwner), Leases: leases, Clock: meter, broadcaster: broadcaster}, nil
}

// Run sends events until the context ends. Events that cannot be sent are given up after some time: the status says
// everything again.
func (c *Connection) Run(ctx context.Context) error {
	if err := c.broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("cluster: events: %w", err)
	}
	<-ctx.Done()
	c.broadcaster.Shutdown()
	return nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, emsv1.AddToScheme(scheme)
}

// newMapper maps the three kinds that the agent uses, so that it need not ask an API server that may be away.
func newMapper() meta.RESTMapper {
	group := emsv1.GroupVersion
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{group})
	mapper.Add(group.WithKind("MitigationPlan"), meta.RESTScopeNamespace)
	mapper.Add(group.WithKind("PoolServer"), meta.RESTScopeNamespace)
	mapper.Add(group.WithKind("MitigationBundle"), meta.RESTScopeRoot)
	return mapper
}
