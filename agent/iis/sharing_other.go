//go:build !windows

package iis

// isSharingViolation is always false: only Windows has such locks.
func isSharingViolation(error) bool { return false }
