package cli_test

import (
	"testing"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/cli"
	"mitigation.dev/ems/config"
)

// TestKindsHaveTheNamesOfKubectl: whatever kubectl takes for a kind of ours, this program takes too.
func TestKindsHaveTheNamesOfKubectl(t *testing.T) {
	shipped, err := config.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, o := range shipped {
		if o.Kind != "CustomResourceDefinition" {
			continue
		}
		checked++
		spec, _ := o.Content["spec"].(map[string]any)
		names, _ := spec["names"].(map[string]any)
		kind, _ := names["kind"].(string)
		words := []string{kind, names["plural"].(string), names["singular"].(string), names["singular"].(string) + ".ems.mitigation.dev", o.Metadata.Name}
		short, _ := names["shortNames"].([]any)
		for _, s := range short {
			words = append(words, s.(string))
		}
		for _, word := range words {
			if got := cli.KindNamed(word); got != kind {
				t.Errorf("%q: %q, want %s", word, got, kind)
			}
		}
	}
	if checked != 7 {
		t.Errorf("%d kinds", checked)
	}
	for word, want := range map[string]string{"pools": "PoolMitigationConfig", "Server": "PoolServer", "feeds": "MitigationFeed", "pod": "", "": "", "s": ""} {
		if got := cli.KindNamed(word); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
