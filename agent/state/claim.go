package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"mitigation.dev/ems/agent/journal/durable"
)

// ErrClaimed means that another agent, the service or a command of this program, is at work with the same state folder.
var ErrClaimed = errors.New("another agent is at work on this server")

// claimFile is locked as long as an agent runs. What an agent writes is guarded by locks of its own; this one keeps two
// agents from undoing each other's work in turns.
const claimFile = "agent.lock"

// Claim makes this process the only agent with the state folder until release is called or the process ends. The folder is
// made when it is missing.
func Claim(stateDir string) (release func(), err error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	release, err = durable.Lock(filepath.Join(stateDir, claimFile))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("state: %w: %s is in use", ErrClaimed, stateDir)
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return release, nil
}
