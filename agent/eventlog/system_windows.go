package eventlog

import (
	"errors"
	"fmt"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc/eventlog"
)

// sourceKey is where the source is made known. messageFile shows any text for any number.
const (
	sourceKey   = `SYSTEM\CurrentControlSet\Services\EventLog\Application\` + Source
	messageFile = `%SystemRoot%\Microsoft.NET\Framework64\v4.0.30319\EventLogMessages.dll`
)

type system struct{ log *eventlog.Log }

func openSystem() (writer, error) {
	log, err := eventlog.Open(Source)
	if err != nil {
		return nil, err
	}
	return system{log}, nil
}

func (s system) report(d Definition, message string) error {
	switch d.Severity {
	case Information:
		return s.log.Info(uint32(d.ID), message)
	case Warning:
		return s.log.Warning(uint32(d.ID), message)
	default:
		return s.log.Error(uint32(d.ID), message)
	}
}

func (s system) close() error { return s.log.Close() }

// Install makes the source known to the event log, so that its events are shown as they are. It may be known already.
func Install() error {
	// eventlog.Install refuses what is there, and an older message file has to be put right as well.
	key, _, err := registry.CreateKey(registry.LOCAL_MACHINE, sourceKey, registry.SET_VALUE)
	if err != nil {
		return fmt.Errorf("event log: source %q: %w", Source, err)
	}
	err = errors.Join(
		key.SetDWordValue("CustomSource", 1),
		key.SetExpandStringValue("EventMessageFile", messageFile),
		key.SetDWordValue("TypesSupported", windows.EVENTLOG_INFORMATION_TYPE|windows.EVENTLOG_WARNING_TYPE|windows.EVENTLOG_ERROR_TYPE),
		key.Close(),
	)
	if err != nil {
		return fmt.Errorf("event log: source %q: %w", Source, err)
	}
	return nil
}

// Remove takes the source away. Events that are there stay, without their texts. It need not be known.
func Remove() error {
	if err := registry.DeleteKey(registry.LOCAL_MACHINE, sourceKey); err != nil && !errors.Is(err, registry.ErrNotExist) {
		return fmt.Errorf("event log: source %q: %w", Source, err)
	}
	return nil
}
