// Package shadow lets a server be changed without changing it, and notes what is changed on it.
//
// # Usage
//
// NewFiles, NewPools and NewServices stand in front of what is really there: reads see it, and changes stay in memory,
// where later reads see them. A Log stands in front of either and notes which files became different, and what was stopped
// and started:
//
//	log := shadow.NewLog(stateDir)
//	server, err := iis.New(iis.Options{FS: log.Files(files), Pools: log.Pools(pools), Services: log.Services(services), …})
//	changes, err := log.Changes()
//
// # Considerations
//
// A preview goes the very way of the real change, step by step, so that it cannot promise something else. What it cannot
// know is how a running system answers: that a pool does not stop in time, that other services depend on one, or that a
// file is held by another program.
package shadow
