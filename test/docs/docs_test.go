package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the folder of the repository, from the folder that tests run in.
const root = "../.."

// kinds lists the kinds with the names of their pages, and whether they have a status.
var kinds = map[string]struct {
	page      string
	hasStatus bool
}{
	"MitigationFeed":          {"mitigationfeed.md", true},
	"MitigationBundle":        {"mitigationbundle.md", false},
	"Mitigation":              {"mitigation.md", true},
	"MitigationConfiguration": {"mitigationconfiguration.md", true},
	"PoolMitigationConfig":    {"poolmitigationconfig.md", true},
	"MitigationPlan":          {"mitigationplan.md", false},
	"PoolServer":              {"poolserver.md", true},
}

func readFile(t *testing.T, parts ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{root}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func page(t *testing.T, name string) string {
	t.Helper()
	return readFile(t, "docs", "spec", "v1alpha1", name)
}

// inTable reports whether a page explains a reason: the reason is the first cell of a row.
func inTable(page, reason string) bool {
	return strings.Contains(page, "\n| `"+reason+"` |")
}

// constant is a string constant of a Go source.
type constant struct {
	name, typeName, value string
	// blockDoc is the comment of the const block that it stands in.
	blockDoc string
}

// stringConstants returns the string constants that a package declares outside of its tests, in the order of its files.
func stringConstants(t *testing.T, parts ...string) []constant {
	t.Helper()
	folder := filepath.Join(append([]string{root}, parts...)...)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found []constant
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(folder, entry.Name()), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if block, ok := declaration.(*ast.GenDecl); ok && block.Tok == token.CONST {
				found = append(found, constantsOf(t, block)...)
			}
		}
	}
	return found
}

func constantsOf(t *testing.T, block *ast.GenDecl) []constant {
	t.Helper()
	var found []constant
	for _, spec := range block.Specs {
		values, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		typeName := ""
		if ident, ok := values.Type.(*ast.Ident); ok {
			typeName = ident.Name
		}
		for i, value := range values.Values {
			literal, ok := value.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				continue
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, constant{name: values.Names[i].Name, typeName: typeName, value: text, blockDoc: block.Doc.Text()})
		}
	}
	return found
}

// pagesOf tells from the comment of a const block which kinds its reasons belong to.
func pagesOf(blockDoc string) []string {
	var pages []string
	for kind, k := range kinds {
		of := regexp.MustCompile(`\b(of a|of an) ` + kind + `\b`).MatchString(blockDoc)
		if of || (k.hasStatus && strings.Contains(blockDoc, "several kinds share")) {
			pages = append(pages, k.page)
		}
	}
	if strings.Contains(blockDoc, "for which a feed refuses") {
		pages = append(pages, "mitigationfeed.md")
	}
	slices.Sort(pages)
	return pages
}

func TestEveryConditionReasonIsExplained(t *testing.T) {
	checked := 0
	for _, c := range stringConstants(t, "api", "v1alpha1") {
		if !strings.HasSuffix(c.name, "Reason") {
			continue
		}
		pages := pagesOf(c.blockDoc)
		if len(pages) == 0 {
			t.Errorf("%s: the comment of its const block names no kind, so nobody can know which page explains it", c.name)
		}
		for _, name := range pages {
			if !inTable(page(t, name), c.value) {
				t.Errorf("docs/spec/v1alpha1/%s: no table has a row that begins with `%s`", name, c.value)
			}
		}
		checked++
	}
	if checked < 30 {
		t.Errorf("only %d reasons were found in api/v1alpha1; does the test still understand the sources?", checked)
	}
}

// TestReasonsSharedByHand covers what the API says in words: "besides RollingOut and ServersFailed" and the like.
func TestReasonsSharedByHand(t *testing.T) {
	shared := map[string][]string{
		"poolmitigationconfig.md":    {"RollingOut", "ServersFailed"},
		"mitigationconfiguration.md": {"PlanPending"},
		"mitigationfeed.md":          {"NotRepresentable"},
	}
	for name, reasons := range shared {
		for _, reason := range reasons {
			if !inTable(page(t, name), reason) {
				t.Errorf("docs/spec/v1alpha1/%s: no table has a row that begins with `%s`", name, reason)
			}
		}
	}
}

func TestEveryConditionHasASection(t *testing.T) {
	for kind, k := range kinds {
		text := page(t, k.page)
		if has := strings.Contains(text, "\n## Conditions\n"); has != k.hasStatus {
			t.Errorf("docs/spec/v1alpha1/%s: section Conditions is there: %t, and %s has conditions: %t", k.page, has, kind, k.hasStatus)
		}
	}
	// Between them these two kinds have every condition.
	both := page(t, "mitigationfeed.md") + page(t, "poolserver.md")
	for _, c := range stringConstants(t, "api", "v1alpha1") {
		if strings.HasSuffix(c.name, "Condition") && !strings.Contains(both, "`"+c.value+"`") && !strings.Contains(both, "\n### "+c.value+"\n") {
			t.Errorf("docs/spec/v1alpha1: neither mitigationfeed.md nor poolserver.md speaks of %s", c.value)
		}
	}
}

func TestEveryReasonOfADecisionIsExplained(t *testing.T) {
	reasons := constantsOfType(stringConstants(t, "internal", "policy"), "Reason")
	if len(reasons) < 10 {
		t.Fatalf("only %d reasons were found in internal/policy", len(reasons))
	}
	plan, server := page(t, "mitigationplan.md"), page(t, "poolserver.md")
	for _, reason := range reasons {
		if !inTable(plan, reason) {
			t.Errorf("docs/spec/v1alpha1/mitigationplan.md: no table has a row that begins with `%s`", reason)
		}
		if !strings.Contains(server, "`"+reason+"`") {
			t.Errorf("docs/spec/v1alpha1/poolserver.md does not mention `%s`", reason)
		}
	}
}

func TestEveryReasonOfAServerIsExplained(t *testing.T) {
	var reasons []string
	for _, c := range stringConstants(t, "agent", "iis", "refusal") {
		reasons = append(reasons, c.value)
	}
	for _, c := range stringConstants(t, "agent", "iis", "effective") {
		if c.typeName == "" && c.name == c.value {
			reasons = append(reasons, c.value)
		}
	}
	for _, c := range stringConstants(t, "agent", "enforce") {
		if strings.HasPrefix(c.name, "Reason") {
			reasons = append(reasons, c.value)
		}
	}
	for _, reason := range constantsOfType(stringConstants(t, "internal", "replay"), "Reason") {
		if reason != "RolledBack" { // Servers say SequenceRolledBack.
			reasons = append(reasons, reason)
		}
	}
	if len(reasons) < 45 {
		t.Fatalf("only %d reasons were found in agent/iis, agent/enforce and internal/replay", len(reasons))
	}
	text := page(t, "poolserver.md")
	for _, reason := range reasons {
		if !inTable(text, reason) {
			t.Errorf("docs/spec/v1alpha1/poolserver.md: no table has a row that begins with `%s`", reason)
		}
	}
}

func TestEveryStateOfAServersMitigationIsExplained(t *testing.T) {
	states := constantsOfType(stringConstants(t, "api", "v1alpha1"), "MitigationState")
	if len(states) == 0 {
		t.Fatal("no constants of type MitigationState were found in api/v1alpha1")
	}
	for _, state := range states {
		if !inTable(page(t, "poolserver.md"), state) {
			t.Errorf("docs/spec/v1alpha1/poolserver.md: no table has a row that begins with `%s`", state)
		}
	}
}

func TestEveryReasonOfARefusedEntryIsExplained(t *testing.T) {
	found := 0
	for _, c := range stringConstants(t, "internal", "ocs") {
		if !strings.HasPrefix(c.name, "Reason") {
			continue
		}
		found++
		if !inTable(page(t, "mitigationfeed.md"), c.value) {
			t.Errorf("docs/spec/v1alpha1/mitigationfeed.md: no table has a row that begins with `%s`", c.value)
		}
	}
	if found == 0 {
		t.Error("no reasons were found in internal/ocs; does the test still understand the sources?")
	}
}

func constantsOfType(all []constant, typeName string) []string {
	var values []string
	for _, c := range all {
		if c.typeName == typeName {
			values = append(values, c.value)
		}
	}
	return values
}

// linkTarget is the target of a link of Markdown.
var linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// namedTest is a test that a page names: a function, or a file.
var namedTest = regexp.MustCompile("`(Test[A-Z]\\w+|[a-z][a-zA-Z0-9_/-]*_test\\.go)`")

func TestTestsThatPagesNameAreThere(t *testing.T) {
	functions := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, match := range declared.FindAllSubmatch(content, -1) {
			functions[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, path := range markdown(t) {
		for _, match := range namedTest.FindAllStringSubmatch(readFile(t, path), -1) {
			named++
			name := match[1]
			if strings.HasSuffix(name, ".go") {
				_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
				if err != nil {
					t.Errorf("%s names %s, which is not there", path, name)
				}
			} else if !functions[name] {
				t.Errorf("%s names the test %s, which is not there", path, name)
			}
		}
	}
	if named < 20 {
		t.Errorf("only %d names of tests were found", named)
	}
}

// markdown lists README.md, CONTRIBUTING.md and every page of docs.
func markdown(t *testing.T) []string {
	t.Helper()
	paths := []string{"README.md", "CONTRIBUTING.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".md" {
			paths = append(paths, strings.TrimPrefix(filepath.ToSlash(path), root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	return paths
}

func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, folder := range []string{"docs", filepath.Join("config", "samples"), filepath.Join("config", "trust")} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".md" || strings.Contains(path, filepath.Join("docs", "reference")) {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, match := range linkTarget.FindAllStringSubmatch(string(text), -1) {
				links++
				if err := follow(path, match[1]); err != nil {
					t.Errorf("%s: link %q: %v", strings.TrimPrefix(filepath.ToSlash(path), root+"/"), match[1], err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md"} {
		for _, match := range linkTarget.FindAllStringSubmatch(readFile(t, name), -1) {
			links++
			if err := follow(filepath.Join(root, name), match[1]); err != nil {
				t.Errorf("%s: link %q: %v", name, match[1], err)
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found; does the test still understand the documents?", links)
	}
}

// follow checks that a link inside the repository leads to a file, and to a heading of it.
func follow(from, target string) error {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return nil
	}
	file, anchor, _ := strings.Cut(target, "#")
	path := from
	if file != "" {
		path = filepath.Join(filepath.Dir(from), filepath.FromSlash(file))
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("there is no such file")
	}
	if anchor == "" || info.IsDir() {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !slices.Contains(anchors(string(text)), anchor) {
		return fmt.Errorf("the file has no such heading")
	}
	return nil
}

// notInAnchors are the characters that GitHub leaves out when it makes an anchor of a heading.
var notInAnchors = regexp.MustCompile("[^a-z0-9 _-]")

func anchors(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "#"), " "); ok && strings.HasPrefix(line, "#") {
			found = append(found, strings.ReplaceAll(notInAnchors.ReplaceAllString(strings.ToLower(heading), ""), " ", "-"))
		}
	}
	return found
}
