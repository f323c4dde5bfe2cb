package main

import (
	"os"
	"runtime/debug"
)

// gcPercent makes the agent collect garbage at half of Go's usual growth. An idle agent has about 4 MiB alive, so that it holds
// some MiB less, at milliseconds of work a minute. A limit of memory was rejected: verifying a document of the largest size needs
// far more than an idle agent for some seconds, and near a limit that would take the processor from a server that is busy enough.
const gcPercent = 50

// saveMemory is for the agent itself, which is there all the time. Who sets GOGC knows better.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
