// Package fromapi turns objects of the API into the values that policy and rollouts are decided from, and the memory of a rollout into
// its part of a MitigationPlan and back. Manager, command line and metrics all come through here, so that they cannot read a field in
// different ways.
//
// # Usage
//
//	configurations, err := fromapi.InScope(pool, all)
//	decision, next := policy.ForPool(mitigation, fromapi.Configurations(configurations), fromapi.Pool(pool), now)
//
// # Considerations
//
// Only the shape changes here; nothing is decided. What cannot be used is an error that names object and field, and never a default:
// a block must not be lost to a typing error, nor a window.
package fromapi
