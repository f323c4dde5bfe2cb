package access_test

import (
	"context"
	"fmt"
	"net/http"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// merge sends a merge patch for an object, or for its status.
func merge(ctx context.Context, c client.Client, object client.Object, status bool, patch string) error {
	raw := client.RawPatch(types.MergePatchType, []byte(patch))
	if status {
		return c.Status().Patch(ctx, object, raw)
	}
	return c.Patch(ctx, object, raw)
}

func poolServer(namespace, name string) *emsv1.PoolServer {
	return &emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}
}

func poolConfig(namespace string) *emsv1.PoolMitigationConfig {
	return &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: ownServer, Namespace: namespace}}
}

func forgeStatus(ctx context.Context, c client.Client, namespace, server string) error {
	return merge(ctx, c, poolServer(namespace, server), true, `{"status":{"facts":{"role":"Forged"}}}`)
}

func touchLease(ctx context.Context, c client.Client, namespace, server string) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: server, Namespace: namespace}}
	return merge(ctx, c, lease, false, `{"spec":{"holderIdentity":"somebody"}}`)
}

func deleteSecret(ctx context.Context, c client.Client, namespace, name string) error {
	return c.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}}, client.DryRunAll)
}

// ask asks for a token; change may change the request, which is a good one.
func ask(ctx context.Context, c client.Client, namespace, account string, change func(*authenticationv1.TokenRequestSpec)) error {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(86400)),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: account + "-agent"},
	}}
	change(&request.Spec)
	if request.Spec.ExpirationSeconds != nil && *request.Spec.ExpirationSeconds > 86400 {
		request.Labels = map[string]string{longLived: "true"}
	}
	of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account, Namespace: namespace}}
	return c.SubResource("token").Create(ctx, of, request)
}

func askToken(ctx context.Context, c client.Client, namespace, account, secret string, seconds int64) error {
	return ask(ctx, c, namespace, account, func(s *authenticationv1.TokenRequestSpec) {
		s.ExpirationSeconds, s.BoundObjectRef.Name = &seconds, secret
	})
}

func createEvent(ctx context.Context, c client.Client, namespace string, regarding corev1.ObjectReference, controller string) error {
	return c.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "tried-", Namespace: namespace}, EventTime: metav1.NowMicro(),
		ReportingController: controller, ReportingInstance: "web", Action: "Apply", Reason: "MitigationApplied",
		Type: corev1.EventTypeNormal, Regarding: regarding,
	})
}

func plan(namespace, name string) *emsv1.MitigationPlan {
	return &emsv1.MitigationPlan{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeAudit},
	}
}

func relabel(ctx context.Context, c client.Client, namespace string) error {
	return merge(ctx, c, poolConfig(namespace), false, fmt.Sprintf(`{"metadata":{"labels":{"tier":%q}}}`, "test"))
}

// status is the answer of the API server for a path.
func status(ctx context.Context, config *rest.Config, path string) int {
	client, err := rest.HTTPClientFor(config)
	Expect(err).NotTo(HaveOccurred())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address()+path, nil)
	Expect(err).NotTo(HaveOccurred())
	response, err := client.Do(request)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	return response.StatusCode
}
