package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/eventlog"
	"mitigation.dev/ems/agent/lastpass"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/version"
)

// readSwitches reads what people said at the server, and tells of what became different. If it cannot be read, what was last
// read counts: then both are returned, or only the error if nothing is known.
func (l *loop) readSwitches() (*switches.Switches, error) {
	now, err := l.switches.Read()
	l.logOnce(&l.switchesProblem, err, "Switches of this server cannot be used", "Switches of this server can be used again")
	if err != nil {
		if last, ok := l.switches.Last(); ok {
			return &last, fmt.Errorf("%w; until then they count as they last were", err)
		}
		return nil, fmt.Errorf("%w; until then nothing is put in place, and what the plan removes is removed", err)
	}
	l.logOnce(&l.copyProblem, l.switches.Remember(now), "Switches of this server cannot be kept", "Switches of this server are kept again")
	was := l.switched
	l.switched = &now
	if was != nil && was.Equal(now) || was == nil && now.Equal(switches.Switches{}) {
		return &now, nil
	}
	did, by := "read at the start", ""
	if len(now.Recent) > 0 {
		did, by = now.Recent[0].Did, now.Recent[0].Use.String()
	}
	_, on := now.Kill()
	blocked := make([]string, 0, len(now.Blocked))
	for _, b := range now.Blocked {
		blocked = append(blocked, b.ID)
	}
	l.log.Info("Switches of this server", "did", did, "who", by, "killSwitch", on, "blocked", blocked)
	l.announceSwitches(was, now)
	return &now, nil
}

// withoutAdditions is a plan that only takes away, for a server of which nobody knows what people there do not want.
func withoutAdditions(plan *enforce.Plan) *enforce.Plan {
	if plan == nil {
		return nil
	}
	less := *plan
	less.Entries = slices.Clone(plan.Entries)
	for i := range less.Entries {
		if d := &less.Entries[i].Decision; d.Desired == policy.Apply {
			d.Desired, d.Reason = policy.Hold, policy.Reason(enforce.ReasonSwitchesUnusable)
		}
	}
	return &less
}

// announceSwitches tells administrators of the kill switch. Blocks are told of by what becomes of the mitigations.
func (l *loop) announceSwitches(was *switches.Switches, now switches.Switches) {
	if l.announcer.write == nil {
		return
	}
	wasOn := false
	if was != nil {
		_, wasOn = was.Kill()
	}
	switch use, on := now.Kill(); {
	case on && !wasOn:
		l.announcer.write(eventlog.KillSwitchOn, fmt.Sprintf("The kill switch of this server was thrown %s. Every mitigation is removed, and none is applied until it is taken back.", use))
	case wasOn && !on && len(now.Recent) > 0:
		l.announcer.write(eventlog.KillSwitchOff, fmt.Sprintf("The kill switch of this server was taken back (%s). The plan of the pool is followed again.", now.Recent[0].Use))
	}
}

// switchedNow reports whether somebody switched something since the pass began.
func (l *loop) switchedNow() bool {
	now, err := l.switches.Read()
	return err == nil && l.switched != nil && !now.Equal(*l.switched)
}

// whileNothingIsSwitched gives a context that ends when somebody switches something at the server: who throws the kill switch
// does not wait for a cluster that does not answer. stop has to be called.
func (l *loop) whileNothingIsSwitched(ctx context.Context) (going context.Context, stop func()) {
	going, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	changes := l.switches.Watch(going)
	watching.Go(func() {
		select {
		case <-going.Done():
		case <-changes:
			cancel()
		}
	})
	return going, func() { cancel(); watching.Wait() }
}

// repairHere answers a request of somebody at the server to look at everything anew, once for each.
func (l *loop) repairHere(asked *switches.Use) error {
	if asked == nil {
		return nil
	}
	request := asked.Time.UTC().Format(time.RFC3339) + " " + asked.By
	done, err := l.memory.RepairedHere()
	if err != nil || done == request {
		return err
	}
	l.log.Info("Everything is looked at anew, as somebody at the server asks", "who", asked.String())
	if err := l.lookAnew(); err != nil {
		return err
	}
	return l.memory.SaveRepairedHere(request)
}

// tellPass leaves what was found out for people at the server. clusterProblem is why it could not be reported.
func (l *loop) tellPass(r cluster.Report, clusterProblem error) {
	_, heard, err := l.control.Plan()
	p := lastpass.Pass{
		At: l.clock.Now().UTC().Truncate(time.Second), AgentVersion: version.Version, PlanGeneration: r.PlanGeneration,
		Cluster: lastpass.Cluster{Heard: heard && err == nil}, Mitigations: []lastpass.Mitigation{},
	}
	if clusterProblem != nil {
		p.Cluster.Problem = clusterProblem.Error()
	}
	if r.Problem != nil {
		p.Problem = r.Problem.Reason + ": " + r.Problem.Message
	}
	if r.Trust != nil && r.Trust.Err != nil {
		p.TrustProblem = r.Trust.Err.Error()
	}
	for _, m := range r.Results {
		p.Mitigations = append(p.Mitigations, lastpass.Mitigation{
			ID: m.ID, State: string(m.State), Reason: m.Reason, Message: m.Message, Revision: m.Revision, Effective: m.Effective, Gate: string(m.Gate.Verdict),
		})
	}
	slices.SortFunc(p.Mitigations, func(a, b lastpass.Mitigation) int {
		return strings.Compare(strings.ToLower(a.ID), strings.ToLower(b.ID))
	})
	l.logOnce(&l.passProblem, lastpass.Write(l.stateDir, p), "What the last pass found cannot be left for people at the server", "What passes find is left for people at the server again")
}

// either delivers when one of two channels does, until the context ends.
func either(ctx context.Context, a, b <-chan struct{}) <-chan struct{} {
	both := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-a:
			case <-b:
			}
			select {
			case both <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return both
}
