package switchoff

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/refusal"
)

// memory keeps records and fails when told to.
type memory struct {
	known map[Key]Record
	err   error
}

func (m *memory) Record(k Key) (Record, bool) {
	rec, ok := m.known[k]
	return rec, ok
}

func (m *memory) Put(kind Kind, rec Record) error {
	if m.err == nil {
		m.known[Target{Kind: kind, Name: rec.Name}.Key()] = rec
	}
	return m.err
}

func (m *memory) Delete(k Key) error {
	if m.err == nil {
		delete(m.known, k)
	}
	return m.err
}

// machine is a server with pools and services. Like a real one it refuses what cannot be done.
type machine struct {
	t     *testing.T
	pools map[string]control.PoolState
	// services with their dependents.
	services   map[string]control.Service
	dependents map[string]string
	// slow is how many looks a change takes; left counts them down for what is on its way to next.
	slow int
	left int
	next func()
	// meddle is called after everything that succeeds, as another program may do something then.
	meddle func()
	calls  []string
	err    map[string]error
}

func newMachine(t *testing.T) *machine {
	return &machine{
		t:     t,
		pools: map[string]control.PoolState{"Web": control.PoolStarted, "Idle": control.PoolStopped, "MSExchangeECPAppPool": control.PoolStarted},
		services: map[string]control.Service{
			"Auto":    {StartType: control.StartAutomatic, State: control.ServiceRunning},
			"Delayed": {StartType: control.StartDelayed, State: control.ServiceRunning},
			"Manual":  {StartType: control.StartManual, State: control.ServiceStopped},
			"Ready":   {StartType: control.StartManual, State: control.ServiceRunning},
			"Off":     {StartType: control.StartDisabled, State: control.ServiceStopped},
			"Ghost":   {StartType: control.StartDisabled, State: control.ServiceRunning},
			"Paused":  {StartType: control.StartAutomatic, State: control.ServicePaused},
		},
		dependents: map[string]string{},
		err:        map[string]error{},
	}
}

func (m *machine) done(call string, passing, arrived func()) error {
	m.calls = append(m.calls, call)
	if err := m.err[call]; err != nil {
		return err
	}
	if m.slow > 0 {
		passing()
		m.left, m.next = m.slow, arrived
		return nil
	}
	arrived()
	m.meddled()
	return nil
}

func (m *machine) meddled() {
	if m.meddle != nil {
		m.meddle()
	}
}

func (m *machine) look() {
	if m.next == nil {
		return
	}
	if m.left--; m.left <= 0 {
		next := m.next
		m.next = nil
		next()
		m.meddled()
	}
}

type machinePools struct{ *machine }

func (m machinePools) State(_ context.Context, pool string) (control.PoolState, error) {
	m.look()
	state, ok := m.pools[pool]
	if !ok {
		return control.PoolUnknown, control.ErrPoolNotFound
	}
	return state, nil
}

func (m machinePools) Start(_ context.Context, pool string) error {
	if state, ok := m.pools[pool]; !ok {
		return control.ErrPoolNotFound
	} else if state == control.PoolStarted {
		return control.ErrPoolRunning
	}
	return m.done("start "+pool, func() { m.pools[pool] = control.PoolStarting }, func() { m.pools[pool] = control.PoolStarted })
}

func (m machinePools) Stop(_ context.Context, pool string) error {
	if state, ok := m.pools[pool]; !ok {
		return control.ErrPoolNotFound
	} else if state == control.PoolStopped {
		return control.ErrPoolNotRunning
	}
	return m.done("stop "+pool, func() { m.pools[pool] = control.PoolStopping }, func() { m.pools[pool] = control.PoolStopped })
}

type machineServices struct{ *machine }

func (m machineServices) set(name string, state control.ServiceState) func() {
	return func() {
		s := m.services[name]
		s.State = state
		m.services[name] = s
	}
}

func (m machineServices) Query(_ context.Context, name string) (control.Service, error) {
	m.look()
	s, ok := m.services[name]
	if !ok {
		return s, control.ErrServiceNotFound
	}
	return s, nil
}

func (m machineServices) SetStartType(_ context.Context, name string, start control.StartType) error {
	s, ok := m.services[name]
	if !ok {
		return control.ErrServiceNotFound
	}
	m.calls = append(m.calls, "set "+name+" "+string(start))
	s.StartType = start
	m.services[name] = s
	return m.err["set "+name]
}

func (m machineServices) Start(_ context.Context, name string) error {
	switch s, ok := m.services[name]; {
	case !ok:
		return control.ErrServiceNotFound
	case s.State == control.ServiceRunning:
		return control.ErrServiceRunning
	case s.StartType == control.StartDisabled:
		return control.ErrServiceDisabled
	}
	for needed, by := range m.dependents {
		if by == name && m.services[needed].StartType == control.StartDisabled {
			return control.ErrServiceDisabled
		}
	}
	return m.done("start "+name, m.set(name, control.ServiceStartPending), m.set(name, control.ServiceRunning))
}

func (m machineServices) Stop(_ context.Context, name string) error {
	switch s, ok := m.services[name]; {
	case !ok:
		return control.ErrServiceNotFound
	case s.State == control.ServiceStopped:
		return control.ErrServiceNotRunning
	case m.services[m.dependents[name]].State == control.ServiceRunning:
		return control.ErrDependentsRunning
	}
	return m.done("stop "+name, m.set(name, control.ServiceStopPending), m.set(name, control.ServiceStopped))
}

// hastyClock lets every wait pass at once.
type hastyClock struct{ *clocktesting.FakeClock }

func (c hastyClock) After(d time.Duration) <-chan time.Time {
	c.Step(d)
	ch := make(chan time.Time, 1)
	ch <- c.Now()
	return ch
}

type lab struct {
	*machine
	keeper *Keeper
	clock  hastyClock
	memory *memory
	last   error // of the last off
}

func newLab(t *testing.T) *lab {
	m := newMachine(t)
	l := &lab{machine: m, clock: hastyClock{clocktesting.NewFakeClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC))}, memory: &memory{known: map[Key]Record{}}}
	l.restart()
	return l
}

// restart makes a new keeper, as a new process does.
func (l *lab) restart() {
	l.keeper = New(Options{Pools: machinePools{l.machine}, Services: machineServices{l.machine}, Clock: l.clock, Log: logr.Discard()})
}

func (l *lab) off(t Target, wantChanged bool, wantReason string) {
	l.t.Helper()
	changed, err := l.keeper.Off(l.t.Context(), l.memory, t)
	if changed != wantChanged || refusal.Of(err, "") != wantReason || (err != nil) != (wantReason != "") {
		l.t.Errorf("off %s: changed %v, error %v; want %v, %q", t, changed, err, wantChanged, wantReason)
	}
	l.last = err
}

func (l *lab) restore(targets ...Target) map[Key]error {
	l.t.Helper()
	return l.keeper.Restore(l.t.Context(), l.memory, targets)
}

func (l *lab) wantPool(name string, want control.PoolState) {
	l.t.Helper()
	if got := l.pools[name]; got != want {
		l.t.Errorf("pool %s is %s, want %s", name, got, want)
	}
}

func pool(name string) Target    { return Target{Kind: Pool, Name: name} }
func service(name string) Target { return Target{Kind: Service, Name: name} }

func TestEverythingComesBackExactlyAsItWas(t *testing.T) {
	for _, slow := range []int{0, 5} {
		l := newLab(t)
		l.slow = slow
		pools, services := maps.Clone(l.pools), maps.Clone(l.services)
		delete(services, "Paused") // comes back running
		var targets []Target
		for _, name := range slices.Sorted(maps.Keys(l.pools)) {
			targets = append(targets, pool(name))
		}
		for _, name := range slices.Sorted(maps.Keys(l.services)) {
			targets = append(targets, service(name))
		}
		for range 2 {
			for _, target := range targets {
				if _, err := l.keeper.Off(t.Context(), l.memory, target); err != nil {
					t.Fatal(err)
				}
			}
			l.restart() // only what is on the disk counts
		}
		for name, state := range l.pools {
			if state != control.PoolStopped {
				t.Errorf("pool %s is %s", name, state)
			}
		}
		for name, s := range l.services {
			if s.StartType != control.StartDisabled || s.State != control.ServiceStopped {
				t.Errorf("service %s is %+v", name, s)
			}
		}
		if failed := l.restore(targets...); len(failed) != 0 || len(l.memory.known) != 0 {
			t.Errorf("failed %v, records left %v", failed, l.memory.known)
		}
		if l.services["Paused"].State != control.ServiceRunning || l.services["Paused"].StartType != control.StartAutomatic {
			t.Errorf("the paused service is %+v", l.services["Paused"])
		}
		delete(l.services, "Paused")
		if !maps.Equal(l.pools, pools) || !maps.Equal(l.services, services) {
			t.Errorf("afterwards: %v %v", l.pools, l.services)
		}
	}
}

func TestAServiceIsDisabledBeforeItIsStopped(t *testing.T) {
	l := newLab(t)
	l.off(service("Auto"), true, "")
	if got := strings.Join(l.calls, ", "); got != "set Auto Disabled, stop Auto" {
		t.Errorf("calls: %s", got)
	}
	l.off(service("Manual"), true, "")
	l.off(service("Off"), false, "")
	if got := strings.Join(l.calls[2:], ", "); got != "set Manual Disabled" {
		t.Errorf("calls: %s", got)
	}
}

func TestWhatIsNotThereIsAnErrorUnlessItIsOptional(t *testing.T) {
	l := newLab(t)
	l.off(service("Nope"), false, refusal.ServiceNotFound)
	l.off(pool("Nope"), false, refusal.PoolNotFound)
	l.off(Target{Kind: Service, Name: "Nope", Optional: true}, false, "")
	if len(l.memory.known) != 0 {
		t.Errorf("records %v", l.memory.known)
	}
}

func TestWhatWasDeletedNeedsNoRestoring(t *testing.T) {
	l := newLab(t)
	l.off(service("Auto"), true, "")
	l.off(pool("Web"), true, "")
	delete(l.services, "Auto")
	delete(l.pools, "Web")
	if failed := l.restore(service("Auto"), pool("Web")); len(failed) != 0 || len(l.memory.known) != 0 {
		t.Errorf("failed %v, records %v", failed, l.memory.known)
	}
}

func TestNothingIsTouchedThatIsNotOnRecord(t *testing.T) {
	l := newLab(t)
	l.memory.err = errors.New("disk full")
	l.off(pool("Web"), false, refusal.JournalFailed)
	l.wantPool("Web", control.PoolStarted)
	if len(l.calls) != 0 {
		t.Errorf("calls %v", l.calls)
	}
}

func TestAStartTypeThatSomebodySetSinceStays(t *testing.T) {
	l := newLab(t)
	l.off(service("Auto"), true, "")
	l.services["Auto"] = control.Service{StartType: control.StartManual, State: control.ServiceStopped}
	if failed := l.restore(service("Auto")); len(failed) != 0 {
		t.Errorf("failed %v", failed)
	}
	if got := l.services["Auto"]; got.StartType != control.StartManual || got.State != control.ServiceRunning {
		t.Errorf("service is %+v", got)
	}
}

func TestDependentsThatRunAreNotStoppedAlong(t *testing.T) {
	l := newLab(t)
	l.dependents["Auto"] = "Ready"
	l.off(service("Auto"), false, refusal.ServiceStopFailed)
	if !errors.Is(l.last, control.ErrDependentsRunning) || !strings.Contains(l.last.Error(), "name those services first") {
		t.Errorf("error %v", l.last)
	}
	if l.services["Ready"].State != control.ServiceRunning {
		t.Error("the dependent was stopped")
	}
	l.off(service("Ready"), true, "")
	l.off(service("Auto"), true, "")
	// Ready needs Auto, which may be started before Ready is.
	if failed := l.restore(service("Ready"), service("Auto")); len(failed) != 0 {
		t.Errorf("failed %v", failed)
	}
}

func TestStatesThatPassAreWaitedForOnceAndThenOnlyLookedAt(t *testing.T) {
	l := newLab(t)
	l.slow = 1000
	begin := l.clock.Now()
	l.off(pool("Web"), false, refusal.PoolStopFailed)
	if took := l.clock.Now().Sub(begin); took != patience {
		t.Errorf("waited %s", took)
	}
	begin = l.clock.Now()
	l.off(pool("Web"), false, refusal.PoolStopFailed)
	if !strings.Contains(l.last.Error(), "is not waited for until") {
		t.Errorf("error %v", l.last)
	}
	if took := l.clock.Now().Sub(begin); took != 0 {
		t.Errorf("waited %s more", took)
	}
	l.left = 0
	l.off(pool("Web"), false, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.left, l.slow = 0, 10
	if _, err := l.keeper.Off(ctx, l.memory, pool("MSExchangeECPAppPool")); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}

// deaf are services that have the order to stop and go on saying, for so many looks, that they run.
type deaf struct {
	machineServices
	looks int
	// successor is the process that somebody starts instead of the one that stopped; none if 0.
	successor uint32
	told      bool
}

func (d *deaf) Stop(context.Context, string) error {
	d.told = true
	return nil
}

func (d *deaf) Query(ctx context.Context, name string) (control.Service, error) {
	if d.told {
		d.looks--
	}
	s, err := d.machineServices.Query(ctx, name)
	s.Process = 42
	if d.told && d.looks < 0 {
		s.State, s.Process = control.ServiceStopped, 0
		if d.successor != 0 {
			s.State, s.Process = control.ServiceRunning, d.successor
		}
	}
	return s, err
}

func TestAServiceHasTimeToSayThatItStops(t *testing.T) {
	for name, tc := range map[string]struct {
		looks      int
		successor  uint32
		wantReason string
		wantWords  string
	}{
		"it says so at once":                     {looks: 0},
		"it says so after a moment":              {looks: 3},
		"it never does":                          {looks: 1 << 20, wantReason: refusal.ServiceStopFailed, wantWords: "goes on running, 30s after it was told to stop"},
		"another process runs in its place":      {looks: 0, successor: 43, wantReason: refusal.ServiceStopFailed, wantWords: "another program switches it on"},
		"another process does so after a moment": {looks: 3, successor: 43, wantReason: refusal.ServiceStopFailed, wantWords: "another program switches it on"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			d := &deaf{machineServices: machineServices{l.machine}, looks: tc.looks, successor: tc.successor}
			l.keeper = New(Options{Pools: machinePools{l.machine}, Services: d, Clock: l.clock, Log: logr.Discard()})
			l.off(service("Auto"), tc.wantReason == "", tc.wantReason)
			if l.last != nil && !strings.Contains(l.last.Error(), tc.wantWords) {
				t.Errorf("error %q, want %q in it", l.last, tc.wantWords)
			}
			if tc.wantReason == "" && d.looks >= 0 {
				t.Error("did not wait until it was off")
			}
		})
	}
}

func TestAServiceThatDoesNotStopIsNotWaitedForEachTime(t *testing.T) {
	l := newLab(t)
	d := &deaf{machineServices: machineServices{l.machine}, looks: 1 << 20}
	l.keeper = New(Options{Pools: machinePools{l.machine}, Services: d, Clock: l.clock, Log: logr.Discard()})
	l.off(service("Auto"), false, refusal.ServiceStopFailed)
	begin := l.clock.Now()
	l.off(service("Auto"), false, refusal.ServiceStopFailed)
	if waited := l.clock.Since(begin); waited > 0 {
		t.Errorf("waited another %s", waited)
	}
	d.looks = 1 // it stops after the next order
	l.clock.Step(maxBackOff)
	l.off(service("Auto"), true, "")
}

func TestAPoolThatDoesNotStayStartedIsReported(t *testing.T) {
	l := newLab(t)
	l.off(pool("Web"), true, "")
	l.meddle = func() { l.pools["Web"] = control.PoolStopped } // rapid-fail protection
	if err := l.restore(pool("Web"))[pool("Web").Key()]; refusal.Of(err, "") != refusal.PoolStartFailed {
		t.Errorf("error %v", err)
	}
	l.meddle = nil
	if failed := l.restore(pool("Web")); len(failed) != 0 || len(l.memory.known) != 0 {
		t.Errorf("failed %v", failed)
	}
}

func TestOneRestartIsRepairedAtOnceAndIsNoFight(t *testing.T) {
	l := newLab(t)
	l.off(pool("Web"), true, "")
	l.pools["Web"] = control.PoolStarted
	l.off(pool("Web"), true, "")
	l.wantPool("Web", control.PoolStopped)
	l.clock.Step(calm + backOff)
	l.off(pool("Web"), false, "")
	l.pools["Web"] = control.PoolStarted
	l.off(pool("Web"), true, "") // not the second time of the same fight
}

func TestAFightIsMetWithGrowingPausesAndReportedUntilItEnds(t *testing.T) {
	for name, target := range map[string]Target{"a pool": pool("Web"), "a service": service("Auto")} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			fight := func() {
				if target.Kind == Pool {
					l.pools["Web"] = control.PoolStarted
				} else {
					l.services["Auto"] = control.Service{StartType: control.StartAutomatic, State: control.ServiceRunning}
				}
			}
			l.off(target, true, "")
			fight()
			l.off(target, true, "")
			// A monitor that looks all the time, and an agent that does so every ten seconds, for an hour.
			stops, end := 0, l.clock.Now().Add(time.Hour)
			var last error
			for l.clock.Now().Before(end) {
				fight()
				changed, err := l.keeper.Off(t.Context(), l.memory, target)
				if refusal.Of(err, "") != refusal.StateContested {
					t.Fatalf("at %s: %v", l.clock.Now(), err)
				}
				last = err
				if changed {
					stops++
				}
				l.clock.Step(10 * time.Second)
			}
			// At 30 s, 1, 2 and 4 minutes, then every five, or a look later.
			if stops < 12 || stops > 18 {
				t.Errorf("switched off %d times in an hour", stops)
			}
			for _, part := range []string{"times since 2026-05-14T16:00:00Z", "find that program"} {
				if !strings.Contains(last.Error(), part) {
					t.Errorf("%q does not say %q", last, part)
				}
			}
			// The other program gives up.
			l.clock.Step(maxBackOff)
			l.off(target, true, refusal.StateContested)
			l.clock.Step(calm)
			l.off(target, false, refusal.StateContested)
			l.clock.Step(maxBackOff)
			l.off(target, false, "")
			if failed := l.restore(target); len(failed) != 0 {
				t.Errorf("failed %v", failed)
			}
		})
	}
}

func TestAPoolThatComesBackAtOnceIsNotStoppedInALoop(t *testing.T) {
	l := newLab(t)
	l.meddle = func() { l.pools["Web"] = control.PoolStarted }
	l.off(pool("Web"), false, refusal.PoolStopFailed)
	l.restore(pool("Web"))
	l.off(pool("Web"), false, refusal.StateContested)
	l.restore(pool("Web"))
	n := len(l.calls)
	for range 3 {
		l.off(pool("Web"), false, refusal.StateContested)
	}
	if len(l.calls) != n || len(l.memory.known) != 0 {
		t.Errorf("calls %v, records %v", l.calls[n:], l.memory.known)
	}
	l.meddle = nil
	l.clock.Step(maxBackOff)
	l.off(pool("Web"), true, refusal.StateContested)
	l.wantPool("Web", control.PoolStopped)
}

func TestAFightOverSettingsIsMetWithGrowingPauses(t *testing.T) {
	l := newLab(t)
	if wait, err := l.keeper.Settings("Web", false); wait || err != nil {
		t.Errorf("the first installation: %v, %v", wait, err)
	}
	if wait, err := l.keeper.Settings("web", false); wait || err != nil {
		t.Errorf("repaired once: %v, %v", wait, err)
	}
	repairs := 0
	for range 360 {
		wait, err := l.keeper.Settings("Web", false)
		if refusal.Of(err, "") != refusal.StateContested || !strings.Contains(err.Error(), "autoStart") {
			t.Fatalf("error %v", err)
		}
		if !wait {
			repairs++
		}
		l.clock.Step(10 * time.Second)
	}
	if repairs < 12 || repairs > 18 {
		t.Errorf("repaired %d times in an hour", repairs)
	}
	l.clock.Step(calm + 2*maxBackOff)
	if wait, err := l.keeper.Settings("Web", true); wait || err != nil {
		t.Errorf("afterwards: %v, %v", wait, err)
	}
}

func TestPrerequisites(t *testing.T) {
	hm := []Target{{Kind: Service, Name: "MSExchangeHMRecovery", Optional: true}, {Kind: Service, Name: "MSExchangeHM", Optional: true}}
	for name, tc := range map[string]struct{ targets, want []Target }{
		"a pool of Exchange needs the health manager off": {[]Target{pool("MSExchangeECPAppPool")}, hm},
		"so does a service, and two need it once":         {[]Target{service("MSExchangeUM"), pool("msexchangeowaapppool")}, hm},
		"others need nothing":                             {[]Target{pool("DefaultAppPool"), service("Spooler")}, nil},
	} {
		if got := Prerequisites(tc.targets); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !pool("MSExchangeECPAppPool").Requires(service("msexchangehm")) || pool("Web").Requires(service("MSExchangeHM")) {
		t.Error("who requires what is wrong")
	}
}
