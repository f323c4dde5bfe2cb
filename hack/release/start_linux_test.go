package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// startInRoot runs the program of an image with nothing but the image's files, as the image's user.
func startInRoot(t *testing.T, files map[string]*tarFile) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: the image was not started")
		return
	}
	root := t.TempDir()
	for name, file := range files {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, file.content, os.FileMode(file.mode))); err != nil {
			t.Fatal(err)
		}
	}
	start := func(args ...string) (string, error) {
		command := exec.CommandContext(t.Context(), "/ems", args...)
		command.Dir, command.Env = "/", []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		output, err := command.CombinedOutput()
		return string(output), err
	}
	if output, err := start("--version"); err != nil || !strings.Contains(output, "v9.8.7") {
		t.Errorf("--version says %q, %v", output, err)
	}
	// Without a cluster the manager ends, and says why: it got as far as its own work.
	if output, err := start("--leader-elect", "--namespace=ems-system"); err == nil || !strings.Contains(output, "find the API server") {
		t.Errorf("without a cluster it says %q, %v", output, err)
	}
}
