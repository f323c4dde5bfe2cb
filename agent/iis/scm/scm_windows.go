package scm

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"

	"mitigation.dev/ems/agent/iis/control"
)

// maxConfig is the most that QueryServiceConfig returns, by its documentation.
const maxConfig = 8 << 10

// codeInvalidLevel is what Wine answers to a question about settings that it does not know.
const codeInvalidLevel = 124

// states as the service control manager counts them (winsvc.h).
var states = map[uint32]control.ServiceState{
	1: control.ServiceStopped, 2: control.ServiceStartPending, 3: control.ServiceStopPending, 4: control.ServiceRunning,
	5: control.ServicePausePending /* continue pending */, 6: control.ServicePausePending, 7: control.ServicePaused,
}

// Manager is the service control manager.
type Manager struct{}

var _ control.ServiceController = Manager{}

// New makes a controller of the services of this machine.
func New() Manager { return Manager{} }

// Query implements control.ServiceController.
func (Manager) Query(_ context.Context, service string) (found control.Service, err error) {
	err = with(service, "query", windows.SERVICE_QUERY_CONFIG|windows.SERVICE_QUERY_STATUS, func(h windows.Handle) error {
		buffer := make([]byte, maxConfig)
		config := (*windows.QUERY_SERVICE_CONFIG)(unsafe.Pointer(&buffer[0]))
		var needed uint32
		if err := windows.QueryServiceConfig(h, config, maxConfig, &needed); err != nil {
			return err
		}
		start, ok := startTypes[config.StartType]
		if !ok || config.ServiceType&windows.SERVICE_WIN32 == 0 {
			return control.ErrServiceNotOurs
		}
		if start == control.StartAutomatic {
			delayed, err := isDelayed(h)
			if err != nil {
				return err
			}
			if delayed {
				start = control.StartDelayed
			}
		}
		var status windows.SERVICE_STATUS_PROCESS
		size := uint32(unsafe.Sizeof(status))
		if err := windows.QueryServiceStatusEx(h, windows.SC_STATUS_PROCESS_INFO, (*byte)(unsafe.Pointer(&status)), size, &needed); err != nil {
			return err
		}
		state, ok := states[status.CurrentState]
		if !ok {
			return fmt.Errorf("state %d: not known", status.CurrentState)
		}
		found = control.Service{StartType: start, State: state}
		if state != control.ServiceStopped {
			found.Process = status.ProcessId
		}
		return nil
	})
	return found, err
}

// SetStartType implements control.ServiceController.
func (Manager) SetStartType(_ context.Context, service string, start control.StartType) error {
	code, ok := startCode(start)
	if !ok {
		return fmt.Errorf("services: %q: start type %q: not known", service, start)
	}
	return with(service, "set start type", windows.SERVICE_CHANGE_CONFIG|windows.SERVICE_QUERY_CONFIG, func(h windows.Handle) error {
		const same = windows.SERVICE_NO_CHANGE
		if err := windows.ChangeServiceConfig(h, same, code, same, nil, nil, nil, nil, nil, nil, nil); err != nil {
			return err
		}
		if code != windows.SERVICE_AUTO_START {
			return nil
		}
		want := start == control.StartDelayed
		if have, err := isDelayed(h); err != nil || have == want {
			return err
		}
		info := windows.SERVICE_DELAYED_AUTO_START_INFO{}
		if want {
			info.IsDelayedAutoStartUp = 1
		}
		return windows.ChangeServiceConfig2(h, windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, (*byte)(unsafe.Pointer(&info)))
	})
}

// Start implements control.ServiceController.
func (Manager) Start(_ context.Context, service string) error {
	return with(service, "start", windows.SERVICE_START, func(h windows.Handle) error {
		return windows.StartService(h, 0, nil)
	})
}

// Stop implements control.ServiceController.
func (Manager) Stop(_ context.Context, service string) error {
	return with(service, "stop", windows.SERVICE_STOP, func(h windows.Handle) error {
		var status windows.SERVICE_STATUS
		return windows.ControlService(h, windows.SERVICE_CONTROL_STOP, &status)
	})
}

func isDelayed(h windows.Handle) (bool, error) {
	var info windows.SERVICE_DELAYED_AUTO_START_INFO
	size := uint32(unsafe.Sizeof(info))
	var needed uint32
	err := windows.QueryServiceConfig2(h, windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, (*byte)(unsafe.Pointer(&info)), size, &needed)
	if errors.Is(err, windows.Errno(codeInvalidLevel)) {
		return false, nil
	}
	return info.IsDelayedAutoStartUp != 0, err
}

// with opens a service and gives its errors their meaning.
func with(service, verb string, access uint32, do func(windows.Handle) error) (err error) {
	defer func() {
		if err == nil {
			return
		}
		if code, ok := errors.AsType[windows.Errno](err); ok {
			if cause := causeOf(uint32(code)); cause != nil {
				err = fmt.Errorf("%w (error %d)", cause, uint32(code))
			}
		}
		err = fmt.Errorf("services: %s %q: %w", verb, service, err)
	}()
	manager, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseServiceHandle(manager) }()
	name, err := windows.UTF16PtrFromString(service)
	if err != nil {
		return control.ErrServiceNotFound
	}
	h, err := windows.OpenService(manager, name, access)
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseServiceHandle(h) }()
	return do(h)
}
