//go:build !windows

package facts

// Registry finds nothing outside Windows.
func Registry() (Facts, error) { return Facts{}, nil }
