package rollout

import (
	"testing"

	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func said(lease, window int32) emsv1.PlanReporting {
	return emsv1.PlanReporting{LeaseSeconds: lease, WindowSeconds: &window}
}

func TestReporting(t *testing.T) {
	for name, tc := range map[string]struct {
		fleet, pool int
		before      emsv1.PlanReporting
		want        emsv1.PlanReporting
	}{
		"a small fleet":                      {fleet: 3, pool: 3, want: said(10, 0)},
		"no servers":                         {want: said(10, 0)},
		"500 servers":                        {fleet: 500, pool: 100, want: said(10, 0)},
		"one more is another step":           {fleet: 501, pool: 100, want: said(15, 0)},
		"a period that is long enough":       {fleet: 2000, pool: 1000, want: said(45, 5)},
		"ten thousand in one pool":           {fleet: 10_000, pool: 10_000, want: said(240, 60)},
		"more than there are steps for":      {fleet: 1_000_000, pool: 1_000_000, want: said(600, 60)},
		"growth counts at once":              {fleet: 2000, pool: 50, before: said(10, 0), want: said(45, 0)},
		"a little less changes nothing":      {fleet: 499, pool: 199, before: said(15, 1), want: said(15, 1)},
		"much less does":                     {fleet: 400, pool: 150, before: said(15, 1), want: said(10, 0)},
		"much less than a much larger fleet": {fleet: 450, pool: 10, before: said(600, 60), want: said(15, 0)},
		"what no step is does not stay":      {fleet: 100, pool: 10, before: said(77, 33), want: said(10, 0)},
		"a fleet that shrinks within its step leaves it as it is": {fleet: 2300, pool: 1000, before: said(60, 5), want: said(60, 5)},
	} {
		t.Run(name, func(t *testing.T) {
			got := reporting(tc.fleet, tc.pool, tc.before)
			if got.LeaseSeconds != tc.want.LeaseSeconds || *got.WindowSeconds != *tc.want.WindowSeconds {
				t.Errorf("reporting = %d, %d, want %d, %d", got.LeaseSeconds, *got.WindowSeconds, tc.want.LeaseSeconds, *tc.want.WindowSeconds)
			}
		})
	}
}

// TestPlansDoNotFlap grows and shrinks a fleet by one server around every size, and counts how often plans change.
func TestPlansDoNotFlap(t *testing.T) {
	for size := 1; size < 40_000; size += 7 {
		now := reporting(size, size, emsv1.PlanReporting{})
		changes := 0
		for i := range 20 {
			next := reporting(size+i%2, size+i%2, now)
			if next.LeaseSeconds != now.LeaseSeconds || ptr.Deref(next.WindowSeconds, 0) != ptr.Deref(now.WindowSeconds, 0) {
				changes++
			}
			now = next
		}
		if changes > 2 {
			t.Fatalf("%d changes around %d servers", changes, size)
		}
		if size <= 30_000 && float64(size)/float64(now.LeaseSeconds) > renewals+0.01 {
			t.Fatalf("%d servers with a period of %d s write more than %d leases a second", size, now.LeaseSeconds, renewals)
		}
	}
}
