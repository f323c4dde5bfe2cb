package fleet

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

func TestAPoolWakesTheMitigationsOfWhichItSaysSomethingElse(t *testing.T) {
	says := func(id emsv1.MitigationID, applied int32) emsv1.PoolMitigationStatus {
		return emsv1.PoolMitigationStatus{ID: id, Desired: emsv1.DesiredApply, Servers: emsv1.ServerCounts{Applied: new(applied)}}
	}
	for name, tc := range map[string]struct {
		before, after []emsv1.PoolMitigationStatus
		want          []emsv1.MitigationID
	}{
		"nothing new":          {before: []emsv1.PoolMitigationStatus{says("M1", 1), says("M2", 1)}, after: []emsv1.PoolMitigationStatus{says("M1", 1), says("M2", 1)}},
		"one of several":       {before: []emsv1.PoolMitigationStatus{says("M1", 1), says("M2", 1)}, after: []emsv1.PoolMitigationStatus{says("M1", 1), says("M2", 2)}, want: []emsv1.MitigationID{"M2"}},
		"one that came":        {after: []emsv1.PoolMitigationStatus{says("M1", 1)}, want: []emsv1.MitigationID{"M1"}},
		"one that went":        {before: []emsv1.PoolMitigationStatus{says("M1", 1), says("M2", 1)}, after: []emsv1.PoolMitigationStatus{says("M2", 1)}, want: []emsv1.MitigationID{"M1"}},
		"order says nothing":   {before: []emsv1.PoolMitigationStatus{says("M1", 1), says("M2", 1)}, after: []emsv1.PoolMitigationStatus{says("M2", 1), says("M1", 1)}},
		"one for another, too": {before: []emsv1.PoolMitigationStatus{says("M1", 1)}, after: []emsv1.PoolMitigationStatus{says("M2", 1)}, want: []emsv1.MitigationID{"M1", "M2"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := changed(tc.before, tc.after)
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("wakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPoolThatIsCalledAbandonedIsLookedAt(t *testing.T) {
	pool := func(reason string) *emsv1.PoolMitigationConfig {
		p := &emsv1.PoolMitigationConfig{}
		if reason != "" {
			p.Status.Conditions = []metav1.Condition{{Type: emsv1.ReadyCondition, Reason: reason}}
		}
		return p
	}
	for name, tc := range map[string]struct {
		before, after string
		want          bool
	}{
		"called so":              {before: emsv1.InSyncReason, after: emsv1.NoManagerReason, want: true},
		"called so at first":     {after: emsv1.NoManagerReason, want: true},
		"still called so":        {before: emsv1.NoManagerReason, after: emsv1.NoManagerReason},
		"no longer called so":    {before: emsv1.NoManagerReason, after: emsv1.InSyncReason},
		"it is about other news": {before: emsv1.InSyncReason, after: emsv1.RollingOutReason},
	} {
		t.Run(name, func(t *testing.T) {
			if got := calledAbandoned().Update(event.UpdateEvent{ObjectOld: pool(tc.before), ObjectNew: pool(tc.after)}); got != tc.want {
				t.Errorf("looked at: %t, want %t", got, tc.want)
			}
		})
	}
}
