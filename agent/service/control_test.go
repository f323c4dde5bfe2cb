package service

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

const name = "EMSAgent"

// memory is a service control manager. Every query takes a poll's time, after which pending states come to their end.
type memory struct {
	clock    *clocktesting.FakeClock
	services map[string]*Status
	// after are the states that a service goes through, one for each query.
	after map[string][]Status
	// deny makes every change fail.
	deny error
	// lingers is how often a removed service is still being removed.
	lingers int
	calls   []string
}

func newMemory() *memory {
	return &memory{clock: clocktesting.NewFakeClock(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)), services: map[string]*Status{}, after: map[string][]Status{}}
}

func (m *memory) Query(name string) (Status, error) {
	m.clock.Step(pollInterval)
	s, ok := m.services[name]
	if !ok {
		return Status{}, ErrNotInstalled
	}
	if s.Command == "" && m.lingers > 0 { // removed, but somebody has it open
		if m.lingers--; m.lingers == 0 {
			delete(m.services, name)
		}
		return Status{}, ErrBeingDeleted
	}
	if next := m.after[name]; len(next) > 0 {
		s.State, s.ExitCode = next[0].State, next[0].ExitCode
		m.after[name] = next[1:]
	}
	return *s, nil
}

func (m *memory) call(verb, name string) error {
	m.calls = append(m.calls, verb)
	if m.deny != nil {
		return m.deny
	}
	if _, ok := m.services[name]; !ok && verb != "create" {
		return ErrNotInstalled
	}
	return nil
}

func (m *memory) Create(d Definition) error {
	if err := m.call("create", d.Name); err != nil {
		return err
	}
	m.services[d.Name] = &Status{State: Stopped, StartType: Automatic, Command: `"` + d.Program + `" ` + strings.Join(d.Arguments, " "), DependsOn: d.DependsOn}
	return nil
}

func (m *memory) Configure(d Definition) error {
	if err := m.call("configure", d.Name); err != nil {
		return err
	}
	s := m.services[d.Name]
	s.StartType, s.Command, s.DependsOn = Automatic, `"`+d.Program+`" `+strings.Join(d.Arguments, " "), d.DependsOn
	return nil
}

func (m *memory) Start(name string) error {
	if err := m.call("start", name); err != nil {
		return err
	}
	if m.services[name].State == Running {
		return ErrRunning
	}
	if len(m.after[name]) == 0 {
		m.after[name] = []Status{{State: StartPending}, {State: Running}}
	}
	return nil
}

func (m *memory) Stop(name string) error {
	if err := m.call("stop", name); err != nil {
		return err
	}
	if m.services[name].State == StartPending {
		return ErrNotReady
	}
	if len(m.after[name]) == 0 {
		m.after[name] = []Status{{State: StopPending}, {State: StopPending}, {State: Stopped}}
	}
	return nil
}

func (m *memory) Delete(name string) error {
	if err := m.call("delete", name); err != nil {
		return err
	}
	if m.lingers > 0 {
		*m.services[name] = Status{}
		return nil
	}
	delete(m.services, name)
	return nil
}

func (m *memory) control() Control { return Control{Manager: m, Clock: m.clock} }

func definition() Definition {
	return Definition{
		Name: name, Program: `C:\Program Files\EMS\ems-agent.exe`, Arguments: []string{"service", "run"}, DependsOn: []string{"WAS", "W3SVC"},
	}
}

func TestInstallDependsOnWhatCanBeStarted(t *testing.T) {
	for name, tc := range map[string]struct {
		services    map[string]*Status
		wantDepends []string
		wantLeftOut []string
	}{
		"a server with IIS":                 {map[string]*Status{"WAS": {StartType: Manual}, "W3SVC": {StartType: Automatic}}, []string{"WAS", "W3SVC"}, nil},
		"a server without IIS":              {nil, nil, []string{"WAS (not installed)", "W3SVC (not installed)"}},
		"a server whose web service is off": {map[string]*Status{"WAS": {StartType: Manual}, "W3SVC": {StartType: Disabled}}, []string{"WAS"}, []string{"W3SVC (disabled)"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			maps.Copy(m.services, tc.services)
			outcome, err := m.control().Install(t.Context(), definition())
			if err != nil || outcome.Existed {
				t.Fatalf("existed %v, error %v", outcome.Existed, err)
			}
			if diff := cmp.Diff(Outcome{DependsOn: tc.wantDepends, LeftOut: tc.wantLeftOut}, outcome); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantDepends, m.services["EMSAgent"].DependsOn); diff != "" {
				t.Errorf("service (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInstallAgainSetsUpAnew(t *testing.T) {
	m := newMemory()
	m.services[name] = &Status{State: Running, StartType: Disabled, Command: `C:\old\EMS-Agent.exe service run --pool=old`}
	outcome, err := m.control().Install(t.Context(), definition())
	if err != nil || !outcome.Existed {
		t.Fatalf("existed %v, error %v", outcome.Existed, err)
	}
	want := Status{State: Running, StartType: Automatic, Command: `"C:\Program Files\EMS\ems-agent.exe" service run`}
	if diff := cmp.Diff(want, *m.services[name]); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
}

func TestInstallLeavesForeignServicesAlone(t *testing.T) {
	m := newMemory()
	m.services[name] = &Status{State: Running, Command: `"C:\Program Files\Other\other.exe" ems-agent.exe`}
	if _, err := m.control().Install(t.Context(), definition()); !errors.Is(err, ErrForeign) {
		t.Errorf("error %v", err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls %q", m.calls)
	}
}

func TestInstallWaitsForTheRemovalOfTheOldOne(t *testing.T) {
	m := newMemory()
	m.services[name], m.lingers = &Status{}, 5
	if outcome, err := m.control().Install(t.Context(), definition()); err != nil || outcome.Existed {
		t.Errorf("existed %v, error %v", outcome.Existed, err)
	}
}

func TestStartWaitsUntilTheServiceRuns(t *testing.T) {
	for name, tc := range map[string]struct {
		after   []Status
		wantErr error
	}{
		"it comes up":          {[]Status{{State: StartPending}, {State: StartPending}, {State: Running}}, nil},
		"it ends at once":      {[]Status{{State: StartPending}, {State: Stopped, ExitCode: 1}}, ErrEndedAtOnce},
		"it never gets there":  {manyOf(StartPending), ErrTakesTooLong},
		"it is running before": {[]Status{{State: Running}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.services["EMSAgent"], m.after["EMSAgent"] = &Status{State: Stopped, Command: "c"}, tc.after
			if err := m.control().Start(t.Context(), "EMSAgent"); !errors.Is(err, tc.wantErr) {
				t.Errorf("error %v, want %v", err, tc.wantErr)
			}
		})
	}
}

// manyOf is a state that outlasts all patience.
func manyOf(state State) []Status {
	list := make([]Status, 2*patience/pollInterval)
	for i := range list {
		list[i].State = state
	}
	return list
}

func TestStopAsksOnceAndWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		state     State
		after     []Status
		wantErr   error
		wantCalls []string
	}{
		"it runs":          {Running, nil, nil, []string{"stop"}},
		"it has stopped":   {Stopped, nil, nil, nil},
		"it hangs":         {Running, manyOf(StopPending), ErrTakesTooLong, []string{"stop"}},
		"it is coming up":  {StartPending, []Status{{State: StartPending}, {State: StartPending}, {State: Running}}, nil, []string{"stop", "stop", "stop"}},
		"it was not there": {"", nil, ErrNotInstalled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			if tc.state != "" {
				m.services["EMSAgent"], m.after["EMSAgent"] = &Status{State: tc.state, Command: "c"}, tc.after
			}
			if err := m.control().Stop(t.Context(), "EMSAgent"); !errors.Is(err, tc.wantErr) {
				t.Errorf("error %v, want %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.wantCalls, m.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUninstallWaitsUntilTheServiceIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		installed   bool
		lingers     int
		wantErr     error
		wantExisted bool
	}{
		"a running service":            {installed: true, wantExisted: true},
		"one that somebody has open":   {installed: true, lingers: 7, wantExisted: true},
		"one that somebody keeps open": {installed: true, lingers: int(2 * patience / pollInterval), wantErr: ErrTakesTooLong, wantExisted: true},
		"none":                         {},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.lingers = tc.lingers
			if tc.installed {
				m.services["EMSAgent"] = &Status{State: Running, Command: "c"}
			}
			existed, err := m.control().Uninstall(t.Context(), "EMSAgent")
			if existed != tc.wantExisted || !errors.Is(err, tc.wantErr) {
				t.Errorf("existed %v, error %v, want %v, %v", existed, err, tc.wantExisted, tc.wantErr)
			}
		})
	}
}

func TestRefusalsAreHandedOn(t *testing.T) {
	m := newMemory()
	m.deny = ErrDenied
	c := m.control()
	_, err := c.Install(t.Context(), definition())
	m.services[name] = &Status{State: Running, Command: "c"}
	_, uninstall := c.Uninstall(t.Context(), name)
	for call, err := range map[string]error{"install": err, "uninstall": uninstall, "start": c.Start(t.Context(), name), "stop": c.Stop(t.Context(), name)} {
		if !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	m := newMemory()
	m.services[name] = &Status{State: Running, Command: "c"}
	m.after[name] = manyOf(StopPending)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.control().Stop(ctx, name); !errors.Is(err, context.Canceled) && !errors.Is(err, ErrTakesTooLong) {
		t.Errorf("error %v", err)
	}
}

func TestThePrograms(t *testing.T) {
	const ours = `C:\Program Files\EMS\ems-agent.exe`
	for command, want := range map[string]bool{
		`"C:\Program Files\EMS\ems-agent.exe" service run`: true,
		`C:\EMS\EMS-AGENT.EXE service run`:                 true,
		`"C:\a\ems-agent-2.exe"`:                           false,
		`C:\Windows\System32\svchost.exe -k netsvcs`:       false,
		`"unclosed`: false,
		``:          false,
	} {
		if got := sameProgram(command, ours); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}
