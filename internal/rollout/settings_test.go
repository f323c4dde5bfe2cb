package rollout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

// words writes stages as people would.
func words(stages []rollout.Stage) string {
	var list []string
	for _, s := range stages {
		text := s.Name
		switch {
		case s.Servers.Percent:
			text += fmt.Sprintf(" %d%%", s.Servers.Value)
		case s.Servers.Said:
			text += fmt.Sprintf(" %d", s.Servers.Value)
		}
		text += " " + s.Bake.String()
		if s.Approval != "" {
			text += " " + string(s.Approval)
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

func TestStagesOfAMitigation(t *testing.T) {
	names := rollout.Stage{Name: "canary", ServerNames: []string{"fe01"}, Bake: time.Minute}
	tests := map[string]struct {
		settings    rollout.Settings
		severity    string
		wantProfile rollout.Profile
		wantOwn     bool
		want        string
	}{
		"a critical mitigation goes fast": {severity: "Critical", wantProfile: rollout.Fast, want: "first 1% 1m0s, tenth 10% 2m0s, half 50% 5m0s, all 100% 1m0s"},
		"any other takes hours":           {severity: "High", wantProfile: rollout.Standard, want: "first 1 1h0m0s, tenth 10% 2h0m0s, half 50% 4h0m0s, all 100% 10m0s"},
		"one without severity, too":       {wantProfile: rollout.Standard, want: "first 1 1h0m0s, tenth 10% 2h0m0s, half 50% 4h0m0s, all 100% 10m0s"},
		"an emergency takes seconds": {
			settings: rollout.Settings{Profile: rollout.Emergency}, severity: "Low", wantProfile: rollout.Emergency,
			want: "first 1 15s, tenth 10% 30s, all 100% 30s",
		},
		"by hand, a person is asked before each stage": {
			settings: rollout.Settings{Profile: rollout.Manual}, severity: "Critical", wantProfile: rollout.Manual,
			want: "first 1 5m0s Before, tenth 10% 5m0s Before, half 50% 5m0s Before, all 100% 5m0s Before",
		},
		"own stages get a last one for the rest, which bakes as long as the one before": {
			settings: rollout.Settings{Stages: []rollout.Stage{names}}, wantProfile: rollout.Standard, wantOwn: true, want: "canary 1m0s, rest 100% 1m0s",
		},
		"a stage that is called rest already does not hide it": {
			settings:    rollout.Settings{Stages: []rollout.Stage{{Name: "rest", Servers: rollout.Percent(99)}}},
			wantProfile: rollout.Standard, wantOwn: true, want: "rest 99% 0s, rest-2 100% 0s",
		},
		"a last stage for all needs no other": {
			settings: rollout.Settings{Stages: []rollout.Stage{names, {Name: "all", Servers: rollout.Percent(100)}}}, wantProfile: rollout.Standard, wantOwn: true,
			want: "canary 1m0s, all 100% 0s",
		},
		"a count is never known to be all": {
			settings: rollout.Settings{Stages: []rollout.Stage{{Name: "many", Servers: rollout.Count(100)}}}, wantProfile: rollout.Standard, wantOwn: true,
			want: "many 100 0s, rest 100% 0s",
		},
		"a profile of a newer version is taken slowly": {
			settings: rollout.Settings{Profile: "Instant"}, wantProfile: "Instant", want: "first 1 1h0m0s, tenth 10% 2h0m0s, half 50% 4h0m0s, all 100% 10m0s",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			profile, own, stages := tc.settings.For(tc.severity)
			if profile != tc.wantProfile || own != tc.wantOwn || words(stages) != tc.want {
				t.Errorf("For = %s, %t, %s; want %s, %t, %s", profile, own, words(stages), tc.wantProfile, tc.wantOwn, tc.want)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	two, five := 2, 5
	stages := func(name string) []rollout.Stage { return []rollout.Stage{{Name: name, Servers: rollout.Percent(100)}} }
	night := schedule.Set{{Policy: schedule.Allow, Cron: "0 22 * * *", Duration: time.Hour}}
	freeze := schedule.Set{{Policy: schedule.Deny, Cron: "0 0 24 12 *", Duration: time.Hour}}
	order := func(id string, action rollout.OrderAction) rollout.Order {
		return rollout.Order{ID: id, Revision: 1, Action: action}
	}
	tests := map[string]struct{ pool, global, want rollout.Settings }{
		"what the pool does not say is the organisation's": {
			global: rollout.Settings{Profile: rollout.Manual, MaxFailures: &two, ProgressDeadline: time.Minute, OnFailure: rollout.FailureHold, Stages: stages("a")},
			want:   rollout.Settings{Profile: rollout.Manual, MaxFailures: &two, ProgressDeadline: time.Minute, OnFailure: rollout.FailureHold, Stages: stages("a")},
		},
		"what the pool says counts": {
			pool:   rollout.Settings{Profile: rollout.Fast, MaxFailures: &five, ProgressDeadline: time.Hour, OnFailure: rollout.FailureRevert, Stages: stages("b")},
			global: rollout.Settings{Profile: rollout.Manual, MaxFailures: &two, ProgressDeadline: time.Minute, OnFailure: rollout.FailureHold, Stages: stages("a")},
			want:   rollout.Settings{Profile: rollout.Fast, MaxFailures: &five, ProgressDeadline: time.Hour, OnFailure: rollout.FailureRevert, Stages: stages("b")},
		},
		"a pool that names a profile does not get the organisation's stages": {
			pool: rollout.Settings{Profile: rollout.Emergency}, global: rollout.Settings{Profile: rollout.Manual, Stages: stages("a")},
			want: rollout.Settings{Profile: rollout.Emergency},
		},
		"pauses and windows of both bind": {
			pool:   rollout.Settings{PausedUntil: start, Windows: []schedule.Set{night}},
			global: rollout.Settings{Paused: true, PausedUntil: start.Add(time.Hour), Windows: []schedule.Set{freeze}},
			want:   rollout.Settings{Paused: true, PausedUntil: start.Add(time.Hour), Windows: []schedule.Set{night, freeze}},
		},
		"an order of the organisation counts where the pool has none for the mitigation": {
			pool:   rollout.Settings{Orders: []rollout.Order{order("M1", rollout.OrderPromote)}},
			global: rollout.Settings{Orders: []rollout.Order{order("m1", rollout.OrderPause), order("M2", rollout.OrderAbort)}},
			want:   rollout.Settings{Orders: []rollout.Order{order("M1", rollout.OrderPromote), order("M2", rollout.OrderAbort)}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(tc.want, rollout.Merge(tc.pool, tc.global)); diff != "" {
				t.Errorf("settings differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	m := rollout.Mitigation{Revision: 3, Content: strings.ToUpper("0a1b2c3d") + first[8:], DocumentDigest: second}
	if got, want := rollout.IdentityOf(m, 2, true).ID(), "r3-a2-0a1b2c3d-audit"; got != want {
		t.Errorf("ID = %s, want %s", got, want)
	}
	m.Content = ""
	if got, want := rollout.IdentityOf(m, 1, false).ID(), "r3-a1-22222222"; got != want {
		t.Errorf("without a content the document stands for it: ID = %s, want %s", got, want)
	}
	for _, id := range []string{"r3-a2-0a1b2c3d-audit", "r3-a1-22222222", "r9223372036854775807-a100000-ffffffff", "r1-a1-"} {
		identity, ok := rollout.ParseID(id)
		if !ok || identity.ID() != id {
			t.Errorf("ParseID(%s) = %+v, %t", id, identity, ok)
		}
	}
	for _, id := range []string{
		"", "r0-a1-22222222", "r1-a0-22222222", "r1-a1", "r9223372036854775808-a1-22222222", "r1-a100001-22222222", "r1-a1-222222222",
		"r1-a1-22222222-dry", "r-1-a1-22222222", "r1-a1-22222222-audit\n", "r01-a1-22222222",
	} {
		if identity, ok := rollout.ParseID(id); ok {
			t.Errorf("ParseID(%q) = %+v, want none", id, identity)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("r3-a2-0a1b2c3d-audit")
	f.Add("r9223372036854775807-a100000-")
	f.Fuzz(func(t *testing.T, id string) {
		if identity, ok := rollout.ParseID(id); ok && identity.ID() != id {
			t.Errorf("ParseID(%q) reads %q", id, identity.ID())
		}
	})
}
