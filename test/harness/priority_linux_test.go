package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestGiveWay lets a program of its own give way, since a program cannot take that back.
func TestGiveWay(t *testing.T) {
	const inside = "EMS_TEST_GIVE_WAY"
	if os.Getenv(inside) == "" {
		program := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGiveWay$", "-test.v")
		program.Env = append(os.Environ(), inside+"=1")
		if output, err := program.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		return
	}
	before := priorities(t, os.Getpid())
	if err := GiveWay(before[0] + 3); err != nil {
		t.Fatal(err)
	}
	child := &Process{Name: "cat", Path: "/bin/cat", Args: []string{"/dev/zero"}, LogPath: "/dev/null"}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Kill()
	if got := priorities(t, child.Pid()); !slices.Equal(got, before[:1]) {
		t.Errorf("niceness of the process that was started = %v, want %v as before", got, before[:1])
	}
	lower, all := 0, priorities(t, os.Getpid())
	for _, n := range all {
		if n == before[0]+3 {
			lower++
		}
	}
	if lower != len(all)-1 {
		t.Errorf("%d of %d threads give way, want all but the one that starts processes: %v", lower, len(all), all)
	}
}

// priorities are the nicenesses of the threads of a process.
func priorities(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	var list []int
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		const nice = 16 // the 19th field of the file; the third comes first here
		var n int
		if _, err := fmt.Sscan(fields[nice], &n); err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}
