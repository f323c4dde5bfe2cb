package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mitigation.dev/ems/agent/iis/apphost"
	"mitigation.dev/ems/internal/rewrite"
	"mitigation.dev/ems/test/harness"
)

// playbookProgram names the program ansible-playbook where it is not found by its name. hack/ansible/ensure.sh prints one.
const playbookProgram = "EMS_ANSIBLE_PLAYBOOK"

// The playbooks: with a module that understands XML and writes the file anew, and with one that replaces text.
const (
	applyXML   = "apply.yml"
	revertXML  = "revert.yml"
	applyText  = "apply-text.yml"
	revertText = "revert-text.yml"
)

//go:embed ansible/*.yml
var playbooks embed.FS

// ansible does with Ansible what EMS does, to copies of the files of servers.
type ansible struct {
	program, dir string
	originals    []*server
	// servers are the copies, without agents.
	servers []*server
}

// findAnsible looks for the program.
func findAnsible() (string, error) {
	name := os.Getenv(playbookProgram)
	if name == "" {
		name = "ansible-playbook"
	}
	program, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("ansible: %w; hack/ansible/ensure.sh obtains one, which %s names", err, playbookProgram)
	}
	return program, nil
}

// newAnsible writes playbooks, inventory and what they are to do into a folder: each server a host of its own that is reached over no
// network.
func newAnsible(program, dir string, originals []*server) (*ansible, error) {
	a := &ansible{program: program, dir: dir, originals: originals}
	var inventory strings.Builder
	for _, o := range originals {
		s := &server{Server: o.Server, begin: o.begin}
		s.Root = filepath.Join(dir, "servers", o.Name)
		a.servers = append(a.servers, s)
		fmt.Fprintf(&inventory, "%s config=%s\n", s.Name, s.ConfigFile())
	}
	inventory.WriteString("[all:vars]\nansible_connection=local\nansible_python_interpreter=\"{{ ansible_playbook_python }}\"\n")
	rule, text, err := section(originals[0])
	if err != nil {
		return nil, err
	}
	variables, err := json.Marshal(map[string]string{
		"site": harness.Site, "rule": rule, "text": text,
		"section": strings.ReplaceAll(strings.TrimSpace(text), "\r\n", "\n"), // as XML reads line ends
	})
	if err != nil {
		return nil, fmt.Errorf("ansible: %w", err)
	}
	for name, content := range map[string]string{"inventory.ini": inventory.String(), "variables.json": string(variables)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, fmt.Errorf("ansible: %w", err)
		}
	}
	books, err := fs.Sub(playbooks, "ansible")
	if err == nil {
		err = os.CopyFS(dir, books)
	}
	if err != nil {
		return nil, fmt.Errorf("ansible: %w", err)
	}
	return a, a.renew()
}

// section is what the agent would insert for M1 into the file of a server: the name of the rule and the text.
func section(s *server) (rule, text string, err error) {
	content, err := os.ReadFile(s.ConfigFile())
	if err != nil {
		return "", "", fmt.Errorf("ansible: %w", err)
	}
	config, err := apphost.Parse(content)
	if err != nil {
		return "", "", fmt.Errorf("ansible: %s: %w", s.Name, err)
	}
	action := harness.M1().Actions[0]
	wanted, err := apphost.ReadContent(action.Rewrite, action.Target, "EMS "+action.ID)
	if err != nil {
		return "", "", fmt.Errorf("ansible: %s: %w", action.ID, err)
	}
	_, edits, err := config.Render(wanted)
	if err != nil {
		return "", "", fmt.Errorf("ansible: %s: %w", s.Name, err)
	}
	if len(edits) != 1 {
		return "", "", fmt.Errorf("ansible: %s: %d edits, want one", s.Name, len(edits))
	}
	return wanted.Groups[0].Items[0].Name, string(edits[0].After), nil
}

// renew makes the copies as the servers are now, which has to be as they were before their agents began.
func (a *ansible) renew() error {
	if err := os.RemoveAll(filepath.Join(a.dir, "servers")); err != nil {
		return fmt.Errorf("ansible: %w", err)
	}
	for i, s := range a.servers {
		if err := os.CopyFS(s.Root, os.DirFS(a.originals[i].Root)); err != nil {
			return fmt.Errorf("ansible: %s: %w", s.Name, err)
		}
		if err := s.check(expectation{untouched: true}); err != nil {
			return fmt.Errorf("ansible: copy: %w", err)
		}
	}
	return nil
}

// settings are those of Ansible that matter for how long it takes.
type settings struct {
	// forks is how many servers are worked on at once.
	forks int
	// facts are gathered of every server first.
	facts bool
	// pipelining sends a module to the program that runs it and not into a file first.
	pipelining bool
}

// installed are the settings that come with Ansible, tuned those that fit this work.
var (
	installed = settings{forks: 5, facts: true}
	tuned     = settings{forks: 50, pipelining: true}
)

func (s settings) String() string {
	text := fmt.Sprintf("%d forks", s.forks)
	if s.facts {
		text += ", facts"
	}
	if s.pipelining {
		text += ", pipelining"
	}
	return text
}

func (s settings) environment() []string {
	gathering := "explicit"
	if s.facts {
		gathering = "implicit"
	}
	return []string{"ANSIBLE_GATHERING=" + gathering, "ANSIBLE_FORKS=" + strconv.Itoa(s.forks), "ANSIBLE_PIPELINING=" + strconv.FormatBool(s.pipelining)}
}

// effort is what something took.
type effort struct{ wall, cpu time.Duration }

// play runs a playbook on all copies and returns what it took, with the processor time of all processes that it started. That a server
// fails is an error.
func (a *ansible) play(ctx context.Context, playbook string, how settings) (recap, effort, error) {
	in := func(name string) string { return filepath.Join(a.dir, name) }
	command := exec.CommandContext(ctx, a.program, "-i", in("inventory.ini"), "-e", "@"+in("variables.json"), in(playbook))
	command.Dir = a.dir
	command.Env = append(os.Environ(), how.environment()...)
	command.Env = append(command.Env,
		"ANSIBLE_NOCOLOR=1", "ANSIBLE_RETRY_FILES_ENABLED=0", "ANSIBLE_HOME="+in("home"), "ANSIBLE_REMOTE_TEMP="+in("home/tmp"),
		"SANDBOX_BIND="+a.dir, "SANDBOX_SECONDS=3600")
	begin := time.Now()
	output, err := command.CombinedOutput()
	took := effort{wall: time.Since(begin)}
	if command.ProcessState != nil {
		took.cpu = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	}
	found, readErr := readRecap(string(output))
	if err == nil {
		err = readErr
	}
	if err == nil && (found.servers != len(a.servers) || found.failed > 0) {
		err = fmt.Errorf("%d of %d servers, %d failed", found.servers, len(a.servers), found.failed)
	}
	if err != nil {
		return found, took, fmt.Errorf("ansible: %s: %w:\n%s", playbook, err, output[max(0, len(output)-maxDiagnosis):])
	}
	return found, took, nil
}

// recap is what ansible-playbook says in the end, in numbers of servers.
type recap struct{ servers, changed, failed int }

var recapLine = regexp.MustCompile(`^\S+\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s`)

// readRecap reads the output of ansible-playbook. One without a line for any server is an error.
func readRecap(output string) (recap, error) {
	var found recap
	for line := range strings.Lines(output) {
		m := recapLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		found.servers++
		if m[1] != "0" {
			found.changed++
		}
		if m[2] != "0" || m[3] != "0" {
			found.failed++
		}
	}
	if found.servers == 0 {
		return found, errors.New("the output says nothing of any server")
	}
	return found, nil
}

// protected is an error unless all copies have the rule of M1, and it does its work: the same check as of servers with an agent.
func (a *ansible) protected() error {
	var problems []error
	for _, s := range a.servers {
		problems = append(problems, s.check(expectation{}))
	}
	return errors.Join(problems...)
}

// free is an error if a copy has a rule, or a request is blocked. It returns of how many every byte is as before.
func (a *ansible) free() (identical int, err error) {
	for _, s := range a.servers {
		names, err := s.RuleNames()
		if err != nil {
			return identical, err
		}
		result, err := s.Request("GET", harness.ExploitRequest)
		if err != nil {
			return identical, err
		}
		if len(names) > 0 || result.Outcome != rewrite.Passed {
			return identical, fmt.Errorf("%s: rules %q, and %s is %v", s.Name, names, harness.ExploitRequest, result.Outcome)
		}
		if s.check(expectation{untouched: true}) == nil {
			identical++
		}
	}
	return identical, nil
}
