// Package replay decides whether a verified document may follow what was accepted of its feed before. A signature says who
// published a document; this package says that it is not an old one, nor one from the future.
//
// # Usage
//
//	if err := replay.Check(seen, candidate, acceptUndated, now); err != nil {
//		var refusal *replay.Error
//		if errors.As(err, &refusal) && refusal.Reason == replay.RolledBack { … }
//		return err
//	}
//	seen = seen.After(candidate) // and write it down before the document is used
//
// Manager and agent keep what they have seen on their own and use the same functions.
//
// # Considerations
//
// The rules stand in docs/document-format.md: a sequence never goes back, one sequence number stands for one document, a
// jump of more than [MaxSequenceJump] is refused (a publisher's slip, or a stolen key, would otherwise use up all numbers at
// once and lock the feed) unless the operator allows this one with [Seen].JumpTo, issued lies at most [MaxClockSkew] ahead, an expired document is not newly accepted. Documents
// of version 1.0.4 carry none of that; their order is the time of the counter-signature.
//
// The very document that was accepted last is always fine, expired or not: expiry must never take protection away. Callers
// that keep several documents in use at once (an agent while a newer one is being staged) remember the digests themselves.
//
// A feed that has shown a sequence cannot go back to documents without one, and a feed that has shown signing times cannot go
// back to documents without: the counter-signature is not covered by the signature, so whoever replays an old document
// could simply leave it out.
package replay
