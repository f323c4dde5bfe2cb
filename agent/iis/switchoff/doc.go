// Package switchoff keeps application pools and services off, and brings them back exactly as they were.
//
// # Usage
//
// A Keeper is made once per process. Off switches one Target off, or sees that it still is; it is called for every target
// on every pass. Restore brings back what is wanted off no more. Prerequisites says what else has to be off meanwhile. What
// was there before is kept through Records, on the disk, before the first change.
//
// # Considerations
//
// A pool that is off is stopped; its settings in the configuration file, without which the next start of the server would
// bring it back, are for package apphost. A service that is off is disabled, then stopped, in this order, so that nothing
// can start it in between; this is what the mitigations of Exchange do (ExchangeMitigations.ps1), except that these restore
// constants and we restore what was there. A service that was paused is running afterwards: nobody pauses one for good.
//
// Dependents of a service are not stopped along with it. They would be off without any mitigation saying so; a publisher
// who means it names them, in front of the service.
//
// Other programs may want the opposite. A target that was found on again once is switched off at once, since somebody may
// have restarted it without thinking. From the second time on the pauses grow, from backOff to maxBackOff, and StateContested
// tells the operator; it is withdrawn when calm has passed in peace. Counts are kept in memory: an agent that starts anew
// tries anew. A target that does not come to rest is waited for once and then only looked at for a while, so that it does
// not hold up all the others.
package switchoff
