package scm

import "mitigation.dev/ems/agent/iis/control"

// Codes of errors of the service control manager (winerror.h), in decimal as the documentation lists them.
const (
	codeAccessDenied       = 5
	codeInvalidName        = 123
	codeDependentsRunning  = 1051
	codeAlreadyRunning     = 1056
	codeDisabled           = 1058
	codeDoesNotExist       = 1060
	codeCannotAcceptCtrl   = 1061
	codeNotActive          = 1062
	codeDependencyFailed   = 1068
	codeMarkedForDelete    = 1072
	codeDependencyDeleted  = 1075
	codeDatabaseLocked     = 1055
	codeShutdownInProgress = 1115
)

// causeOf gives the error of package control that an error code stands for, or nil.
func causeOf(code uint32) error {
	switch code {
	case codeAccessDenied:
		return control.ErrServiceDenied
	case codeInvalidName, codeDoesNotExist:
		return control.ErrServiceNotFound
	case codeDependentsRunning:
		return control.ErrDependentsRunning
	case codeAlreadyRunning:
		return control.ErrServiceRunning
	case codeDisabled, codeDependencyFailed, codeDependencyDeleted:
		return control.ErrServiceDisabled
	case codeCannotAcceptCtrl, codeDatabaseLocked, codeShutdownInProgress:
		return control.ErrServiceNotReady
	case codeNotActive:
		return control.ErrServiceNotRunning
	case codeMarkedForDelete:
		return control.ErrServiceNotOurs
	}
	return nil
}

// startTypes are the start types as the service control manager counts them (winsvc.h).
var startTypes = map[uint32]control.StartType{2: control.StartAutomatic, 3: control.StartManual, 4: control.StartDisabled}

// startCode gives the number of a start type. Delayed is a kind of Automatic.
func startCode(start control.StartType) (code uint32, ok bool) {
	if start == control.StartDelayed {
		start = control.StartAutomatic
	}
	for code, known := range startTypes {
		if known == start {
			return code, true
		}
	}
	return 0, false
}
