package schedule

import (
	"fmt"
	"time"
)

// Bounds of the search for the next change. A window that opens every minute never closes, and one that opens every hour
// for an hour does not either; nobody waits for the end of it. An opening takes some 200 ns to find.
const (
	// maxOpenings is how many openings of one window that follow each other without a gap are looked at in one go: 25 hours
	// of a window that opens every minute.
	maxOpenings = 1500
	// maxChanges is how many changes of windows that change nothing in the answer are looked at.
	maxChanges = 500
	// maxLooks is how many openings are looked at for one answer, which bounds it to some milliseconds.
	maxLooks = 4 * maxOpenings
)

// Verdict says whether changes are allowed.
type Verdict struct {
	Open bool
	// Why says in words what closes the schedule; empty while it is open.
	Why string
	// Next is when the answer changes. Where that is very far ahead it is a time until which the answer certainly stays;
	// where nothing ever changes it is zero.
	Next time.Time
}

// Open judges the windows of all levels at a time.
func Open(now time.Time, sets ...Set) Verdict {
	levels, why := compile(sets)
	if why != "" {
		return Verdict{Why: why}
	}
	now = now.Round(0).UTC()
	budget := maxLooks
	verdict, change := judge(now, levels, &budget)
	for range maxChanges {
		if change.IsZero() {
			verdict.Next = time.Time{}
			break
		}
		verdict.Next = change
		if budget == 0 {
			break
		}
		var then Verdict
		if then, change = judge(change, levels, &budget); then.Open != verdict.Open {
			break
		}
	}
	if !verdict.Open {
		verdict.Why += verdict.closedUntil()
	}
	return verdict
}

// closedUntil says when the schedule opens, or is looked at again, behind the reason for its being closed.
func (v Verdict) closedUntil() string {
	if v.Next.IsZero() {
		return ""
	}
	return "; closed until " + v.Next.Format(time.RFC3339)
}

// level are the windows of one level, by what they say.
type level struct{ allow, deny []*timed }

// timed is a window with its reading, and how it stands.
type timed struct {
	Window
	recurrence

	known bool
	open  bool
	// until is when that may change, zero for never.
	until time.Time
}

// look finds out how the window stands at an instant. Time only goes forward.
func (w *timed) look(now time.Time, budget *int) {
	if w.known && (w.until.IsZero() || now.Before(w.until)) {
		return
	}
	w.open, w.until = w.state(now, budget)
	w.known = true
}

// compile reads all windows, or says what cannot be read.
func compile(sets []Set) (levels []level, why string) {
	for _, set := range sets {
		var l level
		for i, w := range set {
			r, err := w.compile()
			switch {
			case err != nil:
				return nil, fmt.Sprintf("windows[%d] cannot be read, so that nothing begins: %v", i, err)
			case w.Policy == Deny:
				l.deny = append(l.deny, &timed{Window: w, recurrence: r})
			default:
				l.allow = append(l.allow, &timed{Window: w, recurrence: r})
			}
		}
		levels = append(levels, l)
	}
	return levels, ""
}

// judge answers for one instant, with the first time after it at which a window may open or close.
func judge(now time.Time, levels []level, budget *int) (verdict Verdict, change time.Time) {
	verdict.Open = true
	for _, l := range levels {
		for _, w := range l.deny {
			w.look(now, budget)
			change = earlier(change, w.until)
			if w.open && verdict.Open {
				verdict.Open, verdict.Why = false, w.String()+" is open"
			}
		}
	}
	for _, l := range levels {
		inside := len(l.allow) == 0
		for _, w := range l.allow {
			w.look(now, budget)
			change = earlier(change, w.until)
			inside = inside || w.open
		}
		if !inside && verdict.Open {
			verdict.Open, verdict.Why = false, outside(l.allow)
		}
	}
	return verdict, change
}

func outside(windows []*timed) string {
	if len(windows) == 1 {
		return "outside of the " + windows[0].String()
	}
	return fmt.Sprintf("outside of all %d Allow windows", len(windows))
}

// earlier returns the earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
