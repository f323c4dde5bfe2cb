package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

const lookGuide = "docs/guides/look.md"

// pictured is a block of the guide behind a comment that names a package and a golden file of it. The command stays.
var pictured = regexp.MustCompile("<!-- output: ([a-z]+)/([a-z0-9-]+) -->\n```console\n(\\$[^\n]*\n)(?s:.*?)```\n")

// TestLookGuide keeps the pictures of docs/guides/look.md to what the program prints, and its commands to flags that there are.
func TestLookGuide(t *testing.T) {
	file := filepath.Join(repository, lookGuide)
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	places := 0
	want := pictured.ReplaceAllStringFunc(string(page), func(place string) string {
		places++
		parts := pictured.FindStringSubmatch(place)
		content, err := os.ReadFile(filepath.Join("internal", parts[1], "testdata", parts[2]+".golden"))
		if err != nil {
			t.Error(err)
		}
		return "<!-- output: " + parts[1] + "/" + parts[2] + " -->\n```console\n" + parts[3] + string(content) + "```\n"
	})
	if places != 9 {
		t.Errorf("%d places to fill were found", places)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("%s is out of date: run the test with -update:\n%s", lookGuide, diff)
	}
	lines := regexp.MustCompile(`(?m)^\$ (?:[^\n|]*\| )?kubectl mitigation ([a-z]+)([^\n]*)$`).FindAllStringSubmatch(string(page), -1)
	if len(lines) < places {
		t.Errorf("%d commands were found", len(lines))
	}
	for _, line := range lines {
		found := false
		for _, c := range commands() {
			if c.Name != line[1] {
				continue
			}
			found = true
			flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
			c.Bind((&program{}).world(), flags)
			if err := flags.Parse(strings.Fields(line[2])); err != nil {
				t.Errorf("%s: %v", line[0], err)
			}
		}
		if !found {
			t.Errorf("%s: no such command", line[0])
		}
	}
}
