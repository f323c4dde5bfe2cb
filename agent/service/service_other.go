//go:build !windows

package service

import (
	"errors"
	"fmt"
)

// Run fails: only Windows starts services in this way.
func Run(name string, _ Program) (exitCode uint32, err error) {
	return ExitFailed, fmt.Errorf("service %s: this is no Windows: %w", name, errors.ErrUnsupported)
}

// Connect fails: there is no service control manager.
func Connect() (Manager, error) {
	return nil, fmt.Errorf("service control manager: this is no Windows: %w", errors.ErrUnsupported)
}

// Harden has nothing to do: the loader of this system does not look into the working folder.
func Harden() error { return nil }

// SecureFolder fails: only Windows has its access control lists.
func SecureFolder(path string) error {
	return fmt.Errorf("folder %s: this is no Windows: %w", path, errors.ErrUnsupported)
}
