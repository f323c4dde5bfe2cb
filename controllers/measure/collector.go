package measure

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// readTimeout ends a scrape while the caches are not filled yet. Scrapes are given ten seconds by default.
const readTimeout = 5 * time.Second

var (
	exceptionExpiry = prometheus.NewDesc("ems_exception_expiry_timestamp_seconds",
		"Unix time at which an exception stops counting, of those that count and expire, at most 500, the next to expire first. "+
			"kind, namespace and name are its object's, list the field and id the entry in it.",
		[]string{"kind", "namespace", "name", "list", "id"}, nil)
	exceptions = prometheus.NewDesc("ems_exceptions",
		"Entries of the lists blocked, suspendedMitigations and approved of all objects. state is active for those that count, else expired.",
		[]string{"list", "state"}, nil)
	rollouts = prometheus.NewDesc("ems_rollouts",
		"Rollouts of mitigations in pools, by state.", []string{"state"}, nil)
	rolloutState = prometheus.NewDesc("ems_rollout_state",
		"1 for a rollout that is not complete, with the state and the reason that it has, at most 500, those that need attention first.",
		[]string{"namespace", "pool", "mitigation", "state", "reason"}, nil)
	rolloutStage = prometheus.NewDesc("ems_rollout_stage",
		"Number of the stage that is released, from 1, of the rollouts of ems_rollout_state; 0 while none is.",
		[]string{"namespace", "pool", "mitigation"}, nil)
)

var servers = prometheus.NewDesc("ems_servers",
	"Servers of all pools. state is silent for those that have not shown for a while that they are alive, else heard.", []string{"state"}, nil)

// exported is what the registry asks. It takes a metric once, and a process may run several managers in turn.
var exported = &collector{}

func init() { metrics.Registry.MustRegister(exported) }

// source is where the collector reads.
type source struct {
	reader client.Reader
	clock  clock.PassiveClock
}

// collector counts when it is asked.
type collector struct{ source atomic.Pointer[source] }

// Export makes the metrics of this process those of the objects that the reader has.
func Export(reader client.Reader, clock clock.PassiveClock) {
	exported.source.Store(&source{reader, clock})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{exceptionExpiry, exceptions, rollouts, rolloutState, rolloutStage, servers} {
		out <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out: a metric that is missing is noticed, and one
// that says 0 is believed.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.source.Load()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	objects, err := s.read(ctx)
	if err != nil {
		logf.Log.WithName("measure").Error(err, "Metrics left out")
		return
	}
	for _, m := range measureExceptions(objects, s.clock.Now()) {
		out <- m
	}
	for _, m := range measureServers(objects.pools) {
		out <- m
	}
	for _, m := range measureRollouts(objects.plans) {
		out <- m
	}
}

// objects are those that metrics are made of, as the cache has them: they are for reading only.
type objects struct {
	configurations []emsv1.MitigationConfiguration
	pools          []emsv1.PoolMitigationConfig
	plans          []emsv1.MitigationPlan
}

func (s *source) read(ctx context.Context) (objects, error) {
	var configurations emsv1.MitigationConfigurationList
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	for _, list := range []client.ObjectList{&configurations, &pools, &plans} {
		if err := s.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return objects{}, err
		}
	}
	return objects{configurations: configurations.Items, pools: pools.Items, plans: plans.Items}, nil
}

// measureServers sums up what the statuses of pools say.
func measureServers(pools []emsv1.PoolMitigationConfig) []prometheus.Metric {
	all, silent := 0, 0
	for i := range pools {
		all += int(ptr.Deref(pools[i].Status.Servers, 0))
		silent += int(ptr.Deref(pools[i].Status.Silent, 0))
	}
	return []prometheus.Metric{gauge(servers, float64(all-silent), "heard"), gauge(servers, float64(silent), "silent")}
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
