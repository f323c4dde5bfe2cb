package iis

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/winpath"
)

// Effective says of every mitigation of Applied whether IIS would really run what it put into the configuration.
// Mitigations without rewrite content have a verdict without a status. Files that have not changed since
// the last call are not read again. The error is that of the journal.
func (s *Server) Effective() ([]effective.Verdict, error) {
	applied, err := s.Applied()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	files := &effectiveFiles{Server: s, used: map[effectiveKey]effectiveFile{}}
	targets := make([]effective.Target, 0, len(applied))
	var unreadable []effective.Verdict
	for _, m := range applied {
		content, err := m.content()
		if err != nil {
			// An earlier version of the agent may have installed what this one does not know.
			unreadable = append(unreadable, effective.Verdict{ID: m.ID, Status: effective.Unknown, Reason: UnsupportedContent, Message: err.Error()})
			continue
		}
		targets = append(targets, effective.Target{ID: m.ID, Content: content})
	}
	view := effective.View{Files: files, Registry: s.switches()}
	if view.Host, err = winpath.Find(s.root, winpath.Config...); err == nil {
		view.Redirection, err = winpath.Find(filepath.Dir(view.Host), redirectionName)
	}
	if err != nil {
		return nil, fmt.Errorf("iis: effective: %w", fileError(err, "applicationHost.config"))
	}
	verdicts := effective.Resolve(view, targets)
	s.effective = files.used // what was not asked for is forgotten
	if err := s.sampleVerdicts(view.Host, applied, verdicts); err != nil {
		return nil, err
	}
	return append(verdicts, unreadable...), nil
}

// effectiveKey is a file and the section that it holds, "" for a whole configuration.
type effectiveKey struct{ path, section string }

// effectiveFile is a file as it was read, or why it could not be.
type effectiveFile struct {
	stamp stamp
	file  *effective.File
	err   error
}

// effectiveFiles gives package effective the files of the server, each read once until it changes.
type effectiveFiles struct {
	*Server
	used map[effectiveKey]effectiveFile
}

var _ effective.Files = (*effectiveFiles)(nil)

// Read implements effective.Files.
func (f *effectiveFiles) Read(name, section string) (*effective.File, error) {
	key := effectiveKey{name, section}
	if known, ok := f.used[key]; ok {
		return known.file, known.err
	}
	known, ok := f.effective[key]
	if !ok || !known.stamp.old() || !known.stamp.same(stampOf(name)) {
		known = f.readEffective(name, section)
	}
	f.used[key] = known
	return known.file, known.err
}

func (f *effectiveFiles) readEffective(name, section string) effectiveFile {
	out := effectiveFile{stamp: stampOf(name)}
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: errNoFile}
	}
	var data []byte
	if err == nil {
		data, err = f.fs.Read(name, lossless.MaxBytes)
	}
	if err == nil {
		out.file, err = effective.Parse(name, data, section)
	}
	out.err = err
	return out
}

var errNoFile = errors.New("not a file")

// WebConfig implements effective.Files.
func (f *effectiveFiles) WebConfig(physicalPath, below string) (string, error) {
	folder, err := f.folder(physicalPath, below)
	if err != nil {
		return "", err
	}
	return winpath.Find(folder, "web.config")
}

// Source implements effective.Files.
func (f *effectiveFiles) Source(file, configSource string) (string, error) {
	return sourcePath(file, configSource)
}

// sourcePath finds the file that a configSource names, which IIS only reads in the same folder or below.
func sourcePath(file, source string) (string, error) {
	clean := path.Clean(strings.ReplaceAll(source, `\`, "/"))
	if path.IsAbs(clean) || strings.Contains(clean, ":") || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errors.New("outside of the folder")
	}
	return winpath.Find(filepath.Dir(file), strings.Split(clean, "/")...)
}
