// Package rollout plans which servers of a pool get a mitigation, and when. The planner is a pure function from
// mitigations, policy and the clock to the plan of a pool; the controller of the same name writes it, agents read it.
//
// # Usage
//
//	plan := rollout.Make(rollout.Input{Mitigations: …, Configurations: …, Pool: …, Now: now})
//	released := plan.Entries[0].Release.Includes("fe01", "M1")
//
// # Considerations
//
// Membership of a stage is decided by every agent from the plan alone: a few names, then a cut-off on a hash of
// server and mitigation. Releasing a stage is therefore one write per pool, however many servers it has. The hash differs
// from mitigation to mitigation, so that not always the same servers go first.
//
// In this version a rollout has one stage, all servers.
package rollout
