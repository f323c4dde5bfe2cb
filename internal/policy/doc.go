// Package policy decides what shall become of a mitigation: for a pool, from the organisation's and the pool's
// settings, and for a server, from its facts. Manager and agent use the same functions, so that they can never
// disagree about a block, an expiry or a fixed build.
//
// # Usage
//
//	decision, next := policy.ForPool(mitigation, configurations, pool, now)
//	verdict := policy.ForServer(planned, applicability, facts)
//
// # Considerations
//
// All functions are pure: the clock is passed in, nothing is read or kept. `next` is the earliest time at which the
// answer may change by itself, because an exception expires; callers look again then.
//
// Two rules run through all decisions. Taking protection away needs an explicit word of a person or the publisher: a
// kill switch, a block, a withdrawal, a fixed build. And what people said about a mitigation by name (block) goes
// before what they said about all of them (disable).
package policy
