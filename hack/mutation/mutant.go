package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// edit replaces a piece of source text that stands in its file exactly once.
type edit struct {
	// file is relative to the root of the module, with slashes.
	file                  string
	original, replacement string
}

// mutant is the verifier without one of its steps.
type mutant struct {
	// step says what is missing.
	step  string
	edits []edit
}

// never makes a mutant in which a condition is never true.
func never(step, file, condition string) mutant {
	return mutant{step, []edit{unmet(file, condition)}}
}

// swap makes a mutant with one replacement.
func swap(step, file, original, replacement string) mutant {
	return mutant{step, []edit{{file, original, replacement}}}
}

// unmet is the edit of never, for mutants with several.
func unmet(file, condition string) edit {
	return edit{file, condition, "false && (" + condition + ")"}
}

// packages are those whose tests have to notice: that of every file that is changed.
func (m mutant) packages() []string {
	var packages []string
	for _, e := range m.edits {
		folder, _, _ := strings.Cut(strings.TrimPrefix(e.file, "internal/"), "/")
		name := "./internal/" + folder + "/..."
		if len(packages) == 0 || packages[len(packages)-1] != name {
			packages = append(packages, name)
		}
	}
	return packages
}

// apply returns the changed files by their path relative to the root of the module.
func (m mutant) apply(root string) (map[string]string, error) {
	changed := map[string]string{}
	for _, e := range m.edits {
		text, ok := changed[e.file]
		if !ok {
			content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file)))
			if err != nil {
				return nil, fmt.Errorf("mutant %q: %w", m.step, err)
			}
			text = string(content)
		}
		if count := strings.Count(text, e.original); count != 1 {
			return nil, fmt.Errorf("mutant %q: %s: the text stands there %d times, want once: %q", m.step, e.file, count, e.original)
		}
		changed[e.file] = strings.Replace(text, e.original, e.replacement, 1)
	}
	return changed, nil
}
