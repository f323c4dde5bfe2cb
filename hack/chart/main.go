package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

func main() {
	root := flag.String("root", ".", "folder of the repository")
	flag.Parse()
	files, err := generate(filepath.Join(*root, "config"))
	if err == nil {
		err = write(filepath.Join(*root, "config", "chart", "ems"), files)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// owned are the folders of the chart that have no files but those that this program writes.
var owned = []string{"templates/generated", "files"}

// generate returns the contents of the generated files by their paths in the chart.
func generate(config string) (map[string]string, error) {
	files := map[string]string{}
	for _, part := range []string{"crd", "rbac", "admission", "manager", "prometheus", "shards"} {
		sources, err := resources(filepath.Join(config, folder(part)))
		if err != nil {
			return nil, err
		}
		for _, source := range sources {
			name := filepath.Base(source)
			if part == "manager" && name == "namespace.yaml" {
				continue
			}
			content, err := os.ReadFile(source)
			if err != nil {
				return nil, fmt.Errorf("read a source: %w", err)
			}
			template, err := convert(part, name, string(content))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", source, err)
			}
			files["templates/generated/"+part+"/"+name] = template
		}
	}
	for name := range shardEdits {
		template, err := forEachShard(name, files["templates/generated/manager/"+name])
		if err != nil {
			return nil, fmt.Errorf("manager of a shard: %s: %w", name, err)
		}
		files["templates/generated/shards/"+name] = template
	}
	return files, addDashboards(config, files)
}

// resources returns the files that a kustomization names.
func resources(folder string) ([]string, error) {
	file := filepath.Join(folder, "kustomization.yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read a kustomization: %w", err)
	}
	var kustomization struct {
		Resources []string `json:"resources"`
	}
	if err := yaml.Unmarshal(content, &kustomization); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(kustomization.Resources) == 0 {
		return nil, fmt.Errorf("%s: names no resources", file)
	}
	paths := make([]string, 0, len(kustomization.Resources))
	for _, resource := range kustomization.Resources {
		paths = append(paths, filepath.Join(folder, resource))
	}
	return paths, nil
}

// write makes the owned folders of the chart hold the files and nothing else.
func write(chart string, files map[string]string) error {
	for _, folder := range owned {
		if err := os.RemoveAll(filepath.Join(chart, folder)); err != nil {
			return fmt.Errorf("remove what was generated: %w", err)
		}
	}
	for path, content := range files {
		if !slices.ContainsFunc(owned, func(folder string) bool { return strings.HasPrefix(path, folder+"/") }) {
			return fmt.Errorf("%s: is not in a folder of generated files", path)
		}
		full := filepath.Join(chart, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), 0o644)); err != nil {
			return fmt.Errorf("write the chart: %w", err)
		}
	}
	return nil
}
