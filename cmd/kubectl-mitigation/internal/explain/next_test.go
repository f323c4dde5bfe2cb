package explain

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// TestWhatToDoAboutPolicy: the command names the object that has the last word, and the entry as it is written there.
func TestWhatToDoAboutPolicy(t *testing.T) {
	entries := func(id emsv1.MitigationID) []emsv1.Exception { return []emsv1.Exception{{ID: id, Reason: "x"}} }
	for name, tc := range map[string]struct {
		change func(pool, global, site *emsv1.MitigationConfigurationSpec)
		want   string
	}{
		"the pool blocks":         {func(pool, _, _ *emsv1.MitigationConfigurationSpec) { pool.Blocked = entries("m1") }, "unblock m1 --pool frontends/mail"},
		"the organisation blocks": {func(_, global, _ *emsv1.MitigationConfigurationSpec) { global.Blocked = entries("M1") }, "unblock M1 --organization"},
		"a configuration blocks":  {func(_, _, site *emsv1.MitigationConfigurationSpec) { site.Blocked = entries("M1") }, "unblock M1 --configuration vienna"},
		"every part is blocked, the last here": {func(_, _, site *emsv1.MitigationConfigurationSpec) {
			site.Blocked = append(entries("M1.1"), entries("M1.2")...)
		}, "unblock M1.2 --configuration vienna"},
		"suspended by name":                    {func(_, global, _ *emsv1.MitigationConfigurationSpec) { global.SuspendedMitigations = entries("M1") }, "unsuspend M1 --organization"},
		"the organisation suspends everything": {func(_, global, _ *emsv1.MitigationConfigurationSpec) { global.Suspend = emsv1.SuspendRevert }, "unsuspend --all --organization"},
		"the pool suspends everything":         {func(pool, _, _ *emsv1.MitigationConfigurationSpec) { pool.Suspend = emsv1.SuspendRevert }, "unsuspend --all --pool frontends/mail"},
		"mitigations are disabled":             {func(_, _, site *emsv1.MitigationConfigurationSpec) { site.Mitigations = emsv1.Disabled }, "enable --configuration vienna"},
	} {
		t.Run(name, func(t *testing.T) {
			o := fleetOf("fe01")
			o.Configurations = append(o.Configurations, emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "vienna"}})
			pool := emsv1.MitigationConfigurationSpec{}
			tc.change(&pool, &o.Configurations[0].Spec, &o.Configurations[1].Spec)
			o.Pool.Spec.Blocked, o.Pool.Spec.Suspend = pool.Blocked, pool.Suspend
			manage(o, evening)
			for _, o := range []*Objects{o, o.of("fe01")} {
				x, _ := One(o, "M1")
				if len(x.Next) == 0 || x.Next[0].Command != "kubectl mitigation "+tc.want {
					t.Errorf("what to do = %+v, want %q", x.Next, tc.want)
				}
			}
		})
	}
}
