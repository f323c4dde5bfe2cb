package iis

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

// PoolController starts and stops application pools at run time. It never changes autoStart. A call may return before
// the pool has reached the new state. Errors wrap one of the four above where it fits.
type PoolController interface {
	State(ctx context.Context, pool string) (PoolState, error)
	Start(ctx context.Context, pool string) error
	Stop(ctx context.Context, pool string) error
}
