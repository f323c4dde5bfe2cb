package iis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/journal"
)

// Kinds of records in the journal, and the name of the one record of the file.
const (
	kindMitigation = "mitigation"
	kindFile       = "file"
	kindPool       = "pool"

	fileName = "applicationHost.config"
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
}

// fileState is what of ours stands in the file, and how to undo it.
type fileState struct {
	Edits []apphost.Edit `json:"edits,omitempty"`
	Owned []owned        `json:"owned,omitempty"`
}

// fileRecord remembers the edited file. While a change is under way, Writing is set and Old holds the state before it;
// the hashes tell afterwards which of the two the file has.
type fileRecord struct {
	fileState
	Writing bool       `json:"writing,omitempty"`
	Old     *fileState `json:"old,omitempty"`
	Before  string     `json:"before,omitempty"`
	After   string     `json:"after,omitempty"`
}

// poolRecord remembers how a pool was before it was stopped for the first mitigation that wants it off.
type poolRecord struct {
	Name  string    `json:"name"`
	Prior PoolState `json:"prior"`
}

// ledger is the journal as read, kept equal to the disk by its put and delete functions.
type ledger struct {
	store       *journal.Store
	mitigations map[string]mitigationRecord
	pools       map[string]poolRecord
	file        fileRecord
	hasFile     bool
	damaged     map[string]bool // keys of mitigations whose record is set aside
	damagedFile bool
	damagedPool map[string]bool // keys of pools whose record is set aside
}

// key makes one name of the spellings of an id or a pool.
func key(name string) string { return strings.ToLower(name) }

func (s *Server) loadLedger() (*ledger, error) {
	led := &ledger{store: s.journal, mitigations: map[string]mitigationRecord{}, pools: map[string]poolRecord{}, damaged: map[string]bool{}, damagedPool: map[string]bool{}}
	mitigations, err := journal.Load[mitigationRecord](s.journal, kindMitigation)
	if err != nil {
		return nil, err
	}
	for name, rec := range mitigations {
		led.mitigations[key(name)] = rec
	}
	pools, err := journal.Load[poolRecord](s.journal, kindPool)
	if err != nil {
		return nil, err
	}
	for name, rec := range pools {
		led.pools[key(name)] = rec
	}
	files, err := journal.Load[fileRecord](s.journal, kindFile)
	if err != nil {
		return nil, err
	}
	led.file, led.hasFile = files[fileName]
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
	led.damagedFile = len(names) > 0
	if names, err = s.journal.Damaged(kindPool); err != nil {
		return nil, err
	}
	for _, n := range names {
		if _, ok := led.pools[key(n)]; !ok {
			// Its prior state is lost. Nearly all pools run, and one too many that runs is seen sooner than one too few.
			led.pools[key(n)] = poolRecord{Name: n, Prior: PoolStarted}
			led.damagedPool[key(n)] = true
		}
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

func (l *ledger) putFile(rec fileRecord) error {
	if l.hasFile && same(l.file, rec) {
		return nil
	}
	if err := l.store.Put(kindFile, fileName, rec); err != nil {
		return err
	}
	l.file, l.hasFile = rec, true
	return nil
}

func (l *ledger) putPool(rec poolRecord) error {
	if err := l.store.Put(kindPool, key(rec.Name), rec); err != nil {
		return err
	}
	l.pools[key(rec.Name)] = rec
	return nil
}

func (l *ledger) deletePool(name string) error {
	if err := l.store.Delete(kindPool, key(name)); err != nil {
		return err
	}
	if l.damagedPool[key(name)] {
		if err := l.store.Resolve(kindPool, key(name)); err != nil {
			return err
		}
	}
	delete(l.pools, key(name))
	return nil
}

// edits gives what undoes everything of ours. When the record of the file was lost, the rules are still known by the
// names in the other records; wrappers that came with them are not, and stay behind empty.
func (l *ledger) edits() []apphost.Edit {
	if l.hasFile || !l.damagedFile {
		return l.file.Edits
	}
	var edits []apphost.Edit
	for _, k := range sortedKeys(l.mitigations) {
		rec := l.mitigations[k]
		for _, m := range []*Mitigation{rec.Current, rec.Next} {
			if m == nil {
				continue
			}
			content, err := m.content()
			if err != nil {
				continue // then it was never written
			}
			for _, g := range content.Rules {
				e := apphost.Edit{Kind: apphost.InsertRules, Path: g.Site}
				for _, r := range g.Rules {
					e.Rules = append(e.Rules, r.Name)
				}
				edits = append(edits, e)
			}
		}
	}
	for _, k := range sortedKeys(l.pools) {
		// Absent is what pools have on nearly every server.
		edits = append(edits, apphost.Edit{Kind: apphost.SetAutoStart, Path: l.pools[k].Name, After: []byte(` autoStart="false"`)})
	}
	return edits
}

// settle finds out how far a change came that a crash or an error interrupted, and makes the journal say so.
func (s *Server) settle(led *ledger, c *config) error {
	if led.hasFile && led.file.Writing {
		if err := s.removeLeftover(c.path); err != nil {
			return err
		}
		rec := fileRecord{fileState: led.file.fileState}
		old := fileState{}
		if led.file.Old != nil {
			old = *led.file.Old
		}
		switch hashOf(c.data) {
		case led.file.After:
		case led.file.Before:
			rec.fileState = old
		default:
			// Others wrote the file as well, on top of the old or of the new bytes. Strip takes an edit that is not
			// there for undone, so it may be given both.
			rec.Edits = append(append([]apphost.Edit(nil), old.Edits...), rec.Edits...)
			rec.Owned = append(append([]owned(nil), old.Owned...), rec.Owned...)
		}
		s.log.Info("Settled a change that was interrupted", "path", c.path, "finished", hashOf(c.data) == led.file.After)
		if err := led.putFile(rec); err != nil {
			return err
		}
	}
	for _, k := range sortedKeys(led.mitigations) {
		if err := led.settleMitigation(led.mitigations[k], c); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) settleMitigation(rec mitigationRecord, c *config) error {
	switch {
	case rec.Next != nil && present(rec.Next, c):
		return l.putMitigation(mitigationRecord{Current: rec.Next})
	case rec.Next != nil && rec.Current == nil:
		return l.deleteMitigation(rec.id())
	case rec.Next != nil:
		return l.putMitigation(mitigationRecord{Current: rec.Current})
	case rec.Removing && rec.Current != nil && present(rec.Current, c):
		return l.putMitigation(mitigationRecord{Current: rec.Current})
	default:
		return nil
	}
}

// present reports whether all of a mitigation stands in the file.
func present(m *Mitigation, c *config) bool {
	content, err := m.content()
	return err == nil && len(c.Missing(content)) == 0
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
