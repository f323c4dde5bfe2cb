package agent

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/test/iistree"
)

func TestWhatTheClusterWasNotToldOfOutlivesTheProcess(t *testing.T) {
	f := newFleet(t)
	original := f.config()
	f.want(f.publish(1, 1))
	f.pass()
	f.announced = nil
	f.away = true
	if err := os.WriteFile(filepath.Join(f.root, filepath.FromSlash(iistree.ConfigFile)), original, 0o600); err != nil { // somebody deletes the rule
		f.Fatal(err)
	}
	f.pass()
	f.wantInPlace()
	f.restart()
	f.pass()
	f.away = false
	f.pass()
	want := []cluster.Change{{Kind: cluster.DriftRepaired, ID: "M1", Revision: 1}}
	if !slices.Equal(f.announced, want) {
		t.Errorf("told of %v, want %v", f.announced, want)
	}
	f.restart()
	f.pass()
	if len(f.announced) != 1 {
		t.Errorf("told twice: %v", f.announced)
	}
}
