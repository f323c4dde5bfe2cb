package scm

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"

	"mitigation.dev/ems/agent/iis/control"
)

// asService is the argument that makes the test program a service.
const asService = "-as-service"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == asService {
		if err := svc.Run("", handler{}); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type handler struct{}

func (handler) Execute(_ []string, requests <-chan svc.ChangeRequest, status chan<- svc.Status) (bool, uint32) {
	status <- svc.Status{State: svc.Running, Accepts: svc.AcceptStop}
	for r := range requests {
		if r.Cmd == svc.Stop {
			return false, 0
		}
		status <- r.CurrentStatus
	}
	return false, 0
}

// TestAServiceIsControlled needs the right to install services; without it the test is skipped.
func TestAServiceIsControlled(t *testing.T) {
	manager, err := mgr.Connect()
	if err != nil {
		t.Skip("no right to install a service: ", err)
	}
	defer func() { _ = manager.Disconnect() }()
	name := fmt.Sprintf("EMSTest%d", os.Getpid())
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := manager.CreateService(name, exe, mgr.Config{StartType: mgr.StartManual}, asService)
	if err != nil {
		t.Skip("no right to install a service: ", err)
	}
	t.Cleanup(func() {
		_ = s.Delete()
		_ = s.Close()
	})
	m := New()
	ctx := t.Context()
	want(t, m, name, control.StartManual, control.ServiceStopped)
	if err := m.Stop(ctx, name); !errors.Is(err, control.ErrServiceNotRunning) {
		t.Errorf("stop of a stopped service: %v", err)
	}
	if err := m.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	want(t, m, name, control.StartManual, control.ServiceRunning)
	if err := m.Start(ctx, name); !errors.Is(err, control.ErrServiceRunning) {
		t.Errorf("start of a running service: %v", err)
	}
	if err := errors.Join(m.SetStartType(ctx, name, control.StartDisabled), m.Stop(ctx, name)); err != nil {
		t.Fatal(err)
	}
	want(t, m, name, control.StartDisabled, control.ServiceStopped)
	if err := m.Start(ctx, name); !errors.Is(err, control.ErrServiceDisabled) {
		t.Errorf("start of a disabled service: %v", err)
	}
	if err := m.SetStartType(ctx, name, control.StartAutomatic); err != nil {
		t.Fatal(err)
	}
	want(t, m, name, control.StartAutomatic, control.ServiceStopped)
	if _, err := m.Query(ctx, name+"None"); !errors.Is(err, control.ErrServiceNotFound) {
		t.Errorf("an unknown service: %v", err)
	}
}

// want waits until the service is as it should be; states are reached some time after the call.
func want(t *testing.T, m Manager, name string, start control.StartType, state control.ServiceState) {
	t.Helper()
	var got control.Service
	var err error
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for range 600 { // 30 seconds
		if got, err = m.Query(t.Context(), name); err != nil || got.StartType == start && got.State == state {
			break
		}
		<-again.C
	}
	if err != nil || got.StartType != start || got.State != state {
		t.Fatalf("service is %+v, error %v; want %s and %s", got, err, start, state)
	}
}
