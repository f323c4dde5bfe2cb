// Package certificates holds the tests of client certificates: with config/certificates installed on a real API server, real programs
// enrol a server, renew its certificate and revoke it, and forged requests are tried.
//
// # Usage
//
//	go test ./test/certificates   # needs the control plane that make controlplane builds
//
// # Considerations
//
// The control plane of the tests has no controller manager, so the harness signs what was approved, as that does it: it copies what
// stands in the request. A request that must not be approved would therefore be worth something.
package certificates
