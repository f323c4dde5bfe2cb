// Package telemetry sends diagnostic data once an hour, where an operator has switched it on and named an endpoint.
//
// # Usage
//
//	sender := &telemetry.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: "ems-system", Clock: clock.RealClock{}}
//	err := sender.SetupWithManager(mgr)
//
// # Considerations
//
// Nothing is sent unless the MitigationConfiguration named global, or the flags of the manager where it says nothing, name a URL. What
// is sent, where to and when is decided by internal/telemetry; here is the reading of objects, the request, and the status.
//
// Nothing else waits for it. The controller has a worker of its own, its failures show in the status of global and in the log and
// nowhere else, and no other controller reads what it writes. Servers, pools and plans come from the manager's caches, in which they are
// anyway; servers of pools that other managers work for are read from the API server, in pages.
//
// The organisation's id is a random UUID in the immutable ConfigMap ems-organization of the manager's namespace. Objects of the cluster
// survive restarts and the restore of a backup; the status of global would be lost with global, which people delete and repositories
// replace. Whoever rebuilds a cluster, or has several that shall count as one organisation, creates the ConfigMap beforehand.
package telemetry
