// Package lease shows that a server is alive: it renews the Lease of the server in the cluster.
//
// # Usage
//
//	k := lease.New(lease.Options{Leases: clients.CoordinationV1().Leases("pool-a"), Server: "fe01", Clock: clock.RealClock{}, Log: log})
//	go k.Run(ctx)
//	k.SetPeriod(30 * time.Second) // as the plan says
//
// # Considerations
//
// A renewal is one merge patch of the spec. It was preferred to a read and an update, because it is one request instead of two, and
// cannot make a Lease that is not there: enrolment makes it.
//
// The patch names the version that the last one left. Nobody else renews this Lease, so a conflict means that somebody does: a copy of
// the state folder, or of the whole server, works somewhere under the same name. Who it is stands in the holder, which is different for
// every process. A process that starts takes over whatever it finds, and is not told of the one before it.
//
// Nothing waits for a renewal. The second one comes at any moment of the first period, so that servers that started together do not
// renew together; from then on the period is a lower limit, and renewals come up to a tenth later. After a failure the pauses grow up to the period and are random over their whole
// length ("full jitter"): when an API server comes back, the renewals of all servers are spread over a period, as they always
// are.
//
// The time in the Lease is that of the server's clock, for people. Package controllers/liveness judges by when it sees a Lease
// change, so a wrong clock makes no server silent.
package lease
