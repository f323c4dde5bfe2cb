// Package xmlsig verifies and makes the enveloped XML signature of a mitigation document.
//
// It is a closed profile of XML Signature 1.0, not a general implementation: what the profile does not
// name is refused. The profile stands in docs/document-format.md (section Signature); it accepts what the
// real Office Config Service publishes (C14N 1.0, a KeyValue beside the certificates, an RFC 3161
// counter-signature) and the plainer forms that other signers make.
//
// # Usage
//
//	signed, err := xmlsig.Verify(document, policy, now)
//	if err != nil {
//		var refusal *xmlsig.Error
//		if errors.As(err, &refusal) && refusal.Class == xmlsig.ClassRevoked { ... }
//		return err
//	}
//	parse(signed.Canonical) // and never the document that came in
//
// [Sign] makes such a document. [Policy] says whom to trust; package trust reads it from a file.
//
// # Considerations
//
// Four checks of the signer have a level ([Levels]): issuer pins, subject, further extended key usages and revocation. A
// failed check whose level is Log becomes a [Finding] of an accepted document. That is for trying a check out before it is
// enforced: Log accepts exactly what leaving the check out accepts, and neither the other checks nor the steps that say
// whose content it is, and that it is unchanged, are touched by it.
//
// Order is part of the protection. Size and raw tokens are judged before anything builds a tree or
// canonicalises, because a body of 130 KB can otherwise cost seconds and gigabytes. The signer's
// certificates are judged before any public-key operation on the document, because a key that nobody
// trusts has nothing to prove. Only the bytes that were digested are returned: a second parser that
// reads the input again may see another document than the one that was signed.
//
// A signed document is identified by [Signed].Digest. The raw bytes are no identity: white space in
// base64, the order of KeyInfo and an ECDSA s can change without breaking the signature.
//
// Every step has a mutant without it in hack/mutation, and a test that notices. A new step gets both.
//
// A signature says who published a document, not that it is the newest one. Sequence, issue and expiry
// are the business of the caller.
//
// Canonicalisation is done by package c14n; docs/decisions/0005-own-canonicaliser.md says why. goxmldsig remains in the tests, as a
// second opinion. Its Validate is no alternative to this package: it cannot verify a conforming ECDSA signature, builds no
// certificate chain and gives up after 1000 elements.
package xmlsig
