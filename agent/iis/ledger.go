package iis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/journal"
)

// Kinds of records in the journal, and the name of the record of applicationHost.config.
const (
	kindMitigation = "mitigation"
	kindFile       = "file"

	hostFile = "applicationHost.config"
)

// mitigationRecord remembers one mitigation. While it is being applied, Next is set; Current is what was there before.
type mitigationRecord struct {
	Current *Mitigation `json:"current,omitempty"`
	Next    *Mitigation `json:"next,omitempty"`
	// Removing means that the removal of Current was begun.
	Removing bool `json:"removing,omitempty"`
}

func (r mitigationRecord) id() string {
	if r.Next != nil {
		return r.Next.ID
	}
	if r.Current != nil {
		return r.Current.ID
	}
	return ""
}

// both gives what is on the server and what is coming.
func (r mitigationRecord) both() []Mitigation {
	var out []Mitigation
	for _, m := range []*Mitigation{r.Current, r.Next} {
		if m != nil {
			out = append(out, *m)
		}
	}
	return out
}

// current gives the mitigation that is on the server, or nil.
func (r mitigationRecord) current() *Mitigation {
	if r.Removing {
		return nil
	}
	return r.Current
}

// owned is the part of one mitigation in the file. It repeats what the mitigation's own record says, so that the loss of
// that record does not lose what is on the server.
type owned struct {
	ID       string         `json:"id"`
	Revision int64          `json:"revision"`
	Content  apphost.Wanted `json:"content"`
	Services []string       `json:"services,omitempty"` // that it switched off
}

// fileState is what of ours stands in the file, and how to undo it.
type fileState struct {
	Edits []apphost.Edit `json:"edits,omitempty"`
	Owned []owned        `json:"owned,omitempty"`
	// Created means that the file was not there before us, and goes when nothing is left in it.
	Created bool `json:"created,omitempty"`
	// Gone is what stood in the file before, newest first and at most maxGone edits: another program that had read the file
	// then may write its copy and bring it back. A file that goes with us has none.
	Gone []apphost.Removed `json:"gone,omitempty"`
}

func (s fileState) empty() bool {
	return len(s.Edits) == 0 && len(s.Owned) == 0 && !s.Created && len(s.Gone) == 0
}

// What a record remembers of a file's past. A change makes an edit for each site or path, so 64 are several changes even of
// a server with many sites; the bytes bound what every look at a file that has changed costs.
const (
	maxGone      = 64
	maxGoneBytes = 1 << 20
)

// bury adds a state to those that are gone, if something of it is not in the file any more.
func bury(gone []apphost.Removed, old, now []apphost.Edit) []apphost.Removed {
	var state apphost.Removed
	lost := false
	for _, e := range old {
		if e.Kind == apphost.Insert && len(e.After) > 0 {
			state.Edits = append(state.Edits, e)
			lost = lost || !slices.ContainsFunc(now, func(other apphost.Edit) bool { return sameEdit(e, other) })
		}
	}
	if !lost {
		return gone
	}
	all := []apphost.Removed{state}
	for _, g := range gone {
		if !slices.EqualFunc(g.Edits, state.Edits, sameEdit) {
			all = append(all, g)
		}
	}
	count, size := 0, 0
	var out []apphost.Removed
	for _, g := range all {
		var kept apphost.Removed
		for _, e := range g.Edits {
			if count, size = count+1, size+len(e.Before)+len(e.After); count <= maxGone && size <= maxGoneBytes {
				kept.Edits = append(kept.Edits, e)
			}
		}
		if len(kept.Edits) > 0 {
			out = append(out, kept)
		}
	}
	return out
}

func sameEdit(a, b apphost.Edit) bool {
	return a.Kind == b.Kind && a.At == b.At && bytes.Equal(a.After, b.After) && bytes.Equal(a.Before, b.Before)
}

// fileRecord remembers an edited file. While a change is under way, Writing is set and Old holds the state before it;
// the hashes tell afterwards which of the two the file has. The records of all files of a change are written before the
// first of the files.
type fileRecord struct {
	fileState
	Path    string     `json:"path,omitempty"`
	Source  string     `json:"source,omitempty"` // the section, for a file that a configSource names
	Writing bool       `json:"writing,omitempty"`
	Old     *fileState `json:"old,omitempty"`
	Before  string     `json:"before,omitempty"`
	After   string     `json:"after,omitempty"`
}

// ledger is the journal as read, kept equal to the disk by its put and delete functions.
type ledger struct {
	store       *journal.Store
	mitigations map[string]mitigationRecord
	off         *offRecords
	attempts    map[string]attemptRecord
	files       map[string]fileRecord
	damaged     map[string]bool // keys of mitigations whose record is set aside
	// damagedFiles holds the keys of files whose record is set aside.
	damagedFiles map[string]bool
}

// finished gives the record of a change that is over.
func (r fileRecord) finished() fileRecord {
	return fileRecord{fileState: r.fileState, Path: r.Path, Source: r.Source}
}

// interrupted reports whether a crash or an error left a change open.
func (l *ledger) interrupted() bool {
	for _, rec := range l.files {
		if rec.Writing {
			return true
		}
	}
	for _, rec := range l.mitigations {
		if rec.Next != nil || rec.Removing {
			return true
		}
	}
	return false
}

// key makes one name of the spellings of an id or a pool.
func key(name string) string { return strings.ToLower(name) }

func (s *Server) loadLedger() (*ledger, error) {
	led := &ledger{store: s.journal, mitigations: map[string]mitigationRecord{}, attempts: map[string]attemptRecord{},
		damaged: map[string]bool{}, damagedFiles: map[string]bool{}}
	mitigations, err := journal.Load[mitigationRecord](s.journal, kindMitigation)
	if err != nil {
		return nil, err
	}
	for name, rec := range mitigations {
		led.mitigations[key(name)] = rec
	}
	attempts, err := journal.Load[attemptRecord](s.journal, kindAttempt)
	if err != nil {
		return nil, err
	}
	for name, rec := range attempts {
		led.attempts[key(name)] = rec
	}
	if led.off, err = loadOffRecords(s.journal); err != nil {
		return nil, err
	}
	if led.files, err = journal.Load[fileRecord](s.journal, kindFile); err != nil {
		return nil, err
	}
	names, err := s.journal.Damaged(kindMitigation)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		led.damaged[key(n)] = true
	}
	if names, err = s.journal.Damaged(kindFile); err != nil {
		return nil, err
	}
	for _, n := range names {
		led.damagedFiles[key(n)] = true
	}
	return led, nil
}

// putMitigation writes a record if it differs from the one on disk.
func (l *ledger) putMitigation(rec mitigationRecord) error {
	k := key(rec.id())
	if old, ok := l.mitigations[k]; ok && same(old, rec) {
		return nil
	}
	if err := l.store.Put(kindMitigation, k, rec); err != nil {
		return err
	}
	l.mitigations[k] = rec
	return nil
}

func (l *ledger) deleteMitigation(id string) error {
	if _, ok := l.mitigations[key(id)]; !ok {
		return nil
	}
	if err := l.store.Delete(kindMitigation, key(id)); err != nil {
		return err
	}
	delete(l.mitigations, key(id))
	return nil
}

// putFile writes the record of a file if it differs from the one on disk. One that says nothing is deleted.
func (l *ledger) putFile(name string, rec fileRecord) error {
	old, known := l.files[name]
	if rec.empty() && !rec.Writing {
		if known {
			if err := l.store.Delete(kindFile, name); err != nil {
				return err
			}
			delete(l.files, name)
		}
		return l.resolveFile(name)
	}
	if known && same(old, rec) {
		return nil
	}
	if err := l.store.Put(kindFile, name, rec); err != nil {
		return err
	}
	l.files[name] = rec
	if rec.Writing {
		return nil
	}
	return l.resolveFile(name)
}

// resolveFile ends the damage of a record whose file was brought in order.
func (l *ledger) resolveFile(name string) error {
	if !l.damagedFiles[key(name)] {
		return nil
	}
	delete(l.damagedFiles, key(name))
	return l.store.Resolve(kindFile, name)
}

// part gives what a mitigation has in a file, by its record.
func (l *ledger) part(name, id string) (owned, bool) {
	for _, o := range l.files[name].Owned {
		if key(o.ID) == key(id) {
			return o, true
		}
	}
	return owned{}, false
}

// same compares values as they would stand on disk, where an empty list and none are alike.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func sortMitigations(list []Mitigation) {
	sort.SliceStable(list, func(i, j int) bool { return key(list[i].ID) < key(list[j].ID) })
}

// checkIDs refuses a list that no journal could hold.
func checkIDs(wanted []Mitigation) error {
	seen := map[string]bool{}
	for _, m := range wanted {
		if m.ID == "" {
			return errors.New("a mitigation has no id")
		}
		if seen[key(m.ID)] {
			return fmt.Errorf("mitigation %q: wanted twice", m.ID)
		}
		seen[key(m.ID)] = true
	}
	return nil
}
