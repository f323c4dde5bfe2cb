package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTheDockerfileCopiesWhatItBuilds does what the Dockerfile does, without an engine: into an empty folder goes what its COPY
// lines name, and there both commands are built with its flags.
func TestTheDockerfileCopiesWhatItBuilds(t *testing.T) {
	content, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile("../../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	stage, _, _ := strings.Cut(string(content), "\nFROM gcr.io/")
	var sources []string
	for _, line := range regexp.MustCompile(`(?m)^COPY (.+)$`).FindAllStringSubmatch(stage, -1) {
		fields := strings.Fields(line[1])
		sources = append(sources, fields[:len(fields)-1]...)
	}
	for _, source := range sources {
		if !slices.Contains(strings.Split(string(ignored), "\n"), "!"+source) {
			t.Errorf("%s is copied, and .dockerignore keeps it out", source)
		}
	}
	flags := regexp.MustCompile(`(?s)go build (.*?) -o /out/ems \./cmd/\$COMMAND`).FindStringSubmatch(stage)
	if flags == nil {
		t.Fatal("no go build in the Dockerfile")
	}
	for _, flag := range []string{"-trimpath", "-buildvcs=false", "-s -w -X mitigation.dev/ems/internal/version.Version=$VERSION"} {
		if !strings.Contains(flags[1], flag) {
			t.Errorf("the Dockerfile builds without %s, unlike hack/release", flag)
		}
	}
	if !strings.Contains(string(content), "\nUSER 65532:65532\n") || !strings.Contains(string(content), "\nENTRYPOINT [\"/ems\"]\n") {
		t.Error("user or entry point are not those of the image that hack/release makes")
	}
	if testing.Short() {
		t.Skip("links programs")
	}
	folder := t.TempDir()
	for _, source := range sources {
		from, to := filepath.Join("..", "..", source), filepath.Join(folder, source)
		if info, err := os.Stat(from); err != nil {
			t.Fatal(err)
		} else if info.IsDir() {
			err = os.CopyFS(to, os.DirFS(from))
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		file, err := os.ReadFile(from)
		if err := errors.Join(err, os.WriteFile(to, file, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"manager", "ems-agent"} {
		out := filepath.Join(t.TempDir(), "ems")
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false",
			"-ldflags", "-s -w -X mitigation.dev/ems/internal/version.Version=v9.8.7", "-o", out, "./cmd/"+command)
		build.Dir, build.Env = folder, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		if output, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output)
		}
		output, err := exec.CommandContext(t.Context(), out, "-version").Output()
		if err != nil || !strings.Contains(string(output), "v9.8.7") {
			t.Errorf("%s -version says %q, %v", command, output, err)
		}
	}
}
