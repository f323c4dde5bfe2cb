package publish

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/ocs"
)

const minimal = "apiVersion: ems.mitigation.dev/publish/v1\nid: P1\ndescription: d\nactions:\n  - {type: DoNothing, scope: Server, description: a, value: DoNothing}\n"

func TestEveryFieldIsRead(t *testing.T) {
	got, err := ReadMitigation([]byte(`# A comment in front.
---
apiVersion: ems.mitigation.dev/publish/v1
id: M1
revision: 3
description: what
severity: Critical
cves: [CVE-2026-0001, CVE-2026-0002]
supersedes: [M0]
applicability:
  - name: ExchangeServer
    role: Mailbox
    branches:
      - {from: 15.2.986.0, fixedIn: 15.2.986.36}
      - {from: 15.2.1118.0}
sideEffects: [one, two]
actions:
  - id: M1.1
    type: UrlRewrite
    scope: Site
    target: Default Web Site
    description: first
    rewrite: |
      <rewrite>
        <rules><!-- as it is --></rules>
      </rewrite>
  - {id: M1.2, type: AppPool, scope: Server, target: Pool, description: second, value: Stopped}
samples:
  - {expect: Blocked, method: POST, url: "/a?b", host: example.org, headers: [{name: Accept, value: text/html}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := ocs.Config{
		ID: "M1", Revision: 3, Description: "what", Severity: ocs.SeverityCritical,
		CVEs: []string{"CVE-2026-0001", "CVE-2026-0002"}, Supersedes: []string{"M0"},
		Applicability: []ocs.Product{{Name: ocs.ProductExchangeServer, Role: "Mailbox", Branches: []ocs.Branch{
			{From: build.Number{15, 2, 986, 0}, FixedIn: build.Number{15, 2, 986, 36}}, {From: build.Number{15, 2, 1118, 0}},
		}}},
		SideEffects: []string{"one", "two"},
		Actions: []ocs.Action{
			{
				ID: "M1.1", Type: ocs.URLRewrite, Scope: ocs.ScopeSite, Target: "Default Web Site", Description: "first",
				Rewrite: []byte("<rewrite>\n  <rules><!-- as it is --></rules>\n</rewrite>"),
			},
			{ID: "M1.2", Type: ocs.AppPool, Scope: ocs.ScopeServer, Target: "Pool", Description: "second", Value: ocs.ValueStopped},
		},
		Samples: []ocs.Sample{{
			Expect: ocs.Blocked, Method: "POST", URL: "/a?b", Host: "example.org", Headers: []ocs.Header{{Name: "Accept", Value: "text/html"}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadMitigationRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		content string
		want    string
	}{
		"a field that nobody knows":             {minimal + "colour: red\n", `unknown field "colour"`},
		"a field with a letter of another case": {minimal + "sideeffects: [x]\n", `unknown field "sideeffects"`},
		"a key that occurs twice":               {minimal + "id: P2\n", `"id" already set`},
		"a second document":                     {minimal + "---\n" + minimal, "line 6: a second YAML document"},
		"a document behind an end marker":       {minimal + "...\nid: P2\n", "line 6: a second YAML document"},
		"another version":                       {strings.Replace(minimal, "/v1", "/v2", 1), `apiVersion: "ems.mitigation.dev/publish/v2": want`},
		"no version":                            {"id: P1\n", `apiVersion: ""`},
		"a build that is none":                  {minimal + "applicability: [{name: IIS, branches: [{from: 15.2}]}]\n", "build"},
		"text that is no YAML":                  {"\t{", "yaml"},
		"too much":                              {strings.Repeat("#", MaxMitigationBytes+1), "at most 262144"},
		"nothing":                               {"", `apiVersion: ""`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadMitigation([]byte(tc.content))
			expectError(t, err, tc.want)
		})
	}
}

func TestReadDirectory(t *testing.T) {
	file := func(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content)} }
	other := strings.Replace(minimal, "id: P1", "id: Q1", 1)
	for name, tc := range map[string]struct {
		folder    fstest.MapFS
		wantFiles []string
		wantError []string
	}{
		"files come in the order of their names, and only YAML": {
			folder:    fstest.MapFS{"20.yaml": file(minimal), "10.yml": file(other), "README.md": file("#"), ".hidden.yaml": file("?"), "sub/x.yaml": file("?")},
			wantFiles: []string{"10.yml", "20.yaml"},
		},
		"all files are complained about at once": {
			folder:    fstest.MapFS{"a.yaml": file("?"), "b.yaml": file(minimal + "x: 1")},
			wantError: []string{"a.yaml: ", `b.yaml: unknown field "x"`},
		},
		"an id that differs in case only names both files": {
			folder:    fstest.MapFS{"a.yaml": file(minimal), "b.yaml": file(strings.Replace(minimal, "id: P1", "id: p1", 1))},
			wantError: []string{`b.yaml: id "p1": a.yaml has it too`},
		},
		"a folder without YAML is a slip": {folder: fstest.MapFS{"README.md": file("#")}, wantError: []string{"no file ending in .yaml or .yml"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadDirectory(tc.folder)
			expectError(t, err, tc.wantError...)
			var files []string
			for _, s := range got {
				files = append(files, s.File)
			}
			if diff := cmp.Diff(tc.wantFiles, files); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzReadMitigation: whatever is read can be judged without a panic, and what Build takes, Parse gives back.
func FuzzReadMitigation(f *testing.F) {
	f.Add([]byte(minimal))
	entries, err := os.ReadDir(samplesFolder)
	if err != nil {
		f.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(samplesFolder, entry.Name()))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		config, err := ReadMitigation(content)
		if err != nil {
			return
		}
		Lint([]Source{{Config: config}})
		built, err := ocs.Build(ocs.Document{Configs: []ocs.Config{config}})
		if err != nil {
			return
		}
		read, err := ocs.Parse(built)
		if err != nil || len(read.Configs) != 1 || len(read.Refused) != 0 || read.Configs[0].ID != config.ID {
			t.Errorf("built from %q, read as %+v, %v", content, read, err)
		}
	})
}
