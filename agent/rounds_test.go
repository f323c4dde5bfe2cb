package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis"
	iiscontrol "mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/agent/samples"
	"mitigation.dev/ems/internal/ocs"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
	"mitigation.dev/ems/test/iistree"
)

// patient is a server that gets ill from rules that hold one of some words, and stays as it is otherwise.
type patient struct {
	*fleet
	illFrom []string
	looks   int
}

func (p *patient) results() []health.Result {
	p.looks++
	r := health.Result{Name: `http "owa"`, OK: true, Detail: "200"}
	for _, word := range p.illFrom {
		if bytes.Contains(p.config(), []byte(word)) {
			r.OK, r.Detail = false, "503"
		}
	}
	return []health.Result{r}
}

func (p *patient) Baseline(context.Context, health.Checks, health.SwitchedOff) ([]health.Result, error) {
	return p.results(), nil
}

func (p *patient) Look(context.Context, health.Checks, health.SwitchedOff) ([]health.Result, error) {
	return p.results(), nil
}

func newPatient(t *testing.T, illFrom ...string) *patient {
	t.Helper()
	f := newFleet(t)
	p := &patient{fleet: f, illFrom: illFrom}
	f.checker, f.loop.checker = p, p
	return p
}

// word is a mitigation of one rule that blocks requests with a word in them.
func word(id string, revision int64, blocked string) ocs.Config {
	return ocs.Config{ID: id, Revision: revision, Description: "Block a word", Actions: []ocs.Action{{
		ID: id + ".1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Description: "Rule",
		Rewrite: []byte(strings.ReplaceAll(ruleText, "powershell", blocked)),
	}}}
}

// under puts an entry under a rollout.
func under(e enforce.Entry, change ...func(*enforce.Rollout)) enforce.Entry {
	e.Rollout = enforce.Rollout{ID: fmt.Sprintf("r%d-a1-%.8s", e.Revision, e.Document.Digest), Waiting: policy.AwaitingStage, Terms: gate.Terms{Bake: 15 * time.Second}}
	for _, f := range change {
		f(&e.Rollout)
	}
	return e
}

func complete(r *enforce.Rollout) { r.Complete = true }
func revert(r *enforce.Rollout)   { r.Revert, r.Waiting = true, policy.RolloutHalted }

// behind makes an entry the fallback of a rollout.
func behind(e enforce.Entry) func(*enforce.Rollout) {
	return func(r *enforce.Rollout) {
		r.Fallback = enforce.Fallback{Rollout: e.Rollout.ID, Revision: e.Revision, Document: e.Document}
	}
}

func unreleased(e enforce.Entry) enforce.Entry {
	e.Release = rollout.Release{}
	return e
}

// settle passes whenever a pass asks for it, for so long.
func (f *fleet) settle(d time.Duration) {
	f.Helper()
	end := f.clock.Now().Add(d)
	for next := f.loop.pass(f.Context()); !next.IsZero() && !next.After(end); next = f.loop.pass(f.Context()) {
		if next.After(f.clock.Now()) {
			f.clock.SetTime(next)
		} else {
			f.clock.Step(settle)
		}
	}
	f.clock.SetTime(end)
}

func (f *fleet) wantRule(text string, inPlace bool) {
	f.Helper()
	if got := bytes.Contains(f.config(), []byte(text)); got != inPlace {
		f.Fatalf("a rule with %q in the configuration: %t, want %t", text, got, inPlace)
	}
}

func (f *fleet) result(id string) enforce.Result {
	f.Helper()
	for _, r := range f.last.Results {
		if r.ID == id {
			return r
		}
	}
	f.Fatalf("nothing is said of %s: %+v", id, f.last.Results)
	return enforce.Result{}
}

func (f *fleet) wantGate(id string, verdict gate.Verdict, message string) {
	f.Helper()
	got := f.result(id).Gate
	if got.Verdict != verdict || !strings.Contains(got.Message, message) || (message == "") != (got.Message == "") {
		f.Fatalf("gate = %+v, want %q with message %q", got, verdict, message)
	}
}

func TestRollout(t *testing.T) {
	for name, test := range map[string]func(*patient){
		"a server that stays healthy passes after the bake time, in two reports": func(p *patient) {
			p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0]))
			p.pass()
			p.wantRule("alpha", true)
			p.wantGate("M1", gate.Baking, "")
			different := 0
			for range 40 {
				before := p.last.Results
				p.clock.Step(time.Second)
				p.pass()
				if !reflect.DeepEqual(before, p.last.Results) {
					different++
				}
			}
			p.wantGate("M1", gate.Passed, "")
			if different != 1 {
				p.Errorf("%d further reports said something new, want one", different)
			}
			looks := p.looks
			p.pass()
			if p.looks != looks {
				p.Error("the server is looked at although nothing is under observation")
			}
		},
		"a server that gets worse goes back by itself with the cluster away, and never forward again": func(p *patient) {
			first := under(p.publishAll(1, word("M1", 1, "alpha"))[0], complete)
			p.want(first)
			p.pass()
			p.settle(20 * time.Second)
			p.wantGate("M1", gate.Passed, "")
			good := p.config()
			bad := under(p.publishAll(2, word("M1", 2, "beta"))[0])
			p.illFrom = []string{"beta"}
			p.want(bad)
			p.pass()
			p.wantRule("beta", true)
			p.wantGate("M1", gate.Baking, "")
			p.away = true
			begun := p.clock.Now()
			p.settle(2 * time.Second)
			if diff := cmp.Diff(string(good), string(p.config())); diff != "" {
				p.Fatalf("configuration differs %v after the change (-good +now):\n%s", p.clock.Now().Sub(begun), diff)
			}
			p.illFrom = nil
			p.restart()
			p.settle(time.Hour)
			p.wantRule("beta", false)
			p.away = false
			p.pass()
			p.wantReport(enforce.Failed, enforce.ReasonGateFailed, 1)
			p.wantGate("M1", gate.Failed, `http "owa": before: 200, now: 503`)
			if got := p.result("M1").Message; !strings.Contains(got, "revision 1 is in its place") {
				p.Errorf("message = %q", got)
			}
			retry := bad
			retry.Rollout.ID = "r2-a2-another"
			p.want(retry)
			p.settle(20 * time.Second)
			p.wantRule("beta", true)
			p.wantGate("M1", gate.Passed, "")
		},
		"what had nothing before it is removed without a trace": func(p *patient) {
			p.illFrom = []string{"alpha"}
			before := p.config()
			p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0]))
			p.settle(3 * time.Second)
			if !bytes.Equal(before, p.config()) {
				p.Error("the configuration is not as it was")
			}
			p.wantReport(enforce.Failed, enforce.ReasonGateFailed, 0)
			want := []cluster.Change{{Kind: cluster.MitigationApplied, ID: "M1", Revision: 1}, {Kind: cluster.MitigationReverted, ID: "M1", Revision: 1}}
			if diff := cmp.Diff(want, p.announced); diff != "" {
				p.Errorf("changes differ (-want +got):\n%s", diff)
			}
		},
		"a check that failed before is not held against the mitigation": func(p *patient) {
			p.illFrom = []string{"system.webServer"}
			p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0]))
			p.settle(20 * time.Second)
			p.wantGate("M1", gate.Passed, "")
		},
		"of two under observation only the one that was put in place last is taken back": func(p *patient) {
			first := under(p.publishAll(1, word("M1", 1, "alpha"))[0])
			p.want(first)
			p.pass()
			p.illFrom = []string{"beta"}
			p.clock.Step(time.Second)
			both := p.publishAll(2, word("M1", 1, "alpha"), word("M2", 1, "beta"))
			p.want(first, under(both[1]))
			p.settle(30 * time.Second)
			p.wantGate("M1", gate.Passed, "")
			p.wantGate("M2", gate.Failed, "503")
			p.wantRule("alpha", true)
			p.wantRule("beta", false)
		},
		"if that does not help, the one before it is taken back as well": func(p *patient) {
			p.illFrom = []string{"alpha"}
			both := p.publishAll(1, word("M1", 1, "alpha"), word("M2", 1, "beta"))
			p.want(under(both[0]), under(both[1]))
			p.settle(10 * time.Second)
			p.wantGate("M1", gate.Failed, "503")
			p.wantGate("M2", gate.Failed, "503")
			p.wantRule("alpha", false)
		},
		"a mitigation that IIS does not run is taken back at once": func(p *patient) {
			clearing := "<configuration><system.webServer><rewrite><rules><clear /></rules></rewrite></system.webServer></configuration>"
			if err := os.WriteFile(filepath.Join(p.root, filepath.FromSlash(iistree.WebConfig)), []byte(clearing), 0o600); err != nil {
				p.Fatal(err)
			}
			p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0]))
			p.pass()
			p.wantRule("alpha", false)
			p.wantGate("M1", gate.Failed, "not in effect")
		},
		"a refusal is a failed gate, and passes when its cause is gone": func(p *patient) {
			c := word("M1", 1, "alpha")
			c.Actions[0].Target = "Intranet"
			p.want(under(p.publishAll(1, c)[0]))
			p.pass()
			p.wantReport(enforce.Failed, iis.SiteNotFound, 0)
			p.wantGate("M1", gate.Failed, "SiteNotFound")
			looks := p.looks
			p.clock.Step(time.Second)
			p.pass()
			if p.looks != looks {
				p.Error("a content that is refused costs a look each time")
			}
			p.edit(`name="Default Web Site"`, `name="Intranet"`)
			p.settle(20 * time.Second)
			p.wantGate("M1", gate.Passed, "")
		},
		"a document that is refused is a failed gate, and one that cannot be fetched is none": func(p *patient) {
			entry := under(p.publish(1, 1))
			bundle := p.bundles["contoso-1"]
			delete(p.bundles, "contoso-1")
			p.want(entry)
			p.pass()
			p.wantGate("M1", gate.Failed, enforce.ReasonBundleMissing)
			p.bundles["contoso-1"] = bundle
			p.settle(20 * time.Second)
			p.wantGate("M1", gate.Passed, "")
		},
		"a server that does not need it says so": func(p *patient) {
			c := word("M1", 1, "alpha")
			c.Applicability = []ocs.Product{{Name: "SharePointServer"}}
			p.want(under(p.publishAll(1, c)[0]))
			p.pass()
			p.wantReport(enforce.NotApplicable, "NotApplicable", 0)
			p.wantGate("M1", enforce.NotNeeded, "")
		},
		"what is in place already is not observed when an older manager has rolled it out": func(p *patient) {
			entry := p.publishAll(1, word("M1", 1, "alpha"))[0]
			p.want(entry)
			p.pass()
			p.want(under(entry, complete))
			p.pass()
			p.wantGate("M1", gate.Passed, "")
			if p.looks != 0 {
				p.Error("the server was looked at")
			}
		},
		"a server that is not released gets the revision before, and waits for the reason of the plan": func(p *patient) {
			first := under(p.publishAll(1, word("M1", 1, "alpha"))[0], complete)
			next := unreleased(under(p.publishAll(2, word("M1", 2, "beta"))[0], behind(first), func(r *enforce.Rollout) { r.Waiting = policy.AwaitingApproval }))
			p.want(next)
			p.pass()
			p.wantRule("alpha", true)
			p.wantReport(enforce.Applied, "AwaitingApproval", 1)
			if got := p.result("M1").Gate; got.Rollout != "" {
				p.Errorf("gate = %+v before the rollout has reached the server", got)
			}
			next.Release = rollout.ToAll()
			p.want(next)
			p.settle(20 * time.Second)
			p.wantRule("beta", true)
			p.wantGate("M1", gate.Passed, "")
			p.want(unreleased(under(next, behind(first), revert)))
			p.pass()
			p.wantRule("beta", false)
			p.wantRule("alpha", true)
			p.wantReport(enforce.Applied, "RolloutHalted", 1)
			if got := p.result("M1").Gate; got.Rollout != "" {
				p.Errorf("gate = %+v of a rollout that was taken back", got)
			}
		},
		"a halt without anything before it takes the mitigation off": func(p *patient) {
			before := p.config()
			entry := under(p.publishAll(1, word("M1", 1, "alpha"))[0])
			p.want(entry)
			p.pass()
			p.want(unreleased(under(entry, revert)))
			p.pass()
			p.wantReport(enforce.Held, "RolloutHalted", 0)
			if !bytes.Equal(before, p.config()) {
				p.Error("the configuration is not as it was")
			}
		},
		"a revision that would be refused in the place of a halted one does not keep that one in place": func(p *patient) {
			first := under(p.publishAll(1, word("M1", 1, "alpha"))[0], complete)
			next := under(p.publishAll(2, word("M1", 2, "beta"))[0], behind(first))
			p.want(next)
			p.pass()
			p.wantRule("beta", true)
			halted := unreleased(under(next, behind(first), revert))
			p.want(halted)
			p.plan.MustPass = mustPass("/alpha")
			p.pass()
			p.wantRule("beta", false)
			p.wantReport(enforce.Failed, iis.SamplesFailed, 0)
			p.wantChanges(cluster.Change{Kind: cluster.MitigationReverted, ID: "M1", Revision: 2})
		},
		"a revision that narrows what it is for by mistake takes nothing off servers it has not reached": func(p *patient) {
			first := under(p.publishAll(1, word("M1", 1, "alpha"))[0], complete)
			p.want(first)
			p.pass()
			c := word("M1", 2, "beta")
			c.Applicability = []ocs.Product{{Name: "SharePointServer"}}
			p.want(unreleased(under(p.publishAll(2, c)[0], behind(first))))
			p.pass()
			p.wantRule("alpha", true)
			p.wantReport(enforce.Applied, "AwaitingStage", 1)
		},
		"a block that ends is no longer acted on from then on, with the cluster away": func(p *patient) {
			entry := under(p.publish(1, 1))
			until := now.Add(10 * time.Second)
			entry.Decision = policy.Decision{Desired: policy.Remove, Reason: policy.BlockedByPool, Until: until}
			p.want(entry)
			if got := p.loop.pass(p.Context()); !got.Equal(until) {
				p.Fatalf("the next pass is due at %v, want the end of the block", got)
			}
			p.wantReport(enforce.Removed, "BlockedByPool", 0)
			p.away = true
			p.restart()
			p.clock.SetTime(until)
			p.pass()
			p.away = false
			p.pass()
			p.wantReport(enforce.Pending, "AwaitingPlan", 0)
		},
		"a successor has to be in place before what it replaces goes": func(p *patient) {
			old := under(p.publishAll(1, word("M1", 1, "alpha"))[0], complete)
			p.want(old)
			p.pass()
			gone := old
			gone.Decision = policy.Decision{Desired: policy.Remove, Reason: policy.Superseded, Message: "replaced by M2"}
			c := word("M2", 1, "beta")
			c.Actions[0].Target = "Intranet"
			successor := under(p.publishAll(2, c)[0], complete)
			p.want(gone, successor)
			p.pass()
			p.wantRule("alpha", true)
			if got := p.result("M1"); got.State != enforce.Applied || got.Reason != "Superseded" {
				p.Errorf("result = %+v, want it to stay", got)
			}
			p.want(gone, under(p.publishAll(3, word("M2", 2, "beta"))[0], complete))
			p.settle(40 * time.Second)
			p.pass()
			p.wantRule("alpha", false)
			p.wantRule("beta", true)
		},
		"a repair is carried out once, and tries again what had failed": func(p *patient) {
			p.illFrom = []string{"alpha"}
			p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0]))
			p.settle(3 * time.Second)
			p.wantGate("M1", gate.Failed, "503")
			p.plan.RepairRequest = "2026-05-14T16:30:00Z"
			p.pass()
			p.wantRule("alpha", true)
			p.settle(3 * time.Second)
			p.wantRule("alpha", false)
			p.restart()
			p.settle(time.Minute)
			p.pass()
			p.wantRule("alpha", false)
			p.wantGate("M1", gate.Failed, "503")
		},
		"a history that is damaged costs the memory and no protection": func(p *patient) {
			p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0]))
			p.pass()
			names, err := filepath.Glob(filepath.Join(p.stateDir, "agent", "history*"))
			if err != nil || len(names) != 1 {
				p.Fatalf("records %v, error %v", names, err)
			}
			if err := os.WriteFile(names[0], []byte("{"), 0o600); err != nil {
				p.Fatal(err)
			}
			p.restart()
			p.settle(20 * time.Second)
			p.wantRule("alpha", true)
			p.wantGate("M1", gate.Passed, "")
		},
		"what is gone for good is forgotten": func(p *patient) {
			entry := under(p.publishAll(1, word("M1", 1, "alpha"))[0])
			p.want(entry)
			p.settle(20 * time.Second)
			entry.Decision = policy.Decision{Desired: policy.Remove, Reason: policy.Withdrawn}
			p.want(entry)
			p.pass()
			p.want()
			p.pass()
			if histories, err := p.loop.memory.Histories(); err != nil || len(histories) != 0 {
				p.Errorf("histories = %v, error %v", histories, err)
			}
		},
		"an audit says what would change, and nothing does": func(p *patient) {
			before := p.config()
			entry := under(p.publish(1, 1))
			entry.Rollout.ID += "-audit"
			p.want(entry)
			p.plan.AuditOnly = true
			p.pass()
			p.wantReport(enforce.Audited, "Audit", 0)
			p.wantGate("M1", gate.Passed, "")
			for _, part := range []string{`applicationHost.config`, `pool "MSExchangeOABAppPool" (Stopped)`, `rules "EMS M1.1 Block probe" at "Default Web Site"`, "linear"} {
				if got := p.result("M1").Message; !strings.Contains(got, part) {
					p.Errorf("message = %q, want it to say %q", got, part)
				}
			}
			p.plan.MustPass = mustPass("/powershell")
			p.pass()
			p.wantReport(enforce.Failed, iis.SamplesFailed, 0)
			p.wantGate("M1", gate.Failed, "SamplesFailed")
			if !bytes.Equal(before, p.config()) || p.looks != 0 {
				p.Error("the configuration was written, or the server was looked at")
			}
			p.want(unreleased(entry))
			p.plan.AuditOnly = true
			p.pass()
			p.wantReport(enforce.Pending, "AwaitingStage", 0)
		},
	} {
		t.Run(name, func(t *testing.T) { test(newPatient(t)) })
	}
}

// A server without traffic has no data to judge by, and says so once, however far the count has come.
func TestRolloutWaitsForRequests(t *testing.T) {
	p := newPatient(t)
	p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0], func(r *enforce.Rollout) { r.Terms.MinRequests = 3 }))
	folder := filepath.Join(p.root, "inetpub", "logs", "LogFiles", "W3SVC1")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(folder, "u_ex260514.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	request := func() {
		t.Helper()
		if _, err := fmt.Fprintf(log, "%s /owa 200\r\n", p.clock.Now().UTC().Format("2006-01-02 15:04:05")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := log.WriteString("#Fields: date time cs-uri-stem sc-status\r\n2026-05-14 15:00:00 /owa 200\r\n"); err != nil {
		t.Fatal(err)
	}
	p.pass()
	p.settle(20 * time.Second)
	p.wantGate("M1", gate.Inconclusive, "0 of 3")
	request()
	p.settle(20 * time.Second)
	p.wantGate("M1", gate.Inconclusive, "0 of 3")
	p.restart()
	request()
	request()
	p.settle(20 * time.Second)
	p.wantGate("M1", gate.Passed, "")
}

// The same with the sites of the server itself, looked at by the real checks.
func TestRolloutLooksAtSites(t *testing.T) {
	f := newFleet(t)
	before := f.config()
	f.want(under(f.publish(1, 1)))
	f.pass()
	f.wantInPlace()
	f.wantGate("M1", gate.Baking, "")
	if err := standin.NewPools(f.root, nil).SetSite("Default Web Site", iiscontrol.SiteStopped); err != nil {
		t.Fatal(err)
	}
	f.settle(6 * time.Second)
	f.wantReport(enforce.Failed, enforce.ReasonGateFailed, 0)
	f.wantGate("M1", gate.Failed, `site "Default Web Site"`)
	if !bytes.Equal(before, f.config()) || f.poolState() != iiscontrol.PoolStarted {
		t.Error("the server is not as it was")
	}
}

// crash ends a process.
type crash struct{}

// mortal counts the calls that a pass makes, and ends the process before or after one of them.
type mortal struct {
	server
	checker
	calls, at int
}

func (m *mortal) step() {
	m.calls++
	if m.calls == m.at {
		panic(crash{})
	}
}

func (m *mortal) Applied() ([]iis.Mitigation, error) {
	m.step()
	defer m.step()
	return m.server.Applied()
}

func (m *mortal) Reconcile(ctx context.Context, wanted []iis.Mitigation) ([]iis.Outcome, error) {
	m.step()
	outcomes, err := m.server.Reconcile(ctx, wanted)
	m.step()
	return outcomes, err
}

func (m *mortal) Effective() ([]effective.Verdict, error) {
	m.step()
	return m.server.Effective()
}

func (m *mortal) Baseline(ctx context.Context, c health.Checks, off health.SwitchedOff) ([]health.Result, error) {
	m.step()
	defer m.step()
	return m.checker.Baseline(ctx, c, off)
}

func (m *mortal) Look(ctx context.Context, c health.Checks, off health.SwitchedOff) ([]health.Result, error) {
	m.step()
	results, err := m.checker.Look(ctx, c, off)
	m.step()
	return results, err
}

// TestRolloutSurvivesACrashAnywhere ends the process at every step of a rollout and begins anew. In the end the server must
// have what it would have had, and must say so.
func TestRolloutSurvivesACrashAnywhere(t *testing.T) {
	for name, tc := range map[string]struct {
		illFrom string
		want    func(*patient)
	}{
		"of a good revision": {"none", func(p *patient) {
			p.wantRule("beta", true)
			p.wantGate("M1", gate.Passed, "")
		}},
		"of a bad revision": {"beta", func(p *patient) {
			p.wantRule("beta", false)
			p.wantRule("alpha", true)
			p.wantGate("M1", gate.Failed, "503")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			crashed := true
			points := 0
			quick := func(r *enforce.Rollout) { r.Terms.Bake = time.Second }
			// Everywhere takes seconds, and minutes where each write is slow; short runs take some points.
			step, least := 1, 15
			if testing.Short() {
				step, least = 5, 3
			}
			for at := 1; crashed; at += step {
				p := newPatient(t, tc.illFrom)
				first := under(p.publishAll(1, word("M1", 1, "alpha"))[0], complete, quick)
				p.want(first)
				p.settle(3 * time.Second)
				p.want(under(p.publishAll(2, word("M1", 2, "beta"))[0], behind(first), quick))
				m := &mortal{server: p.loop.server, checker: p.checker, at: at}
				p.loop.server, p.loop.checker = m, m
				if crashed = crashes(func() { p.settle(3 * time.Second); p.pass() }); crashed {
					points++
					p.restart()
					p.settle(3 * time.Second)
					p.pass()
				}
				tc.want(p)
			}
			if points < least {
				t.Errorf("only %d crashes", points)
			}
			t.Logf("%d crashes", points)
		})
	}
}

func crashes(do func()) (crashed bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, crashed = r.(crash); !crashed {
				panic(r)
			}
		}
	}()
	do()
	return false
}

// hanging is a server that answers no check before the look ends, and a cluster whose plan is another one meanwhile.
type hanging struct {
	*patient
	at    string
	asked atomic.Int32
	next  *enforce.Plan
}

func (h *hanging) Plan() (*enforce.Plan, bool, error) {
	if h.asked.Add(1) == 1 {
		return h.plan, true, nil
	}
	return h.next, true, nil
}

func (h *hanging) hang(ctx context.Context, what string) ([]health.Result, error) {
	if h.at != what {
		return h.results(), nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (h *hanging) Baseline(ctx context.Context, _ health.Checks, _ health.SwitchedOff) ([]health.Result, error) {
	return h.hang(ctx, "baseline")
}

func (h *hanging) Look(ctx context.Context, _ health.Checks, _ health.SwitchedOff) ([]health.Result, error) {
	return h.hang(ctx, "look")
}

// The kill switch does not wait for checks that hang.
func TestRolloutDoesNotWaitForTheServer(t *testing.T) {
	for _, at := range []string{"baseline", "look"} {
		t.Run(at, func(t *testing.T) {
			p := newPatient(t)
			before := p.config()
			entry := under(p.publishAll(1, word("M1", 1, "alpha"))[0])
			p.want(entry)
			h := &hanging{patient: p, at: at}
			entry.Decision = policy.Decision{Desired: policy.Remove, Reason: policy.Suspended}
			h.next = &enforce.Plan{Generation: p.plan.Generation + 1, Entries: []enforce.Entry{entry}}
			p.loop.control, p.loop.checker = h, h
			p.pass()
			if got := p.result("M1").Gate; got.Verdict == gate.Failed {
				t.Errorf("gate = %+v, want no verdict of a look that was cut short", got)
			}
			p.wantRule("alpha", at == "look")
			p.pass()
			p.wantReport(enforce.Removed, "Suspended", 0)
			if !bytes.Equal(before, p.config()) {
				t.Error("the configuration is not as it was")
			}
		})
	}
}

// slowCluster answers nothing in time.
type slowCluster struct{ *fleet }

func (slowCluster) Report(ctx context.Context, _ cluster.Report) error {
	if _, limited := ctx.Deadline(); !limited {
		return errors.New("the cluster is waited for without a limit")
	}
	<-ctx.Done()
	return cluster.ErrUnheard
}

// A server under observation does not wait for an API server that does not answer.
func TestRolloutDoesNotWaitForTheCluster(t *testing.T) {
	p := newPatient(t, "alpha")
	p.want(under(p.publishAll(1, word("M1", 1, "alpha"))[0]))
	p.pass()
	p.loop.control = slowCluster{p.fleet}
	p.clock.Step(2 * time.Second)
	begun := time.Now()
	p.pass()
	if took := time.Since(begun); took > patience+2*time.Second {
		t.Errorf("the pass took %v", took)
	}
	p.wantRule("alpha", false)
}

func mustPass(url string) []samples.Sample {
	return []samples.Sample{{Number: 1, Pool: true, Expect: samples.Passed, URL: url}}
}
