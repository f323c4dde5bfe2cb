package fromapi_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

func TestSettings(t *testing.T) {
	until := metav1.NewTime(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	spec := emsv1.RolloutSpec{
		Profile: emsv1.ProfileFast, MaxFailures: new(int32(2)), ProgressDeadlineSeconds: 90, OnFailure: emsv1.FailureHold,
		Progress: emsv1.ProgressPaused, PausedUntilTime: &until,
		Stages: []emsv1.RolloutStage{
			{Name: "canary", ServerSelector: labelled("canary", "yes"), BakeSeconds: new(int32(60)), MinRequests: new(int32(5)), Approval: emsv1.ApprovalAfter},
			{Name: "some", Servers: new(intstr.FromInt32(3)), ServerNames: []string{"fe01"}},
			{Name: "half", Servers: new(intstr.FromString("50%"))},
		},
		Windows: []emsv1.RolloutWindow{{Policy: emsv1.WindowDeny, Cron: "0 8 * * *", TimeZone: "Europe/Vienna", DurationSeconds: 3600}},
		Orders:  []emsv1.RolloutOrder{{ID: "M1", Revision: 4, Action: emsv1.OrderRetry, Attempt: 2, Reason: "repaired", Owner: "mail team"}},
	}
	got, err := fromapi.Settings(&spec)
	if err != nil {
		t.Fatal(err)
	}
	chooses := got.Stages[0].Selects
	want := rollout.Settings{
		Profile: rollout.Fast, MaxFailures: new(2), ProgressDeadline: 90 * time.Second, OnFailure: rollout.FailureHold,
		Paused: true, PausedUntil: until.Time,
		Stages: []rollout.Stage{
			{Name: "canary", Bake: time.Minute, MinRequests: 5, Approval: rollout.ApprovalAfter},
			{Name: "some", Servers: rollout.Count(3), ServerNames: []string{"fe01"}},
			{Name: "half", Servers: rollout.Percent(50)},
		},
		Windows: []schedule.Set{{{Policy: schedule.Deny, Cron: "0 8 * * *", TimeZone: "Europe/Vienna", Duration: time.Hour}}},
		Orders:  []rollout.Order{{ID: "M1", Revision: 4, Action: rollout.OrderRetry, Attempt: 2, Reason: "repaired", Owner: "mail team"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(rollout.Stage{}, "Selects")); diff != "" {
		t.Errorf("settings differ (-want +got):\n%s", diff)
	}
	if !chooses(map[string]string{"canary": "yes"}) || chooses(map[string]string{"canary": "no"}) || got.Stages[1].Selects != nil {
		t.Error("the selector of a stage must choose by labels, and a stage without one must have none")
	}
}

func TestSettingsOfAPoolThatCannotBeUsed(t *testing.T) {
	misspeltWindow := emsv1.RolloutSpec{Windows: []emsv1.RolloutWindow{
		{Policy: emsv1.WindowAllow, Cron: "0 22 * * *", DurationSeconds: 3600},
		{Policy: emsv1.WindowAllow, Cron: "0 25 * * *", TimeZone: "Europe/Wien", DurationSeconds: 3600},
	}}
	global := func(spec emsv1.RolloutSpec) []emsv1.MitigationConfiguration {
		c := configuration("global", nil)
		c.Spec.Rollout = spec
		return []emsv1.MitigationConfiguration{configuration("berlin", labelled("site", "berlin")), c}
	}
	tests := map[string]struct {
		pool           emsv1.RolloutSpec
		configurations []emsv1.MitigationConfiguration
		wantError      string
	}{
		"without any rollout everything is all right": {},
		"a zone of the pool is named": {
			pool:      misspeltWindow,
			wantError: `PoolMitigationConfig "frontends": spec.rollout.windows[1]: timeZone: "Europe/Wien": not in the IANA time zone database: unknown time zone Europe/Wien`,
		},
		"so is one of the organisation": {
			configurations: global(misspeltWindow),
			wantError:      `MitigationConfiguration "global": spec.rollout.windows[1]: timeZone: "Europe/Wien": not in the IANA time zone database: unknown time zone Europe/Wien`,
		},
		"and everything that is wrong in both": {
			pool:           emsv1.RolloutSpec{Stages: []emsv1.RolloutStage{{Name: "canary", ServerSelector: misspelt()}}},
			configurations: global(emsv1.RolloutSpec{Windows: []emsv1.RolloutWindow{{Policy: emsv1.WindowDeny, Cron: "@daily", DurationSeconds: 3600}}}),
			wantError: `PoolMitigationConfig "frontends": spec.rollout.stages[0] (canary): serverSelector: "Inn" is not a valid label selector operator; ` +
				`MitigationConfiguration "global": spec.rollout.windows[0]: cron: "@daily": only the five-field form is allowed; the zone has its own field`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			pool := &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "frontends"}, Spec: emsv1.PoolMitigationConfigSpec{Rollout: tc.pool}}
			settings, err := fromapi.PoolSettings(pool, tc.configurations)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.wantError, got); diff != "" {
				t.Errorf("error differs (-want +got):\n%s", diff)
			}
			if wantPaused := tc.wantError != ""; settings.Paused != wantPaused {
				t.Errorf("paused = %t, want %t: what nobody understands must begin nothing", settings.Paused, wantPaused)
			}
		})
	}
}

func TestRings(t *testing.T) {
	global := configuration("global", nil)
	global.Spec.Rings = []emsv1.Ring{
		{Name: "early", PoolSelector: labelled("ring", "early"), BakeSeconds: new(int32(600)), Approval: emsv1.ApprovalAfter},
		{Name: "broken", PoolSelector: misspelt()},
	}
	other := configuration("berlin", labelled("site", "berlin"))
	rings, err := fromapi.Rings([]emsv1.MitigationConfiguration{other, global})
	if want := `MitigationConfiguration "global": spec.rings[1] (broken).poolSelector: "Inn" is not a valid label selector operator`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	if len(rings) != 2 || rings[0].Name != "early" || rings[0].Bake != 10*time.Minute || rings[0].Approval != rollout.ApprovalAfter {
		t.Fatalf("rings = %+v", rings)
	}
	if got := rollout.RingOf(rings, map[string]string{"ring": "early"}); got != 0 {
		t.Errorf("the pool is in ring %d, want the first", got)
	}
	if got := rollout.RingOf(rings, map[string]string{"site": "berlin"}); got != 2 {
		t.Errorf("a pool that no ring chooses is in ring %d, want the last", got)
	}
	if err := fromapi.Rollouts(&global); err == nil {
		t.Error("Rollouts() finds nothing wrong with the ring")
	}
	if err := fromapi.Rollouts(&other); err != nil {
		t.Errorf("Rollouts() = %v for a configuration without rollouts", err)
	}
}
