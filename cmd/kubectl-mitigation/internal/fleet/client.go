package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubeconfigs may name a provider of credentials
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

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
	flags *genericclioptions.ConfigFlags
}

// ownNamespace is shown in the help of every command; the other flags, which are the same everywhere, in that of "options".
const ownNamespace = "namespace"

// connectionAnnotation marks the flags that choose a cluster.
const connectionAnnotation = "ems.mitigation.dev/connection"

// Option changes which flags there are.
type Option func(*Connection)

// OwnServer leaves --server out, for commands in which it names something else; the URL of the API server then comes from the kubeconfig.
func OwnServer(c *Connection) { c.flags.APIServer = nil }

// Bind adds the flags.
func Bind(flags *pflag.FlagSet, options ...Option) *Connection { return bind(flags, "", options) }

// BindFor adds the flags to a command that needs a cluster only with another flag, which their help names.
func BindFor(flags *pflag.FlagSet, other string, options ...Option) *Connection {
	return bind(flags, "with --"+other+": ", options)
}

func bind(flags *pflag.FlagSet, when string, options []Option) *Connection {
	c := &Connection{genericclioptions.NewConfigFlags(true)}
	for _, change := range options {
		change(c)
	}
	// Nothing is discovered, so nothing is cached on disk.
	c.flags.CacheDir = nil
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.flags.AddFlags(own)
	own.Lookup(ownNamespace).Usage = "`namespace` of what is named without one; that of the context if absent"
	own.VisitAll(func(flag *pflag.Flag) {
		flag.Usage = when + flag.Usage
		if flag.Annotations == nil {
			flag.Annotations = map[string][]string{}
		}
		flag.Annotations[connectionAnnotation] = []string{}
	})
	flags.AddFlagSet(own)
	return c
}

// IsConnection reports whether a flag is one of those that choose a cluster.
func IsConnection(flag *pflag.Flag) bool {
	_, is := flag.Annotations[connectionAnnotation]
	return is
}

// IsCommon reports whether a flag is one of those that the help of a command leaves to that of "options".
func IsCommon(flag *pflag.Flag) bool { return IsConnection(flag) && flag.Name != ownNamespace }

// Again is the connection that parsed flags of another one say; nil if they have none.
func Again(flags *pflag.FlagSet) *Connection {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	c := Bind(own)
	found := false
	flags.VisitAll(func(flag *pflag.Flag) {
		if !IsConnection(flag) {
			return
		}
		found = true
		if slice, ok := flag.Value.(pflag.SliceValue); ok && flag.Changed {
			if target, ok := own.Lookup(flag.Name).Value.(pflag.SliceValue); ok {
				_ = target.Replace(slice.GetSlice())
			}
		} else if flag.Changed {
			// It was taken once, by a flag of the same type.
			_ = own.Set(flag.Name, flag.Value.String())
		}
	})
	if !found {
		return nil
	}
	return c
}

// Namespace is that of the flags; empty if none was given.
func (c *Connection) Namespace() string { return *c.flags.Namespace }

// SetTimeout bounds requests for which the user gave no bound.
func (c *Connection) SetTimeout(bound time.Duration) {
	if *c.flags.Timeout == "0" {
		*c.flags.Timeout = bound.String()
	}
}

func (c *Connection) loader() clientcmd.ClientConfig { return c.flags.ToRawKubeConfigLoader() }

// User is the name that the kubeconfig has for the user; empty if it has none.
func (c *Connection) User() string {
	raw, err := c.loader().RawConfig()
	if err != nil {
		return ""
	}
	if *c.flags.AuthInfoName != "" {
		return *c.flags.AuthInfoName
	}
	if chosen, ok := raw.Contexts[cmp.Or(*c.flags.Context, raw.CurrentContext)]; ok {
		return chosen.AuthInfo
	}
	return ""
}

// Config returns what a client of the API needs, with no limit of time, and the namespace that is meant without another one. Its
// errors are about the kubeconfig: nothing is asked of the cluster.
func (c *Connection) Config() (*rest.Config, string, error) {
	loader := c.loader()
	if raw, err := loader.RawConfig(); err == nil && c.none(&raw) {
		return nil, "", ErrNoConfiguration
	}
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

// ErrNoConfiguration says that nothing names a cluster.
var ErrNoConfiguration = errors.New("kubeconfig: there is none: name a file with --kubeconfig or in $KUBECONFIG")

// none reports that nothing names a cluster: neither a file, nor a flag, nor being in one. The library would go on to localhost:8080,
// where no API server has listened for years.
func (c *Connection) none(raw *clientcmdapi.Config) bool {
	byFlag := c.flags.APIServer != nil && *c.flags.APIServer != ""
	return clientcmdapi.IsConfigEmpty(raw) && !byFlag && os.Getenv("KUBERNETES_SERVICE_HOST") == ""
}

// Raw reads an object of another API by its path. A client for each would make the program larger by megabytes.
func Raw(ctx context.Context, config *rest.Config, path string, into any) error {
	config = rest.CopyConfig(config)
	config.Timeout = cmp.Or(config.Timeout, requestTimeout)
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return Answer(client.Get().AbsPath(path).Do(ctx), into)
}

// Answer reads an answer in JSON. Of a refusal Raw alone would say "unknown"; Error reads what the API server says is wrong.
func Answer(result rest.Result, into any) error {
	content, err := result.Raw()
	if err != nil {
		return result.Error()
	}
	return json.Unmarshal(content, into)
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
	config.Timeout = cmp.Or(config.Timeout, requestTimeout)
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

// policyResources are those that people write. They are few, and since when a switch is as it is, only their managed fields tell.
var policyResources = []string{pools, "mitigationconfigurations"}

// pageSize is how many objects one answer brings: 500 PoolServers have some 5 MB.
const pageSize = 500

// List implements Reader. It reads in pages, so that no answer gets too large for the API server; if the first of them is too old for
// the next one to belong to it, which takes five minutes, it begins again with all in one.
func (r reader) List(ctx context.Context, resource, namespace string, into runtime.Object) error {
	err := r.pages(ctx, resource, namespace, pageSize, into)
	if apierrors.IsResourceExpired(err) {
		err = r.pages(ctx, resource, namespace, 0, into)
	}
	return err
}

func (r reader) pages(ctx context.Context, resource, namespace string, limit int64, into runtime.Object) error {
	var items []runtime.Object
	for options := (metav1.ListOptions{Limit: limit}); ; {
		page := reflect.New(reflect.TypeOf(into).Elem()).Interface().(runtime.Object) //nolint:forcetypeassert // it has the type of into
		request := r.Interface.Get().NamespaceIfScoped(namespace, namespace != "").Resource(resource).VersionedParams(&options, metav1.ParameterCodec)
		if err := request.Do(ctx).Into(page); err != nil {
			return err
		}
		found, err := meta.ExtractList(page)
		if err != nil {
			return err
		}
		for _, object := range found {
			if accessor, err := meta.Accessor(object); err == nil && !slices.Contains(policyResources, resource) {
				// Half of an object is who wrote which field, which nobody looks at here.
				accessor.SetManagedFields(nil)
			}
		}
		items = append(items, found...)
		list, err := meta.ListAccessor(page)
		if err != nil {
			return err
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return meta.SetList(into, items)
		}
	}
}
