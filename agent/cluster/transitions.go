package cluster

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Memory outlives the process.
type Memory interface {
	// Conditions are those that were kept last; none if none were.
	Conditions() ([]metav1.Condition, error)
	// SaveConditions keeps conditions.
	SaveConditions(conditions []metav1.Condition) error
}

// recall reads what the process before this one found out. What cannot be read is lost: times of transitions that nobody was told
// of.
func (c *Cluster) recall() {
	if c.Memory == nil {
		return
	}
	kept, err := c.Memory.Conditions()
	if err != nil {
		c.Log.Error(err, "Times of transitions are lost")
	}
	c.found = kept
}

// keep remembers what conditions became and when, so that the cluster is told of it when it can be. The disk is written to when a
// condition changes its status, which is seldom.
func (c *Cluster) keep(conditions []metav1.Condition) {
	now := make([]metav1.Condition, 0, len(conditions))
	for _, condition := range conditions {
		condition.LastTransitionTime = metav1.NewTime(condition.LastTransitionTime.Truncate(time.Second)) // as the cluster keeps it
		now = append(now, condition)
	}
	same := slices.EqualFunc(c.found, now, func(a, b metav1.Condition) bool {
		return a.Type == b.Type && a.Status == b.Status && a.LastTransitionTime.Equal(&b.LastTransitionTime)
	})
	c.found = now
	if same || c.Memory == nil {
		return
	}
	if err := c.Memory.SaveConditions(now); err != nil {
		c.Log.Error(err, "Times of transitions cannot be kept")
	}
}

// catchUp takes over into conditions of the cluster what happened while it could not be told: a condition that this server saw
// change later than the cluster knows. The manager says by a later time that a server is silent, and that stands.
func catchUp(told, found []metav1.Condition, now time.Time) []metav1.Condition {
	told = slices.Clone(told)
	for i := range told {
		later := meta.FindStatusCondition(found, told[i].Type)
		// A time from the future is that of a clock that was wrong.
		if later != nil && later.LastTransitionTime.After(told[i].LastTransitionTime.Time) && !later.LastTransitionTime.After(now) {
			told[i] = *later
		}
	}
	return told
}
