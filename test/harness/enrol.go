package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// enrol makes a server one of its pool the way people do: an operator with the plugin, and the agent's own command on the server.
func (e *Environment) enrol(ctx context.Context, s *Server, stateDir string, flags ...string) error {
	arguments := append([]string{
		"enroll", "--kubeconfig=" + e.Kubectl.Kubeconfig, "--namespace=" + s.Pool.Namespace, "--host-name=" + s.HostName(), "--output=json",
	}, flags...)
	output, err := run(ctx, "", e.Programs.Plugin, append(arguments, s.Pool.Name+"/"+s.Name)...)
	if err != nil {
		return fmt.Errorf("server %s: %w", s.Name, err)
	}
	var enrolled []struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(output, &enrolled); err != nil || len(enrolled) != 1 {
		return fmt.Errorf("server %s: enrolment: %d servers: %w", s.Name, len(enrolled), err)
	}
	// All servers are on this machine, whose name is none of theirs.
	if _, err := run(ctx, enrolled[0].Token, e.Programs.Agent, "enroll", "--token=-", "--state-dir="+stateDir, "--server="+s.Name); err != nil {
		return fmt.Errorf("server %s: %w", s.Name, err)
	}
	return nil
}

// run runs a command to its end and returns its standard output, also if it fails; what it says else is part of the error.
func run(ctx context.Context, stdin, path string, arguments ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, path, arguments...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s %s: %w: %s", path, arguments[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// EnrolAgain enrols a server anew, with flags of the plugin.
func (e *Environment) EnrolAgain(ctx context.Context, s *Server, flags ...string) error {
	return e.enrol(ctx, s, s.StateDir, append(flags, "--again")...)
}
