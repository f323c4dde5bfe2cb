package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"mitigation.dev/ems/agent"
	"mitigation.dev/ems/agent/service"
)

// services are those of a server, which do at once what they are told.
type services map[string]*service.Status

func (s services) Query(name string) (service.Status, error) {
	if found, ok := s[name]; ok {
		return *found, nil
	}
	return service.Status{}, service.ErrNotInstalled
}

func (s services) Create(d service.Definition) error {
	s[d.Name] = &service.Status{
		State: service.Stopped, StartType: service.Automatic, Command: `"` + d.Program + `" ` + strings.Join(d.Arguments, " "), DependsOn: d.DependsOn,
	}
	return nil
}

func (s services) Configure(d service.Definition) error {
	state := s[d.Name].State
	err := s.Create(d)
	s[d.Name].State = state
	return err
}

func (s services) set(name string, state service.State, pid uint32) error {
	found, ok := s[name]
	if !ok {
		return service.ErrNotInstalled
	}
	found.State, found.PID = state, pid
	return nil
}

func (s services) Start(name string) error { return s.set(name, service.Running, 4711) }
func (s services) Stop(name string) error  { return s.set(name, service.Stopped, 0) }

func (s services) Delete(name string) error {
	delete(s, name)
	return nil
}

// desk is a Windows server with the command in its hands.
type desk struct {
	*testing.T
	services services
	program  string
	secured  []string
	source   bool
	problem  error
}

func newDesk(t *testing.T) *desk {
	return &desk{T: t, services: services{"WAS": {StartType: service.Manual, State: service.Running}}, program: `C:\Program Files\EMS\ems-agent.exe`}
}

// call calls the command and gives its output with the errors behind it.
func (d *desk) call(wantExit int, arguments ...string) string {
	d.Helper()
	var stdout, stderr bytes.Buffer
	environment := map[string]string{"ProgramData": `C:\ProgramData`, "ProgramFiles": `C:\Program Files`, "SystemRoot": `C:\Windows`}
	c := &serviceCommand{
		goos: "windows", getenv: func(name string) string { return environment[name] }, executable: func() (string, error) { return d.program, nil },
		control:  service.Control{Manager: d.services, Clock: clock.RealClock{}},
		validate: func(*agent.Options) error { return d.problem },
		secure: func(folder string) error {
			d.secured = append(d.secured, folder)
			return nil
		},
		addSource:    func() error { d.source = true; return nil },
		removeSource: func() error { d.source = false; return nil },
		ctx:          d.Context(), stdout: &stdout,
	}
	if got := c.run(arguments, nil, &stderr); got != wantExit {
		d.Fatalf("%q: exit code %d, want %d\n%s%s", arguments, got, wantExit, &stdout, &stderr)
	}
	return stdout.String() + stderr.String()
}

// settings are what Windows has no default for on the machine of the test.
func settings(more ...string) []string {
	return append([]string{"install", "--namespace=pool-frontends", "--pool=frontends", "--iis-root=C:\\", `--state-dir=C:\ProgramData\EMS\state`}, more...)
}

func TestServiceFromInstallToUninstall(t *testing.T) {
	d := newDesk(t)
	d.want(3, "Service EMSAgent is not installed.\n", "status")
	d.want(0, "Installed service EMSAgent (EMS Mitigation Service).\nStarted before it: WAS.\nIt does not depend on: W3SVC (not installed).\nStart it with: ems-agent service start\n", settings()...)
	if diff := cmp.Diff([]string{`C:\ProgramData\EMS`, `C:\ProgramData\EMS\state`, `C:\ProgramData\EMS\logs`}, d.secured); diff != "" || !d.source {
		t.Errorf("source %v, folders (-want +got):\n%s", d.source, diff)
	}
	d.want(0, "Service EMSAgent runs.\n", "start")
	const command = `"C:\Program Files\EMS\ems-agent.exe" service run --iis-root=C:\ --namespace=pool-frontends --pool=frontends --state-dir=C:\ProgramData\EMS\state`
	d.want(0, "Service:     EMSAgent (EMS Mitigation Service)\nState:       Running\nStart:       Automatic\nProcess:     4711\nDepends on:  WAS\nCommand:     "+command+"\n", "status")
	d.want(0, "Changed the settings of service EMSAgent (EMS Mitigation Service).\nService EMSAgent runs.\n", settings("--start", "--dependencies=none", "--proxy=http://proxy:8080")...)
	if got := d.services["EMSAgent"]; !strings.HasSuffix(got.Command, ` --proxy=http://proxy:8080 --state-dir=C:\ProgramData\EMS\state`) || len(got.DependsOn) > 0 {
		t.Errorf("after the change: %+v", got)
	}
	d.want(0, "Service EMSAgent has stopped. Mitigations stay in place.\n", "stop")
	if out := d.call(3, "status"); !strings.Contains(out, "State:       Stopped\n") || strings.Contains(out, "Process") {
		t.Errorf("status:\n%s", out)
	}
	d.services["EMSAgent"].ExitCode = 1
	if out := d.call(3, "status"); !strings.Contains(out, "Ended with:  1\n") {
		t.Errorf("status:\n%s", out)
	}
	d.want(0, "Removed service EMSAgent. Mitigations stay in place, and so do its state and logs.\n", "uninstall")
	if d.source {
		t.Error("the source of events is still known")
	}
	d.want(0, "There was no service EMSAgent.\n", "uninstall")
	d.want(1, "ems-agent: start service EMSAgent: service is not installed\n", "start")
}

func (d *desk) want(exit int, want string, arguments ...string) {
	d.Helper()
	if diff := cmp.Diff(want, d.call(exit, arguments...)); diff != "" {
		d.Errorf("%q (-want +got):\n%s", arguments, diff)
	}
}

func TestServiceInstallRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		arguments []string
		program   string
		problem   error
		want      string
	}{
		"a path on the network":       {arguments: settings(`--trust-file=\\files\share\trust.yaml`), want: `--trust-file: path cannot be used: "\\\\files\\share\\trust.yaml"`},
		"a relative path":             {arguments: settings(`--log-dir=logs`), want: "--log-dir: path cannot be used"},
		"metrics with a way out":      {arguments: settings(`--metrics-file=C:\EMS\..\ems.prom`), want: "--metrics-file: path cannot be used"},
		"a path with a way out":       {arguments: settings(`--facts-file=C:\EMS\..\facts.yaml`), want: "--facts-file: path cannot be used"},
		"a program that users change": {arguments: settings(), program: `C:\EMS\ems-agent.exe`, want: "folder may be writable for others than administrators"},
		"a folder that looks like it": {arguments: settings(), program: `C:\Program Files-evil\ems-agent.exe`, want: "folder may be writable"},
		"a program on a share":        {arguments: settings("--any-folder"), program: `\\files\share\ems-agent.exe`, want: "this program: path cannot be used"},
		"settings that do not work":   {arguments: settings(), problem: errors.New("-pool: required"), want: "-pool: required"},
		"further arguments":           {arguments: settings("now"), want: `argument "now": not expected`},
		"unknown flags":               {arguments: []string{"install", "--colour"}, want: "-colour"},
		"arguments of start":          {arguments: []string{"start", "now"}, want: `argument "now": not expected`},
		"flags of stop":               {arguments: []string{"stop", "--force"}, want: "-force"},
		"an unknown command":          {arguments: []string{"restart"}, want: `unknown command "restart"`},
		"no command":                  {want: "uninstall"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.problem = tc.problem
			if tc.program != "" {
				d.program = tc.program
			}
			if out := d.call(exitUsage, tc.arguments...); !strings.Contains(out, tc.want) {
				t.Errorf("says %q, want %q", out, tc.want)
			}
			if len(d.services) != 1 || len(d.secured) > 0 || d.source {
				t.Errorf("something was done: %v, %v, %v", d.services, d.secured, d.source)
			}
		})
	}
	d := newDesk(t)
	d.program = `C:\EMS\ems-agent.exe`
	d.call(0, settings("--any-folder", "--appcmd=none")...)
	if got := d.services["EMSAgent"].Command; strings.Contains(got, "any-folder") {
		t.Errorf("command: %s", got)
	}
}

func TestServiceInstallLeavesAForeignServiceAlone(t *testing.T) {
	d := newDesk(t)
	d.services["EMSAgent"] = &service.Status{State: service.Running, Command: `C:\foreign\foreign.exe`}
	if out := d.call(exitFailure, settings()...); !strings.Contains(out, "another program has a service of this name") {
		t.Errorf("says %q", out)
	}
}

func TestServiceHelp(t *testing.T) {
	d := newDesk(t)
	for _, arguments := range [][]string{{"--help"}, {"help"}, {"install", "--help"}, {"status", "-h"}} {
		if out := d.call(0, arguments...); !strings.HasPrefix(out, "Usage: ems-agent service") {
			t.Errorf("%q: %q", arguments, out)
		}
	}
}

func TestServiceElsewhereNamesTheUnit(t *testing.T) {
	var stdout, stderr bytes.Buffer
	c := &serviceCommand{ctx: t.Context(), stdout: &stdout}
	for _, known := range serviceCommands {
		stderr.Reset()
		if got := c.run([]string{known.name}, errors.ErrUnsupported, &stderr); got != exitFailure || !strings.Contains(stderr.String(), "config/systemd/ems-agent.service") {
			t.Errorf("%s: exit code %d, says %q", known.name, got, &stderr)
		}
	}
}

func TestTheDefaultLogFolder(t *testing.T) {
	for data, want := range map[string]string{`C:\ProgramData`: `C:\ProgramData\EMS\logs`, `D:\Data\`: `D:\Data\EMS\logs`, "": ""} {
		if got := defaultLogDir("windows", func(string) string { return data }); got != want {
			t.Errorf("%q: %q, want %q", data, got, want)
		}
	}
	if got := defaultLogDir("linux", func(name string) string { return fmt.Sprint(name) }); got != "" {
		t.Errorf("elsewhere: %q", got)
	}
}

// TestTheUnitOfSystemd looks at what the unit calls; systemd itself checks the rest of it where there is one.
func TestTheUnitOfSystemd(t *testing.T) {
	const unit = "../../config/systemd/ems-agent.service"
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=\S+/ems-agent (.*)$`).FindSubmatch(text)
	if start == nil {
		t.Fatal("the unit does not start ems-agent")
	}
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	new(agentFlags).bind(flags)
	named := regexp.MustCompile(`--([a-z-]+)=`).FindAllSubmatch(append(start[1], text...), -1)
	for _, name := range named {
		if flags.Lookup(string(name[1])) == nil {
			t.Errorf("ems-agent has no flag --%s", name[1])
		}
	}
	if len(named) < 6 {
		t.Errorf("only %d flags were found", len(named))
	}
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd to check the unit: ", err)
	}
	// Under a program that is there, it finds nothing to say.
	copied := filepath.Join(t.TempDir(), "ems-agent.service")
	if err := os.WriteFile(copied, bytes.ReplaceAll(text, []byte("/usr/local/bin/ems-agent"), []byte("/bin/sh")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, "verify", "--man=no", copied).CombinedOutput(); err != nil || bytes.Contains(out, []byte("Unknown")) {
		t.Errorf("%v\n%s", err, out)
	}
}
