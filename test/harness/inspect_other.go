//go:build !linux

package harness

// Memory is the resident memory of a process in bytes; 0 where nobody knows.
func Memory(int) (int64, error) { return 0, nil }

// Listening lists the local addresses on which a process waits for others; none where nobody knows.
func Listening(int) ([]string, error) { return nil, nil }
