package iis

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/shadow"
	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/test/iistree"
)

// disk gives every file of the server and of the agent's state.
func (l *lab) disk() map[string]string {
	l.t.Helper()
	files := map[string]string{}
	for _, dir := range []string{l.root, l.state} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			files[path] = string(data)
			return err
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
	return files
}

func (l *lab) preview() *Preview {
	l.t.Helper()
	p, err := NewPreview(Options{Root: l.root, StateDir: l.state, Pools: l.pools, Services: l.services, Clock: l.clock, FS: l.fs})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return p
}

func TestPreviewSaysWhatReconcileDoesAndDoesNothing(t *testing.T) {
	inSite := mitigation("M1", 1, rewrite("M1.1", ".*probe.*"))
	inWebConfig := mitigation("M2", 1, rewrite("M2.1", ".*other.*"))
	inWebConfig.Placement = PlaceWebConfig
	stopsPool := mitigation("A1", 1, pool("A1.1", owaPool))
	for name, tc := range map[string]struct {
		before func(l *lab)
		wanted []Mitigation
		// wantFiles is how many files become different.
		wantFiles    int
		wantSwitches []shadow.Switch
	}{
		"nothing on a server without anything": {},
		"a rule":                               {wanted: []Mitigation{inSite}, wantFiles: 1},
		"rules in two files and a pool": {
			wanted: []Mitigation{stopsPool, inSite, inWebConfig}, wantFiles: 2,
			wantSwitches: []shadow.Switch{{Kind: shadow.Pool, Name: owaPool, Change: shadow.Stopped}},
		},
		"a web.config that is not there yet": {
			before: func(l *lab) {
				if err := os.Remove(filepath.Join(l.root, filepath.FromSlash(iistree.WebConfig))); err != nil {
					l.t.Fatal(err)
				}
			},
			wanted: []Mitigation{inWebConfig}, wantFiles: 1,
		},
		"nothing that is in place already": {
			before: func(l *lab) { l.reconcile(inSite) },
			wanted: []Mitigation{inSite},
		},
		"a new revision": {
			before: func(l *lab) { l.reconcile(inSite) },
			wanted: []Mitigation{mitigation("M1", 2, rewrite("M1.1", ".*better.*"))}, wantFiles: 1,
		},
		"the removal of everything": {
			before:       func(l *lab) { l.reconcile(inSite, inWebConfig, stopsPool) },
			wantFiles:    2,
			wantSwitches: []shadow.Switch{{Kind: shadow.Pool, Name: owaPool, Change: shadow.Started}},
		},
		"the repair of what another program removed": {
			before: func(l *lab) {
				l.reconcile(inSite)
				if err := os.WriteFile(l.configPath(), l.original, 0o600); err != nil {
					l.t.Fatal(err)
				}
			},
			wanted: []Mitigation{inSite}, wantFiles: 1,
		},
		"what cannot be": {wanted: []Mitigation{mitigation("A2", 1, pool("A2.1", "No such pool"))}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, iistree.Options{CRLF: true})
			if tc.before != nil {
				tc.before(l)
			}
			before, preview := l.disk(), l.preview()
			// The lock is a file as well, and the only trace of a preview.
			before[filepath.Join(l.state, "lock")] = ""
			foreseen, err := preview.Reconcile(t.Context(), tc.wanted)
			if err != nil {
				t.Fatal(err)
			}
			foreseenApplied, err := preview.Applied()
			if err != nil {
				t.Fatal(err)
			}
			changes, err := preview.Changes()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, l.disk()); diff != "" {
				t.Fatalf("the preview changed the disk (-before +after):\n%s", diff)
			}
			outcomes, err := l.server.Reconcile(t.Context(), tc.wanted)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(outcomes, foreseen); diff != "" {
				t.Errorf("outcomes (-real +foreseen):\n%s", diff)
			}
			applied, err := l.server.Applied()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(applied, foreseenApplied); diff != "" {
				t.Errorf("in place (-real +foreseen):\n%s", diff)
			}
			if len(changes.Files) != tc.wantFiles {
				t.Errorf("%d files would change, want %d", len(changes.Files), tc.wantFiles)
			}
			if diff := cmp.Diff(tc.wantSwitches, changes.Switches); diff != "" {
				t.Errorf("switches (-want +got):\n%s", diff)
			}
			for _, f := range changes.Files {
				now, err := os.ReadFile(f.Path)
				if errors.Is(err, os.ErrNotExist) {
					now = nil
				} else if err != nil {
					t.Fatal(err)
				}
				if !sameBytes(now, f.After) {
					t.Errorf("%s is not what was foreseen:\n%s", f.Path, cmp.Diff(string(f.After), string(now)))
				}
			}
		})
	}
}

func TestPreviewIsRefusedWhileAnAgentIsAtWork(t *testing.T) {
	l := newLab(t, iistree.Options{})
	unlock, err := durable.Lock(filepath.Join(l.state, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	outcomes, err := l.preview().Reconcile(t.Context(), []Mitigation{mitigation("M1", 1, rewrite("M1.1", "x"))})
	if err != nil || len(outcomes) != 1 || outcomes[0].Reason != ConfigurationBusy {
		t.Errorf("outcomes %v, error %v", outcomes, err)
	}
}

func TestPreviewNeedsWhatAServerNeeds(t *testing.T) {
	if _, err := NewPreview(Options{Root: t.TempDir()}); err == nil {
		t.Error("a preview without a state folder")
	}
}
