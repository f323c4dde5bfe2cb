package check

import (
	"errors"
	"strings"
	"testing"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight/insighttest"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/shard"
)

func TestShards(t *testing.T) {
	now := insighttest.Evening
	lead := func(namespace, name string, ago time.Duration) leadership {
		return leadership{namespace: namespace, shard: shard.Name(name), holder: "ems-manager-" + name, renewed: now.Add(-ago), duration: 15 * time.Second}
	}
	for name, tc := range map[string]struct {
		// pools are the labels of the first pools.
		pools   []string
		leaders []leadership
		err     error
		want    []string
	}{
		"no pool is given to any":        {},
		"each has its manager":           {pools: []string{"europe", "asia"}, leaders: []leadership{lead("ems-system", "europe", time.Second), lead("ems-system", "asia", time.Second)}, want: []string{"OK 2 shards, each with a manager"}},
		"one has none":                   {pools: []string{"europe", "asia"}, leaders: []leadership{lead("ems-system", "europe", time.Second)}, want: []string{`Failed no manager works for "asia", the label of 1 pool:`}},
		"one has been away":              {pools: []string{"europe", "europe"}, leaders: []leadership{lead("ems-system", "europe", time.Minute)}, want: []string{`Failed no manager works for "europe", the label of 2 pools:`}},
		"two installations share a name": {pools: []string{"europe"}, leaders: []leadership{lead("ems-system", "europe", time.Second), lead("other", "europe", time.Second)}, want: []string{`Failed several work for "europe": ems-system/ems-manager-europe, other/ems-manager-europe`}},
		"nobody may look":                {pools: []string{"europe"}, err: errors.New("leases is forbidden"), want: []string{"Unknown could not be found out"}},
	} {
		t.Run(name, func(t *testing.T) {
			fleet := insighttest.New()
			for i, of := range tc.pools {
				fleet.Pools[i].Labels = map[string]string{emsv1.ShardLabel: of}
			}
			found := well(fleet)
			found.shardLeaders.value, found.shardLeaders.err = tc.leaders, tc.err
			var got []string
			for _, i := range Judge(found).Items {
				if i.Check == "shards" {
					got = append(got, i.Result+" "+i.What)
				}
			}
			if len(got) != len(tc.want) {
				t.Fatalf("%q, want %q", got, tc.want)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], tc.want[i]) {
					t.Errorf("%q, want %q", got[i], tc.want[i])
				}
			}
		})
	}
}

func TestAPoolThatIsHandedOverIsToldOf(t *testing.T) {
	fleet := insighttest.New()
	pool := &fleet.Pools[0]
	conditions.Set(&pool.Status.Conditions, pool.Generation, conditions.Working(emsv1.TakingOverReason, "its servers are being handed over"))
	report := Judge(well(fleet))
	if !report.Well(false) || report.Well(true) {
		t.Errorf("a pool that is handed over: %+v", report)
	}
}
