package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent/skew"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/config"
	"mitigation.dev/ems/internal/shard"
	emsversion "mitigation.dev/ems/internal/version"
)

// requestTimeout bounds each request.
const requestTimeout = 30 * time.Second

// asker asks a cluster.
type asker struct {
	api    rest.Interface
	reader fleet.Reader
	meter  *skew.Meter
	now    func() time.Time
}

func newAsker(access *rest.Config, now func() time.Time) (*asker, error) {
	access = rest.CopyConfig(access)
	access.Timeout = requestTimeout
	access.QPS = -1 // some sixty questions about rights, in a moment
	a := &asker{meter: skew.New(clock.RealClock{}), now: now}
	access.Wrap(a.meter.Wrap)
	var err error
	if a.api, err = rest.RESTClientFor(access); err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	a.reader, err = fleet.NewReader(access)
	return a, err
}

// get reads a path as JSON.
func (a *asker) get(ctx context.Context, path string, into any, parameters ...string) error {
	request := a.api.Get().AbsPath(path).SetHeader("Accept", "application/json")
	for i := 0; i+1 < len(parameters); i += 2 {
		request = request.Param(parameters[i], parameters[i+1])
	}
	return fleet.Answer(request.Do(ctx), into)
}

// gather finds out what a check is made of.
func (a *asker) gather(ctx context.Context) *facts {
	f := a.common(ctx)
	if f.version.err != nil {
		// Whatever else is asked would only say the same again.
		f.leaders.err, f.policies.err, f.fleet.err = f.version.err, f.version.err, f.version.err
		return f
	}
	f.leaders.value, f.leaders.err = a.leaders(ctx)
	f.policies.value, f.policies.err = a.shipped(ctx, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
	f.fleet.value, f.fleet.err = insight.Read(ctx, a.reader, metav1.NamespaceAll, a.now())
	if f.fleet.err == nil && len(shardsOf(f.fleet.value)) > 0 {
		f.shardLeaders.value, f.shardLeaders.err = a.leases(ctx, "labelSelector", emsv1.ShardLabel)
	}
	f.clock = a.meter.Told()
	return f
}

// gatherBefore finds out what a check before an installation is made of.
func (a *asker) gatherBefore(ctx context.Context) *facts {
	f := a.common(ctx)
	if f.version.err != nil {
		f.policiesServed.err, f.rights.err = f.version.err, f.version.err
		return f
	}
	f.policiesServed.value, f.policiesServed.err = a.served(ctx)
	f.rights.value, f.rights.err = a.rights(ctx)
	f.clock = a.meter.Told()
	return f
}

func (a *asker) common(ctx context.Context) *facts {
	f := &facts{now: a.now(), plugin: emsversion.Version}
	var v version.Info
	f.version.err = a.get(ctx, "/version", &v)
	f.version.value = v.GitVersion
	if f.version.err != nil {
		f.crds.err = f.version.err
		return f
	}
	f.crds.value, f.crds.err = a.shipped(ctx, "CustomResourceDefinition")
	return f
}

func (a *asker) served(ctx context.Context) (bool, error) {
	var list metav1.APIResourceList
	err := a.get(ctx, "/apis/admissionregistration.k8s.io/v1", &list)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == "validatingadmissionpolicies" }), err
}

func (a *asker) leaders(ctx context.Context) ([]leadership, error) {
	return a.leases(ctx, "fieldSelector", "metadata.name="+shard.Main.Lease())
}

// leases reads Leases of managers, in all namespaces.
func (a *asker) leases(ctx context.Context, parameters ...string) ([]leadership, error) {
	var list coordinationv1.LeaseList
	if err := a.get(ctx, "/apis/coordination.k8s.io/v1/leases", &list, parameters...); err != nil {
		return nil, err
	}
	var out []leadership
	for i := range list.Items {
		s := &list.Items[i].Spec
		l := leadership{namespace: list.Items[i].Namespace, shard: shard.Of(&list.Items[i])}
		if s.HolderIdentity != nil {
			l.holder, _, _ = strings.Cut(*s.HolderIdentity, "_")
		}
		if s.RenewTime != nil {
			l.renewed = s.RenewTime.Time
		}
		if s.LeaseDurationSeconds != nil {
			l.duration = time.Duration(*s.LeaseDurationSeconds) * time.Second
		}
		out = append(out, l)
	}
	return out, nil
}

// plural of a kind.
func plural(kind string) string {
	kind = strings.ToLower(kind)
	if before, found := strings.CutSuffix(kind, "y"); found {
		return before + "ies"
	}
	return kind + "s"
}

// groupOf is the group of an apiVersion, and where it is served.
func groupOf(apiVersion string) (group, prefix string) {
	if group, _, found := strings.Cut(apiVersion, "/"); found {
		return group, "/apis/" + apiVersion
	}
	return "", "/api/" + apiVersion
}

// shipped compares objects of some kinds with the cluster.
func (a *asker) shipped(ctx context.Context, kinds ...string) ([]state, error) {
	objects, err := config.Shipped()
	if err != nil {
		return nil, err
	}
	var out []state
	for i := range objects {
		o := &objects[i]
		if !slices.Contains(kinds, o.Kind) {
			continue
		}
		_, prefix := groupOf(o.APIVersion)
		var live map[string]any
		s := state{name: o.Metadata.Name}
		if len(kinds) > 1 {
			s.kind = strings.TrimPrefix(o.Kind, "ValidatingAdmission")
		}
		switch err := a.get(ctx, prefix+"/"+plural(o.Kind)+"/"+o.Metadata.Name, &live); {
		case apierrors.IsNotFound(err):
			s.absent = true
		case err != nil:
			return nil, err
		default:
			s.differs = differs(o.Content["spec"], live["spec"], "spec")
		}
		out = append(out, s)
	}
	return out, nil
}

// manager is how admission policies name the manager's ServiceAccount, which an installation may call otherwise.
var manager = regexp.MustCompile(`system:serviceaccount:[a-z0-9.-]+:[a-z0-9.-]+`)

// differs names the first field that a manifest has and that is otherwise in the cluster; empty if there is none. What the API server
// adds does not matter, but no list may be longer.
func differs(want, is any, path string) string {
	switch want := want.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			return path
		}
		keys := make([]string, 0, len(want))
		for key := range want {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			if found := differs(want[key], is[key], path+"."+key); found != "" {
				return found
			}
		}
		return ""
	case []any:
		is, ok := is.([]any)
		if !ok || len(is) != len(want) {
			return path
		}
		for i := range want {
			if found := differs(want[i], is[i], fmt.Sprintf("%s[%d]", path, i)); found != "" {
				return found
			}
		}
		return ""
	case string:
		if is, ok := is.(string); ok && manager.ReplaceAllString(want, "") == manager.ReplaceAllString(is, "") {
			return ""
		}
		return path
	}
	if !reflect.DeepEqual(want, is) {
		return path
	}
	return ""
}

// rights asks for each kind and namespace of config/default whether the user may make and change it.
func (a *asker) rights(ctx context.Context) ([]right, error) {
	objects, err := config.Shipped()
	if err != nil {
		return nil, err
	}
	var out []right
	for i := range objects {
		group, _ := groupOf(objects[i].APIVersion)
		for _, verb := range []string{"get", "create", "patch"} {
			r := right{group: group, resource: plural(objects[i].Kind), namespace: objects[i].Metadata.Namespace, verb: verb}
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	out = append(out, right{group: "rbac.authorization.k8s.io", resource: "clusterroles", verb: "escalate"})
	for i := range out {
		review := authorizationv1.SelfSubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: out[i].group, Resource: out[i].resource, Namespace: out[i].namespace, Verb: out[i].verb,
			}},
		}
		content, err := json.Marshal(&review)
		if err != nil {
			return nil, err
		}
		err = fleet.Answer(a.api.Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").
			SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(bytes.NewReader(content)).Do(ctx), &review)
		if err != nil {
			return nil, err
		}
		out[i].allowed = review.Status.Allowed
	}
	if len(out) == 0 {
		return nil, errors.New("there are no manifests in this program")
	}
	return out, nil
}
