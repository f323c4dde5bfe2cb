//go:build unix

package rewrite

import (
	"syscall"
	"time"
)

// processorTime returns the time that processors have spent on this process, or false if it
// is not known.
func processorTime() (time.Duration, bool) {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0, false
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), true
}
