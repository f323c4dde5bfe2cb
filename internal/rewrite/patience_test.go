package rewrite

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// TestALimitCountsForTimeSpentComputing: on a machine that has no time for the process, hitting a limit says
// nothing about a pattern.
func TestALimitCountsForTimeSpentComputing(t *testing.T) {
	const limit = time.Second
	for name, tc := range map[string]struct {
		spent        time.Duration
		unknown      bool
		wantAttempts int
	}{
		"a processor all the time":       {spent: limit, wantAttempts: 1},
		"half of the time":               {spent: limit / 2, wantAttempts: 1},
		"less":                           {spent: limit/2 - 1, wantAttempts: maxAttempts},
		"several processors":             {spent: 3 * limit, wantAttempts: 1},
		"nothing, but that is not known": {unknown: true, wantAttempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Duration(0)
			p := patience{clock: func() (time.Duration, bool) { return now, !tc.unknown }}
			attempts := 0
			for {
				attempts++
				p.begin()
				if now += tc.spent; p.counts(limit) {
					break
				}
			}
			if attempts != tc.wantAttempts {
				t.Errorf("counts after %d attempts, want %d", attempts, tc.wantAttempts)
			}
		})
	}
}

func TestAnotherAttempt(t *testing.T) {
	timeout := errors.New("match timeout after 500ms on input `secret`")
	for name, tc := range map[string]struct {
		first     error
		failures  int
		wantCalls int
		wantErr   string
	}{
		"succeeds":                  {timeout, 0, 1, ""},
		"comes after more than one": {timeout, 3, 4, ""},
		"is not made for memory":    {regexp2.ErrBacktrackingStackLimit, 0, 0, "more than 100000 places"},
		"always hits the limit":     {timeout, maxAttempts, maxAttempts, "takes more than 500ms"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			err := (&pattern{text: "x"}).again(tc.first, func() error {
				if calls++; calls <= tc.failures {
					return timeout
				}
				return nil
			})
			if calls != tc.wantCalls {
				t.Errorf("%d calls, want %d", calls, tc.wantCalls)
			}
			if tc.wantErr == "" && err != nil ||
				tc.wantErr != "" && (!errors.Is(err, ErrTooExpensive) || !strings.Contains(err.Error(), tc.wantErr) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestProcessorTimePasses(t *testing.T) {
	before, known := processorTime()
	if !known {
		t.Fatal("it is not known")
	}
	for end := time.Now().Add(10 * time.Second); ; {
		if now, _ := processorTime(); now > before {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s before, and no more after computing for ten seconds", before)
		}
	}
}

func TestEvaluationsEnd(t *testing.T) {
	late := time.Now().Add(-2 * maxEvaluation)
	ticks := func(e *evaluation, n int) (err error) {
		for range n {
			err = errors.Join(err, e.tick())
		}
		return err
	}
	used := time.Duration(0)
	clock := func() (time.Duration, bool) { return used, true }

	e := &evaluation{}
	if err := ticks(e, 3*checkEvery); err != nil {
		t.Errorf("at once: %v", err)
	}
	e = &evaluation{start: late}
	if err := ticks(e, checkEvery); err != nil {
		t.Errorf("hit first: %v, want it to be measured from then on", err)
	}
	e.start, e.patience.clock = late, clock
	e.patience.before = 0
	if err := ticks(e, checkEvery); err != nil {
		t.Errorf("hit again without computing: %v", err)
	}
	e.start, e.patience.clock = late, clock
	e.patience.before, used = 0, maxEvaluation
	if err := ticks(e, checkEvery); !errors.Is(err, ErrTooExpensive) {
		t.Errorf("error %v after %s", err, 2*maxEvaluation)
	}
}
