package appcmd

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/iis/control"
	"mitigation.dev/ems/agent/iis/switchoff"
)

// built names a fakeappcmd.exe for machines on which the tests run without the go command.
const built = "EMS_TEST_FAKEAPPCMD"

// buildDir is the folder that the program was built in, if it was.
var buildDir string

// program is built once for all tests.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(built); path != "" {
		return path, nil
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "fakeappcmd"); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "appcmd.exe")
	output, err := exec.Command("go", "build", "-o", path, "./fakeappcmd").CombinedOutput()
	if err != nil {
		return "", errors.New(err.Error() + ": " + string(output))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// machine is a server that fakeappcmd knows.
type machine struct {
	t      *testing.T
	path   string
	driver *Driver
}

func newMachine(t *testing.T, state map[string]any) *machine {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil && os.Getenv(built) == "" {
		t.Skip("the go command is needed to build fakeappcmd, or its path in "+built+": ", err)
	}
	exe, err := program()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, path: filepath.Join(t.TempDir(), "server.json")}
	if state["pools"] == nil {
		state["pools"] = []map[string]any{{"name": "R D's pool", "state": "Started"}, {"name": "Idle", "state": "Stopped"}}
	}
	data, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("FAKE_APPCMD", m.path)
	m.driver = &Driver{path: exe, clock: clock.RealClock{}, run: func(ctx context.Context, path string, args []string) ([]byte, int, error) {
		return runCommand(ctx, path, args, m.exitCode)
	}}
	return m
}

// exitCode reads all 32 bits of the exit code, of which a process outside Windows shows eight.
func (m *machine) exitCode(exit *exec.ExitError) int {
	data, err := os.ReadFile(m.path + ".exit")
	if err != nil {
		m.t.Error(err)
		return exit.ExitCode()
	}
	code, err := strconv.Atoi(string(data))
	if err != nil || (code&0xff != exit.ExitCode() && exit.ExitCode() != 1 && code != exit.ExitCode()) {
		m.t.Errorf("exit code %d, and the file says %q", exit.ExitCode(), data)
	}
	return code
}

func (m *machine) calls() []string {
	m.t.Helper()
	var s struct{ Calls []string }
	data, err := os.ReadFile(m.path)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return s.Calls
}

func (m *machine) wantState(pool string, want control.PoolState) {
	m.t.Helper()
	if got, err := m.driver.State(m.t.Context(), pool); err != nil || got != want {
		m.t.Errorf("pool %q is %s, error %v; want %s", pool, got, err, want)
	}
}

// The agent asks for pools while it stops one, and what a killed agent called goes on beside what the next one calls.
func TestCallsAtTheSameTimeLoseNothing(t *testing.T) {
	m := newMachine(t, map[string]any{})
	const together = 12
	errs := make(chan error, together)
	for range together {
		go func() {
			_, err := m.driver.State(t.Context(), "Idle")
			errs <- err
		}()
	}
	for range together {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := len(m.calls()); got != together {
		t.Errorf("the server knows of %d calls, want %d", got, together)
	}
}

func TestAPoolIsStoppedAndStartedByTheProgram(t *testing.T) {
	m := newMachine(t, map[string]any{"slow": 2})
	if err := m.driver.Stop(t.Context(), "r d's POOL"); err != nil {
		t.Fatal(err)
	}
	m.wantState("R D's pool", control.PoolStopping)
	m.wantState("R D's pool", control.PoolStopping)
	m.wantState("R D's pool", control.PoolStopped)
	if err := m.driver.Start(t.Context(), "R D's pool"); err != nil {
		t.Fatal(err)
	}
	m.wantState("R D's pool", control.PoolStarting)
	if got := m.calls()[0]; got != "stop|apppool|r d's POOL|/xml" {
		t.Errorf("called with %s", got)
	}
}

func TestExitCodesOfTheProgramDecideInEveryLanguageAndOnBothStreams(t *testing.T) {
	tests := map[string]struct {
		state map[string]any
		do    func(context.Context, *Driver) error
		want  error
	}{
		"list of an unknown pool":  {nil, state("Nope"), control.ErrPoolNotFound},
		"stop of an unknown pool":  {nil, stop("Nope"), control.ErrPoolNotFound},
		"start of an unknown pool": {nil, start("Nope"), control.ErrPoolNotFound},
		"stop of a stopped pool":   {nil, stop("Idle"), control.ErrPoolNotRunning},
		"start of a started pool":  {nil, start("R D's pool"), control.ErrPoolRunning},
		"stop without the service": {map[string]any{"down": true}, stop("Idle"), control.ErrPoolsUnavailable},
	}
	for name, tc := range tests {
		for _, how := range []map[string]any{{}, {"russian": true}, {"stderr": true}, {"russian": true, "stderr": true}} {
			t.Run(name, func(t *testing.T) {
				maps.Copy(how, tc.state)
				if err := tc.do(t.Context(), newMachine(t, how).driver); !errors.Is(err, tc.want) {
					t.Errorf("%v: error %v", how, err)
				}
			})
		}
	}
	m := newMachine(t, map[string]any{"down": true})
	m.wantState("Idle", control.PoolUnknown)
}

func state(pool string) func(context.Context, *Driver) error {
	return func(ctx context.Context, d *Driver) error {
		_, err := d.State(ctx, pool)
		return err
	}
}

func stop(pool string) func(context.Context, *Driver) error {
	return func(ctx context.Context, d *Driver) error { return d.Stop(ctx, pool) }
}

func start(pool string) func(context.Context, *Driver) error {
	return func(ctx context.Context, d *Driver) error { return d.Start(ctx, pool) }
}

// instant is a clock on which every pause is over at once.
type instant struct{ *clocktesting.FakeClock }

func (c instant) After(d time.Duration) <-chan time.Time {
	c.Step(d)
	ch := make(chan time.Time, 1)
	ch <- c.Now()
	return ch
}

func TestReadsAreTriedAgainWhenTheConnectionBreaksAndChangesAreNot(t *testing.T) {
	for name, how := range map[string]map[string]any{"as an exit code": {}, "as an hresult": {"hresult": true}, "as an hresult, on the standard error": {"hresult": true, "stderr": true}} {
		t.Run(name, func(t *testing.T) {
			how["breaks"] = reads - 1
			m := newMachine(t, how)
			begin := time.Now()
			now := clocktesting.NewFakeClock(begin)
			m.driver.clock = instant{now}
			m.wantState("Idle", control.PoolStopped)
			if got := now.Since(begin); got != (reads-1)*readPause {
				t.Errorf("waited %s in all", got)
			}
			how["breaks"] = reads
			m = newMachine(t, how)
			m.driver.clock = instant{now}
			if _, err := m.driver.State(t.Context(), "Idle"); err == nil || len(m.calls()) != reads {
				t.Errorf("%d calls, error %v", len(m.calls()), err)
			}
			m = newMachine(t, how)
			if err := m.driver.Stop(t.Context(), "R D's pool"); err == nil || len(m.calls()) != 1 {
				t.Errorf("a stop was called %d times, error %v", len(m.calls()), err)
			}
		})
	}
}

// onDisk are records in memory; what is on the disk is tested with package iis.
type onDisk map[switchoff.Key]switchoff.Record

func (d onDisk) Record(k switchoff.Key) (switchoff.Record, bool) {
	rec, ok := d[k]
	return rec, ok
}

func (d onDisk) Put(kind switchoff.Kind, rec switchoff.Record) error {
	d[switchoff.Target{Kind: kind, Name: rec.Name}.Key()] = rec
	return nil
}

func (d onDisk) Delete(k switchoff.Key) error {
	delete(d, k)
	return nil
}

func TestPoolsGoOffAndComeBackThroughASlowProgramThatBreaksOff(t *testing.T) {
	m := newMachine(t, map[string]any{"slow": 3, "breaks": 2, "russian": true, "stderr": true})
	m.driver.clock = instant{clocktesting.NewFakeClock(time.Now())}
	keeper := switchoff.New(switchoff.Options{Pools: m.driver, Clock: m.driver.clock, Log: logr.Discard()})
	records := onDisk{}
	busy, idle := switchoff.Target{Kind: switchoff.Pool, Name: "R D's pool"}, switchoff.Target{Kind: switchoff.Pool, Name: "Idle"}
	for target, want := range map[switchoff.Target]bool{busy: true, idle: false} {
		for n := range 2 {
			if changed, err := keeper.Off(t.Context(), records, target); err != nil || changed != (want && n == 0) {
				t.Errorf("%s: changed %v, error %v", target, changed, err)
			}
		}
		m.wantState(target.Name, control.PoolStopped)
	}
	if failed := keeper.Restore(t.Context(), records, []switchoff.Target{busy, idle}); len(failed) != 0 || len(records) != 0 {
		t.Errorf("failed %v, records left %v", failed, records)
	}
	m.wantState(busy.Name, control.PoolStarted)
	m.wantState(idle.Name, control.PoolStopped)
	if changed, err := keeper.Off(t.Context(), records, switchoff.Target{Kind: switchoff.Pool, Name: "Nope"}); changed || !errors.Is(err, control.ErrPoolNotFound) {
		t.Errorf("an unknown pool: changed %v, error %v", changed, err)
	}
}

func TestAProgramThatHangsIsEnded(t *testing.T) {
	m := newMachine(t, map[string]any{"hang": 60_000})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := m.driver.State(ctx, "Idle"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if _, err := New(m.path+".none").State(t.Context(), "Idle"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is missing: %v", err)
	}
}

const rulesOutput = `<CONFIG CONFIG.SECTION="system.webServer/rewrite/rules" path="MACHINE/WEBROOT/APPHOST/Default Web Site" overrideMode="Inherit" locked="false">
  <system.webServer-rewrite-rules>
    <rule name="EMS M1.1 block"><match url=".*" /><action type="AbortRequest" /></rule>
  </system.webServer-rewrite-rules>
</CONFIG>`

func TestASectionIsReadBackFromTheProgram(t *testing.T) {
	m := newMachine(t, map[string]any{"breaks": 1, "sections": map[string]string{
		"system.webServer/rewrite/rules Default Web Site": rulesOutput, "system.webServer/modules ": rulesOutput,
	}})
	got, err := m.driver.ReadBack(t.Context(), "system.webServer/rewrite/rules", "Default Web Site")
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != "MACHINE/WEBROOT/APPHOST/Default Web Site" || got.OverrideMode != "Inherit" || got.Locked ||
		!strings.HasPrefix(string(got.Content), "<system.webServer-rewrite-rules>") || !strings.Contains(string(got.Content), "EMS M1.1 block") {
		t.Errorf("read back %+v", got)
	}
	if _, err := m.driver.ReadBack(t.Context(), "system.webServer/rewrite/rules", "Nope"); !errors.Is(err, ErrNoSection) {
		t.Errorf("a place that does not exist: %v", err)
	}
	if _, err := m.driver.ReadBack(t.Context(), "system.webServer/modules", ""); err == nil || !strings.Contains(err.Error(), "rewrite/rules") {
		t.Errorf("another section than was asked for: %v", err)
	}
	before := len(m.calls())
	for section, place := range map[string]string{"": "", "/xml": "", "a b": "", "system.webServer": "/xml", "system.applicationHost": `C:\x`} {
		if _, err := m.driver.ReadBack(t.Context(), section, place); err == nil {
			t.Errorf("section %q of %q was asked for", section, place)
		}
	}
	if len(m.calls()) != before {
		t.Error("the program was started with an argument that is no name")
	}
}
