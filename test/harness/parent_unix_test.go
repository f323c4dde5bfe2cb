//go:build unix

package harness

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

const orphan = "EMS_TEST_ORPHAN"

// TestEndWithParent starts this program under a shell that ends: the program has to notice, and to end by itself. The pipe that it holds
// tells when it has.
func TestEndWithParent(t *testing.T) {
	if os.Getenv(orphan) != "" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		EndWithParent(ctx, cancel)
		_, _ = os.Stdout.WriteString("noticed")
		return
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	// The shell ends when its input does, and with it the parent of what it started.
	parent := exec.Command("sh", "-c", `"$0" -test.run='^TestEndWithParent$' & read -r line`, os.Args[0])
	parent.Env, parent.Stdout = append(os.Environ(), orphan+"=1"), write
	input, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	if err := read.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := read.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Fatalf("it ended while its parent was there: %v", err)
	}
	_ = input.Close()
	_ = parent.Wait()
	if err := read.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(read); err != nil || len(said) < 7 || string(said[:7]) != "noticed" {
		t.Fatalf("%q %v", said, err)
	}
}

func TestEndWithParentEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	EndWithParent(ctx, func() { t.Error("it cancelled although the parent is there") })
}
