// Package state keeps what the agent itself has to remember over a restart: the last plan, what it has seen and accepted
// of every feed, the revocation lists that it was handed, when it last changed the server for a mitigation, and how rollouts
// have fared here: gates, failures, and the contents to go back to.
//
// # Usage
//
//	memory, err := state.Open(dir)
//	plan, err := memory.Plan()          // nil if there is none
//	err = memory.SavePlan(plan)         // on the disk when it returns
//	feed, err := memory.Feed("contoso")
//
// # Considerations
//
// The records are those of package journal: atomic, versioned, with a checksum. A damaged record counts as none and is
// set aside by the journal; [Memory.Damaged] names it. For a plan that means waiting for the cluster, for a feed that
// means trusting the next document without comparison, which only somebody with full rights on the server can bring about.
// For the history of a mitigation it means that the gate begins anew, and that there is nothing to go back to but the plan's
// fallback.
//
// Claim keeps two agents from working with one state folder.
//
// What is in place on the server is not kept here but in the journal of package iis.
package state
