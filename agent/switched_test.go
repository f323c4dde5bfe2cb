package agent

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/lastpass"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/internal/policy"
)

func (f *fleet) change(change func(*switches.Switches) error) {
	f.Helper()
	if err := switches.Open(f.stateDir).Change(f.Context(), change); err != nil {
		f.Fatal(err)
	}
}

func used() switches.Use { return switches.Use{By: "alice", Time: now, Reason: "login fails"} }

func TestTheKillSwitchOfTheServerNeedsNoCluster(t *testing.T) {
	f := newFleet(t)
	original := f.config()
	f.want(f.publish(1, 1))
	f.pass()
	f.wantInPlace()
	var events []eventlog.ID
	f.loop.announcer.write = func(id eventlog.ID, _ string) { events = append(events, id) }

	f.away = true
	f.change(func(s *switches.Switches) error { return s.Throw(used()) })
	f.pass()
	if !bytes.Equal(f.config(), original) {
		t.Error("the configuration is not what it was before the mitigation")
	}
	f.restart() // it stays off over a restart
	f.away = false
	f.pass()
	if !bytes.Equal(f.config(), original) {
		t.Error("the mitigation came back with the cluster")
	}
	if got := f.last; got.Switches == nil || got.Switches.KillSwitch == nil || got.Switches.KillSwitch.By != "alice" {
		t.Errorf("the kill switch is not reported: %+v", got.Switches)
	}
	f.wantReport(enforce.Removed, "BlockedOnServer", 0)
	if !slices.Contains(events, eventlog.KillSwitchOn) {
		t.Errorf("events %v, want one of the kill switch", events)
	}

	f.loop.announcer.write = func(id eventlog.ID, _ string) { events = append(events, id) }
	f.change(func(s *switches.Switches) error { return s.TakeBack(used()) })
	f.pass()
	f.wantInPlace()
	if !slices.Contains(events, eventlog.KillSwitchOff) {
		t.Errorf("events %v, want one of the kill switch that was taken back", events)
	}
}

func TestABlockAtTheServerEndsByTheClock(t *testing.T) {
	f := newFleet(t)
	f.want(f.publish(1, 1))
	f.change(func(s *switches.Switches) error {
		return s.Block(switches.Block{ID: "M1", Use: used(), Expires: now.Add(time.Hour)})
	})
	next := f.loop.pass(t.Context())
	f.wantReport(enforce.Removed, "BlockedOnServer", 0)
	if !next.Equal(now.Add(time.Hour)) {
		t.Errorf("the next pass is due at %v, want the end of the block", next)
	}
	f.clock.SetTime(now.Add(time.Hour))
	f.pass()
	f.wantInPlace()
}

// damage spoils the file of the switches, and the copy of it if that is asked for.
func (f *fleet) damage(copies bool) (file string) {
	f.Helper()
	file = switches.Open(f.stateDir).Path()
	files := []string{file}
	if copies {
		files = append(files, strings.Replace(file, "switches.json", "switches.last.json", 1))
	}
	for _, name := range files {
		if err := os.WriteFile(name, []byte("{"), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	return file
}

func (f *fleet) wantUnusable(file string) {
	f.Helper()
	if p := f.last.Problem; p == nil || p.Reason != enforce.ReasonSwitchesUnusable || !strings.Contains(p.Message, file) {
		f.Errorf("problem %+v, want one with the file", p)
	}
}

func TestDamagedSwitchesCountAsTheyLastWere(t *testing.T) {
	f := newFleet(t)
	original := f.config()
	f.want(f.publish(1, 1))
	f.change(func(s *switches.Switches) error { return s.Throw(used()) })
	f.pass()
	file := f.damage(false)
	f.restart()
	f.want(f.publish(2, 2))
	f.pass()
	if !bytes.Equal(f.config(), original) {
		t.Error("the mitigation came back because a file was damaged")
	}
	f.wantUnusable(file)
	if got := f.last.Switches; got == nil || got.KillSwitch == nil {
		t.Errorf("switches %+v are reported, want those that count", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	f.pass()
	f.wantReport(enforce.Applied, "Enabled", 2)
}

func TestTheKillSwitchOfTheClusterDoesNotNeedSwitchesOfTheServer(t *testing.T) {
	for name, copies := range map[string]bool{"with a copy": false, "without a copy": true} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t)
			original := f.config()
			f.want(f.publish(1, 1))
			f.pass()
			f.wantInPlace()
			f.change(func(s *switches.Switches) error { return s.AskRepair(used()) })
			f.pass()
			file := f.damage(copies)
			f.pass()
			f.wantInPlace()
			f.wantUnusable(file)

			f.plan.Entries[0].Decision = policy.Decision{Desired: policy.Remove, Reason: policy.Suspended}
			f.plan.Generation++
			f.pass()
			if !bytes.Equal(f.config(), original) {
				t.Error("the kill switch of the cluster was not obeyed")
			}
			f.wantReport(enforce.Removed, string(policy.Suspended), 0)
			f.wantUnusable(file)
		})
	}
}

func TestWithoutKnownSwitchesNothingIsPutInPlace(t *testing.T) {
	f := newFleet(t)
	original := f.config()
	f.change(func(s *switches.Switches) error { return s.Throw(used()) })
	file := f.damage(true)
	f.want(f.publish(1, 1))
	f.pass()
	if !bytes.Equal(f.config(), original) {
		t.Error("a mitigation was put in place that somebody at the server may not want")
	}
	f.wantUnusable(file)
	if f.last.Switches != nil {
		t.Error("switches are reported that nobody could read")
	}
}

func TestARepairAtTheServerIsAnsweredOnce(t *testing.T) {
	f := newFleet(t)
	f.want(f.publish(1, 1))
	f.pass()
	f.loop.histories["m1"] = enforce.History{Failed: []enforce.FailedRollout{{ID: "r1"}}}
	f.change(func(s *switches.Switches) error { return s.AskRepair(used()) })
	f.pass()
	if left := f.loop.histories["m1"].Failed; len(left) > 0 {
		t.Errorf("what failed was not forgiven: %v", left)
	}
	f.restart()
	f.pass()
	f.loop.histories["m1"] = enforce.History{Failed: []enforce.FailedRollout{{ID: "r2"}}}
	f.pass()
	if left := f.loop.histories["m1"].Failed; len(left) != 1 {
		t.Error("the same request was answered twice")
	}
}

// deafCluster answers nothing until the request is given up.
type deafCluster struct {
	*fleet

	asked chan struct{}
}

func (s deafCluster) Report(ctx context.Context, _ cluster.Report) error {
	close(s.asked)
	<-ctx.Done()
	return ctx.Err()
}

func TestTheKillSwitchDoesNotWaitForTheCluster(t *testing.T) {
	f := newFleet(t)
	f.want(f.publish(1, 1))
	deaf := deafCluster{f, make(chan struct{})}
	f.loop.control = deaf
	done := make(chan struct{})
	go func() { f.loop.pass(t.Context()); close(done) }()
	<-deaf.asked
	begun := time.Now()
	f.change(func(s *switches.Switches) error { return s.Throw(used()) })
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatalf("the pass goes on %v after the kill switch was thrown", time.Since(begun))
	}
}

func TestEachPassIsLeftForPeopleAtTheServer(t *testing.T) {
	f := newFleet(t)
	f.want(f.publish(1, 1))
	f.pass()
	p, err := lastpass.Read(f.stateDir)
	if err != nil || !p.At.Equal(now) || !p.Cluster.Heard || p.PlanGeneration != f.plan.Generation || len(p.Mitigations) != 1 || p.Mitigations[0].State != "Applied" {
		t.Errorf("%+v, %v", p, err)
	}
	f.away = true
	f.pass()
	if p, err = lastpass.Read(f.stateDir); err != nil || p.Cluster.Heard {
		t.Errorf("%+v, %v", p, err)
	}
}
