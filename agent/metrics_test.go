package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"mitigation.dev/ems/agent/cluster"
	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/metricsfile"
	"mitigation.dev/ems/agent/switches"
	"mitigation.dev/ems/internal/trust"
)

func TestMetricsAreThoseOfTheReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ems-agent.prom")
	clock := clocktesting.NewFakeClock(now)
	l := &loop{clock: clock, metrics: metricsfile.New(metricsfile.Options{Path: path, Clock: clock})}
	l.measure(cluster.Report{
		PlanGeneration: 3, Problem: &cluster.Problem{Reason: "ServerFailed"}, Switches: &switches.Switches{},
		Trust: &cluster.Trust{Anchors: []trust.Anchor{
			{Kind: trust.KindRevocationList, NotAfter: now.AddDate(0, 0, 1)}, {Kind: trust.KindRoot, NotAfter: now.AddDate(9, 0, 0)}, {Kind: trust.KindIssuer, NotAfter: now.AddDate(2, 0, 0)},
		}},
		Results: []enforce.Result{{ID: "M1", State: enforce.Applied, Revision: 2, Effective: "True"}, {ID: "M2", State: enforce.Failed}},
		Changes: []cluster.Change{
			{Kind: cluster.MitigationApplied}, {Kind: cluster.MitigationRemoved}, {Kind: cluster.DriftRepaired}, {Kind: cluster.MitigationReverted},
		},
	})
	ended, end := context.WithCancel(t.Context())
	end()
	l.metrics.Run(ended) // writes once at its end
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ems_agent_plan_generation 3", "ems_agent_impeded 1", "ems_agent_kill_switch 0", fmt.Sprintf("ems_agent_trust_anchor_expiry_timestamp_seconds %d", now.AddDate(2, 0, 0).Unix()),
		`ems_agent_mitigation_info{mitigation="M1",revision="2",state="Applied",effective="True"} 1`, "ems_agent_mitigation_failures_total 1",
		"ems_agent_mitigations_applied_total 1", "ems_agent_mitigations_removed_total 1", "ems_agent_drift_repairs_total 1", "ems_agent_rollbacks_total 1",
	} {
		if !strings.Contains(string(data), "\n"+want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", data)
	}
}

// renewals are Leases that are renewed or not.
type renewals struct{ err error }

func (r renewals) Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error) {
	return nil, r.err
}

func (r renewals) Patch(context.Context, string, types.PatchType, []byte, metav1.PatchOptions, ...string) (*coordinationv1.Lease, error) {
	return nil, r.err
}

func TestARenewedLeaseIsContact(t *testing.T) {
	contacts := 0
	for _, err := range []error{nil, errors.New("away"), nil} {
		_, got := answered{renewals{err: err}, func() { contacts++ }}.Patch(t.Context(), "fe01", types.MergePatchType, nil, metav1.PatchOptions{})
		if !errors.Is(got, err) {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	if contacts != 2 {
		t.Errorf("%d contacts, want 2", contacts)
	}
}
