package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const moduleRoot = "../.."

// TestEveryMutantFitsTheSources is what makes a change of the verifier take its mutants along.
func TestEveryMutantFitsTheSources(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutants() {
		if seen[m.step] {
			t.Errorf("two mutants of the name %q", m.step)
		}
		seen[m.step] = true
		if _, err := m.apply(moduleRoot); err != nil {
			t.Error(err)
		}
	}
	if len(seen) < 35 {
		t.Errorf("%d mutants: the table has lost some", len(seen))
	}
}

func TestApplyRefusesWhatDoesNotFit(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("if a { } else if a && b { }"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		mutant  mutant
		want    string
		wantErr string
	}{
		"text that stands there once":        {never("s", "a.go", "a && b"), "if a { } else if false && (a && b) { }", ""},
		"text that stands there twice":       {never("s", "a.go", "if a"), "", "2 times"},
		"text that is gone":                  {never("s", "a.go", "c"), "", "0 times"},
		"a file that is gone":                {never("s", "b.go", "c"), "", "b.go"},
		"two edits of one file":              {mutant{"s", []edit{unmet("a.go", "a && b"), {"a.go", "else", "ELSE"}}}, "if a { } ELSE if false && (a && b) { }", ""},
		"a second edit that does not fit":    {mutant{"s", []edit{unmet("a.go", "a && b"), {"a.go", "none", ""}}}, "", "0 times"},
		"a replacement of something shorter": {swap("s", "a.go", "a && b", "b"), "if a { } else if b { }", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed, err := tc.mutant.apply(root)
			switch {
			case tc.wantErr == "" && err != nil:
				t.Fatal(err)
			case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)):
				t.Fatalf("error %v, want one with %q", err, tc.wantErr)
			case changed["a.go"] != tc.want:
				t.Fatalf("%q, want %q", changed["a.go"], tc.want)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                   "module example.com/m\n\ngo 1.26\n",
		"internal/a/a.go":          "package a\n\nfunc Allowed(n int) bool { return n < 3 && n != -7 }\n",
		"internal/a/a_test.go":     "package a\n\nimport \"testing\"\n\nfunc TestAllowed(t *testing.T) {\n\tif Allowed(5) || !Allowed(1) {\n\t\tt.Fatal(5)\n\t}\n}\n",
		"internal/a/sub/doc.go":    "// Package sub is empty.\npackage sub\n",
		"internal/a/sub/x_test.go": "package sub\n",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		mutant     mutant
		want       verdict
		wantDetail string
	}{
		"a step that a test misses":       {swap("s", "internal/a/a.go", "n < 3", "n < 9"), killedByTest, "TestAllowed"},
		"a step that no test misses":      {swap("s", "internal/a/a.go", "n != -7", "true"), survived, "no test noticed"},
		"a mutant that panics":            {swap("s", "internal/a/a.go", "return", "panic(n); return"), killedByTest, "TestAllowed"},
		"a mutant that does not compile":  {swap("s", "internal/a/a.go", "n < 3", "n < x"), unusable, "does not compile"},
		"a mutant that fits no more":      {swap("s", "internal/a/a.go", "n < 4", "n < 9"), unusable, "0 times"},
		"a mutant in a file that is gone": {swap("s", "internal/a/b.go", "n < 4", "n < 9"), unusable, "b.go"},
	}
	r := &runner{root: root, timeout: 30e9}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := r.test(t.Context(), tc.mutant)
			if got.verdict != tc.want || !strings.Contains(got.detail, tc.wantDetail) {
				t.Fatalf("%s, want %s with %q", got, tc.want, tc.wantDetail)
			}
		})
	}
}
