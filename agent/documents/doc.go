// Package documents brings the signed documents that a plan refers to: it fetches them, verifies them under the trust policy
// on the server's own disk, accepts them in order, and keeps them for the time without a network.
//
// # Usage
//
//	store, err := documents.New(documents.Options{Dir: dir, TrustFile: path, Source: cluster, Memory: memory, Clock: clock, Log: log})
//	refused := store.Learn(ctx, plan.RevocationLists(), plan.Documents()) // what is not believed of the lists, and why
//	found := store.Load(ctx, plan.Documents()) // an answer for each: content or the reason why not
//
// A document that was carried to the server has no plan: Identify says what a plan would call it. With DryRun nothing is
// accepted.
//
// # Considerations
//
// A document is trusted under the policy of the feed that the plan names and under no other; a feed that the trust
// file does not know is not trusted. Everything that comes from the cluster is foreign: names, digests, bytes.
//
// The order is: verify the signature, compare the digest, parse, check for replay, remember (flushed to the disk), use.
// Documents of one feed are accepted in the order of their sequence, whatever their order in the plan, because a plan
// may hold an older and a newer document while the newer one is being staged. A document that was accepted once stays
// usable: that is how a revision of before comes back when its successor is reverted. One that this server never
// accepted is refused once a newer one has been; a new server that finds a fallback and its successor in one plan accepts both
// in one go.
//
// A sequence that jumps is accepted only up to acceptSequence of the feed in the trust file: the word of somebody with rights on
// this server, never of the cluster.
//
// What a check finds whose level in the trust file is Log is logged once for each document, and [Store.Findings] has it for
// the report. It changes nothing else.
//
// The original bytes of accepted documents are kept beside the memory, at most [MaxKept], and verified again by every new
// process, and whenever the trust file changes. A signer's certificate that ran out after the document was accepted does
// not count against it: it is then judged for the time at which it was accepted. Nor do revocation lists that ran out since. A
// root or an issuer that the trust file no longer lists, or a revocation, does count.
//
// Revocation lists come from the trust file and, by [Store.Learn], from the cluster; whether they are looked at is for the trust
// file alone to say. A list from the cluster is believed when an authority has signed it that stands between a root of the
// trust file and the signer or the time-stamping authority of a document: the one beside the list, or one of the plan. It never
// takes the place of a newer one of the same issuer, also after a restart, and stays when it is no longer handed out. In the
// verification all lists count side by side, so that no list, however new, gives a certificate back that another one names.
package documents
