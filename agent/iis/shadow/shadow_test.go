package shadow

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/journal/durable"
)

func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestFilesKeepChangesToThemselves(t *testing.T) {
	dir, scratch := t.TempDir(), t.TempDir()
	changed, removed := write(t, filepath.Join(dir, "changed"), "old"), write(t, filepath.Join(dir, "removed"), "old")
	added := filepath.Join(dir, "added")
	f := NewFiles(durable.OS{}, scratch)
	for _, name := range []string{changed, added} {
		if err := durable.WriteFile(f, name, []byte("new")); err != nil {
			t.Fatal(err)
		}
		if data, err := f.Read(name, 3); err != nil || string(data) != "new" {
			t.Errorf("%s: %q, error %v", name, data, err)
		}
		if _, err := f.Read(name, 2); !errors.Is(err, durable.ErrTooLarge) {
			t.Errorf("%s above the limit: %v", name, err)
		}
	}
	if err := f.Remove(removed); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(removed, 3); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was removed: %v", err)
	}
	names, err := f.Names(dir)
	slices.Sort(names)
	if diff := cmp.Diff([]string{"added", "changed"}, names); err != nil || diff != "" {
		t.Errorf("names, error %v:\n%s", err, diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files on the disk: %v, error %v", entries, err)
	}
	for _, name := range []string{changed, removed} {
		if data, err := os.ReadFile(name); err != nil || string(data) != "old" {
			t.Errorf("%s on the disk: %q, error %v", name, data, err)
		}
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

func TestFilesMoveWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	from, to := write(t, filepath.Join(dir, "from"), "moved"), filepath.Join(dir, "to")
	f := NewFiles(durable.OS{}, t.TempDir())
	if err := f.Replace(from, to); err != nil {
		t.Fatal(err)
	}
	if data, err := f.Read(to, 10); err != nil || string(data) != "moved" {
		t.Errorf("%q, error %v", data, err)
	}
	if _, err := f.Read(from, 10); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is in both places: %v", err)
	}
	if err := f.Replace(from, to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is gone was moved: %v", err)
	}
}

// still is a server on which every call but a look fails.
type still struct {
	pool    control.PoolState
	service control.Service
}

var errTouched = errors.New("the real server was touched")

func (s still) State(context.Context, string) (control.PoolState, error) { return s.pool, nil }
func (s still) Start(context.Context, string) error                      { return errTouched }
func (s still) Stop(context.Context, string) error                       { return errTouched }
func (s still) Query(context.Context, string) (control.Service, error)   { return s.service, nil }
func (s still) SetStartType(context.Context, string, control.StartType) error {
	return errTouched
}

func TestPoolsPlayWhatIsNotDone(t *testing.T) {
	p := NewPools(still{pool: control.PoolStarted})
	for _, step := range []struct {
		call func(context.Context, string) error
		want error
	}{{p.Start, control.ErrPoolRunning}, {p.Stop, nil}, {p.Stop, control.ErrPoolNotRunning}, {p.Start, nil}} {
		if err := step.call(t.Context(), "P"); !errors.Is(err, step.want) {
			t.Errorf("error %v, want %v", err, step.want)
		}
	}
	if err := p.Stop(t.Context(), "p"); err != nil {
		t.Error(err)
	}
	if state, err := p.State(t.Context(), "P"); err != nil || state != control.PoolStopped {
		t.Errorf("state %s, error %v: names know no case", state, err)
	}
}

func TestServicesPlayWhatIsNotDone(t *testing.T) {
	s := NewServices(still{service: control.Service{StartType: control.StartAutomatic, State: control.ServiceRunning}})
	disable := func(ctx context.Context, name string) error { return s.SetStartType(ctx, name, control.StartDisabled) }
	for i, step := range []struct {
		call func(context.Context, string) error
		want error
	}{
		{s.Start, control.ErrServiceRunning}, {disable, nil}, {s.Stop, nil}, {s.Stop, control.ErrServiceNotRunning}, {s.Start, control.ErrServiceDisabled},
	} {
		if err := step.call(t.Context(), "S"); !errors.Is(err, step.want) {
			t.Errorf("step %d: error %v, want %v", i, err, step.want)
		}
	}
	found, err := s.Query(t.Context(), "s")
	if want := (control.Service{StartType: control.StartDisabled, State: control.ServiceStopped}); err != nil || found != want {
		t.Errorf("service %v, error %v, want %v", found, err, want)
	}
	if err := s.SetStartType(t.Context(), "S", control.StartManual); err != nil {
		t.Error(err)
	}
	if err := s.Start(t.Context(), "S"); err != nil {
		t.Error(err)
	}
}

func TestLogNotesWhatBecameDifferent(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, "own")
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	changed, removed, back := write(t, filepath.Join(dir, "b"), "old"), write(t, filepath.Join(dir, "c"), "old"), write(t, filepath.Join(dir, "d"), "old")
	added := filepath.Join(dir, "a")
	log := NewLog(own)
	fs := log.Files(durable.OS{})
	for _, w := range []struct{ name, content string }{
		{changed, "new"}, {added, "new"}, {back, "new"}, {back, "old"}, {filepath.Join(own, "journal"), "x"},
	} {
		if err := durable.WriteFile(fs, w.name, []byte(w.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.Remove(removed); err != nil {
		t.Fatal(err)
	}
	pools := log.Pools(NewPools(still{pool: control.PoolStarted}))
	services := log.Services(NewServices(still{service: control.Service{StartType: control.StartManual, State: control.ServiceRunning}}))
	for _, err := range []error{
		pools.Stop(t.Context(), "P"), services.SetStartType(t.Context(), "S", control.StartDisabled), services.Stop(t.Context(), "S"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := pools.Stop(t.Context(), "P"); err == nil {
		t.Error("a pool was stopped twice")
	}
	changes, err := log.Changes()
	if err != nil {
		t.Fatal(err)
	}
	want := Changes{
		Files: []FileChange{
			{Path: added, After: []byte("new")}, {Path: changed, Before: []byte("old"), After: []byte("new")}, {Path: removed, Before: []byte("old")},
		},
		Switches: []Switch{{Pool, "P", Stopped}, {Service, "S", "Disabled"}, {Service, "S", Stopped}},
	}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// exchanger is a file system that can exchange files.
type exchanger struct{ durable.FS }

func (e exchanger) Exchange(temp, target string) error {
	data, err := e.Read(target, 10)
	if err == nil {
		err = e.Replace(temp, target)
	}
	if err == nil {
		err = os.WriteFile(temp, data, 0o600)
	}
	return err
}

func TestLogCanDoWhatTheFileSystemCan(t *testing.T) {
	plain := struct{ durable.FS }{durable.OS{}}
	for name, tc := range map[string]struct {
		fs                       durable.FS
		wantExchanges, wantLists bool
	}{
		"nothing more": {fs: plain},
		"exchange":     {fs: exchanger{plain}, wantExchanges: true},
		"list":         {fs: NewFiles(plain, t.TempDir()), wantLists: true},
		"exchange and list": {fs: struct {
			exchanger
			durable.Lister
		}{exchanger{plain}, NewFiles(plain, t.TempDir())}, wantExchanges: true, wantLists: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			temp, target := write(t, filepath.Join(dir, "temp"), "new"), write(t, filepath.Join(dir, "target"), "old")
			log := NewLog(filepath.Join(dir, "own"))
			fs := log.Files(tc.fs)
			_, lists := fs.(durable.Lister)
			can, exchanges := fs.(durable.Exchanger)
			if lists != tc.wantLists || exchanges != tc.wantExchanges {
				t.Fatalf("lists %v, exchanges %v", lists, exchanges)
			}
			if !exchanges {
				return
			}
			if err := can.Exchange(temp, target); err != nil {
				t.Fatal(err)
			}
			changes, err := log.Changes()
			if want := []FileChange{{Path: target, Before: []byte("old"), After: []byte("new")}}; err != nil || !cmp.Equal(want, changes.Files) {
				t.Errorf("changes %v, error %v", changes.Files, err)
			}
		})
	}
}
