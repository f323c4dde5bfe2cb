// Package keycheck holds the bounds of public keys, for signers, time-stamping authorities and trust anchors alike.
//
// # Usage
//
//	if err := keycheck.Check(certificate.PublicKey); err != nil { ... }
//
// # Considerations
//
// Keys are checked before they are used. crypto/x509 takes RSA keys of 1,024 bits, which are too weak, and
// keys of any length above, which make one verification arbitrarily slow.
package keycheck
