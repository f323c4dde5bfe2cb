package ecosystem

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
)

// Standing is which of the summary conditions an object has.
type Standing string

// The standings.
const (
	// Done is Ready=True alone.
	Done Standing = "Ready"
	// Working is Ready=False with Reconciling=True.
	Working Standing = "Reconciling"
	// Stalled is Ready=False with Stalled=True.
	Stalled Standing = "Stalled"
	// Unheard is Ready=Unknown alone.
	Unheard Standing = "Unknown"
	// None is an object without conditions.
	None Standing = ""
)

// Words of the judges.
const (
	current     = "Current"
	inProgress  = "InProgress"
	failed      = "Failed"
	terminating = "Terminating"

	healthy     = "Healthy"
	progressing = "Progressing"
	degraded    = "Degraded"
	suspended   = "Suspended"
)

// Verdict is what each judge has to say of a state.
type Verdict struct {
	KStatus string
	// ArgoCD is empty where Argo CD has no script, and counts the object as healthy.
	ArgoCD string
	// Flux is empty where the expressions say nothing, so that Flux asks again until its timeout, or where there are none.
	Flux string
}

// State is one state of an object of a kind.
type State struct {
	Kind     string
	Name     string
	Standing Standing
	Reason   string
	Want     Verdict

	// Generation and Observed are metadata.generation and status.observedGeneration (0: absent).
	Generation, Observed int64
	Deleting             bool
	// Spec and Status hold further fields.
	Spec, Status map[string]any
	// Warning is a condition beside the summary that is False.
	Warning *metav1.Condition
}

// usual is the verdict on a standing when nothing else counts.
var usual = map[Standing]Verdict{
	Done:    {current, healthy, current},
	Working: {inProgress, progressing, inProgress},
	Stalled: {failed, degraded, failed},
	Unheard: {inProgress, progressing, inProgress},
}

// reasons are the reasons of Ready of each kind, by their standing.
var reasons = map[string]map[Standing][]string{
	"MitigationFeed": {
		Done:    {emsv1.DocumentAcceptedReason, emsv1.PartlyAcceptedReason, emsv1.PollingDisabledReason},
		Working: {emsv1.ProgressingReason, emsv1.UnreachableReason, emsv1.TimedOutReason, emsv1.UnexpectedStatusReason},
		Stalled: {
			emsv1.InvalidSpecReason, emsv1.TLSFailedReason, emsv1.RedirectedReason, emsv1.UnexpectedEncodingReason, emsv1.DocumentTooLargeReason,
			emsv1.SourceMissingReason, emsv1.DocumentMalformedReason, emsv1.SignatureInvalidReason, emsv1.SignerUntrustedReason,
			emsv1.TimestampInvalidReason, emsv1.DocumentRolledBackReason, emsv1.SequenceJumpReason, emsv1.DocumentNotYetValidReason,
			emsv1.DocumentExpiredReason, emsv1.DocumentUndatedReason,
		},
	},
	"MitigationConfiguration": {
		Done:    {emsv1.InEffectReason},
		Working: {emsv1.PlanPendingReason, emsv1.ProgressingReason},
		Stalled: {emsv1.InvalidSpecReason},
	},
	"PoolMitigationConfig": {
		Done: {emsv1.InSyncReason, emsv1.NoServersReason, emsv1.RolloutAbortedReason},
		Working: {
			emsv1.HaltedElsewhereReason, emsv1.RolloutPausedReason, emsv1.AwaitingRingReason, emsv1.AwaitingWindowReason, emsv1.PlanPendingReason,
			emsv1.RollingOutReason, emsv1.AgentsSilentReason, emsv1.TakingOverReason, emsv1.ProgressingReason,
		},
		Stalled: {
			emsv1.NoManagerReason, emsv1.RolloutHaltedReason, emsv1.RolloutStuckReason, emsv1.AwaitingApprovalReason, emsv1.ServersFailedReason,
			emsv1.ServersIneffectiveReason, emsv1.InvalidSpecReason,
		},
	},
	"Mitigation": {
		Done: {emsv1.AppliedReason, emsv1.NotWantedReason, emsv1.NoPoolsReason, emsv1.RolloutAbortedReason},
		Working: {
			emsv1.HaltedElsewhereReason, emsv1.RolloutPausedReason, emsv1.AwaitingRingReason, emsv1.AwaitingWindowReason,
			emsv1.RollingOutReason, emsv1.ProgressingReason,
		},
		Stalled: {
			emsv1.RolloutHaltedReason, emsv1.RolloutStuckReason, emsv1.AwaitingApprovalReason, emsv1.ServersFailedReason,
			emsv1.ServersIneffectiveReason, emsv1.InvalidSpecReason,
		},
	},
	"PoolServer": {
		Done:    {emsv1.PlanAppliedReason},
		Working: {emsv1.PlanMissingReason, emsv1.ProgressingReason},
		Stalled: {
			emsv1.MitigationsFailedReason, emsv1.MitigationsIneffectiveReason, emsv1.KillSwitchReason, "SwitchesUnusable", emsv1.InvalidSpecReason,
		},
		Unheard: {emsv1.AgentSilentReason},
	},
}

// richer are the reasons for which Argo CD has a better word than Healthy, Progressing or Degraded.
var richer = map[string]string{
	emsv1.AwaitingApprovalReason: suspended,
	emsv1.RolloutPausedReason:    suspended,
	emsv1.PollingDisabledReason:  suspended,
}

// States returns the whole table, sorted by kind.
func States() []State {
	var all []State
	for kind, byStanding := range reasons {
		for standing, list := range byStanding {
			for _, reason := range list {
				want := usual[standing]
				if word, ok := richer[reason]; ok {
					want.ArgoCD = word
				}
				s := State{Kind: kind, Name: reason, Standing: standing, Reason: reason, Want: want, Generation: 2, Observed: 2}
				if reason == emsv1.PollingDisabledReason {
					s.Spec = map[string]any{"polling": "Disabled"}
				}
				all = append(all, s)
			}
		}
		all = append(all, situations(kind, byStanding)...)
	}
	all = append(all, special()...)
	for _, kind := range []string{"MitigationBundle", "MitigationPlan"} {
		all = append(all,
			State{Kind: kind, Name: "is there", Generation: 1, Want: Verdict{KStatus: current}},
			State{Kind: kind, Name: "being deleted", Generation: 1, Deleting: true, Want: Verdict{KStatus: terminating}})
	}
	slices.SortStableFunc(all, func(a, b State) int {
		if c := strings.Compare(a.Kind, b.Kind); c != 0 {
			return c
		}
		return strings.Compare(fmt.Sprint(a.Reason == a.Name, a.Standing, a.Name), fmt.Sprint(b.Reason == b.Name, b.Standing, b.Name))
	})
	return all
}

// situations are the states that do not depend on what the kind is about.
func situations(kind string, byStanding map[Standing][]string) []State {
	states := []State{
		// kstatus takes an object without a status for one that never has any.
		{Kind: kind, Name: "new, nobody has looked at it", Want: Verdict{current, progressing, ""}, Generation: 1},
		{Kind: kind, Name: "new, being deleted", Want: Verdict{terminating, progressing, inProgress}, Generation: 1, Deleting: true},
	}
	for standing, list := range byStanding {
		if standing == Unheard {
			continue
		}
		// By name, so that the table does not depend on the order of the lists.
		reason := slices.Min(list)
		states = append(states,
			State{
				Kind: kind, Name: "changed since it was " + string(standing), Standing: standing, Reason: reason, Generation: 3, Observed: 2,
				Want: Verdict{inProgress, progressing, inProgress},
			},
			State{
				Kind: kind, Name: "being deleted, was " + string(standing), Standing: standing, Reason: reason, Generation: 2, Observed: 2,
				Deleting: true, Want: Verdict{terminating, progressing, inProgress},
			})
	}
	return states
}

// special are the states that settings bring about.
func special() []State {
	state := func(kind, name string, standing Standing, reason, argocd string, spec, status map[string]any) State {
		want := usual[standing]
		want.ArgoCD = argocd
		return State{Kind: kind, Name: name, Standing: standing, Reason: reason, Want: want, Generation: 2, Observed: 2, Spec: spec, Status: status}
	}
	field := func(name string, value any) map[string]any { return map[string]any{name: value} }
	const pool, configuration, feed = "PoolMitigationConfig", "MitigationConfiguration", "MitigationFeed"
	states := []State{
		state(pool, "suspended, everything removed", Done, emsv1.InSyncReason, suspended, field("suspend", "Revert"), nil),
		state(pool, "suspended, being removed", Working, emsv1.RollingOutReason, progressing, field("suspend", "Revert"), nil),
		state(pool, "suspended, a server failed", Stalled, emsv1.ServersFailedReason, degraded, field("suspend", "Revert"), nil),
		state(pool, "suspended by the organisation", Done, emsv1.InSyncReason, suspended, nil, field("summary", field("mode", "Suspended"))),
		state(pool, "disabled", Done, emsv1.InSyncReason, suspended, field("mitigations", "Disabled"), nil),
		state(pool, "disabled by the organisation", Done, emsv1.InSyncReason, suspended, nil, field("summary", field("mode", "Disabled"))),
		state(pool, "in Audit", Done, emsv1.InSyncReason, healthy, field("mode", "Audit"), field("summary", field("mode", "Audit"))),
		state(pool, "rollouts held, nothing waits", Done, emsv1.InSyncReason, suspended, field("rollout", field("progress", "Paused")), nil),
		state(configuration, "suspended", Done, emsv1.InEffectReason, suspended, field("suspend", "Revert"), nil),
		state(configuration, "disabled", Done, emsv1.InEffectReason, suspended, field("mitigations", "Disabled"), nil),
		state(configuration, "rollouts held", Done, emsv1.InEffectReason, suspended, field("rollout", field("progress", "Paused")), nil),
	}
	stale := state(feed, "the accepted document has expired", Done, emsv1.DocumentAcceptedReason, healthy, nil, nil)
	stale.Warning = &metav1.Condition{Type: emsv1.FreshCondition, Reason: emsv1.DocumentExpiredReason, Message: "the document has expired"}
	unread := state(feed, "stale, cannot be reached", Working, emsv1.UnreachableReason, progressing, nil, nil)
	unread.Warning = &metav1.Condition{Type: emsv1.FreshCondition, Reason: emsv1.FeedStaleReason, Message: "not read for a day"}
	clock := state("PoolServer", "the clock is wrong", Done, emsv1.PlanAppliedReason, healthy, nil, nil)
	clock.Warning = &metav1.Condition{Type: emsv1.ClockInSyncCondition, Reason: emsv1.ClockSkewedReason, Message: "the clock is 70 s ahead"}
	never := state("PoolServer", "silent since it was enrolled", Unheard, emsv1.AgentSilentReason, progressing, nil, nil)
	never.Observed = 0
	return append(states, stale, unread, clock, never)
}

// Message of the summary conditions of a state.
const message = "what is there to say"

// JSON is an object in the state.
func (s State) JSON() ([]byte, error) {
	metadata := map[string]any{"name": "example", "generation": s.Generation}
	if s.Deleting {
		metadata["deletionTimestamp"] = "2026-05-14T16:00:00Z"
		metadata["finalizers"] = []string{"example.com/hold"}
	}
	object := map[string]any{"apiVersion": emsv1.GroupVersion.String(), "kind": s.Kind, "metadata": metadata}
	if s.Spec != nil {
		object["spec"] = s.Spec
	}
	status := map[string]any{}
	maps.Copy(status, s.Status)
	if s.Standing != None {
		status["conditions"] = s.conditions()
	}
	if s.Observed != 0 {
		status["observedGeneration"] = s.Observed
	}
	if len(status) > 0 {
		object["status"] = status
	}
	return json.Marshal(object)
}

// conditions are written by the functions that manager and agent use.
func (s State) conditions() []metav1.Condition {
	var list []metav1.Condition
	if s.Warning != nil {
		warning := *s.Warning
		warning.Status, warning.ObservedGeneration = metav1.ConditionFalse, s.Observed
		list = append(list, warning)
	}
	outcome := map[Standing]func(reason, message string) conditions.Outcome{Done: conditions.Done, Working: conditions.Working, Stalled: conditions.Stalled}
	if of, ok := outcome[s.Standing]; ok {
		conditions.Set(&list, s.Observed, of(s.Reason, message))
	} else {
		list = append(list, metav1.Condition{
			Type: emsv1.ReadyCondition, Status: metav1.ConditionUnknown, Reason: s.Reason, Message: message, ObservedGeneration: s.Observed,
		})
	}
	for i := range list {
		list[i].LastTransitionTime = metav1.NewTime(time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC))
	}
	return list
}
