package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"mitigation.dev/ems/agent/iis/drivers"
	"mitigation.dev/ems/agent/state"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/test/iistree"
)

// operate calls a command as a process of its own.
func (m *machine) operate(wantExit int, arguments ...string) (stdout, stderr string) {
	m.Helper()
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	command := exec.CommandContext(m.Context(), self, append(arguments, "-state-dir", "state")...)
	command.Dir, command.Env = m.dir, append(os.Environ(), actAsProgram+"=1")
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

func TestTheKillSwitchWithoutAnAgentRemovesEverything(t *testing.T) {
	m := newMachine(t, iistree.Options{CRLF: true})
	m.publish("mitigations.xml", 42)
	original := m.disk()
	m.call(0, with("mitigations.xml", "apply")...)
	now := []string{"kill-switch", "on", "-reason", "login fails", "-now", "-iis-root", "drive", "-appcmd", drivers.NoAppCmd}
	out, _ := m.operate(0, now...)
	if !strings.Contains(out, "The kill switch is on") || !strings.Contains(out, "M1") {
		t.Errorf("output %q", out)
	}
	m.wantDisk(original)

	// With an agent at work the removal is left to it.
	release, err := state.Claim(m.path("state"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if out, _ = m.operate(0, now...); !strings.Contains(out, "The agent runs and removes them") {
		t.Errorf("output %q", out)
	}
	out, _ = m.operate(1, "status")
	if !strings.Contains(out, "Kill switch  on, by ") || !strings.Contains(out, "login fails") {
		t.Errorf("status %q", out)
	}
	m.operate(0, "kill-switch", "off")
	if _, problems := m.operate(1, "kill-switch", "off"); !strings.Contains(problems, "not on") {
		t.Errorf("errors %q", problems)
	}
}

func TestBlocksAreKept(t *testing.T) {
	m := newMachine(t, iistree.Options{})
	if err := os.MkdirAll(m.path("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.operate(0, "block", "M1", "-reason", "login fails", "-for", "72h")
	m.operate(0, "block", "-reason", "too slow", "M2.1")
	m.operate(0, "repair", "-reason", "disk was exchanged")
	out, _ := m.operate(1, "status", "-o", "json")
	var got struct {
		Switches switches.Switches `json:"switches"`
		Problems []string          `json:"problems"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	s := got.Switches
	if len(s.Blocked) != 2 || s.Blocked[0].Expires.IsZero() || s.Blocked[1].ID != "M2.1" || s.Repair == nil || s.Repair.By == "" {
		t.Errorf("switches %+v", s)
	}
	if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "no agent has worked") {
		t.Errorf("problems %q", got.Problems)
	}
	m.operate(0, "unblock", "M1")
	m.operate(0, "unblock", "m2.1")
	if s, err := switches.Open(m.path("state")).Read(); err != nil || len(s.Blocked) != 0 {
		t.Errorf("left: %+v, %v", s, err)
	}
}

func TestMistakesAtTheServerChangeNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		arguments  []string
		wantExit   int
		wantErrors string
	}{
		"a block without a reason":       {[]string{"block", "M1"}, 2, "-reason: required"},
		"a block of nothing":             {[]string{"block", "-reason", "x"}, 2, "ID: required"},
		"a block of two":                 {[]string{"block", "M1", "M2", "-reason", "x"}, 2, "ID: required, once"},
		"a block of what is no id":       {[]string{"block", "M1*", "-reason", "x"}, 1, "not the id"},
		"a block that is over":           {[]string{"block", "M1", "-reason", "x", "-for", "-1h"}, 2, "-for"},
		"an id that is not blocked":      {[]string{"unblock", "M1"}, 1, "not blocked on this server"},
		"a kill switch without a reason": {[]string{"kill-switch", "on"}, 2, "-reason: required"},
		"a third position":               {[]string{"kill-switch", "half", "-reason", "x"}, 2, "want on or off"},
		"off and now":                    {[]string{"kill-switch", "off", "-now"}, 2, "-now: only with on"},
		"arguments of status":            {[]string{"status", "M1"}, 2, "not expected"},
		"another output":                 {[]string{"status", "-o", "xml"}, 2, "want text or json"},
		"a flag of another command":      {[]string{"repair", "-for", "1h"}, 2, "not defined: -for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.Mkdir("state", 0o700); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			if got := run(append(tc.arguments, "-state-dir", "state"), &stdout, &stderr); got != tc.wantExit || !strings.Contains(stderr.String(), tc.wantErrors) {
				t.Errorf("exit code %d, errors %q, want %d and %q", got, &stderr, tc.wantExit, tc.wantErrors)
			}
			if s, err := switches.Open("state").Read(); err != nil || !s.Equal(switches.Switches{}) {
				t.Errorf("left: %+v, %v", s, err)
			}
		})
	}
}

// Nobody obeys what is switched in a folder that no agent works with, and the person at the server would believe that it is done.
func TestAMistypedStateFolderIsRefused(t *testing.T) {
	for _, arguments := range [][]string{{"kill-switch", "on", "-reason", "x"}, {"kill-switch", "off"}, {"block", "M1", "-reason", "x"}, {"unblock", "M1"}, {"repair"}} {
		t.Chdir(t.TempDir())
		var stdout, stderr bytes.Buffer
		if got := run(append(arguments, "-state-dir", "stat"), &stdout, &stderr); got != exitFailure || !strings.Contains(stderr.String(), "no agent works with this folder") || stdout.Len() > 0 {
			t.Errorf("%q: exit code %d, output %q, errors %q", arguments, got, &stdout, &stderr)
		}
		if _, err := os.Stat("stat"); !os.IsNotExist(err) {
			t.Errorf("%q: the folder was made: %v", arguments, err)
		}
	}
}
