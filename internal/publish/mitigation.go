package publish

import (
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/json"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs"
)

// APIVersion is the only version of the YAML form of a mitigation.
const APIVersion = "ems.mitigation.dev/publish/v1"

// MaxMitigationBytes bounds one file. The largest Config that the format allows in practice, 64 rules with a pattern of 2,048
// characters each, takes 140 KB.
const MaxMitigationBytes = 256 << 10

// mitigation is the YAML form of ocs.Config. Its names are those of that type, in camel case, so that who knows one knows the
// other; types of its own keep the wire format free of tags for a file format.
type mitigation struct {
	APIVersion    string       `json:"apiVersion"`
	ID            string       `json:"id"`
	Revision      int64        `json:"revision,omitempty"`
	Description   string       `json:"description"`
	Severity      ocs.Severity `json:"severity,omitempty"`
	CVEs          []string     `json:"cves,omitempty"`
	Supersedes    []string     `json:"supersedes,omitempty"`
	Applicability []product    `json:"applicability,omitempty"`
	SideEffects   []string     `json:"sideEffects,omitempty"`
	Actions       []action     `json:"actions"`
	Samples       []sample     `json:"samples,omitempty"`
}

type product struct {
	Name     string   `json:"name"`
	Role     string   `json:"role,omitempty"`
	Branches []branch `json:"branches,omitempty"`
}

type branch struct {
	From    build.Number `json:"from,omitzero"`
	FixedIn build.Number `json:"fixedIn,omitzero"`
}

type action struct {
	ID          string         `json:"id,omitempty"`
	Type        ocs.ActionType `json:"type"`
	Scope       ocs.Scope      `json:"scope"`
	Target      string         `json:"target,omitempty"`
	Description string         `json:"description"`
	Value       string         `json:"value,omitempty"`
	Rewrite     string         `json:"rewrite,omitempty"`
	// AcknowledgeCost is named as in the document.
	AcknowledgeCost int `json:"acknowledgeCost,omitempty"`
}

type sample struct {
	Expect  ocs.Expectation `json:"expect"`
	Method  string          `json:"method,omitempty"`
	URL     string          `json:"url"`
	Host    string          `json:"host,omitempty"`
	Headers []header        `json:"headers,omitempty"`
}

type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ReadMitigation reads the YAML form of one mitigation. It checks the form only; ocs.Build and Lint judge the content. Where
// the line of an error is known, it is named.
func ReadMitigation(content []byte) (ocs.Config, error) {
	if len(content) > MaxMitigationBytes {
		return ocs.Config{}, fmt.Errorf("%d bytes: at most %d", len(content), MaxMitigationBytes)
	}
	// The YAML package reads the first document of a stream and drops the others without a word.
	if line := secondDocument(string(content)); line > 0 {
		return ocs.Config{}, &lineError{line, errors.New("a second YAML document: write one mitigation per file")}
	}
	m, err := unmarshal(content)
	if err != nil {
		return ocs.Config{}, err
	}
	if m.APIVersion != APIVersion {
		return ocs.Config{}, fmt.Errorf("apiVersion: %q: want %q", m.APIVersion, APIVersion)
	}
	return m.config(), nil
}

// unmarshal refuses unknown fields, and letters of another case: "sideeffects" that is passed over is a document
// without its warning.
func unmarshal(content []byte) (*mitigation, error) {
	converted, err := fieldsOfYAML(content)
	if err != nil {
		return nil, err
	}
	m := &mitigation{}
	strict, err := json.UnmarshalStrict(converted, m)
	if err := errors.Join(append(atLinesOfFields(content, strict), err)...); err != nil {
		return nil, err
	}
	return m, nil
}

// secondDocument returns the line at which another document of a YAML stream begins, 0 if none does. At the start of a line "---"
// and "..." are markers wherever they stand (YAML 1.2, section 9.1.2), in block scalars too, so lines can be looked at alone.
func secondDocument(stream string) int {
	content := false
	number := 0
	for line := range strings.Lines(stream) {
		number++
		text := strings.TrimRight(line, " \t\r\n")
		marker := text == "---" || strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "---\t") || text == "..."
		if marker && content {
			return number
		}
		if text != "" && !strings.HasPrefix(text, "#") {
			content = true
		}
	}
	return 0
}

func (m *mitigation) config() ocs.Config {
	c := ocs.Config{
		ID: m.ID, Revision: m.Revision, Description: m.Description, Severity: m.Severity,
		CVEs: m.CVEs, Supersedes: m.Supersedes, SideEffects: m.SideEffects,
	}
	for _, p := range m.Applicability {
		read := ocs.Product{Name: p.Name, Role: p.Role}
		for _, b := range p.Branches {
			read.Branches = append(read.Branches, ocs.Branch(b))
		}
		c.Applicability = append(c.Applicability, read)
	}
	for _, a := range m.Actions {
		read := ocs.Action{ID: a.ID, Type: a.Type, Scope: a.Scope, Target: a.Target, Description: a.Description, Value: a.Value, AcknowledgedCost: a.AcknowledgeCost}
		// A block scalar ends with a line end that is no part of the element.
		if rewrite := strings.TrimSpace(a.Rewrite); rewrite != "" {
			read.Rewrite = []byte(rewrite)
		}
		c.Actions = append(c.Actions, read)
	}
	for _, s := range m.Samples {
		read := ocs.Sample{Expect: s.Expect, Method: s.Method, URL: s.URL, Host: s.Host}
		for _, h := range s.Headers {
			read.Headers = append(read.Headers, ocs.Header(h))
		}
		c.Samples = append(c.Samples, read)
	}
	return c
}
