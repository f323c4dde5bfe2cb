package service

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

// maxConfig is the most that QueryServiceConfig returns, by its documentation.
const maxConfig = 8 << 10

// Connect gives the service control manager of this machine. Every call opens the service with the rights that it needs.
func Connect() (Manager, error) { return scm{}, nil }

type scm struct{}

// causes are the errors that errors of Windows stand for.
var causes = map[error]error{
	windows.ERROR_ACCESS_DENIED:              ErrDenied,
	windows.ERROR_SERVICE_DOES_NOT_EXIST:     ErrNotInstalled,
	windows.ERROR_SERVICE_EXISTS:             ErrInstalled,
	windows.ERROR_SERVICE_ALREADY_RUNNING:    ErrRunning,
	windows.ERROR_SERVICE_NOT_ACTIVE:         ErrNotRunning,
	windows.ERROR_SERVICE_MARKED_FOR_DELETE:  ErrBeingDeleted,
	windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL: ErrNotReady,
}

func causeOf(err error) error {
	for code, cause := range causes {
		if errors.Is(err, code) {
			return fmt.Errorf("%w (%w)", cause, err)
		}
	}
	return err
}

var states = map[uint32]State{
	windows.SERVICE_STOPPED: Stopped, windows.SERVICE_START_PENDING: StartPending, windows.SERVICE_RUNNING: Running,
	windows.SERVICE_STOP_PENDING: StopPending,
}

var startTypes = map[uint32]string{
	windows.SERVICE_AUTO_START: Automatic, windows.SERVICE_DEMAND_START: Manual, windows.SERVICE_DISABLED: Disabled,
}

// Query implements Manager.
func (scm) Query(name string) (found Status, err error) {
	err = with(name, windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS, func(h windows.Handle) error {
		buffer := make([]byte, maxConfig)
		config := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buffer[0]))
		var needed uint32
		if err := windows.QueryServiceConfig(h, config, maxConfig, &needed); err != nil {
			return err
		}
		found.StartType, found.Command = startTypes[config.StartType], windows.UTF16PtrToString(config.BinaryPathName)
		found.DependsOn = stringsOf(config.Dependencies)
		var status windows.SERVICE_STATUS_PROCESS
		size := uint32(unsafe.Sizeof(status))
		if err := windows.QueryServiceStatusEx(h, windows.SC_STATUS_PROCESS_INFO, (*byte)(unsafe.Pointer(&status)), size, &needed); err != nil {
			return err
		}
		found.State, found.PID, found.ExitCode = states[status.CurrentState], status.ProcessId, status.Win32ExitCode
		if found.State == "" {
			found.State = Other
		}
		if found.State == Stopped {
			found.PID = 0
		}
		if found.ExitCode == uint32(windows.ERROR_SERVICE_SPECIFIC_ERROR) {
			found.ExitCode, found.Specific = status.ServiceSpecificExitCode, true
		}
		return nil
	})
	return found, err
}

// Create implements Manager.
func (scm) Create(d Definition) error {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_CREATE_SERVICE)
	if err != nil {
		return causeOf(err)
	}
	defer func() { _ = windows.CloseServiceHandle(manager) }()
	texts, err := utf16Of(d.Name, d.DisplayName, commandLine(d))
	if err != nil {
		return err
	}
	h, err := windows.CreateService(manager, texts[0], texts[1], windows.SERVICE_ALL_ACCESS, windows.SERVICE_WIN32_OWN_PROCESS,
		windows.SERVICE_AUTO_START, windows.SERVICE_ERROR_NORMAL, texts[2], nil, nil, block(d.DependsOn), nil, nil)
	if err != nil {
		return causeOf(err)
	}
	defer func() { _ = windows.CloseServiceHandle(h) }()
	if err := extras(h, d); err != nil {
		// Half of a service would start without what makes it start again.
		return errors.Join(err, windows.DeleteService(h))
	}
	return nil
}

// Configure implements Manager.
func (scm) Configure(d Definition) error {
	texts, err := utf16Of(d.DisplayName, commandLine(d))
	if err != nil {
		return err
	}
	return with(d.Name, windows.SERVICE_CHANGE_CONFIG|windows.SERVICE_START, func(h windows.Handle) error {
		dependencies := block(d.DependsOn)
		if dependencies == nil {
			dependencies = &[]uint16{0, 0}[0] // nil would leave the old ones
		}
		err := windows.ChangeServiceConfig(h, windows.SERVICE_NO_CHANGE, windows.SERVICE_AUTO_START, windows.SERVICE_NO_CHANGE,
			texts[1], nil, nil, dependencies, nil, nil, texts[0])
		if err != nil {
			return err
		}
		return extras(h, d)
	})
}

// extras sets what has calls of its own: description, recovery, and the time to stop before a shutdown.
func extras(h windows.Handle, d Definition) error {
	text, err := windows.UTF16PtrFromString(d.Description)
	if err != nil {
		return err
	}
	description := windows.SERVICE_DESCRIPTION{Description: text}
	if err := windows.ChangeServiceConfig2(h, windows.SERVICE_CONFIG_DESCRIPTION, (*byte)(unsafe.Pointer(&description))); err != nil {
		return fmt.Errorf("description: %w", err)
	}
	if len(d.Restarts) > 0 {
		actions := make([]windows.SC_ACTION, len(d.Restarts))
		for i, delay := range d.Restarts {
			actions[i] = windows.SC_ACTION{Type: windows.SC_ACTION_RESTART, Delay: uint32(delay.Milliseconds())}
		}
		failure := windows.SERVICE_FAILURE_ACTIONS{
			ResetPeriod: uint32(d.FailuresForgotten / time.Second), ActionsCount: uint32(len(actions)), Actions: &actions[0],
		}
		if err := windows.ChangeServiceConfig2(h, windows.SERVICE_CONFIG_FAILURE_ACTIONS, (*byte)(unsafe.Pointer(&failure))); err != nil {
			return fmt.Errorf("recovery actions: %w", err)
		}
		// An end with an exit code is a failure too, not a crash alone.
		flag := windows.SERVICE_FAILURE_ACTIONS_FLAG{FailureActionsOnNonCrashFailures: 1}
		if err := optional(windows.ChangeServiceConfig2(h, windows.SERVICE_CONFIG_FAILURE_ACTIONS_FLAG, (*byte)(unsafe.Pointer(&flag)))); err != nil {
			return fmt.Errorf("recovery actions: %w", err)
		}
	}
	if d.PreShutdown > 0 {
		timeout := uint32(d.PreShutdown.Milliseconds())
		if err := optional(windows.ChangeServiceConfig2(h, windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, (*byte)(unsafe.Pointer(&timeout)))); err != nil {
			return fmt.Errorf("time before a shutdown: %w", err)
		}
	}
	return nil
}

// optional lets pass that a setting is not known to the system, as under Wine.
func optional(err error) error {
	if errors.Is(err, windows.ERROR_INVALID_LEVEL) {
		return nil
	}
	return err
}

// Start implements Manager.
func (scm) Start(name string) error {
	return with(name, windows.SERVICE_START, func(h windows.Handle) error {
		return windows.StartService(h, 0, nil)
	})
}

// Stop implements Manager.
func (scm) Stop(name string) error {
	return with(name, windows.SERVICE_STOP, func(h windows.Handle) error {
		var status windows.SERVICE_STATUS
		return windows.ControlService(h, windows.SERVICE_CONTROL_STOP, &status)
	})
}

// Delete implements Manager.
func (scm) Delete(name string) error {
	return with(name, windows.DELETE, windows.DeleteService)
}

// with opens a service and gives errors their meaning.
func with(name string, access uint32, do func(windows.Handle) error) error {
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return causeOf(err)
	}
	defer func() { _ = windows.CloseServiceHandle(manager) }()
	text, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return err
	}
	h, err := windows.OpenService(manager, text, access)
	if err != nil {
		return causeOf(err)
	}
	defer func() { _ = windows.CloseServiceHandle(h) }()
	return causeOf(do(h))
}

func commandLine(d Definition) string {
	// The program is quoted always: an unquoted path with a blank lets Windows try C:\Program.exe first.
	line := `"` + d.Program + `"`
	if len(d.Arguments) > 0 {
		line += " " + windows.ComposeCommandLine(d.Arguments)
	}
	return line
}

func utf16Of(texts ...string) ([]*uint16, error) {
	pointers := make([]*uint16, len(texts))
	for i, text := range texts {
		p, err := windows.UTF16PtrFromString(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		pointers[i] = p
	}
	return pointers, nil
}

// block makes a list of names as the manager takes it: each ends with a zero, and all with another; nil for none.
func block(names []string) *uint16 {
	if len(names) == 0 {
		return nil
	}
	return &utf16.Encode([]rune(strings.Join(names, "\x00") + "\x00\x00"))[0]
}

// stringsOf reads a list of names as the manager gives it.
func stringsOf(p *uint16) []string {
	var names []string
	for p != nil && *p != 0 {
		name := windows.UTF16PtrToString(p)
		names = append(names, name)
		p = (*uint16)(unsafe.Add(unsafe.Pointer(p), 2*(len(utf16.Encode([]rune(name)))+1)))
	}
	return names
}
