package state

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestClaimHasOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	release, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(dir); !errors.Is(err, ErrClaimed) {
		t.Errorf("a second agent: %v", err)
	}
	release()
	again, err := Claim(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	again()
}
