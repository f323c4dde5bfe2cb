package rollout_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/internal/schedule"
)

// The order in which managers and agents get to work does not matter to how a rollout ends.
func TestOutcomeDoesNotDependOnTheOrderOfWork(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(t)
		if seed > 0 {
			w.order = rand.New(rand.NewPCG(seed, 1))
		}
		p := w.pool("fe", 30)
		p.settings.Profile = rollout.Emergency
		w.publish("M1", 1, first)
		w.run(5 * time.Minute)
		w.fate = fails(2)
		w.publish("M1", 2, second)
		w.run(2 * time.Minute)
		if got := p.plan[0].Rollout; got.State != rollout.Halted || got.StageNumber != 1 {
			t.Errorf("seed %d: the bad revision is %s in stage %d, want halted in the first", seed, got.State, got.StageNumber)
		}
		w.publish("M1", 3, third)
		w.run(5 * time.Minute)
		if got := p.plan[0].Rollout; got.State != rollout.Complete {
			t.Errorf("seed %d: the corrected revision is %s (%s), want it complete\n%s", seed, got.State, got.Message, w.log.String())
		}
		for _, h := range p.hosts {
			if h.state["M1"].has.Revision != 3 {
				t.Errorf("seed %d: %s has revision %d, want 3", seed, h.name, h.state["M1"].has.Revision)
			}
		}
	}
}

// Whatever happens in between: every plan keeps the invariants, and when people leave the servers alone, everything comes to rest.
func TestRandomWorldsKeepTheInvariantsAndConverge(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			chaos := &chaos{world: newWorld(t), Rand: rand.New(rand.NewPCG(seed, 2)), verdicts: map[string]rollout.Verdict{}}
			chaos.order = chaos.Rand
			chaos.build()
			for range 70 {
				chaos.happen()
				chaos.turn()
			}
			chaos.calm()
			for range 400 {
				chaos.turn()
				if chaos.rests() {
					break
				}
			}
			chaos.judge()
		})
	}
}

// chaos is a world in which anything may happen.
type chaos struct {
	*world
	*rand.Rand

	revision int64
	verdicts map[string]rollout.Verdict
	backup   map[string][]byte
	joined   int
}

func (c *chaos) one(in int) bool { return c.IntN(in) == 0 }

func (c *chaos) build() {
	c.rings = []rollout.Ring{{Name: "test", Bake: 10 * time.Second}}
	for i := range 1 + c.IntN(2) {
		p := c.pool(string(rune('a'+i)), 1+c.IntN(24))
		p.ring, p.audit = i, c.one(8)
		for _, h := range p.hosts {
			h.labels = map[string]string{"canary": fmt.Sprint(c.one(6))}
		}
		c.settle(p)
	}
	c.fate = func(host string, what content) (rollout.Verdict, string) {
		key := fmt.Sprintf("%s %d", host, what.Revision)
		if _, ok := c.verdicts[key]; !ok {
			c.verdicts[key] = c.draw(what.Revision)
		}
		return c.verdicts[key], "a check does not come out well"
	}
	c.revision = 1
	c.publish("M1", 1, digest(1))
	c.publish("PING1", 1, digest(1))
}

// draw draws a verdict. One revision in four harms many servers.
func (c *chaos) draw(revision int64) rollout.Verdict {
	bad := 80
	if revision%4 == 2 {
		bad = 3
	}
	switch {
	case c.one(bad):
		return rollout.GateFailed
	case c.one(6):
		return []rollout.Verdict{"", rollout.GateInconclusive, rollout.GateNotNeeded}[c.IntN(3)]
	default:
		return rollout.GatePassed
	}
}

func digest(revision int64) string { return strings.Repeat(fmt.Sprintf("%08x", revision), 8) }

func (c *chaos) settle(p *pool) {
	maximum := c.IntN(3)
	p.settings = rollout.Settings{MaxFailures: &maximum, ProgressDeadline: time.Duration(10+c.IntN(60)) * time.Second}
	if c.one(3) {
		p.settings.OnFailure = rollout.FailureHold
	}
	if c.one(3) {
		p.settings.Profile = rollout.Emergency
	}
	if c.one(4) {
		return
	}
	for i := range 1 + c.IntN(5) {
		stage := rollout.Stage{Name: fmt.Sprintf("s%d", i), Bake: time.Duration(c.IntN(20)) * time.Second}
		switch c.IntN(4) {
		case 0:
			stage.Servers = rollout.Count(c.IntN(12))
		case 1:
			stage.ServerNames = []string{fmt.Sprintf("%s%02d", p.name, 1+c.IntN(24)), strings.ToUpper(p.name) + "01", "nobody"}
		case 2:
			stage.Servers, stage.Selects = rollout.Percent(c.IntN(101)), func(l map[string]string) bool { return l["canary"] == "true" }
		default:
			stage.Servers = rollout.Percent(c.IntN(101))
		}
		if c.one(8) {
			stage.Approval = []rollout.ApprovalPoint{rollout.ApprovalBefore, rollout.ApprovalAfter}[c.IntN(2)]
		}
		p.settings.Stages = append(p.settings.Stages, stage)
	}
}

// happen lets something happen, mostly little.
func (c *chaos) happen() {
	p := c.pools[c.IntN(len(c.pools))]
	switch c.IntN(24) {
	case 0, 1:
		c.joined++
		p.join(fmt.Sprintf("%sj%d", p.name, c.joined))
	case 2:
		if len(p.hosts) > 0 {
			p.leave(p.hosts[c.IntN(len(p.hosts))].name)
		}
	case 3, 4, 5:
		if len(p.hosts) > 0 {
			h := p.hosts[c.IntN(len(p.hosts))]
			h.away = !h.away
		}
	case 6, 7:
		c.revision++
		c.publish("M1", c.revision, digest(c.revision))
	case 8:
		p.policy.Blocked = []policy.Exception{{ID: []string{"M1", "M1.1", "PING1"}[c.IntN(3)], Reason: "x", Expiry: c.now.Add(time.Duration(c.IntN(60)) * time.Second)}}
	case 9:
		p.policy.Suspended = c.one(2)
	case 10:
		p.policy.Disabled = c.one(2)
	case 11, 12, 13:
		c.command(p)
	case 14:
		p.policy.Approved = []policy.Approval{{ID: "M1", Reason: "x", Owner: "jo", Expiry: c.now.Add(30 * time.Second)}}
	case 15:
		p.settings.Paused = c.one(2)
	case 16:
		if c.one(3) {
			c.settle(p)
		}
	case 17:
		if c.one(3) {
			p.audit = !p.audit
		}
	case 18:
		c.restore()
	case 19:
		p.settings.Windows = []schedule.Set{{{Policy: schedule.Deny, Cron: "*/3 * * * *", TimeZone: "UTC", Duration: time.Minute}}}
	case 20:
		if c.one(6) {
			p.hosts = nil
		}
	case 21:
		c.restart(p)
	case 22:
		p.unmanaged = !p.unmanaged
	}
}

// restart lets a host forget what it was about.
func (c *chaos) restart(p *pool) {
	if len(p.hosts) > 0 {
		for _, s := range p.hosts[c.IntN(len(p.hosts))].state {
			s.rollout = ""
		}
	}
}

func (c *chaos) command(p *pool) {
	action := []rollout.OrderAction{rollout.OrderPause, rollout.OrderPromote, rollout.OrderRetry, rollout.OrderAbort}[c.IntN(4)]
	order := rollout.Order{ID: "m1", Revision: c.revision, Action: action, Reason: "x", Owner: "jo"}
	if action == rollout.OrderPromote {
		order.Stage = []string{"", "s0", "s1", "s2", "first", "unknown"}[c.IntN(6)]
	}
	if action == rollout.OrderRetry {
		order.Attempt = 2 + c.IntN(4)
	}
	p.settings.Orders = nil
	if !c.one(4) {
		p.settings.Orders = []rollout.Order{order}
	}
}

// restore puts all plans back to an older copy, or takes the copy.
func (c *chaos) restore() {
	if c.backup == nil {
		c.backup = map[string][]byte{}
		for _, p := range c.pools {
			c.backup[p.name] = p.stored
		}
		return
	}
	for _, p := range c.pools {
		p.stored = c.backup[p.name]
	}
	c.backup = nil
	// What was stopped after the copy is known to nobody any more, unless a server says so.
	clear(c.stopped)
}

// calm ends everything that could hold a rollout, except what needs an order.
func (c *chaos) calm() {
	for _, p := range c.pools {
		p.policy = policy.Pool{Approved: []policy.Approval{{ID: "M1", Reason: "x"}, {ID: "PING1", Reason: "x"}}}
		p.settings.Orders, p.settings.Paused, p.settings.Windows, p.unmanaged = nil, false, nil, false
		for _, h := range p.hosts {
			h.away = false
		}
	}
	for key, verdict := range c.verdicts {
		if verdict == "" || verdict == rollout.GateInconclusive {
			c.verdicts[key] = rollout.GatePassed
		}
	}
	fated := c.fate
	c.fate = func(host string, what content) (rollout.Verdict, string) {
		verdict, message := fated(host, what)
		if verdict != rollout.GateFailed && verdict != rollout.GateNotNeeded {
			return rollout.GatePassed, ""
		}
		return verdict, message
	}
}

func (c *chaos) rests() bool {
	for _, p := range c.pools {
		for _, e := range p.plan {
			if s := e.Rollout.State; s == rollout.Progressing || s == rollout.Paused || s == rollout.Waiting && e.Rollout.Reason != policy.HaltedElsewhere && !c.blockedRing(p, e) {
				return false
			}
		}
	}
	return true
}

// blockedRing reports whether a pool waits for one that is stopped.
func (c *chaos) blockedRing(p *pool, e rollout.Entry) bool {
	return e.Rollout.Reason == policy.AwaitingRing && slices.ContainsFunc(c.pools, func(other *pool) bool {
		return other.ring < p.ring && slices.ContainsFunc(other.plan, func(o rollout.Entry) bool {
			return o.ID == e.ID && (o.Rollout.State == rollout.Aborted || o.Rollout.State == rollout.Halted)
		})
	})
}

// judge looks at the world at rest.
func (c *chaos) judge() {
	if !c.rests() {
		c.t.Fatalf("nothing comes to rest:\n%s", c.log.String())
	}
	c.run(30 * time.Second)
	for _, p := range c.pools {
		for _, e := range p.plan {
			for _, h := range p.hosts {
				c.judgeHost(p, h, e)
			}
		}
	}
}

func (c *chaos) judgeHost(p *pool, h *host, e rollout.Entry) {
	identity, _ := rollout.ParseID(e.Rollout.ID)
	s := h.state[e.ID]
	current := s.has == content{Revision: identity.Revision, Content: identity.Content}
	switch state := e.Rollout.State; {
	case p.audit:
	case state == rollout.Complete && !current && s.failed[e.Rollout.ID] == "":
		c.t.Errorf("%s is complete, and %s has revision %d:\n%s", e.Rollout.ID, h.name, s.has.Revision, c.log.String())
	case state == rollout.Aborted && current:
		c.t.Errorf("%s is aborted, and %s has it:\n%s", e.Rollout.ID, h.name, c.log.String())
	case state == rollout.Halted && e.Rollout.Unreleased == rollout.Revert && current && !e.Release.Includes(h.name, e.ID):
		c.t.Errorf("%s is halted, and %s has it:\n%s", e.Rollout.ID, h.name, c.log.String())
	case current && s.failed[e.Rollout.ID] != "":
		c.t.Errorf("%s failed on %s, and it has it:\n%s", e.Rollout.ID, h.name, c.log.String())
	}
}
