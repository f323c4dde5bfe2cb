package rollout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

// big is a pool of 10,000 servers with 20 mitigations.
func big() rollout.Input {
	in := rollout.Input{Now: start, Before: map[string]rollout.Entry{}}
	for i := range 20 {
		in.Mitigations = append(in.Mitigations, rollout.Mitigation{
			Mitigation: policy.Mitigation{ID: fmt.Sprintf("M%d", i), Lifecycle: policy.LifecycleActive}, Revision: 1, Content: first, Severity: "Critical",
		})
	}
	for i := range 10_000 {
		in.Servers = append(in.Servers, rollout.Server{Name: fmt.Sprintf("fe%05d", i), Gates: map[string]rollout.Gate{}})
	}
	return in
}

// next plays what the servers say, and plans again from the outcome.
func next(in rollout.Input, verdict rollout.Verdict, later time.Duration) rollout.Input {
	plan := rollout.Make(in)
	in.Now = in.Now.Add(later)
	in.Before = map[string]rollout.Entry{}
	for _, e := range plan.Entries {
		id := strings.ToLower(e.ID)
		in.Before[id] = e
		for _, s := range in.Servers {
			if e.Release.Includes(s.Name, e.ID) {
				s.Gates[id] = rollout.Gate{Rollout: e.Rollout.ID, Verdict: verdict}
			}
		}
	}
	return in
}

func BenchmarkMake(b *testing.B) {
	begins := big()
	observed := next(begins, rollout.GateBaking, time.Second)
	begins2 := next(big(), rollout.GatePassed, time.Minute)
	complete := big()
	for range 5 {
		complete = next(complete, rollout.GatePassed, 10*time.Minute)
	}
	for name, in := range map[string]rollout.Input{
		"every mitigation begins": big(), "every mitigation goes on to the next stage": begins2, "every stage is under observation": observed,
		"everything is complete": complete,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rollout.Make(in)
			}
		})
	}
}

func BenchmarkProgressOf(b *testing.B) {
	in := next(big(), rollout.GatePassed, time.Minute)
	entry := rollout.Make(in).Entries[0]
	for b.Loop() {
		rollout.ProgressOf(entry, in.Servers)
	}
}
