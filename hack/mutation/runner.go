package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

type verdict string

const (
	killedByTest verdict = "killed"
	survived     verdict = "SURVIVED"
	// unusable: the mutant does not fit the sources or does not compile, so nothing was proved.
	unusable verdict = "UNUSABLE"
)

type result struct {
	mutant  mutant
	verdict verdict
	// detail is the test that failed, or why there is no verdict.
	detail string
	took   time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%-8s %5.1f s  %s: %s", r.verdict, r.took.Seconds(), r.mutant.step, r.detail)
}

type runner struct {
	root    string
	timeout time.Duration
}

var (
	failedTest  = regexp.MustCompile(`(?m)^\s*--- FAIL: (.+) \(`)
	brokenBuild = regexp.MustCompile(`(?m)\[(?:build|setup) failed\]`)
	stopped     = regexp.MustCompile(`(?m)^panic: (.+)$`)
)

// test builds and tests the module with one mutant in place of the original.
func (r *runner) test(ctx context.Context, m mutant) result {
	started := time.Now()
	verdict, detail := r.judge(ctx, m)
	return result{m, verdict, detail, time.Since(started)}
}

func (r *runner) judge(ctx context.Context, m mutant) (verdict, string) {
	folder, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return unusable, err.Error()
	}
	defer func() { _ = os.RemoveAll(folder) }()
	overlay, err := r.overlay(m, folder)
	if err != nil {
		return unusable, err.Error()
	}
	// Vet has opinions about conditions that are never true.
	args := append([]string{"test", "-short", "-failfast", "-vet=off", "-timeout", r.timeout.String(), "-overlay", overlay}, m.packages()...)
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = r.root
	output, err := command.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return unusable, "interrupted"
	case err == nil:
		return survived, "no test noticed"
	case brokenBuild.Match(output):
		return unusable, "does not compile: " + string(output)
	}
	// With -failfast the last of nested tests is the most precise name.
	if names := failedTest.FindAllSubmatch(output, -1); names != nil {
		return killedByTest, string(names[len(names)-1][1])
	}
	if reason := stopped.FindSubmatch(output); reason != nil {
		return killedByTest, "panic: " + string(reason[1])
	}
	return unusable, "no test failed, but go test did: " + string(output)
}

// overlay writes the changed files and the list that the go command wants (go help build, -overlay).
func (r *runner) overlay(m mutant, folder string) (string, error) {
	changed, err := m.apply(r.root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for file, text := range changed {
		original, err := filepath.Abs(filepath.Join(r.root, filepath.FromSlash(file)))
		if err != nil {
			return "", err
		}
		copied := filepath.Join(folder, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[original] = copied
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}
