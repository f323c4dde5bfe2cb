package agent

import (
	"testing"
	"time"

	"github.com/go-logr/logr"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/internal/policy"
)

// benchFleet has M1, rules and a pool, in place.
func benchFleet(b *testing.B) (*fleet, enforce.Entry) {
	b.Helper()
	f := newFleet(b)
	f.loop.log = logr.Discard()
	m1 := f.publish(1, 1)
	f.want(m1)
	f.pass()
	f.wantInPlace()
	return f, m1
}

// BenchmarkPassOfNothing is what every server does every half minute.
func BenchmarkPassOfNothing(b *testing.B) {
	f, _ := benchFleet(b)
	b.ReportAllocs()
	for b.Loop() {
		f.clock.Step(interval)
		f.pass()
	}
}

// BenchmarkPassOfAnotherPlan is what every server does when a stage of a rollout is released that is not its own.
func BenchmarkPassOfAnotherPlan(b *testing.B) {
	f, _ := benchFleet(b)
	b.ReportAllocs()
	for b.Loop() {
		f.plan.Generation++
		f.pass()
	}
}

// BenchmarkSwitch takes everything back and puts it in place again, as a kill switch and its end do.
func BenchmarkSwitch(b *testing.B) {
	f, m1 := benchFleet(b)
	gone := m1
	gone.Decision = policy.Decision{Desired: policy.Remove, Reason: policy.Suspended}
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range []enforce.Entry{gone, m1} {
			f.clock.Step(time.Second)
			f.want(e)
			f.pass()
			if len(f.last.Changes) != 1 {
				b.Fatalf("the server was not changed: %+v", f.last)
			}
		}
	}
	f.wantInPlace()
}
