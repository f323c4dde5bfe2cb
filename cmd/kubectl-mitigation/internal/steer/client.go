package steer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Manager is the field manager that the plugin writes with. It must not begin with "kubectl": Flux takes what managers of such names own for
// edits by hand, makes it its own before each apply, and so removes it.
const Manager = "ems-plugin"

// Values of Options.DryRun, those of kubectl.
const (
	DryRunNone   = "none"
	DryRunClient = "client"
	DryRunServer = "server"
)

const (
	// requestTimeout bounds each request; the objects have some hundred kilobytes at most.
	requestTimeout = 30 * time.Second
	// attempts bounds how often a change begins anew because the object changed meanwhile. A pool's status is written once a
	// second at most, and an attempt takes milliseconds.
	attempts = 10
)

// Global is the configuration that speaks for the organisation.
var Global = Target{Name: emsv1.GlobalConfigurationName}

// Target is the object that a change goes to: the PoolMitigationConfig of that name, or without a namespace the
// MitigationConfiguration.
type Target struct{ Namespace, Name string }

func (t Target) kind() string {
	if t.Namespace == "" {
		return "MitigationConfiguration"
	}
	return "PoolMitigationConfig"
}

func (t Target) resource() string { return strings.ToLower(t.kind()) + "s" }

func (t Target) metadata() map[string]any {
	if t.Namespace == "" {
		return map[string]any{"name": t.Name}
	}
	return map[string]any{"name": t.Name, "namespace": t.Namespace}
}

// String returns the name as kubectl prints it.
func (t Target) String() string {
	return strings.ToLower(t.kind()) + "." + emsv1.GroupVersion.Group + "/" + t.Name
}

// Words names the object in a sentence.
func (t Target) Words() string {
	switch {
	case t == Global:
		return "the organisation (MitigationConfiguration global)"
	case t.Namespace == "":
		return "MitigationConfiguration " + t.Name
	default:
		return "pool " + t.Namespace + "/" + t.Name
	}
}

// Options say how a change is written.
type Options struct {
	// DryRun is one of the constants; empty means none.
	DryRun string
	// ForceConflicts takes over what other managers own.
	ForceConflicts bool
}

// Outcome is what became of a change.
type Outcome struct {
	// Object as it stands after the change; with a dry run of the client the document that would be applied.
	Object map[string]any
	// Changed is false if the object said so already.
	Changed bool
}

// ErrNotThere says that an entry to be dropped is not in the list.
var ErrNotThere = errors.New("not in the list")

// OwnedError says that an entry is another manager's.
type OwnedError struct {
	Target   Target
	ID, List string
	Managers []string
	// Removal says that the entry was to be removed.
	Removal bool
}

// Error implements error.
func (e *OwnedError) Error() string {
	what := "change it there, or take it over"
	if e.Removal {
		what = "remove it there, or here"
	}
	return fmt.Sprintf("%s: the entry for %s in spec.%s is managed by %s: %s with --force-conflicts", e.Target.Words(), e.ID, e.List, quoted(e.Managers), what)
}

// ConflictError says that other managers own fields that a change wants to have otherwise.
type ConflictError struct {
	Target Target
	// Fields are paths as the API server writes them, Managers who owns them.
	Fields, Managers []string
}

// Error implements error.
func (e *ConflictError) Error() string {
	pronoun := "is managed by %s: change it there, or take it over with --force-conflicts"
	if len(e.Fields) > 1 {
		pronoun = "are managed by %s: change them there, or take them over with --force-conflicts"
	}
	return fmt.Sprintf("%s: %s "+pronoun, e.Target.Words(), strings.Join(e.Fields, ", "), quoted(e.Managers))
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(out, " and ")
}

// Client writes to a cluster.
type Client struct{ rest rest.Interface }

// NewClient returns a client for a configuration that package fleet has made.
func NewClient(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	config.Timeout = cmp.Or(config.Timeout, requestTimeout)
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return &Client{client}, nil
}

// Change reads an object, lets edit say what the plugin wants of it, and applies that. edit is called again if the object changed
// meanwhile.
func (c *Client) Change(ctx context.Context, target Target, edit func(*Document) error, options Options) (Outcome, error) {
	var err error
	spelled := map[string]string{}
	for range attempts {
		var outcome Outcome
		if outcome, err = c.try(ctx, target, edit, options, spelled); !errors.Is(err, errAgain) {
			return outcome, err
		}
	}
	return Outcome{}, fmt.Errorf("%s: was changed %d times by others meanwhile: %w", target.Words(), attempts, err)
}

var errAgain = errors.New("the object has changed")

// try remembers in spelled how the ids of entries were written that it removed to put its own there: whoever had them may come back.
func (c *Client) try(ctx context.Context, target Target, edit func(*Document) error, options Options, spelled map[string]string) (Outcome, error) {
	live, err := c.get(ctx, target)
	if err != nil {
		return Outcome{}, err
	}
	// What nobody sends cannot conflict: it is printed for the repository that has the entry.
	d := newDocument(target, live, options.ForceConflicts || options.DryRun == DryRunClient)
	d.spelled = spelled
	if err := edit(d); err != nil {
		return Outcome{}, err
	}
	d.finish()
	switch {
	case options.DryRun == DryRunClient:
		return Outcome{Object: d.wanted, Changed: true}, nil
	case live == nil && options.DryRun != DryRunServer:
		return Outcome{}, c.create(ctx, target)
	case len(d.removals) > 0:
		object, err := c.remove(ctx, d, options)
		if err != nil || d.dropped || options.DryRun == DryRunServer {
			return Outcome{Object: object, Changed: true}, err
		}
		for _, r := range d.removals {
			spelled[strings.ToLower(r.id)] = r.id
		}
		return Outcome{}, errAgain
	case live != nil && reflect.DeepEqual(d.before, d.wanted):
		return Outcome{Object: live}, nil
	}
	object, err := c.apply(ctx, d, options)
	return Outcome{Object: object, Changed: true}, err
}

// get returns nil for a global configuration that is not there: the change makes it.
func (c *Client) get(ctx context.Context, target Target) (map[string]any, error) {
	live, err := do(ctx, c.request(c.rest.Get(), target))
	switch {
	case apierrors.IsNotFound(err) && target == Global:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", target.Words(), err)
	}
	return live, nil
}

// create makes the global configuration before the first change of it. An apply of something that is not there has no resource version
// to be refused by: of two terminals, the second would drop the entry of the first. Here one of them loses, and both begin anew.
func (c *Client) create(ctx context.Context, target Target) error {
	object := map[string]any{
		"apiVersion": emsv1.GroupVersion.String(), "kind": target.kind(), "metadata": target.metadata(),
		// A spec must say something; this is what absence means.
		specField: map[string]any{telemetryField: map[string]any{}},
	}
	content, err := json.Marshal(object)
	if err != nil {
		return err
	}
	_, err = do(ctx, c.rest.Post().Resource(target.resource()).Param("fieldManager", Manager).SetHeader("Content-Type", "application/json").Body(content))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("%s: %w", target.Words(), err)
	}
	return errAgain
}

func (c *Client) request(r *rest.Request, target Target) *rest.Request {
	return r.NamespaceIfScoped(target.Namespace, target.Namespace != "").Resource(target.resource()).Name(target.Name)
}

// apply sends the wanted document. With the resource version it is refused if somebody, another plugin above all, was faster.
func (c *Client) apply(ctx context.Context, d *Document, options Options) (map[string]any, error) {
	document, _ := clone(d.wanted).(map[string]any)
	if d.live != nil {
		document["metadata"].(map[string]any)["resourceVersion"] = d.version()
	}
	content, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	request := c.request(c.rest.Patch(types.ApplyPatchType), d.target).Param("fieldManager", Manager).Body(content)
	if options.ForceConflicts {
		request.Param("force", "true")
	}
	return c.send(ctx, request, d.target, options)
}

// remove takes entries out that other managers own, which no apply can.
func (c *Client) remove(ctx context.Context, d *Document, options Options) (map[string]any, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value,omitempty"`
	}
	operations := []operation{{"test", "/metadata/resourceVersion", d.version()}}
	for _, r := range d.removals {
		value, _ := d.live[specField].(map[string]any)
		for _, name := range r.path[:len(r.path)-1] {
			value, _ = value[name].(map[string]any)
		}
		entries, _ := value[r.path[len(r.path)-1]].([]any)
		i := slices.IndexFunc(entries, func(e any) bool { return idOf(e) == r.id })
		operations = append(operations, operation{Op: "remove", Path: fmt.Sprintf("/spec/%s/%d", strings.Join(r.path, "/"), i)})
	}
	content, err := json.Marshal(operations)
	if err != nil {
		return nil, err
	}
	request := c.request(c.rest.Patch(types.JSONPatchType), d.target).Param("fieldManager", Manager).Body(content)
	return c.send(ctx, request, d.target, options)
}

func (d *Document) version() any { return d.live["metadata"].(map[string]any)["resourceVersion"] }

func (c *Client) send(ctx context.Context, request *rest.Request, target Target, options Options) (map[string]any, error) {
	if options.DryRun == DryRunServer {
		request.Param("dryRun", metav1.DryRunAll)
	}
	object, err := do(ctx, request)
	if err != nil {
		return nil, inWords(err, target)
	}
	return object, nil
}

// do sends a request. Only Error of a result has what the server says is wrong; Raw alone has the status code.
func do(ctx context.Context, request *rest.Request) (map[string]any, error) {
	result := request.Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	content, err := result.Raw()
	if err != nil {
		return nil, err
	}
	var object map[string]any
	return object, decode(content, &object)
}

// managerOf finds the name in `conflict with "flux" using ems.mitigation.dev/v1alpha1`: the cause has no field for it.
var managerOf = regexp.MustCompile(`conflict with "([^"]+)"`)

// inWords tells conflicts over fields from lost races.
func inWords(err error, target Target) error {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return fmt.Errorf("%s: %w", target.Words(), err)
	}
	details := status.Status().Details
	fields, managers := map[string]bool{}, map[string]bool{}
	if details != nil {
		for _, cause := range details.Causes {
			if cause.Type != metav1.CauseTypeFieldManagerConflict {
				continue
			}
			fields[strings.TrimPrefix(cause.Field, ".")] = true
			if match := managerOf.FindStringSubmatch(cause.Message); match != nil {
				managers[match[1]] = true
			}
		}
	}
	switch {
	case len(fields) > 0:
		return &ConflictError{target, slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(managers))}
	case apierrors.IsConflict(err):
		return errAgain
	// A JSON patch whose test of the resource version fails is "invalid" to API servers.
	case apierrors.IsInvalid(err) && strings.Contains(err.Error(), "test"), strings.Contains(err.Error(), "testing path /metadata/resourceVersion"):
		return errAgain
	}
	return fmt.Errorf("%s: %w", target.Words(), err)
}

// decode keeps whole numbers whole.
func decode(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	return decoder.Decode(into)
}
