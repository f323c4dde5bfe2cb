package enroll

import (
	"context"
	"encoding/json"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// manager is the field manager that the plugin writes with.
const manager = "ems-plugin"

// resource is the collection of a kind in a namespace.
type resource struct{ prefix, plural string }

var (
	pools           = resource{"/apis/" + emsv1.GroupVersion.String(), "poolmitigationconfigs"}
	poolServers     = resource{"/apis/" + emsv1.GroupVersion.String(), "poolservers"}
	serviceAccounts = resource{"/api/v1", "serviceaccounts"}
	secrets         = resource{"/api/v1", "secrets"}
	configMaps      = resource{"/api/v1", "configmaps"}
	leases          = resource{"/apis/" + coordinationv1.SchemeGroupVersion.String(), "leases"}
	roleBindings    = resource{"/apis/" + rbacv1.SchemeGroupVersion.String(), "rolebindings"}
)

// api is the API server, seen from one namespace.
type api struct {
	rest      rest.Interface
	namespace string
}

func (a api) path(r resource, name ...string) []string {
	return append([]string{r.prefix, "namespaces", a.namespace, r.plural}, name...)
}

// get reads an object; found is false if there is none.
func (a api) get(ctx context.Context, r resource, name string, into any) (found bool, err error) {
	err = do(ctx, a.rest.Get().AbsPath(a.path(r, name)...), into)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// create makes an object and reads back what was made.
func (a api) create(ctx context.Context, r resource, object any) error {
	content, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return do(ctx, a.rest.Post().AbsPath(a.path(r)...).Param("fieldManager", manager).SetHeader("Content-Type", "application/json").Body(content), object)
}

// patch merges a part into an object and reads back what it became.
func (a api) patch(ctx context.Context, r resource, name string, part, into any) error {
	content, err := json.Marshal(part)
	if err != nil {
		return err
	}
	return do(ctx, a.rest.Patch(types.MergePatchType).AbsPath(a.path(r, name)...).Param("fieldManager", manager).Body(content), into)
}

// remove deletes an object; found is false if there was none.
func (a api) remove(ctx context.Context, r resource, name string) (found bool, err error) {
	err = do(ctx, a.rest.Delete().AbsPath(a.path(r, name)...), nil)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// token asks for a token of a ServiceAccount that ends with a Secret.
func (a api) token(ctx context.Context, server string, bound *corev1.Secret, seconds int64) (*authenticationv1.TokenRequest, error) {
	request := &authenticationv1.TokenRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenRequest"},
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: bound.Name, UID: bound.UID},
		},
	}
	content, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	err = do(ctx, a.rest.Post().AbsPath(a.path(serviceAccounts, server, "token")...).SetHeader("Content-Type", "application/json").Body(content), request)
	return request, err
}

// do sends a request. Only Error of a result has what the server says is wrong; Raw alone has the status code.
func do(ctx context.Context, request *rest.Request, into any) error {
	result := request.Do(ctx)
	if err := result.Error(); err != nil {
		return err
	}
	if into == nil {
		return nil
	}
	content, err := result.Raw()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("answer of the API server: %w", err)
	}
	return nil
}
