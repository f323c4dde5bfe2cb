// Package measure exports what people let through and what is being rolled out, as Prometheus metrics.
//
// # Usage
//
//	measure.Export(mgr.GetClient(), clock.RealClock{})
//
// # Considerations
//
// Everything is counted when Prometheus asks, from the manager's cache, with the functions that policy is decided by. So
// an exception that expires stops counting with the next scrape, and nothing has to be kept in step with the objects.
//
// No label names a server. The number of series is bounded however many pools and mitigations there are: single exceptions
// and rollouts are exported up to a limit, those that need attention first; the sums are always complete.
//
// Every manager exports, whether it leads or stands by: with several, take the maximum and not the sum.
package measure
