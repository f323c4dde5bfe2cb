package durable

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

func TestWriteFileReplacesAndKeepsTheMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.config")
	if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	// What a crash left behind must not be in the way.
	if err := os.WriteFile(name+TempSuffix, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(OS{}, name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	data, err := OS{}.Read(name, 10)
	if err != nil || string(data) != "new" {
		t.Errorf("content %q, error %v", data, err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := os.Stat(name + TempSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
}

func TestWriteFileCreates(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.json")
	if err := WriteFile(OS{}, name, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(name); err != nil || string(data) != "x" {
		t.Errorf("content %q, error %v", data, err)
	}
}

func TestWriteFileReportsAMissingFolder(t *testing.T) {
	err := WriteFile(OS{}, filepath.Join(t.TempDir(), "none", "a"), []byte("x"))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestReadRefusesALargeFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (OS{}).Read(name, 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	if _, err := (OS{}).Read(name, 11); err != nil {
		t.Errorf("a file at the limit: %v", err)
	}
}

func TestRemoveOfAMissingFileIsNoError(t *testing.T) {
	if err := (OS{}).Remove(filepath.Join(t.TempDir(), "a")); err != nil {
		t.Error(err)
	}
}

func TestLockHasOneHolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("a second holder: %v", err)
	}
	unlock()
	again, err := Lock(name)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	again()
}

func TestExchangeGivesBackWhatItReplaced(t *testing.T) {
	fs, ok := any(OS{}).(Exchanger)
	if !ok {
		t.Skip("this system cannot exchange two files")
	}
	name := filepath.Join(t.TempDir(), "a.config")
	if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	temp, err := OS{}.WriteTemp(name, []byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Exchange(temp, name); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{name: "new", temp: "old"} {
		if data, err := os.ReadFile(file); err != nil || string(data) != want {
			t.Errorf("%s holds %q, error %v", file, data, err)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := fs.Exchange(temp, name); err == nil {
		t.Error("a target that is not there was exchanged")
	}
}

func TestSameComparesAllBytes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	data := make([]byte, 200<<10)
	data[len(data)-1] = 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	other := append([]byte(nil), data...)
	other[150<<10] = 1
	for what, tc := range map[string]struct {
		data []byte
		want bool
	}{"itself": {data, true}, "a part": {data[:len(data)-1], false}, "more": {append(slices.Clip(data), 0), false}, "another byte": {other, false}, "nothing": {nil, false}} {
		if got, err := (OS{}).Same(name, tc.data); err != nil || got != tc.want {
			t.Errorf("%s: %v, error %v", what, got, err)
		}
	}
	if _, err := (OS{}).Same(name+"x", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}
