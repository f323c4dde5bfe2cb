// Package tree is the command "tree": which feed brings which mitigations, to which pools they go and how far, and which servers are
// not as they are wished.
//
// # Usage
//
//	for _, c := range tree.Commands() { ... }
//	picture := tree.Grow(fleet, tree.Choice{})
//
// # Considerations
//
// Thousands of servers stay readable: a server is named only if it is not as wished, at most five of a pool one by one, and the others
// are counted; pools where all is well are one line for each mitigation, and those beyond the limit are counted by state. -o json has
// each of them.
//
// How a server stands comes from package insight, how a rollout stands from package rolloutcmd.
package tree
