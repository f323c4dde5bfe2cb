package measure

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/shard"
	"mitigation.dev/ems/internal/version"
)

// readTimeout ends a scrape while the caches are not filled yet. Scrapes are given ten seconds by default.
const readTimeout = 5 * time.Second

const buildInfoHelp = "1, with the version of the manager, the commit and the Go release that it was built from, and its shard unless it is the main one."

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
	buildInfo = prometheus.NewDesc("ems_build_info",
		buildInfoHelp, []string{"version", "commit", "goversion"}, nil)
	shardBuildInfo = prometheus.NewDesc("ems_build_info", buildInfoHelp, []string{"version", "commit", "goversion", "shard"}, nil)
)

// exported is what the registry asks. It takes a metric once, and a process may run several managers in turn.
var exported = newCollector()

func init() { metrics.Registry.MustRegister(exported) }

// source is where the collector reads.
type source struct {
	reader client.Reader
	clock  clock.PassiveClock
	shard  shard.Name
}

// collector counts when it is asked, what happened excepted.
type collector struct {
	source  atomic.Pointer[source]
	watched *watched
}

func newCollector() *collector { return &collector{watched: newWatched()} }

// Export makes the metrics of this process those of the objects that the reader has. What is counted from objects is the main manager's; the
// others export what they see of their pools.
func Export(reader client.Reader, clock clock.PassiveClock, mine shard.Name) {
	exported.source.Store(&source{reader, clock, mine})
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		exceptionExpiry, exceptions, rollouts, rolloutState, rolloutStage, serversByState, mitigationInfo, mitigationPublished, mitigationServers,
		poolInfo, suspendedSince, poolsWithoutManager, feedReady, feedMaxAge, buildInfo,
	} {
		out <- d
	}
	for _, c := range c.watched.all() {
		c.Describe(out)
	}
}

// Collect implements prometheus.Collector. What cannot be read is left out: a metric that is missing is noticed, and one
// that says 0 is believed.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, c := range c.watched.all() {
		c.Collect(out)
	}
	s := c.source.Load()
	if s == nil {
		out <- gauge(buildInfo, 1, version.Version, version.Commit(), runtime.Version())
		return
	}
	pools, origins := c.watched.snapshot()
	for _, m := range measureServers(pools, s.shard) {
		out <- m
	}
	if s.shard != shard.Main {
		out <- gauge(shardBuildInfo, 1, version.Version, version.Commit(), runtime.Version(), string(s.shard))
		return
	}
	out <- gauge(buildInfo, 1, version.Version, version.Commit(), runtime.Version())
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
	for _, metrics := range [][]prometheus.Metric{
		measureRollouts(objects.plans), measureAbandoned(objects.pools), measureMitigations(objects, origins), measurePools(objects.pools, objects.plans), measureFeeds(objects.feeds),
	} {
		for _, m := range metrics {
			out <- m
		}
	}
}

// objects are those that metrics are made of, as the cache has them: they are for reading only.
type objects struct {
	configurations []emsv1.MitigationConfiguration
	pools          []emsv1.PoolMitigationConfig
	plans          []emsv1.MitigationPlan
	mitigations    []emsv1.Mitigation
	feeds          []emsv1.MitigationFeed
}

func (s *source) read(ctx context.Context) (objects, error) {
	var configurations emsv1.MitigationConfigurationList
	var pools emsv1.PoolMitigationConfigList
	var plans emsv1.MitigationPlanList
	var mitigations emsv1.MitigationList
	var feeds emsv1.MitigationFeedList
	for _, list := range []client.ObjectList{&configurations, &pools, &plans, &mitigations, &feeds} {
		if err := s.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return objects{}, err
		}
	}
	return objects{
		configurations: configurations.Items, pools: pools.Items, plans: plans.Items, mitigations: mitigations.Items, feeds: feeds.Items,
	}, nil
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
