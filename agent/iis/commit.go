package iis

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
	"mitigation.dev/ems/agent/journal/durable"
)

// errChanged means that somebody else wrote the file while we worked; the caller starts again.
var errChanged = errors.New("the file was changed by another program")

// writeError says which file could not be written. What it wraps is a *refusal.Error or errChanged.
type writeError struct {
	file, path string // its name in the journal, and where it is
	err        error
}

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// result is what shall become of a file.
type result struct {
	*file
	content apphost.Wanted
	out     []byte // nil for no file
	state   fileState
}

func (r *result) changes() bool { return !sameBytes(r.out, r.data) }

// record gives the record of the file after the change.
func (r *result) record() fileRecord {
	rec := fileRecord{fileState: r.state, Source: r.source}
	if !r.host() {
		rec.Path = r.path
	}
	return rec
}

// render gives every usable file with everything that is wanted in it, and reads it as IIS would before it goes anywhere
// near the server.
func (r *run) render(set *fileSet) ([]*result, error) {
	var results []*result
	for _, name := range sortedKeys(set.byName) {
		f := set.byName[name]
		if f.err != nil {
			continue
		}
		res := &result{file: f, content: r.plan.content(name), state: fileState{Owned: r.plan.owned(name)}}
		results = append(results, res)
		if res.content.Empty() {
			if f.base != nil {
				if err := f.base.CrossCheck(); err != nil {
					return nil, refusal.Wrap(ConfigurationMalformed, err, "%s", f.path)
				}
				res.out = f.base.Data()
			}
			continue
		}
		start, err := f.start()
		if err != nil {
			return nil, refusal.Wrap(ConfigurationMalformed, err, "%s", f.path)
		}
		out, edits, err := start.Render(res.content)
		if err != nil {
			return nil, refusal.Wrap(refusal.Of(err, ConfigurationMalformed), err, "%s", f.path)
		}
		if found := out.Verify(res.content); len(found) > 0 {
			return nil, refusal.New(SectionLocked, "%s: %q at %q would not take effect (%s), so nothing was written",
				f.path, found[0].Name, found[0].Place, found[0].Problem)
		}
		res.out, res.state.Edits, res.state.Created = out.Data(), edits, f.base == nil
	}
	for _, res := range results {
		if was := r.led.files[res.name]; res.out != nil && !res.state.Created {
			res.state.Gone = bury(was.Gone, was.Edits, res.state.Edits)
		}
	}
	return results, nil
}

// commit brings the new bytes to the disk, with the journal in front and behind. It writes nothing that is there already.
// The records of all files stand in the journal before the first file is written, so that a crash in between is found out
// for each of them.
func (r *run) commit(set *fileSet, results []*result) error {
	var changed []*result
	for _, res := range results {
		if res.changes() {
			changed = append(changed, res)
		}
	}
	if len(changed) > 0 {
		if err := r.announce(); err != nil {
			return journalFailed(err)
		}
	}
	for _, res := range results {
		rec := res.record()
		if res.changes() {
			old := r.led.files[res.name].fileState
			old.Edits = set.edits(res.file)
			old.Gone = nil // the new state has it
			rec.Writing, rec.Old, rec.Before, rec.After = true, &old, hashOf(res.data), hashOf(res.out)
		}
		if err := r.led.putFile(res.name, rec); err != nil {
			return journalFailed(err)
		}
	}
	slices.SortStableFunc(changed, func(a, b *result) int { return r.order(a) - r.order(b) })
	for _, res := range changed {
		r.wrote = true
		if err := r.swap(res); err != nil {
			return &writeError{file: res.name, path: res.path, err: err} // the records say Writing, and settle finds out what the files have
		}
	}
	for _, res := range changed {
		if err := r.led.putFile(res.name, res.record()); err != nil {
			return journalFailed(err)
		}
	}
	return nil
}

// announce writes the records of the mitigations that are about to change.
func (r *run) announce() error {
	for _, ch := range r.plan.chosen {
		if ch.fresh {
			m := ch.mitigation
			if err := r.led.putMitigation(mitigationRecord{Current: r.led.mitigations[key(m.ID)].current(), Next: &m}); err != nil {
				return err
			}
		}
	}
	for _, m := range r.removals() {
		if err := r.led.putMitigation(mitigationRecord{Current: &m, Removing: true}); err != nil {
			return err
		}
	}
	return nil
}

// order says when a file is written. Files that lose something come first: a rule that moves from one file to another must
// never stand in both, which IIS answers with 500.19. A web.config then goes before applicationHost.config, and where files
// gain it comes after it, because its rules may need the server variables that the other allows.
func (r *run) order(res *result) int {
	before, after := 0, 0
	for _, o := range r.led.files[res.name].Old.owned() {
		before += size(o.Content)
	}
	after = size(res.content)
	switch {
	case after < before && !res.host():
		return 0
	case after < before:
		return 1
	case res.host():
		return 2
	default:
		return 3
	}
}

func (s *fileState) owned() []owned {
	if s == nil {
		return nil
	}
	return s.Owned
}

func size(w apphost.Wanted) int {
	n := 0
	for _, g := range w.Groups {
		n += len(g.Items)
	}
	return n
}

// untouched reports whether every file of a change still is what it was.
func (r *run) untouched(results []*result) bool {
	return !slices.ContainsFunc(results, func(res *result) bool {
		if !res.changes() {
			return false
		}
		same, err := r.has(res.path, res.data)
		return err != nil || !same
	})
}

// readOr gives nil for a file that does not exist.
func (s *Server) readOr(path string) ([]byte, error) {
	data, err := s.fs.Read(path, lossless.MaxBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func tempOf(path string) string { return path + durable.TempSuffix }

// swap puts new bytes in place of a file, unless the file has changed since it was read, and reads them back. Errors are
// *refusal.Error or errChanged.
func (s *Server) swap(res *result) error {
	if res.out == nil {
		return s.discard(res)
	}
	if res.data != nil {
		info, err := os.Stat(res.path)
		if err != nil {
			return fileError(err, res.path)
		}
		if info.Mode().Perm()&0o200 == 0 {
			return refusal.New(ConfigurationReadOnly, "%s: marked read-only: clear the attribute", res.path)
		}
	}
	temp, err := s.fs.WriteTemp(res.path, res.out)
	if err != nil {
		return fileError(err, res.path)
	}
	if res.data == nil {
		err = readable(temp)
	}
	if err == nil {
		err = s.unchanged(res)
	}
	if err == nil {
		err = s.exchange(temp, res)
	}
	if err != nil {
		if !errors.Is(err, errKept) {
			s.removeTemp(temp)
		}
		if errors.Is(err, errChanged) {
			return errChanged
		}
		return fileError(err, res.path)
	}
	if err := s.fs.SyncDir(filepath.Dir(res.path)); err != nil {
		return fileError(err, res.path)
	}
	same, err := s.has(res.path, res.out)
	if err != nil {
		return fileError(err, res.path)
	}
	if !same {
		s.log.Info("Configuration was overwritten by another program", "path", res.path)
		return errChanged
	}
	return nil
}

// errKept means that the file beside the target holds what another program wrote and must stay until the journal is settled.
var errKept = errors.New("a version of another program is kept")

// exchange swaps the file for the new one. Where the system can, it gets the replaced file back and looks whether it is the
// one that was read: another program may have written in the last moment. Then the swap is undone.
func (s *Server) exchange(temp string, res *result) error {
	fs, ok := s.fs.(durable.Exchanger)
	if !ok || res.data == nil {
		return s.fs.Replace(temp, res.path)
	}
	if err := fs.Exchange(temp, res.path); err != nil {
		return err
	}
	same, err := s.has(temp, res.data)
	if err != nil {
		return errors.Join(err, errKept)
	}
	if same {
		s.removeTemp(temp)
		return nil
	}
	for expect := res.out; ; {
		// Put it back. When that replaces a still newer version instead of ours, that one is put back next: what comes out
		// last is what we put in before.
		putting, err := s.readOr(temp)
		if err == nil {
			err = fs.Exchange(temp, res.path)
		}
		if err == nil {
			same, err = s.has(temp, expect)
		}
		if err != nil {
			return errors.Join(err, errKept)
		}
		if same {
			return errChanged
		}
		expect = putting
	}
}

// discard deletes a file that only we wanted to be there.
func (s *Server) discard(res *result) error {
	err := s.unchanged(res)
	if err == nil {
		err = s.fs.Remove(res.path)
	}
	if err == nil {
		err = s.fs.SyncDir(filepath.Dir(res.path))
	}
	if err == nil || errors.Is(err, errChanged) {
		return err
	}
	return fileError(err, res.path)
}

// unchanged gives errChanged when a file is not what was read.
func (s *Server) unchanged(res *result) error {
	same, err := s.has(res.path, res.data)
	if err == nil && !same {
		err = errChanged
	}
	return err
}

// has reports whether a file has exactly these bytes, nil for no file.
func (s *Server) has(path string, want []byte) (bool, error) {
	comparer, ok := s.fs.(durable.Comparer)
	if !ok {
		now, err := s.readOr(path)
		return err == nil && sameBytes(now, want), err
	}
	same, err := comparer.Same(path, want)
	if errors.Is(err, os.ErrNotExist) {
		return want == nil, nil
	}
	return same && want != nil, err
}

func (s *Server) removeTemp(temp string) {
	if err := s.fs.Remove(temp); err != nil {
		s.log.Error(err, "Could not remove temporary file", "path", temp)
	}
}
