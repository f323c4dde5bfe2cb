// Package feed turns the signed documents of MitigationFeeds into MitigationBundles and Mitigations.
//
// # Usage
//
//	err := (&feed.Reconciler{Client: …, Reader: mgr.GetAPIReader(), Namespace: "ems-system", …}).SetupWithManager(mgr)
//
// # Considerations
//
// A poll goes read, verify, guard against replay, store the bundle, write the Mitigations; it stops at the first step
// that fails, and everything accepted before stays as it is. Nothing here removes protection but the publisher's own word:
// a newer genuine document that no longer lists a mitigation withdraws it.
//
// Package push tells when an endpoint has another document; that makes a poll due and does nothing else. Package lists keeps the
// revocation lists by which documents are judged. They are fetched before the document when there are none, are handed to the
// agents with every bundle of the feed, and reach them also while documents cannot be read or are refused: a list that revokes a
// stolen key matters most then.
//
// What was accepted is kept in objects alone, so that a restarted manager goes on where the last one stopped; only the
// times of the next poll and of the next fetch of lists are kept in memory, and a restart at worst polls once too early.
//
// Deleting a feed deletes nothing else: bundles and Mitigations stay, and so does what servers have applied.
package feed
