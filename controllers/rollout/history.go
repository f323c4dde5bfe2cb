package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

// maxHistory is the limit of the API for status.history of a pool: some 40 KiB.
const maxHistory = 100

// record puts the transitions that a plan bears into a pool's history, and returns the new history with what was not there before.
//
// A plan bears the last transition of each mitigation for as long as there is no other, so what has been recorded is met again and
// again, also after it has left the history for newer entries. There is therefore a strict order, and of all entries that there ever
// were the history has the greatest: what is smaller than the smallest of a full history has been there.
func record(history []emsv1.PoolHistoryEntry, plan *emsv1.MitigationPlanSpec) (all, fresh []emsv1.PoolHistoryEntry) {
	for i := range plan.Mitigations {
		m := &plan.Mitigations[i]
		if m.Transition.Action == "" || m.Transition.Time.IsZero() {
			continue
		}
		entry := emsv1.PoolHistoryEntry{
			Time: m.Transition.Time, ID: m.ID, Revision: m.Revision, Attempt: m.Rollout.Attempt,
			Action: m.Transition.Action, By: m.Transition.By, Message: m.Transition.Message,
		}
		if !slices.ContainsFunc(history, func(e emsv1.PoolHistoryEntry) bool { return compareMoments(e, entry) == 0 && tells(e, entry) }) {
			fresh = append(fresh, entry)
		}
	}
	slices.SortFunc(fresh, compareEntries)
	all = slices.Concat(history, fresh)
	if len(all) > maxHistory {
		ordered := slices.SortedFunc(slices.Values(all), compareEntries)
		forgotten := func(e emsv1.PoolHistoryEntry) bool { return compareEntries(e, ordered[len(ordered)-maxHistory]) < 0 }
		all, fresh = slices.DeleteFunc(all, forgotten), slices.DeleteFunc(fresh, forgotten)
	}
	// What was recorded first stays first within a second.
	slices.SortStableFunc(all, func(a, b emsv1.PoolHistoryEntry) int { return a.Time.Time.Compare(b.Time.Time) })
	return all, fresh
}

// compareEntries orders what happened by time, and what happened in the same second by what it was about. Two approvals, say, can come in
// one second, so words count, too.
func compareEntries(a, b emsv1.PoolHistoryEntry) int {
	return cmp.Or(compareMoments(a, b), strings.Compare(a.Message, b.Message))
}

func compareMoments(a, b emsv1.PoolHistoryEntry) int {
	return cmp.Or(
		a.Time.Time.Compare(b.Time.Time), strings.Compare(string(a.ID), string(b.ID)), cmp.Compare(a.Revision, b.Revision),
		cmp.Compare(a.Attempt, b.Attempt), strings.Compare(a.Action, b.Action),
	)
}

// tells reports whether an entry of the history has the words that a plan has, which may have been shortened since.
func tells(recorded, borne emsv1.PoolHistoryEntry) bool {
	return strings.HasPrefix(recorded.Message, strings.TrimSuffix(borne.Message, "…"))
}

// remember writes the transitions of the plan into the pool's history if they are not there, with an event for each. It has to be done
// before the plan is overwritten, since the plan bears them until then: that way a manager that is killed in between loses none.
//
// Nobody else writes the history. The version of the pool is part of the write, so that one from an old cache takes nothing back.
func (r *Reconciler) remember(ctx context.Context, pool *emsv1.PoolMitigationConfig, plan *emsv1.MitigationPlan) error {
	if plan == nil {
		return nil
	}
	all, fresh := record(pool.Status.History, &plan.Spec)
	if len(fresh) == 0 {
		return nil
	}
	before := pool.DeepCopy()
	pool.Status.History = all
	if err := r.Client.Status().Patch(ctx, pool, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("write the pool's history: %w", err)
	}
	for _, entry := range fresh {
		kind := corev1.EventTypeNormal
		if alarming(entry.Action) {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(pool, plan, kind, entry.Action, "RollOut", "%s", sentence(entry))
	}
	return nil
}

// alarming reports whether somebody should look at once.
func alarming(action string) bool {
	switch rollout.Action(action) {
	case rollout.HaltedByFailures, rollout.Stuck, rollout.AbortedByPerson:
		return true
	default:
		return false
	}
}

// sentence puts an entry of the history into words, without its time, which events have themselves.
func sentence(e emsv1.PoolHistoryEntry) string {
	text := fmt.Sprintf("%s revision %d", e.ID, e.Revision)
	if e.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", e.Attempt)
	}
	text += ": " + e.Action
	if e.By != "" {
		text += " by " + e.By
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}
