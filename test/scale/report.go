package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// write writes a run as JSON and as a chart.
func write(run *Run, dir string) error {
	content, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("results: %w", err)
	}
	base := filepath.Join(dir, fmt.Sprintf("scale-%d", run.Servers))
	for name, data := range map[string][]byte{base + ".json": append(content, '\n'), base + ".svg": chart(run)} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return fmt.Errorf("results: %w", err)
		}
	}
	return nil
}

// number writes a value with as many digits as matter.
func number(value float64) string {
	switch {
	case value == float64(int64(value)):
		return fmt.Sprintf("%d", int64(value))
	case value >= 100:
		return fmt.Sprintf("%.0f", value)
	case value >= 1:
		return fmt.Sprintf("%.1f", value)
	}
	return fmt.Sprintf("%.2f", value)
}

// printResult prints what a scenario found.
func printResult(out io.Writer, r *Result) {
	fmt.Fprintf(out, "\n%s: %s (%.0f s, load %s to %s)\n", r.Scenario, r.Title, r.Seconds, r.Load[0], r.Load[1])
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range r.Figures {
		fmt.Fprintf(table, "  %s\t%s %s\t%s\n", f.Name, number(f.Value), f.Unit, verdict(f))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Times)) {
		d := r.Times[name]
		fmt.Fprintf(table, "  %s, %d times\tp50 %.2f  p90 %.2f  p99 %.2f  max %.2f s\t\n", name, d.Count, d.P50, d.P90, d.P99, d.Max)
	}
	_ = table.Flush()
	printComparison(out, r.Comparison)
	fmt.Fprintf(out, "  requests: %s; %.1f MB from the API server\n", requestsText(r.Requests), r.Bytes/1e6)
	if len(r.Refused) > 0 {
		fmt.Fprintf(out, "  of these refused: %s\n", requestsText(r.Refused))
	}
	var processes []string
	for _, name := range slices.Sorted(maps.Keys(r.CPU)) {
		processes = append(processes, fmt.Sprintf("%s %.1f s, %d MiB", name, r.CPU[name], r.PeakRSS[name]>>20))
	}
	fmt.Fprintf(out, "  processor time and peak memory: %s\n", strings.Join(processes, "; "))
	for _, message := range slices.Sorted(maps.Keys(r.Messages)) {
		fmt.Fprintf(out, "  agents said: %s: %s\n", message, r.Messages[message])
	}
	const most = 5
	for what, list := range map[string][]string{"WRONG STATE": r.WrongStates, "LOST UPDATE": r.LostUpdates} {
		for i, problem := range list {
			if i == most {
				fmt.Fprintf(out, "  %s: and %d more\n", what, len(list)-most)
				break
			}
			fmt.Fprintf(out, "  %s: %s\n", what, problem)
		}
	}
	if len(r.TerminatedWatchers) > 0 {
		fmt.Fprintf(out, "  MISSED: watches closed by the API server: %s\n", requestsText(r.TerminatedWatchers))
	}
	if r.Error != "" {
		fmt.Fprintf(out, "  ERROR: %s\n", r.Error)
	}
}

func verdict(f Figure) string {
	switch {
	case f.Goal == nil:
		return ""
	case f.Missed():
		return "MISSED: at most " + number(*f.Goal)
	}
	return "at most " + number(*f.Goal)
}

func total(counts map[string]float64) float64 {
	sum := 0.0
	for _, count := range counts {
		sum += count
	}
	return sum
}

// requestsText lists the most frequent requests.
func requestsText(requests map[string]float64) string {
	const most = 8
	keys := slices.SortedFunc(maps.Keys(requests), func(a, b string) int {
		if requests[a] != requests[b] {
			return int(requests[b] - requests[a])
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, key := range keys[:min(most, len(keys))] {
		parts = append(parts, fmt.Sprintf("%.0f %s", requests[key], key))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// printSummary prints all figures that have a goal.
func printSummary(out io.Writer, run *Run) {
	fmt.Fprintf(out, "\n%d servers:\n", run.Servers)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var wrong, lost int
	var terminated float64
	for _, r := range run.Results {
		for _, f := range r.Figures {
			if f.Goal != nil {
				fmt.Fprintf(table, "  %s\t%s\t%s %s\t%s\n", r.Title, f.Name, number(f.Value), f.Unit, verdict(f))
			}
		}
		wrong, lost, terminated = wrong+len(r.WrongStates), lost+len(r.LostUpdates), terminated+total(r.TerminatedWatchers)
	}
	_ = table.Flush()
	fmt.Fprintf(out, "  %d wrong end states, %d lost updates, %s watches closed by the API server%s\n", wrong, lost, number(terminated), map[bool]string{true: "  MISSED: at most 0"}[terminated > 0])
}

// chart draws each figure that has a goal as its part of it.
func chart(run *Run) []byte {
	type bar struct {
		label string
		part  float64
		text  string
	}
	var bars []bar
	for _, r := range run.Results {
		for _, f := range r.Figures {
			if f.Goal == nil || *f.Goal == 0 {
				continue
			}
			bars = append(bars, bar{r.Title + ": " + f.Name, max(0, f.Value / *f.Goal), fmt.Sprintf("%s of %s %s", number(f.Value), number(*f.Goal), f.Unit)})
		}
	}
	const row, left, unit, most = 26, 560, 200, 2 // unit is the width of a goal; a bar is at most twice as long
	var b bytes.Buffer
	height := (len(bars)+2)*row + 10
	width := left + most*unit + 160
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="10" y="18" font-weight="bold">%d servers on %d processors: what was measured, and the goal (line)</text>`+"\n", run.Servers, run.Processors)
	for i, x := range bars {
		y := (i + 1) * row
		colour := "#3a7d44"
		if x.part > 1 {
			colour = "#b3402a"
		}
		length := int(unit * min(x.part, most))
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
			left-8, y+18, escape(x.label), left, y+5, max(1, length), row-8, colour, left+max(length, unit)+6, y+18, escape(x.text))
	}
	fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="black" stroke-dasharray="4"/>`+"\n</svg>\n", left+unit, row, left+unit, (len(bars)+1)*row)
	return b.Bytes()
}

func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
