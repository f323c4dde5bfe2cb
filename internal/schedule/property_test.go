package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/schedule"
)

// The reference: a calendar of two years, minute by minute. It knows the sets of values that a cron line was made of, and
// never reads the line.

// reach is how long before the calendar windows may have opened that are still open in it.
const reach = schedule.MaxDuration

var (
	calendarBegin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	calendarEnd   = time.Date(2028, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// wallClock is what clocks of a zone show at a minute. skipped are the minutes that were left out just before.
type wallClock struct {
	minute, hour, day, month, weekday int8
	skipped                           int16
}

func calendarOf(t *testing.T, name string) []wallClock {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	from := calendarBegin.Add(-reach)
	clocks := make([]wallClock, 0, int(calendarEnd.Sub(from)/time.Minute))
	_, before := from.In(zone).Zone()
	for at := from; at.Before(calendarEnd); at = at.Add(time.Minute) {
		local := at.In(zone)
		_, offset := local.Zone()
		clocks = append(clocks, wallClock{
			minute: int8(local.Minute()), hour: int8(local.Hour()), day: int8(local.Day()), //nolint:gosec // small by nature
			month: int8(local.Month()), weekday: int8(local.Weekday()), skipped: int16(max(0, offset-before) / 60), //nolint:gosec // small by nature
		})
		before = offset
	}
	return clocks
}

// line is a cron line as the sets that it was made of; an empty set is a star.
type line struct{ minutes, hours, days, months, weekdays []int8 }

func (l line) String() string {
	fields := make([]string, 0, 5)
	for _, set := range [][]int8{l.minutes, l.hours, l.days, l.months, l.weekdays} {
		if len(set) == 0 {
			fields = append(fields, "*")
			continue
		}
		values := make([]string, 0, len(set))
		for _, v := range set {
			values = append(values, strconv.Itoa(int(v)))
		}
		fields = append(fields, strings.Join(values, ","))
	}
	return strings.Join(fields, " ")
}

func in(set []int8, v int8) bool { return len(set) == 0 || slices.Contains(set, v) }

func (l line) matches(c wallClock) bool {
	day, weekday := in(l.days, c.day), in(l.weekdays, c.weekday)
	dayMatches := day && weekday
	if len(l.days) > 0 && len(l.weekdays) > 0 {
		dayMatches = day || weekday
	}
	return dayMatches && in(l.minutes, c.minute) && in(l.hours, c.hour) && in(l.months, c.month)
}

// opensAt reports whether the window opens in a minute: its clock matches, or one of those that were skipped before it.
func (l line) opensAt(clocks []wallClock, i int) bool {
	if l.matches(clocks[i]) {
		return true
	}
	if clocks[i].skipped == 0 {
		return false
	}
	c := clocks[i]
	wall := time.Date(2026, time.Month(c.month), int(c.day), int(c.hour), int(c.minute), 0, 0, time.UTC)
	if wall.Weekday() != time.Weekday(c.weekday) {
		wall = wall.AddDate(1, 0, 0)
	}
	for m := int16(1); m <= c.skipped; m++ {
		w := wall.Add(-time.Duration(m) * time.Minute)
		skipped := wallClock{
			minute: int8(w.Minute()), hour: int8(w.Hour()), day: int8(w.Day()), month: int8(w.Month()), weekday: int8(w.Weekday()), //nolint:gosec // small by nature
		}
		if l.matches(skipped) {
			return true
		}
	}
	return false
}

// covered says for each minute of the calendar whether a window is open.
func (l line) covered(clocks []wallClock, minutes int) []bool {
	out := make([]bool, len(clocks))
	left := 0
	for i := range clocks {
		if l.opensAt(clocks, i) {
			left = minutes
		}
		out[i] = left > 0
		left = max(0, left-1)
	}
	return out[int(reach/time.Minute):]
}

var zoneNames = []string{"UTC", vienna, newYork, "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu"}

// randomLine makes a cron line; sparse ones name few times.
func randomLine(random *rand.Rand) line {
	some := func(low, high, most int) []int8 {
		set := map[int8]bool{}
		for range 1 + random.IntN(most) {
			set[int8(low+random.IntN(high-low+1))] = true //nolint:gosec // below 60
		}
		var values []int8
		for v := int8(low); v <= int8(high); v++ { //nolint:gosec // below 60
			if set[v] {
				values = append(values, v)
			}
		}
		return values
	}
	maybe := func(probability float64, set []int8) []int8 {
		if random.Float64() < probability {
			return set
		}
		return nil
	}
	return line{
		minutes:  maybe(0.95, some(0, 59, 3)),
		hours:    maybe(0.9, some(0, 23, 3)),
		days:     maybe(0.3, some(1, 28, 4)),
		months:   maybe(0.2, some(1, 12, 4)),
		weekdays: maybe(0.4, some(0, 6, 3)),
	}
}

func TestOpenAgreesWithTheCalendar(t *testing.T) {
	trials, looks := 30, 120
	if testing.Short() {
		trials = 10
	}
	calendars := map[string][]wallClock{}
	for _, name := range zoneNames {
		calendars[name] = calendarOf(t, name)
	}
	exact := 0
	for seed := range trials {
		random := rand.New(rand.NewPCG(uint64(seed), 6)) //nolint:gosec // reproducible on purpose
		sets, want, said := randomSets(random, calendars)
		for range looks {
			i := random.IntN(len(want))
			now := calendarBegin.Add(time.Duration(i)*time.Minute + time.Duration(random.Int64N(int64(time.Minute))))
			got := schedule.Open(now, sets...)
			if got.Open != want[i] {
				t.Fatalf("seed %d: %s: at %s open = %t, want %t (%s)", seed, said, now, got.Open, want[i], got.Why)
			}
			if checkNext(t, fmt.Sprintf("seed %d: %s: at %s", seed, said, now), now, got, want, i) {
				exact++
			}
		}
	}
	if exact < trials*looks/2 {
		t.Errorf("only %d of %d answers had a next change to check", exact, trials*looks)
	}
}

// randomSets makes one or two levels of windows, and what the calendar says of them.
func randomSets(random *rand.Rand, calendars map[string][]wallClock) (sets []schedule.Set, want []bool, said string) {
	minutes := int(calendarEnd.Sub(calendarBegin) / time.Minute)
	want = make([]bool, minutes)
	for i := range want {
		want[i] = true
	}
	var words []string
	for range 1 + random.IntN(2) {
		var set schedule.Set
		var inside []bool
		for range 1 + random.IntN(3) {
			l, zone := randomLine(random), zoneNames[random.IntN(len(zoneNames))]
			duration := 1 + random.IntN(180)
			if random.IntN(4) == 0 {
				duration = 1 + random.IntN(7*24*60)
			}
			w := allow(l.String(), zone, time.Duration(duration)*time.Minute)
			covered := l.covered(calendars[zone], duration)
			if random.IntN(3) == 0 {
				w.Policy = schedule.Deny
				for i := range want {
					want[i] = want[i] && !covered[i]
				}
			} else {
				if inside == nil {
					inside = make([]bool, minutes)
				}
				for i := range inside {
					inside[i] = inside[i] || covered[i]
				}
			}
			set, words = append(set, w), append(words, w.String())
		}
		if inside != nil {
			for i := range want {
				want[i] = want[i] && inside[i]
			}
		}
		sets = append(sets, set)
	}
	return sets, want, strings.Join(words, ", ")
}

// checkNext compares the next change with the calendar's, and reports whether the calendar has one.
func checkNext(t *testing.T, what string, now time.Time, got schedule.Verdict, want []bool, i int) bool {
	t.Helper()
	flip := i
	for flip < len(want) && want[flip] == want[i] {
		flip++
	}
	change := calendarBegin.Add(time.Duration(flip) * time.Minute)
	switch {
	case flip == len(want):
		if !got.Next.IsZero() && got.Next.Before(calendarEnd) && got.Next.Sub(now) < 8*time.Hour {
			t.Fatalf("%s: next = %s, the calendar has no change", what, got.Next)
		}
		return false
	case got.Next.Equal(change):
		return true
	// The bounds of the search: it may end before the change, but neither soon nor after it.
	case got.Next.IsZero() || got.Next.After(change) || got.Next.Sub(now) < 8*time.Hour:
		t.Fatalf("%s: next = %s, want %s", what, got.Next, change)
	}
	return false
}

// FuzzOpen looks for lines and zones that make the package panic, look for ever, or contradict itself.
func FuzzOpen(f *testing.F) {
	for _, seed := range []struct {
		line, zone string
		seconds    int64
	}{
		{"0 22 * * 1-5", vienna, 14400}, {"*/15 * * * *", newYork, 60}, {"TZ=UTC", "", 60}, {"@every 1s", "UTC", 60},
		{"0 0 31 2 *", "Local", 3600}, {", , , , ,", "../x", 60}, {"59/99999999999 * * * *", "UTC", 60}, {"0 0 29 2 0", "Africa/Cairo", 604800},
		{"30 2 29 3 *", vienna, 3600}, {"0-59/1 0-23/1 ? ? ?", "Pacific/Apia", 600}, {"1-0 * * * *", "UTC", 60}, {"\x00 * * * *", "\x00", 0},
	} {
		f.Add(seed.line, seed.zone, seed.seconds, int64(1774746000))
	}
	f.Fuzz(func(t *testing.T, text, zone string, seconds, unix int64) {
		const thousandYears = 1000 * 365 * 24 * 3600
		now := time.Unix(unix%thousandYears, 0)
		set := schedule.Set{allow(text, zone, time.Duration(seconds%thousandYears)*time.Second)}
		err := set.Validate()
		got := schedule.Open(now, set)
		if (got.Why == "") != got.Open {
			t.Errorf("open = %t because of %q", got.Open, got.Why)
		}
		if err != nil {
			if got.Open || !got.Next.IsZero() {
				t.Errorf("a window that cannot be read (%v) is open = %t, next %s", err, got.Open, got.Next)
			}
			return
		}
		if !got.Next.IsZero() && !got.Next.After(now) {
			t.Errorf("next = %s is not after %s", got.Next, now)
		}
		set[0].Policy = schedule.Deny
		if opposite := schedule.Open(now, set); opposite.Open == got.Open || !opposite.Next.Equal(got.Next) {
			t.Errorf("as Allow open = %t until %s, as Deny open = %t until %s", got.Open, got.Next, opposite.Open, opposite.Next)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	now := time.Date(2026, time.May, 14, 16, 0, 0, 0, time.UTC)
	year := schedule.Set{
		allow("0 22 * * 1-5", vienna, 8*time.Hour), allow("0 0 * * 6,0", vienna, 24*time.Hour), deny("0 0 20 12 *", vienna, schedule.MaxDuration),
	}
	for name, set := range map[string]schedule.Set{
		"nights and week ends": year,
		"always open":          {allow("* * * * *", newYork, time.Minute)},
		"none":                 nil,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				schedule.Open(now, set)
			}
		})
	}
}
