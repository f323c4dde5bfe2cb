package shadow

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"mitigation.dev/ems/agent/journal/durable"
)

// maxBytes is more than anything that the agent writes: 48 MiB for a record of the journal, 16 MiB for a configuration file.
const maxBytes = 64 << 20

// Files is a file system whose changes stay in memory.
type Files struct {
	base    durable.FS
	scratch string // a folder for files that were written and not yet put in place
	count   int
	mu      sync.Mutex
	now     map[string][]byte // by clean path; nil for a file that is gone
}

var (
	_ durable.FS     = (*Files)(nil)
	_ durable.Lister = (*Files)(nil)
)

// NewFiles makes a file system in front of base. The folder scratch belongs to it.
func NewFiles(base durable.FS, scratch string) *Files {
	return &Files{base: base, scratch: filepath.Clean(scratch), now: map[string][]byte{}}
}

// Read implements durable.FS.
func (f *Files) Read(name string, limit int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read(name, limit)
}

func (f *Files) read(name string, limit int64) ([]byte, error) {
	data, changed := f.now[filepath.Clean(name)]
	switch {
	case !changed:
		return f.base.Read(name, limit)
	case data == nil:
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, durable.ErrTooLarge, limit)
	}
	return bytes.Clone(data), nil
}

// WriteTemp implements durable.FS. The new file is a real one, not beside the target.
func (f *Files) WriteTemp(_ string, data []byte) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	temp := filepath.Join(f.scratch, strconv.Itoa(f.count))
	return temp, os.WriteFile(temp, data, 0o600)
}

// Replace implements durable.FS.
func (f *Files) Replace(temp, target string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := f.read(temp, maxBytes)
	if err != nil {
		return err
	}
	f.now[filepath.Clean(target)] = append([]byte{}, data...) // an empty file is not a file that is gone
	return f.remove(temp)
}

// SyncDir implements durable.FS.
func (f *Files) SyncDir(string) error { return nil }

// Remove implements durable.FS.
func (f *Files) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remove(name)
}

func (f *Files) remove(name string) error {
	name = filepath.Clean(name)
	if filepath.Dir(name) == f.scratch {
		return durable.OS{}.Remove(name)
	}
	f.now[name] = nil
	return nil
}

// Names implements durable.Lister.
func (f *Files) Names(dir string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	for name, data := range f.now {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names[filepath.Base(name)] = data != nil
		}
	}
	maps.DeleteFunc(names, func(_ string, there bool) bool { return !there })
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name)
	}
	return out, nil
}
