package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/skew"
	"mitigation.dev/ems/agent/switches"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/trust"
)

// Report is what the agent has to say of its server.
type Report struct {
	// PlanGeneration of the plan that the results speak of; 0 when the pool has none.
	PlanGeneration int64
	Facts          Facts
	// Results of all mitigations, sorted by id.
	Results []enforce.Result
	// Changed says when the server was last changed for a mitigation, by lower-case id.
	Changed map[string]time.Time
	// Changes are what this pass of the loop changed; they become events.
	Changes []Change
	// Sequences are the highest accepted sequences by feed; feeds without one have 0.
	Sequences map[string]int64
	// Trust is what the server's trust rests on; nil leaves what was said of it before.
	Trust *Trust
	// Checks are what the checks that the trust file only logs found; nil leaves what was said of it before.
	Checks *Checks
	// CredentialExpiry is when the credential ends that the agent uses now; zero if nobody knows.
	CredentialExpiry time.Time
	// Switches are what people said at the server; nil leaves what was said of it before.
	Switches *switches.Switches
	// Clock is how the server's clock compares with that of the API server.
	Clock skew.Told
	// Window is within which time the report is made if it tells of success; zero for at once.
	Window Window
	// Problem keeps the agent from doing its work at all.
	Problem *Problem
}

// Trust is what the server's trust rests on, and when that was looked at.
type Trust struct {
	Anchors []trust.Anchor
	// Refused says which revocation lists from the cluster are not believed, and why.
	Refused []string
	// Err is why the file cannot be used.
	Err error
	At  time.Time
}

// Checks are what the checks that the trust file only logs found in the documents in use.
type Checks struct {
	// Findings in an order that does not change by itself.
	Findings []trust.Finding
}

// Facts are what the agent found out about the server.
type Facts struct {
	policy.Facts

	// RewriteModule is Present, Missing or Unknown.
	RewriteModule   string
	AgentVersion    string
	OperatingSystem string
}

// Problem is why the agent cannot do its work.
type Problem struct{ Reason, Message string }

// statusOf builds the status that follows old. Times of transitions are kept where nothing changed.
func statusOf(old emsv1.PoolServerStatus, generation int64, r Report) emsv1.PoolServerStatus {
	status := emsv1.PoolServerStatus{
		Conditions:             slices.Clone(old.Conditions),
		ObservedGeneration:     new(generation),
		ObservedPlanGeneration: r.PlanGeneration,
		Facts:                  factsOf(r.Facts),
		Mitigations:            mitigationsOf(r.Results, r.Changed),
		Feeds:                  feedsOf(old.Feeds, r.Sequences),
	}
	if !r.CredentialExpiry.IsZero() {
		status.Credential.ExpiryTime = new(metav1.NewTime(r.CredentialExpiry.Truncate(time.Second)))
	}
	if r.Problem != nil && len(r.Results) == 0 {
		// Nothing was found out; what is known from before is worth more than nothing.
		status.Mitigations, status.ObservedPlanGeneration = old.Mitigations, old.ObservedPlanGeneration
	}
	status.Local = old.Local
	if r.Switches != nil {
		status.Local = localOf(*r.Switches)
	}
	status.Summary = summaryOf(status.Mitigations)
	conditions.Set(&status.Conditions, generation, outcomeOf(r))
	if r.Trust != nil {
		meta.SetStatusCondition(&status.Conditions, trustAnchors(r.Trust, generation))
	}
	if r.Checks != nil {
		meta.SetStatusCondition(&status.Conditions, conditions.TrustChecks(r.Checks.Findings, generation))
	}
	if r.Clock.Skewed {
		status.ClockSkewSeconds = new(max(-maxSkew, min(maxSkew, int64(r.Clock.Ahead/time.Second))))
	}
	if r.Clock.Known {
		meta.SetStatusCondition(&status.Conditions, clockInSync(r.Clock, generation))
	} else {
		status.ClockSkewSeconds = old.ClockSkewSeconds
	}
	for i := range status.Conditions {
		// The API keeps whole seconds; with more, what comes back would differ from what was written.
		status.Conditions[i].LastTransitionTime = status.Conditions[i].LastTransitionTime.Rfc3339Copy()
	}
	return status
}

// maxSkew is the limit of the API: ten years.
const maxSkew = 315_360_000

// clockInSync warns of a wrong clock. It has no effect on what is applied.
func clockInSync(told skew.Told, generation int64) metav1.Condition {
	c := metav1.Condition{
		Type: emsv1.ClockInSyncCondition, Status: metav1.ConditionTrue, ObservedGeneration: generation, Reason: emsv1.ClockAgreesReason,
		Message: fmt.Sprintf("the clock differs from that of the API server by less than %s", skew.Limit),
	}
	if told.Skewed {
		way := "ahead of"
		if told.Ahead < 0 {
			way = "behind"
		}
		c.Status, c.Reason = metav1.ConditionFalse, emsv1.ClockSkewedReason
		c.Message = fmt.Sprintf("the clock is %s %s that of the API server; set the one that is wrong: documents, certificates and exceptions end by it",
			told.Ahead.Abs(), way)
	}
	return c
}

// trustAnchors warns of what trust rests on. It has no effect on what is applied.
func trustAnchors(t *Trust, generation int64) metav1.Condition {
	if t.Err != nil {
		return metav1.Condition{
			Type: emsv1.TrustAnchorsCurrentCondition, Status: metav1.ConditionFalse, ObservedGeneration: generation, Reason: emsv1.TrustFileUnusableReason,
			Message: conditions.Truncate(fmt.Sprintf("the trust file cannot be used: %v; correct it on the server, until then nobody is trusted", t.Err)),
		}
	}
	c := conditions.TrustAnchors(t.Anchors, generation, t.At)
	if len(t.Refused) == 0 {
		return c
	}
	said := "the cluster handed out revocation lists that this server does not believe, look for who changed them: " + strings.Join(t.Refused, "; ")
	if c.Status == metav1.ConditionFalse {
		said = c.Message + "; " + said
	}
	if c.Reason != emsv1.AnchorExpiredReason {
		c.Reason = emsv1.RevocationListRefusedReason
	}
	c.Status, c.Message = metav1.ConditionFalse, conditions.Truncate(said)
	return c
}

// outcomeOf sums the report up.
func outcomeOf(r Report) conditions.Outcome {
	if r.Problem != nil {
		return conditions.Stalled(r.Problem.Reason, r.Problem.Message)
	}
	if o, ok := killed(r); ok {
		return o
	}
	var failed, coming, ineffective, unknown []string
	inPlace, waiting := 0, 0
	for _, m := range r.Results {
		switch {
		case m.State == enforce.Failed:
			failed = append(failed, fmt.Sprintf("%s (%s): %s", m.ID, m.Reason, m.Message))
		case m.Ineffective():
			ineffective = append(ineffective, fmt.Sprintf("%s (%s): %s", m.ID, m.Reason, m.Message))
		case m.State == enforce.Pending && m.Transient:
			coming = append(coming, fmt.Sprintf("%s (%s): %s", m.ID, m.Reason, m.Message))
		case m.State == enforce.Pending:
			waiting++
		case m.State == enforce.Applied:
			inPlace++
			if m.Effective == string(emsv1.EffectiveUnknown) {
				unknown = append(unknown, fmt.Sprintf("%s (%s): %s", m.ID, m.Reason, m.Message))
			}
		}
	}
	switch {
	case len(failed) > 0:
		return conditions.Stalled(emsv1.MitigationsFailedReason, strings.Join(failed, "; "))
	case len(ineffective) > 0:
		return conditions.Stalled(emsv1.MitigationsIneffectiveReason, "in place, but IIS does not run it: "+strings.Join(ineffective, "; "))
	case r.PlanGeneration == 0:
		return conditions.Working(emsv1.PlanMissingReason,
			"the pool has no MitigationPlan, so everything stays as it is; check that the PoolMitigationConfig of the server's pool exists and is Ready")
	case len(coming) > 0:
		return conditions.Working(emsv1.ProgressingReason, strings.Join(coming, "; "))
	}
	message := fmt.Sprintf("%d in place", inPlace)
	if waiting > 0 {
		message += fmt.Sprintf(", %d waiting for the rollout to reach this server", waiting)
	}
	if len(unknown) > 0 {
		message += "; whether IIS runs it is not known: " + strings.Join(unknown, "; ")
	}
	return conditions.Done(emsv1.PlanAppliedReason, message)
}

// feedsOf never lets a sequence go back: the API refuses it, and would refuse the rest of the status with it.
func feedsOf(old []emsv1.ObservedFeed, sequences map[string]int64) []emsv1.ObservedFeed {
	highest := make(map[string]int64, len(sequences))
	maps.Copy(highest, sequences)
	for _, f := range old {
		highest[f.Name] = max(f.Sequence, highest[f.Name])
	}
	feeds := make([]emsv1.ObservedFeed, 0, len(highest))
	for name, sequence := range highest {
		feeds = append(feeds, emsv1.ObservedFeed{Name: name, Sequence: sequence})
	}
	slices.SortFunc(feeds, func(a, b emsv1.ObservedFeed) int { return strings.Compare(a.Name, b.Name) })
	return feeds
}

func summaryOf(mitigations []emsv1.ServerMitigation) emsv1.ServerSummary {
	var applied, failed, blocked, ineffective []string
	for _, m := range mitigations {
		switch {
		case m.State == emsv1.StateFailed:
			failed = append(failed, string(m.ID))
		case m.State == emsv1.StateApplied && m.Effective == emsv1.EffectiveFalse:
			ineffective = append(ineffective, string(m.ID))
		case m.State == emsv1.StateApplied:
			applied = append(applied, string(m.ID))
		case policy.Reason(m.Reason).Blocked():
			blocked = append(blocked, string(m.ID))
		}
	}
	return emsv1.ServerSummary{Applied: conditions.IDs(applied), Failed: conditions.IDs(failed), Ineffective: conditions.IDs(ineffective), Blocked: conditions.IDs(blocked)}
}
