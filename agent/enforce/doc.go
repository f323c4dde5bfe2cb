// Package enforce is the pure middle of the agent: from the pool's plan, the verified documents, the facts of the server and
// what is in place on it, it decides what shall be in place, and says for every mitigation where it stands and why.
//
// # Usage
//
//	decision := enforce.Decide(enforce.Input{Server: "fe01", Plan: plan, Documents: documents, Applied: applied, Facts: facts})
//	outcomes, err := server.Reconcile(ctx, decision.Wanted)
//	results := enforce.Conclude(decision, outcomes, err, appliedAfterwards)
//
// # Considerations
//
// The plan comes from the cluster, which may be in wrong hands: it chooses among signed contents and never brings any.
// What is put in place is exactly a Config of a document that this server verified itself, less the actions that
// policy blocks; the plan's digest and revision must match it.
//
// Samples of the Config and must-pass requests of the plan go with what shall be in place; package iis tries them before it
// changes anything.
//
// The package fails static. Only these take a mitigation away: the plan says Remove, the verified document and the
// facts say that the server does not need it, an explicit block of all there is, and what makes a server worse. A document that
// is missing, expired, rolled back or not trusted, a plan that is missing or does not mention a mitigation, and every
// contradiction leave in place what is in place. A block or a suspension of one mitigation ends on the server too, by the
// clock; then nothing is done until the manager has planned anew.
//
// A rollout reaches servers by the release. One that it has not reached keeps what it has, or gets the fallback of the plan;
// when the rollout is taken back, everybody goes to the fallback. A server that stages cannot count, since the cluster has no
// PoolServer of it in the pool, is reached when the rollout is complete. What a server has not been released to is not judged by the
// new document either: a revision that is made for nobody by mistake would take the mitigation off every server at once.
//
// What is put in place under a rollout goes through a gate (package gate), and [History] is what the server remembers of
// it: the record, the rollouts that failed here, which are never tried again, and the last two contents that were good here.
// A rollout that fails here is taken back: to the fallback, else to the last good content, else to nothing. While the plan
// itself takes servers back, only the fallback counts. [Watch] has the rule for several mitigations under observation at once.
package enforce
