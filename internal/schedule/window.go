package schedule

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Policy says whether a window allows or denies changes.
type Policy string

// What a window can say, in the words of the API.
const (
	Allow Policy = "Allow"
	Deny  Policy = "Deny"
)

// Limits of a window, which are those of the API.
const (
	// MaxWindows is how many windows a level may have.
	MaxWindows = 32
	// MaxCron is the length of a cron line in bytes. Five fields that each name every value take 400, which nobody writes.
	MaxCron = 128
	// MaxTimeZone is the length of a zone's name in bytes; the longest of IANA has 32.
	MaxTimeZone = 64
	// MinDuration is a minute, since cron lines know nothing shorter.
	MinDuration = time.Minute
	// MaxDuration is a week: what is open longer is not a window.
	MaxDuration = 7 * 24 * time.Hour
)

// Window is a time that comes again and again, in which changes are allowed or denied.
type Window struct {
	Policy Policy
	// Cron says when the window opens: minute, hour, day of the month, month and weekday.
	Cron string
	// TimeZone is the IANA name of the zone that Cron is read in; empty for UTC.
	TimeZone string
	// Duration is how long the window stays open.
	Duration time.Duration
}

// Set are the windows of one level.
type Set []Window

// Validate reports everything in the set that cannot be read.
func (s Set) Validate() error {
	var errs []error
	if len(s) > MaxWindows {
		errs = append(errs, fmt.Errorf("windows: %d of them: at most %d are allowed", len(s), MaxWindows))
	}
	for i, w := range s {
		if _, err := w.compile(); err != nil {
			errs = append(errs, fmt.Errorf("windows[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// String is how messages name the window.
func (w Window) String() string {
	zone := w.TimeZone
	if zone == "" {
		zone = time.UTC.String()
	}
	return fmt.Sprintf("%s window %q (%s, %s)", w.Policy, w.Cron, zone, w.Duration)
}

// compile reads the window.
func (w Window) compile() (recurrence, error) {
	if w.Policy != Allow && w.Policy != Deny {
		return recurrence{}, fmt.Errorf("policy: %q: neither %s nor %s", w.Policy, Allow, Deny)
	}
	if w.Duration < MinDuration || w.Duration > MaxDuration {
		return recurrence{}, fmt.Errorf("duration: %s: not between %s and %s", w.Duration, MinDuration, MaxDuration)
	}
	zone, err := parseZone(w.TimeZone)
	if err != nil {
		return recurrence{}, err
	}
	wall, err := parseTimes(w.Cron)
	if err != nil {
		return recurrence{}, err
	}
	return recurrence{wall: wall, zone: zone, duration: w.Duration}, nil
}

// zones keeps what was read of the zone database, since reading takes longer than all the rest. Names come from it, so
// there are at most some hundred.
var zones sync.Map

func parseZone(name string) (*time.Location, error) {
	switch {
	case name == "":
		return time.UTC, nil
	case len(name) > MaxTimeZone:
		return nil, fmt.Errorf("timeZone: %d bytes: at most %d are allowed", len(name), MaxTimeZone)
	case strings.EqualFold(name, "Local"):
		return nil, fmt.Errorf("timeZone: %q: means another zone on another machine; name one of the IANA database", name)
	}
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil //nolint:forcetypeassert // the line below puts nothing else there
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("timeZone: %q: not in the IANA time zone database: %w", name, err)
	}
	zones.Store(name, zone)
	return zone, nil
}
