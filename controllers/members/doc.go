// Package members lists the servers of a pool from the manager's cache.
//
// # Usage
//
//	err := members.Index(ctx, mgr.GetFieldIndexer())
//	servers, err := members.Of(ctx, mgr.GetClient(), pool)
//	err = members.Pages(ctx, mgr.GetAPIReader(), look, client.MatchingLabels{...})
//
// # Considerations
//
// A pool can have ten thousand servers, so they are found by an index, and what the cache holds is not copied: whoever lists them must
// not change them. Of several managers each has the servers of its own pools; what is said of all servers is read in pages, past the cache.
package members
