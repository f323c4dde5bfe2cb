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

func TestDamagedSwitchesChangeNothing(t *testing.T) {
	f := newFleet(t)
	f.want(f.publish(1, 1))
	f.pass()
	f.wantInPlace()
	f.change(func(s *switches.Switches) error { return s.Throw(used()) })
	file := switches.Open(f.stateDir).Path()
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.want(f.publish(2, 2))
	f.pass()
	f.wantInPlace()
	if p := f.last.Problem; p == nil || p.Reason != enforce.ReasonSwitchesUnusable || !strings.Contains(p.Message, file) {
		t.Errorf("problem %+v, want one with the file", p)
	}
	if f.last.Switches != nil {
		t.Error("switches are reported that nobody could read")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	f.pass()
	f.wantReport(enforce.Applied, "Enabled", 2)
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
