package rollout

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func said(lease, window int32) emsv1.PlanReporting {
	return emsv1.PlanReporting{LeaseSeconds: lease, WindowSeconds: &window}
}

func TestReporting(t *testing.T) {
	for name, tc := range map[string]struct {
		fleet  int
		before emsv1.PlanReporting
		want   emsv1.PlanReporting
	}{
		"a small fleet":                      {fleet: 3, want: said(10, 0)},
		"no servers":                         {want: said(10, 0)},
		"fifty servers":                      {fleet: 50, want: said(10, 1)},
		"a hundred servers":                  {fleet: 100, want: said(10, 1)},
		"one more is another step":           {fleet: 101, want: said(15, 2)},
		"a thousand renew ten in a second":   {fleet: 1000, want: said(120, 10)},
		"a period that is long enough":       {fleet: 5000, want: said(120, 60)},
		"ten thousand":                       {fleet: 10_000, want: said(240, 60)},
		"more than there are steps for":      {fleet: 1_000_000, want: said(600, 60)},
		"growth counts at once":              {fleet: 400, before: said(10, 0), want: said(45, 5)},
		"a little less changes nothing":      {fleet: 100, before: said(15, 2), want: said(15, 2)},
		"much less does":                     {fleet: 79, before: said(15, 2), want: said(10, 1)},
		"much less than a much larger fleet": {fleet: 120, before: said(600, 60), want: said(15, 2)},
		"what no step is does not stay":      {fleet: 100, before: said(77, 33), want: said(10, 1)},
		"a fleet that shrinks within its step leaves it as it is": {fleet: 480, before: said(60, 10), want: said(60, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			got := reporting(tc.fleet, tc.before)
			if got.LeaseSeconds != tc.want.LeaseSeconds || *got.WindowSeconds != *tc.want.WindowSeconds {
				t.Errorf("reporting = %d, %d, want %d, %d", got.LeaseSeconds, *got.WindowSeconds, tc.want.LeaseSeconds, *tc.want.WindowSeconds)
			}
		})
	}
}

// TestPlansDoNotFlap grows and shrinks a fleet by one server around every size, and counts how often plans change.
func TestPlansDoNotFlap(t *testing.T) {
	for size := 1; size < 40_000; size += 7 {
		now := reporting(size, emsv1.PlanReporting{})
		changes := 0
		for i := range 20 {
			next := reporting(size+i%2, now)
			if next.LeaseSeconds != now.LeaseSeconds || ptr.Deref(next.WindowSeconds, 0) != ptr.Deref(now.WindowSeconds, 0) {
				changes++
			}
			now = next
		}
		if changes > 2 {
			t.Fatalf("%d changes around %d servers", changes, size)
		}
		if size <= small && float64(size)/float64(now.LeaseSeconds) > few+0.01 {
			t.Fatalf("%d servers with a period of %d s write more than %d leases a second", size, now.LeaseSeconds, few)
		}
		if size <= 30_000 && float64(size)/float64(now.LeaseSeconds) > most+0.01 {
			t.Fatalf("%d servers with a period of %d s write more than %d leases a second", size, now.LeaseSeconds, most)
		}
	}
}

// A fleet that grows in one pool changes what the plans of all pools say, and a plan is rendered again only if somebody wakes its pool.
func TestPlansThatAreOutOfStepAreRenderedAgain(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := emsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var objects []client.Object
	for name, says := range map[string]emsv1.PlanReporting{
		"right": said(45, 5), "short-lease": said(10, 5), "short-window": said(45, 1), "both": said(10, 0),
	} {
		meta := metav1.ObjectMeta{Namespace: "vienna", Name: name}
		objects = append(objects,
			&emsv1.PoolMitigationConfig{ObjectMeta: meta, Status: emsv1.PoolMitigationConfigStatus{Servers: ptr.To[int32](100)}},
			&emsv1.MitigationPlan{ObjectMeta: meta, Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce, Reporting: says}})
	}
	r := &Reconciler{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()}
	var got []string
	for _, request := range r.outOfStep(t.Context(), nil) {
		got = append(got, request.Name)
	}
	slices.Sort(got)
	if want := []string{"both", "short-lease", "short-window"}; !slices.Equal(got, want) {
		t.Errorf("pools that are planned again: %v, want %v", got, want)
	}
}
