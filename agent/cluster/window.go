package cluster

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/enforce"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

// HeldError says that a report waits for its moment. It is not lost: the report that is made then says everything.
type HeldError struct{ Until time.Time }

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("cluster: the report is held back until %s", e.Until.UTC().Format(time.RFC3339))
}

// Window is within which time reports of success are made.
type Window struct {
	// Length is that for all servers of the pool at once.
	Length time.Duration
	// Shares are the parts of the pool's servers that the plan releases, by lower-case id. As few as they are, so much less time
	// they need: the servers of a small stage report at once, and the next stage does not wait for them.
	Shares map[string]float64
}

// WindowOf gives the window that a plan announces.
func WindowOf(plan *enforce.Plan) Window {
	if plan == nil || plan.Reporting.Window <= 0 {
		return Window{}
	}
	w := Window{Length: plan.Reporting.Window, Shares: make(map[string]float64, len(plan.Entries))}
	for _, e := range plan.Entries {
		w.Shares[strings.ToLower(e.ID)] = min(1, float64(e.Release.Below)/float64(rollout.Everything))
	}
	return w
}

// hold says until when a status waits, which is different from the old one; zero if it is written now. What has waited is
// written together with what came meanwhile.
func (c *Cluster) hold(old, status *emsv1.PoolServerStatus, w Window) time.Time {
	if w.Length <= 0 || urgent(old, status) {
		return time.Time{}
	}
	now := c.Now()
	if c.held.IsZero() {
		c.held = now.Add(time.Duration(float64(w.Length) * share(old, status, w) * c.Random()))
	}
	// A clock that was set back must not keep a server from reporting.
	if !now.Before(c.held) || c.held.Sub(now) > w.Length {
		return time.Time{}
	}
	return c.held
}

// share is the part of the pool's servers that has the same to report.
func share(old, status *emsv1.PoolServerStatus, w Window) float64 {
	was := mitigationsByID(old)
	all, changed := 0.0, false
	for id, m := range mitigationsByID(status) {
		if before, known := was[id]; known && equality.Semantic.DeepEqual(before, m) {
			continue
		}
		part, planned := w.Shares[id]
		if !planned {
			part = 1
		}
		all, changed = max(all, part), true
	}
	if !changed {
		return 1 // The plan is another one, for every server.
	}
	return all
}

// urgent reports whether a status says that something is wrong, tells of what people did at the server, or is the first one
// in a while.
func urgent(old, status *emsv1.PoolServerStatus) bool {
	ready := meta.FindStatusCondition(old.Conditions, emsv1.ReadyCondition)
	if ready == nil || ready.Status == metav1.ConditionUnknown || !equality.Semantic.DeepEqual(old.Local, status.Local) {
		return true
	}
	now := meta.FindStatusCondition(status.Conditions, emsv1.ReadyCondition)
	if meta.IsStatusConditionTrue(status.Conditions, emsv1.StalledCondition) && (now.Reason != ready.Reason || now.Message != ready.Message) {
		return true
	}
	was := mitigationsByID(old)
	for id, m := range mitigationsByID(status) {
		if bad(m) && !equality.Semantic.DeepEqual(was[id], m) {
			return true
		}
	}
	return false
}

func bad(m emsv1.ServerMitigation) bool {
	return m.State == emsv1.StateFailed || m.Gate.Verdict == emsv1.GateFailed || m.State == emsv1.StateApplied && m.Effective == emsv1.EffectiveFalse
}

func mitigationsByID(s *emsv1.PoolServerStatus) map[string]emsv1.ServerMitigation {
	out := make(map[string]emsv1.ServerMitigation, len(s.Mitigations))
	for _, m := range s.Mitigations {
		out[strings.ToLower(string(m.ID))] = m
	}
	return out
}
