package main

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// event is one line of "go test -json", as "go doc test2json" and "go help buildjson" describe it.
type event struct {
	Action     string
	Package    string
	ImportPath string // only on build-output and build-fail
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// parseEvent tells whether the line is an event. Other lines (a message of the go command itself) are passed through.
func parseEvent(line []byte) (event, bool) {
	var e event
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &e) != nil || e.Action == "" {
		return event{}, false
	}
	return e, true
}

// counts are numbers of checks by outcome.
type counts struct{ passed, failed, skipped int }

func (c *counts) add(other counts) {
	c.passed += other.passed
	c.failed += other.failed
	c.skipped += other.skipped
}

func (c counts) total() int { return c.passed + c.failed + c.skipped }

var (
	ansiSequence = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	// ginkgoTotals is the last line of a Ginkgo suite: "SUCCESS! -- 7 Passed | 0 Failed | 1 Pending | 2 Skipped",
	// with "| 1 Flaked" in the middle when a spec was retried.
	ginkgoTotals = regexp.MustCompile(`-- (\d+) Passed \| (\d+) Failed \|.* (\d+) Pending \| (\d+) Skipped`)
)

// ginkgoCounts reads the totals of a Ginkgo suite from a line of output.
func ginkgoCounts(output string) (counts, bool) {
	// The cheap test first: almost no line of output is one of Ginkgo's totals.
	if !strings.Contains(output, " Passed") {
		return counts{}, false
	}
	match := ginkgoTotals.FindStringSubmatch(ansiSequence.ReplaceAllString(output, ""))
	if match == nil {
		return counts{}, false
	}
	var numbers [4]int
	for i := range numbers {
		number, err := strconv.Atoi(match[i+1])
		if err != nil {
			return counts{}, false
		}
		numbers[i] = number
	}
	return counts{passed: numbers[0], failed: numbers[1], skipped: numbers[2] + numbers[3]}, true
}
