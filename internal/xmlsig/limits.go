package xmlsig

import "time"

// Limits on a document, all judged on its raw tokens before a tree is built. They follow
// docs/document-format.md (section Signature, limits). Each has a known attack behind it; together they
// bound the worst document to 0.3 seconds and 64 MiB of short-lived allocations (BenchmarkWorstBody, BenchmarkRefused).
const (
	// MaxDocumentBytes bounds the document. It is carried base64-encoded in one custom resource:
	// 1 MiB * 4/3 = 1.34 MiB stays below the 1.5 MiB that etcd takes in one request.
	MaxDocumentBytes = 1 << 20
	// MaxDepth bounds nesting. A rewrite rule of a 1.1 document lies at depth 11; finding the namespace of a prefix
	// takes longer with every level.
	MaxDepth = 16
	// MaxElements bounds the number of elements: 256 Configs of 32 Actions are 8,192 elements, the rest is
	// for rules. Cost of verification is per element (about 10 microseconds), not per byte.
	MaxElements = 20_000
	// MaxAttributes bounds the attributes of one element, namespace declarations included.
	MaxAttributes = 64
	// MaxDocumentAttributes bounds the attributes of all elements together: 1 MiB / 16 bytes, so that only documents of very
	// short attributes ever meet it. Without it 1 MiB holds 200,000 attributes, which cost 0.36 seconds and 81 MB.
	MaxDocumentAttributes = 1 << 16
	// MaxNamespaceDeclarations bounds the declarations outside the Signature in the whole document.
	// 20,000 elements times 2,000 namespaces in scope are the document that cost 8 seconds.
	MaxNamespaceDeclarations = 8
	// MaxSignatureNamespaceDeclarations bounds those inside the Signature. The profile needs two
	// (XML Signature and the counter-signature); some signers repeat them on every child.
	MaxSignatureNamespaceDeclarations = 16
	// MaxNamespaceBytes bounds one namespace name. Exclusive canonicalisation may repeat a declaration on
	// every element.
	MaxNamespaceBytes = 256
	// MaxComments bounds comments. They are not signed, so that anybody can add them: each is a node of the tree.
	MaxComments = 256
	// MaxCanonicalBytes bounds the canonical form, estimated from above in the pre-scan. Escaping can
	// multiply by six (a quotation mark) and repeated declarations by more.
	MaxCanonicalBytes = 2 << 20
	// MaxCertificateBytes bounds one certificate. The largest public one seen here has 1.9 KiB.
	MaxCertificateBytes = 8 << 10
	// MaxCertificates bounds the certificates of one X509Data: leaf, root and three between them.
	MaxCertificates = 5
	// MaxTokenBytes bounds the decoded counter-signature token. The real one has 4.8 KB.
	MaxTokenBytes = 64 << 10
	// maxIdentityBytes bounds attribute values that are compared or put into messages.
	maxIdentityBytes = 128

	// ClockSkew is how far the clock of a time-stamping authority may be ahead of ours.
	ClockSkew = 10 * time.Minute
)
