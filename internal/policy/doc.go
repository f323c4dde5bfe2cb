// Package policy decides what shall become of a mitigation: for a pool, from the organisation's and the pool's
// settings, and for a server, from its facts. Manager, agent, plugin and metrics use the same functions, so that they can
// never disagree about a block, an approval, an expiry or a fixed build.
//
// # Usage
//
//	decision, next := policy.ForPool(mitigation, configurations, pool, now)
//	approval, ok := policy.Approved("M1", 2, "canary", now, pool.Approved, configuration.Approved)
//	verdict := policy.ForServer(policy.AtServer(planned, now), situation)
//	decision, steps := policy.Explain(policy.Case{…}, now)
//
// # Considerations
//
// All functions are pure: the clock is passed in, nothing is read or kept. `next` is the earliest time at which the
// answer may change by itself, because an exception expires; callers look again then.
//
// Two rules run through all decisions. Taking protection away needs an explicit word of a person or the publisher: a
// kill switch, a block, a withdrawal, a fixed build. And what people said about a mitigation by name (suspension, block)
// goes before what they said about all of them (disable).
//
// From the strongest to the weakest, and the first that speaks decides: the kill switch for all mitigations, the kill
// switch for this one, a block, disabled mitigations, the publisher's lifecycle. On the server come after it: Audit mode,
// which only the kill switches break through, then what the server's facts say, then whether the rollout has reached it.
//
// An explanation is made by the functions that decide, as they go along. A second description of the same rules would
// sooner or later tell something else than what happens.
package policy
