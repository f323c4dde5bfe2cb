package main

import (
	"math"
	"slices"
	"time"
)

// Distribution sums up durations, in seconds.
type Distribution struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// distribution sums up durations, which need no order. Percentiles are by nearest rank: each is one of the durations.
func distribution(durations []time.Duration) Distribution {
	if len(durations) == 0 {
		return Distribution{}
	}
	sorted := slices.Clone(durations)
	slices.Sort(sorted)
	rank := func(part float64) float64 {
		return sorted[max(0, int(math.Ceil(part*float64(len(sorted))))-1)].Seconds()
	}
	return Distribution{Count: len(sorted), P50: rank(.5), P90: rank(.9), P99: rank(.99), Max: rank(1)}
}
