package measure

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are the metrics of what happened. Unlike the others they cannot be told from the objects when Prometheus asks.
type counters struct {
	propagation, rollouts *prometheus.HistogramVec
	pauses                prometheus.Histogram
	failures, drift       *prometheus.CounterVec
}

// Buckets: a push reaches servers within seconds, a poll within the hour, stages bake for hours, and a person answers within days.
var (
	wayBuckets = []float64{1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 86400, 7 * 86400}
	runBuckets = []float64{5, 30, 60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 86400, 7 * 86400}
)

func newCounters() *counters {
	return &counters{
		propagation: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ems_propagation_duration_seconds",
			Help: "How long a revision of a mitigation took. step is published_verified (signed to accepted by the manager, once for each revision), " +
				"published_enforced (signed to in place, once for each server and revision), or released_enforced (its stage released to in place, likewise).",
			Buckets: wayBuckets,
		}, []string{"step"}),
		rollouts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ems_rollout_duration_seconds",
			Help:    "How long rollouts in pools took from the beginning of the attempt until they were Complete, Halted or Aborted, which is status.",
			Buckets: runBuckets,
		}, []string{"status"}),
		pauses: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "ems_rollout_manual_pause_duration_seconds",
			Help:    "How long rollouts waited for a person, by a pause or for an approval, once for each time.",
			Buckets: runBuckets,
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ems_server_failures_total",
			Help: "Failures of a mitigation on a server, each once when it was first reported. Above the limits they count as pool _others or reason Other.",
		}, []string{"namespace", "pool", "reason"}),
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ems_drift_repairs_total",
			Help: "Mitigations that servers put back into place after somebody had changed them. Above the limit of pools they count as pool _others.",
		}, []string{"namespace", "pool"}),
	}
}

func (c *counters) all() []prometheus.Collector {
	return []prometheus.Collector{c.propagation, c.rollouts, c.pauses, c.failures, c.drift}
}

// way observes a step. Clocks of publishers and servers are not the manager's: what would have ended before it began is left out, as is what
// has no beginning.
func (c *counters) way(step string, from, to time.Time) {
	if !from.IsZero() && !to.IsZero() && !to.Before(from) {
		c.propagation.WithLabelValues(step).Observe(to.Sub(from).Seconds())
	}
}

func (c *counters) rollout(status string, from, to time.Time) {
	if !from.IsZero() && !to.Before(from) {
		c.rollouts.WithLabelValues(status).Observe(to.Sub(from).Seconds())
	}
}

func (c *counters) paused(from, to time.Time) { c.pauses.Observe(max(0, to.Sub(from).Seconds())) }
