package policytest

import (
	"slices"
	"time"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/schedule"
)

// Begin is when each case begins, a Thursday afternoon.
var Begin = time.Date(2026, time.May, 14, 16, 0, 0, 0, time.UTC)

// The answers that cases want, by the words of the specification.
var (
	applied     = Answer{policy.Apply, policy.Enabled}
	byPool      = Answer{policy.Remove, policy.BlockedByPool}
	byOrg       = Answer{policy.Remove, policy.BlockedByOrganization}
	suspended   = Answer{policy.Remove, policy.Suspended}
	heldOff     = Answer{policy.Hold, policy.MitigationsDisabled}
	removedOff  = Answer{policy.Remove, policy.MitigationsDisabled}
	withdrawn   = Answer{policy.Remove, policy.Withdrawn}
	superseded  = Answer{policy.Remove, policy.Superseded}
	notNeeded   = Answer{policy.Remove, policy.NotApplicable}
	fixed       = Answer{policy.Remove, policy.FixedByUpdate}
	audited     = Answer{policy.Hold, policy.Audit}
	awaitsPlan  = Answer{policy.Hold, policy.AwaitingPlan}
	awaitsAgree = Answer{policy.Hold, policy.AwaitingApproval}
)

// Cases returns the table. Callers may change what they get.
func Cases() []Case {
	return slices.Concat(plainCases(), blockCases(), suspensionCases(), switchCases(), factCases(), approvalCases(), windowCases())
}

// base is the case that nothing stands against.
func base(name string) Case {
	return Case{
		Name:       name,
		Mitigation: policy.Mitigation{ID: "M1", ActionIDs: []string{"M1.1", "M1.2"}, Lifecycle: policy.LifecycleActive},
		Revision:   2,
		Pool:       policy.Pool{Name: Namespace + "/" + PoolName},
		Products:   []policy.Product{{Name: "ExchangeServer"}}, FeedProduct: "ExchangeServer",
		Facts: policy.Facts{Product: "ExchangeServer", Role: "Mailbox", Build: number("15.2.2562.37")},
	}
}

// with changes a case.
func (c Case) with(change func(*Case)) Case {
	change(&c)
	return c
}

// at adds a moment: every server does what the pool wants, windows are open, and nothing is approved.
func (c Case) at(after time.Duration, pool Answer, changes ...func(*Moment)) Case {
	m := Moment{At: Begin.Add(after), Pool: pool, Server: pool, Waiting: pool, Open: true}
	if pool == applied {
		m.Waiting = awaitsAgree
	}
	if c.Audit && pool != suspended {
		m.Server, m.Waiting = audited, audited
	}
	// A plan that nothing in has expired means what it meant.
	m.Stale = m.Server
	if len(c.Moments) > 0 {
		m.Stale = c.Moments[0].Server
	}
	for _, change := range changes {
		change(&m)
	}
	c.Moments = append(slices.Clip(c.Moments), m)
	return c
}

func stale(want Answer) func(*Moment) { return func(m *Moment) { m.Stale = want } }
func server(want Answer) func(*Moment) {
	return func(m *Moment) { m.Server, m.Waiting, m.Stale = want, want, want }
}
func without(actions ...string) func(*Moment) { return func(m *Moment) { m.BlockedActions = actions } }
func approved(m *Moment)                      { m.Approved = true }
func closed(m *Moment)                        { m.Open = false }
func entries(active, expired int) func(*Moment) {
	return func(m *Moment) { m.Active, m.Expired = active, expired }
}

// until is an exception that ends some time after Begin; 0 for one that does not end.
func until(id string, after time.Duration) policy.Exception {
	e := policy.Exception{ID: id, Reason: "breaks printing, CHG-4711", Owner: "mail team"}
	if after != 0 {
		e.Expiry = Begin.Add(after)
	}
	return e
}

func global(change func(*policy.Configuration)) []policy.Configuration {
	c := policy.Configuration{Name: "global"}
	change(&c)
	return []policy.Configuration{c}
}

// number reads a build of the table itself.
func number(text string) build.Number {
	n, err := build.Parse(text)
	if err != nil {
		panic(err) // the table's own text, which its test reads
	}
	return n
}

func plainCases() []Case {
	return []Case{
		base("nothing stands against it").at(0, applied).at(365*24*time.Hour, applied),
		base("the publisher withdrew it").with(func(c *Case) { c.Mitigation.Lifecycle = policy.LifecycleWithdrawn }).at(0, withdrawn),
		base("another mitigation replaces it").with(func(c *Case) {
			c.Mitigation.Lifecycle, c.Mitigation.SupersededBy = policy.LifecycleSuperseded, "M2"
		}).at(0, superseded),
		base("an audited pool is only looked at").with(func(c *Case) { c.Audit = true }).at(0, applied),
	}
}

func blockCases() []Case {
	const second = time.Second
	return []Case{
		base("a block of the pool ends at its expiry, and the server waits for a new plan").with(func(c *Case) {
			c.Pool.Blocked = []policy.Exception{until("M1", time.Hour)}
		}).
			at(0, byPool, entries(1, 0)).
			at(time.Hour-second, byPool, entries(1, 0)).
			at(time.Hour, applied, stale(awaitsPlan), entries(0, 1)).
			at(time.Hour+second, applied, stale(awaitsPlan), entries(0, 1)),
		base("a block without expiry stays").with(func(c *Case) { c.Pool.Blocked = []policy.Exception{until("M1", 0)} }).
			at(0, byPool, entries(1, 0)).at(3650*24*time.Hour, byPool, entries(1, 0)),
		base("a block that has expired before counts for nothing").with(func(c *Case) {
			c.Pool.Blocked = []policy.Exception{until("M1", -time.Hour)}
		}).at(0, applied, entries(0, 1)),
		base("the organisation's block is named before the pool's, which outlasts it").with(func(c *Case) {
			c.Configurations = global(func(g *policy.Configuration) { g.Blocked = []policy.Exception{until("M1", time.Hour)} })
			c.Pool.Blocked = []policy.Exception{until("M1", 2*time.Hour)}
		}).
			at(0, byOrg, entries(2, 0)).
			at(time.Hour, byPool, stale(byOrg), entries(1, 1)).
			at(2*time.Hour, applied, stale(awaitsPlan), entries(0, 2)),
		base("blocks of two configurations, the second without end").with(func(c *Case) {
			c.Configurations = []policy.Configuration{
				{Name: "global", Blocked: []policy.Exception{until("M1", time.Hour)}},
				{Name: "vienna", Blocked: []policy.Exception{until("M1", 0)}},
			}
		}).
			at(0, byOrg, entries(2, 0)).
			at(time.Hour, byOrg, entries(1, 1)),
		base("a block of a parent covers its children, whatever the case of letters").with(func(c *Case) {
			c.Mitigation.ID, c.Mitigation.ActionIDs = "M1.1", nil
			c.Pool.Blocked = []policy.Exception{until("m1", time.Hour)}
		}).
			at(0, byPool, entries(1, 0)).at(time.Hour, applied, stale(awaitsPlan), entries(0, 1)),
		base("a block of an id that only begins alike is about another mitigation").with(func(c *Case) {
			c.Mitigation.ID, c.Mitigation.ActionIDs = "M10", nil
			c.Pool.Blocked = []policy.Exception{until("M1", 0)}
		}).at(0, applied, entries(1, 0)),
		base("a blocked action is left out until the block ends").with(func(c *Case) {
			c.Pool.Blocked = []policy.Exception{until("M1.2", time.Hour)}
		}).
			at(0, applied, without("M1.2"), entries(1, 0)).at(time.Hour, applied, entries(0, 1)),
		base("with every action blocked nothing is left, until the first block ends").with(func(c *Case) {
			c.Pool.Blocked = []policy.Exception{until("M1.1", 2*time.Hour), until("M1.2", time.Hour)}
		}).
			at(0, byPool, entries(2, 0)).
			at(time.Hour, applied, without("M1.1"), stale(awaitsPlan), entries(1, 1)).
			at(2*time.Hour, applied, stale(awaitsPlan), entries(0, 2)),
		base("a block in an audited pool changes nothing on servers").with(func(c *Case) {
			c.Audit = true
			c.Pool.Blocked = []policy.Exception{until("M1", time.Hour)}
		}).
			at(0, byPool, entries(1, 0)).at(time.Hour, applied, entries(0, 1)),
		base("a block goes before a withdrawal, which stays when it has ended").with(func(c *Case) {
			c.Mitigation.Lifecycle = policy.LifecycleWithdrawn
			c.Pool.Blocked = []policy.Exception{until("M1", time.Hour)}
		}).
			at(0, byPool, entries(1, 0)).at(time.Hour, withdrawn, stale(awaitsPlan), entries(0, 1)),
	}
}

func suspensionCases() []Case {
	suspend := func(list ...policy.Exception) []policy.Configuration {
		return global(func(g *policy.Configuration) { g.SuspendedMitigations = list })
	}
	return []Case{
		base("the kill switch of one mitigation ends at its expiry").with(func(c *Case) { c.Configurations = suspend(until("M1", time.Hour)) }).
			at(0, suspended, entries(1, 0)).at(time.Hour-time.Second, suspended, entries(1, 0)).at(time.Hour, applied, stale(awaitsPlan), entries(0, 1)),
		base("it works in an audited pool").with(func(c *Case) {
			c.Audit = true
			c.Configurations = suspend(until("M1", time.Hour))
		}).
			at(0, suspended, entries(1, 0)).at(time.Hour, applied, stale(audited), entries(0, 1)),
		base("it works while mitigations are disabled").with(func(c *Case) {
			c.Pool.Disabled = true
			c.Configurations = suspend(until("M1", time.Hour))
		}).
			at(0, suspended, entries(1, 0)).at(time.Hour, heldOff, stale(awaitsPlan), entries(0, 1)),
		base("it goes before a block, which stays when it has ended").with(func(c *Case) {
			c.Configurations = suspend(until("M1", time.Hour))
			c.Pool.Blocked = []policy.Exception{until("M1", 2*time.Hour)}
		}).
			at(0, suspended, entries(2, 0)).
			at(time.Hour, byPool, stale(awaitsPlan), entries(1, 1)).
			at(2*time.Hour, applied, stale(awaitsPlan), entries(0, 2)),
		base("that of another mitigation changes nothing").with(func(c *Case) { c.Configurations = suspend(until("M2", 0)) }).
			at(0, applied, entries(1, 0)),
		base("that of an action leaves the action out").with(func(c *Case) { c.Configurations = suspend(until("M1.1", time.Hour)) }).
			at(0, applied, without("M1.1"), entries(1, 0)).at(time.Hour, applied, entries(0, 1)),
	}
}

func switchCases() []Case {
	return []Case{
		base("the kill switch of the organisation goes before everything").with(func(c *Case) {
			c.Configurations = global(func(g *policy.Configuration) { g.Suspended = true })
			c.Pool.Disabled, c.Audit = true, true
			c.Pool.Blocked = []policy.Exception{until("M1", time.Hour)}
		}).
			at(0, suspended, entries(1, 0)).at(time.Hour, suspended, entries(0, 1)),
		base("the kill switch of the pool").with(func(c *Case) { c.Pool.Suspended = true }).at(0, suspended),
		base("mitigations disabled for the pool: what is there stays").with(func(c *Case) { c.Pool.Disabled = true }).at(0, heldOff),
		base("mitigations disabled for the organisation: the pool says what becomes of it").with(func(c *Case) {
			c.Configurations = global(func(g *policy.Configuration) { g.Disabled = true })
			c.Pool.RemoveWhenDisabled = true
		}).at(0, removedOff),
		base("a block removes while disabled, and nothing comes back when it ends").with(func(c *Case) {
			c.Pool.Disabled = true
			c.Pool.Blocked = []policy.Exception{until("M1", time.Hour)}
		}).
			at(0, byPool, entries(1, 0)).at(time.Hour, heldOff, stale(awaitsPlan), entries(0, 1)),
		base("while disabled even what was withdrawn stays").with(func(c *Case) {
			c.Pool.Disabled = true
			c.Mitigation.Lifecycle = policy.LifecycleWithdrawn
		}).at(0, heldOff),
	}
}

func factCases() []Case {
	affected := []policy.Product{{Name: "ExchangeServer", Branches: []policy.Branch{
		{From: number("15.1.2507.0"), FixedIn: number("15.1.2507.61")}, {From: number("15.2.2562.0"), FixedIn: number("15.2.2562.43")},
	}}}
	operator := func(c *Case) {
		c.Configurations = global(func(*policy.Configuration) {})
		c.FixedBuilds = []policy.FixedBuild{{ID: "m1", Build: number("15.2.2562.37")}, {ID: "M1", Build: number("15.1.2507.1")}}
	}
	return []Case{
		base("the server's build is affected").with(func(c *Case) { c.Products = affected }).at(0, applied),
		base("the server's update fixes it").with(func(c *Case) {
			c.Products, c.Facts.Build = affected, number("15.2.2562.43")
		}).at(0, applied, server(fixed)),
		base("a higher number of another branch fixes nothing").with(func(c *Case) {
			c.Products, c.Facts.Build = affected, number("15.1.2507.37")
		}).at(0, applied),
		base("the operator says that the build is fixed").with(operator).at(0, applied, server(fixed)),
		base("the operator's builds of another branch do not count").with(operator).with(func(c *Case) {
			c.Facts.Build = number("15.2.1118.99")
		}).at(0, applied),
		base("a server of another role does not need it").with(func(c *Case) {
			c.Products = []policy.Product{{Name: "ExchangeServer", Role: "EdgeTransport"}}
		}).at(0, applied, server(notNeeded)),
		base("a server of another product does not need it").with(func(c *Case) { c.Facts.Product = "SkypeForBusinessServer" }).
			at(0, applied, server(notNeeded)),
		base("what nobody knows of a server speaks for the mitigation").with(func(c *Case) {
			c.Products, c.Facts = affected, policy.Facts{}
		}).at(0, applied),
		base("a block is told before what the server is").with(operator).with(func(c *Case) {
			c.Pool.Blocked = []policy.Exception{until("M1", time.Hour)}
		}).
			at(0, byPool, entries(1, 0)).
			at(time.Hour, applied, server(fixed), stale(awaitsPlan), entries(0, 1)),
	}
}

func approvalCases() []Case {
	approval := func(change func(*policy.Approval)) policy.Approval {
		a := policy.Approval{ID: "M1", Reason: "looked at in test, CHG-4712", Owner: "change board"}
		change(&a)
		return a
	}
	pool := func(name string, change func(*policy.Approval)) Case {
		return base(name).with(func(c *Case) { c.Pool.Approved = []policy.Approval{approval(change)} })
	}
	return []Case{
		pool("an approval for everything", func(*policy.Approval) {}).at(0, applied, approved, entries(1, 0)),
		pool("an approval ends at its expiry", func(a *policy.Approval) { a.Expiry = Begin.Add(time.Hour) }).
			at(0, applied, approved, entries(1, 0)).
			at(time.Hour-time.Second, applied, approved, entries(1, 0)).
			at(time.Hour, applied, entries(0, 1)),
		pool("an approval of this revision and stage", func(a *policy.Approval) { a.Revision, a.Stages = 2, []string{"first", Stage} }).
			at(0, applied, approved, entries(1, 0)),
		pool("an approval of the revision before", func(a *policy.Approval) { a.Revision = 1 }).at(0, applied, entries(1, 0)),
		pool("an approval of another stage", func(a *policy.Approval) { a.Stages = []string{"rest"} }).at(0, applied, entries(1, 0)),
		pool("an approval of another mitigation", func(a *policy.Approval) { a.ID = "M10" }).at(0, applied, entries(1, 0)),
		pool("an approval of an action only", func(a *policy.Approval) { a.ID = "M1.1" }).at(0, applied, entries(1, 0)),
		base("an approval of the organisation, of the parent, in other letters").with(func(c *Case) {
			c.Mitigation.ID, c.Mitigation.ActionIDs = "M1.1", nil
			c.Configurations = global(func(g *policy.Configuration) {
				g.Approved = []policy.Approval{approval(func(a *policy.Approval) { a.ID = "m1" })}
			})
		}).at(0, applied, approved, entries(1, 0)),
		base("the pool's approval has expired, the organisation's counts").with(func(c *Case) {
			c.Pool.Approved = []policy.Approval{approval(func(a *policy.Approval) { a.Expiry = Begin })}
			c.Configurations = global(func(g *policy.Configuration) {
				g.Approved = []policy.Approval{approval(func(a *policy.Approval) { a.Expiry = Begin.Add(time.Hour) })}
			})
		}).
			at(0, applied, approved, entries(1, 1)).at(time.Hour, applied, entries(0, 2)),
		base("an approval lifts no block").with(func(c *Case) {
			c.Pool.Approved = []policy.Approval{approval(func(*policy.Approval) {})}
			c.Pool.Blocked = []policy.Exception{until("M1", time.Hour)}
		}).
			at(0, byPool, approved, entries(2, 0)).at(time.Hour, applied, approved, stale(awaitsPlan), entries(1, 1)),
	}
}

func windowCases() []Case {
	nights := schedule.Window{Policy: schedule.Allow, Cron: "0 22 * * *", TimeZone: "Europe/Vienna", Duration: 4 * time.Hour}
	freeze := schedule.Window{Policy: schedule.Deny, Cron: "0 0 15 5 *", TimeZone: "Europe/Vienna", Duration: time.Hour}
	withGlobal := func(c *Case) { c.Configurations = global(func(*policy.Configuration) {}) }
	return []Case{
		base("nights in Vienna, which are 20:00 to 00:00 in summer").with(func(c *Case) { c.PoolWindows = schedule.Set{nights} }).
			at(0, applied, closed).
			at(4*time.Hour-time.Second, applied, closed).
			at(4*time.Hour, applied).
			at(8*time.Hour-time.Second, applied).
			at(8*time.Hour, applied, closed).
			at(183*24*time.Hour+4*time.Hour, applied, closed). // winter: the same hour is 21:00 in Vienna
			at(183*24*time.Hour+5*time.Hour, applied),
		base("a freeze of the organisation goes before the pool's nights").with(withGlobal).with(func(c *Case) {
			c.PoolWindows, c.GlobalWindows = schedule.Set{nights}, schedule.Set{freeze}
		}).
			at(5*time.Hour, applied).
			at(6*time.Hour, applied, closed).
			at(7*time.Hour, applied),
		base("a freeze alone closes while it lasts").with(withGlobal).with(func(c *Case) { c.GlobalWindows = schedule.Set{freeze} }).
			at(0, applied).at(6*time.Hour, applied, closed).at(7*time.Hour, applied),
		base("a block is removed whatever windows say").with(func(c *Case) {
			c.PoolWindows = schedule.Set{nights}
			c.Pool.Blocked = []policy.Exception{until("M1", 5*time.Hour)}
		}).
			at(0, byPool, closed, entries(1, 0)).
			at(5*time.Hour, applied, stale(awaitsPlan), entries(0, 1)).
			at(8*time.Hour, applied, closed, stale(awaitsPlan), entries(0, 1)),
		base("a window that cannot be read keeps everything closed").with(func(c *Case) {
			c.PoolWindows = schedule.Set{{Policy: schedule.Allow, Cron: "0 25 * * *", Duration: time.Hour}}
		}).at(0, applied, closed),
	}
}
