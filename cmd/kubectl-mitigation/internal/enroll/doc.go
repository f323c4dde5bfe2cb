// Package enroll is the verb of the plugin that makes servers members of their pools: it writes what a server's identity consists of,
// and prints the string with which the server gets its credential.
//
// # Usage
//
//	for _, command := range enroll.Commands() { ... }
//
// # Considerations
//
// Nothing here needs rights beyond the namespace of the pool, and no component beside the API server: see docs/decisions/0009.
//
// A list can be run again after some of it failed: servers that have used their string already are refused, not enrolled anew, unless
// --again says so. Those whose string is still unused get a new one.
//
// Where Secrets were deleted, the command waits until the API server has forgotten the tokens that hung on them. Otherwise a token that was
// stolen could get itself another one, bound to the new Secret, in the seconds in which it is still remembered as good. When the
// command returns, what was revoked is refused.
//
// The string is a secret until it is used. It is printed where it was asked for, and stands in no error, note or dry run.
package enroll
