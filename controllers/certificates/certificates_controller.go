package certificates

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/clientcert"
)

const (
	// byUser is the index of requests by who asks.
	byUser = "spec.username"
	// serverLabel on a ServiceAccount says that it is the identity of a server.
	serverLabel = "ems.mitigation.dev/server"
)

// Reconciler decides about the requests of servers. The rights that it needs are in config/certificates.
type Reconciler struct {
	Client client.Client
	// Reader reads past the cache.
	Reader client.Reader
	Clock  clock.PassiveClock
}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &certificatesv1.CertificateSigningRequest{}, byUser, func(o client.Object) []string {
		request, ok := o.(*certificatesv1.CertificateSigningRequest)
		if !ok {
			return nil
		}
		return []string{request.Spec.Username}
	})
	if err != nil {
		return fmt.Errorf("index of requests for certificates: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("certificates").
		For(&certificatesv1.CertificateSigningRequest{}, builder.WithPredicates(predicate.NewPredicateFuncs(undecided))).
		Complete(r)
}

// undecided lets through what may be of a server and waits for somebody.
func undecided(o client.Object) bool {
	request, ok := o.(*certificatesv1.CertificateSigningRequest)
	if !ok || Decided(request) {
		return false
	}
	_, _, ok = Requester(request)
	return ok
}

// Reconcile decides about one request.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var request certificatesv1.CertificateSigningRequest
	if err := r.Client.Get(ctx, req.NamespacedName, &request); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	namespace, server, ok := Requester(&request)
	if !ok || Decided(&request) {
		return ctrl.Result{}, nil
	}
	enrolled, err := r.enrolled(ctx, types.NamespacedName{Namespace: namespace, Name: server})
	if err != nil {
		return ctrl.Result{}, err
	}
	var others certificatesv1.CertificateSigningRequestList
	if err := r.Client.List(ctx, &others, client.MatchingFields{byUser: request.Spec.Username}); err != nil {
		return ctrl.Result{}, fmt.Errorf("list requests for certificates: %w", err)
	}
	verdict := Judge(Case{Request: &request, Others: others.Items, Enrolled: enrolled, Now: r.Clock.Now()})
	if verdict.Decision == Ignore {
		return ctrl.Result{}, nil
	}
	condition := certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: verdict.Reason, Message: verdict.Message,
		LastUpdateTime: metav1.NewTime(r.Clock.Now()),
	}
	if verdict.Decision == Deny {
		condition.Type = certificatesv1.CertificateDenied
	}
	request.Status.Conditions = append(request.Status.Conditions, condition)
	// The version that was judged goes along: whatever changed since makes a conflict.
	switch err := r.Client.SubResource("approval").Update(ctx, &request); {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("decide about request for a certificate: %w", err)
	}
	ctrl.LoggerFrom(ctx).Info("Request for a certificate was decided", "server", namespace+"/"+server,
		"decision", string(verdict.Decision), "reason", verdict.Reason, "message", verdict.Message)
	return ctrl.Result{}, nil
}

// enrolled reads what the cluster knows of a server at this moment.
func (r *Reconciler) enrolled(ctx context.Context, name types.NamespacedName) (Enrolled, error) {
	var (
		e       Enrolled
		server  emsv1.PoolServer
		account corev1.ServiceAccount
	)
	switch err := r.Reader.Get(ctx, name, &server); {
	case err == nil:
		e.Server = true
	case !apierrors.IsNotFound(err):
		return e, fmt.Errorf("get PoolServer: %w", err)
	default:
		return e, nil // no server of ours: its ServiceAccount is nobody's business
	}
	switch err := r.Reader.Get(ctx, name, &account); {
	case err == nil:
		e.UID, e.Label = string(account.UID), account.Labels[serverLabel]
		e.Enrolment = account.Annotations[clientcert.EnrolmentAnnotation]
	case !apierrors.IsNotFound(err):
		return e, fmt.Errorf("get ServiceAccount: %w", err)
	}
	return e, nil
}
