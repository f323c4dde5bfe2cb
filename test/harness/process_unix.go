//go:build unix

package harness

import (
	"os"
	"syscall"
)

// Errors of both are those of a process that is gone already.

func terminate(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGTERM) }

func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
