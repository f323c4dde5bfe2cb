package fetch

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// pacedReader cancels a request whose body arrives too slowly. Reads of a body block without a limit of their own, so the
// limit is a timer that every arriving byte puts off: with n bytes read, the body may take until the grace period is over and
// until n bytes at the lowest rate would have taken, whichever is later.
type pacedReader struct {
	body io.Reader
	// rate is in bytes a second, at least 1.
	rate  int64
	grace time.Duration
	began time.Time
	read  int64

	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
}

// newPacedReader starts the clock. The caller stops it with stop.
func newPacedReader(body io.Reader, rate int64, grace time.Duration, cancel context.CancelCauseFunc) *pacedReader {
	r := &pacedReader{body: body, rate: rate, grace: grace, began: time.Now(), cancel: cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(grace, r.tooSlow)
	return r
}

// Read implements io.Reader.
func (r *pacedReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if n > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.read += int64(n)
		// A timer that has gone off in the meantime has canceled the request, which nothing takes back.
		if r.timer.Stop() {
			r.timer.Reset(time.Until(r.began.Add(r.allowed())))
		}
	}
	return n, err
}

// allowed is how long the bytes that have come may have taken.
func (r *pacedReader) allowed() time.Duration {
	// Seconds and the rest apart: bytes times nanoseconds would overflow beyond 8 GiB.
	earned := time.Duration(r.read/r.rate)*time.Second + time.Duration(r.read%r.rate)*time.Second/time.Duration(r.rate)
	return max(r.grace, earned)
}

func (r *pacedReader) tooSlow() {
	r.cancel(&Error{
		Class: TimedOut, Reason: fmt.Sprintf("the body arrived with fewer than %d bytes a second", r.rate),
		Next: "check the line to the host, or lower the smallest rate in the feed's limits if the line really is that slow",
	})
}

func (r *pacedReader) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer.Stop()
}
