// Package fleet rolls up what servers report: into the status of their pool, from there into the status of every
// Mitigation, and it tells for every MitigationConfiguration whether it is in effect.
//
// # Usage
//
//	err := fleet.SetupWithManager(mgr, shard.Main)
//
// # Considerations
//
// Of several managers each writes the statuses of its own pools, and the main one those of Mitigations and configurations, for which it needs
// no servers. A pool that was given to another manager says so until all of its servers have come.
//
// The work per report is bounded. A report of a server leads to one look at its pool, at most once a second however many
// servers report; Mitigations are summed up from pools, never from servers, and only those of which a pool says something new. What a status says is decided by pure
// functions (pool.go, mitigation.go, configuration.go) from the objects alone, so that a restart changes nothing.
//
// Rollouts are told from the plan and from what servers say of them. Stalled means here, as everywhere, that nothing happens until a person
// acts: a rollout that halted, is stuck, or waits for an approval. One that a person paused, or that waits for a window or for other pools,
// is on its way. What a person took back is done, and Ready, once the servers have followed. The history in the status of a pool is written
// by package rollout.
//
// Server lists in statuses are bounded: counts, and at most 20 names of failing servers.
package fleet
