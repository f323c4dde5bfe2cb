package scm

import (
	"errors"
	"testing"

	"mitigation.dev/ems/agent/iis/control"
)

func TestCodesOfTheServiceManager(t *testing.T) {
	for code, want := range map[uint32]error{
		5: control.ErrServiceDenied, 1051: control.ErrDependentsRunning, 1056: control.ErrServiceRunning, 1058: control.ErrServiceDisabled,
		1060: control.ErrServiceNotFound, 1061: control.ErrServiceNotReady, 1062: control.ErrServiceNotRunning, 1072: control.ErrServiceNotOurs,
		0: nil, 87: nil,
	} {
		if got := causeOf(code); !errors.Is(got, want) {
			t.Errorf("code %d: %v, want %v", code, got, want)
		}
	}
}

func TestStartTypesHaveNumbers(t *testing.T) {
	for start, want := range map[control.StartType]uint32{
		control.StartAutomatic: 2, control.StartDelayed: 2, control.StartManual: 3, control.StartDisabled: 4,
	} {
		if got, ok := startCode(start); !ok || got != want {
			t.Errorf("%s: %d, %v", start, got, ok)
		}
	}
	if code, ok := startCode("Boot"); ok {
		t.Errorf("a driver's start type has the number %d", code)
	}
}
