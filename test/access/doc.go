// Package access holds the tests of who may do what: with the roles of config/rbac and the policies of config/admission installed
// on a real API server, every resource that it serves is tried with every verb and real credentials of an agent, a pool
// operator, a viewer, an administrator and the manager.
//
// # Usage
//
//	go test ./test/access                              # needs the control plane that make controlplane builds
//	go test ./test/access -run TestAccess -args -update   # writes what was found to docs/reference/access.md
//
// # Considerations
//
// What is allowed stands in docs/reference/access.md, and the test fails on any difference, in both directions. A change of that
// page is a change of rights and is to be read as one. Requests that write are dry runs: they pass authorization and admission
// and change nothing, so that one cell cannot spoil the next.
package access
