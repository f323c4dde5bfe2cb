package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

func TestReleaseIncludes(t *testing.T) {
	bucket := int64(rollout.Bucket("fe01", "M1"))
	tests := map[string]struct {
		release rollout.Release
		server  string
		want    bool
	}{
		"everything includes every server":             {rollout.ToAll(), "fe01", true},
		"nothing includes none":                        {rollout.Release{}, "fe01", false},
		"a named server is included whatever its hash": {rollout.Release{ServerNames: []string{"FE01"}}, "fe01", true},
		"a server at the cut-off is not included":      {rollout.Release{Below: bucket}, "fe01", false},
		"a server below the cut-off is":                {rollout.Release{Below: bucket + 1}, "fe01", true},
		"the case of a name does not matter":           {rollout.Release{Below: bucket + 1}, "FE01", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.release.Includes(tc.server, "M1"); got != tc.want {
				t.Errorf("Includes = %t, want %t", got, tc.want)
			}
		})
	}
}

// The bucket is an agreement between managers and agents of different versions, so its values are fixed.
func TestBucketIsStable(t *testing.T) {
	if got, want := rollout.Bucket("fe01", "M1"), uint32(0x75258a60); got != want {
		t.Errorf("Bucket(fe01, M1) = %#x, want %#x", got, want)
	}
}

func TestBucketsSpreadServersAndDifferByMitigation(t *testing.T) {
	const servers = 10_000
	below, both := 0, 0
	for i := range servers {
		name := fmt.Sprintf("fe%05d", i)
		first := rollout.Release{Below: rollout.Everything / 10}.Includes(name, "M1")
		second := rollout.Release{Below: rollout.Everything / 10}.Includes(name, "M2")
		if first {
			below++
		}
		if first && second {
			both++
		}
	}
	if below < 900 || below > 1100 {
		t.Errorf("a tenth of the hashes holds %d of %d servers", below, servers)
	}
	if both < 50 || both > 150 {
		t.Errorf("%d servers are among the first tenth for both mitigations, want about 100", both)
	}
}

func TestMake(t *testing.T) {
	now := time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	mitigation := func(id string, lifecycle policy.Lifecycle) rollout.Mitigation {
		return rollout.Mitigation{Mitigation: policy.Mitigation{ID: id, Lifecycle: lifecycle}, Revision: 1}
	}
	expiry := now.Add(time.Hour)
	plan := rollout.Make(rollout.Input{
		Now: now,
		Mitigations: []rollout.Mitigation{
			mitigation("PING1", policy.LifecycleActive), mitigation("m2", policy.LifecycleWithdrawn), mitigation("M1", policy.LifecycleActive),
		},
		Configurations: []policy.Configuration{
			{Name: "vienna", Blocked: []policy.Exception{{ID: "M1", Reason: "second", Expiry: expiry.Add(time.Hour)}}},
			{Name: "global", Blocked: []policy.Exception{{ID: "M1", Reason: "first", Expiry: expiry}}},
		},
	})

	var got []string
	for _, e := range plan.Entries {
		got = append(got, fmt.Sprintf("%s: %s %s below %d", e.ID, e.Desired, e.Reason, e.Release.Below))
	}
	want := []string{
		"M1: Remove BlockedByOrganization below 4294967296",
		"m2: Remove Withdrawn below 4294967296",
		"PING1: Apply Enabled below 4294967296",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan differs (-want +got):\n%s", diff)
	}
	if !plan.Next.Equal(expiry) {
		t.Errorf("next look at %v, want at the first expiry, %v", plan.Next, expiry)
	}
}
