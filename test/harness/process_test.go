//go:build unix

package harness

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeper is a shell with a child of its own, whose process id it prints.
func sleeper(t *testing.T, script string) *Process {
	p := &Process{Name: "sleeper", Path: "/bin/sh", Args: []string{"-c", script}, LogPath: filepath.Join(t.TempDir(), "logs", "sleeper.log")}
	t.Cleanup(p.Kill)
	if p.Running() || p.Pid() != 0 {
		t.Fatal("it runs before it was started")
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// child waits for the process id that the shell prints.
func child(t *testing.T, p *Process) int {
	t.Helper()
	pid := 0
	err := Wait(t.Context(), time.Minute, "the child", func(context.Context) (bool, string) {
		var err error
		pid, err = strconv.Atoi(strings.TrimSpace(p.Tail(1)))
		return err == nil, p.Tail(1)
	})
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func gone(t *testing.T, pid int) {
	t.Helper()
	err := Wait(t.Context(), time.Minute, "the child to be gone", func(context.Context) (bool, string) {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		zombie := err == nil && strings.Contains(string(state), ") Z ")
		return zombie || syscall.Kill(pid, 0) != nil, "it runs"
	})
	if err != nil {
		t.Error(err)
	}
}

func TestKillTakesTheWholeGroup(t *testing.T) {
	p := sleeper(t, "sleep 600 & echo $!; wait")
	if !p.Running() || p.Start() == nil {
		t.Fatal("it does not run, or starts twice")
	}
	pid := child(t, p)
	p.Kill()
	if p.Running() {
		t.Error("it runs after it was killed")
	}
	gone(t, pid)
}

func TestStopTakesTheWholeGroupAndStartBeginsAnew(t *testing.T) {
	p := sleeper(t, "sleep 600 & echo $!; wait")
	first := child(t, p)
	p.Stop()
	if p.Running() {
		t.Error("it runs after it was stopped")
	}
	gone(t, first)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	p.Stop() // a second time is no harm
	if p.Running() {
		t.Error("it runs after it was stopped again")
	}
}

func TestAProcessThatEndsByItselfDoesNotRun(t *testing.T) {
	p := sleeper(t, "echo done")
	err := Wait(t.Context(), time.Minute, "its end", func(context.Context) (bool, string) { return !p.Running(), "it runs" })
	if err != nil {
		t.Fatal(err)
	}
	if p.Tail(5) != "done" {
		t.Errorf("log %q", p.Tail(5))
	}
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	p := &Process{Name: "nobody", Path: filepath.Join(t.TempDir(), "nobody"), LogPath: filepath.Join(t.TempDir(), "log")}
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("error %v", err)
	}
	if p.Running() {
		t.Error("it runs")
	}
}
