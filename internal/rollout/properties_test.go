package rollout_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

// Whatever stands in the settings, the memory and the reports of servers, even what the API would not let in: a plan comes out
// within the limits of the API, the next look is to come, and planned again it is the same plan.
func TestNonsenseGivesAPlan(t *testing.T) {
	for seed := range uint64(2000) {
		n := nonsense{rand.New(rand.NewPCG(seed, 3))}
		in := n.input()
		plan := rollout.Make(in)
		if !plan.Next.IsZero() && !plan.Next.After(in.Now) {
			t.Fatalf("seed %d: the next look, %v, is not after %v", seed, plan.Next, in.Now)
		}
		stored, err := json.Marshal(plan.Entries)
		if err != nil {
			t.Fatal(err)
		}
		again := in
		again.Before = decode(t, stored)
		if diff := gocmp.Diff(plan.Entries, rollout.Make(again).Entries); diff != "" {
			t.Fatalf("seed %d: planned again, the plan differs:\n%s", seed, diff)
		}
		for _, e := range plan.Entries {
			if bad := outside(e); bad != "" {
				t.Fatalf("seed %d: %s: %s in %+v", seed, e.ID, bad, e.Rollout)
			}
		}
	}
}

// outside names a limit of the API that an entry breaks.
func outside(e rollout.Entry) string {
	r := e.Rollout
	switch {
	case len(e.Release.ServerNames) > 20:
		return "more than 20 names"
	case e.Release.Below < 0 || e.Release.Below > rollout.Everything:
		return "the cut-off is out of its limits"
	case len(e.Transition.Message) > 512 || len(e.Transition.By) > 256:
		return "the transition is too long"
	case r.ID == "":
		return ""
	case len(r.ID) > 64 || len(r.Message) > 2048:
		return "the id or the message is too long"
	case r.Attempt < 1 || r.Stages < 1 || r.StageNumber < 0 || r.State == "" || r.Reason == "" || r.StartTime.IsZero():
		return "a field is missing"
	case e.Desired == policy.Apply && r.StageNumber > r.Stages && r.State != rollout.Halted && r.State != rollout.Aborted:
		return "the stage is behind the last one"
	default:
		return ""
	}
}

type nonsense struct{ *rand.Rand }

func (n nonsense) text(texts ...string) string { return texts[n.IntN(len(texts))] }

func (n nonsense) time() time.Time {
	if n.IntN(3) == 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(n.IntN(7200)-3600) * time.Second)
}

func (n nonsense) input() rollout.Input {
	in := rollout.Input{
		Now: start.Add(time.Duration(n.IntN(2_000_000_000))), Audit: n.IntN(4) == 0, AuditBefore: n.IntN(4) == 0,
		Before: map[string]rollout.Entry{}, Rings: map[string]rollout.RingVerdict{},
		Pool: policy.Pool{Disabled: n.IntN(8) == 0, Suspended: n.IntN(8) == 0},
	}
	if n.IntN(4) == 0 {
		in.Pool.Blocked = []policy.Exception{{ID: n.text("M1", "M2", "M1.a"), Expiry: n.time()}}
	}
	if n.IntN(2) == 0 {
		in.Pool.Approved = []policy.Approval{{ID: n.text("M1", "M2"), Stages: []string{n.text("a", "b")}, Owner: strings.Repeat("o", n.IntN(400))}}
	}
	for _, id := range []string{"M1", "M2", "M3"} {
		in.Mitigations = append(in.Mitigations, rollout.Mitigation{
			Mitigation: policy.Mitigation{
				ID: id, ActionIDs: []string{"M1.a", "M1.b"}, Lifecycle: policy.Lifecycle(n.text("Active", "Active", "Superseded", "Withdrawn", "Odd")),
				SupersededBy: n.text("M1", "M2", "M3", "M4", ""),
			},
			Revision: int64(1 + n.IntN(3)), Content: n.text(first, second, ""), DocumentDigest: n.text(third, ""), Severity: n.text("Critical", "", "x"),
		})
		if n.IntN(5) > 0 {
			in.Before[strings.ToLower(id)] = n.memory(id)
		}
		if n.IntN(4) == 0 {
			in.Rings[strings.ToLower(id)] = rollout.RingVerdict{Open: n.IntN(2) == 0, Reason: policy.AwaitingRing, Message: "x", Next: n.time(), By: n.text("", "sam")}
		}
	}
	for i := range n.IntN(30) {
		s := rollout.Server{Name: fmt.Sprintf("%s%d", n.text("fe", "FE"), n.IntN(20)), Gates: map[string]rollout.Gate{}}
		for _, id := range []string{"m1", "m2", "m3"} {
			if n.IntN(3) > 0 {
				s.Gates[id] = rollout.Gate{Rollout: n.id(), Verdict: rollout.Verdict(n.text("Passed", "Failed", "Baking", "NotNeeded", "odd", "")), Message: strings.Repeat("ö", i*20)}
			}
		}
		in.Servers = append(in.Servers, s)
	}
	in.Settings = n.settings()
	return in
}

func (n nonsense) id() string {
	return n.text("", "nonsense", fmt.Sprintf("r%d-a%d-%s%s", 1+n.IntN(3), 1+n.IntN(4), n.text(first[:8], second[:8], third[:8], ""), n.text("", "", "-audit")),
		"r1-a100000-11111111")
}

func (n nonsense) memory(id string) rollout.Entry {
	e := rollout.Entry{
		Mitigation: rollout.Mitigation{Mitigation: policy.Mitigation{ID: id}, Revision: int64(1 + n.IntN(3)), BundleName: "b", DocumentDigest: third},
		Decision: policy.Decision{
			Desired: policy.Desired(n.text("Apply", "Apply", "Apply", "Remove", "Hold")), Reason: policy.Reason(n.text("Enabled", "BlockedByPool", "Suspended", "Superseded")),
			BlockedActions: []string{"M1.a"}[:n.IntN(2)], Until: n.time(),
		},
		Release: rollout.Release{Below: []int64{0, 1 << 20, rollout.Everything}[n.IntN(3)]},
	}
	for range n.IntN(25) {
		e.Release.ServerNames = append(e.Release.ServerNames, fmt.Sprintf("fe%d", n.IntN(40)))
	}
	if len(e.Release.ServerNames) > 20 {
		e.Release.ServerNames = e.Release.ServerNames[:20]
	}
	if n.IntN(6) == 0 {
		return e
	}
	e.Rollout = rollout.Rollout{
		ID: cmpOr(n.id(), "r1-a1-11111111"), Attempt: 1 + n.IntN(3),
		State:  rollout.State(n.text("Waiting", "Progressing", "Paused", "Halted", "Aborted", "Complete")),
		Reason: policy.Reason(n.text("AwaitingStage", "RolloutPaused", "RolloutStuck", "AwaitingRing")), Message: strings.Repeat("m", n.IntN(2049)),
		Stage: n.text("a", "b", "c", "gone", ""), StageNumber: n.IntN(6), Stages: 1 + n.IntN(6), StartTime: start, StageTime: n.time(), CompletionTime: n.time(),
		Unreleased: rollout.Unreleased(n.text("Keep", "Revert", "")), ForgivenFailures: n.IntN(3), Gate: rollout.Terms{Bake: time.Minute},
	}
	if n.IntN(2) == 0 {
		e.Rollout.Fallback = rollout.Fallback{Rollout: cmpOr(n.id(), "x"), Revision: 1, BundleName: "b", DocumentDigest: third}
	}
	if n.IntN(2) == 0 {
		e.Transition = rollout.Transition{Action: rollout.Action(n.text("Halted", "Aborted", "Published")), Time: n.time(), By: "EMS", Message: "m"}
	}
	return e
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (n nonsense) settings() rollout.Settings {
	maximum := n.IntN(8) - 3
	s := rollout.Settings{
		Profile: rollout.Profile(n.text("", "Emergency", "Fast", "Manual", "Odd")), MaxFailures: &maximum, ProgressDeadline: time.Duration(n.IntN(3)-1) * time.Minute,
		OnFailure: rollout.FailureAction(n.text("", "Revert", "Hold", "Odd")), Paused: n.IntN(6) == 0, PausedUntil: n.time(),
	}
	for range n.IntN(5) {
		stage := rollout.Stage{
			Name: n.text("a", "b", "c"), Servers: rollout.Amount{Said: n.IntN(2) == 0, Percent: n.IntN(2) == 0, Value: n.IntN(300) - 100},
			Bake: time.Duration(n.IntN(90)-30) * time.Second, Approval: rollout.ApprovalPoint(n.text("", "None", "Before", "After", "Odd")),
		}
		for range n.IntN(25) {
			stage.ServerNames = append(stage.ServerNames, fmt.Sprintf("Fe%d", n.IntN(40)))
		}
		if n.IntN(4) == 0 {
			stage.Selects = func(map[string]string) bool { return true }
		}
		s.Stages = append(s.Stages, stage)
	}
	for range n.IntN(3) {
		s.Orders = append(s.Orders, rollout.Order{
			ID: n.text("M1", "m2", "M3"), Revision: int64(n.IntN(4)), Action: rollout.OrderAction(n.text("Pause", "Promote", "Retry", "Abort", "Odd")),
			Stage: n.text("", "a", "c", "gone"), Attempt: n.IntN(200_000) - 100, Reason: strings.Repeat("r", n.IntN(3000)), Owner: strings.Repeat("o", n.IntN(300)),
		})
	}
	if n.IntN(3) == 0 {
		s.Windows = []schedule.Set{{{Policy: schedule.Policy(n.text("Allow", "Deny", "Odd")), Cron: n.text("*/5 * * * *", "0 2 * * *", "odd"), TimeZone: n.text("", "UTC", "Europe/Vienna", "Odd/Zone"), Duration: time.Minute}}}
	}
	return s
}
