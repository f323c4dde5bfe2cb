package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	_ "mitigation.dev/ems/controllers/feed" // its metrics are documented on the same page
	"mitigation.dev/ems/internal/policy/policytest"
	"mitigation.dev/ems/test/promtool"
)

// exporter is a collector over objects, with a clock of its own.
func exporter(t *testing.T, now time.Time, objects ...client.Object) (*collector, *clocktesting.FakePassiveClock) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := emsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakePassiveClock(now)
	c := newCollector()
	c.source.Store(&source{reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), clock: clock})
	return c, clock
}

// values gathers the values of a metric by its labels, written as {a,b}, in the order of their names.
func values(t *testing.T, c prometheus.Collector, name string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out["{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue()
		}
	}
	return out
}

func sum(values map[string]float64, ending string) (total float64) {
	for labels, v := range values {
		if strings.HasSuffix(labels, ending) {
			total += v
		}
	}
	return total
}

func TestExceptionsCountAsThePolicyTableSays(t *testing.T) {
	for _, c := range policytest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			objects := c.Objects()
			all := []client.Object{objects.Pool}
			for i := range objects.Configurations {
				all = append(all, &objects.Configurations[i])
			}
			collector, clock := exporter(t, policytest.Begin, all...)
			for _, m := range c.Moments {
				clock.SetTime(m.At)
				got := values(t, collector, "ems_exceptions")
				if active, expired := sum(got, ",active}"), sum(got, ",expired}"); int(active) != m.Active || int(expired) != m.Expired {
					t.Errorf("at %s: %v active and %v expired, want %d and %d", m.At, active, expired, m.Active, m.Expired)
				}
				for labels, at := range values(t, collector, "ems_exception_expiry_timestamp_seconds") {
					if int64(at) <= m.At.Unix() {
						t.Errorf("at %s: %s expired at %v and is still exported", m.At, labels, at)
					}
				}
			}
		})
	}
}

func TestMetricsSayWhoseExceptionsExpire(t *testing.T) {
	now := policytest.Begin
	until := func(id string, after time.Duration) emsv1.Exception {
		return emsv1.Exception{ID: emsv1.MitigationID(id), Reason: "breaks printing", ExpiryTime: new(metav1.NewTime(now.Add(after)))}
	}
	pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "exchange", Name: "frontend"}}
	pool.Spec.Blocked = []emsv1.Exception{until("M1", time.Hour), until("M2", -time.Hour), {ID: "M3", Reason: "for ever"}}
	pool.Spec.Approved = []emsv1.Approval{{ID: "M4", Reason: "looked at", ExpiryTime: new(metav1.NewTime(now.Add(2 * time.Hour)))}}
	global := &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "global"}}
	global.Spec.SuspendedMitigations = []emsv1.Exception{until("M5", 3*time.Hour)}

	collector, clock := exporter(t, now, pool, global)
	same(t, values(t, collector, "ems_exception_expiry_timestamp_seconds"), map[string]float64{
		"{M1,PoolMitigationConfig,blocked,frontend,exchange}":       float64(now.Add(time.Hour).Unix()),
		"{M4,PoolMitigationConfig,approved,frontend,exchange}":      float64(now.Add(2 * time.Hour).Unix()),
		"{M5,MitigationConfiguration,suspendedMitigations,global,}": float64(now.Add(3 * time.Hour).Unix()),
	})
	same(t, values(t, collector, "ems_exceptions"), map[string]float64{
		"{blocked,active}": 2, "{blocked,expired}": 1, "{suspendedMitigations,active}": 1, "{suspendedMitigations,expired}": 0,
		"{approved,active}": 1, "{approved,expired}": 0,
	})

	clock.SetTime(now.Add(2 * time.Hour))
	same(t, values(t, collector, "ems_exception_expiry_timestamp_seconds"), map[string]float64{
		"{M5,MitigationConfiguration,suspendedMitigations,global,}": float64(now.Add(3 * time.Hour).Unix()),
	})
	same(t, values(t, collector, "ems_exceptions"), map[string]float64{
		"{blocked,active}": 1, "{blocked,expired}": 2, "{suspendedMitigations,active}": 1, "{suspendedMitigations,expired}": 0,
		"{approved,active}": 0, "{approved,expired}": 1,
	})
}

func TestMetricsSayHowRolloutsStand(t *testing.T) {
	rollout := func(id string, desired emsv1.DesiredState, state emsv1.RolloutState, reason string, stage int32) emsv1.PlannedMitigation {
		m := emsv1.PlannedMitigation{ID: emsv1.MitigationID(id), Desired: desired}
		m.Rollout.State, m.Rollout.Reason, m.Rollout.StageNumber = state, reason, new(stage)
		return m
	}
	plan := &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: "exchange", Name: "frontend"}}
	plan.Spec.Mitigations = []emsv1.PlannedMitigation{
		rollout("M1", emsv1.DesiredApply, emsv1.RolloutComplete, "RolloutComplete", 3),
		rollout("M2", emsv1.DesiredApply, emsv1.RolloutHalted, "RolloutHalted", 1),
		rollout("M3", emsv1.DesiredApply, emsv1.RolloutWaiting, "AwaitingApproval", 0),
		rollout("M4", emsv1.DesiredRemove, emsv1.RolloutComplete, "RolloutComplete", 3),
		{ID: "M5", Desired: emsv1.DesiredApply}, // of an older manager
	}
	collector, _ := exporter(t, policytest.Begin, plan)
	same(t, values(t, collector, "ems_rollouts"), map[string]float64{
		"{Complete}": 1, "{Halted}": 1, "{Waiting}": 1, "{Paused}": 0, "{Progressing}": 0, "{Aborted}": 0,
	})
	same(t, values(t, collector, "ems_rollout_state"), map[string]float64{
		"{M2,exchange,frontend,RolloutHalted,Halted}": 1, "{M3,exchange,frontend,AwaitingApproval,Waiting}": 1,
	})
	same(t, values(t, collector, "ems_rollout_stage"), map[string]float64{"{M2,exchange,frontend}": 1, "{M3,exchange,frontend}": 0})
}

func same(t *testing.T, got, want map[string]float64) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values differ (-want +got):\n%s", diff)
	}
}

// large is more than anybody should have: 100 pools that each have 20 rollouts under way, one halted, and 50 exceptions.
func large(now time.Time) []client.Object {
	var all []client.Object
	for p := range 100 {
		name := fmt.Sprintf("pool-%03d", p)
		pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "exchange", Name: name}}
		for i := range 50 {
			pool.Spec.Blocked = append(pool.Spec.Blocked, emsv1.Exception{
				ID: emsv1.MitigationID(fmt.Sprintf("X%d", i)), Reason: "r", ExpiryTime: new(metav1.NewTime(now.Add(time.Duration(100*p+i+1) * time.Minute))),
			})
		}
		plan := &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: "exchange", Name: name}}
		for i := range 20 {
			m := emsv1.PlannedMitigation{ID: emsv1.MitigationID(fmt.Sprintf("M%d", i)), Desired: emsv1.DesiredApply}
			m.Rollout.State, m.Rollout.Reason = emsv1.RolloutProgressing, "AwaitingStage"
			if i == 7 {
				m.Rollout.State, m.Rollout.Reason = emsv1.RolloutHalted, "RolloutHalted"
			}
			plan.Spec.Mitigations = append(plan.Spec.Mitigations, m)
		}
		all = append(all, pool, plan)
	}
	return all
}

// maxAllSeries is what docs/reference/metrics.md promises beside those of feeds.
const maxAllSeries = 5500

func TestTheNumberOfSeriesIsBounded(t *testing.T) {
	collector, _ := exporter(t, policytest.Begin, large(policytest.Begin)...)
	if series := testutil.CollectAndCount(collector); series > maxAllSeries {
		t.Errorf("%d series, want at most %d", series, maxAllSeries)
	}
	if halted := sum(values(t, collector, "ems_rollout_state"), ",RolloutHalted,Halted}"); halted != 100 {
		t.Errorf("%v of 100 halted rollouts are exported, which come first", halted)
	}
	same(t, values(t, collector, "ems_rollouts"), map[string]float64{
		"{Complete}": 0, "{Halted}": 100, "{Waiting}": 0, "{Paused}": 0, "{Progressing}": 1900, "{Aborted}": 0,
	})
	first := policytest.Begin.Add(time.Minute).Unix()
	if got := values(t, collector, "ems_exception_expiry_timestamp_seconds")["{X0,PoolMitigationConfig,blocked,pool-000,exchange}"]; int64(got) != first {
		t.Errorf("the exception that expires first has %v, want %d", got, first)
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	collector, _ := exporter(t, policytest.Begin, large(policytest.Begin)...)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestEveryMetricIsDocumented asks the registry, so that it sees those of the other controllers too.
func TestEveryMetricIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	registered, ok := metrics.Registry.(prometheus.Collector)
	if !ok {
		t.Fatal("the registry does not tell what it has")
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registered.Describe(descriptions)
		close(descriptions)
	}()
	seen := 0
	for d := range descriptions {
		// A description prints as Desc{fqName: "name", …}.
		name := strings.Split(d.String(), `"`)[1]
		if !strings.HasPrefix(name, "ems_") {
			continue
		}
		seen++
		if !bytes.Contains(page, []byte("| `"+name+"` |")) {
			t.Errorf("docs/reference/metrics.md has no row for %s", name)
		}
	}
	// Those of the agent have a test beside it.
	if rows := bytes.Count(page, []byte("\n| `ems_")) - bytes.Count(page, []byte("\n| `ems_agent_")); rows != seen {
		t.Errorf("docs/reference/metrics.md has %d rows, and there are %d metrics", rows, seen)
	}
}

// TestPromtoolAcceptsTheMetrics prints everything that a manager exports, those of the other controllers too.
func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	collector, _ := exporter(t, policytest.Begin, large(policytest.Begin)...)
	mitigations, feeds := published(0)
	for i, s := range fleetOf(3) {
		collector.watched.learn(collector.watched.counters, mitigations, feeds, begin)
		collector.watched.look(collector.watched.counters, s)
		collector.watched.counters.rollout("Complete", begin, begin.Add(time.Minute))
		collector.watched.failures.WithLabelValues(s.key.Namespace, s.key.Name, "SectionLocked").Inc()
		collector.watched.drift.WithLabelValues(s.key.Namespace, s.key.Name).Add(float64(i))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	for _, gatherer := range []prometheus.Gatherer{registry, metrics.Registry} {
		families, err := gatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for _, family := range families {
			if !strings.HasPrefix(family.GetName(), "ems_") {
				continue // those of controller-runtime and of Go are theirs
			}
			if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
				t.Fatal(err)
			}
		}
		promtool.CheckMetrics(t, text.String())
	}
}

// failing is a reader whose caches are not there.
type failing struct{ client.Reader }

func (failing) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("the cache is not started")
}

func TestWhatCannotBeReadIsLeftOut(t *testing.T) {
	c := newCollector()
	// What the process knows by itself: what it was built from, and the pauses that it counted.
	const own = 2
	if n := testutil.CollectAndCount(c); n != own {
		t.Errorf("%d series before anything is exported, want %d", n, own)
	}
	c.source.Store(&source{reader: failing{}, clock: clocktesting.NewFakePassiveClock(policytest.Begin)})
	if n := testutil.CollectAndCount(c); n != own {
		t.Errorf("%d series while nothing can be read, want %d", n, own)
	}
}
