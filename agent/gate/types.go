package gate

import (
	"time"

	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/health/requests"
)

// Verdict is what a server says of a mitigation under observation, in the words of the API.
type Verdict string

// The verdicts. Passed and Failed are final.
const (
	Baking       Verdict = "Baking"
	Passed       Verdict = "Passed"
	Failed       Verdict = "Failed"
	Inconclusive Verdict = "Inconclusive"
)

// Whether the rules of a mitigation are in effect, in the words of the API. Empty: it has none, or nobody looked.
const (
	EffectiveTrue    = "True"
	EffectiveFalse   = "False"
	EffectiveUnknown = "Unknown"
)

// Terms are what a mitigation has to go through.
type Terms struct {
	// Bake is how long the server has to stay healthy; 0 is one look.
	Bake time.Duration `json:"bake,omitempty"`
	// MinRequests is how many requests must have been logged meanwhile, where there is a log.
	MinRequests int64 `json:"minRequests,omitempty"`
}

// Observation is what one look found.
type Observation struct {
	// Results of health.Checker.Look.
	Results []health.Result
	// NotBlocked and NotPassed are those of samples.Check on the effective configuration.
	NotBlocked, NotPassed []string
	// Effective is whether the rules are in effect, Why what speaks against it.
	Effective, Why string
	// Requests were logged since the record began, and Log says whether there is a log at all: those of requests.Count.
	Requests int64
	Log      bool
}

// Record is one mitigation under observation for one rollout. It is plain JSON; values that cannot be are mended when it is
// read.
type Record struct {
	// Rollout is the id of the rollout. A record says nothing about another one.
	Rollout string `json:"rollout"`
	// Begun is when the baseline was taken.
	Begun time.Time `json:"begun"`
	// Last is when the last look was, Begun before the first.
	Last time.Time `json:"last"`
	// Baseline is how the server was before.
	Baseline []health.Result `json:"baseline,omitempty"`
	// Observed is for how long the server was seen healthy.
	Observed time.Duration `json:"observed,omitempty"`
	// Looks, and how many of them found something worse than before.
	Looks int `json:"looks,omitempty"`
	Bad   int `json:"bad,omitempty"`
	// Strikes counts the last looks in a row that found something worse.
	Strikes int `json:"strikes,omitempty"`
	// Suspects came out badly at the last look and wait for a second one.
	Suspects []Suspect `json:"suspects,omitempty"`
	// Requests that were logged since Begun.
	Requests int64 `json:"requests,omitempty"`
	// Logs is where the caller has counted them up to; the gate does not look at it.
	Logs []requests.Cursor `json:"logs,omitempty"`
	// Verdict so far, and what is wrong, at most MaxMessage bytes; empty when nothing is.
	Verdict Verdict `json:"verdict"`
	Message string  `json:"message,omitempty"`
	// Notes are for people and change nothing.
	Notes []string `json:"notes,omitempty"`
}

// Suspect is a check that came out badly, for so long.
type Suspect struct {
	Name string        `json:"name"`
	For  time.Duration `json:"for,omitempty"`
}

// Final reports whether no look can change the verdict any more.
func (r Record) Final() bool { return r.Verdict == Passed || r.Verdict == Failed }
