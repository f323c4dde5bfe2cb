// Package heartbeat holds what agents and the manager have to agree on about Leases: how often a server shows that it is alive, and
// after which time without that it counts as silent.
//
// # Considerations
//
// The manager says the period in the plan, the agent writes the time until it would be silent into its Lease, and the manager goes by its
// own clock. If both did not compute the same, a server could be called silent between two renewals that are on time.
package heartbeat
