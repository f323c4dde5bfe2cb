package cluster

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// remembered is a Memory in memory.
type remembered struct {
	conditions []metav1.Condition
	writes     int
}

func (m *remembered) Conditions() ([]metav1.Condition, error) { return m.conditions, nil }

func (m *remembered) SaveConditions(conditions []metav1.Condition) error {
	m.conditions, m.writes = conditions, m.writes+1
	return nil
}

func TestTransitionsThatNobodyWasToldOf(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ready := func(status metav1.ConditionStatus, minute int) []metav1.Condition {
		return []metav1.Condition{{Type: emsv1.ReadyCondition, Status: status, LastTransitionTime: metav1.NewTime(at.Add(time.Duration(minute) * time.Minute))}}
	}
	for name, tc := range map[string]struct{ told, found, want []metav1.Condition }{
		"what the cluster knows stands":                       {told: ready("True", 0), found: ready("True", 0), want: ready("True", 0)},
		"a change while it was away is told with its time":    {told: ready("True", 0), found: ready("False", 2), want: ready("False", 2)},
		"a change there and back as well":                     {told: ready("True", 0), found: ready("True", 3), want: ready("True", 3)},
		"that the manager called the server silent stands":    {told: ready("Unknown", 4), found: ready("True", 3), want: ready("Unknown", 4)},
		"a time from the future is that of a wrong clock":     {told: ready("True", 0), found: ready("False", 60), want: ready("True", 0)},
		"a PoolServer that is new begins with nothing":        {found: ready("True", 1)},
		"a process that remembers nothing has nothing to say": {told: ready("True", 0), want: ready("True", 0)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := catchUp(tc.told, tc.found, at.Add(10*time.Minute)); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestTransitionsOutliveTheProcess(t *testing.T) {
	a := newAPI(t, poolServer())
	memory := &remembered{}
	away := func() *Cluster {
		return New(Options{Client: a.client, Recorder: a.recorder, Namespace: "pool", Pool: "frontends", Server: "fe01", Memory: memory, Listing: true})
	}
	first := away()
	report := func(c *Cluster, r Report) {
		t.Helper()
		if err := c.Report(t.Context(), r); err == nil {
			t.Fatal("a cluster that was not heard of took a report")
		}
	}
	report(first, Report{PlanGeneration: 1})
	report(first, Report{PlanGeneration: 1, Problem: &Problem{Reason: "JournalFailed", Message: "disk"}})
	writes := memory.writes
	report(first, Report{PlanGeneration: 2, Problem: &Problem{Reason: "JournalFailed", Message: "disk full"}})
	if memory.writes != writes {
		t.Error("the disk is written to although no condition changed its status")
	}
	was := slices.Clone(memory.conditions)
	report(away(), Report{PlanGeneration: 2, Problem: &Problem{Reason: "JournalFailed", Message: "disk full"}})
	if !slices.EqualFunc(was, memory.conditions, func(a, b metav1.Condition) bool {
		return a.Type == b.Type && a.Status == b.Status && a.LastTransitionTime.Equal(&b.LastTransitionTime)
	}) {
		t.Errorf("a new process changed %v to %v", was, memory.conditions)
	}
}
