package cluster

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

const (
	// firstPause is the longest pause of reports after the first one that an overloaded API server refused; it doubles with every further
	// one up to longestPause. Failures wait no longer than firstPause.
	firstPause   = 2 * time.Second
	longestPause = time.Minute
)

// overload keeps reports from an API server that cannot carry them out. A write that is given up because it took too long is carried out
// all the same more often than not, and the next one comes in addition: without pauses that grow, an API server that has fallen behind
// never catches up.
type overload struct {
	refusals int
	until    time.Time
	last     error
}

// overloaded reports whether an error says that the API server has more to do than it can.
func overloaded(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || errors.Is(err, context.DeadlineExceeded)
}

// pause says until when a report waits; zero if it does not.
func (o *overload) pause(now time.Time, urgent bool) time.Time {
	until := o.until
	if urgent && until.Sub(now) > firstPause {
		until = now.Add(firstPause)
		o.until = until
	}
	// No pause is longer than that, unless the clock was set back.
	if !now.Before(until) || until.Sub(now) > longestPause {
		return time.Time{}
	}
	return until
}

// tried takes down how a report ended, for a random number from 0 up to 1.
func (o *overload) tried(err error, now time.Time, random float64) {
	if !overloaded(err) {
		*o = overload{}
		return
	}
	longest := longestPause
	if o.refusals < 5 { // 2^5 times the first one is more than the longest
		longest = min(longest, firstPause<<o.refusals)
	}
	*o = overload{refusals: o.refusals + 1, until: now.Add(time.Duration(float64(longest) * random)), last: err}
}
