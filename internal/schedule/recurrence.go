package schedule

import "time"

// recurrence is a window that has been read. It is not for several goroutines at once.
type recurrence struct {
	wall     times
	zone     *time.Location
	duration time.Duration

	// known is the stretch that was asked for last: looking it up takes longer than all the rest.
	known stretch
}

// stretch is a time between two changes of a zone's offset from UTC. In it, wall clock and instants run side by side.
type stretch struct {
	// begin and end are zero where there is no change before or after.
	begin, end time.Time
	// shift is the offset in the stretch, after that of the next one.
	shift, after time.Duration
	valid        bool
}

func (s stretch) has(at time.Time) bool {
	return s.valid && (s.begin.IsZero() || !at.Before(s.begin)) && (s.end.IsZero() || at.Before(s.end))
}

// stretchAt finds the stretch that an instant lies in.
func (r *recurrence) stretchAt(at time.Time) stretch {
	if r.known.has(at) {
		return r.known
	}
	local := at.In(r.zone)
	s := stretch{valid: true}
	s.begin, s.end = local.ZoneBounds()
	_, offset := local.Zone()
	s.shift = time.Duration(offset) * time.Second
	if !s.end.IsZero() {
		_, offset = s.end.In(r.zone).Zone()
		s.after = time.Duration(offset) * time.Second
	}
	r.known = s
	return s
}

// opening returns the first opening at or after an instant, zero if there is none within searchYears.
//
// The search is one of plain wall clock times in each stretch of the zone. At the seam of two, the times that are skipped
// count for the seam itself.
func (r *recurrence) opening(at time.Time) time.Time {
	for {
		s := r.stretchAt(at)
		wall := r.wall.next(at.UTC().Add(s.shift))
		if wall.IsZero() {
			return time.Time{}
		}
		found := wall.Add(-s.shift)
		if s.end.IsZero() || found.Before(s.end) {
			return found
		}
		if wall.Before(s.end.UTC().Add(s.after)) {
			return s.end.UTC()
		}
		at = s.end
	}
}

// state says whether the window is open at an instant, and until when that is so. It looks at no more openings than the
// budget has left; then the time returned is one until which it is certainly so.
func (r *recurrence) state(now time.Time, budget *int) (open bool, until time.Time) {
	first := r.opening(now.Add(-r.duration + time.Nanosecond))
	if first.IsZero() || first.After(now) {
		return false, first
	}
	// Each opening that comes before the one before has ended makes the window stay open for longer.
	end := first.Add(r.duration)
	for range maxOpenings {
		if *budget == 0 {
			break
		}
		*budget--
		next := r.opening(first.Add(time.Nanosecond))
		if next.IsZero() || next.After(end) {
			break
		}
		first, end = next, next.Add(r.duration)
	}
	return true, end
}
