// Package timestamp verifies RFC 3161 time-stamp tokens.
//
// A token says that an authority saw certain bytes (here: an XML SignatureValue) at a certain time. It lets
// a document outlive the certificate of its signer. docs/decisions/0003-timestamp-verification.md says why
// this is code of our own.
//
// # Usage
//
//	token, err := timestamp.Verify(raw, signatureValue, timestamp.Options{Roots: roots, Now: now})
//	switch {
//	case errors.Is(err, timestamp.ErrUntrusted): // genuine, from an authority we do not know: ignore it
//	case err != nil: // contradicts the message: refuse the document
//	default: judge the signer at token.Time
//	}
//
// # Considerations
//
// Tokens come as DER or as BER with indefinite lengths; [ToDER] turns the latter into the former within
// fixed bounds, because encoding/asn1 reads DER only. Anyone can take a token off a document, so ignoring
// one never grants more than its absence would.
//
// The certificates are judged at the time that the token states. A time-stamping key that is stolen after
// its certificate expired can therefore make tokens of the past; a configured time-stamping root is as
// much a matter of trust as the root of the signer. Revocation of the authority is judged by the caller,
// from [Token].Chain.
package timestamp
