package rollout

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"mitigation.dev/ems/internal/policy"
)

// Action is one word for what happened to a mitigation in a pool. The words are part of the API.
type Action string

// What can happen.
const (
	Published         Action = "Published"
	StageReleased     Action = "StageReleased"
	Approved          Action = "Approved"
	Promoted          Action = "Promoted"
	PausedByPerson    Action = "Paused"
	Resumed           Action = "Resumed"
	HaltedByFailures  Action = "Halted"
	Reverted          Action = "Reverted"
	AbortedByPerson   Action = "Aborted"
	Retried           Action = "Retried"
	Completed         Action = "Completed"
	WentOnWithoutData Action = "WentOnWithoutData"
	Stuck             Action = "Stuck"
	Blocked           Action = "Blocked"
	Unblocked         Action = "Unblocked"
	BlockExpired      Action = "BlockExpired"
	Suspended         Action = "Suspended"
	Unsuspended       Action = "Unsuspended"
	Disabled          Action = "Disabled"
	Enabled           Action = "Enabled"
	Withdrawn         Action = "Withdrawn"
	Superseded        Action = "Superseded"
)

// System is who caused what no person and no publisher did.
const System = "EMS"

// Limits of the API, in bytes. What a server said is cut so that five of them fit into a message of either kind.
const (
	maxMessage    = 2048
	maxTransition = 512
	maxBy         = 256
	maxWords      = 80
)

// rank orders what happened by importance: of several things in one write the first is told, with the words of the others.
var rank = []Action{
	Suspended, Blocked, Withdrawn, Superseded, Disabled, AbortedByPerson, HaltedByFailures, Retried, Promoted, Unblocked, BlockExpired,
	Unsuspended, Enabled, Published, Completed, WentOnWithoutData, Approved, StageReleased, Stuck, PausedByPerson, Resumed, Reverted,
}

// note is one thing that happened in this run of the planner.
type note struct {
	action      Action
	by, message string
}

func (r *run) note(action Action, by, message string) {
	r.notes = append(r.notes, note{action, cmp.Or(by, System), message})
}

// noteDecision notes that the pool's decision is another one than before.
func (r *run) noteDecision() {
	now, then := taken(r.entry.Decision), taken(r.before.Decision)
	if now == then || (!r.known && now != Blocked) {
		return
	}
	if now != "" {
		by := r.entry.By
		if now == Withdrawn || now == Superseded {
			by = r.entry.FeedName
		}
		r.note(now, by, r.entry.Message)
		return
	}
	back := ends[then]
	if then == Blocked && !r.before.Until.IsZero() && !r.in.Now.Before(r.before.Until) {
		back = note{action: BlockExpired, message: "the block has expired"}
	}
	if back.action == Published {
		back.by = r.entry.FeedName
	}
	if back.action != "" {
		r.note(back.action, back.by, back.message)
	}
}

// ends is what happens when a decision no longer stands.
var ends = map[Action]note{
	Blocked:    {action: Unblocked, message: "nothing blocks the mitigation any more"},
	Suspended:  {action: Unsuspended, message: "nothing suspends the mitigation any more"},
	Disabled:   {action: Enabled, message: "mitigations are enabled"},
	Withdrawn:  {action: Published, message: "the publisher lists the mitigation again"},
	Superseded: {action: Published, message: "the publisher lists the mitigation again"},
}

// taken is the action that a decision amounts to; empty for Apply.
func taken(d policy.Decision) Action {
	switch {
	case d.Desired == policy.Apply || d.Desired == "":
		return ""
	case d.Reason.Blocked():
		return Blocked
	case d.Reason == policy.Suspended:
		return Suspended
	case d.Reason == policy.MitigationsDisabled:
		return Disabled
	case d.Reason == policy.Withdrawn:
		return Withdrawn
	case d.Reason == policy.Superseded:
		return Superseded
	default:
		return ""
	}
}

// noteReason notes that the rollout waits for something else than before.
func (r *run) noteReason() {
	before, now := r.before.Rollout, r.entry.Rollout
	if before.ID != now.ID {
		before.Reason = ""
	}
	if before.Reason == now.Reason || r.entry.Desired != policy.Apply {
		return
	}
	switch {
	case now.Reason == policy.RolloutPaused:
		r.note(PausedByPerson, r.heldBy, now.Message)
	case now.Reason == policy.RolloutStuck:
		r.note(Stuck, System, now.Message)
	case before.Reason == policy.RolloutPaused && r.held().reason == "" && !r.stopped():
		r.note(Resumed, System, "nothing pauses the rollout any more")
	}
}

// transition returns what happened, or what did last if nothing has.
func (r *run) transition() Transition {
	r.noteReason()
	if len(r.notes) == 0 {
		return r.before.Transition
	}
	important := slices.MinFunc(r.notes, func(a, b note) int {
		return cmp.Compare(slices.Index(rank, a.action), slices.Index(rank, b.action))
	})
	words := []string{important.message}
	for _, n := range r.notes {
		if n.message != "" && !slices.Contains(words, n.message) {
			words = append(words, n.message)
		}
	}
	return Transition{
		Action: important.action, Time: r.now, By: shorten(important.by, maxBy),
		Message: shorten(strings.Join(words, "; "), maxTransition),
	}
}

// shorten cuts a text to so many bytes, between characters.
func shorten(text string, limit int) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) <= limit {
		return text
	}
	const dots = "…"
	cut := limit - len(dots)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + dots
}
