package shadow

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/journal/durable"
)

// Changes are what became different on a server.
type Changes struct {
	Files    []FileChange // by path
	Switches []Switch     // in their order
}

// FileChange is a file that became different. Nil bytes stand for no file.
type FileChange struct {
	Path          string
	Before, After []byte
}

// ComesOrGoes reports whether the file is not there before or after the change.
func (f FileChange) ComesOrGoes() bool { return f.Before == nil || f.After == nil }

// Switch is one change of an application pool or a service.
type Switch struct {
	Kind string // Pool or Service
	Name string
	// Change is Stopped or Started, or the new start type of a service.
	Change string
}

// Kinds and changes of a Switch.
const (
	Pool    = "Pool"
	Service = "Service"
	Stopped = "Stopped"
	Started = "Started"
)

// Log notes what is changed through it.
type Log struct {
	own      string // folder whose files do not matter
	mu       sync.Mutex
	fs       durable.FS
	before   map[string][]byte // by clean path, of files that were replaced or removed
	switches []Switch
}

// NewLog makes a log that passes over the files of one folder, the agent's own.
func NewLog(own string) *Log {
	return &Log{own: filepath.Clean(own), before: map[string][]byte{}}
}

// Files gives a file system whose changes are noted. It is called once.
func (l *Log) Files(base durable.FS) durable.FS {
	l.fs = base
	noted := notedFiles{FS: base, log: l}
	exchanger, exchanges := base.(durable.Exchanger)
	lister, lists := base.(durable.Lister)
	switch {
	case exchanges && lists:
		return struct {
			notedFiles
			notedExchange
			durable.Lister
		}{noted, notedExchange{exchanger, l}, lister}
	case exchanges:
		return struct {
			notedFiles
			notedExchange
		}{noted, notedExchange{exchanger, l}}
	case lists:
		return struct {
			notedFiles
			durable.Lister
		}{noted, lister}
	}
	return noted
}

// notedFiles is a durable.FS.
type notedFiles struct {
	durable.FS
	log *Log
}

// Replace implements durable.FS.
func (n notedFiles) Replace(temp, target string) error {
	n.log.note(target)
	return n.FS.Replace(temp, target)
}

// Remove implements durable.FS.
func (n notedFiles) Remove(name string) error {
	n.log.note(name)
	return n.FS.Remove(name)
}

// notedExchange is a durable.Exchanger.
type notedExchange struct {
	base durable.Exchanger
	log  *Log
}

// Exchange implements durable.Exchanger.
func (n notedExchange) Exchange(temp, target string) error {
	n.log.note(target)
	return n.base.Exchange(temp, target)
}

// note remembers the bytes of a file that is about to be changed for the first time. What cannot be read is not replaced
// either, as far as the agent goes.
func (l *Log) note(name string) {
	name = filepath.Clean(name)
	if strings.HasPrefix(name, l.own+string(filepath.Separator)) || strings.HasSuffix(name, durable.TempSuffix) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.before[name]; known {
		return
	}
	data, err := l.fs.Read(name, maxBytes)
	switch {
	case err == nil:
		l.before[name] = append([]byte{}, data...)
	case errors.Is(err, os.ErrNotExist):
		l.before[name] = nil
	}
}

func (l *Log) switched(err error, kind, name, change string) error {
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.switches = append(l.switches, Switch{Kind: kind, Name: name, Change: change})
	}
	return err
}

// Changes gives what is different now. Files that were changed and changed back are not.
func (l *Log) Changes() (Changes, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes := Changes{Switches: slices.Clone(l.switches)}
	for name, before := range l.before {
		after, err := l.fs.Read(name, maxBytes)
		switch {
		case errors.Is(err, os.ErrNotExist):
			after = nil
		case err != nil:
			return Changes{}, err
		default:
			after = append([]byte{}, after...)
		}
		if (before == nil) != (after == nil) || !bytes.Equal(before, after) {
			changes.Files = append(changes.Files, FileChange{Path: name, Before: before, After: after})
		}
	}
	slices.SortFunc(changes.Files, func(a, b FileChange) int { return strings.Compare(a.Path, b.Path) })
	return changes, nil
}

// Pools gives pools whose starts and stops are noted.
func (l *Log) Pools(base control.PoolController) control.PoolController { return notedPools{base, l} }

type notedPools struct {
	control.PoolController
	log *Log
}

func (n notedPools) Start(ctx context.Context, pool string) error {
	return n.log.switched(n.PoolController.Start(ctx, pool), Pool, pool, Started)
}

func (n notedPools) Stop(ctx context.Context, pool string) error {
	return n.log.switched(n.PoolController.Stop(ctx, pool), Pool, pool, Stopped)
}

// Services gives services whose changes are noted.
func (l *Log) Services(base control.ServiceController) control.ServiceController {
	return notedServices{base, l}
}

type notedServices struct {
	control.ServiceController
	log *Log
}

func (n notedServices) SetStartType(ctx context.Context, service string, start control.StartType) error {
	return n.log.switched(n.ServiceController.SetStartType(ctx, service, start), Service, service, string(start))
}

func (n notedServices) Start(ctx context.Context, service string) error {
	return n.log.switched(n.ServiceController.Start(ctx, service), Service, service, Started)
}

func (n notedServices) Stop(ctx context.Context, service string) error {
	return n.log.switched(n.ServiceController.Stop(ctx, service), Service, service, Stopped)
}
