package facts

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/agent/journal/durable"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
)

const (
	// APIVersion is the version of the file.
	APIVersion = "ems.mitigation.dev/facts/v1"
	// MaxFileBytes is far more than three short fields need.
	MaxFileBytes = 16 << 10
	// maxRoleLength is the limit of the API.
	maxRoleLength = 64
)

// Products that facts may name, as in the API.
var Products = []string{"ExchangeServer", "SkypeForBusinessServer", "SharePointServer", "IIS"}

// Facts are what is known of a server, as text. Empty fields are unknown.
type Facts struct {
	Product string `json:"product,omitempty"`
	Role    string `json:"role,omitempty"`
	Build   string `json:"build,omitempty"`
}

// Sources are where facts come from, in the order in which they are believed.
type Sources struct {
	// Said is what the operator gave on the command line.
	Said Facts
	// File is the path of a YAML file; empty for none. A named file must exist.
	File string
	// Registry reads the setup of the server; nil for none.
	Registry func() (Facts, error)
}

// Read asks all sources. Facts of the sources that answered are returned beside an error of the others, so that a
// damaged file does not hide what the operator said.
func Read(s Sources) (policy.Facts, error) {
	facts := s.Said
	var problems []error
	if s.File != "" {
		f, err := readFile(s.File)
		facts, problems = facts.or(f), append(problems, err)
	}
	if s.Registry != nil {
		f, err := s.Registry()
		facts, problems = facts.or(f), append(problems, err)
	}
	parsed, err := Parse(facts)
	return parsed, errors.Join(append(problems, err)...)
}

// or fills the empty fields of f from g. A build belongs to a product, so that of another product is not taken.
func (f Facts) or(g Facts) Facts {
	if f.Product != "" && g.Product != "" && f.Product != g.Product {
		return f
	}
	return Facts{Product: cmp.Or(f.Product, g.Product), Role: cmp.Or(f.Role, g.Role), Build: cmp.Or(f.Build, g.Build)}
}

// Parse checks facts. Fields that are wrong are left out and named by the error.
func Parse(f Facts) (policy.Facts, error) {
	var facts policy.Facts
	var problems []error
	switch {
	case f.Product == "" || slices.Contains(Products, f.Product):
		facts.Product = f.Product
	default:
		problems = append(problems, fmt.Errorf("facts: product: %q: want one of %s", f.Product, strings.Join(Products, ", ")))
	}
	if len(f.Role) > maxRoleLength {
		problems = append(problems, fmt.Errorf("facts: role: %d characters: allowed are %d", len(f.Role), maxRoleLength))
	} else {
		facts.Role = f.Role
	}
	if f.Build != "" {
		number, err := build.Parse(f.Build)
		if err != nil {
			problems = append(problems, fmt.Errorf("facts: build: %w", err))
		}
		facts.Build = number
	}
	return facts, errors.Join(problems...)
}

func readFile(path string) (Facts, error) {
	data, err := durable.OS{}.Read(path, MaxFileBytes)
	if err != nil {
		return Facts{}, fmt.Errorf("facts: file: %w", err)
	}
	f, err := ParseFile(data)
	if err != nil {
		return Facts{}, fmt.Errorf("facts: file %s: %w", path, err)
	}
	return f, nil
}

// ParseFile reads the YAML form of facts. Unknown fields are refused: a misspelt one would be an unknown fact.
func ParseFile(data []byte) (Facts, error) {
	var file struct {
		APIVersion string `json:"apiVersion"`
		Facts
	}
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return Facts{}, fmt.Errorf("not the expected YAML: %w", err)
	}
	if file.APIVersion != APIVersion {
		return Facts{}, fmt.Errorf("apiVersion: %q: want %q", file.APIVersion, APIVersion)
	}
	return file.Facts, nil
}

// HostName returns the short name of this machine in lower case.
func HostName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("facts: host name: %w", err)
	}
	short, _, _ := strings.Cut(strings.ToLower(name), ".")
	return short, nil
}
