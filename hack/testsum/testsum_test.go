package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// stream writes events as "go test -json" does.
func stream(t *testing.T, events ...event) string {
	t.Helper()
	var lines strings.Builder
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(line)
		lines.WriteByte('\n')
	}
	return lines.String()
}

// outcome is a test that runs, prints and ends.
func outcome(action, name, output string) []event {
	return []event{
		{Action: "run", Package: "p", Test: name},
		{Action: "output", Package: "p", Test: name, Output: output},
		{Action: action, Package: "p", Test: name, Elapsed: 0.5},
	}
}

func TestRun(t *testing.T) {
	pass, fail := event{Action: "pass", Package: "p"}, event{Action: "fail", Package: "p"}
	for name, tc := range map[string]struct {
		events     []event
		wantTotals string
		wantOutput []string
		wantErr    error
	}{
		"passed and skipped tests are green, and the reason of a skip is shown": {
			events: append(append(outcome("pass", "TestA", "=== RUN\n"),
				outcome("skip", "TestB", "    b_test.go:7: needs the corpus\n--- SKIP: TestB\n")...), pass),
			wantTotals: "1 passed, 0 failed, 1 skipped",
			wantOutput: []string{"skipped: p TestB: b_test.go:7: needs the corpus"},
		},
		"a table counts its cases and not itself": {
			events: []event{
				{Action: "run", Package: "p", Test: "TestT"},
				{Action: "run", Package: "p", Test: "TestT/one"},
				{Action: "pass", Package: "p", Test: "TestT/one"},
				{Action: "run", Package: "p", Test: "TestT/two"},
				{Action: "pass", Package: "p", Test: "TestT/two"},
				{Action: "pass", Package: "p", Test: "TestT"}, pass,
			},
			wantTotals: "2 passed, 0 failed, 0 skipped",
		},
		"a failed case is one failure, its output is shown": {
			events: []event{
				{Action: "run", Package: "p", Test: "TestT"},
				{Action: "run", Package: "p", Test: "TestT/one"},
				{Action: "output", Package: "p", Test: "TestT/one", Output: "got 1, want 2\n"},
				{Action: "fail", Package: "p", Test: "TestT/one"},
				{Action: "fail", Package: "p", Test: "TestT"}, fail,
			},
			wantTotals: "0 passed, 1 failed, 0 skipped",
			wantOutput: []string{"--- FAILED: p TestT/one", "got 1, want 2"},
			wantErr:    errNotGreen,
		},
		"a parent that fails by itself counts beside its passed cases": {
			events: []event{
				{Action: "run", Package: "p", Test: "TestT"},
				{Action: "run", Package: "p", Test: "TestT/one"},
				{Action: "pass", Package: "p", Test: "TestT/one"},
				{Action: "fail", Package: "p", Test: "TestT"}, fail,
			},
			wantTotals: "1 passed, 1 failed, 0 skipped",
			wantErr:    errNotGreen,
		},
		"a suite of specs counts its specs, colours or not": {
			events: append(outcome("pass", "TestSuite",
				"\x1b[38;5;10mSUCCESS!\x1b[0m -- \x1b[1m12 Passed\x1b[0m | \x1b[1m0 Failed\x1b[0m | 1 Flaked | 1 Pending | 2 Skipped\n"), pass),
			wantTotals: "12 passed, 0 failed, 3 skipped",
		},
		"a suite that fails although no spec did is a failure": {
			events:     append(outcome("fail", "TestSuite", "FAIL! -- 3 Passed | 0 Failed | 0 Pending | 0 Skipped\n"), fail),
			wantTotals: "0 passed, 1 failed, 0 skipped",
			wantErr:    errNotGreen,
		},
		"a package that dies outside its tests is one failure with its output": {
			events: append(outcome("pass", "TestA", ""),
				event{Action: "run", Package: "p", Test: "TestHangs"},
				event{Action: "output", Package: "p", Test: "TestHangs", Output: "panic: test timed out after 1s\n"}, fail),
			wantTotals: "1 passed, 1 failed, 0 skipped",
			wantOutput: []string{"panic: test timed out"},
			wantErr:    errNotGreen,
		},
		"a package whose events break off is one failure": {
			events: append(outcome("pass", "TestA", ""),
				event{Action: "run", Package: "p", Test: "TestHangs"},
				event{Action: "output", Package: "p", Test: "TestHangs", Output: "about to hang\n"}),
			wantTotals: "1 passed, 1 failed, 0 skipped",
			wantOutput: []string{"FAILED: p\n", "about to hang", "no result: the tests were cut off"},
			wantErr:    errNotGreen,
		},
		"a package that does not build is one failure with the compiler's words": {
			events: []event{
				{Action: "build-output", ImportPath: "p [p.test]", Output: "p/a.go:3: undefined: x\n"},
				{Action: "build-fail", ImportPath: "p [p.test]"}, fail,
			},
			wantTotals: "0 passed, 1 failed, 0 skipped",
			wantOutput: []string{"BUILD FAILED: p [p.test]", "undefined: x"},
			wantErr:    errNotGreen,
		},
		"a run without any check is not green": {
			events:     []event{{Action: "skip", Package: "p"}},
			wantTotals: "0 passed, 0 failed, 0 skipped",
			wantErr:    errNotGreen,
		},
	} {
		t.Run(name, func(t *testing.T) {
			summaryFile := filepath.Join(t.TempDir(), "summary")
			var out strings.Builder
			err := run([]string{"-summary", summaryFile}, strings.NewReader("go: a word of the go command\n"+stream(t, tc.events...)), &out)
			if !errors.Is(err, tc.wantErr) {
				t.Errorf("run() error = %v, want %v", err, tc.wantErr)
			}
			if !strings.HasSuffix(out.String(), "\n"+tc.wantTotals+"\n") {
				t.Errorf("last line should be %q, output:\n%s", tc.wantTotals, out.String())
			}
			for _, want := range append(tc.wantOutput, "go: a word of the go command") {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output should contain %q, is:\n%s", want, out.String())
				}
			}
			written, err := os.ReadFile(summaryFile)
			if err != nil {
				t.Fatal(err)
			}
			if want := regexp.MustCompile(`^\d+ checks in \d+ packages, \S+s\n` + tc.wantTotals + `\n$`); !want.Match(written) {
				t.Errorf("summary file = %q, want a match of %v", written, want)
			}
		})
	}
}
