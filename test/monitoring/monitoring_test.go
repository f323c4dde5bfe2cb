package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/agent/metricsfile"
	_ "mitigation.dev/ems/controllers" // registers all metrics of the manager
	"mitigation.dev/ems/test/promtool"
)

// rule is an alert.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// ruleFile is rules.yaml, and the spec of a PrometheusRule.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

func (f ruleFile) alerts() []rule {
	var all []rule
	for _, g := range f.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func read(t *testing.T, into any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{promtool.Root(t)}, path...)...))
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", filepath.Join(path...), err)
	}
}

func rules(t *testing.T) ruleFile {
	t.Helper()
	var f ruleFile
	read(t, &f, "config", "prometheus", "rules.yaml")
	if len(f.alerts()) == 0 {
		t.Fatal("there are no alerts")
	}
	return f
}

const (
	runbooks    = "docs/operations/runbooks/"
	runbookURL  = "https://mitigation.dev/ems/" + runbooks
	metricsPage = "docs/reference/metrics.md"
)

func TestEveryAlertIsWholeAndHasARunbook(t *testing.T) {
	name := regexp.MustCompile(`^EMS[A-Z][A-Za-z]+$`)
	pages := map[string]bool{}
	for _, r := range rules(t).alerts() {
		if !name.MatchString(r.Alert) {
			t.Errorf("alert %q: its name is not in CamelCase with EMS in front", r.Alert)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
		}
		for _, annotation := range []string{"summary", "description"} {
			if !strings.HasSuffix(r.Annotations[annotation], ".") {
				t.Errorf("%s: %s is not a sentence: %q", r.Alert, annotation, r.Annotations[annotation])
			}
		}
		if want := runbookURL + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		pages[r.Alert+".md"] = true
		page, err := os.ReadFile(filepath.Join(promtool.Root(t), runbooks, r.Alert+".md"))
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
			continue
		}
		var headings []string
		for line := range strings.Lines(string(page)) {
			if strings.HasPrefix(line, "#") {
				headings = append(headings, strings.TrimSpace(line))
			}
		}
		if want := []string{"# " + r.Alert, "## Meaning", "## Impact", "## Diagnosis", "## Mitigation", "## When to silence"}; !slices.Equal(headings, want) {
			t.Errorf("%s: its page has the headings %q, want %q", r.Alert, headings, want)
		}
		row := "[" + r.Alert + "](../operations/runbooks/" + r.Alert + ".md) | " + r.Labels["severity"]
		if reference, err := os.ReadFile(filepath.Join(promtool.Root(t), filepath.FromSlash(metricsPage))); err != nil || !bytes.Contains(reference, []byte(row)) {
			t.Errorf("%s: docs/reference/metrics.md has no row with its severity (%v)", r.Alert, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(promtool.Root(t), runbooks))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !pages[e.Name()] {
			t.Errorf("%s%s is the page of no alert", runbooks, e.Name())
		}
	}
}

func TestEveryAlertHasACaseThatFiresAndOneThatDoesNot(t *testing.T) {
	var cases struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string `json:"alertname"`
				ExpAlerts []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	read(t, &cases, "config", "prometheus", "rules.test.yaml")
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, c := range cases.Tests {
		// A case that is quiet only until it fires shows the wait and not the condition.
		fired := map[string]bool{}
		for _, a := range c.AlertRuleTest {
			fired[a.Alertname] = fired[a.Alertname] || len(a.ExpAlerts) > 0
		}
		for alert, did := range fired {
			fires[alert], quiet[alert] = fires[alert] || did, quiet[alert] || !did
		}
	}
	for _, r := range rules(t).alerts() {
		if !fires[r.Alert] || !quiet[r.Alert] {
			t.Errorf("%s: has a case in which it fires: %v, one in which it does not: %v", r.Alert, fires[r.Alert], quiet[r.Alert])
		}
		delete(fires, r.Alert)
		delete(quiet, r.Alert)
	}
	if len(fires)+len(quiet) > 0 {
		t.Errorf("cases for alerts that there are not: %v, %v", fires, quiet)
	}
}

func TestThePrometheusRuleIsMadeOfTheRules(t *testing.T) {
	var object struct {
		Kind string   `json:"kind"`
		Spec ruleFile `json:"spec"`
	}
	read(t, &object, "config", "prometheus", "prometheusrule.yaml")
	want, got := fmt.Sprintf("%+v", rules(t)), fmt.Sprintf("%+v", object.Spec)
	if object.Kind != "PrometheusRule" || want != got {
		t.Errorf("config/prometheus/prometheusrule.yaml (%s) is not what rules.yaml says: run \"make generate\"", object.Kind)
	}
}

// exported are the names of all metrics of manager and agent.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	registered, ok := metrics.Registry.(prometheus.Collector)
	if !ok {
		t.Fatal("the registry does not tell what it has")
	}
	descriptions := make(chan *prometheus.Desc)
	go func() { registered.Describe(descriptions); close(descriptions) }()
	for d := range descriptions {
		names[strings.Split(d.String(), `"`)[1]] = true // Desc{fqName: "name", …}
	}
	path := filepath.Join(t.TempDir(), "ems-agent"+metricsfile.Ending)
	f := metricsfile.New(metricsfile.Options{Path: path, Clock: clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0))})
	f.Contact(time.Unix(1_900_000_000, 0))
	f.Pass(metricsfile.Pass{At: time.Unix(1_900_000_000, 0), Mitigations: []metricsfile.Mitigation{{ID: "M1"}}})
	ended, end := context.WithCancel(t.Context())
	end()
	f.Run(ended) // writes once at its end
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names[strings.Fields(name)[0]] = true
		}
	}
	return names
}

var (
	metricName = regexp.MustCompile(`\b(?:ems|leader_election|controller_runtime|workqueue|rest_client)_[a-z0-9_]+`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
	suffix     = regexp.MustCompile(`_(?:bucket|sum|count)$`)
)

func TestRulesAndDashboardNameWhatIsExported(t *testing.T) {
	there := exported(t)
	check := func(where, expr string) {
		found := metricName.FindAllString(quoted.ReplaceAllString(expr, ""), -1)
		if len(found) == 0 {
			t.Errorf("%s: names no metric: %s", where, expr)
		}
		for _, name := range found {
			if !there[name] && !there[suffix.ReplaceAllString(name, "")] {
				t.Errorf("%s: nothing exports %s", where, name)
			}
		}
	}
	for _, r := range rules(t).alerts() {
		check(r.Alert, r.Expr)
	}
	for where, expr := range queries(t) {
		check(where, expr)
	}
}

// panel of a dashboard.
type panel struct {
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	GridPos struct{ X, Y, W, H int } `json:"gridPos"`
	Targets []struct {
		RefID string `json:"refId"`
		Expr  string `json:"expr"`
	} `json:"targets"`
}

const dashboard = "config/grafana/ems.json"

func panels(t *testing.T) []panel {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(promtool.Root(t), dashboard))
	var d struct {
		Panels []panel `json:"panels"`
	}
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil || len(d.Panels) == 0 {
		t.Fatalf("%s: %d panels, %v", dashboard, len(d.Panels), err)
	}
	return d.Panels
}

// queries are those of the dashboard, as Grafana sends them.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	variables := strings.NewReplacer("$pool", ".*", "$__rate_interval", "5m")
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			expr := variables.Replace(q.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("panel %q: a variable that nobody sets: %s", p.Title, q.Expr)
			}
			all[fmt.Sprintf("panel %q, query %s", p.Title, q.RefID)] = expr
		}
	}
	return all
}

func TestPanelsAreExplainedAndDoNotOverlap(t *testing.T) {
	taken := map[[2]int]string{}
	for _, p := range panels(t) {
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}") {
			t.Errorf("panel %q: needs a description, a query and the chosen data source", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panels %q and %q overlap, or leave the grid", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

func TestPromtoolTakesTheRules(t *testing.T) {
	folder := filepath.Join(promtool.Root(t), "config", "prometheus")
	for _, arguments := range [][]string{
		{"check", "rules", "--lint=all", "--lint-fatal", filepath.Join(folder, "rules.yaml")},
		{"test", "rules", filepath.Join(folder, "rules.test.yaml")},
	} {
		if output, err := promtool.Run(t, nil, arguments...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
	}
}

// TestPromtoolParsesTheQueriesOfTheDashboard makes each one a recording rule.
func TestPromtoolParsesTheQueriesOfTheDashboard(t *testing.T) {
	type recording struct {
		Record string            `json:"record"`
		Expr   string            `json:"expr"`
		Labels map[string]string `json:"labels"`
	}
	var list []recording
	all := queries(t)
	for i, where := range slices.Sorted(maps.Keys(all)) {
		list = append(list, recording{fmt.Sprintf("dashboard:query:%d", i), all[where], map[string]string{"of": where}})
	}
	file := map[string]any{"groups": []map[string]any{{"name": "dashboard", "rules": list}}}
	data, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := promtool.Run(t, nil, "check", "rules", name); err != nil {
		t.Errorf("promtool: %v\n%s", err, output)
	}
}

func TestTheDashboardFollowsTheSchemaOfGrafana(t *testing.T) {
	root := promtool.Root(t)
	tool := filepath.Join(root, "bin", "tools", "dashboardcheck")
	if _, err := os.Stat(tool); err != nil {
		if os.Getenv("EMS_PROMTOOL") == "required" {
			t.Fatalf("%v: \"make promcheck\" builds it", err)
		}
		t.Skipf("the dashboard was not checked against Grafana's schema: \"make promcheck\" builds what does (%v)", err)
	}
	if output, err := exec.CommandContext(t.Context(), tool, filepath.Join(root, dashboard)).CombinedOutput(); err != nil {
		t.Errorf("dashboardcheck: %v\n%s", err, output)
	}
	// The checker does find something.
	data, err := os.ReadFile(filepath.Join(root, dashboard))
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, bytes.Replace(data, []byte(`"gridPos"`), []byte(`"gridPosition"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if output, err := exec.CommandContext(t.Context(), tool, broken).CombinedOutput(); !errors.As(err, &exit) || !bytes.Contains(output, []byte("gridPosition")) {
		t.Errorf("a field that the schema does not know was taken: %v\n%s", err, output)
	}
}
