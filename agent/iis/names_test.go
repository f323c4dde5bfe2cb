package iis

import "mitigation.dev/ems/agent/iis/control"

// Short names for the tests.
type (
	PoolController = control.PoolController
	PoolState      = control.PoolState
)

const (
	PoolStarted  = control.PoolStarted
	PoolStopped  = control.PoolStopped
	PoolStopping = control.PoolStopping
	PoolUnknown  = control.PoolUnknown
)

var ErrPoolsUnavailable = control.ErrPoolsUnavailable
