package rewrite

import (
	"errors"
	"fmt"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// The limits on time are of the clock on the wall, the only one that the engine has. On a
// machine with much else to do, or one that was suspended, it goes on while nothing is
// computed, so that a limit says nothing about a pattern. One that is hit therefore counts only if
// this process has computed for much of that time; else there is another attempt.
const (
	// maxAttempts ends this on a machine that does not let the process compute at all.
	maxAttempts = 10
	// leastShare of a limit has to be time of processors for the limit to count, as a divisor.
	leastShare = 2
)

// patience decides about limits that were hit.
type patience struct {
	clock    func() (time.Duration, bool)
	attempts int
	before   time.Duration
	known    bool
}

// begin starts an attempt.
func (p *patience) begin() {
	p.attempts++
	p.before, p.known = p.clock()
}

// counts reports whether a limit that the attempt has hit is the pattern's fault.
func (p *patience) counts(limit time.Duration) bool {
	now, known := p.clock()
	return p.attempts >= maxAttempts || !p.known || !known || now-p.before >= limit/leastShare
}

// again matches once more after the limit of a match was hit, until it is clear whose fault
// that is. The first attempt was not measured: to ask for the time of processors costs as much
// as a match, and hardly any match hits its limit.
func (p *pattern) again(err error, match func() error) error {
	attempts := patience{clock: processorTime}
	for err != nil && !errors.Is(err, regexp2.ErrBacktrackingStackLimit) {
		attempts.begin()
		if err = match(); err != nil && attempts.counts(matchTimeout) {
			break
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, regexp2.ErrBacktrackingStackLimit):
		return fmt.Errorf("%w: pattern %q: has to remember more than %d places to go back to", ErrTooExpensive, p.text, maxBacktracking)
	}
	// The error of the engine has the whole input in it, which is somebody's request.
	return fmt.Errorf("%w: pattern %q: takes more than %s", ErrTooExpensive, p.text, matchTimeout)
}
