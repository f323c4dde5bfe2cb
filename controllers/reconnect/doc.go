// Package reconnect lets the manager go on within seconds after an API server that was away is back.
//
// # Usage
//
//	cache.Options{NewInformer: reconnect.NewInformer}
//	ctrl.NewControllerManagedBy(mgr).WithOptions(controller.Options{RateLimiter: reconnect.RateLimiter()})
//
// # Considerations
//
// The pauses of client-go and controller-runtime are made for faults that last: those of a watch grow to half a minute and more,
// those of a work queue to a quarter of an hour. After five minutes without an API server that is how long nothing would be
// published or blocked. Here pauses are random and stay below a few seconds. That is affordable because there is one manager with a
// dozen watches, and because only queues of few objects (feeds, mitigations, pools) use it; the queue of all servers does not.
package reconnect
