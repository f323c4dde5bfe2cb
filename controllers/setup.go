package controllers

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/certificates"
	"mitigation.dev/ems/controllers/feed"
	"mitigation.dev/ems/controllers/fleet"
	"mitigation.dev/ems/controllers/liveness"
	"mitigation.dev/ems/controllers/measure"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/controllers/reconnect"
	"mitigation.dev/ems/controllers/rollout"
	"mitigation.dev/ems/controllers/telemetry"
	"mitigation.dev/ems/internal/clientcert"
	diagnostics "mitigation.dev/ems/internal/telemetry"
)

// Options are what the reconcilers need to know beside the manager.
type Options struct {
	// Namespace is the manager's own; ConfigMaps of feeds are read from it.
	Namespace string
	// Telemetry is where diagnostic data goes if no object says; the zero value for nowhere.
	Telemetry diagnostics.Endpoint
	// ClientCertificates approves those of servers; the manager needs the rights of config/certificates for it.
	ClientCertificates bool
}

// Scheme returns a scheme with the built-in kinds and those of EMS.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(emsv1.AddToScheme(scheme))
	return scheme
}

// leasesOfServers are those that enrolment makes. A cluster has many others: each of its nodes renews one every ten seconds.
var leasesOfServers = func() *labels.Requirement {
	requirement, err := labels.NewRequirement("ems.mitigation.dev/server", selection.Exists, nil)
	utilruntime.Must(err)
	return requirement
}()

// CacheOptions keeps the manager's caches small: no managed fields, no Leases but those of servers, no requests for certificates but those
// for clients of the API server, and no documents, which are read once and large.
func CacheOptions() cache.Options {
	return cache.Options{
		NewInformer:      reconnect.NewInformer,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&coordinationv1.Lease{}:                     {Label: labels.NewSelector().Add(*leasesOfServers)},
			&certificatesv1.CertificateSigningRequest{}: {Field: fields.OneTermEqualSelector("spec.signerName", clientcert.Signer)},
		},
	}
}

// ClientOptions reads bundles past the cache.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&emsv1.MitigationBundle{}}}}
}

// Setup registers all reconcilers with the manager.
func Setup(mgr ctrl.Manager, options Options) error {
	feeds := &feed.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: options.Namespace,
		Recorder: mgr.GetEventRecorder("ems-feed"), Clock: clock.RealClock{},
	}
	if err := feeds.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the feed controller: %w", err)
	}
	if err := members.Index(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	plans := &rollout.Reconciler{
		Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("ems-rollout"), Clock: clock.RealClock{},
	}
	if err := plans.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the rollout controller: %w", err)
	}
	if err := fleet.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the fleet controllers: %w", err)
	}
	silence := &liveness.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{}}
	if err := silence.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the liveness controller: %w", err)
	}
	if err := measure.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the metrics controller: %w", err)
	}
	sender := &telemetry.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: options.Namespace, Installed: options.Telemetry, Clock: clock.RealClock{},
	}
	if err := sender.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the telemetry controller: %w", err)
	}
	if options.ClientCertificates {
		requests := &certificates.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{}}
		if err := requests.SetupWithManager(context.Background(), mgr); err != nil {
			return fmt.Errorf("set up the certificate controller: %w", err)
		}
	}
	measure.Export(mgr.GetClient(), clock.RealClock{})
	return nil
}
