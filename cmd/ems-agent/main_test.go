package main

import (
	"bytes"
	"strings"
	"testing"

	"mitigation.dev/ems/internal/version"
)

func TestRunAnswersWithoutStarting(t *testing.T) {
	for name, tc := range map[string]struct {
		arguments              []string
		wantExit               int
		wantOutput, wantErrors string
	}{
		"the version is printed":            {arguments: []string{"--version"}, wantOutput: version.String()},
		"help is no failure":                {arguments: []string{"-help"}, wantErrors: "-trust-file"},
		"missing flags are a usage error":   {arguments: []string{"-state-dir", "nowhere"}, wantExit: 2, wantErrors: "is not enrolled"},
		"unknown flags are a usage error":   {arguments: []string{"-colour"}, wantExit: 2, wantErrors: "not defined: -colour"},
		"further arguments are not ignored": {arguments: []string{"start"}, wantExit: 2, wantErrors: `argument "start": not expected`},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if got := run(tc.arguments, &stdout, &stderr); got != tc.wantExit {
				t.Errorf("exit code = %d, want %d", got, tc.wantExit)
			}
			if !strings.Contains(stdout.String(), tc.wantOutput) || !strings.Contains(stderr.String(), tc.wantErrors) {
				t.Errorf("output = %q, errors = %q, want %q and %q", &stdout, &stderr, tc.wantOutput, tc.wantErrors)
			}
		})
	}
}
