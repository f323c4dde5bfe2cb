package diff

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/steer"
)

const (
	// requestTimeout bounds each request.
	requestTimeout = 30 * time.Second
	// defaultManager is that of kubectl apply --server-side.
	defaultManager = "kubectl"
)

// What would become of an object.
const (
	objectCreate = "Create"
	objectChange = "Change"
	objectSame   = "None"
)

// dryRun asks the API server what objects would become.
type dryRun struct {
	client rest.Interface
	// manager is that of the flag; empty to find it out.
	manager string
	notes   []string
}

func (d *dryRun) note(format string, arguments ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, arguments...))
}

// all asks about each manifest.
func (d *dryRun) all(ctx context.Context, manifests []manifest) (objects []ObjectChange, c changed, err error) {
	objects = []ObjectChange{}
	for i := range manifests {
		m := &manifests[i]
		change := ObjectChange{Kind: m.Kind, Namespace: m.Namespace, Name: m.Name, File: m.File}
		if m.Kind == "PoolMitigationConfig" {
			var before, after emsv1.PoolMitigationConfig
			if err := d.one(ctx, m, &before, &after, &change); err != nil {
				return nil, changed{}, err
			}
			after.Status = before.Status
			c.pools = append(c.pools, after)
		} else {
			var before, after emsv1.MitigationConfiguration
			if err := d.one(ctx, m, &before, &after, &change); err != nil {
				return nil, changed{}, err
			}
			c.configurations = append(c.configurations, after)
		}
		objects = append(objects, change)
	}
	return objects, c, nil
}

func (d *dryRun) request(r *rest.Request, m *manifest) *rest.Request {
	return r.NamespaceIfScoped(m.Namespace, m.Namespace != "").Resource(resources[m.Kind]).Name(m.Name).Timeout(requestTimeout)
}

// one fills what an object is and what it would be.
func (d *dryRun) one(ctx context.Context, m *manifest, before, after interface {
	runtime.Object
	metav1.Object
}, change *ObjectChange) error {
	err := d.request(d.client.Get(), m).Do(ctx).Into(before)
	exists := err == nil
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("%s: %s: %w", m.File, m, err)
	}
	manager := d.manager
	if manager == "" {
		manager = d.found(m, before.GetManagedFields(), exists)
	}
	apply := func(force string) error {
		return d.request(d.client.Patch(types.ApplyPatchType), m).
			Param("dryRun", metav1.DryRunAll).Param("fieldManager", manager).Param("fieldValidation", metav1.FieldValidationStrict).Param("force", force).
			Body(m.content).Do(ctx).Into(after)
	}
	err = apply("false")
	if apierrors.IsConflict(err) {
		d.note("%s: %s; this preview takes the fields over, as Flux and Argo CD do, which kubectl does with --force-conflicts", m, strings.ReplaceAll(err.Error(), "\n", " "))
		err = apply("true")
	}
	if apierrors.IsNotFound(err) && m.Namespace != "" {
		d.note("%s: namespace %s does not exist yet, so that the API server could not check the object", m, m.Namespace)
		err = json.Unmarshal(m.content, after)
		after.SetNamespace(m.Namespace)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", m.File, m, err)
	}
	switch {
	case !exists:
		change.Action = objectCreate
	default:
		if change.Fields, err = fields(before, after); err != nil {
			return err
		}
		change.Action = objectSame
		if len(change.Fields) > 0 {
			change.Action = objectChange
		}
	}
	return nil
}

// found is the field manager that applies the object for real, as far as the object shows it.
func (d *dryRun) found(m *manifest, managed []metav1.ManagedFieldsEntry, exists bool) string {
	var names []string
	clientSide := false
	for _, e := range managed {
		if e.Subresource != "" || e.Manager == steer.Manager {
			continue
		}
		if e.Operation == metav1.ManagedFieldsOperationApply && !slices.Contains(names, e.Manager) {
			names = append(names, e.Manager)
		}
		clientSide = clientSide || e.Operation == metav1.ManagedFieldsOperationUpdate
	}
	switch {
	case len(names) == 1:
		return names[0]
	case len(names) > 1:
		d.note("%s is applied by several (%s): say which of them applies the files, with --field-manager", m, strings.Join(names, ", "))
	case exists && clientSide:
		d.note("%s was not made by a server-side apply: what the file leaves out stays in this preview", m)
	}
	return defaultManager
}

// fields names what differs: the fields of the spec, labels and annotations.
func fields(before, after metav1.Object) ([]string, error) {
	var changed []string
	if !sameMap(before.GetLabels(), after.GetLabels()) {
		changed = append(changed, "metadata.labels")
	}
	if !sameMap(before.GetAnnotations(), after.GetAnnotations()) {
		changed = append(changed, "metadata.annotations")
	}
	was, err := spec(before)
	if err != nil {
		return nil, err
	}
	is, err := spec(after)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for name, value := range was {
		names[name] = !reflect.DeepEqual(value, is[name])
	}
	for name, value := range is {
		names[name] = !reflect.DeepEqual(value, was[name])
	}
	var own []string
	for name, differs := range names {
		if differs {
			own = append(own, "spec."+name)
		}
	}
	slices.Sort(own)
	return append(changed, own...), nil
}

func sameMap(a, b map[string]string) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}

func spec(object metav1.Object) (map[string]any, error) {
	content, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var whole struct {
		Spec map[string]any `json:"spec"`
	}
	err = json.Unmarshal(content, &whole)
	return whole.Spec, err
}
