package fleet

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// What a look at a pool costs that is one of ten with 10,000 servers in all and 100 mitigations: each has one a second while servers report.
func BenchmarkStatusOfAPool(b *testing.B) {
	const servers, mitigations = 1000, 100
	view := poolView{pool: &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: "vienna", Generation: 7}}, plan: plan()}
	for i := range mitigations {
		id := emsv1.MitigationID(fmt.Sprintf("M%d", i))
		view.plan.Spec.Mitigations = append(view.plan.Spec.Mitigations, emsv1.PlannedMitigation{
			ID: id, Revision: 1, Desired: emsv1.DesiredApply, Rollout: emsv1.PlanRollout{ID: string(id) + "-1", State: emsv1.RolloutComplete},
		})
	}
	for i := range servers {
		var states []emsv1.ServerMitigation
		for j := range view.plan.Spec.Mitigations {
			m := &view.plan.Spec.Mitigations[j]
			states = append(states, emsv1.ServerMitigation{
				ID: m.ID, State: emsv1.StateApplied, Revision: 1, Gate: emsv1.ServerGate{Rollout: m.Rollout.ID, Verdict: emsv1.GatePassed},
			})
		}
		view.servers = append(view.servers, server(fmt.Sprintf("fe%05d", i), true, states...))
	}
	b.ReportAllocs()
	for b.Loop() {
		if status := poolStatus(view); *status.Mitigations[mitigations-1].Servers.Applied != servers {
			b.Fatal("not all servers count")
		}
	}
}
