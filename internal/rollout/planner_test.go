package rollout_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

// table is a pool of ten servers, fe01 to fe10, with stages of 1, 5 and all servers that bake 10 seconds each.
type table struct {
	*world
	*pool
}

func newTable(t *testing.T) *table {
	w := newWorld(t)
	p := w.pool("fe", 10)
	p.settings.Stages = []rollout.Stage{
		{Name: "one", ServerNames: []string{"fe01"}, Bake: 10 * time.Second}, {Name: "five", Servers: rollout.Count(5), Bake: 10 * time.Second},
		{Name: "all", Servers: rollout.Percent(100), Bake: 10 * time.Second},
	}
	w.publish("M1", 1, first)
	return &table{w, p}
}

func (x *table) entry() rollout.Entry { return x.plan[0] }

// later plans after some time.
func (x *table) later(d time.Duration) {
	x.t.Helper()
	x.now = x.now.Add(d)
	x.manage(x.pool)
}

// say lets servers report about the rollout that is planned, and plans.
func (x *table) say(verdict rollout.Verdict, names ...string) {
	x.t.Helper()
	x.about(x.entry().Rollout.ID, verdict, names...)
	x.later(0)
}

func (x *table) about(id string, verdict rollout.Verdict, names ...string) {
	for _, h := range x.hosts {
		for _, name := range names {
			if h.name == name {
				h.gates["m1"] = rollout.Gate{Rollout: id, Verdict: verdict, Message: "because of " + name}
			}
		}
	}
}

// pass lets all released servers pass.
func (x *table) pass() {
	x.t.Helper()
	x.say(rollout.GatePassed, released(x.pool)...)
}

func (x *table) command(action rollout.OrderAction, change func(*rollout.Order)) {
	x.t.Helper()
	order := rollout.Order{ID: "m1", Revision: x.entry().Revision, Action: action, Reason: "ticket 7", Owner: "jo"}
	if change != nil {
		change(&order)
	}
	x.settings.Orders = []rollout.Order{order}
	x.later(0)
}

func (x *table) summary() string {
	e := x.entry()
	r := e.Rollout
	if r.ID == "" {
		return fmt.Sprintf("%s %s, no rollout, %d released; %s", e.Desired, e.Reason, len(released(x.pool)), e.Transition.Action)
	}
	return fmt.Sprintf("%s: %s %s, %s %d/%d, %d released, %s; %s by %s", r.ID, r.State, r.Reason, cmp.Or(r.Stage, "-"), r.StageNumber, r.Stages,
		len(released(x.pool)), r.Unreleased, e.Transition.Action, e.Transition.By)
}

func TestPlanner(t *testing.T) {
	tests := map[string]struct {
		play func(x *table)
		want string
		// wantMessage is part of the rollout's message.
		wantMessage string
	}{
		"a new mitigation begins with its first stage": {
			play: func(x *table) { x.later(0) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"a stage waits for a server that is baking": {
			play: func(x *table) { x.later(0); x.say(rollout.GateBaking, "fe01") },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"when all of a stage have passed the next one begins": {
			play: func(x *table) { x.later(0); x.pass() },
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
		"a server that does not need it passes": {
			play: func(x *table) { x.later(0); x.say(rollout.GateNotNeeded, "fe01") },
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
		"what a server says of another rollout is nothing": {
			play: func(x *table) { x.later(0); x.about("r1-a1-22222222", rollout.GatePassed, "fe01"); x.later(0) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"when all have passed the last stage it is complete": {
			play: func(x *table) { x.later(0); x.pass(); x.pass(); x.pass() },
			want: "r1-a1-11111111: Complete RolloutComplete, all 3/3, 10 released, Keep; Completed by EMS",
		},
		"one failure halts it, and the stage goes back": {
			play:        func(x *table) { x.later(0); x.pass(); x.say(rollout.GateFailed, released(x.pool)[4]) },
			want:        "r1-a1-11111111: Halted RolloutHalted, five 2/3, 1 released, Revert; Halted by EMS",
			wantMessage: `1 server failed in stage "five", where at most 0 may: fe`,
		},
		"a failure in the first stage leaves nobody": {
			play:        func(x *table) { x.later(0); x.say(rollout.GateFailed, "fe01") },
			want:        "r1-a1-11111111: Halted RolloutHalted, one 1/3, 0 released, Revert; Halted by EMS",
			wantMessage: "fe01 (because of fe01); a corrected revision",
		},
		"with Hold what is released stays": {
			play: func(x *table) {
				x.settings.OnFailure = rollout.FailureHold
				x.later(0)
				x.pass()
				x.say(rollout.GateFailed, released(x.pool)[4])
			},
			want: "r1-a1-11111111: Halted RolloutHalted, five 2/3, 5 released, Keep; Halted by EMS",
		},
		"as many failures as may be do not halt it, and are left out": {
			play: func(x *table) {
				one := 1
				x.settings.MaxFailures = &one
				x.later(0)
				x.say(rollout.GateFailed, "fe01")
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
		"a halted rollout stays so when the server passes after all": {
			play: func(x *table) {
				x.later(0)
				x.say(rollout.GateFailed, "fe01")
				x.say(rollout.GatePassed, "fe01")
				x.later(time.Hour)
			},
			want: "r1-a1-11111111: Halted RolloutHalted, one 1/3, 0 released, Revert; Halted by EMS",
		},
		"when nobody has it any more, a halted rollout is reverted": {
			play: func(x *table) { x.later(0); x.say(rollout.GateFailed, "fe01"); x.later(time.Second) },
			want: "r1-a1-11111111: Halted RolloutHalted, one 1/3, 0 released, Revert; Reverted by EMS",
		},
		"a failure after completion halts nothing": {
			play: func(x *table) { x.later(0); x.pass(); x.pass(); x.pass(); x.say(rollout.GateFailed, "fe03") },
			want: "r1-a1-11111111: Complete RolloutComplete, all 3/3, 10 released, Keep; Completed by EMS",
		},
		"a server without data is waited for until the deadline": {
			play: func(x *table) { x.later(0); x.say(rollout.GateInconclusive, "fe01"); x.later(609 * time.Second) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"and then the rollout is stuck": {
			play:        func(x *table) { x.later(0); x.say(rollout.GateInconclusive, "fe01"); x.later(610 * time.Second) },
			want:        "r1-a1-11111111: Paused RolloutStuck, one 1/3, 1 released, Keep; Stuck by EMS",
			wantMessage: `no verdict within 10m10s of stage "one" from fe01 (because of fe01)`,
		},
		"a server that joined late is not silent while it is baking": {
			play: func(x *table) { x.later(0); x.say(rollout.GateBaking, "fe01"); x.later(619 * time.Second) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"but it does not bake for ever": {
			play: func(x *table) { x.later(0); x.say(rollout.GateBaking, "fe01"); x.later(620 * time.Second) },
			want: "r1-a1-11111111: Paused RolloutStuck, one 1/3, 1 released, Keep; Stuck by EMS",
		},
		"an emergency waits for those that are baking, beside silent ones": {
			play: func(x *table) {
				x.settings.Profile = rollout.Emergency
				x.settings.Stages[0].ServerNames = []string{"fe01", "fe02"}
				x.later(0)
				x.say(rollout.GateBaking, "fe01")
				x.later(75 * time.Second)
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 2 released, Keep; Published by vendor",
		},
		"it goes on by itself when data comes": {
			play: func(x *table) { x.later(0); x.later(time.Hour); x.say(rollout.GatePassed, "fe01") },
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
		"an emergency goes on without data": {
			play: func(x *table) { x.settings.Profile = rollout.Emergency; x.later(0); x.later(70 * time.Second) },
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; WentOnWithoutData by EMS",
		},
		"not even an emergency goes past a failure": {
			play: func(x *table) {
				x.settings.Profile = rollout.Emergency
				x.later(0)
				x.pass()
				x.say(rollout.GateFailed, released(x.pool)[1])
				x.later(time.Hour)
			},
			want: "r1-a1-11111111: Halted RolloutHalted, five 2/3, 1 released, Revert; Reverted by EMS",
		},
		"an emergency ignores windows": {
			play: func(x *table) { x.settings.Profile = rollout.Emergency; x.deny(); x.later(0) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"others wait for a window": {
			play: func(x *table) { x.deny(); x.later(0) },
			want: "r1-a1-11111111: Waiting AwaitingWindow, - 0/3, 0 released, Keep; Published by vendor",
		},
		"a window that cannot be read is closed": {
			play: func(x *table) {
				x.settings.Windows = []schedule.Set{{{Policy: schedule.Allow, Cron: "sometimes", Duration: time.Hour}}}
				x.later(0)
			},
			want: "r1-a1-11111111: Waiting AwaitingWindow, - 0/3, 0 released, Keep; Published by vendor",
		},
		"a stage that has begun goes on outside of its window, and the next one waits": {
			play: func(x *table) { x.later(0); x.deny(); x.pass() },
			want: "r1-a1-11111111: Waiting AwaitingWindow, one 1/3, 1 released, Keep; Published by vendor",
		},
		"a paused rollout begins nothing": {
			play: func(x *table) { x.settings.Paused = true; x.later(0) },
			want: "r1-a1-11111111: Waiting RolloutPaused, - 0/3, 0 released, Keep; Published by vendor",
		},
		"a pause shows while servers are at work": {
			play:        func(x *table) { x.later(0); x.command(rollout.OrderPause, nil) },
			want:        "r1-a1-11111111: Paused RolloutPaused, one 1/3, 1 released, Keep; Paused by jo",
			wantMessage: "jo paused it: ticket 7",
		},
		"a pause does not hide a failure": {
			play: func(x *table) { x.later(0); x.settings.Paused = true; x.say(rollout.GateFailed, "fe01") },
			want: "r1-a1-11111111: Halted RolloutHalted, one 1/3, 0 released, Revert; Halted by EMS",
		},
		"a pause ends by itself at its time": {
			play: func(x *table) {
				x.later(0)
				x.settings.PausedUntil = start.Add(time.Minute)
				x.pass()
				x.later(time.Minute)
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
		"of several obstacles the first is named": {
			play: func(x *table) {
				x.settings.Paused = true
				x.settings.Stages[0].Approval = rollout.ApprovalBefore
				x.deny()
				x.later(0)
			},
			want:        "r1-a1-11111111: Waiting AwaitingApproval, - 0/3, 0 released, Keep; Published by vendor",
			wantMessage: `stage "one" asks for an approval`,
		},
		"an approval after a stage is asked when its servers have passed": {
			play:        func(x *table) { x.settings.Stages[0].Approval = rollout.ApprovalAfter; x.later(0); x.pass() },
			want:        "r1-a1-11111111: Waiting AwaitingApproval, one 1/3, 1 released, Keep; Published by vendor",
			wantMessage: `stage "one" asks for an approval`,
		},
		"an approval lets it go on, and is told": {
			play: func(x *table) {
				x.settings.Stages[0].Approval = rollout.ApprovalAfter
				x.later(0)
				x.pass()
				x.approve("one", time.Time{})
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; Approved by sam",
		},
		"an expired approval is none": {
			play: func(x *table) { x.settings.Stages[0].Approval = rollout.ApprovalBefore; x.approve("one", start) },
			want: "r1-a1-11111111: Waiting AwaitingApproval, - 0/3, 0 released, Keep; Published by vendor",
		},
		"a stage that adds nobody is passed over": {
			play: func(x *table) { x.settings.Stages[1].Servers = rollout.Percent(10); x.later(0); x.pass() },
			want: "r1-a1-11111111: Progressing AwaitingStage, all 3/3, 10 released, Keep; StageReleased by EMS",
		},
		"but its approval is asked": {
			play: func(x *table) {
				x.settings.Stages[1] = rollout.Stage{Name: "five", Servers: rollout.Percent(10), Approval: rollout.ApprovalAfter}
				x.later(0)
				x.pass()
			},
			want:        "r1-a1-11111111: Waiting AwaitingApproval, one 1/3, 1 released, Keep; Published by vendor",
			wantMessage: `stage "five" asks for an approval`,
		},
		"in a pool of one server nothing is left after the first stage": {
			play: func(x *table) { x.hosts = x.hosts[:1]; x.later(0); x.pass() },
			want: "r1-a1-11111111: Complete RolloutComplete, all 3/3, 1 released, Keep; Completed by EMS",
		},
		"a pool without servers is complete at once": {
			play: func(x *table) { x.hosts = nil; x.later(0) },
			want: "r1-a1-11111111: Complete RolloutComplete, all 3/3, 0 released, Keep; Published by vendor",
		},
		"unless a person has to agree": {
			play: func(x *table) { x.hosts = nil; x.settings.Stages[2].Approval = rollout.ApprovalBefore; x.later(0) },
			want: "r1-a1-11111111: Waiting AwaitingApproval, - 0/3, 0 released, Keep; Published by vendor",
		},
		"a pool that loses its servers waits for them": {
			play: func(x *table) { x.later(0); x.hosts = nil; x.later(time.Minute) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 0 released, Keep; Published by vendor",
		},
		"but not for ever": {
			play: func(x *table) { x.later(0); x.hosts = nil; x.later(time.Hour) },
			want: "r1-a1-11111111: Complete RolloutComplete, all 3/3, 0 released, Keep; Completed by EMS",
		},
		"a stage whose servers have all left is chosen anew": {
			play: func(x *table) { x.later(0); x.hosts = x.hosts[1:]; x.later(time.Minute) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; StageReleased by EMS",
		},
		"promote to a stage releases the one behind it": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderPromote, func(o *rollout.Order) { o.Stage = "one" })
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; Promoted by jo",
		},
		"the order does so once": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderPromote, func(o *rollout.Order) { o.Stage = "one" })
				x.later(time.Minute)
				x.say(rollout.GateFailed, released(x.pool)[4])
				x.later(0)
			},
			want:        "r1-a1-11111111: Halted RolloutHalted, five 2/3, 1 released, Revert; Halted by EMS",
			wantMessage: `the order to promote stage "one" has no effect: it halted in stage "five"`,
		},
		"promote without a stage completes, whatever stands against it": {
			play: func(x *table) {
				x.deny()
				x.settings.Paused = true
				x.later(0)
				x.command(rollout.OrderPromote, nil)
			},
			want: "r1-a1-11111111: Complete RolloutComplete, all 3/3, 10 released, Keep; Promoted by jo",
		},
		"promote of an attempt does not pass the one that begins after a block": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderPromote, func(o *rollout.Order) { o.Attempt = 1 })
				x.block(x.now.Add(time.Minute))
				x.later(0)
				x.later(2 * time.Minute)
			},
			want: "r1-a2-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; BlockExpired by EMS",
		},
		"promote clears a halt, and its failures do not count again": {
			play: func(x *table) {
				x.later(0)
				x.say(rollout.GateFailed, "fe01")
				x.command(rollout.OrderPromote, func(o *rollout.Order) { o.Stage = "one" })
				x.settings.Orders = nil
				x.later(0)
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Revert; Promoted by jo",
		},
		"but the next failure does": {
			play: func(x *table) {
				x.later(0)
				x.say(rollout.GateFailed, "fe01")
				x.command(rollout.OrderPromote, func(o *rollout.Order) { o.Stage = "one" })
				for _, name := range released(x.pool) {
					if name != "fe01" {
						x.say(rollout.GateFailed, name)
						break
					}
				}
			},
			want: "r1-a1-11111111: Halted RolloutHalted, five 2/3, 1 released, Revert; Halted by EMS",
		},
		"promote to a stage that there is not has no effect": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderPromote, func(o *rollout.Order) { o.Stage = "two" })
			},
			want:        "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
			wantMessage: `the order to promote stage "two" has no effect: there is no such stage`,
		},
		"an order about another revision has no effect": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderAbort, func(o *rollout.Order) { o.Revision = 2 })
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"abort takes it back": {
			play:        func(x *table) { x.later(0); x.command(rollout.OrderAbort, nil) },
			want:        "r1-a1-11111111: Aborted RolloutAborted, one 1/3, 0 released, Revert; Aborted by jo",
			wantMessage: "jo aborted it: ticket 7; an order with action Retry and attempt 2 begins it anew",
		},
		"an aborted rollout stays so without the order": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderAbort, nil)
				x.settings.Orders = nil
				x.later(time.Hour)
			},
			want: "r1-a1-11111111: Aborted RolloutAborted, one 1/3, 0 released, Revert; Reverted by EMS",
		},
		"and is not promoted": {
			play: func(x *table) { x.later(0); x.command(rollout.OrderAbort, nil); x.command(rollout.OrderPromote, nil) },
			want: "r1-a1-11111111: Aborted RolloutAborted, one 1/3, 0 released, Revert; Aborted by jo",
		},
		"retry begins another attempt at the first stage": {
			play: func(x *table) { x.later(0); x.command(rollout.OrderAbort, nil); x.retry() },
			want: "r1-a2-11111111: Progressing AwaitingStage, one 1/3, 1 released, Revert; Retried by jo",
		},
		"an attempt that has begun is not begun again": {
			play: func(x *table) { x.later(0); x.say(rollout.GateFailed, "fe01"); x.retry(); x.pass(); x.retry() },
			want: "r1-a2-11111111: Progressing AwaitingStage, five 2/3, 5 released, Revert; StageReleased by EMS",
		},
		"another revision ends a halt": {
			play: func(x *table) {
				x.later(0)
				x.say(rollout.GateFailed, "fe01")
				x.publish("M1", 2, second)
				x.later(0)
			},
			want: "r2-a1-22222222: Progressing AwaitingStage, one 1/3, 1 released, Revert; Published by vendor",
		},
		"another content of one revision begins a rollout": {
			play: func(x *table) { x.later(0); x.publish("M1", 1, second); x.later(0) },
			want: "r1-a1-22222222: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by vendor",
		},
		"another document with the same content does not": {
			play: func(x *table) {
				x.later(0)
				x.pass()
				x.mitigations[0].DocumentDigest, x.mitigations[0].BundleName = third, "other"
				x.later(0)
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
		"another mode begins a rollout": {
			play: func(x *table) { x.later(0); x.audit = true; x.later(0) },
			want: "r1-a2-11111111-audit: Progressing AwaitingStage, one 1/3, 1 released, Keep; Published by EMS",
		},
		"a block goes to all at once": {
			play: func(x *table) { x.later(0); x.block(start.Add(time.Hour)) },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 10 released, Keep; Blocked by sam",
		},
		"when it expires, the mitigation comes back in stages": {
			play: func(x *table) {
				x.later(0)
				x.pass()
				x.pass()
				x.pass()
				x.block(start.Add(time.Hour))
				x.later(time.Hour)
			},
			want: "r1-a2-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; BlockExpired by EMS",
		},
		"a halted rollout is halted after a block, too": {
			play: func(x *table) {
				x.later(0)
				x.say(rollout.GateFailed, "fe01")
				x.block(start.Add(time.Hour))
				x.policy.Blocked = nil
				x.later(0)
			},
			want: "r1-a1-11111111: Halted RolloutHalted, one 1/3, 0 released, Revert; Unblocked by EMS",
		},
		"an aborted one is aborted": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderAbort, nil)
				x.policy.Suspended = true
				x.later(0)
				x.policy.Suspended = false
				x.later(0)
			},
			want: "r1-a1-11111111: Aborted RolloutAborted, one 1/3, 0 released, Revert; Unsuspended by EMS",
		},
		"while mitigations are disabled the rollout is frozen": {
			play: func(x *table) { x.later(0); x.policy.Disabled = true; x.pass() },
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Disabled by EMS",
		},
		"when they are enabled it goes on, and silence meanwhile does not count": {
			play: func(x *table) {
				x.later(0)
				x.policy.Disabled = true
				x.later(time.Hour)
				x.policy.Disabled = false
				x.later(time.Hour)
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Enabled by EMS",
		},
		"what was taken away while suspended comes back in stages, even by way of disabled": {
			play: func(x *table) {
				x.later(0)
				x.pass()
				x.pass()
				x.pass()
				for _, p := range []policy.Pool{{Suspended: true}, {Disabled: true}, {}} {
					x.policy = p
					x.later(0)
				}
			},
			want: "r1-a2-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Enabled by EMS",
		},
		"a mitigation that was never released has nothing to roll back": {
			play: func(x *table) { x.policy.Disabled = true; x.later(0) },
			want: "Hold MitigationsDisabled, no rollout, 0 released; ",
		},
		"an action that was blocked comes back in stages": {
			play: func(x *table) {
				x.policy.Blocked = []policy.Exception{{ID: "M1.2", Reason: "ticket 7"}}
				x.later(0)
				x.pass()
				x.policy.Blocked = nil
				x.later(0)
			},
			want: "r1-a2-11111111: Progressing AwaitingStage, one 1/3, 1 released, Keep; Unblocked by EMS",
		},
		"what a manager without stages released is complete": {
			play: func(x *table) { x.old(1); x.later(0) },
			want: "r1-a1-11111111: Complete RolloutComplete, all 3/3, 10 released, Keep;  by ",
		},
		"servers that speak of a later attempt are believed": {
			play: func(x *table) { x.later(0); x.about("r1-a4-11111111", rollout.GatePassed, "fe01"); x.later(0) },
			want: "r1-a4-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
		"and so are their failures, released or not": {
			play: func(x *table) { x.later(0); x.about("r1-a4-11111111", rollout.GateFailed, "fe09"); x.later(0) },
			want: "r1-a4-11111111: Halted RolloutHalted, one 1/3, 0 released, Revert; Halted by EMS",
		},
		"servers of a lost memory are believed, too": {
			play: func(x *table) { x.about("r1-a2-11111111", rollout.GatePassed, "fe01"); x.later(0) },
			want: "r1-a2-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; Published by vendor",
		},
		"a clock that goes back does not lengthen a stage": {
			play: func(x *table) {
				x.now = start.Add(365 * 24 * time.Hour)
				x.later(0)
				x.now = start
				x.later(0)
				x.later(610 * time.Second)
			},
			want: "r1-a1-11111111: Paused RolloutStuck, one 1/3, 1 released, Keep; Stuck by EMS",
		},
		"stages may be taken out in the middle: the last one still begins like any": {
			play: func(x *table) {
				x.later(0)
				x.pass()
				x.settings.Stages = x.settings.Stages[2:]
				x.later(0)
				x.pass()
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, all 1/1, 10 released, Keep; StageReleased by EMS",
		},
		"one that is taken out stays what it was until its servers have passed": {
			play: func(x *table) { x.later(0); x.pass(); x.settings.Stages = x.settings.Stages[2:]; x.later(0) },
			want: "r1-a1-11111111: Progressing AwaitingStage, five 1/1, 5 released, Keep; StageReleased by EMS",
		},
		"what comes next then is the first stage that adds a server": {
			play: func(x *table) {
				x.later(0)
				x.settings.Stages = append([]rollout.Stage{{Name: "two", Servers: rollout.Count(2)}, {Name: "three", Servers: rollout.Count(3)}}, x.settings.Stages[2])
				x.pass()
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, two 1/3, 2 released, Keep; StageReleased by EMS",
		},
		"an order about a stage before does not end a halt in a stage that was renamed": {
			play: func(x *table) {
				x.later(0)
				x.command(rollout.OrderPromote, func(o *rollout.Order) { o.Stage = "five" })
				x.settings.Stages[2].Name = "everybody"
				x.say(rollout.GateFailed, "fe07")
				x.later(0)
			},
			want: "r1-a1-11111111: Halted RolloutHalted, all 3/3, 5 released, Revert; Halted by EMS",
		},
		"one that is taken out and whose servers have left begins like the first": {
			play: func(x *table) {
				x.later(0)
				x.hosts, x.settings.Stages = x.hosts[1:], x.settings.Stages[1:]
				x.deny()
				x.later(0)
			},
			want: "r1-a1-11111111: Waiting AwaitingWindow, one 1/2, 0 released, Keep; Published by vendor",
		},
		"stages may become smaller in the middle: a stage never shrinks": {
			play: func(x *table) {
				x.later(0)
				x.pass()
				x.settings.Stages[1].Servers = rollout.Count(2)
				x.later(time.Second)
			},
			want: "r1-a1-11111111: Progressing AwaitingStage, five 2/3, 5 released, Keep; StageReleased by EMS",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			x := newTable(t)
			tc.play(x)
			if got := x.summary(); got != tc.want {
				t.Errorf("the plan is\n%s, want\n%s\n%s", got, tc.want, x.log.String())
			}
			if got := x.entry().Rollout.Message; !strings.Contains(got, tc.wantMessage) {
				t.Errorf("the message is %q, want %q in it", got, tc.wantMessage)
			}
		})
	}
}

// deny closes every window of this day.
func (x *table) deny() {
	x.settings.Windows = []schedule.Set{{{Policy: schedule.Deny, Cron: "0 0 * * *", TimeZone: "UTC", Duration: 24 * time.Hour}}}
}

func (x *table) approve(stage string, expiry time.Time) {
	x.t.Helper()
	x.configurations = []policy.Configuration{{Name: "global", Approved: []policy.Approval{
		{ID: "M1", Revision: 1, Stages: []string{stage}, Reason: "looks good", Owner: "sam", Expiry: expiry},
	}}}
	x.later(0)
}

func (x *table) block(until time.Time) {
	x.t.Helper()
	x.policy.Blocked = []policy.Exception{{ID: "M1", Reason: "ticket 7", Owner: "sam", Expiry: until}}
	x.later(0)
}

// retry orders the second attempt.
func (x *table) retry() {
	x.t.Helper()
	x.command(rollout.OrderRetry, func(o *rollout.Order) { o.Attempt = 2 })
}

// old stores a plan as managers without stages wrote it.
func (x *table) old(revision int64) {
	x.stored = fmt.Appendf(nil, `[{"ID": "M1", "Revision": %d, "Desired": "Apply", "Reason": "Enabled", "BundleName": "old", "DocumentDigest": %q, "Release": {"Below": %d}}]`,
		revision, third, rollout.Everything)
}
