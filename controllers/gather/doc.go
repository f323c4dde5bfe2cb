// Package gather holds an event handler that bounds how often an object is reconciled when others change in bursts: a
// pool when thousands of servers report, every pool when a document brings hundreds of mitigations.
//
// # Usage
//
//	Watches(&emsv1.PoolServer{}, gather.Handler(time.Second, poolOf))
//
// # Considerations
//
// The first change of a burst starts the wait, later ones join it, so a steady stream of changes is acted on once per
// wait and never put off for longer.
package gather
