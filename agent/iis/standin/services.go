package standin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/winpath"
	"mitigation.dev/ems/agent/journal/durable"
)

// ServiceEntry is one service in the file of services.
type ServiceEntry struct {
	Name      string               `json:"name"`
	StartType control.StartType    `json:"startType"`
	State     control.ServiceState `json:"state"`
	// DependsOn names the services that must run for this one to run.
	DependsOn []string `json:"dependsOn,omitempty"`
}

// Services are the services that a file of the tree lists; a tree without the file has none.
type Services struct {
	root string
	fs   durable.FS
	mu   sync.Mutex
}

var _ control.ServiceController = (*Services)(nil)

// NewServices makes a controller for the tree below root. A nil fs is the file system of the machine.
func NewServices(root string, fs durable.FS) *Services {
	if fs == nil {
		fs = durable.OS{}
	}
	return &Services{root: root, fs: fs}
}

// StatePath is the file that holds the services: a JSON array of ServiceEntry.
func (s *Services) StatePath() (string, error) {
	dir, err := winpath.Find(s.root, winpath.System32...)
	if err != nil {
		return "", fmt.Errorf("services: %w", err)
	}
	return filepath.Join(dir, "services.json"), nil
}

// Set puts these services in place of all that there are.
func (s *Services) Set(list []ServiceEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(list)
}

// Query implements control.ServiceController.
func (s *Services) Query(_ context.Context, service string) (control.Service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, i, err := s.find(service)
	if err != nil {
		return control.Service{}, err
	}
	return control.Service{StartType: list[i].StartType, State: list[i].State}, nil
}

// SetStartType implements control.ServiceController.
func (s *Services) SetStartType(_ context.Context, service string, start control.StartType) error {
	switch start {
	case control.StartAutomatic, control.StartDelayed, control.StartManual, control.StartDisabled:
	default:
		return fmt.Errorf("services: %q: start type %q: not known", service, start)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list, i, err := s.find(service)
	if err != nil {
		return err
	}
	list[i].StartType = start
	return s.write(list)
}

// Start implements control.ServiceController. Like the real one it starts what the service depends on.
func (s *Services) Start(_ context.Context, service string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, i, err := s.find(service)
	if err != nil {
		return err
	}
	if list[i].State == control.ServiceRunning {
		return fmt.Errorf("services: %q: %w", service, control.ErrServiceRunning)
	}
	if err := start(list, i, len(list)); err != nil {
		return fmt.Errorf("services: %q: %w", service, err)
	}
	return s.write(list)
}

// start starts a service after those that it depends on. A chain longer than the list is a circle.
func start(list []ServiceEntry, i, left int) error {
	switch {
	case list[i].State == control.ServiceRunning:
		return nil
	case list[i].StartType == control.StartDisabled:
		return control.ErrServiceDisabled
	case left == 0:
		return errors.New("depends on itself")
	}
	for _, name := range list[i].DependsOn {
		j := slices.IndexFunc(list, func(e ServiceEntry) bool { return strings.EqualFold(e.Name, name) })
		if j < 0 {
			return fmt.Errorf("it depends on %q: %w", name, control.ErrServiceNotFound)
		}
		if err := start(list, j, left-1); err != nil {
			return fmt.Errorf("it depends on %q: %w", name, err)
		}
	}
	list[i].State = control.ServiceRunning
	return nil
}

// Stop implements control.ServiceController.
func (s *Services) Stop(_ context.Context, service string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, i, err := s.find(service)
	if err != nil {
		return err
	}
	if list[i].State == control.ServiceStopped {
		return fmt.Errorf("services: %q: %w", service, control.ErrServiceNotRunning)
	}
	for _, other := range list {
		needs := slices.ContainsFunc(other.DependsOn, func(name string) bool { return strings.EqualFold(name, service) })
		if needs && other.State != control.ServiceStopped {
			return fmt.Errorf("services: %q: %q is running: %w", service, other.Name, control.ErrDependentsRunning)
		}
	}
	list[i].State = control.ServiceStopped
	return s.write(list)
}

// Reboot starts what starts automatically and stops the rest.
func (s *Services) Reboot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.read()
	if err != nil {
		return err
	}
	for i := range list {
		list[i].State = control.ServiceStopped
	}
	for i := range list {
		if t := list[i].StartType; t == control.StartAutomatic || t == control.StartDelayed {
			// One that cannot start stays stopped, and the server runs all the same.
			_ = start(list, i, len(list))
		}
	}
	return s.write(list)
}

func (s *Services) find(service string) ([]ServiceEntry, int, error) {
	list, err := s.read()
	if err != nil {
		return nil, 0, err
	}
	for i := range list {
		if strings.EqualFold(list[i].Name, service) {
			return list, i, nil
		}
	}
	return nil, 0, fmt.Errorf("services: %q: %w", service, control.ErrServiceNotFound)
}

func (s *Services) read() ([]ServiceEntry, error) {
	path, err := s.StatePath()
	if err != nil {
		return nil, err
	}
	var list []ServiceEntry
	if err := readJSON(s.fs, path, &list); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("services: %w", err)
	}
	return list, nil
}

func (s *Services) write(list []ServiceEntry) error {
	path, err := s.StatePath()
	if err != nil {
		return err
	}
	if err := writeJSON(s.fs, path, list); err != nil {
		return fmt.Errorf("services: %w", err)
	}
	return nil
}
