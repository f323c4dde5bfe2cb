package local

import (
	"path/filepath"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"mitigation.dev/ems/agent/iis/shadow"
)

// noFile stands in a diff for a file that does not exist.
const noFile = "/dev/null"

// unified gives the difference of a file. Line ends stand in it as they are in the file, so a program that applies it must
// not change any (patch --binary).
func unified(root string, f shadow.FileChange) (string, error) {
	name := f.Path
	if below, err := filepath.Rel(root, f.Path); err == nil && filepath.IsLocal(below) {
		name = below
	}
	name = strings.TrimPrefix(filepath.ToSlash(name), "/")
	from, to := "a/"+name, "b/"+name
	if f.Before == nil {
		from = noFile
	}
	if f.After == nil {
		to = noFile
	}
	before, after := string(f.Before), string(f.After)
	return udiff.ToUnified(from, to, before, udiff.Lines(before, after), udiff.DefaultContextLines)
}
