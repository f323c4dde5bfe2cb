// Package measure exports what people let through and what is being rolled out and how servers fare, as Prometheus
// metrics.
//
// # Usage
//
//	err := measure.SetupWithManager(mgr, shard.Main)
//	measure.Export(mgr.GetClient(), clock.RealClock{}, shard.Main)
//
// # Considerations
//
// What stands in objects is counted when Prometheus asks, from the manager's cache, with the functions that policy is decided by. So
// an exception that expires stops counting with the next scrape, and nothing has to be kept in step with the objects. Servers are not
// among these: a scrape takes what is already summed up, and costs the same with ten servers and ten thousand.
//
// What happens (how long a revision took to a server, failures, repairs of drift, ends of rollouts) and how servers stand a reconciler finds
// out that looks at each pool after its reports and writes nothing. It counts the difference between two looks. What it sees at its first
// look at a server counts only if it happened since this process began to look: the one before has counted the rest. So a change of the
// leader counts nothing twice, and can miss what happens within it.
//
// No label names a server. The number of series is bounded however many pools and mitigations there are and whatever reasons servers make
// up: beyond the limits those that need attention come first, and the sums are always complete.
//
// Every manager exports, whether it leads or stands by: with several, take the maximum and not the sum. Those of other shards export how the
// servers of their pools stand and what happens there, and leave to the main manager what is counted from objects. A pool that comes from
// another manager is looked at as if this process had just begun.
package measure
