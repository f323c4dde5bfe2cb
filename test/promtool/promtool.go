// Package promtool runs promtool, the checker of Prometheus, in tests.
//
// # Usage
//
//	promtool.CheckMetrics(t, text)                           // metrics in the text format
//	output, err := promtool.Run(t, nil, "test", "rules", name) // anything else
//
// # Considerations
//
// "make promcheck" builds it into bin/tools and runs these tests with EMS_PROMTOOL=required. Elsewhere a test skips where it is missing, and
// says so.
package promtool

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Path is where promtool is.
func Path(t testing.TB) string {
	t.Helper()
	path := filepath.Join(Root(t), "bin", "tools", "promtool")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("EMS_PROMTOOL") == "required" {
			t.Fatalf("promtool: %v: \"make promcheck\" builds it", err)
		}
		t.Skipf("promtool is not built, so nothing was checked with it: \"make promcheck\" builds it (%v)", err)
	}
	return path
}

// Root is the top of the repository. Tests run in the folder of their package.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("the top of the repository cannot be found: %v", err)
	return ""
}

// Run runs promtool with arguments and gives what it printed.
func Run(t testing.TB, stdin io.Reader, arguments ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), Path(t), arguments...)
	var output bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = stdin, &output, &output
	err := command.Run()
	return output.String(), err
}

// CheckMetrics has metrics in the text format checked, and fails the test for anything that promtool says of them.
func CheckMetrics(t testing.TB, text string) {
	t.Helper()
	if output, err := Run(t, strings.NewReader(text), "check", "metrics"); err != nil || strings.TrimSpace(output) != "" {
		t.Errorf("promtool check metrics: %v\n%s", err, output)
	}
}
