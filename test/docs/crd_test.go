package docs_test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// crd is what the tests need of a CustomResourceDefinition.
type crd struct {
	Spec struct {
		Names struct {
			Kind, Plural string
			ShortNames   []string
		}
		Scope    string
		Versions []struct {
			Name                     string
			AdditionalPrinterColumns []struct {
				Name     string
				Priority int
			}
			Schema struct {
				OpenAPIV3Schema schema
			}
		}
	}
}

type schema struct {
	Properties map[string]schema
	Items      *schema
}

func crds(t *testing.T) map[string]crd {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]crd{}
	for _, file := range files {
		var c crd
		if err := yaml.Unmarshal([]byte(readFile(t, strings.TrimPrefix(filepath.ToSlash(file), root+"/"))), &c); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(c.Spec.Versions) != 1 || c.Spec.Versions[0].Name != "v1alpha1" {
			t.Fatalf("%s: expected the one version v1alpha1", file)
		}
		found[c.Spec.Names.Kind] = c
	}
	return found
}

func TestEveryKindHasAPage(t *testing.T) {
	index := page(t, "README.md")
	all := crds(t)
	for kind, c := range all {
		k, ok := kinds[kind]
		if !ok {
			t.Errorf("kind %s has a CRD and no page in docs/spec/v1alpha1", kind)
			continue
		}
		if _, hasStatus := c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"]; hasStatus != k.hasStatus {
			t.Errorf("kind %s has a status: %t; this test assumes %t", kind, hasStatus, k.hasStatus)
		}
		text := page(t, k.page)
		for _, section := range []string{"# " + kind, "## Example", "## Spec", "## Working with", "## Debugging"} {
			if !strings.Contains("\n"+text, "\n"+section) {
				t.Errorf("docs/spec/v1alpha1/%s: no section %q", k.page, section)
			}
		}
		for _, short := range c.Spec.Names.ShortNames {
			if !strings.Contains(text, "`"+short+"`") || !strings.Contains(index, "`"+short+"`") {
				t.Errorf("docs/spec/v1alpha1: page or index of %s does not mention the short name %q", kind, short)
			}
		}
	}
	if len(all) != len(kinds) {
		t.Errorf("%d kinds have a CRD, and %d have a page", len(all), len(kinds))
	}
}

// elsewhere are fields whose parts another page explains, or Kubernetes itself.
var elsewhere = map[string]bool{
	"status.conditions":                  true,
	"spec.poolSelector":                  true,
	"spec.rings.poolSelector":            true,
	"spec.rollout.stages.serverSelector": true,
}

func TestEveryFieldIsExplained(t *testing.T) {
	for kind, c := range crds(t) {
		text := page(t, kinds[kind].page)
		top := c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
		for _, part := range []string{"spec", "status"} {
			for _, field := range fields(kind, part, part, top[part]) {
				if !strings.Contains(text, "`"+field+"`") {
					t.Errorf("docs/spec/v1alpha1/%s: no word on `%s`", kinds[kind].page, field)
				}
			}
		}
	}
}

// fields lists the fields below a field, with [] after lists. plain is its path without [].
func fields(kind, path, plain string, s schema) []string {
	if elsewhere[plain] || (kind == "MitigationConfiguration" && plain == "spec.rollout") {
		return nil
	}
	if s.Items != nil {
		return fields(kind, path+"[]", plain, *s.Items)
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		below := path + "." + name
		found = append(found, below)
		found = append(found, fields(kind, below, plain+"."+name, s.Properties[name])...)
	}
	return found
}

func TestNoFieldIsExplainedThatIsNotThere(t *testing.T) {
	mentioned := regexp.MustCompile("`((?:spec|status)\\.[A-Za-z.\\[\\]]+)`")
	row := regexp.MustCompile(`(?m)^\| .*? \|`)
	for kind, c := range crds(t) {
		top := c.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
		known := append(fields(kind, "spec", "spec", top["spec"]), fields(kind, "status", "status", top["status"])...)
		if len(known) == 0 {
			t.Errorf("kind %s: no fields were found in its CRD", kind)
		}
		// The first cell of a table speaks of this kind; other text may speak of other kinds.
		for _, cell := range row.FindAllString(page(t, kinds[kind].page), -1) {
			for _, match := range mentioned.FindAllStringSubmatch(cell, -1) {
				if !slices.Contains(known, match[1]) {
					t.Errorf("docs/spec/v1alpha1/%s: %s has no field `%s`", kinds[kind].page, kind, match[1])
				}
			}
		}
	}
}

// shownTable is a table of kubectl in a document: the command and the line of headings.
var shownTable = regexp.MustCompile(`(?m)^\$ kubectl get ([a-z]+)([^\n]*)\n(NAME[^\n]*)$`)

func TestTablesOfKubectlHaveTheColumnsOfTheCRD(t *testing.T) {
	byPlural := map[string]crd{}
	for _, c := range crds(t) {
		byPlural[c.Spec.Names.Plural] = c
	}
	blanks := regexp.MustCompile(`\s{2,}`)
	shown := 0
	for _, k := range kinds {
		for _, match := range shownTable.FindAllStringSubmatch(page(t, k.page), -1) {
			c, ok := byPlural[match[1]]
			if !ok {
				t.Errorf("docs/spec/v1alpha1/%s: no kind has the plural %q", k.page, match[1])
				continue
			}
			shown++
			want := []string{"NAME"}
			if strings.Contains(match[2], " -A") {
				want = []string{"NAMESPACE", "NAME"}
			}
			for _, column := range c.Spec.Versions[0].AdditionalPrinterColumns {
				if column.Priority == 0 {
					want = append(want, strings.ToUpper(column.Name))
				}
			}
			if got := blanks.Split(strings.TrimSpace(match[3]), -1); !slices.Equal(got, want) {
				t.Errorf("docs/spec/v1alpha1/%s: kubectl get %s shows the columns %q, and the CRD has %q", k.page, match[1], got, want)
			}
		}
	}
	if shown < len(kinds) {
		t.Errorf("only %d tables of kubectl were found for %d kinds", shown, len(kinds))
	}
}
