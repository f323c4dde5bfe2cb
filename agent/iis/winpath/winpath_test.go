package winpath

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestNamesAreFoundWithoutRegardToCase(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "WINDOWS", "system32")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := Find(root, System32...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(got); err != nil || !os.SameFile(info, want) {
		t.Errorf("found %s, error %v", got, err)
	}
	if got, err = Find(dir, "new.json"); err != nil || got != filepath.Join(dir, "new.json") {
		t.Errorf("a file to be made: %s, error %v", got, err)
	}
	if _, err = Find(root, Config...); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is missing on the way: %v", err)
	}
}
