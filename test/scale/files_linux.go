package main

import (
	"fmt"
	"syscall"
)

// enoughFiles makes room for the files that agents hold open: each has a connection, and every second one may be at work with others.
func enoughFiles(servers int) error {
	const others = 500
	need := uint64(servers + servers/2 + others) //nolint:gosec // not negative
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if limit.Cur >= need {
		return nil
	}
	// Processes get this limit, too: the API server has a connection to each agent.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: need, Max: max(need, limit.Max)}); err != nil {
		return fmt.Errorf("limit of open files: %d, and %d servers need %d: %w; use `ulimit -Hn %d`, or fewer servers", limit.Cur, servers, need, err, need)
	}
	return nil
}
