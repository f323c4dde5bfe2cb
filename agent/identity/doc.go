// Package identity says what the identity of a server in the cluster consists of: the names and limits that enrolment, the agent and
// the admission policies agree on, and the enrolment string that carries the first credential to the server.
//
// # Usage
//
//	text, err := identity.Ticket{URL: url, CA: certificates, Namespace: "pool-frontends", Pool: "frontends", Server: "fe01", Token: token}.Encode()
//	ticket, err := identity.Decode(text)
//
// # Considerations
//
// A server is a ServiceAccount of the same name in the namespace of its pool. Its tokens are bound to one of two Secrets without
// content that exist to be deleted: a token is refused as soon as its Secret is gone. See docs/decisions/0009.
//
// The string is made to be pasted by people: one word of printable characters that no shell takes for something else. It names the
// server, so that one that got into the wrong window is refused, and holds the certificates of the authority that the API server is
// trusted by, so that nobody in between can take its place. It is not signed: what it says wrongly, the API server refuses.
package identity
