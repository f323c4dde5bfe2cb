package fleet

import (
	"context"
	"flag"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfigs may name a provider of credentials
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/version"
)

// requestTimeout bounds each request, the largest of which brings a bundle of 1.5 MB.
const requestTimeout = 30 * time.Second

// Reader reads one object of a resource of the API; of those without a namespace, the key has none.
type Reader interface {
	Get(ctx context.Context, resource string, key types.NamespacedName, into runtime.Object) error
}

// Connection holds the flags that choose a cluster.
type Connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// Names are those of the flags.
var Names = []string{"kubeconfig", "context", "cluster", "user", "namespace", "n"}

// Bind adds the flags.
func Bind(flags *flag.FlagSet) *Connection {
	c := &Connection{}
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", "with --server: kubeconfig `file`; $KUBECONFIG or ~/.kube/config if absent")
	flags.StringVar(&c.overrides.CurrentContext, "context", "", "with --server: `name` of the context in the kubeconfig")
	flags.StringVar(&c.overrides.Context.Cluster, "cluster", "", "with --server: `name` of the cluster in the kubeconfig")
	flags.StringVar(&c.overrides.Context.AuthInfo, "user", "", "with --server: `name` of the user in the kubeconfig")
	flags.StringVar(&c.overrides.Context.Namespace, "namespace", "", "with --server: `namespace` of the server; that of the context if absent")
	flags.StringVar(&c.overrides.Context.Namespace, "n", "", "with --server: `namespace`, short for --namespace")
	return c
}

// Namespace is that of the flags; empty if none was given.
func (c *Connection) Namespace() string { return c.overrides.Context.Namespace }

// Open returns a reader of the cluster, and the namespace that is meant without another one. Its errors are about the kubeconfig:
// nothing is asked of the cluster yet.
func (c *Connection) Open() (Reader, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &c.overrides)
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := emsv1.AddToScheme(scheme); err != nil {
		return nil, "", err
	}
	config.APIPath, config.GroupVersion = "/apis", &emsv1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.UserAgent, config.Timeout = "kubectl-mitigation/"+version.String(), requestTimeout
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	return reader{client}, namespace, nil
}

type reader struct{ rest.Interface }

// Get implements Reader.
func (r reader) Get(ctx context.Context, resource string, key types.NamespacedName, into runtime.Object) error {
	return r.Interface.Get().NamespaceIfScoped(key.Namespace, key.Namespace != "").Resource(resource).Name(key.Name).Do(ctx).Into(into)
}
