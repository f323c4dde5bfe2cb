package controllers

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	"mitigation.dev/ems/controllers/handover"
	"mitigation.dev/ems/controllers/liveness"
	"mitigation.dev/ems/controllers/measure"
	"mitigation.dev/ems/controllers/members"
	"mitigation.dev/ems/controllers/reconnect"
	"mitigation.dev/ems/controllers/rollout"
	"mitigation.dev/ems/controllers/telemetry"
	"mitigation.dev/ems/internal/clientcert"
	"mitigation.dev/ems/internal/shard"
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
	// Shard says which pools the manager works for. What belongs to no pool is done by the main manager, which is the zero value.
	Shard shard.Name
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

// CacheOptions keeps the main manager's caches small: no managed fields, no servers of other managers' pools, no Leases but those of servers,
// of which only the names, no requests for certificates but those for clients of the API server, and no documents, which are read once and
// large.
func CacheOptions() cache.Options { return ShardCacheOptions(shard.Main) }

// ShardCacheOptions are those of the manager of any shard.
func ShardCacheOptions(mine shard.Name) cache.Options {
	return cache.Options{
		NewInformer:      reconnect.NewInformer,
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&emsv1.PoolServer{}:                         {Label: mine.Servers()},
			&coordinationv1.Lease{}:                     {Label: labels.NewSelector().Add(*leasesOfServers), Transform: nameAndVersion},
			&certificatesv1.CertificateSigningRequest{}: {Field: fields.OneTermEqualSelector("spec.signerName", clientcert.Signer)},
		},
	}
}

// nameAndVersion leaves of metadata what tells that an object is there and has changed. Of a Lease nothing else is looked at, and every manager
// has those of all servers: there is one for each server of the fleet.
func nameAndVersion(object any) (any, error) {
	of, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil // A tombstone.
	}
	of.ObjectMeta = metav1.ObjectMeta{Namespace: of.Namespace, Name: of.Name, UID: of.UID, ResourceVersion: of.ResourceVersion}
	return of, nil
}

// ClientOptions reads bundles past the cache.
func ClientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&emsv1.MitigationBundle{}}}}
}

// Setup registers the reconcilers with the manager: all of them with the main one, with others those that work for pools.
func Setup(mgr ctrl.Manager, options Options) error {
	if err := members.Index(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	plans := &rollout.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("ems-rollout"), Clock: clock.RealClock{}, Shard: options.Shard,
	}
	if err := plans.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the rollout controller: %w", err)
	}
	hand := &handover.Reconciler{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("ems-handover"), Shard: options.Shard}
	if err := hand.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the handover controller: %w", err)
	}
	if err := fleet.SetupWithManager(mgr, options.Shard); err != nil {
		return fmt.Errorf("set up the fleet controllers: %w", err)
	}
	silence := &liveness.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{}}
	if err := silence.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the liveness controller: %w", err)
	}
	if err := measure.SetupWithManager(mgr, options.Shard); err != nil {
		return fmt.Errorf("set up the metrics controller: %w", err)
	}
	if options.Shard == shard.Main {
		if err := setupMain(mgr, options); err != nil {
			return err
		}
	}
	measure.Export(mgr.GetClient(), clock.RealClock{}, options.Shard)
	return nil
}

// setupMain registers what belongs to no pool.
func setupMain(mgr ctrl.Manager, options Options) error {
	feeds := &feed.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: options.Namespace,
		Recorder: mgr.GetEventRecorder("ems-feed"), Clock: clock.RealClock{},
	}
	if err := feeds.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("set up the feed controller: %w", err)
	}
	watch := &handover.Watch{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("ems-handover"), Namespace: options.Namespace, Clock: clock.RealClock{},
	}
	if err := mgr.Add(watch); err != nil {
		return fmt.Errorf("set up the watch over other managers: %w", err)
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
	return nil
}
