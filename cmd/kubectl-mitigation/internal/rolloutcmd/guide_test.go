package rolloutcmd

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/internal/rollout"
)

const (
	repository = "../../../.."
	guide      = "docs/guides/rollouts.md"
)

// marked is a place of the guide that a test fills: a block behind a comment that names a golden file. The first line of the block
// stays, if it is a command.
var marked = regexp.MustCompile("<!-- output: ([a-z0-9-]+) -->\n(?:```([a-z]+)\n((?:\\$[^\n]*\n)?)(?s:.*?)```\n|(?:\\|[^\n]*\n)*)")

// TestGuide keeps the pictures of the guide to what the program prints.
func TestGuide(t *testing.T) {
	file := filepath.Join(repository, guide)
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	places := 0
	want := marked.ReplaceAllStringFunc(string(page), func(place string) string {
		places++
		parts := marked.FindStringSubmatch(place)
		head := fmt.Sprintf("<!-- output: %s -->\n", parts[1])
		if parts[1] == "profiles" {
			return head + profiles()
		}
		content, err := os.ReadFile(filepath.Join("testdata", parts[1]+".golden"))
		if err != nil {
			t.Error(err)
		}
		return head + "```" + parts[2] + "\n" + parts[3] + string(content) + "```\n"
	})
	if places < 10 {
		t.Errorf("only %d places to fill were found", places)
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(page)); diff != "" {
		t.Errorf("%s is out of date: run the tests of this package twice with -update:\n%s", guide, diff)
	}
}

// profiles is the table of the profiles, as the planner has them.
func profiles() string {
	var out strings.Builder
	out.WriteString("| profile | stages: servers (bake time) | approval |\n|---|---|---|\n")
	for _, profile := range []rollout.Profile{rollout.Emergency, rollout.Fast, rollout.Standard, rollout.Manual} {
		_, _, stages := rollout.Settings{Profile: profile}.For("")
		var words []string
		approval := "none"
		for _, s := range stages {
			amount := plural(s.Servers.Value, "server")
			if s.Servers.Percent {
				amount = fmt.Sprintf("%d %%", s.Servers.Value)
			}
			words = append(words, fmt.Sprintf("%#q: %s (%s)", s.Name, amount, duration.HumanDuration(s.Bake)))
			if s.Approval == rollout.ApprovalBefore {
				approval = "before each stage"
			}
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", profile, strings.Join(words, ", "), approval)
	}
	return out.String()
}

// TestManifestsOfTheGuide: what people copy has to be right to the letter.
func TestManifestsOfTheGuide(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, guide))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 6 {
		t.Fatalf("only %d manifests were found", len(blocks))
	}
	for _, block := range blocks {
		var into any = &emsv1.PoolMitigationConfig{}
		if strings.Contains(block[1], "kind: MitigationConfiguration") {
			into = &emsv1.MitigationConfiguration{}
		}
		if err := yaml.UnmarshalStrict([]byte(block[1]), into); err != nil {
			t.Errorf("%v in\n%s", err, block[1])
		}
	}
}

// TestCommandsOfTheGuide parses each command line of the guide, and those that the pictures propose.
func TestCommandsOfTheGuide(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, guide))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^(?:\$|   ) (kubectl mitigation rollout [^\n]*)$`).FindAllStringSubmatch(string(page), -1)
	if len(lines) < 20 {
		t.Fatalf("only %d commands were found", len(lines))
	}
	for _, line := range lines {
		words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line[1], -1)[2:]
		name, found := strings.Join(words[:2], " "), false
		for _, c := range Commands() {
			if c.Name != name {
				continue
			}
			found = true
			flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
			flags.SetOutput(io.Discard)
			c.Bind(cli.World{Now: func() time.Time { return night }, Getenv: func(string) string { return "" }}, flags)
			for rest := words[2:]; len(rest) > 0; {
				if err := flags.Parse(rest); err != nil {
					t.Errorf("%s: %v", line[1], err)
					break
				}
				if rest = flags.Args(); len(rest) > 0 {
					rest = rest[1:]
				}
			}
		}
		if !found {
			t.Errorf("%s: no such command", line[1])
		}
	}
}
