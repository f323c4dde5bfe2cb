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
// What was accepted is kept in objects alone, so that a restarted manager goes on where the last one stopped; only the
// time of the next poll is kept in memory, and a restart at worst polls once too early.
//
// Deleting a feed deletes nothing else: bundles and Mitigations stay, and so does what servers have applied.
package feed
