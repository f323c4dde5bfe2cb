package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"mitigation.dev/ems/internal/pause"
	"mitigation.dev/ems/test/harness"
)

// options are the flags.
type options struct {
	servers, pools              int
	only, out, memory, programs string
	profile                     string
	profileAfter, profileLength time.Duration
	paper                       bool
}

const (
	// relaxed is how many agents may leave five times as much garbage as they hold, about half a megabyte each.
	relaxed = 2000
	// checked is how many servers can have a health check that a site answers which shares its processors with all agents.
	checked = 2000
)
const (
	exitFailure = 1
	exitUsage   = 2
)

func main() {
	var o options
	flag.IntVar(&o.servers, "n", 1000, "`number` of servers")
	flag.IntVar(&o.pools, "pools", 0, "`number` of pools (default: one for each thousand servers)")
	flag.StringVar(&o.only, "scenarios", "", "`names` of scenarios, separated by commas, beside connect (default: all). Some need others; ansible is one that runs by itself")
	flag.StringVar(&o.out, "out", filepath.Join("bin", "scale"), "`folder` for results")
	flag.StringVar(&o.memory, "memory", "/dev/shm", "`folder` for the servers' disks, best in memory")
	flag.StringVar(&o.programs, "programs", "", "`folder` with manager, ems-agent and kubectl-mitigation (default: they are built)")
	flag.StringVar(&o.profile, "profile", "", "`names` of scenarios, separated by commas, of which profiles of this process, the API server and the manager are written beside the results")
	flag.DurationVar(&o.profileLength, "profile-length", 30*time.Second, "how long scenarios are profiled")
	flag.DurationVar(&o.profileAfter, "profile-after", 0, "how long after their beginning scenarios are profiled")
	flag.BoolVar(&o.paper, "paper", false, "extrapolate the results of the files that are named to 100,000 servers, and run nothing")
	flag.Parse()
	if o.pools == 0 {
		o.pools = max(1, o.servers/1000)
	}
	if o.paper {
		os.Exit(paper(flag.Args(), os.Stdout))
	}
	chosen, err := choose(o.only)
	if err == nil && (flag.NArg() > 0 || o.servers < o.pools || o.pools < 1) {
		err = errors.New("arguments: none are expected, and at least a server for each pool")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "ems-sim: %v\n", err)
		os.Exit(exitUsage)
	}
	os.Exit(simulate(o, chosen))
}

// choose picks scenarios by name; the first one always runs.
func choose(names string) ([]scenario, error) {
	all := scenarios()
	if names == "" {
		return all, nil
	}
	if alone := comparison(); names == alone.name {
		return []scenario{alone}, nil
	}
	wanted := strings.Split(names, ",")
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(s scenario) bool { return s.name == name }) {
			return nil, fmt.Errorf("-scenarios: %q: there is no such scenario", name)
		}
	}
	for _, s := range all {
		if slices.Contains(wanted, s.name) && s.needs != "" && !slices.Contains(wanted, s.needs) {
			return nil, fmt.Errorf("-scenarios: %q: needs %q before it", s.name, s.needs)
		}
	}
	first := all[0].name
	return slices.DeleteFunc(all, func(s scenario) bool { return s.name != first && !slices.Contains(wanted, s.name) }), nil
}

func simulate(o options, chosen []scenario) int {
	// What clients say of requests that fail, agents say again in their own words.
	if o.servers <= relaxed {
		// The heap holds all agents, and each collection goes through all of it for the work of a few. Memory is there for small fleets.
		debug.SetGCPercent(400)
	}
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go harness.EndWithParent(ctx, cancel)
	run := &Run{Servers: o.servers, Pools: o.pools, Processors: runtime.NumCPU(), Started: time.Now().UTC()}
	if o.servers > checked {
		chosen = slices.DeleteFunc(chosen, func(s scenario) bool { return s.name == "bad" })
		fmt.Printf("scenario bad is left out: above %d servers pools have no health check, which it needs\n", checked)
	}
	if err := enoughFiles(o.servers); err != nil {
		fmt.Fprintf(os.Stderr, "ems-sim: %v\n", err)
		return exitUsage
	}
	err := measure(ctx, o, chosen, run, os.Stdout)
	if err == nil || len(run.Results) > 0 {
		err = errors.Join(err, write(run, o.out))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "ems-sim: %v\n", err)
		return exitFailure
	}
	if slices.ContainsFunc(run.Results, (*Result).Failed) {
		return exitFailure
	}
	return 0
}

// measure runs scenarios one after the other and prints what each found.
func measure(ctx context.Context, o options, chosen []scenario, run *Run, out io.Writer) error {
	fmt.Fprintf(out, "%d servers in %d pools, %d processors; preparing\n", run.Servers, run.Pools, run.Processors)
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer w.end()
	for _, s := range chosen {
		if s.rested {
			if err := w.rest(ctx); err != nil {
				return fmt.Errorf("before scenario %s: %w", s.name, err)
			}
		}
		end := w.profiler.begin(ctx, s.name)
		r, err := w.play(ctx, s)
		err = errors.Join(err, end())
		run.Results = append(run.Results, r)
		printResult(out, r)
		if err != nil {
			return errors.Join(fmt.Errorf("scenario %s: %w", s.name, err), w.diagnosis(ctx))
		}
	}
	printSummary(out, run)
	return nil
}

// maxDiagnosis is the end of the diagnosis that is shown: the ends of the logs, and not thousands of objects.
const maxDiagnosis = 8 << 10

func (w *world) diagnosis(ctx context.Context) error {
	text := w.env.Diagnose(context.WithoutCancel(ctx))
	return errors.New(text[max(0, len(text)-maxDiagnosis):])
}

// play plays one scenario and checks what it left. An error means that the next ones make no sense.
func (w *world) play(ctx context.Context, s scenario) (*Result, error) {
	r := &Result{Scenario: s.name, Title: s.title, Times: map[string]Distribution{}}
	r.Load[0] = load()
	before, err := w.meter.sample(ctx)
	if err != nil {
		r.Error = err.Error()
		return r, err
	}
	err = s.run(ctx, w, r)
	if err != nil {
		r.Error = err.Error()
	}
	after, sampled := w.meter.sample(ctx)
	if err = errors.Join(err, sampled); sampled == nil {
		r.Seconds = after.at.Sub(before.at).Seconds()
		r.difference(before, after)
	}
	r.Load[1] = load()
	r.judge(s.goals, len(w.fleet.servers))
	if err == nil {
		err = w.audit(ctx, s, r)
	}
	r.Messages = w.fleet.messages.take()
	return r, err
}

// settle is how long updates may take to arrive: the longest time that a report waits for which nobody waits (package agent/cluster), and
// as long again for an API server that is busy.
const settle = 4 * time.Minute

// audit compares what all servers have with what they should have, and what they said with what the cluster heard.
func (w *world) audit(ctx context.Context, s scenario, r *Result) error {
	r.WrongStates = w.fleet.wrong(s.after)
	for begin := time.Now(); ; {
		var err error
		if r.LostUpdates, err = w.fleet.lost(ctx, w.client); err != nil {
			return err
		}
		if len(r.LostUpdates) == 0 || time.Since(begin) > settle {
			return nil
		}
		// Each look lists all servers, which costs a busy API server as much as many reports.
		if err := pause.For(ctx, 2*time.Second*time.Duration(1+len(w.fleet.servers)/1000)); err != nil {
			return err
		}
	}
}
