package main

import (
	"time"
)

// Run is the result of a run, as it is written.
type Run struct {
	Servers    int       `json:"servers"`
	Pools      int       `json:"pools"`
	Processors int       `json:"processors"`
	Started    time.Time `json:"started"`
	Results    []*Result `json:"results"`
}

// Result is that of one scenario.
type Result struct {
	Scenario string `json:"scenario"`
	Title    string `json:"title"`
	// Load is that of the machine when it began and when it ended, the average of a minute: more than the processors means that others
	// or this run itself waited for them.
	Load    [2]string `json:"load"`
	Seconds float64   `json:"seconds"`
	// Figures are what the goals speak of, and others.
	Figures []Figure                `json:"figures"`
	Times   map[string]Distribution `json:"times,omitempty"`
	// Comparison are the ways that were compared, of the scenario that does.
	Comparison []Way `json:"comparison,omitempty"`
	// Requests that the API server answered, by verb and resource, and Refused those of them that it answered with an error, by status
	// too: 429 and 504 are those that it had no time for. Bytes are those of its answers and events.
	Requests map[string]float64 `json:"requests"`
	Refused  map[string]float64 `json:"refused"`
	Bytes    float64            `json:"bytes"`
	// CPU is the processor time in seconds and PeakRSS the most resident memory so far, by process.
	CPU     map[string]float64 `json:"cpuSeconds"`
	PeakRSS map[string]int64   `json:"peakRSS"`
	// What has to be none.
	TerminatedWatchers map[string]float64 `json:"terminatedWatchers"`
	WrongStates        []string           `json:"wrongStates"`
	LostUpdates        []string           `json:"lostUpdates"`
	Error              string             `json:"error,omitempty"`
	// Messages are what agents logged beside what is measured.
	Messages map[string]string `json:"messages,omitempty"`
}

// Figure is a measured value. Goal is absent where nobody set one.
type Figure struct {
	Name  string   `json:"name"`
	Value float64  `json:"value"`
	Unit  string   `json:"unit"`
	Goal  *float64 `json:"goal,omitempty"`
}

// Missed reports whether there is a goal and the value is above it.
func (f Figure) Missed() bool { return f.Goal != nil && f.Value > *f.Goal }

// Failed reports whether something is wrong that no loaded machine explains. A watch that the API server closes is none of that: it closes
// those whose readers wait for a processor, which go on where they were.
func (r *Result) Failed() bool {
	return r.Error != "" || len(r.WrongStates) > 0 || len(r.LostUpdates) > 0
}

// figure adds a value.
func (r *Result) figure(name, unit string, value float64) {
	r.Figures = append(r.Figures, Figure{Name: name, Value: value, Unit: unit})
}

// distribution adds durations.
func (r *Result) distribution(name string, durations []time.Duration) Distribution {
	d := distribution(durations)
	r.Times[name] = d
	return d
}

// judge puts the goals beside the figures.
func (r *Result) judge(goals []goal, servers int) {
	for i := range r.Figures {
		for _, g := range goals {
			if g.figure == r.Figures[i].Name {
				r.Figures[i].Goal = new(g.of(servers))
			}
		}
	}
}

// goal is the most that a figure may be.
type goal struct {
	figure string
	// small is for up to 1,000 servers, large for more.
	small, large float64
}

func (g goal) of(servers int) float64 {
	if servers <= 1000 {
		return g.small
	}
	return g.large
}

// difference puts what happened between two samples into the result.
func (r *Result) difference(before, after sample) {
	r.CPU, r.PeakRSS = map[string]float64{}, map[string]int64{}
	r.Refused = grown(before.counters.refused, after.counters.refused)
	r.Requests, r.TerminatedWatchers = grown(before.counters.requests, after.counters.requests), grown(before.counters.terminated, after.counters.terminated)
	r.Bytes = after.counters.bytes - before.counters.bytes
	for name, used := range after.processes {
		r.CPU[name] = (used.cpu - before.processes[name].cpu).Seconds()
		r.PeakRSS[name] = used.peak
	}
}

// grown are the counters that have become greater, and by how much.
func grown(before, after map[string]float64) map[string]float64 {
	more := map[string]float64{}
	for key, value := range after {
		if d := value - before[key]; d > 0 {
			more[key] = d
		}
	}
	return more
}

// writes are the requests that change something, lists those that list.
func (r *Result) writes() float64 { return r.sum("POST ", "PUT ", "PATCH ", "APPLY ", "DELETE ") }
func (r *Result) lists() float64  { return r.sum("LIST ") }

func (r *Result) sum(verbs ...string) float64 {
	total := 0.0
	for key, value := range r.Requests {
		for _, verb := range verbs {
			if len(key) > len(verb) && key[:len(verb)] == verb {
				total += value
			}
		}
	}
	return total
}
