// Package feedtrust turns the trust policy of a MitigationFeed into what documents are verified by. The manager and commands that
// read a cluster judge documents with it alike.
//
// # Usage
//
//	policy, err := feedtrust.Policy(feed.Spec.Trust).Compile()
//	authorities := feedtrust.Authorities(document, policy, now) // who may have signed the revocation lists beside it
//	signed, err := xmlsig.Verify(document, policy, now)
//
// # Considerations
//
// Agents do not use it: their policy is a file on the server's own disk, so that a cluster in foreign hands cannot change it.
package feedtrust
