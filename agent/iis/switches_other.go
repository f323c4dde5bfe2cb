//go:build !windows

package iis

import "mitigation.dev/ems/agent/iis/effective"

// readSwitches finds nothing outside Windows, so that everything has its default.
func readSwitches() effective.Registry { return effective.Registry{} }
