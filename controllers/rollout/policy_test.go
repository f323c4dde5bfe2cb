package rollout

import (
	"slices"
	"testing"
	_ "time/tzdata" // the table asks for zones whatever the machine has

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/policy/policytest"
	"mitigation.dev/ems/internal/rollout"
)

// The table that policy, agent and command line answer, too, from objects to the plan's object.
func TestPlansOfObjectsSayWhatTheTableSays(t *testing.T) {
	for _, tc := range policytest.Cases() {
		t.Run(tc.Name, func(t *testing.T) {
			for _, moment := range tc.Moments {
				objects := tc.Objects()
				objects.Pool.Spec.Rollout.Stages = []emsv1.RolloutStage{
					{Name: policytest.Stage, Servers: new(intstr.FromString("100%")), Approval: emsv1.ApprovalBefore},
				}
				server := emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Name: "fe01"}}
				seen := &fromapi.Sight{
					Pool: objects.Pool, Configurations: objects.Configurations, Mitigations: []emsv1.Mitigation{*objects.Mitigation},
					Servers: []emsv1.PoolServer{server}, Now: moment.At,
				}
				spec := render(seen, nil, rollout.Make(seen.Input()))
				if len(spec.Mitigations) != 1 {
					t.Fatalf("at %v the plan has %d mitigations, want one", moment.At, len(spec.Mitigations))
				}
				m := &spec.Mitigations[0]
				got := policytest.Answer{Desired: policy.Desired(m.Desired), Reason: policy.Reason(m.Reason)}
				if diff := cmp.Diff(moment.Pool, got); diff != "" {
					t.Errorf("at %v the plan differs (-want +got):\n%s", moment.At, diff)
				}
				var blocked []string
				for _, action := range m.BlockedActions {
					blocked = append(blocked, string(action))
				}
				if !slices.Equal(blocked, moment.BlockedActions) {
					t.Errorf("at %v actions %v are left out, want %v", moment.At, blocked, moment.BlockedActions)
				}
				begun := ptr.Deref(m.Rollout.StageNumber, 0) == 1
				if want := moment.Pool.Desired == policy.Apply && moment.Approved && moment.Open; m.Desired == emsv1.DesiredApply && begun != want {
					t.Errorf("at %v the stage has begun: %t, want %t (approved %t, open %t)", moment.At, begun, want, moment.Approved, moment.Open)
				}
			}
		})
	}
}
