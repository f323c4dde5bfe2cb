package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/windows"
	"k8s.io/utils/clock"
)

// TestMain makes the test program a service when it is started as one: the argument says what it does.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != "-as-service" {
		os.Exit(m.Run())
	}
	code, err := Run("", func(ctx context.Context, ready func()) error {
		if os.Args[2] == "fails" {
			return errors.New("boom")
		}
		ready()
		<-ctx.Done()
		return os.WriteFile(os.Args[2], []byte("stopped"), 0o600)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(int(code))
}

// wine tells whether this is Wine and not Windows.
func wine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// installed makes a service of the test program; without the right to do that the test is skipped.
func installed(t *testing.T, does string) (Control, Definition) {
	t.Helper()
	manager, err := Connect()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := Definition{
		Name: fmt.Sprintf("EMSServiceTest%d", os.Getpid()), DisplayName: "EMS test", Description: "A test.", Program: exe,
		Arguments: []string{"-as-service", does, "", `a "quoted" argument\`}, DependsOn: []string{"EMSNoSuchService"},
		Restarts: []time.Duration{time.Minute}, FailuresForgotten: time.Hour, PreShutdown: StopLimit,
	}
	c := Control{Manager: manager, Clock: clock.RealClock{}}
	outcome, err := c.Install(t.Context(), d)
	if errors.Is(err, ErrDenied) {
		t.Skip("no right to install a service: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.Uninstall(context.WithoutCancel(t.Context()), d.Name); err != nil {
			t.Error(err)
		}
	})
	if diff := cmp.Diff(Outcome{LeftOut: []string{"EMSNoSuchService (not installed)"}}, outcome); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	return c, d
}

func TestTheLifeOfAService(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "with a blank", "trace")
	if err := os.MkdirAll(filepath.Dir(trace), 0o700); err != nil {
		t.Fatal(err)
	}
	c, d := installed(t, trace)
	ctx := t.Context()
	status, err := c.Manager.Query(d.Name)
	if err != nil || status.State != Stopped || status.StartType != Automatic || status.PID != 0 || !strings.HasPrefix(status.Command, `"`+d.Program+`" -as-service`) {
		t.Fatalf("after install: %+v, %v", status, err)
	}
	if err := c.Manager.Create(d); !errors.Is(err, ErrInstalled) {
		t.Errorf("a second service: %v", err)
	}
	for range 2 { // the second start and stop of each round do nothing
		if err := errors.Join(c.Start(ctx, d.Name), c.Start(ctx, d.Name)); err != nil {
			t.Fatal(err)
		}
		if status, err = c.Manager.Query(d.Name); err != nil || status.State != Running || status.PID == 0 {
			t.Fatalf("running: %+v, %v", status, err)
		}
		if err := errors.Join(c.Stop(ctx, d.Name), c.Stop(ctx, d.Name)); err != nil {
			t.Fatal(err)
		}
		if said, err := os.ReadFile(trace); err != nil || string(said) != "stopped" {
			t.Errorf("the program was not heard to the end: %q, %v", said, err)
		}
		if err := os.Remove(trace); err != nil {
			t.Error(err)
		}
	}
	if status, err = c.Manager.Query(d.Name); err != nil || status.ExitCode != 0 {
		t.Errorf("stopped: %+v, %v", status, err)
	}
	d.Arguments, d.DependsOn = []string{"other"}, []string{"RpcSs"}
	if outcome, err := c.Install(ctx, d); err != nil || !outcome.Existed {
		t.Errorf("install again: %+v, %v", outcome, err)
	}
	if status, err = c.Manager.Query(d.Name); err != nil || !strings.HasSuffix(status.Command, `" other`) {
		t.Errorf("set up anew: %+v, %v", status, err)
	}
	if wine() {
		t.Log("Wine does not give back what a service depends on: not looked at")
	} else if !cmp.Equal(status.DependsOn, []string{"RpcSs"}) {
		t.Errorf("depends on %q", status.DependsOn)
	}
	d.DependsOn = nil
	if _, err := c.Install(ctx, d); err != nil {
		t.Error(err)
	}
	if status, err = c.Manager.Query(d.Name); err != nil || len(status.DependsOn) != 0 {
		t.Errorf("without dependencies: %+v, %v", status, err)
	}
}

func TestAServiceThatFailsSaysSo(t *testing.T) {
	c, d := installed(t, "fails")
	if err := c.Start(t.Context(), d.Name); !errors.Is(err, ErrEndedAtOnce) {
		t.Errorf("start: %v", err)
	}
	status, err := c.Manager.Query(d.Name)
	if err != nil || status.ExitCode != ExitFailed || !status.Specific {
		t.Errorf("status %+v, %v", status, err)
	}
}

func TestAKilledServiceIsSeenAsStopped(t *testing.T) {
	c, d := installed(t, filepath.Join(t.TempDir(), "trace"))
	if err := c.Start(t.Context(), d.Name); err != nil {
		t.Fatal(err)
	}
	status, err := c.Manager.Query(d.Name)
	if err != nil {
		t.Fatal(err)
	}
	process, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, status.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = windows.CloseHandle(process) }()
	if err := windows.TerminateProcess(process, 9); err != nil {
		t.Fatal(err)
	}
	err = c.poll(t.Context(), "to be seen", func() (bool, error) {
		status, err := c.Manager.Query(d.Name)
		return status.State == Stopped, err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRunOutsideOfAServiceFailsAtOnce(t *testing.T) {
	code, err := Run("", func(context.Context, func()) error { return nil })
	if code != ExitFailed || err == nil || !strings.Contains(err.Error(), "not started as a service") {
		t.Errorf("code %d, error %v", code, err)
	}
}

func TestHardenKeepsTheProgramWorking(t *testing.T) {
	if err := Harden(); err != nil {
		t.Fatal(err)
	}
	if err := windows.NewLazySystemDLL("crypt32.dll").Load(); err != nil {
		t.Error(err)
	}
}

// TestASecureFolder shows that the calls succeed and a link is refused. Whom the folder lets in cannot be read back under Wine.
func TestASecureFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "EMS", "state")
	for _, what := range []string{"a new folder", "an existing one"} {
		if err := SecureFolder(dir); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Error(err)
	}
	if err := SecureFolder(filepath.Join(dir, "file")); err == nil {
		t.Error("a file was taken for a folder")
	}
}
