package service

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"k8s.io/utils/clock"
)

// accepts are the controls that the service takes. With PreShutdown it has the time that Install asks for before the
// shutdown begins; Shutdown, seconds, is for systems that do not send it.
const accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown

var svcStates = map[State]svc.State{
	StartPending: svc.StartPending, Running: svc.Running, StopPending: svc.StopPending, Stopped: svc.Stopped,
}

var svcRequests = map[svc.Cmd]Request{
	svc.Stop: StopRequest, svc.Shutdown: ShutdownRequest, svc.PreShutdown: PreShutdownRequest, svc.Interrogate: Interrogate,
}

// Run runs a program as the service that this process was started for, until Windows has it stopped. It fails at once if
// the process was not started as a service. The exit code was told to Windows and is for os.Exit too.
func Run(name string, program Program) (exitCode uint32, err error) {
	h := &handler{program: program}
	err = svc.Run(name, h)
	if errors.Is(err, windows.ERROR_FAILED_SERVICE_CONTROLLER_CONNECT) {
		return ExitFailed, fmt.Errorf("service %s: not started as a service: only Windows itself runs this command", name)
	}
	if err != nil {
		return ExitFailed, fmt.Errorf("service %s: %w", name, err)
	}
	return h.result.exitCode, h.result.err
}

type handler struct {
	program Program
	result  result
}

// Execute implements svc.Handler.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	done := make(chan struct{})
	defer close(done)
	forwarded := make(chan Request)
	go func() {
		for {
			select {
			case r := <-requests:
				select {
				case forwarded <- svcRequests[r.Cmd]:
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	host := &host{
		program: h.program, requests: forwarded, clock: clock.RealClock{},
		report: func(r Report) {
			s := svc.Status{State: svcStates[r.State], CheckPoint: r.CheckPoint, WaitHint: uint32(r.WaitHint.Milliseconds())}
			if r.State == Running {
				s.Accepts = accepts
			}
			status <- s
		},
	}
	h.result = host.run(context.Background())
	return true, h.result.exitCode
}

// Harden keeps the process from loading libraries from anywhere but the folder of Windows: not from the folder that it is
// started in, nor from that of the program. It has to come before the first library is loaded by name.
func Harden() error {
	if err := windows.SetDefaultDllDirectories(windows.LOAD_LIBRARY_SEARCH_SYSTEM32); err != nil {
		return fmt.Errorf("search path of libraries: %w", err)
	}
	if err := windows.SetDllDirectory(""); err != nil {
		return fmt.Errorf("search path of libraries: %w", err)
	}
	return nil
}
