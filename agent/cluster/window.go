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
type HeldError struct {
	Until time.Time
	// After is why the last try failed; nil if the report waits for its moment alone.
	After error
}

// Error implements error.
func (e *HeldError) Error() string {
	text := fmt.Sprintf("cluster: the report is held back until %s", e.Until.UTC().Format(time.RFC3339))
	if e.After != nil {
		text += fmt.Sprintf(", after a try that failed: %v", e.After)
	}
	return text
}

// Unwrap implements errors.Unwrap.
func (e *HeldError) Unwrap() error { return e.After }

// quiet is how long a report waits at least that says nothing but what the cluster can think for itself: that the server has read
// another plan and waits for its stage. Most of them are never made, because something worth a report comes first: the last stage of
// profile Emergency is released about 50 seconds after the first. With half of it, each of 1,000 servers told that it waits in the
// very seconds in which the last stage was put in place.
const quiet = time.Minute

// hurry is by how much faster the servers of a stage report than all of them would: the next stage waits for them, and few servers are no
// load.
const hurry = 2

// lead is the part of a window that goes by before the first report: a server that has obeyed does not compete for the API server with
// those that have not heard yet. The last one, which a stage waits for, is no later for it.
const lead = 1.0 / 3

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

// held is a report that waits.
type held struct {
	// until is zero if none does.
	until time.Time
	// atMost is how long after now until can be, at a clock that nobody set.
	atMost time.Duration
	// quietly says that nobody waits for it.
	quietly bool
}

// hold says until when a status waits, which is different from the old one; zero if it is written now. What has waited is
// written together with what came meanwhile.
func (c *Cluster) hold(old, status *emsv1.PoolServerStatus, w Window) time.Time {
	if w.Length <= 0 || urgent(old, status) {
		return time.Time{}
	}
	now := c.Now()
	next := held{atMost: w.Length}
	if awaited(old, status) {
		next.until = now.Add(time.Duration(float64(w.Length) * share(old, status, w) * (lead + (1-lead)*c.Random())))
	} else {
		spread := max(quiet, w.Length)
		next = held{until: now.Add(quiet + time.Duration(float64(spread)*c.Random())), atMost: quiet + spread, quietly: true}
	}
	if c.held.until.IsZero() || c.held.quietly && !next.quietly && next.until.Before(c.held.until) {
		c.held = next
	}
	// A clock that was set back must not keep a server from reporting.
	if !now.Before(c.held.until) || c.held.until.Sub(now) > c.held.atMost {
		return time.Time{}
	}
	return c.held.until
}

// awaited reports whether somebody waits for what a status says beside the old one: a mitigation that is in place now or gone, a
// verdict about one, or the work that has come to its end.
func awaited(old, status *emsv1.PoolServerStatus) bool {
	if readiness(old) != readiness(status) {
		return true
	}
	was, is := mitigationsByID(old), mitigationsByID(status)
	for id, m := range is {
		before, known := was[id]
		if !known {
			before.State = emsv1.StatePending // as far as anybody knows
		}
		if before.State != m.State || before.Revision != m.Revision || before.Effective != m.Effective ||
			before.Gate.Rollout != m.Gate.Rollout || before.Gate.Verdict != m.Gate.Verdict {
			return true
		}
	}
	for id, before := range was {
		if _, still := is[id]; !still && before.State != emsv1.StatePending {
			return true
		}
	}
	return false
}

func readiness(s *emsv1.PoolServerStatus) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(s.Conditions, emsv1.ReadyCondition); c != nil {
		return c.Status
	}
	return ""
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
		if part < 1 {
			part /= hurry
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
