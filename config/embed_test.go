package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/config"
)

type kustomization struct {
	Resources []string `json:"resources"`
}

func read(t *testing.T, file string) kustomization {
	t.Helper()
	content, err := os.ReadFile(file) //nolint:gosec // of this folder
	if err != nil {
		t.Fatal(err)
	}
	var k kustomization
	if err := yaml.Unmarshal(content, &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestEveryFileIsPartOfTheDefault: what programs compare with is what kustomize installs, no more and no less.
func TestEveryFileIsPartOfTheDefault(t *testing.T) {
	var folders []string
	for _, resource := range read(t, "default/kustomization.yaml").Resources {
		folders = append(folders, strings.TrimPrefix(resource, "../"))
	}
	slices.Sort(folders)
	if want := slices.Sorted(slices.Values(config.Folders)); !slices.Equal(folders, want) {
		t.Fatalf("config/default has %v, and %v are embedded", folders, want)
	}
	for _, folder := range folders {
		resources := read(t, filepath.Join(folder, "kustomization.yaml")).Resources
		pattern := filepath.Join(folder, "*.yaml")
		if folder == "crd" {
			pattern = filepath.Join(folder, "bases", "*.yaml")
		}
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", folder, len(files), err)
		}
		for _, file := range files {
			name, err := filepath.Rel(folder, file)
			if err != nil {
				t.Fatal(err)
			}
			if name != "kustomization.yaml" && !slices.Contains(resources, filepath.ToSlash(name)) {
				t.Errorf("%s is embedded and not part of config/default", file)
			}
		}
	}
	objects, err := config.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, o := range objects {
		count[o.Kind]++
		if o.Metadata.Name == "" || o.APIVersion == "" || o.Content["kind"] != o.Kind {
			t.Errorf("%+v is no whole object", o)
		}
	}
	if count["CustomResourceDefinition"] != 7 || count["ValidatingAdmissionPolicy"] < 6 || count["ValidatingAdmissionPolicy"] != count["ValidatingAdmissionPolicyBinding"] || count["Deployment"] != 1 {
		t.Errorf("%v", count)
	}
}
