// Package threats tests what an attacker between publisher and server, or with a part of the publisher's keys, can reach.
//
// Every row of the table is one attack of The Update Framework's threat model (its specification, section 1.5.2), adapted
// to a feed that is one signed document. It says what the attacker has, what is served step by step, and which check
// must refuse it. A document takes the way that it takes in the manager and in the agent: over HTTP through package fetch,
// then packages xmlsig, ocs and replay, with what was accepted before as the only memory. Revocation lists that the cluster
// carries go through package revocation as they do in the agent.
//
// # Considerations
//
// The packages have tests of their own for the details. Here the question is whether they close the gap together, so
// nothing but their exported names is used, and each step names the check that answers: an attack that is refused for
// another reason is not understood.
//
// What no check of a document can do is seen here as well: a frozen feed goes on to be what it was, because taking
// protection away when a publisher falls silent would turn the freeze into an attack. That people hear of it is the
// business of the feed controller's condition Fresh.
package threats
