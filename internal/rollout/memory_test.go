package rollout_test

import (
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

// finish lets every released server pass until the rollout is complete.
func (x *table) finish() {
	x.t.Helper()
	x.later(0)
	for range 3 {
		x.pass()
	}
	if x.entry().Rollout.State != rollout.Complete {
		x.t.Fatalf("the rollout is not complete: %s", x.summary())
	}
}

func TestFallback(t *testing.T) {
	first := rollout.Fallback{Rollout: "r1-a1-11111111", Revision: 1, BundleName: "bundle-1", DocumentDigest: first}
	tests := map[string]struct {
		play func(x *table)
		want rollout.Fallback
	}{
		"the first revision has none": {play: func(x *table) { x.finish() }},
		"the second has the first, when that is complete": {
			play: func(x *table) { x.finish(); x.publish("M1", 2, second); x.later(0) }, want: first,
		},
		"and keeps it when it is complete itself": {
			play: func(x *table) { x.finish(); x.publish("M1", 2, second); x.finish() }, want: first,
		},
		"the third has the second then": {
			play: func(x *table) {
				x.finish()
				x.publish("M1", 2, second)
				x.finish()
				x.publish("M1", 3, third)
				x.later(0)
			},
			want: rollout.Fallback{Rollout: "r2-a1-22222222", Revision: 2, BundleName: "bundle-2", DocumentDigest: second},
		},
		"one that never completed is none": {
			play: func(x *table) {
				x.finish()
				x.publish("M1", 2, second)
				x.later(0)
				x.publish("M1", 3, third)
				x.later(0)
			},
			want: first,
		},
		"one that was aborted after it had completed is none": {
			play: func(x *table) {
				x.finish()
				x.publish("M1", 2, second)
				x.finish()
				x.command(rollout.OrderAbort, nil)
				x.publish("M1", 3, third)
				x.later(0)
			},
			want: first,
		},
		"another attempt is no way back from itself": {
			play: func(x *table) { x.finish(); x.retry(); x.command(rollout.OrderAbort, nil) },
		},
		"what Audit completed is none": {
			play: func(x *table) { x.audit = true; x.finish(); x.publish("M1", 2, second); x.later(0) },
		},
		"what was enforced stands while the pool is audited": {
			play: func(x *table) {
				x.finish()
				x.audit = true
				x.finish()
				x.publish("M1", 2, second)
				x.finish()
				x.audit = false
				x.later(0)
			},
			want: first,
		},
		"and is none when just that is aborted": {
			play: func(x *table) {
				x.finish()
				x.audit = true
				x.finish()
				x.audit = false
				x.later(0)
				x.command(rollout.OrderAbort, nil)
			},
		},
		"what is taken away is none": {
			play: func(x *table) {
				x.finish()
				x.publish("M1", 2, second)
				x.later(0)
				x.block(time.Time{})
				x.policy.Blocked = nil
				x.later(0)
			},
		},
		"a revision that comes while mitigations are disabled has the one before": {
			play: func(x *table) {
				x.finish()
				x.policy.Disabled = true
				x.later(0)
				x.publish("M1", 2, second)
				x.later(0)
				x.publish("M1", 3, third)
				x.later(0)
				x.policy.Disabled = false
				x.later(0)
			},
			want: first,
		},
		"what a manager without stages released is good": {
			play: func(x *table) { x.old(1); x.publish("M1", 2, second); x.later(0) },
			want: rollout.Fallback{Rollout: "r1-a1-33333333", Revision: 1, BundleName: "old", DocumentDigest: third},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			tc.play(x)
			if diff := gocmp.Diff(tc.want, x.entry().Rollout.Fallback); diff != "" {
				t.Errorf("the fallback differs (-want +got):\n%s\n%s", diff, x.log.String())
			}
		})
	}
}

func TestSupersededStaysUntilItsSuccessorIsInPlace(t *testing.T) {
	x := newTable(t)
	x.finish()
	decision := func() string { return fmt.Sprintf("%s %s", x.entry().Desired, x.entry().Reason) }
	old := x.mitigations[0]
	old.Lifecycle, old.SupersededBy = policy.LifecycleSuperseded, "m2"
	x.publish("M2", 1, second)
	x.mitigations[0] = old
	x.mitigations = append(x.mitigations[:1], x.mitigations[len(x.mitigations)-1])
	x.later(0)
	if got := decision(); got != "Hold Superseded" {
		t.Errorf("while M2 is rolled out, M1 is to %s, want Hold Superseded", got)
	}
	if got := x.entry().Transition.Action; got != rollout.Superseded {
		t.Errorf("the history tells %s of M1, want Superseded", got)
	}
	for range 3 {
		for _, h := range x.hosts {
			h.gates["m2"] = rollout.Gate{Rollout: x.plan[1].Rollout.ID, Verdict: rollout.GatePassed}
		}
		x.later(0)
	}
	if got := x.plan[1].Rollout.State; got != rollout.Complete {
		t.Fatalf("M2 is %s, want Complete", got)
	}
	if got := decision(); got != "Remove Superseded" {
		t.Errorf("when M2 is in place, M1 is to %s, want Remove Superseded", got)
	}
	// A later revision of M2 does not bring M1 back.
	x.publish("M2", 2, third)
	x.mitigations[0], x.mitigations[1] = old, x.mitigations[len(x.mitigations)-1]
	x.later(0)
	if got := decision(); got != "Remove Superseded" {
		t.Errorf("while M2 gets another revision, M1 is to %s, want Remove Superseded", got)
	}
}

func TestProgressOf(t *testing.T) {
	x := newTable(t)
	x.later(0)
	x.pass()
	names := released(x.pool)
	x.about("r1-a1-11111111", rollout.GateNotNeeded, names[1])
	x.about("r1-a1-11111111", rollout.GateBaking, names[2])
	x.about("r1-a1-11111111", rollout.GateFailed, names[3], "fe10", "fe09", "fe08", "fe07", "fe06", "fe05", "fe04", "fe03", "fe02")
	x.about("r0-a1-11111111", rollout.GateFailed, names[4])
	in := x.input(x.pool)
	got := rollout.ProgressOf(x.entry(), in.Servers)
	var want rollout.Progress
	want.Servers, want.Released = 10, 5
	for _, s := range in.Servers {
		switch gate := s.Gates["m1"]; {
		case gate.Rollout == "r1-a1-11111111" && gate.Verdict == rollout.GateFailed:
			want.Failed++
			want.Failing = append(want.Failing, s.Name)
		case !x.entry().Release.Includes(s.Name, "M1"):
		case gate.Rollout == "r1-a1-11111111" && gate.Verdict != rollout.GateBaking:
			want.Passed++
		default:
			want.Waiting++
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" || want.Failed == 0 || want.Waiting == 0 {
		t.Errorf("progress differs (-want +got):\n%s", diff)
	}
}

func TestNextLook(t *testing.T) {
	tests := map[string]struct {
		play func(x *table)
		want time.Time
	}{
		"at the deadline of a stage":            {play: func(x *table) { x.later(0) }, want: start.Add(610 * time.Second)},
		"at the end of a pause":                 {play: func(x *table) { x.settings.PausedUntil = start.Add(time.Minute); x.later(0) }, want: start.Add(time.Minute)},
		"when a block expires":                  {play: func(x *table) { x.block(start.Add(time.Hour)) }, want: start.Add(time.Hour)},
		"never, when it is complete":            {play: func(x *table) { x.finish() }},
		"never, when a person has to agree":     {play: func(x *table) { x.settings.Stages[0].Approval = rollout.ApprovalBefore; x.later(0) }},
		"never, when it is halted and all back": {play: func(x *table) { x.later(0); x.say(rollout.GateFailed, "fe01"); x.later(time.Second) }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			tc.play(x)
			if !x.next.Equal(tc.want) {
				t.Errorf("the next look is at %v, want %v", x.next, tc.want)
			}
		})
	}
}

// The words of what happened fit into the API, however many servers fail and however much they say.
func TestWordsAreCut(t *testing.T) {
	x := newTable(t)
	x.settings.Stages = nil
	x.settings.Profile = rollout.Emergency
	for i := range 200 {
		x.join(fmt.Sprintf("a-server-with-a-rather-long-name-in-a-domain-%03d.corp.contoso.example", i))
	}
	x.finishEmergencyStage()
	for _, h := range x.hosts {
		if x.entry().Release.Includes(h.name, "M1") {
			h.gates["m1"] = rollout.Gate{Rollout: x.entry().Rollout.ID, Verdict: rollout.GateFailed, Message: longText}
		}
	}
	x.later(0)
	e := x.entry()
	if e.Rollout.State != rollout.Halted || len(e.Rollout.Message) > 2048 || len(e.Transition.Message) > 512 || len(e.Transition.Message) < 200 {
		t.Errorf("%s with a message of %d bytes and a transition of %d", e.Rollout.State, len(e.Rollout.Message), len(e.Transition.Message))
	}
}

const longText = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

func (x *table) finishEmergencyStage() {
	x.t.Helper()
	x.later(0)
	x.pass()
}
