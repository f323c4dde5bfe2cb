package harness

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// ownGroup puts a process into a group of its own, out of reach of a terminal's Ctrl-C, and lets the kernel kill it when
// the thread that started it is gone.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// starter is one thread that lives as long as the program and starts all processes: the signal of Pdeathsig is sent when
// the starting thread ends, not when the program does.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func spawn(cmd *exec.Cmd) error {
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}
