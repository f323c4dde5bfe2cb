package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxKeptOutput bounds the output that is remembered per test until its outcome is known: 1 MiB holds the dump of a
// panic with hundreds of goroutines; of a longer one the beginning, where the cause stands, is kept.
const maxKeptOutput = 1 << 20

// test is what is known of one running test (or of a package, for the output that belongs to no test).
type test struct {
	output      strings.Builder
	specs       *counts // the totals of a Ginkgo suite, when its output told them
	hasSubtests bool
	childFailed bool
}

func (t *test) write(output string) {
	if t.output.Len() < maxKeptOutput {
		t.output.WriteString(output)
	}
	if specs, ok := ginkgoCounts(output); ok {
		t.specs = &specs
	}
}

// finished is one test with its duration, for the list of the slowest.
type finished struct {
	name    string
	elapsed float64
}

// summary collects the events of a run and prints as they come.
type summary struct {
	out      io.Writer
	tests    map[string]*test  // by package and test name, until they finish
	packages map[string]counts // of packages under way
	begun    map[string]bool   // packages that were heard of and have no result yet
	builds   map[string]*test  // output of builds that may fail
	done     counts
	ran      int // packages that ran at least one check
	skips    []string
	slow     []finished
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, tests: map[string]*test{}, packages: map[string]counts{}, begun: map[string]bool{}, builds: map[string]*test{}}
}

func key(e event) string { return e.Package + "\x00" + e.Test }

func (s *summary) get(e event) *test {
	t := s.tests[key(e)]
	if t == nil {
		t = &test{}
		s.tests[key(e)] = t
	}
	return t
}

// handle takes one event.
func (s *summary) handle(e event) {
	if e.Package != "" {
		s.begun[e.Package] = true
	}
	switch e.Action {
	case "build-output":
		if s.builds[e.ImportPath] == nil {
			s.builds[e.ImportPath] = &test{}
		}
		s.builds[e.ImportPath].write(e.Output)
	case "build-fail":
		if build := s.builds[e.ImportPath]; build != nil {
			s.printf("--- BUILD FAILED: %s\n%s", e.ImportPath, build.output.String())
		}
	case "output":
		s.get(e).write(e.Output)
	case "run":
		s.get(e)
		if parent := parentOf(e); parent.Test != "" {
			s.get(parent).hasSubtests = true
		}
	case "pass", "fail", "skip":
		if e.Test != "" {
			s.finishTest(e)
		} else {
			s.finishPackage(e)
		}
	}
}

func parentOf(e event) event {
	if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
		return event{Package: e.Package, Test: e.Test[:i]}
	}
	return event{Package: e.Package}
}

// finishTest counts a test and prints its output if it failed.
func (s *summary) finishTest(e event) {
	t := s.get(e)
	delete(s.tests, key(e))
	if e.Action == "fail" {
		if parent := parentOf(e); parent.Test != "" {
			s.get(parent).childFailed = true
		}
		s.printf("--- FAILED: %s %s (%.2fs)\n%s", e.Package, e.Test, e.Elapsed, t.output.String())
	}
	count := s.packages[e.Package]
	count.add(checksOf(e.Action, t))
	s.packages[e.Package] = count
	if t.hasSubtests {
		return
	}
	s.slow = append(s.slow, finished{e.Package + " " + e.Test, e.Elapsed})
	if e.Action == "skip" {
		s.skips = append(s.skips, fmt.Sprintf("%s %s: %s", e.Package, e.Test, skipReason(t.output.String())))
	}
}

// checksOf is what a finished test counts for; doc.go has the rule.
func checksOf(action string, t *test) counts {
	var one counts
	switch {
	case t.specs != nil && (action != "fail" || t.specs.failed > 0):
		return *t.specs
	case action == "fail" && !t.childFailed:
		one.failed = 1
	case t.hasSubtests:
	case action == "skip":
		one.skipped = 1
	case action == "pass":
		one.passed = 1
	}
	return one
}

// finishPackage prints the line of a package. A package that fails without a failed test (it was not built, it panicked
// outside a test, it ran out of time) counts as one failed check and shows its output.
func (s *summary) finishPackage(e event) {
	count := s.packages[e.Package]
	delete(s.packages, e.Package)
	delete(s.begun, e.Package)
	if e.Action == "fail" && count.failed == 0 {
		count.failed = 1
		s.printf("--- FAILED: %s\n%s", e.Package, s.leftovers(e.Package))
	}
	for name := range s.tests {
		if strings.HasPrefix(name, e.Package+"\x00") {
			delete(s.tests, name)
		}
	}
	s.done.add(count)
	if count.total() == 0 {
		return // a package without tests is not worth a line
	}
	s.ran++
	s.printf("%-4s  %-60s %6.1fs  %5d checks", e.Action, e.Package, e.Elapsed, count.total())
	if count.failed > 0 {
		s.printf(", %d FAILED", count.failed)
	}
	if count.skipped > 0 {
		s.printf(", %d skipped", count.skipped)
	}
	s.printf("\n")
}

// finishOthers ends the packages that the stream has left without a result, as one does whose program is killed: they failed.
func (s *summary) finishOthers() {
	for _, name := range slices.Sorted(maps.Keys(s.begun)) {
		s.get(event{Package: name}).write("no result: the tests were cut off\n")
		s.finishPackage(event{Action: "fail", Package: name})
	}
}

// leftovers is the output of a package and of its tests that never finished, in the order of their names.
func (s *summary) leftovers(name string) string {
	var keys []string
	for candidate := range s.tests {
		if strings.HasPrefix(candidate, name+"\x00") {
			keys = append(keys, candidate)
		}
	}
	slices.Sort(keys)
	var all strings.Builder
	for _, candidate := range keys {
		all.WriteString(s.tests[candidate].output.String())
	}
	return all.String()
}

// skipReason is the text a test gave to t.Skip: the line above "--- SKIP".
func skipReason(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	reason := ""
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			reason = line
		}
	}
	return cmp.Or(reason, "no reason given")
}

// close prints the skipped and the slowest tests and returns the two closing lines.
func (s *summary) close(slowest int, elapsed time.Duration) string {
	slices.Sort(s.skips)
	for _, skip := range s.skips {
		s.printf("skipped: %s\n", skip)
	}
	slices.SortFunc(s.slow, func(a, b finished) int {
		return cmp.Or(cmp.Compare(b.elapsed, a.elapsed), cmp.Compare(a.name, b.name))
	})
	for _, t := range s.slow[:min(max(slowest, 0), len(s.slow))] {
		if t.elapsed >= 1 {
			s.printf("slow: %6.1fs  %s\n", t.elapsed, t.name)
		}
	}
	return fmt.Sprintf("%d checks in %d packages, %s\n%d passed, %d failed, %d skipped\n",
		s.done.total(), s.ran, elapsed.Round(100*time.Millisecond), s.done.passed, s.done.failed, s.done.skipped)
}

// ok tells whether the run may count as successful: something ran and nothing failed.
func (s *summary) ok() bool { return s.done.failed == 0 && s.done.passed > 0 }

// printf ignores write errors: when nobody reads the output any more, the exit status still tells the result.
func (s *summary) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format, args...) }
