package measure

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy/policytest"
	"mitigation.dev/ems/internal/shard"
)

// families gathers the names of all metrics of a collector, with the values of their labels.
func families(t *testing.T, c prometheus.Collector) map[string][]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, family := range gathered {
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			out[family.GetName()] = append(out[family.GetName()], strings.Join(values, ","))
		}
	}
	return out
}

// What is counted from objects would be there once for each manager, since all of them have all pools and plans.
func TestTheManagerOfAShardExportsWhatItSeesOfItsPoolsAndNothingElse(t *testing.T) {
	c, _ := exporter(t, policytest.Begin, large(policytest.Begin)...)
	c.source.Load().shard = "europe"
	for _, s := range fleetOf(1) {
		c.watched.learn(nil, nil, nil, begin)
		c.watched.look(c.watched.counters, s)
	}
	got := families(t, c)
	for name := range got {
		switch name {
		case "ems_servers", "ems_build_info", "ems_rollout_manual_pause_duration_seconds", "ems_propagation_duration_seconds", "ems_rollout_duration_seconds",
			"ems_server_failures_total", "ems_drift_repairs_total":
		default:
			t.Errorf("%s is the main manager's", name)
		}
	}
	if len(got["ems_servers"]) != standings {
		t.Errorf("%v: want the states of one pool", got["ems_servers"])
	}
	if build := got["ems_build_info"]; len(build) != 1 || !strings.Contains(build[0], ",europe,") {
		t.Errorf("%v: want the name of the shard", build)
	}
}

func TestPoolsBeyondTheLimitAreOneForEachManager(t *testing.T) {
	pools := map[types.NamespacedName][standings]int{}
	for i := range maxPools + 1 {
		pools[types.NamespacedName{Namespace: "exchange", Name: fmt.Sprintf("pool-%03d", i)}] = [standings]int{protected: 1}
	}
	for mine, want := range map[shard.Name]string{shard.Main: `"_others"`, "europe": `"_others_europe"`} {
		list := measureServers(pools, mine)
		if text := dump(t, list[len(list)-1]); !strings.Contains(text, want) {
			t.Errorf("%s: want the pool %s", text, want)
		}
	}
}

func TestPoolsWithoutManagerAreCountedByShard(t *testing.T) {
	pool := func(of, reason string) emsv1.PoolMitigationConfig {
		p := emsv1.PoolMitigationConfig{}
		if of != "" {
			p.Labels = map[string]string{emsv1.ShardLabel: of}
		}
		p.Status.Conditions = []metav1.Condition{{Type: emsv1.ReadyCondition, Reason: reason}}
		return p
	}
	got := map[string]float64{}
	for _, m := range measureAbandoned([]emsv1.PoolMitigationConfig{
		pool("", emsv1.InSyncReason), pool("europe", emsv1.NoManagerReason), pool("europe", emsv1.NoManagerReason), pool("asia", emsv1.InSyncReason), pool("africa", emsv1.TakingOverReason), {},
	}) {
		text := dump(t, m)
		got[strings.Split(text, `"`)[3]] = value(t, m)
	}
	same(t, got, map[string]float64{"europe": 2, "asia": 0, "africa": 1})
	if n := len(measureAbandoned([]emsv1.PoolMitigationConfig{pool("", emsv1.InSyncReason), pool("", emsv1.TakingOverReason)})); n != 1 {
		t.Errorf("%d series, want one of the pool that comes to the main manager", n)
	}
	if n := len(measureAbandoned([]emsv1.PoolMitigationConfig{pool("", emsv1.InSyncReason)})); n != 0 {
		t.Errorf("%d series, where there is one manager", n)
	}
	many := make([]emsv1.PoolMitigationConfig, 0, 2*maxShards)
	for i := range 2 * maxShards {
		many = append(many, pool(fmt.Sprintf("s%d", i), emsv1.InSyncReason))
	}
	if n := len(measureAbandoned(many)); n != maxShards {
		t.Errorf("%d series, want %d", n, maxShards)
	}
}

// A pool that comes from another manager brings servers that did long ago what this manager sees for the first time.
func TestAPoolThatComesFromAnotherManagerIsNotCountedAgain(t *testing.T) {
	w := newWatched()
	applied := func(after time.Duration) emsv1.ServerMitigation {
		return emsv1.ServerMitigation{State: emsv1.StateApplied, Revision: 2, ChangedTime: at(after)}
	}
	look := func(after time.Duration, servers ...emsv1.PoolServer) {
		mitigations, feeds := published(0)
		w.learn(nil, mitigations, feeds, begin.Add(after))
		w.look(w.counters, poolSight{key: poolKey, plan: planOf(planned()), servers: servers, now: begin.Add(after)})
	}
	mitigations, feeds := published(0)
	w.learn(nil, mitigations, feeds, begin) // the process begins to look
	w.memory.leave(w.counters, poolKey)
	look(time.Hour, server("a", applied(time.Minute)), server("b", emsv1.ServerMitigation{}))
	if got := observations(t, w.propagation.WithLabelValues(stepEnforced)); got != "0 in 0 s" {
		t.Errorf("what the other manager has counted is counted again: %s", got)
	}
	look(2*time.Hour, server("a", applied(time.Minute)), server("b", applied(90*time.Minute)))
	if got := observations(t, w.propagation.WithLabelValues(stepEnforced)); got != "1 in 6000 s" {
		t.Errorf("%s, want what happened since", got)
	}
	if got := observations(t, w.propagation.WithLabelValues(stepVerified)); got != "0 in 0 s" {
		t.Errorf("the way to the cluster is the main manager's to count: %s", got)
	}
	w.memory.leave(w.counters, poolKey)
	if pools, _ := w.snapshot(); len(pools) != 0 {
		t.Errorf("%v: a pool that has gone is still exported", pools)
	}
}

func TestWhatCannotBeReadIsLeftOutOfAShardToo(t *testing.T) {
	c := newCollector()
	c.source.Store(&source{reader: failing{}, clock: clocktesting.NewFakePassiveClock(policytest.Begin), shard: "europe"})
	if got := families(t, c); len(got["ems_build_info"]) != 1 {
		t.Errorf("%v: want what the process knows by itself", got)
	}
}

func dump(t *testing.T, m prometheus.Metric) string {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func value(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetGauge().GetValue()
}
