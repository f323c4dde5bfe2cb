// Package revocation selects certificate revocation lists: it parses lists from foreign hands, keeps the newest of each
// issuer, and never takes an older one for a newer one. The manager uses it for lists that it fetches, the agent for
// lists that it is handed with a bundle.
//
// # Usage
//
//	list, err := revocation.Parse(der)
//	err = list.VerifyBy(authorities, now)
//	lists, refused := revocation.Merge(have, []*revocation.List{list})
//	lists, dropped := revocation.Fit(lists) // what a MitigationBundle can carry
//	digest := revocation.Digest(lists)
//
// # Considerations
//
// Whoever carries lists can hold newer ones back or bring older ones again, on which a stolen key is not yet named. Holding
// back is noticed by age: [Current], and package xmlsig in mode Require. Bringing older ones is what [Merge] refuses: neither
// the number (RFC 5280, section 5.2.3) nor the time of a list of an issuer ever goes back.
//
// An issuer is a name together with the identifier of its key, since an authority that has renewed its key goes on to
// publish a list under each, and one must not displace the other.
//
// Only complete lists are taken ([Parse] refuses those with critical extensions: delta lists, and lists of one distribution
// point). One list per issuer is kept, so a partial one would displace the complete one. The PEM bundle of a trust policy
// is not parsed here and may hold partial lists; there the entries of all lists count side by side.
//
// Lists are not verified when they are parsed, because the authorities that sign them are known from documents and come
// later; package xmlsig verifies each list again whenever it looks for an entry in it.
package revocation
