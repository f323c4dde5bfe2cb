package redos

import (
	"errors"
	"strings"
	"testing"
)

// longPatterns has patterns of nearly 2,048 characters, each hard in another way.
func longPatterns() map[string]string {
	fill := func(unit string) string { return strings.Repeat(unit, MaxPatternLength/len(unit)) }
	var names []string
	for i := range 253 {
		names = append(names, "bot-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
	}
	list := strings.Join(names, "|")
	var different strings.Builder
	for r := range rune(MaxPatternLength) {
		different.WriteRune(0x4e00 + r)
	}
	return map[string]string{
		"one literal":                   fill("x"),
		"different characters":          different.String(),
		"list of names":                 "(" + list + ")$",
		"list of names behind anything": "^.*(" + list + ")$",
		"list of names in a loop":       "(?:.*(" + list + "))*$",
		"literal in a loop":             "(" + strings.Repeat("ab", 1020) + ")*x",
		"one letter in a loop":          "(" + strings.Repeat("a", 2040) + ")*x",
		"anything between literals":     fill("a.*"),
		"nested groups":                 strings.Repeat("(", 680) + "a" + strings.Repeat(")*", 680),
		"optional characters":           fill("a?"),
		"optional characters in a loop": "(?:" + strings.Repeat("a?", 1020) + ")*x",
		"copies":                        fill(".{1,32}"),
		"look-aheads":                   fill("(?=.*a)"),
		"back references":               "(a*)" + strings.Repeat(`\1`, 1020),
		"suffixes without number":       "/.{30}x.{30}y.{30}z.*$",
		"classes":                       fill(`[\w-]+\.`),
	}
}

func BenchmarkAnalyseLongPattern(b *testing.B) {
	for name, pattern := range longPatterns() {
		b.Run(name, func(b *testing.B) {
			known := 0.0
			for b.Loop() {
				_, err := Analyse(pattern, Options{IgnoreCase: true})
				if err == nil {
					known = 1
				} else if !errors.Is(err, ErrTooComplex) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(known, "known")
		})
	}
}

func BenchmarkAnalyse(b *testing.B) {
	for _, pattern := range []string{
		`^(.*)$`, `.*autodiscover\.json.*\@.*Powershell.*`, `(?=.*autodiscover)(?=.*powershell)`, `^([^/]+)/([^/]+)/?$`,
	} {
		b.Run(pattern, func(b *testing.B) {
			for b.Loop() {
				if _, err := Analyse(pattern, Options{IgnoreCase: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
