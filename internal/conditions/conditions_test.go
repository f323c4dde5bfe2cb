package conditions_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/internal/conditions"
)

func TestSetFollowsKstatusFromEveryOutcomeToEveryOther(t *testing.T) {
	outcomes := map[string]struct {
		outcome conditions.Outcome
		want    map[string]metav1.ConditionStatus
	}{
		"done is Ready alone": {
			outcome: conditions.Done("Good", "all is well"),
			want:    map[string]metav1.ConditionStatus{"Ready": metav1.ConditionTrue},
		},
		"working is not Ready and Reconciling": {
			outcome: conditions.Working("Busy", "on the way"),
			want:    map[string]metav1.ConditionStatus{"Ready": metav1.ConditionFalse, "Reconciling": metav1.ConditionTrue},
		},
		"stalled is not Ready and Stalled": {
			outcome: conditions.Stalled("Broken", "do something"),
			want:    map[string]metav1.ConditionStatus{"Ready": metav1.ConditionFalse, "Stalled": metav1.ConditionTrue},
		},
	}
	for fromName, from := range outcomes {
		for toName, to := range outcomes {
			t.Run(fromName+", then "+toName, func(t *testing.T) {
				list := []metav1.Condition{{Type: "Fresh", Status: metav1.ConditionTrue}}
				conditions.Set(&list, 1, from.outcome)
				changed := conditions.Set(&list, 2, to.outcome)

				got := map[string]metav1.ConditionStatus{}
				for _, c := range list {
					if c.Type == "Fresh" {
						continue
					}
					got[c.Type] = c.Status
					if c.ObservedGeneration != 2 || c.Reason != to.outcome.Reason || c.Message != to.outcome.Message || c.LastTransitionTime.IsZero() {
						t.Errorf("condition %+v does not carry the outcome %+v of generation 2", c, to.outcome)
					}
				}
				if diff := cmp.Diff(to.want, got); diff != "" {
					t.Errorf("conditions differ (-want +got):\n%s", diff)
				}
				if wantChanged := fromName != toName; changed != wantChanged {
					t.Errorf("Set reported changed = %t, want %t", changed, wantChanged)
				}
			})
		}
	}
}

func TestTruncateCutsAtACharacter(t *testing.T) {
	tests := map[string]struct{ message, want string }{
		"a short message stays":                    {message: "short", want: "short"},
		"a message of exactly the limit stays":     {message: strings.Repeat("a", 1024), want: strings.Repeat("a", 1024)},
		"a longer one ends with an ellipsis":       {message: strings.Repeat("a", 1025), want: strings.Repeat("a", 1021) + "…"},
		"a character across the limit is left out": {message: strings.Repeat("ü", 600), want: strings.Repeat("ü", 510) + "…"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := conditions.Truncate(tc.message); got != tc.want {
				t.Errorf("Truncate = %d bytes ending %q, want %d bytes", len(got), got[len(got)-6:], len(tc.want))
			}
		})
	}
}

func TestIDsStaysWithinTheAPI(t *testing.T) {
	var many []string
	for i := range 512 {
		many = append(many, fmt.Sprintf("M%d", i))
	}
	got := conditions.IDs(many)
	if len(got) > 512 || !strings.HasPrefix(got, "M0,M1,") || !strings.HasSuffix(got, "-more") {
		t.Errorf("IDs = %d bytes, %q", len(got), got)
	}
	if got, want := conditions.IDs([]string{"M1", "PING1"}), "M1,PING1"; got != want {
		t.Errorf("IDs = %q, want %q", got, want)
	}
	if got := conditions.IDs(nil); got != "" {
		t.Errorf("IDs of none = %q, want nothing", got)
	}
}
