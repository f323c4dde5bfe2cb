// Package cluster is the agent's side of Kubernetes: it watches the pool's MitigationPlan and the server's PoolServer, fetches
// MitigationBundles, and writes the status and the events of the PoolServer.
//
// # Usage
//
//	connection, err := cluster.Connect(kubeconfig, "")
//	c := cluster.New(cluster.Options{Client: connection.Client, Recorder: connection.Recorder, Namespace: "pool-a", Pool: "pool-a", Server: "fe01", Log: log})
//	go c.Run(ctx)
//	plan, known, err := c.Plan()
//	err = c.Report(ctx, report)
//
// # Considerations
//
// The API server may be away at any time, at start too. Nothing here needs it to begin: the kinds are mapped without
// discovery, the watches are tried again for ever with jittered pauses of at most ten seconds, and callers learn from the second
// result of Plan that the cluster has not been heard of yet.
//
// Both objects are watched by name, so an agent needs no right to see those of other servers and pools. Watching is done by two
// client-go reflectors. Their stream begins with what there is, so an agent never lists, and goes on where it was interrupted;
// bookmarks keep that place current. Informers would do the same, but their pauses grow to a minute, which cannot be changed.
//
// A report of success is made at a moment of the server's own within the window that the plan announces, and one of failure at
// once. In between the status gathers: one write tells everything. The fewer servers a stage has, the shorter their window. What only repeats the
// plan, that it was read and that the server waits for its stage, waits longer still: nobody acts on it, and in a large pool it would be two
// writes of three. An API server that refuses reports because it has too much to do is left alone for pauses that grow.
//
// The status is written by server-side apply as field owner [FieldOwner], and only when it differs from what stands there.
// Apply was preferred to a merge patch because it states the whole of what the agent says: entries that are gone disappear
// without a read before the write, and fields that others own stay theirs.
//
// Conversions between the API's types and those of the domain are in convert.go and nowhere else.
package cluster
