package control

import (
	"context"
	"errors"
)

// PoolState is the run-time state of an application pool.
type PoolState string

// States of a pool. Unknown means that the service which keeps the pools does not run.
const (
	PoolStarted  PoolState = "Started"
	PoolStopped  PoolState = "Stopped"
	PoolStarting PoolState = "Starting"
	PoolStopping PoolState = "Stopping"
	PoolUnknown  PoolState = "Unknown"
)

// Errors of a PoolController that callers tell apart.
var (
	ErrPoolNotFound     = errors.New("no such application pool")
	ErrPoolNotRunning   = errors.New("application pool is not running")
	ErrPoolRunning      = errors.New("application pool is already running")
	ErrPoolsUnavailable = errors.New("application pool service is not available, or the agent lacks the right to use it")
)

// PoolController starts and stops application pools at run time. It never changes autoStart or startMode. A call may
// return before the pool has reached the new state. Errors wrap one of the four above where it fits.
type PoolController interface {
	State(ctx context.Context, pool string) (PoolState, error)
	Start(ctx context.Context, pool string) error
	Stop(ctx context.Context, pool string) error
}

// StartType says when Windows starts a service.
type StartType string

// Start types. Drivers have others, and no mitigation changes a driver.
const (
	StartAutomatic StartType = "Automatic"
	// StartDelayed is Automatic some minutes after the system has started.
	StartDelayed  StartType = "Delayed"
	StartManual   StartType = "Manual"
	StartDisabled StartType = "Disabled"
)

// ServiceState is the run-time state of a service.
type ServiceState string

// States of a service. The three that end in Pending pass by themselves, or Windows reports a failure instead.
const (
	ServiceRunning      ServiceState = "Running"
	ServiceStopped      ServiceState = "Stopped"
	ServicePaused       ServiceState = "Paused"
	ServiceStartPending ServiceState = "StartPending"
	ServiceStopPending  ServiceState = "StopPending"
	ServicePausePending ServiceState = "PausePending" // also on its way from paused to running
)

// Service is a service as it stands.
type Service struct {
	StartType StartType
	State     ServiceState
	// Process is the id of the process that the service runs in; 0 if it does not run, or if that is not known.
	Process uint32
}

// Errors of a ServiceController that callers tell apart.
var (
	ErrServiceNotFound   = errors.New("no such service")
	ErrServiceNotRunning = errors.New("service is not running")
	ErrServiceRunning    = errors.New("service is already running")
	ErrServiceDisabled   = errors.New("service, or one that it depends on, is disabled")
	ErrServiceNotReady   = errors.New("service accepts no control at the moment")
	ErrDependentsRunning = errors.New("services that depend on it are running")
	ErrServiceNotOurs    = errors.New("a driver, or a service about to be deleted")
	ErrServiceDenied     = errors.New("the agent lacks the right to control it")
)

// ServiceController controls Windows services by their names, not by the names that Windows displays. A call may return
// before the service has reached the new state. Errors wrap one of those above where it fits.
type ServiceController interface {
	Query(ctx context.Context, service string) (Service, error)
	// SetStartType changes nothing else of the service, whose state stays as it is.
	SetStartType(ctx context.Context, service string, start StartType) error
	Start(ctx context.Context, service string) error
	// Stop does not stop services that depend on this one; while such run it fails with ErrDependentsRunning.
	Stop(ctx context.Context, service string) error
}
