// Package rollout renders the MitigationPlan of every pool.
//
// # Usage
//
//	err := (&rollout.Reconciler{Client: mgr.GetClient(), Clock: clock.RealClock{}}).SetupWithManager(mgr)
//
// # Considerations
//
// The decisions are in the pure packages internal/policy and internal/rollout; this reconciler fetches their input, and
// writes their result if it differs from what is there. It reads policy and mitigations, and of feeds which revocation
// lists they hand out, but never servers: one plan per pool serves them all. If policy cannot be understood, the plan stays as it is, and the status of the pool and of the
// configuration say so (package fleet).
//
// Changes of a pool or a configuration are acted on at once. Changes of Mitigations come in bursts, one per entry of a
// document, and are gathered for half a second, and so are changes of revocation lists. A new list is one write per pool, by
// which all its servers learn that there is one.
package rollout
