// Package liveness tells which servers are silent: those that have not renewed their Lease for the time of package internal/heartbeat.
//
// # Usage
//
//	r := &liveness.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Clock: clock.RealClock{}}
//	err := r.SetupWithManager(mgr)
//
// # Considerations
//
// A silent server gets Ready=Unknown with reason AgentSilent. That is all the manager ever writes into a PoolServer. It takes
// nothing back: the agent's next report does, because the agent states its Ready anew when somebody has changed it. The write bears
// the version of the PoolServer that was looked at, so it never goes over a report.
//
// What counts is when this manager saw a Lease change, by its own clock, as the node lifecycle controller of Kubernetes does it.
// The times in a Lease come from the clock of a server, which may be wrong. A manager that starts, or that found the API server
// away, therefore gives every server the whole time anew: after an outage all Leases are old, and no server is to blame. For the
// same reason the Lease is read once more, past the cache, before a server is called silent.
//
// A report is a sign of life, too. Without that, a server that can report but not renew its Lease would be called silent and contradict
// in turn, several times a second; so it does once in the time that makes a server silent at most, which shows that something is wrong without harm.
//
// Only metadata of Leases is kept, and only of those that enrolment has labelled: the others in a cluster are many, and none of
// our business. The work for a renewal is a look at three objects in caches.
//
// A server without a Lease that never said when its credential ends was not enrolled, and is never called silent. One that did has lost its
// Lease, by hand or by a backup that left it out: nobody would notice if it failed, so it is called silent, and says that it is not at each
// time, until there is a Lease again.
package liveness
