package fleet

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

// Reader reads one object of a resource of the API, or all of them; of those without a namespace, the key has none, and all
// namespaces are meant where a list names none.
type Reader interface {
	Get(ctx context.Context, resource string, key types.NamespacedName, into runtime.Object) error
	List(ctx context.Context, resource, namespace string, into runtime.Object) error
}

// Connection holds the flags that choose a cluster.
type Connection struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// Names are those of the flags.
var Names = []string{"kubeconfig", "context", "cluster", "user", "namespace", "n"}

// Bind adds the flags.
func Bind(flags *flag.FlagSet) *Connection { return bind(flags, "") }

// BindFor adds the flags to a command that needs a cluster only with another flag, which their help names.
func BindFor(flags *flag.FlagSet, other string) *Connection {
	return bind(flags, "with --"+other+": ")
}

func bind(flags *flag.FlagSet, when string) *Connection {
	c := &Connection{}
	flags.StringVar(&c.kubeconfig, "kubeconfig", "", when+"kubeconfig `file`; $KUBECONFIG or ~/.kube/config if absent")
	flags.StringVar(&c.overrides.CurrentContext, "context", "", when+"`name` of the context in the kubeconfig")
	flags.StringVar(&c.overrides.Context.Cluster, "cluster", "", when+"`name` of the cluster in the kubeconfig")
	flags.StringVar(&c.overrides.Context.AuthInfo, "user", "", when+"`name` of the user in the kubeconfig")
	flags.StringVar(&c.overrides.Context.Namespace, "namespace", "", when+"`namespace` of what is named without one; that of the context if absent")
	flags.StringVar(&c.overrides.Context.Namespace, "n", "", when+"`namespace`, short for --namespace")
	return c
}

// Namespace is that of the flags; empty if none was given.
func (c *Connection) Namespace() string { return c.overrides.Context.Namespace }

func (c *Connection) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &c.overrides)
}

// User is the name that the kubeconfig has for the user; empty if it has none.
func (c *Connection) User() string {
	raw, err := c.loader().RawConfig()
	if err != nil {
		return ""
	}
	if c.overrides.Context.AuthInfo != "" {
		return c.overrides.Context.AuthInfo
	}
	if chosen, ok := raw.Contexts[cmp.Or(c.overrides.CurrentContext, raw.CurrentContext)]; ok {
		return chosen.AuthInfo
	}
	return ""
}

// Config returns what a client of the API needs, with no limit of time, and the namespace that is meant without another one. Its
// errors are about the kubeconfig: nothing is asked of the cluster.
func (c *Connection) Config() (*rest.Config, string, error) {
	loader := c.loader()
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	if err := Prepare(config); err != nil {
		return nil, "", err
	}
	return config, namespace, nil
}

// Prepare makes a configuration one for the API of EMS.
func Prepare(config *rest.Config) error {
	scheme := runtime.NewScheme()
	if err := emsv1.AddToScheme(scheme); err != nil {
		return err
	}
	metav1.AddToGroupVersion(scheme, emsv1.GroupVersion)
	config.APIPath, config.GroupVersion = "/apis", &emsv1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.UserAgent = "kubectl-mitigation/" + version.String()
	return nil
}

// Open returns a reader of the cluster, and the namespace that is meant without another one. Its errors are about the kubeconfig:
// nothing is asked of the cluster yet.
func (c *Connection) Open() (Reader, string, error) {
	config, namespace, err := c.Config()
	if err != nil {
		return nil, "", err
	}
	r, err := NewReader(config)
	return r, namespace, err
}

// NewReader returns a reader of the cluster of a prepared configuration.
func NewReader(config *rest.Config) (Reader, error) {
	config = rest.CopyConfig(config)
	config.Timeout = requestTimeout
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return reader{client}, nil
}

// ParseKey reads NAME or NAMESPACE/NAME. The namespace of the flags, if there is one, must be the same; what stands for text in
// errors is what.
func (c *Connection) ParseKey(text, fallback, what string) (types.NamespacedName, error) {
	namespace, name, given := strings.Cut(text, "/")
	if !given {
		namespace, name = cmp.Or(c.Namespace(), fallback), text
	}
	switch {
	case name == "" || strings.Contains(name, "/") || given && namespace == "":
		return types.NamespacedName{}, fmt.Errorf("%s: %q: want the form NAME or NAMESPACE/NAME", what, text)
	case c.Namespace() != "" && namespace != c.Namespace():
		return types.NamespacedName{}, fmt.Errorf("--namespace, %s: %q and %q: want one namespace", what, c.Namespace(), namespace)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

type reader struct{ rest.Interface }

// Get implements Reader.
func (r reader) Get(ctx context.Context, resource string, key types.NamespacedName, into runtime.Object) error {
	return r.Interface.Get().NamespaceIfScoped(key.Namespace, key.Namespace != "").Resource(resource).Name(key.Name).Do(ctx).Into(into)
}

// List implements Reader.
func (r reader) List(ctx context.Context, resource, namespace string, into runtime.Object) error {
	return r.Interface.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Do(ctx).Into(into)
}
