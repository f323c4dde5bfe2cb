package ecosystem_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/test/ecosystem"
	"mitigation.dev/ems/test/kstatus"
)

var update = flag.Bool("update", false, "write docs/reference/health.md")

// root is the folder of the repository, from the folder that tests run in.
const root = "../.."

var (
	scripts     = filepath.Join(root, "config", "argocd", "resource_customizations")
	configMap   = filepath.Join(root, "config", "argocd", "argocd-cm.yaml")
	expressions = filepath.Join(root, "config", "flux", "healthcheckexprs.yaml")
	healthPage  = filepath.Join(root, "docs", "reference", "health.md")
)

// judgment is what hack/tools/healthjudge says of an object.
type judgment struct {
	KStatus       string `json:"kstatus"`
	ArgoCD        string `json:"argocd"`
	ArgoCDMessage string `json:"argocdMessage"`
	Flux          string `json:"flux"`
	FluxError     string `json:"fluxError"`
}

// judge asks the judges about objects.
func judge(t *testing.T, objects []json.RawMessage, arguments ...string) ([]judgment, error) {
	t.Helper()
	program := filepath.Join(root, "bin", "tools", "healthjudge")
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("EMS_HEALTHJUDGE") == "required" {
			t.Fatalf("healthjudge: %v: \"make health\" builds it", err)
		}
		t.Skipf("healthjudge is not built, so nobody was asked: \"make health\" builds it (%v)", err)
	}
	input, err := json.Marshal(objects)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), program, arguments...)
	var stderr bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(input), &stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	var judgments []judgment
	if err := json.Unmarshal(output, &judgments); err != nil {
		t.Fatal(err)
	}
	if len(judgments) != len(objects) {
		t.Fatalf("%d judgments of %d objects", len(judgments), len(objects))
	}
	return judgments, nil
}

func objectsOf(t *testing.T, states []ecosystem.State) []json.RawMessage {
	t.Helper()
	objects := make([]json.RawMessage, 0, len(states))
	for _, s := range states {
		object, err := s.JSON()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

func TestTheJudgesSayOfEveryStateWhatTheTableWants(t *testing.T) {
	states := ecosystem.States()
	judgments, err := judge(t, objectsOf(t, states), "-argocd", scripts, "-flux", expressions)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range states {
		t.Run(s.Kind+"/"+s.Name, func(t *testing.T) {
			j := judgments[i]
			if diff := cmp.Diff(s.Want, ecosystem.Verdict{KStatus: j.KStatus, ArgoCD: j.ArgoCD, Flux: j.Flux}); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s%s", diff, j.FluxError)
			}
			if s.Want.ArgoCD != "" && j.ArgoCDMessage == "" {
				t.Error("Argo CD shows no message")
			}
			if s.Warning != nil && s.Standing == ecosystem.Done && !strings.Contains(j.ArgoCDMessage, s.Warning.Message) {
				t.Errorf("message of Argo CD %q does not tell of the warning %q", j.ArgoCDMessage, s.Warning.Message)
			}
		})
	}
}

// agreement is what the words of Argo CD mean in those of kstatus. Suspended is a word that kstatus lacks: waiting for a person, or
// switched off by one.
var agreement = map[string][]string{
	"Healthy": {"Current"}, "Progressing": {"InProgress", "Terminating"}, "Degraded": {"Failed"}, "Suspended": {"Current", "InProgress", "Failed"},
}

func TestTheJudgesAgree(t *testing.T) {
	exceptions := 0
	for _, s := range ecosystem.States() {
		if s.Want.ArgoCD == "" {
			continue
		}
		argocd, flux := slices.Contains(agreement[s.Want.ArgoCD], s.Want.KStatus), s.Want.Flux == s.Want.KStatus
		switch {
		case s.Observed == 0 && s.Standing == ecosystem.None:
			// kstatus cannot know that a status will come; the other two wait for it, Flux by asking again.
			exceptions++
		case s.Deleting:
			// Expressions cannot say Terminating.
			if !argocd || s.Want.Flux != "InProgress" {
				t.Errorf("%s, %s: being deleted is %+v", s.Kind, s.Name, s.Want)
			}
		case !argocd || !flux:
			t.Errorf("%s, %s: the judges do not agree: %+v", s.Kind, s.Name, s.Want)
		}
	}
	if exceptions != 2*5 {
		t.Errorf("%d exceptions; a new object of each of five kinds, and one that is deleted at once, are all that there should be", exceptions)
	}
}

func TestTheConfigMapHoldsTheSameScripts(t *testing.T) {
	objects := objectsOf(t, ecosystem.States())
	byFolder, err := judge(t, objects, "-argocd", scripts)
	if err != nil {
		t.Fatal(err)
	}
	byConfigMap, err := judge(t, objects, "-argocd-configmap", configMap)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byFolder, byConfigMap); diff != "" {
		t.Errorf("folder and ConfigMap differ (-folder +ConfigMap):\n%s", diff)
	}
}

// TestTheSandboxIsAsNarrowAsArgoCDs shows that a script which needs more than Argo CD gives would be noticed.
func TestTheSandboxIsAsNarrowAsArgoCDs(t *testing.T) {
	tests := map[string]struct{ script, wantErr string }{
		"strings are not there":          {`return { status = string.upper("Healthy") }`, "index a non-table object"},
		"the system is not there":        {`os.execute("true") return { status = "Healthy" }`, "index a non-table object"},
		"a word that Argo CD has not":    {`return { status = "Fine" }`, `"Fine" is no health`},
		"a script that returns no table": {`return "Healthy"`, "expects a table"},
		"a script that does not end":     {`while true do end`, "deadline exceeded"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			kind := filepath.Join(folder, "ems.mitigation.dev", "MitigationPlan")
			if err := os.MkdirAll(kind, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(kind, "health.lua"), []byte(test.script), 0o600); err != nil {
				t.Fatal(err)
			}
			plan := json.RawMessage(`{"apiVersion":"ems.mitigation.dev/v1alpha1","kind":"MitigationPlan","metadata":{"name":"web"}}`)
			if _, err := judge(t, []json.RawMessage{plan}, "-argocd", folder); err == nil || !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("error %v, want one with %q", err, test.wantErr)
			}
		})
	}
}

// typed are the Go types of the kinds with conditions.
var typed = map[string]func() kstatus.Object{
	"MitigationFeed":          func() kstatus.Object { return &emsv1.MitigationFeed{} },
	"Mitigation":              func() kstatus.Object { return &emsv1.Mitigation{} },
	"MitigationConfiguration": func() kstatus.Object { return &emsv1.MitigationConfiguration{} },
	"PoolMitigationConfig":    func() kstatus.Object { return &emsv1.PoolMitigationConfig{} },
	"PoolServer":              func() kstatus.Object { return &emsv1.PoolServer{} },
}

// TestTheOracleOfOurTestsAgrees holds test/kstatus, which repeats the few lines of kstatus that count, against the same table.
func TestTheOracleOfOurTestsAgrees(t *testing.T) {
	for _, s := range ecosystem.States() {
		empty, ok := typed[s.Kind]
		if !ok {
			continue
		}
		content, err := s.JSON()
		if err != nil {
			t.Fatal(err)
		}
		object := empty()
		if err := json.Unmarshal(content, object); err != nil {
			t.Fatal(err)
		}
		if got, err := kstatus.Of(object); err != nil || string(got) != s.Want.KStatus {
			t.Errorf("%s, %s: test/kstatus says %s (%v), want %s", s.Kind, s.Name, got, err, s.Want.KStatus)
		}
		if s.Standing != ecosystem.None && s.Generation == s.Observed {
			for _, violation := range kstatus.Check(object, s.Generation, s.Observed) {
				t.Errorf("%s, %s: no status that could be: %s", s.Kind, s.Name, violation)
			}
		}
	}
}

// row is a row of a table of reasons in docs/spec/v1alpha1: reason, Ready, and what stands beside it.
var row = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (True|False|Unknown) \\| (-|Reconciling|Stalled) \\|")

func TestTheTableHasEveryReasonOfThePages(t *testing.T) {
	for kind := range typed {
		page, err := os.ReadFile(filepath.Join(root, "docs", "spec", "v1alpha1", strings.ToLower(kind)+".md"))
		if err != nil {
			t.Fatal(err)
		}
		documented := map[string]ecosystem.Standing{}
		for _, cells := range row.FindAllSubmatch(page, -1) {
			standing := ecosystem.Standing(cells[3])
			if standing == "-" {
				standing = map[string]ecosystem.Standing{"True": ecosystem.Done, "Unknown": ecosystem.Unheard}[string(cells[2])]
			}
			documented[string(cells[1])] = standing
		}
		if diff := cmp.Diff(documented, reasonsOf(kind)); diff != "" {
			t.Errorf("%s: reasons and standings (-page +table of states):\n%s", kind, diff)
		}
	}
}

// reasonsOf are the reasons of a kind in the table of states.
func reasonsOf(kind string) map[string]ecosystem.Standing {
	all := map[string]ecosystem.Standing{}
	for _, s := range ecosystem.States() {
		if s.Kind == kind && s.Name == s.Reason && s.Reason != "" {
			all[s.Reason] = s.Standing
		}
	}
	return all
}

// sources are the files that decide on the outcome of an object, with its kind.
var sources = map[string]string{
	"controllers/fleet/pool.go":           "PoolMitigationConfig",
	"controllers/fleet/mitigation.go":     "Mitigation",
	"controllers/fleet/configuration.go":  "MitigationConfiguration",
	"controllers/feed/feed_controller.go": "MitigationFeed",
	"controllers/feed/status.go":          "MitigationFeed",
	"controllers/handover/watch.go":       "PoolMitigationConfig",
	"agent/cluster/status.go":             "PoolServer",
	"agent/cluster/local.go":              "PoolServer",
}

// TestTheTableHasEveryOutcomeOfTheSources reads the calls that name their reason: conditions.Done(emsv1.InSyncReason, ...). Reasons that
// come out of a variable, as those of rollouts do, are those of the pages.
func TestTheTableHasEveryOutcomeOfTheSources(t *testing.T) {
	values := reasonConstants(t)
	found := 0
	for _, folder := range []string{"controllers", "agent"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			kind, known := sources[filepath.ToSlash(name)]
			ast.Inspect(file, func(node ast.Node) bool {
				standing, reason, ok := outcomeCall(node)
				if !ok {
					return true
				}
				if !known {
					t.Errorf("%s sets an outcome: say in sources of which kind", name)
				} else if got, there := reasonsOf(kind)[values[reason]]; !there || got != standing {
					t.Errorf("%s: %s is set as %s, and the table of states says %q", name, reason, standing, got)
				}
				found++
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("only %d calls were found; does the test still understand the sources?", found)
	}
}

// outcomeCall recognises conditions.Done, Working and Stalled with a constant of the API.
func outcomeCall(node ast.Node) (standing ecosystem.Standing, reason string, ok bool) {
	call, isCall := node.(*ast.CallExpr)
	if !isCall || len(call.Args) != 2 {
		return "", "", false
	}
	function, isSelector := call.Fun.(*ast.SelectorExpr)
	constant, isConstant := call.Args[0].(*ast.SelectorExpr)
	if !isSelector || !isConstant {
		return "", "", false
	}
	if from, ok := function.X.(*ast.Ident); !ok || from.Name != "conditions" {
		return "", "", false
	}
	if from, ok := constant.X.(*ast.Ident); !ok || from.Name != "emsv1" {
		return "", "", false
	}
	standing, ok = map[string]ecosystem.Standing{"Done": ecosystem.Done, "Working": ecosystem.Working, "Stalled": ecosystem.Stalled}[function.Sel.Name]
	return standing, constant.Sel.Name, ok
}

// reasonConstants are the values of the constants of the API that end in Reason.
func reasonConstants(t *testing.T) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "api", "v1alpha1", "condition_types.go"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\w+Reason) = "(\w+)"$`).FindAllSubmatch(content, -1) {
		values[string(m[1])] = string(m[2])
	}
	return values
}

func TestHealthPage(t *testing.T) {
	var want strings.Builder
	want.WriteString(healthHead)
	kind := ""
	for _, s := range ecosystem.States() {
		if s.Kind != kind {
			kind = s.Kind
			fmt.Fprintf(&want, "\n## %s\n\n| state | kstatus | Argo CD | Flux |\n|---|---|---|---|\n", kind)
		}
		name, verdict := s.Name, s.Want
		if s.Name == s.Reason {
			name = "`" + s.Reason + "`"
		}
		if _, ok := typed[s.Kind]; !ok {
			verdict.ArgoCD, verdict.Flux = "no script: counts as healthy", "as kstatus"
		} else if verdict.Flux == "" {
			verdict.Flux = "asks again"
		}
		fmt.Fprintf(&want, "| %s | %s | %s | %s |\n", name, verdict.KStatus, verdict.ArgoCD, verdict.Flux)
	}
	if *update {
		if err := os.WriteFile(healthPage, []byte(want.String()), 0o644); err != nil { //nolint:gosec // A page for everybody.
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(healthPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("docs/reference/health.md is not what the table says; write it with -args -update (-want +got):\n%s", diff)
	}
}

const healthHead = `<!-- docs:scenario none -->
# Health

What generic tools say of our objects. Made from the table of states in ` + "`test/ecosystem`" + ` by ` + "`go test ./test/ecosystem -args -update`" + `; the same test asks kstatus, Argo CD's
way of running Lua, and Flux's way of evaluating CEL about every row. How to set them up: [policy in Git](../guides/gitops.md#health).

- **kstatus** is what ` + "`flux`" + `, ` + "`helm --wait`" + ` and others use without being told anything. It takes a new object without a status for current, until the manager has looked at it (a moment later).
- **Argo CD** has no opinion of foreign kinds: every object counts as healthy because it exists, until it has the scripts of [config/argocd](../../config/argocd). Suspended is a word
  that the others lack: waiting for a person as the rollout wants it (` + "`AwaitingApproval`" + `, ` + "`RolloutPaused`" + `), or switched off by policy. Warnings that change nothing by themselves (` + "`Fresh`" + `,
  ` + "`TrustAnchorsCurrent`" + `, ` + "`ClockInSync`" + ` and the like) are told in the message.
- **Flux** uses kstatus, or, where a Kustomization has them, the expressions of [config/flux](../../config/flux). They differ for new objects: Flux asks again until there is a status, or its timeout.

` + "`AwaitingApproval`" + ` is Stalled, since nothing goes on without a person: to kstatus and Flux that is a failure. A Kustomization that shall not fail for it leaves ` + "`wait`" + ` out, or approves in the same commit.
A MitigationBundle and a MitigationPlan have no conditions: they are what the manager has rendered, and there is nothing about them that could be on its way.
`
