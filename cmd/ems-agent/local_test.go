package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/local"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/iistree"
	"mitigation.dev/ems/test/pki"
)

// actAsProgram makes the test binary behave as the program, so that tests see it as its users do.
const actAsProgram = "EMS_TEST_ACT_AS_EMS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(actAsProgram) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// sharedKeys takes a while to make.
var sharedKeys = sync.OnceValues(func() (*pki.PKI, error) { return pki.New(time.Now()) })

// machine is a server on which the program is called.
type machine struct {
	*testing.T

	dir  string
	keys *pki.PKI
}

func newMachine(t *testing.T, o iistree.Options) *machine {
	t.Helper()
	keys, err := sharedKeys()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{T: t, dir: t.TempDir(), keys: keys}
	if err := iistree.Write(m.path("drive"), o); err != nil {
		t.Fatal(err)
	}
	indented := strings.ReplaceAll(strings.TrimSpace(string(keys.Root.PEM())), "\n", "\n      ")
	m.write("trust.yaml", "apiVersion: ems.mitigation.dev/trust/v1\nfeeds:\n  contoso:\n    roots: |\n      "+indented+"\n")
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, filepath.FromSlash(name)) }

func (m *machine) write(name, content string) {
	m.Helper()
	if err := os.WriteFile(m.path(name), []byte(content), 0o600); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) read(name string) string {
	m.Helper()
	data, err := os.ReadFile(m.path(name))
	if err != nil {
		m.Fatal(err)
	}
	return string(data)
}

// publish writes a signed document with a rule and a pool.
func (m *machine) publish(name string, sequence int64) {
	m.Helper()
	unsigned, err := ocs.Build(ocs.Document{
		Version: ocs.Version11, Publisher: "Contoso Security Response", Sequence: sequence, Issued: time.Now().Truncate(time.Second), Expires: time.Now().Truncate(time.Second).AddDate(0, 0, 14),
		Configs: []ocs.Config{
			{ID: "A1", Revision: 1, Description: "Stops a pool", Actions: []ocs.Action{
				{ID: "A1.1", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "MSExchangeECPAppPool", Description: "Pool", Value: ocs.ValueStopped},
			}},
			{ID: "M1", Revision: 1, Description: "Blocks a probe", Applicability: []ocs.Product{{Name: ocs.ProductExchangeServer}}, Actions: []ocs.Action{
				{ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Description: "Rule", Rewrite: []byte(
					`<rewrite><rules><rule name="Block probe" stopProcessing="true"><match url=".*probe.*" /><action type="AbortRequest" /></rule></rules></rewrite>`)},
			}},
		},
	})
	if err != nil {
		m.Fatal(err)
	}
	signed, err := xmlsig.Sign(unsigned, xmlsig.SignOptions{Key: m.keys.ECDSA.Key, Certificates: m.keys.ECDSA.Chain()})
	if err != nil {
		m.Fatal(err)
	}
	m.write(name, string(signed))
}

func (m *machine) command(arguments ...string) *exec.Cmd {
	m.Helper()
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	command := exec.CommandContext(m.Context(), self, append([]string{"local"}, arguments...)...)
	command.Dir, command.Env = m.dir, append(os.Environ(), actAsProgram+"=1")
	return command
}

// call calls the program for the drive of the machine.
func (m *machine) call(wantExit int, arguments ...string) (stdout, stderr string) {
	m.Helper()
	command := m.command(append(arguments, "--iis-root", "drive", "--state-dir", "state", "--appcmd", drivers.NoAppCmd)...)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); command.ProcessState == nil {
		m.Fatal(err)
	}
	if got := command.ProcessState.ExitCode(); got != wantExit {
		m.Fatalf("%q: exit code %d, want %d\n%s%s", arguments, got, wantExit, &out, &problems)
	}
	return out.String(), problems.String()
}

// with adds the flags that a document needs.
func with(document string, arguments ...string) []string {
	return append(arguments, "--document", document, "--trust", "trust.yaml", "--product", "ExchangeServer")
}

// disk gives every file of the drive but the stand-in for run-time states.
func (m *machine) disk() map[string]string {
	m.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(m.path("drive"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "pools.json" {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	if err != nil {
		m.Fatal(err)
	}
	return files
}

func (m *machine) wantDisk(want map[string]string) {
	m.Helper()
	if diff := cmp.Diff(want, m.disk()); diff != "" {
		m.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestLocalUndoesWhatItDid(t *testing.T) {
	trees := map[string]func(m *machine){
		"line ends of Windows": func(*machine) {},
		"a byte order mark": func(m *machine) {
			m.write("drive/"+iistree.ConfigFile, "\xEF\xBB\xBF"+m.read("drive/"+iistree.ConfigFile))
		},
		"no line end at the end": func(m *machine) {
			m.write("drive/"+iistree.ConfigFile, strings.TrimRight(m.read("drive/"+iistree.ConfigFile), "\r\n"))
		},
	}
	if dir := os.Getenv("EMS_TESTDATA"); dir != "" {
		// Files of servers with URL Rewrite.
		names, err := filepath.Glob(filepath.Join(dir, "iis-configs", "*E1[69]*pplicationHost*.config"))
		if err != nil || len(names) == 0 {
			t.Fatalf("no files: %v", err)
		}
		for _, name := range names {
			trees[filepath.Base(name)] = func(m *machine) {
				data, err := os.ReadFile(name)
				if err != nil {
					m.Fatal(err)
				}
				m.write("drive/"+iistree.ConfigFile, string(data))
			}
		}
	}
	for name, prepare := range trees {
		for _, placement := range []string{"--web-config=false", "--web-config"} {
			t.Run(name+" "+placement, func(t *testing.T) {
				m := newMachine(t, iistree.Options{CRLF: true})
				prepare(m)
				original := m.disk()
				m.publish("mitigations.xml", 1)
				out, _ := m.call(0, with("mitigations.xml", "diff", placement)...)
				if !strings.Contains(out, "EMS M1.1 Block probe") {
					t.Errorf("the diff does not hold the rule:\n%s", out)
				}
				m.wantDisk(original)
				m.call(0, with("mitigations.xml", "apply", "--dry-run", placement)...)
				m.wantDisk(original)
				m.call(0, with("mitigations.xml", "apply", placement)...)
				applied := m.disk()
				if cmp.Equal(applied, original) {
					t.Fatal("nothing was changed")
				}
				m.wantPatched(original, applied, out)
				if out, _ := m.call(0, "status"); !strings.Contains(out, "As it should be: 2 in place.") {
					t.Errorf("status:\n%s", out)
				}
				if out, problems := m.call(0, with("mitigations.xml", "diff", placement)...); out != "" || problems != "Nothing would change.\n" {
					t.Errorf("diff of what is in place:\n%s%s", out, problems)
				}
				m.call(0, "revert")
				m.wantDisk(original)
			})
		}
	}
}

// wantPatched applies a diff with the program of that name to the original, which has to give what apply made of it.
func (m *machine) wantPatched(original, applied map[string]string, diff string) {
	m.Helper()
	if _, err := exec.LookPath("patch"); err != nil {
		return
	}
	for path, content := range original {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			m.Fatal(err)
		}
	}
	patch := exec.CommandContext(m.Context(), "patch", "--binary", "-p1", "-d", m.path("drive"))
	patch.Stdin = strings.NewReader(diff)
	if out, err := patch.CombinedOutput(); err != nil {
		m.Fatalf("patch: %v\n%s\n%s", err, out, diff)
	}
	m.wantDisk(applied)
}

func TestLocalRefuses(t *testing.T) {
	m := newMachine(t, iistree.Options{CRLF: true})
	m.publish("older.xml", 4)
	m.publish("newer.xml", 5)
	m.write("tampered.xml", strings.Replace(m.read("newer.xml"), ".*probe.*", ".*", 1))
	original := m.disk()
	if _, problems := m.call(1, with("tampered.xml", "apply")...); !strings.HasPrefix(problems, "Refused: Untrusted: ") {
		t.Errorf("errors: %s", problems)
	}
	m.wantDisk(original)
	m.call(0, with("newer.xml", "apply")...)
	applied := m.disk()
	if _, problems := m.call(1, with("older.xml", "apply")...); !strings.HasPrefix(problems, "Refused: SequenceRolledBack: ") {
		t.Errorf("errors: %s", problems)
	}
	m.wantDisk(applied)
	release, err := state.Claim(m.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	if _, problems := m.call(1, "revert"); !strings.HasPrefix(problems, "Refused: AgentRunning: ") {
		t.Errorf("errors: %s", problems)
	}
	m.call(0, "status")
	m.wantDisk(applied)
	release()
	m.call(0, "revert")
	m.wantDisk(original)
}

func TestLocalInSeveralProcessesAtOnce(t *testing.T) {
	m := newMachine(t, iistree.Options{CRLF: true})
	original := m.disk()
	m.publish("mitigations.xml", 1)
	for _, arguments := range [][]string{with("mitigations.xml", "apply"), {"revert"}} {
		arguments = append(arguments, "--iis-root", "drive", "--state-dir", "state", "--appcmd", drivers.NoAppCmd, "-o", "json")
		commands := make([]*exec.Cmd, 6)
		outputs := make([]bytes.Buffer, len(commands))
		for i := range commands {
			commands[i] = m.command(arguments...)
			commands[i].Stdout = &outputs[i]
			if err := commands[i].Start(); err != nil {
				t.Fatal(err)
			}
		}
		done := 0
		for i, command := range commands {
			var exit *exec.ExitError
			if err := command.Wait(); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			var report local.Report
			if err := json.Unmarshal(outputs[i].Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			switch {
			case command.ProcessState.ExitCode() == 0:
				done++
			case report.Problem == nil || report.Problem.Reason != local.ReasonAgentRunning:
				t.Errorf("%s: %s", command.ProcessState, &outputs[i])
			}
		}
		if done == 0 {
			t.Errorf("%q: everybody was refused", arguments)
		}
		if n := strings.Count(m.read("drive/"+iistree.ConfigFile), "EMS M1.1 Block probe"); arguments[0] == "apply" && n != 1 {
			t.Errorf("the rule stands there %d times", n)
		}
	}
	m.wantDisk(original)
}

func TestLocalSpeaksJSON(t *testing.T) {
	m := newMachine(t, iistree.Options{CRLF: true})
	m.publish("mitigations.xml", 1)
	report := func(wantExit int, arguments ...string) local.Report {
		t.Helper()
		out, problems := m.call(wantExit, append(arguments, "-o", "json")...)
		var r local.Report
		decoder := json.NewDecoder(strings.NewReader(out))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&r); err != nil || problems != "" || r.APIVersion != local.APIVersion || string(r.Command) != arguments[0] {
			t.Fatalf("%q: error %v, errors %q, output:\n%s", arguments, err, problems, out)
		}
		return r
	}
	if r := report(0, with("mitigations.xml", "diff")...); !r.DryRun || len(r.Files) != 1 || !strings.Contains(r.Files[0].Diff, "\r\n+") || len(r.Switches) != 1 {
		t.Errorf("diff: %+v", r)
	}
	r := report(0, with("mitigations.xml", "apply")...)
	if r.Result != local.Changed || r.DryRun || len(r.Mitigations) != 2 || r.Document.Sequence != 1 || r.Server.Product != "ExchangeServer" || r.Server.RewriteModule != "Present" {
		t.Errorf("apply: %+v", r)
	}
	if r := report(0, "status"); r.Result != local.Unchanged || r.Mitigations[0].LastChange.IsZero() {
		t.Errorf("status: %+v", r)
	}
	if r := report(1, with("none.xml", "apply")...); r.Result != local.Refused || r.Problem.Reason != local.ReasonDocumentUnreadable {
		t.Errorf("a missing document: %+v", r)
	}
}

func TestLocalAnswersMisuse(t *testing.T) {
	required := "--document: required\n--trust: required\n--iis-root: required\n--state-dir: required"
	if runtime.GOOS == "windows" {
		required = "--document: required" // the others have defaults
	}
	const needed = " --iis-root r --state-dir s"
	for name, tc := range map[string]struct {
		arguments              string
		wantExit               int
		wantOutput, wantErrors string
	}{
		"no command shows what there is": {wantExit: 2, wantErrors: "revert"},
		"help is no failure":             {arguments: "--help", wantOutput: "status"},
		"help of a command":              {arguments: "apply --help", wantOutput: "-dry-run"},
		"an unknown command":             {arguments: "undo", wantExit: 2, wantErrors: `unknown command "undo"`},
		"an unknown flag":                {arguments: "apply --force", wantExit: 2, wantErrors: "-force"},
		"apply without anything":         {arguments: "apply", wantExit: 2, wantErrors: required},
		"a root without its own journal": {arguments: "revert --iis-root r", wantExit: 2, wantErrors: "each root has a journal of its own"},
		"further arguments":              {arguments: "revert M1" + needed, wantExit: 2, wantErrors: "not expected"},
		"flags after an argument":        {arguments: "revert" + needed + " M1", wantExit: 2, wantErrors: `argument "M1": not expected`},
		"an unknown form of output":      {arguments: "status -o yaml" + needed, wantExit: 2, wantErrors: `-o: "yaml"`},
		"ids that are none":              {arguments: "revert --only M1,M2" + needed, wantExit: 2, wantErrors: `--only: "M1,M2"`},
		"a document that is not there":   {arguments: "apply --document none --trust none" + needed, wantExit: 1, wantErrors: "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var stdout, stderr bytes.Buffer
			if got := run(append([]string{"local"}, strings.Fields(tc.arguments)...), &stdout, &stderr); got != tc.wantExit {
				t.Errorf("exit code %d, want %d", got, tc.wantExit)
			}
			if !strings.Contains(stdout.String(), tc.wantOutput) || !strings.Contains(stderr.String(), tc.wantErrors) {
				t.Errorf("output %q, errors %q, want %q and %q", &stdout, &stderr, tc.wantOutput, tc.wantErrors)
			}
		})
	}
}

// failingWriter is a full disk.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAReportThatCannotBeWrittenIsAFailure(t *testing.T) {
	for _, output := range []string{"text", "json"} {
		var stderr bytes.Buffer
		if got := printReport(&local.Report{Result: local.Changed}, output, failingWriter{}, &stderr); got != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%s: exit code %d, errors %q", output, got, &stderr)
		}
	}
}

const guide = "../../docs/guides/single-server.md"

var (
	block = regexp.MustCompile("(?ms)^```(sh|console)\n(.*?)\n```$")
	date  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
)

// TestGuide runs every command of the guide and compares what it prints with what the guide says that it prints. What
// Windows has by default, the root and the state folder, is added to each command.
func TestGuide(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is not on PATH")
	}
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, iistree.Options{CRLF: true})
	m.publish("mitigations.xml", 42)
	original := m.disk()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\" --iis-root drive --state-dir state\n", actAsProgram, self)
	if err := os.WriteFile(m.path("ems-agent"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	last, commands := "", 0
	for _, b := range block.FindAllSubmatch(text, -1) {
		if string(b[1]) == "console" {
			if want := asPrinted(m, string(b[2])); want != last {
				t.Errorf("the guide says (-), the program (+):\n%s", cmp.Diff(want, last))
			}
			continue
		}
		commands++
		command := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", string(b[2]))
		command.Dir, command.Env = m.dir, append(os.Environ(), "PATH="+m.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v:\n%s\n%s", err, b[2], out)
		}
		last = asPrinted(m, string(out))
	}
	if commands < 6 {
		t.Errorf("only %d commands were found", commands)
	}
	m.wantDisk(original)
}

// TestGuideExplainsEveryFlagAndField: what scripts rely on has to stand somewhere.
func TestGuideExplainsEveryFlagAndField(t *testing.T) {
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	new(localFlags).bind(flags)
	flags.VisitAll(func(f *flag.Flag) {
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		if !regexp.MustCompile("`" + dashes + f.Name + "[ `]").Match(text) {
			t.Errorf("the guide has no word on %s%s", dashes, f.Name)
		}
	})
	seen := 0
	for _, output := range []any{local.Report{}, local.Problem{}, local.Document{}, local.Server{}, local.Mitigation{}, local.Action{}, local.File{}, local.Switch{}} {
		for field := range reflect.TypeOf(output).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if seen++; !regexp.MustCompile("`" + name + `(\[\])?` + "`").Match(text) {
				t.Errorf("the guide has no word on the field %s of %T", name, output)
			}
		}
	}
	if seen < 40 {
		t.Errorf("only %d fields were found", seen)
	}
}

// asPrinted makes output comparable: dates, paths of Windows, line ends and blanks at the end of lines.
func asPrinted(m *machine, text string) string {
	text = strings.ReplaceAll(text, m.path("drive")+"/", `C:\`)
	text = strings.ReplaceAll(text, m.path("drive"), `C:\`)
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		line = date.ReplaceAllString(strings.TrimRight(line, " "), "TIME")
		if strings.Contains(line, `C:\`) {
			line = strings.ReplaceAll(line, "/", `\`)
		}
		lines[i] = line
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
