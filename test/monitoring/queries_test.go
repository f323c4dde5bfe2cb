package monitoring

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/test/promtool"
)

// series are what two managers and an agent export while everything happens that the dashboard has a panel for, with values as promtool reads
// them. Their labels are compared with those that are really exported.
var series = map[string]string{
	`ems_build_info{version="v1",commit="c",goversion="go1"}`:                                                                         "1x60",
	`ems_servers{namespace="exchange",pool="frontend",state="protected"}`:                                                             "8x60",
	`ems_servers{namespace="exchange",pool="frontend",state="excepted"}`:                                                              "0x60",
	`ems_servers{namespace="exchange",pool="frontend",state="outdated"}`:                                                              "0x60",
	`ems_servers{namespace="exchange",pool="frontend",state="unprotected"}`:                                                           "1x60",
	`ems_servers{namespace="exchange",pool="frontend",state="failed"}`:                                                                "1x60",
	`ems_servers{namespace="exchange",pool="frontend",state="silent"}`:                                                                "0x60",
	`ems_mitigation_info{mitigation="M1",revision="2",severity="Critical",lifecycle="Active",feed="contoso"}`:                         "1x60",
	`ems_mitigation_info{mitigation="M2",revision="1",severity="High",lifecycle="Active",feed="contoso"}`:                             "1x60",
	`ems_mitigation_published_timestamp_seconds{mitigation="M1"}`:                                                                     "0x60",
	`ems_mitigation_published_timestamp_seconds{mitigation="M2"}`:                                                                     "0x60",
	`ems_mitigation_servers{mitigation="M1",state="applied"}`:                                                                         "8x60",
	`ems_mitigation_servers{mitigation="M1",state="pending"}`:                                                                         "2x60",
	`ems_rollouts{state="Halted"}`:                                                                                                    "1x60",
	`ems_rollouts{state="Paused"}`:                                                                                                    "0x60",
	`ems_rollout_state{namespace="exchange",pool="frontend",mitigation="M1",state="Halted",reason="RolloutHalted"}`:                   "1x60",
	`ems_rollout_stage{namespace="exchange",pool="frontend",mitigation="M1"}`:                                                         "2x60",
	`ems_rollout_duration_seconds_bucket{status="Halted",le="60"}`:                                                                    "0+1x60",
	`ems_rollout_duration_seconds_bucket{status="Halted",le="+Inf"}`:                                                                  "0+2x60",
	`ems_rollout_manual_pause_duration_seconds_bucket{le="60"}`:                                                                       "0+1x60",
	`ems_rollout_manual_pause_duration_seconds_bucket{le="+Inf"}`:                                                                     "0+2x60",
	`ems_propagation_duration_seconds_bucket{step="published_verified",le="60"}`:                                                      "0+1x60",
	`ems_propagation_duration_seconds_bucket{step="published_verified",le="+Inf"}`:                                                    "0+2x60",
	`ems_propagation_duration_seconds_bucket{step="published_enforced",le="60"}`:                                                      "0+1x60",
	`ems_propagation_duration_seconds_bucket{step="published_enforced",le="+Inf"}`:                                                    "0+2x60",
	`ems_propagation_duration_seconds_bucket{step="released_enforced",le="60"}`:                                                       "0+1x60",
	`ems_propagation_duration_seconds_bucket{step="released_enforced",le="+Inf"}`:                                                     "0+2x60",
	`ems_server_failures_total{namespace="exchange",pool="frontend",reason="SectionLocked"}`:                                          "0+1x60",
	`ems_drift_repairs_total{namespace="exchange",pool="frontend"}`:                                                                   "0+1x60",
	`ems_feed_last_success_timestamp_seconds{feed="contoso"}`:                                                                         "0x60",
	`ems_feed_max_age_seconds{feed="contoso"}`:                                                                                        "10800x60",
	`ems_feed_ready{feed="contoso",reason="Unreachable"}`:                                                                             "0x60",
	`ems_feed_verify_failures_total{feed="contoso",reason="SignatureInvalid"}`:                                                        "0+1x60",
	`ems_feed_push_connected{feed="contoso"}`:                                                                                         "1x60",
	`ems_feed_trust_findings{feed="contoso",check="subject"}`:                                                                         "1x60",
	`ems_feed_revocation_list_failures_total{feed="contoso"}`:                                                                         "0+1x60",
	`ems_trust_anchor_expiry_timestamp_seconds{feed="contoso",kind="root",anchor="a1b2"}`:                                             "90000x60",
	`ems_exception_expiry_timestamp_seconds{kind="PoolMitigationConfig",namespace="exchange",name="frontend",list="blocked",id="M3"}`: "90000x60",
	`ems_pools_without_manager{shard="europe"}`:                                                                                       "0x60",
	`leader_election_master_status{name="manager.ems.mitigation.dev"}`:                                                                "1x60",
	`controller_runtime_reconcile_errors_total{controller="feed"}`:                                                                    "0+1x60",
	`ems_agent_build_info{version="v1",commit="c",goversion="go1"}`:                                                                   "1x60",
	`ems_agent_last_contact_timestamp_seconds{}`:                                                                                      "0x60",
	`ems_agent_rollbacks_total{}`:                                                                                                     "0+1x60",
	`ems_agent_impeded{}`:                                                                                                             "0x60",
	`ems_agent_kill_switch{}`:                                                                                                         "0x60",
	`workqueue_depth{name="feed",controller="feed",priority=""}`:                                                                      "1x60",
}

var (
	labelName = regexp.MustCompile(`(\w+)="`)
	variable  = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
)

// TestTheSeriesOfTheTestAreThoseThatAreExported keeps the test below honest.
func TestTheSeriesOfTheTestAreThoseThatAreExported(t *testing.T) {
	labels := map[string][]string{}
	descriptions := make(chan *prometheus.Desc)
	go func() { metrics.Registry.(prometheus.Collector).Describe(descriptions); close(descriptions) }()
	for d := range descriptions {
		if found := variable.FindStringSubmatch(d.String()); found != nil {
			labels[found[1]] = slices.DeleteFunc(strings.Split(found[2], ","), func(s string) bool { return s == "" })
			slices.Sort(labels[found[1]])
		}
	}
	for s := range series {
		name, rest, _ := strings.Cut(s, "{")
		want, ok := labels[suffix.ReplaceAllString(name, "")]
		if !ok {
			if !strings.HasPrefix(name, "ems_agent_") { // Those have a test beside them.
				t.Errorf("nothing exports %s", name)
			}
			continue
		}
		var got []string
		for _, found := range labelName.FindAllStringSubmatch(rest, -1) {
			if found[1] != "le" {
				got = append(got, found[1])
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s has the labels %v, want %v", name, got, want)
		}
	}
}

// TestPromtoolAnswersTheQueriesOfTheDashboard has promtool evaluate each one over the series of two managers: it must neither fail, as a
// match of many to many would, nor have nothing to show.
func TestPromtoolAnswersTheQueriesOfTheDashboard(t *testing.T) {
	all := queries(t)
	wheres := slices.Sorted(maps.Keys(all))
	type object = map[string]any
	var recordings, answers, input []object
	for i, where := range wheres {
		name := fmt.Sprintf("dashboard:query:%d", i)
		recordings = append(recordings, object{"record": name, "expr": all[where], "labels": object{"of": where}})
		answers = append(answers, object{"expr": fmt.Sprintf("absent(%s{of=%q})", name, where), "eval_time": "30m", "exp_samples": []object{}})
	}
	for _, s := range slices.Sorted(maps.Keys(series)) {
		instances := []string{"manager-0", "manager-1"}
		if strings.HasPrefix(s, "ems_agent_") {
			instances = []string{"fe01", "fe02"}
		}
		for _, instance := range instances {
			with := strings.Replace(s, "{", `{instance="`+instance+`",`, 1)
			input = append(input, object{"series": strings.Replace(with, ",}", "}", 1), "values": series[s]})
		}
	}
	folder := t.TempDir()
	write := func(name string, content object) {
		data, err := yaml.Marshal(content)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("rules.yaml", object{"groups": []object{{"name": "dashboard", "rules": recordings}}})
	write("test.yaml", object{
		"rule_files": []string{"rules.yaml"}, "evaluation_interval": "1m",
		"tests": []object{{"interval": "1m", "input_series": input, "promql_expr_test": answers}},
	})
	if output, err := promtool.Run(t, nil, "test", "rules", filepath.Join(folder, "test.yaml")); err != nil {
		t.Errorf("promtool: %v\n%s", err, output)
	}
}
