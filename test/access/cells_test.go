package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// target is which object a request is about.
type target string

// The targets, in the order in which they are written. A list or watch, and the deletion of all, has no name.
const (
	own      target = "own"       // pool-a/web01
	other    target = "other"     // pool-a/web02
	namesake target = "namesake"  // pool-b/web01
	unknown  target = "new"       // pool-a/web99, which does not exist
	cluster  target = "cluster"   // a cluster-scoped object, or all of them
	pool     target = "pool"      // all of pool-a
	foreign  target = "otherPool" // all of pool-b
	all      target = "all"       // all of all namespaces
)

var (
	named      = []target{own, other, namesake, unknown}
	collective = []target{pool, foreign, all}
)

// resource is one that the API server serves; name may have a subresource.
type resource struct {
	gv schema.GroupVersion
	// body is the version of what is sent, which a subresource may have of its own.
	body       schema.GroupVersion
	name, kind string
	namespaced bool
	verbs      []string
}

func (r resource) String() string {
	if r.gv.Group == "" {
		return r.name
	}
	return r.name + "." + r.gv.Group
}

// served lists everything that the API server serves, each in its preferred version.
func served() []resource {
	c, err := discovery.NewDiscoveryClientForConfig(env.Config)
	Expect(err).NotTo(HaveOccurred())
	lists, err := c.ServerPreferredResources()
	Expect(err).NotTo(HaveOccurred())
	subresources, everything, err := c.ServerGroupsAndResources()
	Expect(err).NotTo(HaveOccurred())
	Expect(subresources).NotTo(BeEmpty())
	var found []resource
	preferred := map[schema.GroupVersion]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		Expect(err).NotTo(HaveOccurred())
		preferred[gv] = true
	}
	for _, list := range everything {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		Expect(err).NotTo(HaveOccurred())
		for _, r := range list.APIResources {
			if preferred[gv] {
				body := gv
				if r.Version != "" {
					body = schema.GroupVersion{Group: r.Group, Version: r.Version}
				}
				found = append(found, resource{gv: gv, body: body, name: r.Name, kind: r.Kind, namespaced: r.Namespaced, verbs: r.Verbs})
			}
		}
	}
	return found
}

// cell is a request that may or may not be allowed.
type cell struct {
	resource resource
	verb     string
	target   target
}

func cellsOf(resources []resource) []cell {
	var cells []cell
	for _, r := range resources {
		for _, verb := range r.verbs {
			targets := named
			switch {
			case !r.namespaced:
				targets = []target{cluster}
			case verb == "list" || verb == "watch":
				targets = collective
			case verb == "deletecollection":
				targets = []target{pool, foreign}
			}
			for _, t := range targets {
				cells = append(cells, cell{r, verb, t})
			}
		}
	}
	return cells
}

// object says where the cell's object is.
func (c cell) object() (namespace, name string) {
	namespace, name = ownPool, ownServer
	switch c.target {
	case other:
		name = otherServer
	case namesake:
		namespace = otherPool
	case unknown:
		name = "web99"
	case foreign:
		namespace, name = otherPool, ""
	case pool:
		name = ""
	case all:
		namespace, name = "", ""
	case cluster:
		namespace = ""
	case own:
	}
	if c.resource.name == "secrets" && name != "" {
		name += "-bootstrap"
	}
	return namespace, name
}

// path is the URL of the cell, without the name of the object for what is created or concerns all.
func (c cell) path() string {
	namespace, name := c.object()
	parts := []string{"/apis", c.resource.gv.Group, c.resource.gv.Version}
	if c.resource.gv.Group == "" {
		parts = []string{"/api", c.resource.gv.Version}
	}
	if namespace != "" {
		parts = append(parts, "namespaces", namespace)
	}
	main, sub, isSub := strings.Cut(c.resource.name, "/")
	parts = append(parts, main)
	switch c.verb {
	case "list", "watch", "deletecollection":
	case "create":
		if isSub {
			parts = append(parts, name)
		}
	default:
		parts = append(parts, name)
	}
	if isSub {
		parts = append(parts, sub)
	}
	return strings.Join(parts, "/")
}

// request is what is sent. Whatever writes is a dry run.
func (c cell) request(ctx context.Context, body []byte) (*http.Request, error) {
	query, method, contentType := url.Values{}, http.MethodGet, "application/json"
	switch c.verb {
	case "watch":
		query.Set("watch", "true")
		query.Set("timeoutSeconds", "1")
	case "list":
		query.Set("limit", "1")
	case "create":
		method = http.MethodPost
	case "update":
		method = http.MethodPut
	case "patch":
		method, contentType = http.MethodPatch, "application/merge-patch+json"
	case "delete", "deletecollection":
		method = http.MethodDelete
	}
	if method != http.MethodGet {
		query.Set("dryRun", "All")
	}
	request, err := http.NewRequestWithContext(ctx, method, address()+c.path()+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.path(), err)
	}
	request.Header.Set("Content-Type", contentType)
	return request, nil
}

// body is one that the API server would take, at least of the resources that somebody may write: what RBAC refuses is never read.
func (c cell) body(ctx context.Context, admin *http.Client) []byte {
	namespace, name := c.object()
	minimal := map[string]any{
		"apiVersion": c.resource.body.String(), "kind": c.resource.kind, "metadata": map[string]any{"name": name, "namespace": namespace},
	}
	switch {
	case c.verb == "patch" && c.resource.name == "leases":
		return encoded(map[string]any{"spec": map[string]any{"holderIdentity": name}})
	case c.verb == "patch" && c.resource.name == "poolmitigationconfigs":
		return encoded(map[string]any{"spec": map[string]any{"suspend": "Revert"}})
	case c.verb == "patch":
		return encoded(map[string]any{"metadata": map[string]any{"annotations": map[string]any{"tried": "yes"}}})
	case c.verb == "update":
		if found := stands(ctx, admin, c); found != nil {
			return found
		}
	case c.verb == "create" && c.resource.name == "events":
		minimal["metadata"] = map[string]any{"generateName": "tried-", "namespace": namespace}
		maps.Copy(minimal, map[string]any{
			"eventTime": "2026-01-02T03:04:05.000000Z", "reportingController": "ems-agent", "reportingInstance": name, "action": "Apply",
			"reason": "MitigationApplied", "type": corev1.EventTypeNormal, "regarding": about(namespace, name),
			"involvedObject": about(namespace, name),
		})
	case c.verb == "create" && c.resource.name == "serviceaccounts/token":
		minimal["spec"] = map[string]any{
			"expirationSeconds": 3600, "boundObjectRef": map[string]any{"apiVersion": "v1", "kind": "Secret", "name": name + "-agent"},
		}
	}
	return encoded(minimal)
}

func encoded(value any) []byte {
	text, err := json.Marshal(value)
	Expect(err).NotTo(HaveOccurred())
	return text
}

// stands is what stands there now, nil if nothing does.
func stands(ctx context.Context, admin *http.Client, c cell) []byte {
	c.verb = "get"
	request, err := c.request(ctx, nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := admin.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	if response.StatusCode != http.StatusOK {
		return nil
	}
	return text
}

// matrix tries all cells with a credential and returns those that are allowed. Allowed is what is not answered with 403: an object
// that is not there, or a body that is no good, comes after the question of rights. Only of a name that does not exist a 404
// says nothing that the other targets do not say.
func matrix(ctx context.Context, config *rest.Config, cells []cell) []cell {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := rest.HTTPClientFor(config)
	Expect(err).NotTo(HaveOccurred())
	admin, err := rest.HTTPClientFor(env.Config)
	Expect(err).NotTo(HaveOccurred())
	allowed := make([]bool, len(cells))
	problems := make([]error, len(cells))
	work := make(chan int)
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() {
			for i := range work {
				allowed[i], problems[i] = attempt(ctx, client, admin, cells[i])
			}
		})
	}
	for i := range cells {
		work <- i
	}
	close(work)
	working.Wait()
	var found []cell
	for i, c := range cells {
		Expect(problems[i]).NotTo(HaveOccurred(), "%s %s %s", c.verb, c.resource, c.target)
		if allowed[i] {
			found = append(found, c)
		}
	}
	return found
}

func attempt(ctx context.Context, client, admin *http.Client, c cell) (bool, error) {
	var body []byte
	if c.verb == "create" || c.verb == "update" || c.verb == "patch" {
		body = c.body(ctx, admin)
	}
	request, err := c.request(ctx, body)
	if err != nil {
		return false, err
	}
	response, err := client.Do(request)
	if err != nil {
		return false, fmt.Errorf("%s: %w", request.URL, err)
	}
	defer func() { _ = response.Body.Close() }()
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return false, fmt.Errorf("%s: the credential is not accepted", request.URL)
	case http.StatusForbidden:
		return false, nil
	case http.StatusNotFound:
		if !strings.Contains(response.Header.Get("Content-Type"), "json") {
			return false, fmt.Errorf("%s: not a path of the API", request.URL)
		}
		return c.target != unknown, nil
	}
	return true, nil
}

// table writes cells as rows of Markdown: what is allowed in the same places is one row.
func table(cells []cell) string {
	type key struct{ resource, where string }
	places := map[string]map[string][]target{}
	for _, c := range cells {
		name := c.resource.String()
		if places[name] == nil {
			places[name] = map[string][]target{}
		}
		places[name][c.verb] = append(places[name][c.verb], c.target)
	}
	rows := map[key][]string{}
	for name, verbs := range places {
		for verb, targets := range verbs {
			k := key{name, where(targets)}
			rows[k] = append(rows[k], verb)
		}
	}
	var text strings.Builder
	text.WriteString("| resource | verbs | of what |\n|---|---|---|\n")
	keys := slices.SortedFunc(maps.Keys(rows), func(a, b key) int {
		return strings.Compare(a.resource+"\x00"+a.where, b.resource+"\x00"+b.where)
	})
	for _, k := range keys {
		slices.Sort(rows[k])
		fmt.Fprintf(&text, "| `%s` | %s | %s |\n", k.resource, strings.Join(rows[k], ", "), k.where)
	}
	return text.String()
}

// where puts a set of targets into words.
func where(targets []target) string {
	words := []struct {
		set  []target
		text string
	}{
		{[]target{own}, "its own"},
		{[]target{own, other}, "every one of its pool"},
		{[]target{own, other, unknown}, "every one of its pool, new ones too"},
		{[]target{own, other, namesake}, "every one of every pool"},
		{named, "every one of every pool, new ones too"},
		{[]target{unknown}, "new ones of its pool"},
		{[]target{cluster}, "the cluster's"},
		{[]target{pool}, "all of its pool"},
		{[]target{pool, foreign}, "all of any pool"},
		{collective, "all of all pools"},
	}
	for _, w := range words {
		if len(w.set) == len(targets) && !slices.ContainsFunc(w.set, func(t target) bool { return !slices.Contains(targets, t) }) {
			return w.text
		}
	}
	list := make([]string, 0, len(targets))
	for _, t := range targets {
		list = append(list, string(t))
	}
	return strings.Join(list, ", ")
}

// withoutThose returns cells that are not among others.
func withoutThose(cells, others []cell) []cell {
	key := func(c cell) string {
		return c.resource.gv.String() + c.resource.String() + " " + c.verb + " " + string(c.target)
	}
	known := map[string]bool{}
	for _, c := range others {
		known[key(c)] = true
	}
	return slices.DeleteFunc(slices.Clone(cells), func(c cell) bool { return known[key(c)] })
}
