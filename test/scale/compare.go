package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/pause"
	"mitigation.dev/ems/test/harness"
)

// comparison puts the rule of M1 on all servers with Ansible and with EMS. It runs by itself: Ansible has the machine alone, before the
// agents are started.
func comparison() scenario {
	return scenario{name: "ansible", title: "the same rule on the same files, by Ansible and by EMS", run: compare, after: expectation{}}
}

// Way is one way to change all servers, and what it took.
type Way struct {
	Name string `json:"name"`
	// Seconds are those from the order, a document that is published or a playbook that is started, to the last server.
	Seconds float64 `json:"seconds"`
	// CPUSeconds is the processor time of all processes meanwhile, 0 where nobody knows.
	CPUSeconds float64 `json:"cpuSeconds,omitempty"`
	Remark     string  `json:"remark"`
}

// poll is the interval at which the real service looks for documents. It learns of one after half of it in the mean.
const poll = time.Hour

func compare(ctx context.Context, w *world, r *Result) error {
	program, err := findAnsible()
	if err != nil {
		return err
	}
	dir, err := w.folder(filepath.Dir(filepath.Dir(w.fleet.servers[0].Root))) // beside the folders of the servers, as fast as they are
	if err != nil {
		return err
	}
	a, err := newAnsible(program, dir, w.fleet.servers)
	if err != nil {
		return err
	}
	if err := a.measure(ctx, r); err != nil {
		return err
	}
	if err := connect(ctx, w, r); err != nil {
		return err
	}
	if err := w.measure(ctx, r); err != nil {
		return err
	}
	r.way("a service that polls hourly", effort{wall: poll / 2}, fmt.Sprintf("at once to %.0f s after it was published; this is the mean, without the work", poll.Seconds()))
	return nil
}

// way adds a way.
func (r *Result) way(name string, took effort, remark string) {
	r.Comparison = append(r.Comparison, Way{Name: name, Seconds: took.wall.Seconds(), CPUSeconds: took.cpu.Seconds(), Remark: remark})
}

// measure does everything with Ansible.
func (a *ansible) measure(ctx context.Context, r *Result) error {
	all := len(a.servers)
	apply := func(name, playbook string, how settings) error {
		if err := a.renew(); err != nil {
			return err
		}
		found, took, err := a.play(ctx, playbook, how)
		if err != nil {
			return err
		}
		r.way(fmt.Sprintf("Ansible, %s: %s", name, how), took, fmt.Sprintf("%d changed", found.changed))
		return a.protected()
	}
	again := func(name, playbook string) error {
		found, took, err := a.play(ctx, playbook, tuned)
		if err == nil && found.changed > 0 {
			err = fmt.Errorf("ansible: %s changes %d servers when it is run again", playbook, found.changed)
		}
		r.way("Ansible, "+name+", again: "+tuned.String(), took, fmt.Sprintf("%d changed", found.changed))
		return err
	}
	revert := func(name, playbook string) error {
		_, took, err := a.play(ctx, playbook, tuned)
		if err != nil {
			return err
		}
		identical, err := a.free()
		r.way("Ansible, "+name+", taken back: "+tuned.String(), took, fmt.Sprintf("%d of %d byte for byte as before", identical, all))
		return err
	}
	for _, step := range []func() error{
		func() error { return apply("XML", applyXML, installed) },
		func() error { return apply("XML", applyXML, settings{forks: installed.forks}) },
		func() error { return apply("XML", applyXML, settings{forks: tuned.forks}) },
		func() error { return apply("XML", applyXML, tuned) },
		func() error { return again("XML", applyXML) },
		func() error { return revert("XML", revertXML) },
		func() error { return apply("text", applyText, tuned) },
		func() error { return again("text", applyText) },
		func() error { return revert("text", revertText) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// measure does everything with EMS: with the stages of profile Emergency, taken back, and with all servers at once, which is what
// Ansible does.
func (w *world) measure(ctx context.Context, r *Result) error {
	mitigate := func(name string, remark func(effort) string) error {
		before, err := w.used(ctx)
		if err != nil {
			return err
		}
		took, err := w.publishUntil(ctx, emsv1.StateApplied, harness.PING1(), harness.M1())
		if err != nil {
			return err
		}
		r.way(name, took, remark(took))
		if err := w.complete(ctx, "M1"); err != nil {
			return err
		}
		after, err := w.used(ctx)
		r.figure(name+": processor time until all is reported and complete", seconds, (after - before).Seconds())
		return err
	}
	if err := mitigate("EMS, profile Emergency", func(took effort) string {
		return fmt.Sprintf("%.1f s beyond the %.0f s of bake times", (took.wall - bakes).Seconds(), bakes.Seconds())
	}); err != nil {
		return err
	}
	took, err := w.publishUntil(ctx, emsv1.StateRemoved, harness.PING1())
	if err != nil {
		return err
	}
	changed := w.fleet.wrong(expectation{untouched: true})
	r.way("EMS, withdrawn", took, fmt.Sprintf("%d of %d byte for byte as before", len(w.fleet.servers)-len(changed), len(w.fleet.servers)))
	if err := w.atOnce(ctx); err != nil {
		return err
	}
	return mitigate("EMS, all servers at once", func(effort) string { return "one stage without a bake time" })
}

// publishUntil publishes and waits until all servers say a state of M1.
func (w *world) publishUntil(ctx context.Context, state emsv1.MitigationState, configs ...ocs.Config) (effort, error) {
	before, err := w.used(ctx)
	if err != nil {
		return effort{}, err
	}
	begin, err := w.publish(configs...)
	if err != nil {
		return effort{}, err
	}
	times, err := w.stands(ctx, "M1", state, begin)
	if err != nil {
		return effort{}, err
	}
	after, err := w.used(ctx)
	last := time.Duration(distribution(since(begin, times)).Max * float64(time.Second))
	return effort{wall: last, cpu: after - before}, err
}

// used is the processor time of all processes so far: manager, API server, etcd, the server of documents, and all agents.
func (w *world) used(ctx context.Context) (time.Duration, error) {
	now, err := w.meter.sample(ctx)
	if err != nil {
		return 0, err
	}
	feed, err := usageOf(w.feed.Pid())
	total := feed.cpu
	for _, process := range now.processes {
		total += process.cpu
	}
	return total, err
}

// calm is how long is waited until a change of policy has been worked off by everybody.
const calm = 10 * time.Second

// atOnce gives the pools one stage without a bake time.
func (w *world) atOnce(ctx context.Context) error {
	var problems []error
	for i := range w.pools {
		w.pools[i].Rollout.Stages = harness.AtOnce().Stages
		problems = append(problems, w.env.Apply(ctx, w.pools[i].Config()))
	}
	return errors.Join(errors.Join(problems...), pause.For(ctx, calm))
}

// printComparison prints the ways below each other.
func printComparison(out io.Writer, ways []Way) {
	if len(ways) == 0 {
		return
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  way\tto the last server\tprocessor time\t")
	for _, way := range ways {
		cpu := "unknown"
		if way.CPUSeconds > 0 {
			cpu = number(way.CPUSeconds) + " s"
		}
		fmt.Fprintf(table, "  %s\t%s s\t%s\t%s\n", way.Name, number(way.Seconds), cpu, way.Remark)
	}
	_ = table.Flush()
}
