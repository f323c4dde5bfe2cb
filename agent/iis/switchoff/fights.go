package switchoff

import (
	"time"

	"mitigation.dev/ems/agent/iis/refusal"
)

const (
	// backOff is the pause after the second time that something was found on again; it doubles with every further time.
	// It is the interval of the agent's passes, so that the first repairs come as fast as ever.
	backOff = 30 * time.Second
	// maxBackOff bounds the pause: a pool that should be off is attackable while it runs, and a stop costs next to nothing.
	maxBackOff = 5 * time.Minute
	// calm is how long there has to be peace until a fight counts as over. Monitors of health look every few minutes.
	calm = 15 * time.Minute
)

// fight is what is remembered of a target in this process.
type fight struct {
	// off says that it was off when it was last seen or touched.
	off bool
	// count is how often it was found on again, first and last when that was.
	count       int
	first, last time.Time
	// next is when it may be touched again.
	next time.Time
	// patient is when it may be waited for again.
	patient time.Time
}

// pause is the time between two attempts after so many times.
func pause(count int) time.Duration {
	d := backOff
	for n := 2; n < count && d < maxBackOff; n++ {
		d *= 2
	}
	return min(d, maxBackOff)
}

// again notes that the target is on although it was off.
func (f *fight) again(now time.Time) {
	f.forget(now)
	if f.count == 0 {
		f.first = now
	}
	f.count++
	f.last, f.off = now, false
}

// touched notes that it was switched off or is about to be.
func (f *fight) touched(now time.Time) { f.next = now.Add(pause(f.count)) }

// forget ends a fight that has been over for long enough.
func (f *fight) forget(now time.Time) (ended bool) {
	over := f.last
	if f.next.After(over) {
		over = f.next
	}
	if f.count == 0 || now.Sub(over) < calm {
		return false
	}
	ended = f.count > 1
	f.count = 0
	return ended
}

// waiting reports whether it is too early to touch the target again. Once is no fight.
func (f *fight) waiting(now time.Time) bool { return f.count > 1 && now.Before(f.next) }

// contested gives the refusal that tells of a fight, or nil without one. what is what happens to whom.
func (f *fight) contested(who, what string) error {
	if f.count < 2 {
		return nil
	}
	first, last := f.first.UTC().Format(time.RFC3339), f.last.UTC().Format(time.RFC3339)
	now := "it is off now, and this is reported until there was peace for " + calm.String()
	if !f.off {
		now = "it is switched off again at " + f.next.UTC().Format(time.RFC3339)
	}
	return refusal.New(refusal.StateContested, "%s: another program %s %d times since %s, last at %s; %s: find that program and stop it",
		who, what, f.count, first, last, now)
}
