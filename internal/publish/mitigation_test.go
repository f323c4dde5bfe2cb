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

const minimalXML = `<?xml version="1.0"?>
<Config id="X1" desc="d">
  <ActionList>
    <Action type="DoNothing" scope="Server" desc="a"><Value>DoNothing</Value></Action>
  </ActionList>
</Config>
`

// TestBothFormsMakeTheSameDocument: a mitigation in XML, with what Windows editors add, is signed like the same one in YAML.
func TestBothFormsMakeTheSameDocument(t *testing.T) {
	element := "<rewrite>\n  <rules>\n    <rule name=\"r\"><!-- as it is --><match  url='evil' />\n      <action type=\"AbortRequest\"/></rule>\n  </rules>\n</rewrite>"
	inXML := "\ufeff<!-- by hand -->\r\n<Config id=\"X1\" revision=\"2\" desc=\"d\"><ActionList><Action type=\"UrlRewrite\" scope=\"Site\" desc=\"a\"><Value>" +
		strings.ReplaceAll(element, "\n", "\r\n") + "</Value></Action></ActionList></Config>\r\n"
	inYAML := "apiVersion: " + APIVersion + "\nid: X1\nrevision: 2\ndescription: d\nactions:\n  - type: UrlRewrite\n    scope: Site\n    description: a\n    rewrite: |\n      " +
		strings.ReplaceAll(element, "\n", "\n      ") + "\n"
	fromXML, err := ReadMitigationXML([]byte(inXML))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(fromXML.Actions[0].Rewrite); got != element {
		t.Errorf("rewrite = %q, want it verbatim: %q", got, element)
	}
	fromYAML, err := ReadMitigation([]byte(inYAML))
	if err != nil {
		t.Fatal(err)
	}
	var built [2]string
	for i, config := range []ocs.Config{fromXML, fromYAML} {
		document, err := ocs.Build(ocs.Document{Configs: []ocs.Config{config}})
		if err != nil {
			t.Fatal(err)
		}
		built[i] = string(document)
	}
	if diff := cmp.Diff(built[0], built[1]); diff != "" {
		t.Error(diff)
	}
}

func TestReadMitigationXMLRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"too much":         {strings.Repeat(" ", MaxMitigationBytes+1), "at most 262144"},
		"a whole document": {`<EOCS version="1.1">` + minimalXML[22:] + `</EOCS>`, `line 1: root element "EOCS"`},
		"two mitigations":  {minimalXML + minimalXML[22:], `line 7: column 1: element "Config" after the root`},
		"nothing":          {"", "line 1: column 1: no root element"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadMitigationXML([]byte(tc.content))
			expectError(t, err, tc.want)
		})
	}
}

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
		"files come in the order of their names, and only YAML and XML": {
			folder:    fstest.MapFS{"20.yaml": file(minimal), "10.yml": file(other), "15.xml": file(minimalXML), "README.md": file("#"), ".hidden.yaml": file("?"), "sub/x.yaml": file("?")},
			wantFiles: []string{"10.yml", "15.xml", "20.yaml"},
		},
		"all files are complained about at once": {
			folder: fstest.MapFS{
				"a.yaml": file("?"), "b.yaml": file(minimal + "x: 1\nactions2: 2\n"), "c.yaml": file(minimal + "samples:\n  - url: /\n    expects: Blocked\n"),
				"d.yaml": file(minimal + "id: ["), "e.yaml": file(minimal + "---\n" + minimal), "f.yaml": file("\t{"), "g.xml": file("<Config\n>"),
				"h.xml": file(strings.Replace(minimalXML, "DoNothing</V", "Do</V", 1)), "i.yaml": file(minimal + "id: P2\n"),
			},
			wantError: []string{
				"a.yaml: ", `b.yaml:6: unknown field "x"`, `b.yaml:7: unknown field "actions2"`, `c.yaml:8: unknown field "samples[0].expects"`,
				"d.yaml:6: yaml: ", "e.yaml:6: a second YAML document", "f.yaml:1: yaml: ", "g.xml:2: column ", `h.xml:4: Config "X1": Action 1: Value: "Do"`,
				`i.yaml:6: yaml: key "id" already set`,
			},
		},
		"an id that both forms have names both files": {
			folder:    fstest.MapFS{"a.xml": file(minimalXML), "b.yaml": file(strings.Replace(minimal, "id: P1", "id: x1", 1))},
			wantError: []string{`b.yaml: id "x1": a.xml has it too`},
		},
		"an id that differs in case only names both files": {
			folder:    fstest.MapFS{"a.yaml": file(minimal), "b.yaml": file(strings.Replace(minimal, "id: P1", "id: p1", 1))},
			wantError: []string{`b.yaml: id "p1": a.yaml has it too`},
		},
		"a folder without mitigations is a slip": {folder: fstest.MapFS{"README.md": file("#")}, wantError: []string{"no file ending in .yaml, .yml or .xml"}},
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
		if config, err := ReadMitigation(content); err == nil {
			judgeRead(t, content, config)
		}
	})
}

// FuzzReadMitigationXML: the same; and since the content was judged as well, Build takes it, or says that it is more than a
// document can state.
func FuzzReadMitigationXML(f *testing.F) {
	f.Add([]byte(minimalXML))
	for _, source := range sampleMitigations(f) {
		document, err := ocs.Build(ocs.Document{Configs: []ocs.Config{source.Config}})
		if err != nil {
			f.Fatal(err)
		}
		text := string(document)
		f.Add([]byte(text[strings.Index(text, "<Config"):strings.Index(text, "</EOCS>")]))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if config, err := ReadMitigationXML(content); err == nil {
			judgeRead(t, content, config)
		}
	})
}

func judgeRead(t *testing.T, content []byte, config ocs.Config) {
	t.Helper()
	Lint([]Source{{Config: config}})
	built, err := ocs.Build(ocs.Document{Configs: []ocs.Config{config}})
	if err != nil {
		return
	}
	read, err := ocs.Parse(built)
	if err != nil || len(read.Configs) != 1 || len(read.Refused) != 0 || read.Configs[0].ID != config.ID {
		t.Errorf("built from %q, read as %+v, %v", content, read, err)
	}
}
