package rollout

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

var start = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)

// bearing is a plan whose mitigations bear the given transitions: id, action, seconds after the start.
func bearing(transitions ...emsv1.PoolHistoryEntry) *emsv1.MitigationPlanSpec {
	spec := &emsv1.MitigationPlanSpec{}
	for _, t := range transitions {
		spec.Mitigations = append(spec.Mitigations, emsv1.PlannedMitigation{
			ID: t.ID, Revision: t.Revision, Rollout: emsv1.PlanRollout{Attempt: t.Attempt},
			Transition: emsv1.PlanTransition{Action: t.Action, Time: t.Time, By: t.By, Message: t.Message},
		})
	}
	return spec
}

func happened(after int, id emsv1.MitigationID, action string) emsv1.PoolHistoryEntry {
	return emsv1.PoolHistoryEntry{
		Time: new(metav1.NewTime(start.Add(time.Duration(after) * time.Second))), ID: id, Revision: 2, Attempt: 1, Action: action, By: "EMS", Message: "why",
	}
}

func TestHistoryHasEachTransitionOnce(t *testing.T) {
	published, released, halted := happened(0, "M1", "Published"), happened(0, "M1", "StageReleased"), happened(9, "M1", "Halted")
	other := happened(5, "M2", "Completed")

	history, fresh := record(nil, bearing(published))
	if len(history) != 1 || len(fresh) != 1 {
		t.Fatalf("history %v with %d new, want the first transition", history, len(fresh))
	}
	history, fresh = record(history, bearing(published))
	if len(history) != 1 || len(fresh) != 0 {
		t.Fatalf("history has %d entries, %d of them new: a transition was recorded twice", len(history), len(fresh))
	}
	history, _ = record(history, bearing(released))
	history, fresh = record(history, bearing(halted, other))
	if diff := cmp.Diff([]emsv1.PoolHistoryEntry{published, released, other, halted}, history); diff != "" {
		t.Errorf("history differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]emsv1.PoolHistoryEntry{other, halted}, fresh); diff != "" {
		t.Errorf("new entries differ (-want +got):\n%s", diff)
	}
	if _, fresh = record(history, bearing(emsv1.PoolHistoryEntry{ID: "M3"})); len(fresh) != 0 {
		t.Errorf("%v was recorded of a mitigation to which nothing happened", fresh)
	}
}

func TestHistoryTellsWhatHappensInOneSecondApart(t *testing.T) {
	first, second := happened(0, "M1", "Approved"), happened(0, "M1", "Approved")
	first.Message, second.Message = "stage half: tested", "stage all: tested"
	history, _ := record(nil, bearing(first))
	history, fresh := record(history, bearing(second))
	if len(history) != 2 || len(fresh) != 1 {
		t.Fatalf("history has %d entries, %d of them new, want both approvals", len(history), len(fresh))
	}
	// A plan that has to be short leaves out what the history has.
	for _, short := range []string{"stage a…", ""} {
		second.Message, second.By = short, ""
		if _, fresh = record(history, bearing(second)); len(fresh) != 0 {
			t.Errorf("%v was recorded again, because the plan says no more than %q of it", fresh, short)
		}
	}
}

// A plan bears old transitions for ever, so what has left a full history must not come back as news, nor with an event.
func TestAFullHistoryForgetsTheOldestForGood(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var all []emsv1.PoolHistoryEntry
	for i := range 3 * maxHistory {
		// Many in the same second, as when a document brings hundreds of mitigations.
		all = append(all, happened(i/150, emsv1.MitigationID(fmt.Sprintf("M%d", i)), "Published"))
	}
	var history []emsv1.PoolHistoryEntry
	for range 5 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		before := history
		var fresh []emsv1.PoolHistoryEntry
		history, fresh = record(history, bearing(all...))
		if len(history) != maxHistory {
			t.Fatalf("history has %d entries, want %d", len(history), maxHistory)
		}
		if before == nil {
			if len(fresh) != maxHistory {
				t.Fatalf("%d entries are new, want %d", len(fresh), maxHistory)
			}
			continue
		}
		if diff := cmp.Diff(before, history); diff != "" || len(fresh) != 0 {
			t.Fatalf("%d entries came back (-before +after):\n%s", len(fresh), diff)
		}
	}
	for _, e := range history {
		if e.Time.Time.Before(start.Add(time.Second)) {
			t.Fatalf("%s of %v is in the history, although there are newer ones", e.ID, e.Time)
		}
	}
}

func TestSentence(t *testing.T) {
	retried := happened(0, "M1", "Retried")
	retried.Attempt, retried.By, retried.Message = 2, "mail team", ""
	for want, entry := range map[string]emsv1.PoolHistoryEntry{
		"M1 revision 2: Halted by EMS: why":              happened(0, "M1", "Halted"),
		"M1 revision 2, attempt 2: Retried by mail team": retried,
	} {
		if got := sentence(entry); got != want {
			t.Errorf("sentence = %q, want %q", got, want)
		}
	}
	if !alarming("Halted") || !alarming("Stuck") || !alarming("Aborted") || alarming("Completed") {
		t.Error("halts, stuck rollouts and aborts are warnings, and nothing else is")
	}
}
