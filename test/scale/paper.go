package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
)

const (
	// whole is the number of servers that is extrapolated to, cell how many of them have an API server and a manager of their own.
	whole = 100_000
	cell  = 10_000
)

// paper extrapolates from measured runs and prints by which assumptions. It returns an exit code.
func paper(files []string, out io.Writer) int {
	runs, err := readRuns(files)
	if err != nil {
		fmt.Fprintf(os.Stderr, "ems-sim: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(out, "%d servers in %d cells of %d\n\nThis is arithmetic, not a measurement. It assumes:\n", whole, whole/cell, cell)
	for _, line := range []string{
		"- cells share nothing but the publisher: each has an API server, etcd and a manager of its own, and fetches the same document by itself; " +
			"so times are those of one cell, and requests, processor time and memory are those of all cells added up",
		"- within a cell, what is used grows in a straight line with the servers: through the measured runs if there are several, else in " +
			"proportion to the one run, which counts its fixed part, too, and says too much rather than too little",
		"- renewals of Leases grow like the rest, although plans keep them at 50 a second for each fleet",
		"- a cell's processes have the processors to themselves; in the measured runs they shared them with all agents",
		"- the publisher's answer to " + fmt.Sprint(whole/cell) + " managers at once takes no longer than that to one",
	} {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "\nMeasured:")
	for _, run := range runs {
		fmt.Fprintf(out, " %d servers on %d processors, %s;", run.Servers, run.Processors, run.Started.Format("2006-01-02 15:04"))
	}
	fmt.Fprint(out, "\n\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "scenario\twhat\ta cell\tall cells\t")
	last := runs[len(runs)-1]
	for _, r := range last.Results {
		row := func(what, unit string, of func(*Result) float64) {
			value := extrapolate(runs, r.Scenario, cell, of)
			fmt.Fprintf(table, "%s\t%s\t%s %s\t%s %s\t\n", r.Scenario, what, number(value), unit, number(value*whole/cell), unit)
		}
		row("requests", "", func(r *Result) float64 {
			return r.sum("GET ", "LIST ", "WATCH ", "POST ", "PUT ", "PATCH ", "APPLY ", "DELETE ")
		})
		row("sent by API servers", "MB", func(r *Result) float64 { return r.Bytes / 1e6 })
		for _, name := range slices.Sorted(maps.Keys(r.CPU)) {
			if name != simulator {
				row("processor time of "+name, seconds, func(r *Result) float64 { return r.CPU[name] })
			}
		}
	}
	final := last.Results[len(last.Results)-1]
	for _, name := range slices.Sorted(maps.Keys(final.PeakRSS)) {
		if name == simulator {
			continue
		}
		value := extrapolate(runs, final.Scenario, cell, func(r *Result) float64 { return float64(r.PeakRSS[name]) / mib })
		fmt.Fprintf(table, "the whole run\tpeak memory of %s\t%s MiB\t%s MiB\t\n", name, number(value), number(value*whole/cell))
	}
	_ = table.Flush()
	return 0
}

// readRuns reads results, and puts the smallest run first.
func readRuns(files []string) ([]*Run, error) {
	if len(files) == 0 {
		return nil, errors.New("-paper: name at least one file with results")
	}
	var runs []*Run
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("results: %w", err)
		}
		run := &Run{}
		if err := json.Unmarshal(content, run); err != nil {
			return nil, fmt.Errorf("results: %s: %w", file, err)
		}
		if run.Servers < 1 || len(run.Results) == 0 {
			return nil, fmt.Errorf("results: %s: %d servers, %d scenarios: nothing to go by", file, run.Servers, len(run.Results))
		}
		runs = append(runs, run)
	}
	slices.SortFunc(runs, func(a, b *Run) int { return cmp.Compare(a.Servers, b.Servers) })
	return runs, nil
}

// extrapolate gives a value for a number of servers: by the least-squares line through the runs that have the scenario if their numbers
// of servers differ, else in proportion.
func extrapolate(runs []*Run, name string, servers float64, of func(*Result) float64) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, run := range runs {
		for _, r := range run.Results {
			if r.Scenario == name {
				x, y := float64(run.Servers), of(r)
				n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
			}
		}
	}
	spread := n*sumXX - sumX*sumX
	if sumX == 0 || spread <= 0 {
		return servers * sumY / max(1, sumX)
	}
	slope := (n*sumXY - sumX*sumY) / spread
	return max(0, (sumY-slope*sumX)/n+slope*servers)
}
