package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// krewPlugin is the part of a krew manifest that its validation looks at (krew, pkg/index/validation).
type krewPlugin struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string `json:"version"`
		Homepage         string `json:"homepage"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Caveats          string `json:"caveats"`
		Platforms        []struct {
			Selector struct {
				MatchLabels map[string]string `json:"matchLabels"`
			} `json:"selector"`
			URI    string `json:"uri"`
			SHA256 string `json:"sha256"`
			Bin    string `json:"bin"`
		} `json:"platforms"`
	} `json:"spec"`
}

// TestKrewManifest holds the manifest to what krew accepts, and to the archives that a release has.
func TestKrewManifest(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(repository, "config", "krew", "mitigation.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var plugin krewPlugin
	if err := yaml.UnmarshalStrict(content, &plugin); err != nil {
		t.Fatal(err)
	}
	spec := plugin.Spec
	if plugin.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || plugin.Kind != "Plugin" || plugin.Metadata.Name != "mitigation" {
		t.Errorf("header: %s %s %s", plugin.APIVersion, plugin.Kind, plugin.Metadata.Name)
	}
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(spec.Version) {
		t.Errorf("version %q is no semantic one with a v", spec.Version)
	}
	if n := len(spec.ShortDescription); n == 0 || n > 50 || strings.HasSuffix(spec.ShortDescription, ".") || strings.Contains(strings.ToLower(spec.ShortDescription), "kubectl") {
		t.Errorf("shortDescription %q: want 1 to 50 characters without a full stop and the word kubectl", spec.ShortDescription)
	}
	if !strings.HasPrefix(spec.Homepage, "https://") || spec.Description == "" {
		t.Error("homepage or description is missing")
	}
	known := map[string]bool{}
	for _, c := range commands() {
		known[strings.Fields(c.Name)[0]] = true
	}
	for _, list := range regexp.MustCompile(`\(([a-z, ]+)\)`).FindAllStringSubmatch(spec.Description, -1) {
		for name := range strings.SplitSeq(list[1], ", ") {
			if !known[name] {
				t.Errorf("the description names %q, which is no command", name)
			}
		}
	}
	platforms := map[string]bool{}
	for _, p := range spec.Platforms {
		system, architecture := p.Selector.MatchLabels["os"], p.Selector.MatchLabels["arch"]
		platforms[system+"/"+architecture] = true
		ending, suffix := ".tar.gz", ""
		if system == "windows" {
			ending, suffix = ".zip", ".exe"
		}
		if want := fmt.Sprintf("/%s/kubectl-mitigation_%s_%s%s", spec.Version, system, architecture, ending); !strings.HasPrefix(p.URI, "https://") || !strings.HasSuffix(p.URI, want) {
			t.Errorf("uri %q: want https, and %q at the end", p.URI, want)
		}
		if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(p.SHA256) || p.Bin != "kubectl-mitigation"+suffix {
			t.Errorf("%s/%s: sha256 %q, bin %q", system, architecture, p.SHA256, p.Bin)
		}
	}
	for _, want := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"} {
		if !platforms[want] {
			t.Errorf("no archive for %s", want)
		}
	}
	if len(platforms) != len(spec.Platforms) {
		t.Error("two archives for one platform")
	}
}
