package rolloutcmd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// standing is where a mitigation stands in one pool when an order is written.
type standing struct {
	// pool as NAMESPACE/NAME.
	pool string
	// entry of the pool's plan; nil if the plan does not have the mitigation, or there is none.
	entry *emsv1.PlannedMitigation
	// own is the pool's own order for the mitigation, which counts before one of the organisation.
	own *emsv1.RolloutOrder
	// stages of the rollout by name; nil if they are not known.
	stages []string
}

func (s standing) state() emsv1.RolloutState {
	if s.entry.Rollout.State == "" {
		return emsv1.RolloutComplete
	}
	return s.entry.Rollout.State
}

func (s standing) attempt() int32 { return max(1, s.entry.Rollout.Attempt) }

// wish is what the user wants.
type wish struct {
	verb     verb
	id       emsv1.MitigationID
	revision int64 // 0: the planned one
	stage    string
	full     bool
	reason   string
	owner    string
}

// verb is a command that writes an order.
type verb struct {
	name, past string
	action     emsv1.RolloutOrderAction
	// fits says whether the verb makes sense for a rollout in this state; if it does not, instead says what to do.
	fits    []emsv1.RolloutState
	instead string
	// spares are states that the verb must not touch unasked.
	spares []emsv1.RolloutState
}

// The verbs. resume takes an order back and is none of them.
var (
	pauseVerb = verb{
		name: "pause", past: "paused", action: emsv1.OrderPause,
		fits:    []emsv1.RolloutState{emsv1.RolloutWaiting, emsv1.RolloutProgressing, emsv1.RolloutPaused},
		instead: "there is nothing to pause",
	}
	promoteVerb = verb{
		name: "promote", past: "promoted", action: emsv1.OrderPromote,
		fits:    []emsv1.RolloutState{emsv1.RolloutWaiting, emsv1.RolloutProgressing, emsv1.RolloutPaused, emsv1.RolloutHalted},
		instead: "only a rollout that runs, waits or is halted can be promoted; rollout retry begins another attempt",
	}
	retryVerb = verb{
		name: "retry", past: "to be tried again", action: emsv1.OrderRetry,
		fits:    []emsv1.RolloutState{emsv1.RolloutHalted, emsv1.RolloutAborted},
		instead: "only a rollout that is halted or aborted can be tried again",
	}
	abortVerb = verb{
		name: "abort", past: "aborted", action: emsv1.OrderAbort,
		fits:    []emsv1.RolloutState{emsv1.RolloutWaiting, emsv1.RolloutProgressing, emsv1.RolloutPaused, emsv1.RolloutHalted},
		instead: "only a rollout that runs, waits or is halted can be aborted; rollout undo takes back what is complete",
		spares:  []emsv1.RolloutState{emsv1.RolloutComplete},
	}
	undoVerb = verb{
		name: "undo", past: "undone", action: emsv1.OrderAbort,
		fits: []emsv1.RolloutState{
			emsv1.RolloutWaiting, emsv1.RolloutProgressing, emsv1.RolloutPaused, emsv1.RolloutHalted, emsv1.RolloutComplete,
		},
		instead: "it is taken back already",
	}
)

// ask is what is to be written, and what to tell about it.
type ask struct {
	order emsv1.RolloutOrder
	// affected counts the pools by state, for the question that is put before an order to all pools.
	affected map[emsv1.RolloutState]int
	notes    []string
}

// decide makes the order for the pools that it is about: one, or all of them.
func decide(w wish, where string, standings []standing) (ask, error) {
	a := ask{affected: map[emsv1.RolloutState]int{}}
	wrong := func(format string, arguments ...any) (ask, error) {
		return a, fmt.Errorf("%s: %s: "+format, append([]any{where, w.id}, arguments...)...)
	}
	known := slices.DeleteFunc(slices.Clone(standings), func(s standing) bool { return s.entry == nil })
	if len(known) == 0 {
		return wrong("no plan has this mitigation")
	}
	wanted := slices.DeleteFunc(slices.Clone(known), func(s standing) bool { return s.entry.Desired != emsv1.DesiredApply })
	if len(wanted) == 0 {
		return wrong("is not rolled out: the plan says %s (%s)", known[0].entry.Desired, known[0].entry.Reason)
	}
	revisions := map[int64]bool{}
	for _, s := range wanted {
		revisions[s.entry.Revision] = true
	}
	revision := w.revision
	switch {
	case revision == 0 && len(revisions) > 1:
		return wrong("pools plan different revisions, %s: say which with --revision", list(slices.Sorted(maps.Keys(revisions))))
	case revision == 0:
		revision = wanted[0].entry.Revision
	}
	a.order = emsv1.RolloutOrder{ID: known[0].entry.ID, Revision: revision, Action: w.verb.action, Reason: w.reason, Owner: w.owner}
	about := slices.DeleteFunc(wanted, func(s standing) bool { return s.entry.Revision != revision })
	if len(about) == 0 {
		if w.verb.action == emsv1.OrderRetry || w.verb.action == emsv1.OrderPromote && w.stage == "" && !w.full {
			return wrong("revision %d is not planned, but %s", revision, list(slices.Sorted(maps.Keys(revisions))))
		}
		a.order.Stage = w.stage
		a.notes = append(a.notes, fmt.Sprintf("%s: %s: revision %d is not planned, but %s: the order counts as soon as it is", where, w.id, revision, list(slices.Sorted(maps.Keys(revisions)))))
		return a, nil
	}
	return a.fill(w, wrong, about)
}

// fill adds what depends on where the rollout stands.
func (a ask) fill(w wish, wrong func(string, ...any) (ask, error), about []standing) (ask, error) {
	fitting, spared := 0, []string{}
	for _, s := range about {
		a.affected[s.state()]++
		if slices.Contains(w.verb.fits, s.state()) {
			fitting++
		}
		if slices.Contains(w.verb.spares, s.state()) {
			spared = append(spared, s.pool)
		}
		if s.own != nil {
			a.notes = append(a.notes, fmt.Sprintf("pool %s has an order of its own, %s revision %d, which counts there instead", s.pool, s.own.Action, s.own.Revision))
		}
	}
	switch {
	case fitting == 0 && len(about) == 1:
		return wrong("revision %d is %s: %s", a.order.Revision, about[0].state(), w.verb.instead)
	case fitting == 0:
		return wrong("revision %d is %s: %s", a.order.Revision, counted(a.affected), w.verb.instead)
	case len(spared) > 0:
		return wrong("revision %d is complete in %s, which would lose it too: rollout undo does that, --pool names single pools", a.order.Revision, few(spared))
	}
	switch w.verb.action {
	case emsv1.OrderRetry:
		for _, s := range about {
			a.order.Attempt = max(a.order.Attempt, s.attempt()+1)
		}
		if n := a.affected[emsv1.RolloutComplete]; n > 0 {
			a.notes = append(a.notes, fmt.Sprintf("%s where revision %d is complete begin at the first stage again, too", plural(n, "pool"), a.order.Revision))
		}
	case emsv1.OrderPromote:
		stage, err := promotedStage(w, about)
		if err != nil {
			return wrong("%w", err)
		}
		a.order.Stage = stage
		// An order for pools in different attempts can name none of them.
		if attempts := attemptsOf(about); len(attempts) == 1 {
			a.order.Attempt = attempts[0]
		} else {
			a.notes = append(a.notes, "the pools are in different attempts, so the order counts for every attempt of the revision: take it back when it is done, or name single pools with --pool")
		}
	case emsv1.OrderPause, emsv1.OrderAbort:
	}
	return a, nil
}

// attemptsOf are the attempts that the pools are in, each once.
func attemptsOf(about []standing) []int32 {
	var all []int32
	for _, s := range about {
		all = append(all, s.attempt())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// promotedStage is the last stage that a promotion passes: the one that is released, if the user names none.
func promotedStage(w wish, about []standing) (string, error) {
	if w.full {
		return "", nil
	}
	if w.stage != "" {
		for _, s := range about {
			if s.stages != nil && !slices.Contains(s.stages, w.stage) {
				return "", fmt.Errorf("pool %s has no stage %q, but %s", s.pool, w.stage, few(s.stages))
			}
		}
		return w.stage, nil
	}
	stages := map[string]bool{}
	for _, s := range about {
		if slices.Contains(w.verb.fits, s.state()) {
			stages[s.entry.Rollout.Stage] = true
		}
	}
	switch names := slices.Sorted(maps.Keys(stages)); {
	case len(names) > 1:
		return "", fmt.Errorf("pools are in different stages, %s: say which one is passed with --stage, or all with --full", few(names))
	case names[0] == "":
		return "", fmt.Errorf("no stage is released yet: say which one is passed with --stage, or all with --full")
	default:
		return names[0], nil
	}
}

func list(revisions []int64) string {
	texts := make([]string, len(revisions))
	for i, r := range revisions {
		texts[i] = fmt.Sprint(r)
	}
	return few(texts)
}

// few names some of many.
func few(names []string) string {
	const most = 5
	var shown []string
	for i, name := range names {
		if i == most {
			return fmt.Sprintf("%s and %d more", strings.Join(shown, ", "), len(names)-most)
		}
		if name == "" {
			name = "none"
		}
		shown = append(shown, name)
	}
	return strings.Join(shown, ", ")
}

func counted(states map[emsv1.RolloutState]int) string {
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(states)) {
		parts = append(parts, fmt.Sprintf("%s in %s", state, plural(states[state], "pool")))
	}
	return strings.Join(parts, ", ")
}
