package walk

import (
	"regexp"
	"strings"
)

// varying is what differs between two runs of the same command, and what it becomes. The order counts: a time has digits that
// would be taken for an age, and a hash is longer than most other things.
var varying = []struct {
	pattern *regexp.Regexp
	becomes string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`), "‹time›"},
	{regexp.MustCompile(`EMS1\.[A-Za-z0-9_.…-]+`), "‹string›"},
	{regexp.MustCompile(`127\.0\.\d+\.\d+:\d+|localhost:\d+`), "‹address›"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "‹hash›"},
	{regexp.MustCompile(`\b[0-9a-f]{12,}\b`), "‹hash›"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(d|h|m|s|ms)(\d+(h|m|s))*\b`), "‹age›"},
	{regexp.MustCompile(`<unknown>`), "‹age›"},
	// An API server on the loopback address is nobody's but a test's.
	{regexp.MustCompile(`(?m)^note: .* is this machine only: .*\n`), ""},
	// Columns are as wide as the widest of their cells.
	{regexp.MustCompile(`[ \t]{2,}`), "  "},
	{regexp.MustCompile(`(?m)[ \t]+$`), ""},
}

// Normalise makes two outputs of the same command equal.
func Normalise(output string) string {
	for _, v := range varying {
		output = v.pattern.ReplaceAllString(output, v.becomes)
	}
	return strings.Trim(output, "\n")
}

// FirstLine is the heading of a table.
func FirstLine(output string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(output, "\n"), "\n")
	return line
}
