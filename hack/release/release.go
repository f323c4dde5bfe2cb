package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// scripts are what archives hold beside programs.
//
//go:embed files
var scripts embed.FS

// release collects the files of a release by their names.
type release struct {
	root, version, image string
	platforms            string
	at                   time.Time
	files                map[string][]byte
}

// platform is a target of the compiler.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

// executable is the name that a program has there.
func (p platform) executable(name string) string {
	if p.os == "windows" {
		return name + ".exe"
	}
	return name
}

// Platforms of the programs. IIS runs on amd64 only; the agent for Linux is for labs and for machines that keep the configuration of
// others.
var (
	agentPlatforms  = []platform{{"windows", "amd64"}, {"linux", "amd64"}, {"linux", "arm64"}}
	imagePlatforms  = []platform{{"linux", "amd64"}, {"linux", "arm64"}}
	pluginPlatforms = []platform{
		{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}, {"windows", "arm64"},
	}
)

// each calls make for the chosen platforms.
func (r *release) each(all []platform, do func(platform) error) error {
	for _, p := range all {
		if !chosen(r.platforms, p.os+"/"+p.arch) {
			continue
		}
		if err := do(p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// build compiles a command as the Makefile does, and adds the list of what it is made of.
func (r *release) build(ctx context.Context, command string, p platform) ([]byte, error) {
	folder, err := os.MkdirTemp("", "release-")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", command, err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	out := filepath.Join(folder, "program")
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X mitigation.dev/ems/internal/version.Version="+r.version, "-o", out, "./cmd/"+command)
	compile.Dir = r.root
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)
	var messages bytes.Buffer
	compile.Stderr = &messages
	if err := compile.Run(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", command, err, messages.String())
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", command, err)
	}
	list, err := sbom(command, r.version, program, r.at)
	if err != nil {
		return nil, err
	}
	r.files[command+"_"+p.String()+".cdx.json"] = list
	return program, nil
}

// script is a file of the folder files, with the line ends of Windows if it is for Windows.
func (r *release) script(name string, p platform) (entry, error) {
	content, err := scripts.ReadFile("files/" + name)
	if err != nil {
		return entry{}, fmt.Errorf("file of the release: %w", err)
	}
	text := strings.ReplaceAll(string(content), development, r.version)
	if p.os == "windows" {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return entry{name: name, mode: 0o644, content: []byte(text)}, nil
}

func (r *release) makeAgent(ctx context.Context) error {
	return r.each(agentPlatforms, func(p platform) error {
		program, err := r.build(ctx, "ems-agent", p)
		if err != nil {
			return err
		}
		executable := entry{name: p.executable("ems-agent"), mode: 0o755, content: program}
		if p.os == "windows" {
			entries := []entry{executable, {name: sumsFile, mode: 0o644, content: sumLine(executable.name, program)}}
			for _, name := range []string{"Install-EmsAgent.ps1", "Uninstall-EmsAgent.ps1"} {
				script, err := r.script(name, p)
				if err != nil {
					return err
				}
				entries = append(entries, script)
			}
			r.files["ems-agent_"+p.String()+".zip"], err = zipped(entries, r.at)
			return err
		}
		unit, err := os.ReadFile(filepath.Join(r.root, "config", "systemd", "ems-agent.service"))
		if err != nil {
			return fmt.Errorf("systemd unit: %w", err)
		}
		r.files["ems-agent_"+p.String()+".tar.gz"], err = tarGz([]entry{
			executable, {name: "ems-agent.service", mode: 0o644, content: unit},
		}, r.at)
		return err
	})
}

func (r *release) makePlugin(ctx context.Context) error {
	const name = "kubectl-mitigation"
	digests := map[string]string{}
	err := r.each(pluginPlatforms, func(p platform) error {
		program, err := r.build(ctx, name, p)
		if err != nil {
			return err
		}
		entries := []entry{{name: p.executable(name), mode: 0o755, content: program}}
		archive, pack := name+"_"+p.String()+".tar.gz", tarGz
		if p.os == "windows" {
			archive, pack = name+"_"+p.String()+".zip", zipped
		}
		if r.files[archive], err = pack(entries, r.at); err != nil {
			return err
		}
		digests[archive] = digest(r.files[archive])
		return nil
	})
	// The manifest is for all platforms or for none.
	if err != nil || len(digests) < len(pluginPlatforms) {
		return err
	}
	template, err := os.ReadFile(filepath.Join(r.root, "config", "krew", "mitigation.yaml"))
	if err != nil {
		return fmt.Errorf("krew: %w", err)
	}
	manifest, err := krewManifest(string(template), r.version, digests)
	r.files["mitigation.yaml"] = []byte(manifest)
	return err
}

func (r *release) makeImages(ctx context.Context) error {
	return r.each(imagePlatforms, func(p platform) error {
		program, err := r.build(ctx, "manager", p)
		if err != nil {
			return err
		}
		r.files["ems-manager_"+p.arch+".oci.tar"], err = imageArchive(path.Base(r.image), r.version, p, program, r.at)
		return err
	})
}

// makeManifests writes config/default as one file, and the chart.
func (r *release) makeManifests(ctx context.Context) error {
	render := exec.CommandContext(ctx, filepath.Join(r.root, "bin", "tools", "kustomize"), "build", filepath.Join(r.root, "config", "default"))
	manifests, err := render.Output()
	if err != nil {
		return fmt.Errorf("kustomize build config/default: %w", err)
	}
	install, err := replaceOnce(string(manifests), "image: ems-manager:"+development, "image: "+r.image+":"+r.version)
	if err != nil {
		return fmt.Errorf("install.yaml: %w", err)
	}
	r.files["install.yaml"] = []byte("# EMS " + r.version + ": kubectl apply --server-side -f install.yaml\n" + install)

	chart := filepath.Join(r.root, "config", "chart", "ems")
	entries, err := r.chartFiles(chart)
	if err != nil {
		return fmt.Errorf("chart: %w", err)
	}
	r.files["ems-"+strings.TrimPrefix(r.version, "v")+".tgz"], err = tarGz(entries, r.at)
	return err
}

// chartFiles are the files of the chart with its version. Helm would package them with the time of the day.
func (r *release) chartFiles(chart string) ([]entry, error) {
	var entries []entry
	err := filepath.WalkDir(chart, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(chart, file)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		text := string(content)
		switch name {
		case "Chart.yaml":
			if text, err = replaceOnce(text, "\nversion: "+strings.TrimPrefix(development, "v")+"\n", "\nversion: "+strings.TrimPrefix(r.version, "v")+"\n"); err == nil {
				text, err = replaceOnce(text, "\nappVersion: "+development+"\n", "\nappVersion: "+r.version+"\n")
			}
		case "values.yaml":
			text, err = replaceOnce(text, "\n  repository: ems-manager\n", "\n  repository: "+r.image+"\n")
		}
		entries = append(entries, entry{name: "ems/" + name, mode: 0o644, content: []byte(text)})
		return err
	})
	// Helm wants to meet Chart.yaml first.
	slices.SortFunc(entries, func(a, b entry) int {
		if first := "ems/Chart.yaml"; a.name == first || b.name == first {
			return map[bool]int{true: -1, false: 1}[a.name == first]
		}
		return strings.Compare(a.name, b.name)
	})
	return entries, err
}

// replaceOnce replaces a text that has to be there once.
func replaceOnce(text, from, to string) (string, error) {
	if found := strings.Count(text, from); found != 1 {
		return "", fmt.Errorf("%q is there %d times and not once", from, found)
	}
	return strings.Replace(text, from, to, 1), nil
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func sumLine(name string, content []byte) []byte {
	return []byte(digest(content) + "  " + name + "\n")
}

// sums is what "sha256sum --check" reads.
func (r *release) sums() []byte {
	var lines []byte
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if name != sumsFile {
			lines = append(lines, sumLine(name, r.files[name])...)
		}
	}
	return lines
}
