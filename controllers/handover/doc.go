// Package handover gives servers to the manager that works for their pool, where there are several managers.
//
// # Usage
//
// Every manager:
//
//	hand := &handover.Reconciler{Client: mgr.GetClient(), Recorder: recorder, Shard: mine}
//	err := hand.SetupWithManager(mgr)
//
// The main one as well:
//
//	err := mgr.Add(&handover.Watch{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), ...})
//
// Who takes a pool over, before it plans:
//
//	missing, err := handover.Missing(ctx, mgr.GetClient(), mgr.GetAPIReader(), pool, mine)
//
// # Considerations
//
// A manager keeps the PoolServers in its cache that are marked as its own (package internal/shard), and all pools and plans, which are few.
// The label of the pool decides; the one of a server only makes the API server send it to the right manager. So whoever has a server in
// its cache whose pool is another's marks it anew. A server that was just created without a mark is the main manager's, which does the
// same. Nobody has to know all servers for that.
//
// A pool that moves is never planned by two: the manager that had it stops when it sees the label, and only then hands the servers over; the
// one that gets it waits until no server of the pool is marked as another's and all of its own are in its cache. A plan that was made from
// some of the servers would release the next stage as soon as those few had passed. Only removals do not wait. That the pool was taken over stands in the plan, whose
// label is that of the manager that wrote it last; until then the pool's status says so, and nobody exports how its servers stand.
//
// The main manager knows by the Leases that managers elect their leaders by whether there is one for each shard. It tells the pools of a
// shard without one (condition NoManager), and hands over the servers that a manager left behind that is gone.
//
// Leases of servers bear no mark. All managers keep the names of all of them: that costs a few hundred bytes for each, and the fleet renews at
// most 50 in a second however large it is; to mark them the managers would need the right to write Leases in every namespace.
//
// The right to mark servers comes with config/shards, and a policy there that keeps it to this one label.
package handover
