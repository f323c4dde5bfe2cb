package fleet

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// configurationStatus tells whether a configuration is in effect in every pool in its scope. It also returns when the
// answer changes by itself, because an exception expires; zero if it does not.
func configurationStatus(
	c *emsv1.MitigationConfiguration, pools []emsv1.PoolMitigationConfig, plans map[string]*emsv1.MitigationPlan, now time.Time,
) (emsv1.MitigationConfigurationStatus, time.Time) {
	status := emsv1.MitigationConfigurationStatus{
		Conditions:         slices.Clone(c.Status.Conditions),
		ObservedGeneration: new(c.Generation),
		Telemetry:          c.Status.Telemetry, // written by package telemetry
	}
	var blocked []string
	var next time.Time
	for _, e := range c.Spec.Blocked {
		if e.ExpiryTime != nil && !now.Before(e.ExpiryTime.Time) {
			continue
		}
		blocked = append(blocked, string(e.ID))
		if e.ExpiryTime != nil && (next.IsZero() || e.ExpiryTime.Time.Before(next)) {
			next = e.ExpiryTime.Time
		}
	}
	status.Blocked = conditions.IDs(blocked)

	selector, err := fromapi.Selector(c)
	if err != nil {
		conditions.Set(&status.Conditions, c.Generation, conditions.Stalled(emsv1.InvalidSpecReason,
			fmt.Sprintf("all plans stay as they are until this is corrected: %v", err)))
		return status, next
	}
	if err := fromapi.Rollouts(c); err != nil {
		conditions.Set(&status.Conditions, c.Generation, conditions.Stalled(emsv1.InvalidSpecReason,
			fmt.Sprintf("nothing new is rolled out in any pool, and removals go on, until this is corrected: %v", err)))
		return status, next
	}
	var inScope, pending int32
	for i := range pools {
		if !selector.Matches(labels.Set(pools[i].Labels)) {
			continue
		}
		inScope++
		if !renderedFrom(plans[pools[i].Namespace+"/"+pools[i].Name], c) {
			pending++
		}
	}
	status.Pools = new(inScope)
	outcome := conditions.Done(emsv1.InEffectReason, fmt.Sprintf("the plans of all %d pools in scope reflect it", inScope))
	if pending > 0 {
		outcome = conditions.Working(emsv1.PlanPendingReason, fmt.Sprintf("the plans of %d of %d pools in scope do not reflect it yet", pending, inScope))
	}
	conditions.Set(&status.Conditions, c.Generation, outcome)
	return status, next
}

func renderedFrom(plan *emsv1.MitigationPlan, c *emsv1.MitigationConfiguration) bool {
	if plan == nil {
		return false
	}
	return slices.ContainsFunc(plan.Spec.Sources, func(s emsv1.PlanSource) bool {
		return s.Kind == "MitigationConfiguration" && s.Name == c.Name && ptr.Deref(s.Generation, 0) == c.Generation
	})
}
