// Package metricsfile writes what an agent does as Prometheus metrics into a file, for the textfile collector of windows_exporter or
// node_exporter. An agent listens on no port.
//
// # Usage
//
//	f := metricsfile.New(metricsfile.Options{Path: `C:\…\ems-agent.prom`, Clock: clock.RealClock{}, Log: log})
//	go f.Run(ctx)
//	f.Pass(metricsfile.Pass{…}) // after each pass
//	f.Contact(now)              // whenever the API server answered
//
// A nil *File takes all of it and does nothing.
//
// # Considerations
//
// The file is exchanged as a whole, so that a collector never reads half of it; beside it a file with another ending exists for a
// moment, which collectors leave alone. It is written after a change, at most every 15 seconds, the shortest time in which anybody
// scrapes. On Windows a reader that has the old file open can keep it from being exchanged: the next try is 15 seconds later.
//
// Counters begin with the process, as Prometheus expects it. Labels are of the mitigations of one server, up to a limit.
//
// The file is left behind when the agent stops. ems_agent_last_pass_timestamp_seconds says how old it is.
package metricsfile
