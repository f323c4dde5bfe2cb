package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestCommitOf(t *testing.T) {
	for name, tc := range map[string]struct {
		settings   []debug.BuildSetting
		wantCommit string
	}{
		"a build without version control is unknown": {wantCommit: "unknown"},
		"a clean working tree gives the bare revision": {
			settings:   []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.modified", Value: "false"}},
			wantCommit: "0123abc",
		},
		"a changed working tree is marked whatever the order of the settings": {
			settings:   []debug.BuildSetting{{Key: "vcs.modified", Value: "true"}, {Key: "vcs.revision", Value: "0123abc"}},
			wantCommit: "0123abc-dirty",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := commitOf(tc.settings); got != tc.wantCommit {
				t.Errorf("commitOf(%v) = %q, want %q", tc.settings, got, tc.wantCommit)
			}
		})
	}
}

func TestStringNamesVersionAndCommit(t *testing.T) {
	got := String()
	for _, want := range []string{Version, Commit()} {
		if !strings.Contains(got, want) {
			t.Errorf("String() = %q, want it to contain %q", got, want)
		}
	}
}
