package switches

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/pause"
)

const (
	folderName = "switches"
	fileName   = "switches.json"
	lockName   = "switches.lock"
	// lastName is the copy of what was last written or read without a problem.
	lastName = "switches.last.json"
	// asideSuffix marks a damaged file that was set aside.
	asideSuffix = ".damaged"
	// look is how often a watched file is compared.
	look = time.Second
	// patience is how long another change is waited for. Each takes milliseconds.
	patience = 5 * time.Second
)

// ErrUnusable means that the switches cannot be read or believed.
var ErrUnusable = errors.New("the switches of this server cannot be used")

// File is where the switches of a server stand.
type File struct{ folder string }

// Open gives the file of a state folder. It touches nothing.
func Open(stateDir string) File { return File{filepath.Join(stateDir, folderName)} }

// Path of the file.
func (f File) Path() string { return filepath.Join(f.folder, fileName) }

// Read reads the switches; a server without a file has none. The error wraps ErrUnusable.
func (f File) Read() (Switches, error) {
	s, err := f.read()
	if err != nil {
		return Switches{}, fmt.Errorf("%w: %s: %w", ErrUnusable, f.Path(), err)
	}
	return s, nil
}

// Last reads the copy of the switches as they last were, for the time while Read fails. ok is false if there is no copy that can
// be believed.
func (f File) Last() (s Switches, ok bool) {
	if checkRights(f.last()) != nil { // a server without a copy is not one without switches
		return Switches{}, false
	}
	s, err := f.readFile(f.last())
	return s, err == nil
}

// Remember keeps switches that were read, unless they are the ones that are kept.
func (f File) Remember(s Switches) error {
	if kept, ok := f.Last(); ok && kept.Equal(s) {
		return nil
	}
	if _, err := os.Stat(f.folder); errors.Is(err, os.ErrNotExist) {
		return nil // nobody has switched anything yet
	}
	data, err := format(s)
	if err == nil {
		err = durable.WriteFile(durable.OS{}, f.last(), data)
	}
	if err != nil {
		return fmt.Errorf("switches: copy: %w", err)
	}
	return nil
}

func (f File) last() string { return filepath.Join(f.folder, lastName) }

func (f File) read() (Switches, error) { return f.readFile(f.Path()) }

func (f File) readFile(name string) (Switches, error) {
	state, err := filepath.EvalSymlinks(filepath.Dir(f.folder)) // which may well be a link to another disk
	if errors.Is(err, os.ErrNotExist) {
		return Switches{}, nil
	}
	if err != nil {
		return Switches{}, err
	}
	for _, path := range []string{state, f.folder, name} {
		switch err := checkRights(path); {
		case errors.Is(err, os.ErrNotExist):
			return Switches{}, nil
		case err != nil:
			return Switches{}, err
		}
	}
	data, err := durable.OS{}.Read(name, maxBytes)
	if errors.Is(err, os.ErrNotExist) {
		return Switches{}, nil
	}
	if err != nil {
		return Switches{}, err
	}
	return Parse(data)
}

// Change reads the switches, changes them and writes them.
func (f File) Change(ctx context.Context, change func(*Switches) error) error {
	return f.change(ctx, change, f.Read)
}

// Throw throws the kill switch, whatever the file holds: a damaged one is set aside, and aside says where to. Blocks stay as they
// last were.
func (f File) Throw(ctx context.Context, use Use) (aside string, err error) {
	err = f.change(ctx, func(s *Switches) error { return s.Throw(use) }, func() (Switches, error) {
		s, err := f.Read()
		if err == nil || checkRights(f.folder) != nil {
			return s, err
		}
		aside = f.Path() + asideSuffix
		last, _ := f.Last()
		return last, os.Rename(f.Path(), aside)
	})
	return aside, err
}

func (f File) change(ctx context.Context, change func(*Switches) error, read func() (Switches, error)) error {
	if err := os.MkdirAll(f.folder, 0o700); err != nil {
		return fmt.Errorf("switches: %w", err)
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := read()
	if err != nil {
		return err
	}
	if err := change(&s); err != nil {
		return err
	}
	data, err := format(s)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(durable.OS{}, f.Path(), data); err != nil {
		return fmt.Errorf("switches: %w", err)
	}
	return f.Remember(s)
}

// lock waits for another change to end.
func (f File) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		unlock, err = durable.Lock(filepath.Join(f.folder, lockName))
		if err == nil || !errors.Is(err, durable.ErrLocked) {
			return unlock, err
		}
		if pause.For(ctx, 50*time.Millisecond) != nil {
			return nil, fmt.Errorf("switches: somebody else is changing them: %w", err)
		}
	}
}

// stamp tells apart what stands on the disk. Every change replaces the file.
func (f File) stamp() string {
	info, err := os.Stat(f.Path())
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d %v", info.Size(), info.ModTime().UnixNano(), info.Mode())
}

// Watch delivers after the file changed, once for any number of changes, until the context ends.
func (f File) Watch(ctx context.Context) <-chan struct{} {
	changes := make(chan struct{}, 1)
	was := f.stamp()
	go func() {
		ticker := time.NewTicker(look)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if now := f.stamp(); now != was {
				was = now
				select {
				case changes <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
	}()
	return changes
}
