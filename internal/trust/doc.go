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
//	    levels: {subject: Log}      # report and accept; all other checks refuse
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
// Four checks have a level: issuerPins, subject, extendedKeyUsages, revocation. Log is for trying a check out before it is
// enforced, or for living through a publisher's mistake; it accepts exactly what leaving the check out would accept, and says
// each time what it would have refused. There is no level for the rest, and none that stands for all checks: a policy from
// which every check was taken by one word looks too much like one that has them.
//
// Anchors that run out silence a feed without anybody's doing; [Expiring] finds them in time.
package trust
