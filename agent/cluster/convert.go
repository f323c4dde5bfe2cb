package cluster

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/utils/ptr"

	"mitigation.dev/ems/agent/enforce"
	"mitigation.dev/ems/agent/gate"
	"mitigation.dev/ems/agent/health"
	"mitigation.dev/ems/agent/iis/effective"
	"mitigation.dev/ems/agent/samples"
	emsv1 "mitigation.dev/ems/api/v1alpha1"
	emsv1ac "mitigation.dev/ems/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

const (
	// documentLength is how much of a document's digest stands in a status: 48 bits tell documents apart, and people read it.
	documentLength = 12
	// maxMitigations is the limit of the API for status.mitigations.
	maxMitigations = 512
)

// planOf converts a plan. Its errors mean that this agent cannot read the plan, which the schema should have prevented.
func planOf(p *emsv1.MitigationPlan) (*enforce.Plan, error) {
	plan := &enforce.Plan{Generation: p.Generation}
	switch p.Spec.Mode {
	case emsv1.ModeEnforce:
	case emsv1.ModeAudit:
		plan.AuditOnly = true
	default:
		return nil, fmt.Errorf("plan %s: mode %q: not known to this agent; update the agent", p.Name, p.Spec.Mode)
	}
	switch p.Spec.Placement {
	case "", emsv1.PlacementApplicationHost:
	case emsv1.PlacementWebConfig:
		plan.WebConfig = true
	default:
		return nil, fmt.Errorf("plan %s: placement %q: not known to this agent; update the agent", p.Name, p.Spec.Placement)
	}
	for _, m := range p.Spec.Mitigations {
		plan.Entries = append(plan.Entries, entryOf(m))
	}
	for _, f := range p.Spec.FixedBuilds {
		number, err := build.Parse(f.Build)
		if err != nil {
			return nil, fmt.Errorf("plan %s: fixedBuilds: %s: %w", p.Name, f.ID, err)
		}
		plan.FixedBuilds = append(plan.FixedBuilds, policy.FixedBuild{ID: string(f.ID), Build: number})
	}
	for i, r := range p.Spec.MustPass {
		sample := samples.Sample{Number: i + 1, Expect: samples.Passed, Pool: true, Method: r.Method, URL: r.URL, Host: r.Host}
		for _, h := range r.Headers {
			sample.Headers = append(sample.Headers, samples.Header{Name: h.Name, Value: h.Value})
		}
		plan.MustPass = append(plan.MustPass, sample)
	}
	plan.HealthChecks, plan.RepairRequest = checksOf(p.Spec.HealthChecks), p.Spec.RepairRequest
	plan.Reporting = enforce.Reporting{
		Lease:  time.Duration(p.Spec.Reporting.LeaseSeconds) * time.Second,
		Window: windowOf(p),
	}
	for _, r := range p.Spec.Revocation {
		plan.Revocation = append(plan.Revocation, enforce.RevocationRef{FeedName: r.FeedName, BundleName: r.BundleName, Digest: r.Digest})
	}
	return plan, nil
}

func entryOf(m emsv1.PlannedMitigation) enforce.Entry {
	e := enforce.Entry{
		ID: string(m.ID),
		Decision: policy.Decision{
			Desired: policy.Desired(m.Desired), Reason: policy.Reason(m.Reason), Message: m.Message,
		},
		Revision: m.Revision,
		Document: enforce.DocumentRef{FeedName: m.FeedName, BundleName: m.BundleName, Digest: m.DocumentDigest},
		// Without a cut-off nobody is released: the field is required.
		Release: rollout.Release{ServerNames: m.Release.ServerNames, Below: ptr.Deref(m.Release.Below, 0)},
	}
	for _, a := range m.BlockedActions {
		e.Decision.BlockedActions = append(e.Decision.BlockedActions, string(a))
	}
	if m.UntilTime != nil {
		e.Decision.Until = m.UntilTime.UTC()
	}
	e.Rollout = rolloutOf(m)
	return e
}

// rolloutOf converts what servers follow of a rollout. Plans of older managers have none.
func rolloutOf(m emsv1.PlannedMitigation) enforce.Rollout {
	r := m.Rollout
	if r.ID == "" {
		return enforce.Rollout{}
	}
	out := enforce.Rollout{
		ID: r.ID, Waiting: waitingOf(r), Complete: r.State == emsv1.RolloutComplete, Revert: r.Unreleased == emsv1.UnreleasedRevert,
		Terms: gate.Terms{Bake: time.Duration(ptr.Deref(r.Gate.BakeSeconds, 0)) * time.Second, MinRequests: int64(ptr.Deref(r.Gate.MinRequests, 0))},
	}
	if f := r.Fallback; f.Rollout != "" {
		out.Fallback = enforce.Fallback{
			Rollout: f.Rollout, Revision: f.Revision,
			Document: enforce.DocumentRef{FeedName: m.FeedName, BundleName: f.BundleName, Digest: f.DocumentDigest},
		}
	}
	return out
}

// waitingOf says why servers wait. While stages follow each other, and when all have passed, it is the next stage that they
// wait for.
func waitingOf(r emsv1.PlanRollout) policy.Reason {
	if r.State == emsv1.RolloutProgressing || r.State == emsv1.RolloutComplete {
		return policy.AwaitingStage
	}
	return policy.Reason(r.Reason)
}

func checksOf(c emsv1.PlanHealthChecks) health.Checks {
	out := health.Checks{Services: c.Services}
	for _, h := range c.HTTP {
		check := health.HTTPCheck{Name: h.Name, Scheme: h.Scheme, Port: int(h.Port), Path: h.Path, Host: h.Host, Body: h.Body}
		for _, status := range h.Statuses {
			check.Statuses = append(check.Statuses, int(status))
		}
		out.HTTP = append(out.HTTP, check)
	}
	for _, port := range c.TCPPorts {
		out.TCPPorts = append(out.TCPPorts, int(port))
	}
	return out
}

// mitigationsOf converts results; changed says when the server was last changed, by lower-case id.
func mitigationsOf(results []enforce.Result, changed map[string]time.Time) []emsv1.ServerMitigation {
	list := make([]emsv1.ServerMitigation, 0, min(len(results), maxMitigations))
	for _, r := range results[:min(len(results), maxMitigations)] {
		m := emsv1.ServerMitigation{
			ID: emsv1.MitigationID(r.ID), State: emsv1.MitigationState(r.State), Reason: r.Reason,
			Message: conditions.Truncate(r.Message), Revision: r.Revision, Effective: emsv1.Effectiveness(r.Effective),
		}
		for _, l := range r.LookAlikes[:min(len(r.LookAlikes), effective.MaxLookAlikes)] {
			m.LookAlikes = append(m.LookAlikes, conditions.Truncate(l))
		}
		if r.Gate.Rollout != "" {
			m.Gate = emsv1.ServerGate{
				Rollout: r.Gate.Rollout, Verdict: emsv1.GateVerdict(r.Gate.Verdict), Message: conditions.Cut(r.Gate.Message, gate.MaxMessage),
			}
		}
		if len(r.Digest) >= documentLength {
			m.Document = r.Digest[:documentLength]
		}
		if at, ok := changed[strings.ToLower(r.ID)]; ok {
			// The API keeps whole seconds; with more, the status would differ from itself.
			m.ChangedTime = new(metav1.NewTime(at.Truncate(time.Second)))
		}
		list = append(list, m)
	}
	return list
}

func factsOf(f Facts) emsv1.ServerFacts {
	facts := emsv1.ServerFacts{
		Product: emsv1.Product(f.Product), Role: f.Role, RewriteModule: f.RewriteModule,
		AgentVersion: f.AgentVersion, OperatingSystem: f.OperatingSystem,
	}
	if !f.Build.IsZero() {
		facts.Build = f.Build.String()
	}
	return facts
}

// applyConfigurationOf states a status for server-side apply. Empty fields are left out, so that the agent does not own them.
func applyConfigurationOf(namespace, name string, s emsv1.PoolServerStatus) *emsv1ac.PoolServerApplyConfiguration {
	// The client reads the answer into what it sent, through pointers, while a watch may compare the status with what arrives.
	s = *s.DeepCopy()
	status := emsv1ac.PoolServerStatus()
	for _, c := range s.Conditions {
		status.WithConditions(metav1ac.Condition().WithType(c.Type).WithStatus(c.Status).WithObservedGeneration(c.ObservedGeneration).
			WithLastTransitionTime(c.LastTransitionTime).WithReason(c.Reason).WithMessage(c.Message))
	}
	status.ObservedGeneration = s.ObservedGeneration
	status.ObservedPlanGeneration = given(s.ObservedPlanGeneration)
	if s.Facts != (emsv1.ServerFacts{}) {
		status.Facts = &emsv1ac.ServerFactsApplyConfiguration{
			Product: given(s.Facts.Product), Role: given(s.Facts.Role), Build: given(s.Facts.Build),
			RewriteModule: given(s.Facts.RewriteModule), AgentVersion: given(s.Facts.AgentVersion), OperatingSystem: given(s.Facts.OperatingSystem),
		}
	}
	if s.Summary != (emsv1.ServerSummary{}) {
		status.Summary = &emsv1ac.ServerSummaryApplyConfiguration{
			Applied: given(s.Summary.Applied), Failed: given(s.Summary.Failed), Ineffective: given(s.Summary.Ineffective), Blocked: given(s.Summary.Blocked),
		}
	}
	if s.Credential.ExpiryTime != nil {
		status.Credential = &emsv1ac.ServerCredentialApplyConfiguration{ExpiryTime: s.Credential.ExpiryTime}
	}
	status.Local = localConfiguration(s.Local)
	status.ClockSkewSeconds = s.ClockSkewSeconds
	for _, m := range s.Mitigations {
		var said *emsv1ac.ServerGateApplyConfiguration
		if m.Gate.Rollout != "" {
			said = &emsv1ac.ServerGateApplyConfiguration{Rollout: given(m.Gate.Rollout), Verdict: given(m.Gate.Verdict), Message: given(m.Gate.Message)}
		}
		status.WithMitigations(&emsv1ac.ServerMitigationApplyConfiguration{
			ID: given(m.ID), State: given(m.State), Reason: given(m.Reason), Message: given(m.Message),
			Revision: given(m.Revision), Document: given(m.Document), ChangedTime: m.ChangedTime,
			Effective: given(m.Effective), LookAlikes: m.LookAlikes, Gate: said,
		})
	}
	for _, f := range s.Feeds {
		status.WithFeeds(&emsv1ac.ObservedFeedApplyConfiguration{Name: given(f.Name), Sequence: given(f.Sequence)})
	}
	return emsv1ac.PoolServer(name, namespace).WithStatus(status)
}

// given returns a pointer to a value, nil for the zero value.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// windowOf is within which time a plan wants success to be reported.
func windowOf(p *emsv1.MitigationPlan) time.Duration {
	return time.Duration(ptr.Deref(p.Spec.Reporting.WindowSeconds, 0)) * time.Second
}
