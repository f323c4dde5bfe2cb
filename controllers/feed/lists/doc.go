// Package lists keeps the certificate revocation lists of a feed: it fetches them, keeps the newest that an authority of the
// feed has signed, and says when to fetch again.
//
// # Usage
//
//	fetched, err := lists.Fetch(ctx, urls, request)
//	book.Note(fetched)
//	refused := book.Settle(configured, authorities, now)
//	policy.Revocation.CRLs = append(policy.Revocation.CRLs, book.Known()...)
//	next := book.Next(now, interval, maxAge)
//
// # Considerations
//
// Lists come from hosts of their own, often over plain http, and anybody on the way can make up one. What was fetched is
// therefore kept apart until an authority is found that signed it: one that the policy or a document names which is genuine but
// for revocation. Only then may it take the place of an older one. Package xmlsig looks at the signature of every list again.
//
// Nothing here fails in the sense that something is lost: a list that cannot be fetched leaves the one that is there.
package lists
