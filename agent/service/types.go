package service

import (
	"errors"
	"time"
)

// State is how a service stands.
type State string

// The states of a service. A service that is paused or about to be is Other: ours cannot be paused.
const (
	Stopped      State = "Stopped"
	StartPending State = "StartPending"
	Running      State = "Running"
	StopPending  State = "StopPending"
	Other        State = "Other"
)

// Start types of a service.
const (
	Automatic = "Automatic"
	Manual    = "Manual"
	Disabled  = "Disabled"
)

// Errors of a Manager, for errors.Is.
var (
	ErrNotInstalled   = errors.New("service is not installed")
	ErrInstalled      = errors.New("service is installed already")
	ErrRunning        = errors.New("service runs already")
	ErrNotRunning     = errors.New("service does not run")
	ErrBeingDeleted   = errors.New("service is being removed")
	ErrNotReady       = errors.New("service cannot be controlled at the moment")
	ErrDenied         = errors.New("access is denied: an administrator has to do this")
	ErrForeign        = errors.New("another program has a service of this name")
	ErrTakesTooLong   = errors.New("service takes too long")
	ErrEndedAtOnce    = errors.New("service ended")
	ErrUnsafeLocation = errors.New("folder may be writable for others than administrators")
)

// Status is what is known of a service.
type Status struct {
	State State
	// PID is that of its process, 0 for none.
	PID uint32
	// ExitCode is what the service ended with: an error code of Windows or, if Specific, one of the service itself.
	ExitCode uint32
	Specific bool
	// StartType is Automatic, Manual, Disabled or empty for another one.
	StartType string
	// Command is the command line that starts it.
	Command string
	// DependsOn are the services that are started before it.
	DependsOn []string
}

// Definition is how a service is set up.
type Definition struct {
	// Name identifies the service, DisplayName and Description are for people.
	Name, DisplayName, Description string
	// Program is the path of the executable file, Arguments are given to it.
	Program   string
	Arguments []string
	// DependsOn names services that are started before. Those that the machine does not have are left out, and so are
	// disabled ones: with them the service could never start.
	DependsOn []string
	// Restarts are how long after its first, second and any further failure the service is started again.
	Restarts []time.Duration
	// FailuresForgotten is the time without a failure after which the next one counts as the first again.
	FailuresForgotten time.Duration
	// PreShutdown is how long the service has to stop before Windows shuts down.
	PreShutdown time.Duration
}

// Manager is what is needed of a service control manager. Its calls return when the manager has taken them; what follows
// from them is seen by Query.
type Manager interface {
	// Query fails with ErrNotInstalled for an unknown service.
	Query(name string) (Status, error)
	// Create makes a service that starts automatically.
	Create(Definition) error
	// Configure makes an existing service what Create would have made.
	Configure(Definition) error
	Start(name string) error
	Stop(name string) error
	// Delete marks a service for removal, which happens once it is stopped and nobody has it open.
	Delete(name string) error
}
