package schedule_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests ask for zones whatever the machine has

	"mitigation.dev/ems/internal/schedule"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func allow(line, zone string, duration time.Duration) schedule.Window {
	return schedule.Window{Policy: schedule.Allow, Cron: line, TimeZone: zone, Duration: duration}
}

func deny(line, zone string, duration time.Duration) schedule.Window {
	return schedule.Window{Policy: schedule.Deny, Cron: line, TimeZone: zone, Duration: duration}
}

const (
	vienna  = "Europe/Vienna"
	newYork = "America/New_York"
)

func TestOpen(t *testing.T) {
	tests := map[string]struct {
		sets     []schedule.Set
		now      string
		wantOpen bool
		// wantNext is empty for never.
		wantNext string
		// wantWhy is text that the reason must hold.
		wantWhy string
	}{
		"without windows every time is allowed": {
			sets: []schedule.Set{nil, {}}, now: "2026-05-14T16:00:00Z", wantOpen: true,
		},
		"inside of an Allow window: open until its end": {
			sets: []schedule.Set{{allow("0 22 * * *", "", 4*time.Hour)}},
			now:  "2026-05-14T23:59:59Z", wantOpen: true, wantNext: "2026-05-15T02:00:00Z",
		},
		"at the beginning of a window it is open": {
			sets: []schedule.Set{{allow("0 22 * * *", "", 4*time.Hour)}},
			now:  "2026-05-14T22:00:00Z", wantOpen: true, wantNext: "2026-05-15T02:00:00Z",
		},
		"at the end of a window it is closed": {
			sets: []schedule.Set{{allow("0 22 * * *", "", 4*time.Hour)}},
			now:  "2026-05-15T02:00:00Z", wantNext: "2026-05-15T22:00:00Z",
			wantWhy: `outside of the Allow window "0 22 * * *" (UTC, 4h0m0s); closed until 2026-05-15T22:00:00Z`,
		},
		"a nanosecond before its end it is open": {
			sets: []schedule.Set{{allow("0 22 * * *", "", 4*time.Hour)}},
			now:  "2026-05-15T01:59:59.999999999Z", wantOpen: true, wantNext: "2026-05-15T02:00:00Z",
		},
		"inside of a Deny window: closed": {
			sets: []schedule.Set{{deny("0 8 * * 1-5", vienna, 10*time.Hour)}},
			now:  "2026-05-14T07:30:00Z", wantNext: "2026-05-14T16:00:00Z", wantWhy: "Deny window",
		},
		"Deny wins over Allow of the same level": {
			sets: []schedule.Set{{allow("0 0 * * *", "", 24*time.Hour), deny("0 12 * * *", "", time.Hour)}},
			now:  "2026-05-14T12:30:00Z", wantNext: "2026-05-14T13:00:00Z", wantWhy: "Deny window",
		},
		"Deny of the organisation wins over Allow of the pool": {
			sets: []schedule.Set{{allow("0 0 * * *", "", 24*time.Hour)}, {deny("0 12 * * *", "", time.Hour)}},
			now:  "2026-05-14T12:30:00Z", wantNext: "2026-05-14T13:00:00Z", wantWhy: "Deny window",
		},
		"each level that allows has to": {
			sets: []schedule.Set{{allow("0 10 * * *", "", 4*time.Hour)}, {allow("0 12 * * *", "", 4*time.Hour)}},
			now:  "2026-05-14T11:00:00Z", wantNext: "2026-05-14T12:00:00Z", wantWhy: `"0 12 * * *"`,
		},
		"where both levels allow it is open until the first closes": {
			sets: []schedule.Set{{allow("0 10 * * *", "", 4*time.Hour)}, {allow("0 12 * * *", "", 4*time.Hour)}},
			now:  "2026-05-14T13:00:00Z", wantOpen: true, wantNext: "2026-05-14T14:00:00Z",
		},
		"one of several Allow windows is enough, and overlapping ones are one": {
			sets: []schedule.Set{{allow("0 10 * * *", "", 2*time.Hour), allow("0 11 * * *", "", 3*time.Hour)}},
			now:  "2026-05-14T10:30:00Z", wantOpen: true, wantNext: "2026-05-14T14:00:00Z",
		},
		"windows that touch are one": {
			sets: []schedule.Set{{allow("0 10 * * *", "", time.Hour), allow("0 11 * * *", "", time.Hour)}},
			now:  "2026-05-14T10:30:00Z", wantOpen: true, wantNext: "2026-05-14T12:00:00Z",
		},
		"a window that begins anew while it is open stays open": {
			sets: []schedule.Set{{allow("0 8-11 * * *", "", 90*time.Minute)}},
			now:  "2026-05-14T08:10:00Z", wantOpen: true, wantNext: "2026-05-14T12:30:00Z",
		},
		"a window of the week end outlasts midnight and the end of the week": {
			sets: []schedule.Set{{allow("0 20 * * 5", vienna, 58*time.Hour)}},
			now:  "2026-05-17T22:30:00Z", wantOpen: true, wantNext: "2026-05-18T04:00:00Z",
		},
		"a window of the turn of the year": {
			sets: []schedule.Set{{deny("0 0 20 12 *", vienna, 7*24*time.Hour), deny("0 0 27 12 *", vienna, 7*24*time.Hour)}},
			now:  "2026-12-31T23:30:00Z", wantNext: "2027-01-02T23:00:00Z", wantWhy: "Deny",
		},
		"a leap day is found years ahead": {
			sets: []schedule.Set{{allow("0 0 29 2 *", "", time.Hour)}},
			now:  "2024-02-29T01:00:00Z", wantNext: "2028-02-29T00:00:00Z", wantWhy: "outside",
		},
		"day of the month and day of the week: either, as in cron": {
			sets: []schedule.Set{{allow("0 0 13 * 5", "", time.Hour)}},
			now:  "2026-05-14T12:00:00Z", wantNext: "2026-05-15T00:00:00Z", wantWhy: "outside",
		},
		"a zone with half an hour": {
			sets: []schedule.Set{{allow("0 9 * * *", "Asia/Kolkata", time.Hour)}},
			now:  "2026-05-14T03:29:00Z", wantNext: "2026-05-14T03:30:00Z", wantWhy: "Asia/Kolkata",
		},
		"the time given may be of any zone": {
			sets: []schedule.Set{{allow("0 22 * * *", "", 4*time.Hour)}},
			now:  "2026-05-15T01:00:00+02:00", wantOpen: true, wantNext: "2026-05-15T02:00:00Z",
		},

		// Vienna: 2026-03-29 02:00 becomes 03:00 (01:00Z), 2026-10-25 03:00 becomes 02:00 (01:00Z).
		"Vienna, spring: a time that is skipped opens at the change": {
			sets: []schedule.Set{{allow("30 2 * * *", vienna, time.Hour)}},
			now:  "2026-03-29T00:00:00Z", wantNext: "2026-03-29T01:00:00Z", wantWhy: "outside",
		},
		"Vienna, spring: and has its full duration": {
			sets: []schedule.Set{{allow("30 2 * * *", vienna, time.Hour)}},
			now:  "2026-03-29T01:00:00Z", wantOpen: true, wantNext: "2026-03-29T02:00:00Z",
		},
		"Vienna, spring: a Deny window of the skipped hour denies": {
			sets: []schedule.Set{{deny("0 2 * * 0", vienna, time.Hour)}},
			now:  "2026-03-29T01:30:00Z", wantNext: "2026-03-29T02:00:00Z", wantWhy: "Deny",
		},
		"Vienna, spring: a window over the change keeps its duration": {
			sets: []schedule.Set{{allow("0 22 * * 6", vienna, 8*time.Hour)}},
			now:  "2026-03-28T21:30:00Z", wantOpen: true, wantNext: "2026-03-29T05:00:00Z",
		},
		"Vienna: the day after the change is earlier in UTC": {
			sets: []schedule.Set{{allow("30 2 * * *", vienna, time.Hour)}},
			now:  "2026-03-29T02:00:00Z", wantNext: "2026-03-30T00:30:00Z", wantWhy: "outside",
		},
		"Vienna, autumn: a time that comes twice opens twice": {
			sets: []schedule.Set{{allow("30 2 * * *", vienna, 30*time.Minute)}},
			now:  "2026-10-25T01:00:00Z", wantNext: "2026-10-25T01:30:00Z", wantWhy: "outside",
		},
		"Vienna, autumn: the first of the two": {
			sets: []schedule.Set{{allow("30 2 * * *", vienna, 30*time.Minute)}},
			now:  "2026-10-25T00:45:00Z", wantOpen: true, wantNext: "2026-10-25T01:00:00Z",
		},
		"Vienna, autumn: twice for an hour is two hours": {
			sets: []schedule.Set{{allow("30 2 * * *", vienna, time.Hour)}},
			now:  "2026-10-25T00:45:00Z", wantOpen: true, wantNext: "2026-10-25T02:30:00Z",
		},
		// New York: 2026-03-08 02:00 becomes 03:00 (07:00Z), 2026-11-01 02:00 becomes 01:00 (06:00Z).
		"New York, spring: a time that is skipped opens at the change": {
			sets: []schedule.Set{{allow("15 2 8 3 *", newYork, time.Hour)}},
			now:  "2026-03-08T06:59:59Z", wantNext: "2026-03-08T07:00:00Z", wantWhy: "outside",
		},
		"New York, spring: an hour that is not skipped is where it was": {
			sets: []schedule.Set{{allow("0 3 8 3 *", newYork, time.Hour)}},
			now:  "2026-03-08T06:30:00Z", wantNext: "2026-03-08T07:00:00Z", wantWhy: "outside",
		},
		"New York, autumn: the second 01:30": {
			sets: []schedule.Set{{allow("30 1 1 11 *", newYork, 10*time.Minute)}},
			now:  "2026-11-01T05:40:00Z", wantNext: "2026-11-01T06:30:00Z", wantWhy: "outside",
		},
		"New York, autumn: a window over the change keeps its duration": {
			sets: []schedule.Set{{deny("0 22 31 10 *", newYork, 6*time.Hour)}},
			now:  "2026-11-01T05:30:00Z", wantNext: "2026-11-01T08:00:00Z", wantWhy: "Deny",
		},
		"a zone whose change is half an hour": {
			sets: []schedule.Set{{allow("15 2 4 10 *", "Australia/Lord_Howe", time.Hour)}},
			now:  "2026-10-03T15:00:00Z", wantNext: "2026-10-03T15:30:00Z", wantWhy: "outside",
		},
		"a zone that skips midnight": {
			sets: []schedule.Set{{allow("0 0 * * *", "Africa/Cairo", time.Hour)}},
			now:  "2026-04-23T21:59:00Z", wantNext: "2026-04-23T22:00:00Z", wantWhy: "outside",
		},

		"a cron line that cannot be read closes": {
			sets: []schedule.Set{{allow("* * * * *", "", time.Hour), allow("61 * * * *", "", time.Hour)}},
			now:  "2026-05-14T12:00:00Z", wantWhy: `windows[1] cannot be read, so that nothing begins: cron: "61 * * * *"`,
		},
		"a zone that does not exist closes": {
			sets: []schedule.Set{{deny("0 0 1 1 *", "Europe/Wien", time.Hour)}},
			now:  "2026-05-14T12:00:00Z", wantWhy: `timeZone: "Europe/Wien"`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := schedule.Open(at(t, tc.now), tc.sets...)
			if got.Open != tc.wantOpen {
				t.Errorf("open = %t, want %t (%s)", got.Open, tc.wantOpen, got.Why)
			}
			var next time.Time
			if tc.wantNext != "" {
				next = at(t, tc.wantNext)
			}
			if !got.Next.Equal(next) {
				t.Errorf("next = %s, want %q", got.Next.Format(time.RFC3339Nano), tc.wantNext)
			}
			if !strings.Contains(got.Why, tc.wantWhy) || (got.Why == "") != got.Open {
				t.Errorf("why = %q, want it to hold %q, and to be empty only while open", got.Why, tc.wantWhy)
			}
		})
	}
}

// What never changes has no next change, but also no search without end: callers look again, in years.
func TestASearchForTheNextChangeEnds(t *testing.T) {
	now := at(t, "2026-05-14T12:00:00Z")
	for name, window := range map[string]schedule.Window{
		"each day for a day":       allow("0 0 * * *", vienna, 24*time.Hour),
		"each minute for a week":   deny("* * * * *", newYork, schedule.MaxDuration),
		"each minute for a minute": allow("* * * * *", "", time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			got := schedule.Open(now, schedule.Set{window})
			if got.Open != (window.Policy == schedule.Allow) || got.Next.Sub(now) < 4*24*time.Hour {
				t.Errorf("open = %t until %s, want the answer to stay for days", got.Open, got.Next)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	good := allow("0 22 * * 1-5", vienna, 4*time.Hour)
	with := func(change func(*schedule.Window)) schedule.Window {
		w := good
		change(&w)
		return w
	}
	tests := map[string]struct {
		window schedule.Window
		want   string
	}{
		"a good window":                   {good, ""},
		"names of days and months":        {with(func(w *schedule.Window) { w.Cron = "0 22 * JAN-mar Mon,SAT" }), ""},
		"no policy":                       {with(func(w *schedule.Window) { w.Policy = "" }), `windows[0]: policy: ""`},
		"four fields":                     {with(func(w *schedule.Window) { w.Cron = "0 22 * *" }), "expected exactly 5 fields"},
		"six fields":                      {with(func(w *schedule.Window) { w.Cron = "0 0 22 * * *" }), "expected exactly 5 fields"},
		"nothing":                         {with(func(w *schedule.Window) { w.Cron = "" }), "empty"},
		"a descriptor":                    {with(func(w *schedule.Window) { w.Cron = "@daily" }), "only the five-field form"},
		"an interval":                     {with(func(w *schedule.Window) { w.Cron = "@every 5m" }), "only the five-field form"},
		"a zone within the line":          {with(func(w *schedule.Window) { w.Cron = "TZ=Asia/Tokyo 0 22 * * *" }), "only the five-field form"},
		"a zone and nothing else":         {with(func(w *schedule.Window) { w.Cron = "TZ=UTC" }), "only the five-field form"},
		"a day that no month has":         {with(func(w *schedule.Window) { w.Cron = "0 22 31 2 *" }), "never comes"},
		"a field of commas":               {with(func(w *schedule.Window) { w.Cron = ", 22 * * *" }), "never comes"},
		"Sunday as 7":                     {with(func(w *schedule.Window) { w.Cron = "0 22 * * 7" }), "above maximum"},
		"a line that is too long":         {with(func(w *schedule.Window) { w.Cron = strings.Repeat("1,", 64) + "1 22 * * *" }), "at most 128"},
		"no time":                         {with(func(w *schedule.Window) { w.Duration = 0 }), "duration"},
		"more than a week":                {with(func(w *schedule.Window) { w.Duration = 169 * time.Hour }), "duration"},
		"the machine's own zone":          {with(func(w *schedule.Window) { w.TimeZone = "Local" }), "another machine"},
		"a path for a zone":               {with(func(w *schedule.Window) { w.TimeZone = "../../etc/passwd" }), "timeZone"},
		"a zone with a name that is long": {with(func(w *schedule.Window) { w.TimeZone = strings.Repeat("A", 65) }), "at most 64"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := schedule.Set{tc.window}.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("unexpected error: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v lacks %q", err, tc.want)
			}
			if open := schedule.Open(at(t, "2026-05-14T20:30:00Z"), schedule.Set{tc.window}); err != nil && open.Open {
				t.Error("a window that cannot be read must close the schedule")
			}
		})
	}
}

func TestValidateNamesEveryWindow(t *testing.T) {
	set := make(schedule.Set, schedule.MaxWindows+1)
	for i := range set {
		set[i] = allow("0 22 * * *", "", time.Hour)
	}
	set[3].Cron, set[5].TimeZone = "nonsense", "Nowhere/City"
	err := set.Validate()
	for _, want := range []string{"at most 32", "windows[3]: cron", "windows[5]: timeZone"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
