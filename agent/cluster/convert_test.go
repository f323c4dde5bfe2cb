package cluster

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// A client reads the answer into the object that it sent. What the agent remembers of its report, which a watch compares meanwhile with what
// arrives, must not change with it.
func TestAnAnswerDoesNotReachWhatIsRemembered(t *testing.T) {
	at := func(hour int) *metav1.Time { return new(metav1.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC)) }
	statusAt := func(hour int) emsv1.PoolServerStatus {
		use := emsv1.LocalUse{By: "alice", Reason: "login fails", Time: at(hour)}
		return emsv1.PoolServerStatus{
			Conditions:         []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready", LastTransitionTime: *at(hour)}},
			ObservedGeneration: new(int64(hour)),
			Credential:         emsv1.ServerCredential{ExpiryTime: at(hour)},
			ClockSkewSeconds:   new(int64(hour)),
			Local: emsv1.ServerLocal{
				KillSwitch: use, Repair: use,
				Blocked: []emsv1.LocalBlock{{ID: "M1", Use: use, ExpiryTime: at(hour)}}, Recent: []emsv1.LocalEvent{{Did: "blocked M1", Use: use}},
			},
			Mitigations: []emsv1.ServerMitigation{{ID: "M1", State: "Applied", ChangedTime: at(hour), LookAlikes: []string{string(rune('a' + hour))}}},
		}
	}
	remembered := statusAt(1)
	sent := applyConfigurationOf("pool", "fe01", remembered)
	answer, err := json.Marshal(applyConfigurationOf("pool", "fe01", statusAt(2)))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answer, sent); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(statusAt(1), remembered); diff != "" {
		t.Errorf("the answer changed what was remembered (-want +got):\n%s", diff)
	}
}
