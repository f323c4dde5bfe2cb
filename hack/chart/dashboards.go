package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// addDashboards adds the dashboards as they are: what looks like a template in them is Grafana's.
func addDashboards(config string, files map[string]string) error {
	sources, err := filepath.Glob(filepath.Join(config, "grafana", "*.json"))
	if err != nil {
		return fmt.Errorf("dashboards: %w", err)
	}
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			return fmt.Errorf("read a source: %w", err)
		}
		files["files/dashboards/"+filepath.Base(source)] = string(content)
	}
	return nil
}
