//go:build !windows

package docs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/test/docs/walk"
)

const quickStart = "docs/quickstart.md"

// TestQuickStartFromAClone follows the page to the letter, in a folder that holds what a clone would hold, and says how long it takes.
func TestQuickStartFromAClone(t *testing.T) {
	if os.Getenv("EMS_TEST_QUICKSTART") == "" {
		t.Skip("EMS_TEST_QUICKSTART is not set: it builds all programs; without it the page is run on programs that are there")
	}
	p, err := walk.Parse(quickStart, readFile(t, quickStart))
	must(t, err)
	folder := clone(t)
	shell, err := walk.Open(t.Context(), folder, append(os.Environ(), "TERM=dumb", "LC_ALL=C.UTF-8"))
	must(t, err)
	begin := time.Now()
	for _, b := range p.Blocks {
		for i, c := range b.Commands {
			if !isRun(p, b, c) {
				continue
			}
			exit, started := 0, time.Now()
			if i == len(b.Commands)-1 {
				exit = b.Exit
			}
			_, err := runCommand(t, shell, b, c, exit)
			t.Logf("%7.1f s  %s", time.Since(started).Seconds(), strings.ReplaceAll(c.Text, "\n", " "))
			if err != nil {
				t.Fatalf("%s:%d: $ %s\n%v", p.Path, c.Line, c.Text, err)
			}
		}
	}
	t.Logf("%7.1f s  in all", time.Since(begin).Seconds())
	must(t, shell.Close())
}

// clone copies the files that git knows, and those that it would take.
func clone(t *testing.T) string {
	t.Helper()
	source, err := filepath.Abs(root)
	must(t, err)
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = source
	names, err := list.Output()
	must(t, err)
	folder := t.TempDir()
	for name := range bytes.SplitSeq(bytes.TrimRight(names, "\x00"), []byte{0}) {
		from, to := filepath.Join(source, string(name)), filepath.Join(folder, string(name))
		info, err := os.Stat(from)
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		must(t, err)
		content, err := os.ReadFile(from)
		must(t, err)
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		must(t, os.WriteFile(to, content, info.Mode().Perm()))
	}
	return folder
}
