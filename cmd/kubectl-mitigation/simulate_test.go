package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/fleet"
	"mitigation.dev/ems/internal/simulate"
)

const simulateGuide = "docs/guides/simulate.md"

var updateGuide = flag.Bool("update-guide", false, "write what the commands print into "+simulateGuide)

// guideBlock is a block that is run: sh without a look at what it prints, console with its output.
var guideBlock = regexp.MustCompile("(?ms)^```(sh|console)$\n(.*?)\n```$")

// TestSimulateGuide runs the guide, and compares what stands there with what is printed.
func TestSimulateGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it starts a dozen processes")
	}
	file := filepath.Join(repository, simulateGuide)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newShell(t)
	blocks := 0
	got := guideBlock.ReplaceAllStringFunc(string(text), func(block string) string {
		parts := guideBlock.FindStringSubmatch(block)
		script, shows := parts[2]+"\n", parts[1] == "console"
		if shows {
			blocks++
			script = commandOf(t, script)
		}
		output, code := s.run(script)
		if code != 0 {
			t.Fatalf("exit code %d of:\n%s\n%s", code, script, output)
		}
		if !shows {
			return block
		}
		return "```console\n$ " + script + output + "```"
	})
	if blocks < 5 {
		t.Errorf("only %d blocks were found", blocks)
	}
	if *updateGuide {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), got); diff != "" {
		t.Errorf("%s is out of date: run the test with -update-guide:\n%s", simulateGuide, diff)
	}
	for name, tc := range map[string]struct {
		script, want string
		wantExit     int
	}{
		"from the standard input": {"echo /owa/ | kubectl mitigation simulate --rules M1.xml --requests -", "1 requests\n           1 Passed\n", 0},
		"a mitigation that is not there": {
			"kubectl mitigation simulate --document mitigations.xml --mitigation M7 --request /", `--mitigation: "M7": mitigations.xml has M1`, 2,
		},
		"a request that IIS refuses":   {"kubectl mitigation simulate --rules M1.xml --request /a/../../b --request /owa/", "/owa/\n=> Passed\n", 1},
		"a rule that fails is told of": {`echo '<rules><rule name="r"><match url="x"/><action type="Rewrite" url="{R:99}"/></rule></rules>' > bad.xml; kubectl mitigation simulate --rules bad.xml --request /x`, "warning: ", 0},
		"examples can be left out":     {"kubectl mitigation simulate --rules M1.xml --requests u_ex260514.log --examples 0 | grep -c line || true", "0\n", 0},
		"a compressed log":             {"gzip -c u_ex260514.log > u.log.gz; kubectl mitigation simulate --rules M1.xml --requests u.log.gz", "compressed with gzip: unpack it first", 1},
		"a log of another program":     {`echo '127.0.0.1 - - [10/Oct/2026:13:55:36 -0700] "GET /a HTTP/1.0" 200 2326' > a.log; kubectl mitigation simulate --rules M1.xml --requests a.log`, "none of its lines is a request", 1},
		"an empty log":                 {": > empty.log; kubectl mitigation simulate --rules M1.xml --requests empty.log", "0 requests\n", 0},
		"rules in another encoding":    {`echo '<?xml version="1.0" encoding="windows-1252"?><rules/>' > cp.xml; kubectl mitigation simulate --rules cp.xml --request /`, `cp.xml: not supported by the evaluation: encoding "windows-1252"`, 1},
		"two files for one folder":     {"kubectl mitigation simulate --web-config /owa=owa.config --web-config /OWA/=owa.config --request /", "there is one for this folder already", 2},
		"output that is not awaited":   {"kubectl mitigation simulate --rules M1.xml --requests u_ex260514.log -o json | head -1", "{\n", 0},
		"examples with the way through the rules": {
			"kubectl mitigation simulate --rules M1.xml --requests u_ex260514.log --trace --examples 1", "               condition 1 {UrlDecode:{REQUEST_URI}} = ", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			output, code := s.run(tc.script)
			if code != tc.wantExit || !strings.Contains(output, tc.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tc.wantExit, tc.want, output)
			}
		})
	}
	output, code := s.run("kubectl mitigation simulate --rules M1.xml --requests u_ex260514.log -o json")
	var summary struct {
		Requests int
		Outcomes map[string]int
		Rules    []struct {
			Rule     string
			Count    int
			Served   int
			Examples []struct{ Line int }
		}
	}
	if err := json.Unmarshal([]byte(output), &summary); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v:\n%s", code, err, output)
	}
	if summary.Requests != 5 || summary.Outcomes["Aborted"] != 2 || len(summary.Rules) != 1 || summary.Rules[0].Served != 2 || len(summary.Rules[0].Examples) != 2 || summary.Rules[0].Examples[0].Line != 7 {
		t.Errorf("summary = %+v", summary)
	}
}

// TestSimulateGuideExplainsEveryField: the output is read by scripts.
func TestSimulateGuideExplainsEveryField(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, simulateGuide))
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	var look func(value reflect.Type)
	look = func(value reflect.Type) {
		for field := range value.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			inner := field.Type
			if inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			switch {
			case field.Anonymous, inner == reflect.TypeFor[simulate.RuleCount](), inner == reflect.TypeFor[simulate.Example]():
				look(inner)
			case name == "-", !field.IsExported():
				continue
			}
			if fields++; name != "" && !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("%s has no word on `%s`", simulateGuide, name)
			}
		}
	}
	look(reflect.TypeFor[simulate.Answer]())
	look(reflect.TypeFor[simulate.Summary]())
	look(reflect.TypeFor[fleet.View]())
	look(reflect.TypeFor[fleet.Plan]())
	look(reflect.TypeFor[fleet.Reported]())
	if fields < 30 {
		t.Errorf("only %d fields were found", fields)
	}
}

// commandOf is the command of a block, which begins with "$ " and goes on while lines end with a backslash.
func commandOf(t *testing.T, block string) string {
	t.Helper()
	block, ok := strings.CutPrefix(block, "$ ")
	if !ok {
		t.Fatalf("no command in:\n%s", block)
	}
	var command strings.Builder
	for line := range strings.Lines(block) {
		command.WriteString(line)
		if !strings.HasSuffix(line, "\\\n") {
			break
		}
	}
	return command.String()
}

func TestSimulateAnswersMisuse(t *testing.T) {
	s := newShell(t)
	for arguments, want := range map[string]string{
		"--request /":                                              "want at least one of them",
		"--rules M1.xml":                                           "--request, --requests: want one of them",
		"--rules x --request / --requests y":                       "--request, --requests: want one of them",
		"--rules no-such-file --request /":                         "--rules: open no-such-file",
		"--config no-such-file --request /":                        "--config: open no-such-file",
		"--document x --request / --rules y":                       "--document, --mitigation: want both or none",
		"--web-config x --request /":                               `--web-config: "x": want the form /path=FILE`,
		"--rules x --request / -o yaml":                            `--output: "yaml"`,
		"--rules x --request / --examples -1":                      "--examples: -1",
		"--rules x --request / --header x":                         `header: "x"`,
		"--rules x --request / y":                                  `argument "y": not expected`,
		"--rules <(echo '<rules/>') --request x":                   "want the form",
		"--rules <(echo '<rules/>') --requests no-such-file":       "--requests: open no-such-file",
		"--document <(echo '<EOCS/>') --mitigation M1 --request /": "has no version",
	} {
		output, code := s.run("kubectl mitigation simulate " + arguments)
		if code == 0 || !strings.Contains(output, want) {
			t.Errorf("%s: exit code %d, want %q:\n%s", arguments, code, want, output)
		}
	}
}
