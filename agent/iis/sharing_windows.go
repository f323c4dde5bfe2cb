package iis

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isSharingViolation reports whether another program has the file open in a way that keeps us out.
func isSharingViolation(err error) bool {
	// ReplaceFileW gives the last two when the target is open elsewhere.
	for _, code := range []error{windows.ERROR_SHARING_VIOLATION, windows.ERROR_LOCK_VIOLATION,
		windows.ERROR_UNABLE_TO_REMOVE_REPLACED, windows.ERROR_UNABLE_TO_MOVE_REPLACEMENT} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}
