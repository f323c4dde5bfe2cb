package rollout_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	first  = "1111111111111111111111111111111111111111111111111111111111111111"
	second = "2222222222222222222222222222222222222222222222222222222222222222"
	third  = "3333333333333333333333333333333333333333333333333333333333333333"
)

// fails returns a fate in which the contents of some revisions harm every host.
func fails(revisions ...int64) fate {
	return func(_ string, c content) (rollout.Verdict, string) {
		if slices.Contains(revisions, c.Revision) {
			return rollout.GateFailed, "https://localhost/owa answers 500, and answered 200 before"
		}
		return rollout.GatePassed, ""
	}
}

func TestStories(t *testing.T) {
	stories := map[string]func(w *world){
		"emergency-over-fifty-servers":              emergencyStory,
		"bad-canary-halts-and-a-correction-follows": canaryStory,
		"five-corrections-in-a-row":                 correctionsStory,
		"approval-and-windows":                      approvalStory,
		"abort-of-a-complete-rollout-and-back":      abortStory,
		"memory-from-an-older-backup":               backupStory,
		"rings-with-a-halt-in-the-first":            ringsStory,
		"block-in-the-middle-and-unblock":           blockStory,
		"audit-then-enforce":                        auditStory,
		"servers-joining-leaving-and-returning":     comingAndGoingStory,
		"silent-server-pauses-and-goes-on":          silentStory,
		"promote-after-a-halt":                      promoteStory,
		"successor-that-halts-and-is-corrected":     successorStory,
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			story(w)
			golden(t, name, w.log.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.Split(strings.ReplaceAll(string(want), "\r\n", "\n"), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("the story differs (-want +got), -update writes it anew:\n%s", diff)
	}
}

func emergencyStory(w *world) {
	p := w.pool("fe", 50)
	p.settings.Profile = rollout.Emergency
	w.publish("M1", 1, first)
	p.hosts[17].away = true
	w.say("fe18 is silent")
	w.run(5 * time.Minute)
	w.census(p)
	p.hosts[17].away = false
	w.say("fe18 returns")
	w.run(time.Minute)
	w.census(p)
}

func canaryStory(w *world) {
	p := w.pool("fe", 50)
	p.settings.Profile = rollout.Emergency
	w.publish("M1", 1, first)
	w.run(3 * time.Minute)
	w.say("revision 2 is bad")
	w.publish("M1", 2, second)
	w.fate = fails(2)
	w.run(2 * time.Minute)
	w.census(p)
	w.say("revision 3 corrects it")
	w.publish("M1", 3, third)
	w.run(3 * time.Minute)
	w.census(p)
}

func correctionsStory(w *world) {
	p := w.pool("fe", 50)
	p.settings.Profile = rollout.Emergency
	w.fate = fails(2, 4)
	for revision := int64(1); revision <= 6; revision++ {
		w.publish("M1", revision, strings.Repeat(string(rune('0'+revision)), 64))
		w.run(40 * time.Second)
		w.census(p)
	}
	w.run(2 * time.Minute)
	w.census(p)
}

func approvalStory(w *world) {
	p := w.pool("fe", 10)
	p.settings.Profile = rollout.Manual
	p.settings.Windows = []schedule.Set{{{Policy: schedule.Allow, Cron: "0 17 * * *", TimeZone: "UTC", Duration: time.Hour}}}
	w.publish("M1", 1, first)
	w.run(time.Minute)
	w.say("the first stage is approved, and the window opens at 17:00")
	p.policy.Approved = []policy.Approval{{ID: "M1", Revision: 1, Stages: []string{"first"}, Reason: "looked at it", Owner: "web team"}}
	w.run(70 * time.Minute)
	w.say("everything is approved, after the window has closed")
	p.policy.Approved = []policy.Approval{{ID: "M1", Revision: 1, Reason: "change 4711", Owner: "change board"}}
	w.now = start.Add(135 * time.Minute)
	w.run(time.Minute)
	w.now = start.Add(25 * time.Hour)
	w.run(30 * time.Minute)
	w.census(p)
}

func abortStory(w *world) {
	p := w.pool("fe", 20)
	p.settings.Profile = rollout.Emergency
	w.publish("M1", 1, first)
	w.run(3 * time.Minute)
	w.publish("M1", 2, second)
	w.run(3 * time.Minute)
	w.census(p)
	w.say("a person aborts revision 2; fe05 is away")
	p.hosts[4].away = true
	p.settings.Orders = []rollout.Order{{ID: "M1", Revision: 2, Action: rollout.OrderAbort, Reason: "breaks calendars", Owner: "jo"}}
	w.run(time.Minute)
	w.census(p)
	p.hosts[4].away = false
	p.settings.Orders = nil
	w.say("the order is gone, and fe05 returns")
	w.run(time.Minute)
	w.census(p)
	w.say("a person tries again")
	p.settings.Orders = []rollout.Order{{ID: "M1", Revision: 2, Action: rollout.OrderRetry, Attempt: 2, Reason: "calendars were something else", Owner: "jo"}}
	w.run(3 * time.Minute)
	w.census(p)
}

func backupStory(w *world) {
	p := w.pool("fe", 20)
	p.settings.Profile = rollout.Emergency
	w.publish("M1", 1, first)
	w.run(3 * time.Minute)
	w.publish("M1", 2, second)
	w.run(time.Second)
	backup := p.stored
	w.run(20 * time.Second)
	p.settings.Orders = []rollout.Order{{ID: "M1", Revision: 2, Action: rollout.OrderRetry, Attempt: 2, Reason: "again", Owner: "jo"}}
	w.run(30 * time.Second)
	w.say("the plan is put back to a copy of attempt 1, and the order is lost")
	p.stored, p.settings.Orders = backup, nil
	w.run(3 * time.Minute)
	w.census(p)
}

func ringsStory(w *world) {
	w.rings = []rollout.Ring{{Name: "test", Bake: time.Minute, Approval: rollout.ApprovalAfter}, {Name: "production"}}
	for i, name := range []string{"te", "pa", "pb"} {
		p := w.pool(name, 5)
		p.ring = min(i, 1)
		p.settings.Stages = []rollout.Stage{{Name: "canary", Servers: rollout.Count(1), Bake: 10 * time.Second}, {Name: "all", Servers: rollout.Percent(100)}}
	}
	w.fate = fails(1)
	w.publish("M1", 1, first)
	w.run(time.Minute)
	w.say("revision 2 is good")
	w.publish("M1", 2, second)
	w.run(2 * time.Minute)
	w.say("the ring is approved")
	w.approved = []policy.Approval{{ID: "M1", Revision: 2, Stages: []string{"test"}, Reason: "fine on test", Owner: "release team"}}
	w.run(time.Minute)
	for _, p := range w.pools {
		w.census(p)
	}
}

func blockStory(w *world) {
	p := w.pool("fe", 20)
	p.settings.Profile = rollout.Emergency
	w.publish("M1", 1, first)
	w.run(30 * time.Second)
	w.say("somebody blocks M1 until 16:02:00")
	p.policy.Blocked = []policy.Exception{{ID: "M1", Reason: "ticket 1", Owner: "jo", Expiry: start.Add(2 * time.Minute)}}
	w.run(30 * time.Second)
	w.census(p)
	w.run(4 * time.Minute)
	w.census(p)
	w.say("M1.2 alone is blocked")
	p.policy.Blocked = []policy.Exception{{ID: "M1.2", Reason: "ticket 2", Owner: "jo"}}
	w.run(time.Minute)
	w.say("and no more")
	p.policy.Blocked = nil
	w.run(4 * time.Minute)
	w.say("the organisation suspends everything, then disables it, then neither")
	w.configurations = []policy.Configuration{{Name: "global", Suspended: true}}
	w.run(time.Minute)
	w.census(p)
	w.configurations = []policy.Configuration{{Name: "global", Disabled: true}}
	w.run(time.Minute)
	w.configurations = nil
	w.run(4 * time.Minute)
	w.census(p)
}

func auditStory(w *world) {
	p := w.pool("fe", 10)
	p.audit, p.settings.Profile = true, rollout.Emergency
	w.publish("M1", 1, first)
	w.run(4 * time.Minute)
	w.census(p)
	w.say("the pool goes over to Enforce")
	p.audit = false
	w.run(4 * time.Minute)
	w.census(p)
}

func comingAndGoingStory(w *world) {
	p := w.pool("fe", 10)
	p.settings.Profile = rollout.Fast
	w.publish("M1", 1, first)
	w.turn()
	canary := released(p)[0]
	w.say("the only released server leaves the pool: %s", canary)
	p.leave(canary)
	w.run(10 * time.Minute)
	w.say("twenty servers join, and the one that left returns")
	for i := range 20 {
		p.join("new" + string(rune('a'+i)))
	}
	p.join(canary)
	w.run(10 * time.Minute)
	w.census(p)
	w.say("revision 2 comes, and in its middle all servers leave")
	w.publish("M1", 2, second)
	w.run(4 * time.Minute)
	hosts := p.hosts
	p.hosts = nil
	w.run(5 * time.Minute)
	w.say("they return")
	p.hosts = hosts
	w.run(20 * time.Minute)
	w.census(p)
}

func released(p *pool) []string {
	var names []string
	for _, h := range p.hosts {
		if p.plan[0].Release.Includes(h.name, p.plan[0].ID) {
			names = append(names, h.name)
		}
	}
	return names
}

func silentStory(w *world) {
	p := w.pool("fe", 10)
	p.settings = rollout.Settings{
		ProgressDeadline: time.Minute,
		Stages: []rollout.Stage{
			{Name: "canary", ServerNames: []string{"fe03", "fe07"}, Bake: 30 * time.Second}, {Name: "half", Servers: rollout.Percent(50), Bake: 30 * time.Second},
		},
	}
	w.publish("M1", 1, first)
	p.hosts[6].away = true
	w.say("fe07 is silent")
	w.run(3 * time.Minute)
	p.hosts[6].away = false
	w.say("fe07 returns")
	w.run(30 * time.Second)
	w.say("a person pauses, and goes on two minutes later")
	p.settings.Orders = []rollout.Order{{ID: "M1", Revision: 1, Action: rollout.OrderPause, Reason: "lunch", Owner: "jo"}}
	w.run(2 * time.Minute)
	p.settings.Orders = nil
	w.run(3 * time.Minute)
	w.census(p)
}

func successorStory(w *world) {
	p := w.pool("fe", 20)
	p.settings.Profile = rollout.Emergency
	w.publish("M1", 1, first)
	w.run(3 * time.Minute)
	w.census(p)
	w.say("M2 replaces M1, and its first revision, 7, is bad")
	w.publish("M2", 7, second)
	w.supersede("M1", "M2")
	w.fate = fails(7)
	w.run(time.Minute)
	w.census(p)
	w.say("revision 8 of M2 is good")
	w.publish("M2", 8, third)
	w.run(70 * time.Second)
	w.census(p)
	w.run(2 * time.Minute)
	w.census(p)
}

func promoteStory(w *world) {
	p := w.pool("fe", 20)
	p.settings.Stages = []rollout.Stage{
		{Name: "canary", ServerNames: []string{"fe01"}, Bake: 10 * time.Second}, {Name: "tenth", Servers: rollout.Percent(10), Bake: 10 * time.Second},
		{Name: "half", Servers: rollout.Percent(50), Bake: 10 * time.Second},
	}
	w.fate = func(host string, _ content) (rollout.Verdict, string) {
		if host == "fe01" {
			return rollout.GateFailed, "service W3SVC does not run"
		}
		return rollout.GatePassed, ""
	}
	w.publish("M1", 1, first)
	w.run(time.Minute)
	w.say("a stage that there is not")
	p.settings.Orders = []rollout.Order{{ID: "M1", Revision: 1, Action: rollout.OrderPromote, Stage: "canari", Reason: "fe01 is broken anyway", Owner: "jo"}}
	w.run(30 * time.Second)
	w.say("%s", p.plan[0].Rollout.Message)
	p.settings.Orders[0].Stage = "canary"
	w.run(20 * time.Second)
	w.say("the order is taken out, and fe01 stays failed")
	p.settings.Orders = nil
	w.run(3 * time.Minute)
	w.census(p)
}
