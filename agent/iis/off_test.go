package iis

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/standin"
	"mitigation.dev/ems/test/iistree"
)

func service(id, name string) Action { return Action{ID: id, Type: ActionService, Service: name} }

// exchangeServices are services of an Exchange server. UM is delayed and its call router off, as no default has it.
func exchangeServices() []standin.ServiceEntry {
	return []standin.ServiceEntry{
		{Name: "MSExchangeADTopology", StartType: control.StartAutomatic, State: control.ServiceRunning},
		{Name: "MSExchangeHM", StartType: control.StartAutomatic, State: control.ServiceRunning, DependsOn: []string{"MSExchangeADTopology"}},
		{Name: "MSExchangeHMRecovery", StartType: control.StartAutomatic, State: control.ServiceRunning, DependsOn: []string{"MSExchangeADTopology"}},
		{Name: "MSExchangeUM", StartType: control.StartDelayed, State: control.ServiceRunning, DependsOn: []string{"MSExchangeADTopology"}},
		{Name: "MSExchangeUMCR", StartType: control.StartManual, State: control.ServiceStopped, DependsOn: []string{"MSExchangeADTopology"}},
		{Name: "Spooler", StartType: control.StartAutomatic, State: control.ServiceRunning},
	}
}

// a1 and s1 are the mitigations of 2021 for pools and services of Exchange.
func a1(id string) Mitigation {
	return mitigation(id, 1, pool(id+".1", ecpPool), pool(id+".2", "MSExchangeOABAppPool"))
}

func s1(id string) Mitigation {
	return mitigation(id, 1, service(id+".1", "MSExchangeUM"), service(id+".2", "MSExchangeUMCR"))
}

// newExchangeLab has services, and a clock that stands still unless somebody waits.
func newExchangeLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, iistree.Options{CRLF: true})
	l.clock = hastyClock{clocktesting.NewFakeClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC))}
	l.setServices(exchangeServices())
	l.edit(`<add name="MSExchangeOABAppPool"`, `<add name="MSExchangeOABAppPool" startMode='AlwaysRunning'`)
	l.original = l.read()
	l.open()
	return l
}

func (l *lab) setServices(list []standin.ServiceEntry) {
	l.t.Helper()
	if err := standin.NewServices(l.root, quickFS{}).Set(list); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) wantServices(want []standin.ServiceEntry) {
	l.t.Helper()
	for _, w := range want {
		l.wantService(w.Name, w.StartType, w.State)
	}
}

func (l *lab) wantService(name string, start control.StartType, state control.ServiceState) {
	l.t.Helper()
	got, err := standin.NewServices(l.root, nil).Query(l.t.Context(), name)
	if err != nil || got.StartType != start || got.State != state {
		l.t.Errorf("service %q is %+v, error %v; want %s and %s", name, got, err, start, state)
	}
}

func (l *lab) wantOff(services ...string) {
	l.t.Helper()
	for _, name := range services {
		l.wantService(name, control.StartDisabled, control.ServiceStopped)
	}
}

// journal lists the records on the disk.
func (l *lab) journal() []string {
	l.t.Helper()
	files, err := filepath.Glob(filepath.Join(l.state, "journal", "*"))
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

func TestPoolsOfExchangeGoOffAndComeBack(t *testing.T) {
	l := newExchangeLab(t)
	l.wantState(l.reconcile(a1("A1"))["A1"], Applied, "", true)
	l.wantPool(ecpPool, PoolStopped)
	l.wantPool("MSExchangeOABAppPool", PoolStopped)
	l.wantPool(owaPool, PoolStarted)
	l.wantInFile(`autoStart="false"`, 2)
	l.wantInFile("AlwaysRunning", 0)
	l.wantOff("MSExchangeHM", "MSExchangeHMRecovery")
	l.wantService("MSExchangeUM", control.StartDelayed, control.ServiceRunning)
	for range 2 {
		l.open()
		l.wantState(l.reconcile(a1("A1"))["A1"], Applied, "", false)
	}
	l.wantState(l.reconcile()["A1"], Removed, "", true)
	l.wantOriginal()
	l.wantPool(ecpPool, PoolStarted)
	l.wantPool("MSExchangeOABAppPool", PoolStarted)
	l.wantServices(exchangeServices())
	for _, left := range l.journal() {
		if !strings.HasPrefix(left, kindFile) {
			t.Errorf("record left: %s", left)
		}
	}
}

func TestServicesOfExchangeGoOffAndComeBack(t *testing.T) {
	l := newExchangeLab(t)
	l.wantState(l.reconcile(s1("S1"))["S1"], Applied, "", true)
	l.wantOff("MSExchangeUM", "MSExchangeUMCR", "MSExchangeHM", "MSExchangeHMRecovery")
	l.wantService("MSExchangeADTopology", control.StartAutomatic, control.ServiceRunning)
	l.wantOriginal()
	l.open()
	l.wantApplied("S1/1")
	l.wantState(l.reconcile(s1("S1"))["S1"], Applied, "", false)
	l.wantState(l.reconcile()["S1"], Removed, "", true)
	l.wantServices(exchangeServices())
}

func TestTheHealthManagerComesBackWithTheLastMitigationThatNeedsItOff(t *testing.T) {
	l := newExchangeLab(t)
	l.reconcile(a1("A1"), s1("S1"))
	l.reconcile(a1("A1"))
	l.wantOff("MSExchangeHM", "MSExchangeHMRecovery")
	l.wantService("MSExchangeUM", control.StartDelayed, control.ServiceRunning)
	l.reconcile(a1("A1"), s1("S1"))
	l.reconcile(s1("S1"))
	l.wantOff("MSExchangeHM", "MSExchangeHMRecovery")
	l.wantPool(ecpPool, PoolStarted)
	l.reconcile(mitigation("M1", 1, service("M1.1", "Spooler")))
	l.wantOff("Spooler")
	l.reconcile()
	l.wantServices(exchangeServices())
	l.wantOriginal()
}

func TestAHealthManagerThatWasOffStaysOff(t *testing.T) {
	l := newExchangeLab(t)
	list := exchangeServices()
	list[1].StartType, list[1].State = control.StartManual, control.ServiceStopped
	list = slices.Delete(list, 2, 3) // an Exchange without the recovery service
	l.setServices(list)
	l.wantState(l.reconcile(a1("A1"))["A1"], Applied, "", true)
	l.wantOff("MSExchangeHM")
	l.reconcile()
	l.wantServices(list)
}

func TestDriftOfPoolsAndServicesIsRepaired(t *testing.T) {
	for name, drift := range map[string]func(*lab) error{
		"a service that was started by hand": func(l *lab) error {
			ctx := l.t.Context()
			return errors.Join(l.services.SetStartType(ctx, "MSExchangeUM", control.StartManual), l.services.Start(ctx, "MSExchangeUM"))
		},
		"a service that was only enabled": func(l *lab) error {
			return l.services.SetStartType(l.t.Context(), "MSExchangeUMCR", control.StartManual)
		},
		"a health manager that was started":     func(l *lab) error { return enable(l, "MSExchangeHM") },
		"a pool that was started":               func(l *lab) error { return l.pools.Start(l.t.Context(), ecpPool) },
		"a reboot after autoStart was restored": func(l *lab) error { l.edit(` autoStart="false"`, ""); return standin.NewPools(l.root, nil).Reboot() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newExchangeLab(t)
			both := mitigation("M1", 1, append(a1("M1").Actions, s1("M1").Actions...)...)
			l.reconcile(both)
			installed := l.read()
			if err := drift(l); err != nil {
				t.Fatal(err)
			}
			l.wantState(l.reconcile(both)["M1"], Applied, "", true)
			l.wantOff("MSExchangeUM", "MSExchangeUMCR", "MSExchangeHM", "MSExchangeHMRecovery")
			l.wantPool(ecpPool, PoolStopped)
			if !bytes.Equal(l.read(), installed) {
				t.Error("the file is not as it was")
			}
			l.reconcile()
			l.wantOriginal()
			l.wantServices(exchangeServices())
			l.wantPool(ecpPool, PoolStarted)
		})
	}
}

func enable(l *lab, name string) error {
	ctx := l.t.Context()
	return errors.Join(l.services.SetStartType(ctx, name, control.StartAutomatic), l.services.Start(ctx, name))
}

func TestNothingOfAMitigationComesBackWithAReboot(t *testing.T) {
	l := newExchangeLab(t)
	both := mitigation("M1", 1, append(a1("M1").Actions, s1("M1").Actions...)...)
	l.reconcile(both)
	if err := errors.Join(standin.NewPools(l.root, nil).Reboot(), standin.NewServices(l.root, nil).Reboot()); err != nil {
		t.Fatal(err)
	}
	l.wantPool(ecpPool, PoolStopped)
	l.wantOff("MSExchangeUM", "MSExchangeHM")
	l.open()
	l.wantState(l.reconcile(both)["M1"], Applied, "", false)
}

func TestAServiceThatCannotBeSwitchedOffKeepsItsMitigationOut(t *testing.T) {
	for name, tc := range map[string]struct{ service, reason string }{
		"one that the server does not have": {"Nope", ServiceNotFound},
		"one that others need":              {"MSExchangeADTopology", ServiceStopFailed},
	} {
		t.Run(name, func(t *testing.T) {
			l := newExchangeLab(t)
			m := mitigation("M1", 1, rewrite("M1.1", "a"), pool("M1.2", "DefaultAppPool"), service("M1.3", tc.service))
			out := l.reconcile(m, mitigation("M2", 1, rewrite("M2.1", "b")))
			l.wantState(out["M1"], Failed, tc.reason, false)
			l.wantState(out["M2"], Applied, "", true)
			l.wantInFile("EMS M1", 0)
			l.wantApplied("M2/1")
			l.wantPool("DefaultAppPool", PoolStarted)
			l.wantServices(exchangeServices())
			l.reconcile()
			l.wantOriginal()
		})
	}
}

func TestARecordOfAServiceThatIsDamagedStartsItAgain(t *testing.T) {
	l := newExchangeLab(t)
	m := mitigation("M1", 1, service("M1.1", "Spooler"))
	l.reconcile(m)
	if err := os.WriteFile(filepath.Join(l.state, "journal", "service-spooler.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.wantState(l.reconcile(m)["M1"], Applied, "", false)
	if f, err := l.server.Facts(); err != nil || !slices.Equal(f.Damaged, []string{"service spooler"}) {
		t.Errorf("damaged %v, error %v", f.Damaged, err)
	}
	l.reconcile()
	l.wantServices(exchangeServices())
}

func TestAServiceStaysOffWhenTheRecordOfItsMitigationIsDamaged(t *testing.T) {
	l := newExchangeLab(t)
	l.reconcile(s1("S1"))
	path := filepath.Join(l.state, "journal", "mitigation-s1.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.wantState(l.reconcile()["S1"], Failed, JournalCorrupt, false)
	l.wantOff("MSExchangeUM", "MSExchangeHM")
	l.wantState(l.reconcile(s1("S1"))["S1"], Applied, "", true)
	l.reconcile()
	l.wantServices(exchangeServices())
}

func TestPoolsAndServicesAreHeldWhileTheFileIsBroken(t *testing.T) {
	l := newExchangeLab(t)
	l.reconcile(s1("S1"))
	installed := l.read()
	if err := os.WriteFile(l.configPath(), []byte("<configuration>"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := enable(l, "MSExchangeUM"); err != nil {
		t.Fatal(err)
	}
	out := l.reconcile(s1("S1"), a1("A1"))
	l.wantState(out["S1"], Failed, ConfigurationMalformed, false)
	l.wantState(out["A1"], Failed, ConfigurationMalformed, false)
	l.wantOff("MSExchangeUM")
	l.wantApplied("S1/1")
	if err := os.WriteFile(l.configPath(), installed, 0o644); err != nil {
		t.Fatal(err)
	}
	l.wantState(l.reconcile(s1("S1"))["S1"], Applied, "", false)
}

func TestAFightIsReportedAndEnds(t *testing.T) {
	clock := hastyClock{clocktesting.NewFakeClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC))}
	for name, meddle := range map[string]func(*lab){
		"over a pool":     func(l *lab) { _ = l.pools.Start(l.t.Context(), ecpPool) },
		"over a service":  func(l *lab) { _ = enable(l, "MSExchangeHM") },
		"over settings":   func(l *lab) { l.flip() },
		"over everything": func(l *lab) { _ = l.pools.Start(l.t.Context(), ecpPool); _ = enable(l, "MSExchangeHM"); l.flip() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newExchangeLab(t)
			l.clock = clock
			l.open()
			l.reconcile(a1("A1"))
			meddle(l)
			l.wantState(l.reconcile(a1("A1"))["A1"], Applied, "", true)
			contested, changes := 0, 0
			for range 40 {
				meddle(l)
				o := l.reconcile(a1("A1"))["A1"]
				if o.State == Failed && o.Reason == StateContested {
					contested++
				}
				if o.Changed {
					changes++
				}
				clock.Step(30 * time.Second)
			}
			if contested != 40 {
				t.Errorf("reported %d times of 40", contested)
			}
			// Over 20 minutes: 0, 30 s, 1, 2 and 4 minutes apart, then every five.
			if changes > 12 {
				t.Errorf("fought %d times of 40", changes)
			}
			l.wantApplied("A1/1")
			for range 60 {
				clock.Step(30 * time.Second)
				l.reconcile(a1("A1"))
			}
			l.wantState(l.reconcile(a1("A1"))["A1"], Applied, "", false)
			l.wantPool(ecpPool, PoolStopped)
			l.wantOff("MSExchangeHM")
			l.wantInFile(`autoStart="false"`, 2)
			l.reconcile()
			l.wantOriginal()
			l.wantServices(exchangeServices())
		})
	}
}

// flip lets a pool start by itself, as its administrator wants it, whenever it does not.
func (l *lab) flip() {
	if strings.Contains(string(l.read()), `"MSExchangeECPAppPool" autoStart="false"`) {
		l.edit(`"MSExchangeECPAppPool" autoStart="false"`, `"MSExchangeECPAppPool"`)
	}
}

func TestAFightDoesNotKeepOthersOut(t *testing.T) {
	l := newExchangeLab(t)
	l.reconcile(a1("A1"))
	for range 3 {
		l.flip()
		l.reconcile(a1("A1"))
	}
	l.flip()
	out := l.reconcile(a1("A1"), mitigation("M1", 1, rewrite("M1.1", "a")))
	l.wantState(out["M1"], Applied, "", true)
	l.wantInFile("EMS M1.1", 1)
	l.wantInFile(`autoStart="false"`, 2)
}

// dying ends the process in the middle of things: when a pool is stopped.
type dying struct {
	PoolController
	pool string
}

type processEnds struct{}

func (d *dying) Stop(ctx context.Context, pool string) error {
	if pool == d.pool {
		panic(processEnds{})
	}
	return d.PoolController.Stop(ctx, pool)
}

// die reconciles in a process that ends when it stops the pool of the control panel.
func (l *lab) die(wanted ...Mitigation) {
	l.t.Helper()
	alive := l.pools
	l.pools = &dying{alive, ecpPool}
	l.open()
	func() {
		defer func() {
			if r := recover(); r != any(processEnds{}) {
				l.t.Fatalf("the process did not end as it should: %v", r)
			}
		}()
		_, _ = l.server.Reconcile(l.t.Context(), wanted)
	}()
	l.pools = alive
	l.open()
}

func TestARevisionThatEndsTheAgentTwiceIsTakenBack(t *testing.T) {
	one := mitigation("M1", 1, rewrite("M1.1", "a"))
	two := mitigation("M1", 2, rewrite("M1.1", "b"), pool("M1.2", ecpPool))
	other := mitigation("M2", 1, rewrite("M2.1", "c"))
	l := newLab(t, iistree.Options{})
	l.reconcile(one, other)
	installed := l.read()
	l.die(two, other)
	l.die(two, other)
	for range 2 {
		out := l.reconcile(two, other)
		l.wantState(out["M1"], Failed, CrashLoop, false)
		l.wantState(out["M2"], Applied, "", false)
		if out["M1"].Revision != 2 || !strings.Contains(out["M1"].Message, "revision 1 stays") || !strings.Contains(out["M1"].Message, "2 times") {
			t.Errorf("outcome %+v", out["M1"])
		}
		l.open()
	}
	if !bytes.Equal(l.read(), installed) {
		t.Error("the earlier revision is not as it was")
	}
	l.wantApplied("M1/1", "M2/1")
	three := two
	three.Revision = 3
	l.wantState(l.reconcile(three, other)["M1"], Applied, "", true)
	l.wantPool(ecpPool, PoolStopped)
	l.reconcile()
	l.wantOriginal()
	l.wantPool(ecpPool, PoolStarted)
	if left := l.journal(); slices.ContainsFunc(left, func(n string) bool { return strings.HasPrefix(n, kindAttempt) }) {
		t.Errorf("records left: %v", left)
	}
}

func TestBlockingAndUnblockingGivesARevisionAnotherChance(t *testing.T) {
	m := mitigation("M1", 1, pool("M1.1", ecpPool))
	l := newLab(t, iistree.Options{})
	l.die(m)
	l.die(m)
	l.wantState(l.reconcile(m)["M1"], Failed, CrashLoop, false)
	l.wantOriginal()
	l.reconcile()
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
}

func TestOneCrashIsForgottenWithSuccess(t *testing.T) {
	m := mitigation("M1", 1, pool("M1.1", ecpPool))
	l := newLab(t, iistree.Options{})
	for range 3 {
		l.die(m)
		l.wantState(l.reconcile(m)["M1"], Applied, "", true)
		l.reconcile()
	}
	l.wantOriginal()
}

func TestAnErrorBetweenTwoCrashesDoesNotHideThem(t *testing.T) {
	m := mitigation("M1", 1, pool("M1.1", ecpPool))
	l := newLab(t, iistree.Options{})
	l.die(m)
	alive := l.pools
	l.pools = &stubborn{PoolController: alive, noStop: ecpPool}
	l.open()
	l.wantState(l.reconcile(m)["M1"], Failed, PoolStopFailed, false)
	l.pools = alive
	l.die(m)
	l.wantState(l.reconcile(m)["M1"], Failed, CrashLoop, false)
}

func TestOnlyTheGuiltyOneIsTakenBack(t *testing.T) {
	list := []Mitigation{mitigation("M1", 1, rewrite("M1.1", "a")), mitigation("M2", 1, pool("M2.1", ecpPool)), mitigation("M3", 1, rewrite("M3.1", "c"))}
	l := newLab(t, iistree.Options{})
	l.die(list...)
	l.die(list...)
	out := l.reconcile(list...)
	got := map[string]State{}
	for id, o := range out {
		got[id] = o.State
	}
	if want := map[string]State{"M1": Applied, "M2": Failed, "M3": Applied}; !maps.Equal(got, want) || out["M2"].Reason != CrashLoop {
		t.Errorf("outcomes %v", out)
	}
	l.wantApplied("M1/1", "M3/1")
	l.reconcile()
	l.wantOriginal()
}

func TestARefusalCostsOneWriteAndNoMore(t *testing.T) {
	l := newLab(t, iistree.Options{})
	counter := &crasher{FS: quickFS{}, pools: l.pools}
	l.fs = counter
	l.open()
	m := mitigation("M1", 1, pool("M1.1", "Nope"))
	l.wantState(l.reconcile(m)["M1"], Failed, PoolNotFound, false)
	n := counter.count
	for range 3 {
		l.wantState(l.reconcile(m)["M1"], Failed, PoolNotFound, false)
	}
	if counter.count != n || n == 0 {
		t.Errorf("%d changes on the disk, then %v", n, counter.calls[n:])
	}
}

// crashServices are services in front of which the world may stop, too.
type crashServices struct {
	*crasher
	services control.ServiceController
}

func (c crashServices) Query(ctx context.Context, service string) (control.Service, error) {
	if c.dead() {
		return control.Service{}, errCrash
	}
	return c.services.Query(ctx, service)
}

func (c crashServices) SetStartType(ctx context.Context, service string, start control.StartType) error {
	return c.step("set "+service, func() error { return c.services.SetStartType(ctx, service, start) })
}

func (c crashServices) Start(ctx context.Context, service string) error {
	return c.step("start "+service, func() error { return c.services.Start(ctx, service) })
}

func (c crashServices) Stop(ctx context.Context, service string) error {
	return c.step("stop "+service, func() error { return c.services.Stop(ctx, service) })
}

// TestPoolsAndServicesSurviveACrashAnywhere stops the agent after every step of an installation and of a
// removal. Afterwards going on must work, and taking everything back must leave the server as it was.
func TestPoolsAndServicesSurviveACrashAnywhere(t *testing.T) {
	both := []Mitigation{a1("A1"), s1("S1")}
	points, stride := 0, 1
	if testing.Short() {
		stride = sparser(5)
	}
	for name, tc := range map[string]struct{ before, after []Mitigation }{
		"installation": {nil, both}, "removal": {both, nil}, "one for the other": {both[:1], both[1:]},
	} {
		t.Run(name, func(t *testing.T) {
			// After a step is before the next one.
			for at, steps := 1, 1; at <= steps; at += stride {
				points++
				l := newExchangeLab(t)
				l.reconcile(tc.before...)
				c := &crasher{FS: quickFS{}, pools: l.pools, at: at, after: true}
				pools, services := l.pools, l.services
				l.pools, l.services, l.fs = c, crashServices{c, services}, c
				l.open()
				_, _ = l.server.Reconcile(t.Context(), tc.after)
				if c.dead() {
					steps = at + stride
				}
				l.pools, l.services, l.fs = pools, services, quickFS{}
				l.open()
				for _, o := range l.reconcile(tc.after...) {
					if o.State == Failed {
						t.Errorf("going on: %+v", o)
					}
				}
				if len(tc.after) > 0 {
					l.wantOff("MSExchangeUM", "MSExchangeUMCR", "MSExchangeHM", "MSExchangeHMRecovery")
				}
				l.reconcile()
				l.wantOriginal()
				l.wantServices(exchangeServices())
				l.wantPool(ecpPool, PoolStarted)
				l.wantPool("MSExchangeOABAppPool", PoolStarted)
				if t.Failed() {
					t.Fatalf("crash after %v", c.calls)
				}
			}
		})
	}
	if points < 100/stride {
		t.Errorf("only %d points", points)
	}
}

// stickyFS cannot remove records of attempts.
type stickyFS struct{ quickFS }

func (stickyFS) Remove(name string) error {
	if strings.HasPrefix(filepath.Base(name), kindAttempt) {
		return os.ErrPermission
	}
	return quickFS{}.Remove(name)
}

func TestAnAttemptThatCouldNotBeClosedIsNoCrashOfTheSameProcess(t *testing.T) {
	l := newLab(t, iistree.Options{})
	l.fs = stickyFS{}
	l.open()
	m := mitigation("M1", 1, pool("M1.1", ecpPool))
	for range 3 {
		l.wantState(l.reconcile(m)["M1"], Applied, "", true)
		l.reconcile()
	}
	l.wantOriginal()
}

func TestADamagedCountOfCrashesBeginsAnew(t *testing.T) {
	l := newLab(t, iistree.Options{})
	m := mitigation("M1", 1, pool("M1.1", ecpPool))
	l.die(m)
	l.die(m)
	if err := os.WriteFile(filepath.Join(l.state, "journal", "attempt-m1.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.wantState(l.reconcile(m)["M1"], Applied, "", true)
	if f, err := l.server.Facts(); err != nil || len(f.Damaged) != 0 {
		t.Errorf("damaged %v, error %v", f.Damaged, err)
	}
	l.reconcile()
	l.wantOriginal()
}
