// Package trust holds the trust policy: which signers of mitigation documents are believed.
//
// An agent reads it from a file on its own disk, never from the cluster, so that whoever controls the cluster
// cannot point trust elsewhere. The manager takes the same structure from the feed's specification.
//
// # Usage
//
//	file, err := trust.ParseFile(content)
//	policy, ok := file.Feeds["contoso"]
//	verifierPolicy, err := policy.Compile()
//	signed, err := xmlsig.Verify(document, verifierPolicy, now)
//
// A file looks like this:
//
//	apiVersion: ems.mitigation.dev/trust/v1
//	feeds:
//	  contoso:
//	    roots: |
//	      -----BEGIN CERTIFICATE-----
//	      ...
//	    issuerPins: [5a0c...]       # hex SHA-256 of the issuing CA's public key
//	    subject: {organization: Contoso, commonName: Contoso Mitigation Signing}
//	    extendedKeyUsages: [1.3.6.1.4.1.311.76.57.1.11]
//	    timestampRoots: |
//	      ...
//	    revocation: {mode: Prefer, crls: ..., maxAgeSeconds: 604800}
//	    undatedDocuments: Refuse
//	    acceptSequence: 120000      # one jump of the sequence that is meant, see docs/operations/troubleshooting.md
//
// # Considerations
//
// Trust is per feed: a document is judged under the policy of the feed that it is said to come from, so that
// the signer of one feed cannot publish in the name of another.
//
// Unknown fields and duplicate keys are errors. A misspelt issuerPins that is passed over would silently
// trust every issuer under the root.
//
// Anchors that run out silence a feed without anybody's doing; [Expiring] finds them in time.
package trust
