package rewrite

import (
	"syscall"
	"time"
)

// processorTime returns the time that processors have spent on this process, or false if it
// is not known.
func processorTime() (time.Duration, bool) {
	process, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, false
	}
	var created, exited, kernel, user syscall.Filetime
	if syscall.GetProcessTimes(process, &created, &exited, &kernel, &user) != nil {
		return 0, false
	}
	return spent(kernel) + spent(user), true
}

// spent reads a span of time. Filetime.Nanoseconds is for points in time, since 1970.
func spent(t syscall.Filetime) time.Duration {
	const unit = 100 * time.Nanosecond
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * unit
}
