// Package incidents plays the faults of other people's worst days through the running system: real manager, real agents, real
// API server. Each must be refused, or be held on the first server and taken back there; no process may crash, and no server
// outside of the first stage may change.
//
// The incidents are those of Cloudflare (2 July 2019, 18 November and 5 December 2025), CrowdStrike (19 July 2024), Google
// (12 June 2025), Microsoft's FIP-FS (1 January 2022) and the five forms of the mitigation of CVE-2022-41040.
package incidents
