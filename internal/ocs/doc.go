// Package ocs reads and builds mitigation documents: the XML of the Office Config Service
// (EOCS) in version 1.0.4, as the real service returns it, and in version 1.1, which adds
// sequence, validity, applicability, side effects and samples.
//
// # Usage
//
// Parse takes the canonical bytes that the signature verifier has returned. It gives the
// Configs that keep every rule of the format, and a Refusal for every other. Build writes
// an unsigned document of version 1.1 for a signer. The schema eocs.xsd describes the
// format for editors and other implementations; Parse is stricter than a schema can be.
//
// # Considerations
//
// One bad Config must not keep the others from the servers, so it is refused alone: that
// is for rules inside of it, unknown elements and attributes included, since nobody can
// know what an unknown part would have restricted. Broken XML, limits and root rules
// refuse the document. Both versions are read with one vocabulary, that of 1.1, which is
// a superset. A newer minor version is read as 1.1; what it adds at the root is ignored.
//
// Whether a document is fresh, expired or older than another is not judged here: Parse
// has no clock and no memory.
//
// The content of a UrlRewrite action is checked against the schema of URL Rewrite 2.0 and
// its patterns against the grammar of IIS, because IIS answers every request of a site
// with an error if one attribute is wrong: a mistake in a mitigation must not reach a
// server. Attributes that only URL Rewrite 2.1 knows are refused for the same reason.
// Custom tags and providers are refused since the format does not name them.
package ocs
