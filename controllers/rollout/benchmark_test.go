package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// large is a pool of many servers and 20 mitigations that has come to rest.
func large(servers int) *fromapi.Sight {
	seen := &fromapi.Sight{
		Pool: &emsv1.PoolMitigationConfig{ObjectMeta: metav1.ObjectMeta{Name: "frontends", Namespace: "vienna"}},
		Now:  time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC),
	}
	for i := range 20 {
		m := emsv1.Mitigation{}
		m.Spec.ID, m.Spec.Revision, m.Spec.Lifecycle = emsv1.MitigationID(fmt.Sprintf("M%d", i)), 1, emsv1.LifecycleActive
		m.Spec.FeedName, m.Spec.BundleName, m.Spec.DocumentDigest = "exchange", "exchange-0123456789ab", strings.Repeat("d", 64)
		seen.Mitigations = append(seen.Mitigations, m)
	}
	// Without servers everything completes at once.
	spec := render(seen, nil, rollout.Make(seen.Input()))
	seen.Plan = &emsv1.MitigationPlan{Spec: spec}
	for i := range servers {
		server := emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fe%05d", i)}}
		for j := range seen.Mitigations {
			server.Status.Mitigations = append(server.Status.Mitigations, emsv1.ServerMitigation{
				ID: seen.Mitigations[j].Spec.ID, State: emsv1.StateApplied,
				Gate: emsv1.ServerGate{Rollout: spec.Mitigations[j].Rollout.ID, Verdict: emsv1.GatePassed},
			})
		}
		seen.Servers = append(seen.Servers, server)
	}
	return seen
}

// What one look at a pool of 10,000 servers costs: while nothing is rolled out, and when a revision comes.
func BenchmarkLookAt10000Servers(b *testing.B) {
	for name, revision := range map[string]int64{"at rest": 1, "with a new revision": 2} {
		b.Run(name, func(b *testing.B) {
			seen := large(10_000)
			seen.Mitigations[0].Spec.Revision = revision
			b.ReportAllocs()
			for b.Loop() {
				plan := render(seen, nil, rollout.Make(seen.Input()))
				if len(plan.Mitigations) != 20 {
					b.Fatal("the plan is not whole")
				}
			}
		})
	}
}
