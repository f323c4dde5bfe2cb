package schedule

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// times are the wall clock times that a cron line names, as sets of bits in which bit n stands for the value n.
type times struct{ minutes, hours, days, months, weekdays uint64 }

// star is the bit that the parser sets where a field names every value.
const star = 1 << 63

// searchYears is how far ahead a matching time is looked for: leap days are at most eight years apart, and on a given day
// of the week they come within forty, which nobody means.
const searchYears = 8

// parseTimes reads a cron line.
func parseTimes(line string) (times, error) {
	if len(line) > MaxCron {
		return times{}, fmt.Errorf("cron: %d bytes: at most %d are allowed", len(line), MaxCron)
	}
	// The parser knows these, and panics on a TZ= without a space.
	if strings.HasPrefix(line, "@") || strings.Contains(line, "=") {
		return times{}, fmt.Errorf("cron: %q: only the five-field form is allowed; the zone has its own field", line)
	}
	parsed, err := cron.ParseStandard(line)
	if err != nil {
		return times{}, fmt.Errorf("cron: %q: %w", line, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return times{}, fmt.Errorf("cron: %q: %w", line, errNoTimes)
	}
	t := times{minutes: spec.Minute, hours: spec.Hour, days: spec.Dom, months: spec.Month, weekdays: spec.Dow}
	// The parser takes a field of commas only, and days that no month has.
	if t.next(anyTime).IsZero() {
		return times{}, fmt.Errorf("cron: %q: names a time that never comes", line)
	}
	return t, nil
}

var errNoTimes = errors.New("names no wall clock times")

// anyTime is where the search for a first time begins. Of the years after it one is a leap year.
var anyTime = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// day reports whether a day matches. As in every cron, a day of the month and a day of the week that are both given are
// alternatives.
func (t times) day(day int, weekday time.Weekday) bool {
	ofMonth, ofWeek := t.days&(1<<day) != 0, t.weekdays&(1<<weekday) != 0
	if t.days&star != 0 || t.weekdays&star != 0 {
		return ofMonth && ofWeek
	}
	return ofMonth || ofWeek
}

// next returns the first matching wall clock time at or after the given one, zero if there is none within searchYears. Wall
// clock times are given and answered as times of UTC, whose days all have 24 hours.
func (t times) next(wall time.Time) time.Time {
	if whole := wall.Truncate(time.Minute); whole.Before(wall) {
		wall = whole.Add(time.Minute)
	}
	hour, minute := wall.Hour(), wall.Minute()
	year, month, day := wall.Date()
	weekday := wall.Weekday()
	for last := year + searchYears; year <= last; {
		if t.months&(1<<month) == 0 {
			first := time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
			year, month, day = first.Date()
			weekday, hour, minute = first.Weekday(), 0, 0
			continue
		}
		if t.day(day, weekday) {
			if h, m, ok := t.within(hour, minute); ok {
				return time.Date(year, month, day, h, m, 0, 0, time.UTC)
			}
		}
		hour, minute = 0, 0
		weekday = (weekday + 1) % 7
		if day++; day > 28 { // time knows how long months are
			year, month, day = time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Date()
		}
	}
	return time.Time{}
}

// within returns the first matching time of a day at or after the given one.
func (t times) within(hour, minute int) (h, m int, ok bool) {
	if t.hours&(1<<hour) != 0 {
		if m, ok = after(t.minutes, minute); ok {
			return hour, m, true
		}
	}
	m, some := after(t.minutes, 0)
	h, later := after(t.hours, hour+1)
	return h, m, some && later
}

// after returns the lowest value of a set that is not below the given one.
func after(set uint64, low int) (int, bool) {
	rest := set &^ star >> low << low
	return bits.TrailingZeros64(rest), rest != 0
}
