//go:build !windows

package scm

import (
	"context"
	"errors"
	"fmt"

	"mitigation.dev/ems/agent/iis/control"
)

// Manager is the service control manager.
type Manager struct{}

var _ control.ServiceController = Manager{}

// New makes a controller of the services of this machine.
func New() Manager { return Manager{} }

func unsupported(service string) error {
	return fmt.Errorf("services: %q: this is no Windows: %w", service, errors.ErrUnsupported)
}

// Query implements control.ServiceController.
func (Manager) Query(_ context.Context, service string) (control.Service, error) {
	return control.Service{}, unsupported(service)
}

// SetStartType implements control.ServiceController.
func (Manager) SetStartType(_ context.Context, service string, _ control.StartType) error {
	return unsupported(service)
}

// Start implements control.ServiceController.
func (Manager) Start(_ context.Context, service string) error { return unsupported(service) }

// Stop implements control.ServiceController.
func (Manager) Stop(_ context.Context, service string) error { return unsupported(service) }
