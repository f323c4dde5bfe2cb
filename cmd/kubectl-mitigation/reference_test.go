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
	"github.com/spf13/pflag"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/check"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/describe"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/diff"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/enroll"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/eventcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/explain"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/inventory"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/telemetry"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/tree"
	"mitigation.dev/ems/internal/publish"
)

const (
	reference  = "docs/reference/kubectl-mitigation.md"
	jsonOutput = "docs/reference/kubectl-mitigation-json.md"
)

var update = flag.Bool("update", false, "write "+reference)

const preface = `# kubectl mitigation

<!-- Written by "go test ./cmd/kubectl-mitigation -run TestReference -update" from the flags of the commands. -->

What the commands of publishers are for stands in the [guide for publishers](../guides/publish-your-own.md), those of operators in the guides on [steering](../guides/steer.md), [rollouts](../guides/rollouts.md) and [enrolment](../operations/enroll.md), the fields of ` + "`-o json`" + ` in [their own page](kubectl-mitigation-json.md). Who knows the cmdlets of the real services finds each of them in the [table of parity](parity.md).

Flags may stand before and behind other arguments; those of one letter have one dash, the others two.

## Exit codes

| exit code | meaning |
|---|---|
| 0 | as asked: done; valid; accessible; complete |
| 1 | failed, or "no" is the answer: refused, not valid, not accessible; of several pools, at least one. ` + "`rollout status`" + `: halted or aborted. ` + "`diff`" + `: something differs. ` + "`check`" + `: something is wrong |
| 2 | wrong usage: an unknown command or flag, one that is missing, a trust file that cannot be used, a file to be checked that cannot be read, or a kubeconfig that cannot be used. ` + "`diff`" + `: nothing could be compared, as with kubectl diff |
| 3 | not yet. ` + "`rollout status`" + `: still moving |

Nothing else is an exit code of the program. What goes wrong is said on the standard error, results on the standard output.

## Completion

` + "`kubectl mitigation completion SHELL`" + ` prints a script for bash, zsh, fish or PowerShell that completes ` + "`kubectl-mitigation`" + ` itself: commands, flags, and the names of pools, servers, feeds and mitigations, which it asks the cluster for, two seconds long. kubectl completes the arguments of a plugin by a program named ` + "`kubectl_complete-mitigation`" + ` on PATH. The plugin is that program when it is called by this name:

` + "```sh" + `
ln -s "$(command -v kubectl-mitigation)" "$HOME/.local/bin/kubectl_complete-mitigation"
` + "```" + `

On Windows, copy ` + "`kubectl-mitigation.exe`" + ` to ` + "`kubectl_complete-mitigation.exe`" + `.
`

// referencePage writes the page from the flags.
func referencePage(t *testing.T) string {
	t.Helper()
	var page strings.Builder
	page.WriteString(preface)
	p := &program{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, now: time.Now}
	connection := pflag.NewFlagSet("", pflag.ContinueOnError)
	fleet.Bind(connection)
	page.WriteString("\n## Flags of kubectl\n\nEvery command with a cluster takes them; `simulate`, `get` and `enroll`, in which `--server` names a server or what servers use, take the URL of the API server from the kubeconfig alone.\n")
	writeFlags(t, &page, "options", connection, func(*pflag.Flag) bool { return true })
	for _, g := range groups() {
		for _, c := range g.commands {
			fmt.Fprintf(&page, "\n## %s\n\n%s\n\n```console\n$ kubectl mitigation %s\n```\n", c.Name, sentence(c.Summary), strings.TrimSpace(c.Name+" [flags] "+c.Arguments))
			flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
			c.Bind(p.world(), flags)
			clusters := false
			flags.VisitAll(func(f *pflag.Flag) { clusters = clusters || fleet.IsConnection(f) })
			writeFlags(t, &page, c.Name, flags, func(f *pflag.Flag) bool { return !fleet.IsCommon(f) })
			if clusters {
				page.WriteString("\nAnd the [flags of kubectl](#flags-of-kubectl).\n")
			}
		}
	}
	return page.String()
}

// writeFlags writes a table of those flags that are wanted.
func writeFlags(t *testing.T, page *strings.Builder, command string, flags *pflag.FlagSet, wanted func(*pflag.Flag) bool) {
	t.Helper()
	rows := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if !wanted(f) {
			return
		}
		if rows++; rows == 1 {
			page.WriteString("\n| flag | default | meaning |\n|---|---|---|\n")
		}
		value, usage := pflag.UnquoteUsage(f)
		name := strings.TrimSpace("--" + f.Name + " " + value)
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fallback := "-"
		if f.DefValue != "" && f.DefValue != "[]" {
			fallback = "`" + f.DefValue + "`"
		}
		if strings.Contains(usage, "|") || usage == "" {
			t.Errorf("%s: --%s: usage %q does not fit into a table", command, f.Name, usage)
		}
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", name, fallback, usage)
	})
}

// TestReference keeps the page and the flags together.
func TestReference(t *testing.T) {
	page := referencePage(t)
	file := filepath.Join(repository, reference)
	if *update {
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), page); diff != "" {
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
	for _, output := range []any{publish.Report{}, publish.Finding{}, publish.BundleReport{}, publish.Connectivity{}, explain.Explanation{}, rolloutcmd.RolloutStatus{}, rolloutcmd.RolloutHistory{}, enroll.Enrollment{},
		inventory.PoolMitigation{}, inventory.ServerMitigation{}, inventory.PoolRow{}, inventory.ServerRow{}, inventory.FeedRow{}, Versions{},
		describe.MitigationPage{}, describe.PoolPage{}, describe.ServerPage{}, describe.FeedPage{}, tree.Tree{}, eventcmd.EventList{},
		diff.FleetDiff{}, diff.ChangePreview{}, check.Health{}, telemetry.Diagnostics{}} {
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
		if field.Anonymous {
			paths = append(paths, jsonFields(field.Type, prefix)...)
			continue
		}
		if !field.IsExported() {
			continue
		}
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
