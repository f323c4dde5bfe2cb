package rollout

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

func TestRevocationStaysWithinTheLimitOfThePlan(t *testing.T) {
	var feeds []emsv1.MitigationFeed
	var entries []rollout.Entry
	for i := range maxRevocation + 1 {
		feed := emsv1.MitigationFeed{}
		feed.Name = fmt.Sprintf("feed-%02d", maxRevocation-i)
		feed.Status.Revocation = emsv1.RevocationStatus{BundleName: feed.Name + "-1", Digest: "d"}
		feeds = append(feeds, feed)
		entries = append(entries, rollout.Entry{Mitigation: rollout.Mitigation{FeedName: feed.Name}})
	}
	list := revocation(entries, feeds)
	if len(list) != maxRevocation || list[0].FeedName != "feed-00" || list[maxRevocation-1].FeedName != "feed-63" {
		t.Errorf("%d feeds from %q on, want the first %d by name", len(list), list[0].FeedName, maxRevocation)
	}
	if list := revocation(entries[:1], feeds[1:]); len(list) != 0 {
		t.Errorf("revocation() = %+v for feeds that the plan does not name, want none", list)
	}
}

// wordy is a plan of so many mitigations in the given state, with texts of the given length and a fallback each.
func wordy(mitigations, text int, state emsv1.RolloutState) emsv1.MitigationPlanSpec {
	at := new(metav1.NewTime(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)))
	words := strings.Repeat("w", text)
	spec := emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce}
	for i := range mitigations {
		spec.Mitigations = append(spec.Mitigations, emsv1.PlannedMitigation{
			ID: emsv1.MitigationID(fmt.Sprintf("M%04d", i)), Desired: emsv1.DesiredApply, Reason: "Enabled", Message: words,
			Revision: 12, FeedName: "exchange", BundleName: "exchange-0123456789ab", DocumentDigest: strings.Repeat("d", 64),
			Release: emsv1.Release{Below: new(emsv1.ReleaseAll)},
			Rollout: emsv1.PlanRollout{
				ID: "r12-a1-01234567", Attempt: 1, State: state, Reason: emsv1.RolloutCompleteReason, Message: words, Profile: emsv1.ProfileStandard,
				Stage: "all", StageNumber: new(int32(4)), Stages: 4, StartTime: at, StageTime: at, CompletionTime: at,
				Unreleased: emsv1.UnreleasedKeep, Gate: emsv1.PlanGate{BakeSeconds: new(int32(600))},
				Fallback: emsv1.PlanFallback{
					Rollout: "r11-a1-01234567", Revision: 11, BundleName: "exchange-0123456789ac", DocumentDigest: strings.Repeat("e", 64),
				},
			},
			Transition: emsv1.PlanTransition{Action: "Completed", Time: at, By: "EMS", Message: strings.Repeat("t", min(text, 512))},
		})
	}
	return spec
}

func TestAPlanFitsIntoOneObject(t *testing.T) {
	const most = 1_468_006 // 1.4 MiB. etcd takes no more than 1.5 MiB, and there are metadata beside the spec.
	for name, spec := range map[string]emsv1.MitigationPlanSpec{
		"2,048 complete mitigations":                      wordy(2048, 20, emsv1.RolloutComplete),
		"2,048 complete mitigations with much to say":     wordy(2048, 2048, emsv1.RolloutComplete),
		"2,048 mitigations on their way that have a lot ": wordy(2048, 2048, emsv1.RolloutProgressing),
		"300 mitigations with much to say":                wordy(300, 2048, emsv1.RolloutHalted),
	} {
		t.Run(name, func(t *testing.T) {
			whole := size(&spec)
			fitted := fit(spec, nil)
			encoded, err := json.Marshal(fitted)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d bytes, of %d", len(encoded), whole)
			if len(encoded) > most {
				t.Errorf("the plan takes %d bytes, more than %d", len(encoded), most)
			}
			for i := range fitted.Mitigations {
				m := &fitted.Mitigations[i]
				if m.Rollout.Fallback.BundleName == "" || m.Rollout.CompletionTime == nil || m.Rollout.ID == "" || m.Release.Below == nil {
					t.Fatalf("%s has lost what the manager has to remember: %+v", m.ID, m)
				}
			}
			// The plan that it makes of itself is the same, or it would be written for ever.
			again := fit(fitted, &emsv1.MitigationPlan{Spec: fitted})
			once := fit(again, &emsv1.MitigationPlan{Spec: again})
			if diff := cmp.Diff(again, once); diff != "" {
				t.Errorf("the plan changes with every look (-before +after):\n%s", diff)
			}
		})
	}
}

func TestAPlanThatFitsKeepsEveryWord(t *testing.T) {
	spec := wordy(80, 2048, emsv1.RolloutHalted)
	if diff := cmp.Diff(wordy(80, 2048, emsv1.RolloutHalted), fit(spec, &emsv1.MitigationPlan{Spec: spec})); diff != "" {
		t.Errorf("words are missing (-want +got):\n%s", diff)
	}
}
