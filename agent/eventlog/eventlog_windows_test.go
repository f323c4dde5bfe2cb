package eventlog

import (
	"errors"
	"testing"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// TestTheSourceComesAndGoes needs the right to change the registry of the machine.
func TestTheSourceComesAndGoes(t *testing.T) {
	for range 2 {
		if err := Install(); errors.Is(err, windows.ERROR_ACCESS_DENIED) {
			t.Skip("no right to make a source known: ", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, sourceKey, registry.QUERY_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = key.Close() }()
	if file, _, err := key.GetStringValue("EventMessageFile"); err != nil || file != messageFile {
		t.Errorf("message file %q, %v", file, err)
	}
	if types, _, err := key.GetIntegerValue("TypesSupported"); err != nil || types != 7 {
		t.Errorf("types %d, %v", types, err)
	}
	log := Open(nil)
	if log.system == nil {
		t.Fatal("the event log cannot be opened")
	}
	for _, d := range Table() {
		log.Write(d.ID, "A test.")
	}
	if log.problem != "" {
		t.Error(log.problem)
	}
	log.Close()
	for range 2 {
		if err := Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := registry.OpenKey(registry.LOCAL_MACHINE, sourceKey, registry.QUERY_VALUE); !errors.Is(err, registry.ErrNotExist) {
		t.Errorf("the source is still there: %v", err)
	}
}
