package iis

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// file is one configuration file in the course of a run.
type file struct {
	name   string // of its record in the journal
	path   string
	source string // the section, for a file that a configSource names
	// data and config are nil for a file that does not exist. base is the file without anything of ours, nil when there
	// would be none.
	data         []byte
	config, base *apphost.Config
	err          error // why it cannot be used, a *refusal.Error
}

// host tells applicationHost.config from all others.
func (f *file) host() bool { return f.name == hostFile }

// skeleton is what a web.config begins as that was not there, with the line ends that IIS writes.
const skeleton = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<configuration>\r\n</configuration>\r\n"

// start gives what content is rendered into.
func (f *file) start() (*apphost.Config, error) {
	if f.base != nil {
		return f.base, nil
	}
	if f.source != "" {
		return apphost.ParseSource([]byte("<"+f.source+" />\r\n"), f.source)
	}
	return apphost.Parse([]byte(skeleton))
}

// fileSet is every file that a run is about, each read once.
type fileSet struct {
	*Server
	led    *ledger
	broken map[string]error // files that could not be written earlier in this run
	host   *file
	byName map[string]*file
	raw    map[string][]byte // files that were only looked into, by path
	seen   map[string]stamp  // what the run depends on, by path
}

// openFiles reads applicationHost.config and every file that the journal knows. The error is about
// applicationHost.config, without which nothing can be done.
func (s *Server) openFiles(led *ledger, broken map[string]error) (*fileSet, error) {
	set := &fileSet{Server: s, led: led, broken: broken, byName: map[string]*file{}, raw: map[string][]byte{}, seen: map[string]stamp{}}
	c, err := s.readConfig(set.seen)
	if err != nil {
		return nil, err
	}
	set.host = &file{name: hostFile, path: c.path, data: c.data, config: c.Config, err: broken[hostFile]}
	set.byName[hostFile] = set.host
	for _, name := range sortedKeys(led.files) {
		if rec := led.files[name]; name != hostFile {
			set.open(rec.Path, rec.Source)
		}
	}
	if len(led.damagedFiles) > 0 {
		for _, k := range sortedKeys(led.mitigations) {
			for _, m := range led.mitigations[k].both() {
				if _, _, err := set.place(m); err != nil {
					continue // then it was never written; otherwise the files of it are open now
				}
			}
		}
	}
	return set, nil
}

// recordName gives the name of a file's record: its path may be longer than a file name can be.
func recordName(path string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(filepath.Clean(path))))
	return filepath.Base(path) + "-" + hex.EncodeToString(sum[:8])
}

// open gives the file of a path, which is read when this is the first time.
func (set *fileSet) open(path, source string) *file {
	name := recordName(path)
	if f, ok := set.byName[name]; ok {
		return f
	}
	f := &file{name: name, path: path, source: source, err: set.broken[name]}
	set.byName[name] = f
	data, err := set.read(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return f
	case err != nil:
		f.err = cmpErr(f.err, fileError(err, path))
		return f
	}
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		// Who may write into a site's folder must not get the agent to write elsewhere.
		f.err = refusal.New(WebConfigUnavailable, "%s: not a regular file", path)
		return f
	}
	f.data = data
	if source == "" {
		f.config, err = apphost.Parse(data)
	} else {
		f.config, err = apphost.ParseSource(data, source)
	}
	if err != nil {
		f.err = cmpErr(f.err, refusal.Wrap(ConfigurationMalformed, err, "%s: cannot be edited safely, repair it first", path))
	}
	if _, known := set.led.files[name]; !known && !set.led.damagedFiles[key(name)] {
		f.base = f.config // nothing of ours is in it
	}
	return f
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// read reads a file and remembers its stamp.
func (set *fileSet) read(path string) ([]byte, error) {
	set.seen[path] = stampOf(path)
	return set.fs.Read(path, lossless.MaxBytes)
}

// strip takes what is ours out of every file, in memory.
func (set *fileSet) strip() error {
	for _, name := range sortedKeys(set.byName) {
		f := set.byName[name]
		if f.config == nil || f.base != nil {
			continue
		}
		base, exact, revived, err := f.config.StripRevived(set.edits(f), set.led.files[name].Gone)
		if err != nil {
			return refusal.Wrap(ConfigurationMalformed, err, "%s", f.path)
		}
		if !exact {
			set.log.Info("Configuration of a mitigation was changed by others and is repaired", "path", f.path)
		}
		if revived {
			set.log.Info("Configuration that had been removed was written again by another program and is taken out", "path", f.path)
		}
		if f.base = base; set.led.files[name].Created && base.Bare() {
			f.base = nil // only we wanted the file to be there
		}
	}
	return nil
}

// edits gives what undoes everything of ours in a file. When its record was lost, elements are still known by the names in
// the records of the mitigations; wrappers that came with them are not, and stay behind empty.
func (set *fileSet) edits(f *file) []apphost.Edit {
	if _, ok := set.led.files[f.name]; ok || !set.led.damagedFiles[key(f.name)] {
		return set.led.files[f.name].Edits
	}
	var edits []apphost.Edit
	for _, k := range sortedKeys(set.led.mitigations) {
		for _, m := range set.led.mitigations[k].both() {
			_, parts, err := set.place(m)
			if err != nil {
				continue // then it was never written
			}
			for _, g := range parts[f.name].Groups {
				if g.Section == apphost.ServerVariables {
					continue // somebody else may need it as well
				}
				part := apphost.Part{Path: g.Path, Section: g.Section}
				for _, item := range g.Items {
					part.Names = append(part.Names, item.Name)
				}
				edits = append(edits, apphost.Edit{Kind: apphost.Insert, Parts: []apphost.Part{part}})
			}
		}
	}
	if f.host() {
		for _, name := range set.led.off.pools() {
			// Absent is what pools have on nearly every server.
			edits = append(edits, apphost.Edit{Kind: apphost.SetAttribute, Path: name, Attribute: "autoStart", After: []byte(` autoStart="false"`)})
		}
	}
	return edits
}

// settle finds out how far a change came that a crash or an error interrupted, and makes the journal say so.
func (set *fileSet) settle() error {
	for _, name := range sortedKeys(set.led.files) {
		rec := set.led.files[name]
		f := set.byName[name]
		if !rec.Writing || (f.err != nil && f.data == nil) {
			continue
		}
		if err := set.settleLeftover(f, rec); err != nil {
			return err
		}
		now := hashOf(f.data)
		next := rec.finished()
		old := fileState{}
		if rec.Old != nil {
			old = *rec.Old
		}
		switch now {
		case rec.After:
		case rec.Before:
			next.fileState = old
			if f.data != nil && !old.Created {
				// The new bytes may have stood there for a moment, in which another program read them.
				next.Gone = bury(rec.Gone, rec.Edits, old.Edits)
			}
		default:
			// Others wrote the file as well, on top of the old or of the new bytes. Strip takes an edit that is not
			// there for undone, so it may be given both.
			next.Edits = append(append([]apphost.Edit(nil), old.Edits...), next.Edits...)
			next.Owned = append(append([]owned(nil), old.Owned...), next.Owned...)
			next.Created = next.Created || old.Created
		}
		set.log.Info("Settled a change that was interrupted", "path", f.path, "finished", now == rec.After)
		if err := set.led.putFile(name, next); err != nil {
			return err
		}
	}
	for _, k := range sortedKeys(set.led.mitigations) {
		if err := set.settleMitigation(set.led.mitigations[k]); err != nil {
			return err
		}
	}
	return nil
}

func (set *fileSet) settleMitigation(rec mitigationRecord) error {
	switch {
	case rec.Next != nil && set.present(rec.Next):
		return set.led.putMitigation(mitigationRecord{Current: rec.Next})
	case rec.Next != nil && rec.Current == nil:
		return set.led.deleteMitigation(rec.id())
	case rec.Next != nil:
		return set.led.putMitigation(mitigationRecord{Current: rec.Current})
	case rec.Removing && rec.Current != nil && set.present(rec.Current):
		return set.led.putMitigation(mitigationRecord{Current: rec.Current})
	default:
		return nil
	}
}

// present reports whether all of a mitigation stands in the files.
func (set *fileSet) present(m *Mitigation) bool {
	_, parts, err := set.place(*m)
	return err == nil && !slices.ContainsFunc(sortedKeys(parts), func(name string) bool { return set.missing(name, parts[name]) })
}

// missing reports whether something of a part is not in its file.
func (set *fileSet) missing(name string, part apphost.Wanted) bool {
	f := set.byName[name]
	if f.config == nil {
		return !part.Empty()
	}
	return len(f.config.Missing(part)) > 0
}

// settleLeftover removes the new bytes of a change that a crash prevented. When the crash came right after the swap, the
// file beside the target is what was replaced; if that is not what we had read, another program wrote at that very moment,
// and its version is put back.
func (set *fileSet) settleLeftover(f *file, rec fileRecord) error {
	temp := tempOf(f.path)
	data, err := set.fs.Read(temp, lossless.MaxBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && rec.After != "" && hashOf(f.data) == rec.After && hashOf(data) != rec.Before && hashOf(data) != rec.After {
		if config, err := set.again(f, data); err == nil {
			set.log.Info("Put back what another program wrote during a change", "path", f.path)
			if err := set.fs.Replace(temp, f.path); err != nil {
				return fileError(err, f.path)
			}
			f.data, f.config = data, config
			return set.fs.SyncDir(filepath.Dir(f.path))
		}
	}
	if err := set.fs.Remove(temp); err != nil {
		return refusal.Wrap(ConfigurationWriteFailed, err, "%s: leftover of a change", temp)
	}
	return nil
}

func (set *fileSet) again(f *file, data []byte) (*apphost.Config, error) {
	if f.source != "" {
		return apphost.ParseSource(data, f.source)
	}
	return apphost.Parse(data)
}

// hashOf is "" for a file that does not exist.
func hashOf(data []byte) string {
	if data == nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// sameBytes tells an empty file from none.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
