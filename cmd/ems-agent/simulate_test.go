package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSimulate: the command itself is tested with kubectl-mitigation, which has the same.
func TestSimulate(t *testing.T) {
	folder := t.TempDir()
	rules := filepath.Join(folder, "rules.xml")
	if err := os.WriteFile(rules, []byte(`<rules><rule name="r"><match url="^x"/><action type="AbortRequest"/></rule></rules>`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		arguments              []string
		wantExit               int
		wantOutput, wantErrors string
	}{
		"a request is answered":     {arguments: []string{"--rules", rules, "--request", "/x"}, wantOutput: "/x\n=> Aborted by rule \"r\"\n"},
		"help is no failure":        {arguments: []string{"--help"}, wantErrors: "-web-config"},
		"missing flags":             {wantExit: 2, wantErrors: "--rules, --config, --web-config, --mitigation: want at least one of them"},
		"an unknown flag":           {arguments: []string{"--colour"}, wantExit: 2, wantErrors: "-colour"},
		"an argument too many":      {arguments: []string{"--rules", rules, "--request", "/x", "y"}, wantExit: 2, wantErrors: `argument "y": not expected`},
		"what cannot be answered":   {arguments: []string{"--rules", rules, "--request", "/../x"}, wantExit: 1, wantErrors: "/../x"},
		"a site that is not there":  {arguments: []string{"--config", rules, "--request", "/"}, wantExit: 1, wantErrors: `root element "rules"`},
		"the agent's flags are not": {arguments: []string{"--namespace", "x"}, wantExit: 2, wantErrors: "-namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if got := run(append([]string{"simulate"}, tc.arguments...), &stdout, &stderr); got != tc.wantExit {
				t.Errorf("exit code = %d, want %d", got, tc.wantExit)
			}
			if !strings.Contains(stdout.String(), tc.wantOutput) || !strings.Contains(stderr.String(), tc.wantErrors) {
				t.Errorf("output = %q, errors = %q, want %q and %q", &stdout, &stderr, tc.wantOutput, tc.wantErrors)
			}
		})
	}
}
