package documents

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/xmlsig"
)

const (
	// MaxKept is how many documents stay on the disk. One of a feed is in use, two or three while a newer one is staged;
	// with a handful of feeds 32 leave room to go back, in 32 MiB at the very most.
	MaxKept = 32

	keptSuffix = ".xml"
)

// shelf keeps the original bytes of documents by their digest.
type shelf struct{ dir string }

func openShelf(dir string) (*shelf, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	return &shelf{dir: dir}, nil
}

// get returns the bytes; the error wraps os.ErrNotExist if there are none.
func (s *shelf) get(digest string) ([]byte, error) {
	data, err := durable.OS{}.Read(s.path(digest), xmlsig.MaxDocumentBytes)
	if err != nil {
		return nil, fmt.Errorf("documents: %w", err)
	}
	return data, nil
}

// put keeps the bytes; they are on the disk when it returns.
func (s *shelf) put(digest string, original []byte) error {
	if err := durable.WriteFile(durable.OS{}, s.path(digest), original); err != nil {
		return fmt.Errorf("documents: %w", err)
	}
	return nil
}

// prune removes the oldest documents that are not in use, until at most MaxKept are left.
func (s *shelf) prune(inUse map[string]bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("documents: %w", err)
	}
	type file struct {
		digest  string
		written time.Time
	}
	var removable []file
	count := 0
	for _, e := range entries {
		digest, ok := strings.CutSuffix(e.Name(), keptSuffix)
		if !ok || !isDigest(digest) {
			continue
		}
		count++
		info, err := e.Info()
		if err != nil || inUse[digest] {
			continue
		}
		removable = append(removable, file{digest: digest, written: info.ModTime()})
	}
	slices.SortFunc(removable, func(a, b file) int { return a.written.Compare(b.written) })
	var problems []error
	for _, f := range removable[:min(len(removable), max(0, count-MaxKept))] {
		problems = append(problems, os.Remove(s.path(f.digest)))
	}
	return errors.Join(problems...)
}

func (s *shelf) path(digest string) string { return filepath.Join(s.dir, digest+keptSuffix) }
