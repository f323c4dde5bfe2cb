//go:build !windows

package eventlog

import (
	"errors"
	"fmt"
)

// openSystem gives none: other systems have their own ways for what a program writes.
func openSystem() (writer, error) { return nil, nil } //nolint:nilnil // no event log is no failure

// Install fails: only Windows has an event log.
func Install() error {
	return fmt.Errorf("event log: this is no Windows: %w", errors.ErrUnsupported)
}

// Remove fails: only Windows has an event log.
func Remove() error {
	return fmt.Errorf("event log: this is no Windows: %w", errors.ErrUnsupported)
}
