package harness

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// standInState is the file that stands for the run-time states of application pools; IIS has no such file.
const standInState = "Windows/System32/inetsrv/pools.json"

// logs are what the site writes with every request.
const logs = "inetpub/logs"

// Snapshot is the content of all files of a server by path, but for logs.
type Snapshot map[string]string

// Snapshot reads all files of the server.
func (s *Server) Snapshot() (Snapshot, error) {
	files := Snapshot{}
	err := filepath.WalkDir(s.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(s.Root, path)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); name == standInState || strings.HasPrefix(name, logs+"/") {
			return nil
		}
		content, err := os.ReadFile(path)
		files[name] = string(content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("server %s: snapshot: %w", s.Name, err)
	}
	return files, nil
}

// Differences says what became different since an earlier snapshot; empty if every byte is the same.
func (s Snapshot) Differences(earlier Snapshot) []string {
	var found []string
	for name := range earlier {
		if _, ok := s[name]; !ok {
			found = append(found, name+": is gone")
		}
	}
	for name, content := range s {
		before, ok := earlier[name]
		switch {
		case !ok:
			found = append(found, name+": is new")
		case before != content:
			at := firstDifference(before, content)
			found = append(found, fmt.Sprintf("%s: %d bytes instead of %d, different from line %d on",
				name, len(content), len(before), 1+strings.Count(before[:at], "\n")))
		}
	}
	slices.Sort(found)
	return found
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// Names lists the files.
func (s Snapshot) Names() []string { return slices.Sorted(maps.Keys(s)) }
