// Package pki makes certificates, revocation lists and time-stamp tokens in memory.
//
// It exists for tests and the demo only. Nothing that is delivered may import it: keys have no protection
// and an authority signs whatever it is asked to.
//
// # Usage
//
//	p, err := pki.New(now)                        // root -> issuing CA -> code-signing leaves, and a time-stamping authority
//	p.RSA.Key, p.RSA.Chain()                      // to sign with
//	p.TSA.Timestamp(signatureValue, now)          // an RFC 3161 token
//	leaf, err := p.Issuing.Issue("Expired", pki.Validity(from, to)) // anything else
//	list, err := p.Issuing.RevocationList(now, now.Add(time.Hour), leaf)
//
// # Considerations
//
// Every call makes new keys, so a fixture is best made once per test binary. RSA keys take about
// a tenth of a second each.
package pki
