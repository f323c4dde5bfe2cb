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
// The package fails static. Only three things take a mitigation away: the plan says Remove, the verified document and the
// facts say that the server does not need it, or an explicit block of all there is. A document that is missing, expired,
// rolled back or not trusted, a plan that is missing or does not mention a mitigation, and every contradiction leave in
// place what is in place.
package enforce
