package skew

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// Limit is by how much the clocks may differ.
	Limit = 5 * time.Second

	// within is what they have to differ by at most to agree again.
	within = 4 * time.Second
	// steady is by how much what was told may be off.
	steady = 2 * time.Second
	// patience is how long an answer may take that is looked at.
	patience = 2 * time.Second
	// resolution of the header.
	resolution = time.Second
)

// Told is what is known of the clock.
type Told struct {
	// Known is false before the first answer.
	Known bool
	// Skewed says that the clocks differ by more than Limit.
	Skewed bool
	// Ahead is by how much the server's clock is ahead of that of the API server, in whole seconds, negative if it is behind; 0
	// while they agree.
	Ahead time.Duration
}

// Meter compares clocks.
type Meter struct {
	clock clock.PassiveClock

	mu   sync.Mutex
	told Told
}

// New makes a Meter.
func New(clk clock.PassiveClock) *Meter { return &Meter{clock: clk} }

// Told says what is known.
func (m *Meter) Told() Told {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.told
}

// Wrap looks at the answers that a transport gets, as rest.Config takes it.
func (m *Meter) Wrap(next http.RoundTripper) http.RoundTripper { return &transport{m, next} }

type transport struct {
	meter *Meter
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	sent := t.meter.clock.Now()
	response, err := t.next.RoundTrip(request)
	if err == nil {
		if date, bad := http.ParseTime(response.Header.Get("Date")); bad == nil {
			t.meter.look(sent, t.meter.clock.Now(), date)
		}
	}
	return response, err
}

// WrappedRoundTripper lets client-go reach the transport below.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// look takes an answer into account.
func (m *Meter) look(sent, received, date time.Time) {
	took := received.Sub(sent)
	if took < 0 || took > patience {
		return
	}
	// The header was written between sent and received, by a clock that stood between date and one second more.
	least := sent.Round(0).Sub(date.Add(resolution))
	most := least + took + resolution
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = next(m.told, least, most)
}

// next is what is told after an answer by which the server's clock is ahead by least to most.
func next(told Told, least, most time.Duration) Told {
	told.Known = true
	ahead := ((least + most) / 2).Round(time.Second)
	switch {
	case least > Limit || most < -Limit:
		if !told.Skewed || (ahead-told.Ahead).Abs() >= steady {
			told.Ahead = ahead
		}
		told.Skewed = true
	case least >= -within && most <= within:
		told.Skewed, told.Ahead = false, 0
	}
	return told
}
