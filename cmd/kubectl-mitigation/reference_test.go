package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/enroll"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/internal/publish"
)

const (
	reference  = "docs/reference/kubectl-mitigation.md"
	jsonOutput = "docs/reference/kubectl-mitigation-json.md"
)

var update = flag.Bool("update", false, "write "+reference)

const preface = `# kubectl mitigation

<!-- Written by "go test ./cmd/kubectl-mitigation -run TestReference -update" from the flags of the commands. -->

What the commands of publishers are for stands in the [guide for publishers](../guides/publish-your-own.md), those of operators in the guides on [steering](../guides/steer.md), [rollouts](../guides/rollouts.md) and [enrolment](../operations/enroll.md), the fields of ` + "`-o json`" + ` in [their own page](kubectl-mitigation-json.md).

| exit code | meaning |
|---|---|
| 0 | done; valid; accessible |
| 1 | refused, not valid, or failed; of several pools, at least one. ` + "`rollout status`" + `: halted or aborted |
| 2 | wrong usage: an unknown flag, one that is missing, a trust file that cannot be used, a file to be checked that cannot be read, or a kubeconfig that cannot be used |
| 3 | ` + "`rollout status`" + `: still moving |

Flags may stand before and behind other arguments, with one dash or two.
`

// TestReference keeps the page and the flags together.
func TestReference(t *testing.T) {
	var page strings.Builder
	page.WriteString(preface)
	p := &program{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, now: time.Now}
	for _, c := range commands() {
		fmt.Fprintf(&page, "\n## %s\n\n%s.\n\n```console\n$ kubectl mitigation %s\n```\n", c.name, strings.ToUpper(c.summary[:1])+c.summary[1:], strings.TrimSpace(c.name+" [flags] "+c.arguments))
		flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.bind(p, flags)
		rows := 0
		flags.VisitAll(func(f *flag.Flag) {
			if rows++; rows == 1 {
				page.WriteString("\n| flag | default | meaning |\n|---|---|---|\n")
			}
			value, usage := flag.UnquoteUsage(f)
			name := strings.TrimSpace("--" + f.Name + " " + value)
			if len(f.Name) == 1 {
				name = strings.TrimSpace("-" + f.Name + " " + value)
			}
			fallback := "-"
			if f.DefValue != "" {
				fallback = "`" + f.DefValue + "`"
			}
			if strings.Contains(usage, "|") || usage == "" {
				t.Errorf("%s: --%s: usage %q does not fit into a table", c.name, f.Name, usage)
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s |\n", name, fallback, usage)
		})
	}
	file := filepath.Join(repository, reference)
	if *update {
		if err := os.WriteFile(file, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), page.String()); diff != "" {
		t.Errorf("%s is out of date: run the test with -update:\n%s", reference, diff)
	}
}

// TestEveryFieldOfJSONIsExplained: the output is read by scripts, which need to know what is promised.
func TestEveryFieldOfJSONIsExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, jsonOutput))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, output := range []any{publish.Report{}, publish.Finding{}, publish.BundleReport{}, publish.Connectivity{}, explain.Explanation{}, rolloutcmd.RolloutStatus{}, rolloutcmd.RolloutHistory{}, enroll.Enrollment{}} {
		value := reflect.TypeOf(output)
		_, section, found := strings.Cut(string(text), "\n## "+value.Name()+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found {
			t.Errorf("%s: no section %q", jsonOutput, value.Name())
			continue
		}
		want := jsonFields(value, "")
		for _, field := range want {
			known[field] = true
			if !strings.Contains(section, "`"+field+"`") {
				t.Errorf("%s: section %q has no word on `%s`", jsonOutput, value.Name(), field)
			}
		}
		if len(want) < 4 {
			t.Errorf("only %d fields of %s were found", len(want), value.Name())
		}
	}
	for _, cell := range regexp.MustCompile(`(?m)^\| ([^|]*) \|`).FindAllStringSubmatch(string(text), -1) {
		for _, field := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell[1], -1) {
			if !known[field[1]] {
				t.Errorf("%s explains `%s`, which is not there", jsonOutput, field[1])
			}
		}
	}
}

// jsonFields lists the paths of a type; those of a Report inside another are explained once.
func jsonFields(value reflect.Type, prefix string) []string {
	var paths []string
	for field := range value.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		path := prefix + name
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			path, inner = path+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		paths = append(paths, strings.TrimSuffix(path, "[]"))
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[time.Time]() && inner != reflect.TypeFor[publish.Report]() {
			paths = append(paths, jsonFields(inner, path+".")...)
		}
	}
	return paths
}
