package main

import (
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// standing is what an agent said last of a mitigation.
type standing struct {
	state    string
	revision int64
	at       time.Time
}

// arrival is when a version of the plan arrived at an agent.
type arrival struct {
	version uint64
	at      time.Time
}

// maxArrivals bounds what is kept of a server.
const maxArrivals = 64

// notes takes down what an agent logs. It is the logr.LogSink of one agent.
type notes struct {
	messages *messages

	mu       sync.Mutex
	states   map[string]standing
	gates    map[string]standing
	arrivals []arrival
	opened   map[string]time.Time
}

var _ logr.LogSink = (*notes)(nil)

func newNotes(all *messages) *notes {
	return &notes{messages: all, states: map[string]standing{}, gates: map[string]standing{}, opened: map[string]time.Time{}}
}

// Init implements logr.LogSink.
func (n *notes) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink.
func (n *notes) Enabled(level int) bool { return level <= 1 }

// WithName implements logr.LogSink.
func (n *notes) WithName(string) logr.LogSink { return n }

// WithValues implements logr.LogSink.
func (n *notes) WithValues(...any) logr.LogSink { return n }

// Error implements logr.LogSink.
func (n *notes) Error(err error, message string, _ ...any) {
	n.messages.count(message, fmt.Sprint(err))
}

// Info implements logr.LogSink.
func (n *notes) Info(_ int, message string, pairs ...any) {
	now := time.Now()
	value := func(key string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == key {
				return fmt.Sprint(pairs[i+1])
			}
		}
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch message {
	case "Mitigation":
		revision, _ := strconv.ParseInt(value("revision"), 10, 64)
		next := standing{state: value("state"), revision: revision, at: now}
		if old := n.states[value("id")]; old.state == next.state && old.revision == next.revision {
			return // another message, or a gate that has come further
		}
		n.states[value("id")] = next
	case "Gate":
		n.gates[value("id")] = standing{state: value("verdict"), at: now}
	case "Watch delivered":
		if version, err := strconv.ParseUint(value("version"), 10, 64); err == nil && value("object") == planType {
			n.arrivals = append(n.arrivals, arrival{version, now})
			n.arrivals = n.arrivals[max(0, len(n.arrivals)-maxArrivals):]
		}
	case "Watch is open":
		n.opened[value("object")] = now
	default:
		n.messages.count(message, value("problem"))
	}
}

// planType and serverType are how the agent's log names what it watches.
const (
	planType   = "*v1alpha1.MitigationPlan"
	serverType = "*v1alpha1.PoolServer"
)

// stands is what the agent said last of a mitigation.
func (n *notes) stands(id string) standing {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.states[id]
}

// gate is the last verdict about a mitigation, by its lower-case id.
func (n *notes) gate(id string) standing {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gates[id]
}

// all is what the agent said last of every mitigation.
func (n *notes) all() map[string]standing {
	n.mu.Lock()
	defer n.mu.Unlock()
	states := make(map[string]standing, len(n.states))
	maps.Copy(states, n.states)
	return states
}

// arrived is when a version of the plan, or a later one, arrived.
func (n *notes) arrived(version uint64) (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.arrivals {
		if a.version >= version {
			return a.at, true
		}
	}
	return time.Time{}, false
}

// watchesSince is when the later of both watches was opened, if both were after a time.
func (n *notes) watchesSince(since time.Time) (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	plan, server := n.opened[planType], n.opened[serverType]
	if server.After(plan) {
		plan, server = server, plan
	}
	return plan, server.After(since)
}

// messages counts what agents log beside what is measured.
type messages struct {
	mu     sync.Mutex
	counts map[string]int
	sample map[string]string
}

func newMessages() *messages {
	return &messages{counts: map[string]int{}, sample: map[string]string{}}
}

func (m *messages) count(message, detail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[message]++
	if detail != "" {
		m.sample[message] = detail
	}
}

// take returns the counts, with an example of each, and begins anew.
func (m *messages) take() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]string{}
	for message, count := range m.counts {
		out[message] = fmt.Sprintf("%d times; the last: %s", count, m.sample[message])
	}
	clear(m.counts)
	clear(m.sample)
	return out
}
