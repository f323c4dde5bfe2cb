package rollout

import (
	"slices"
	"strings"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/rollout"
)

// input gathers what the planner needs.
func input(pool *emsv1.PoolMitigationConfig, configurations []emsv1.MitigationConfiguration, mitigations []emsv1.Mitigation, now time.Time) rollout.Input {
	in := rollout.Input{
		Now: now,
		Pool: policy.Pool{
			Disabled:           pool.Spec.Mitigations == emsv1.Disabled,
			Suspended:          pool.Spec.Suspend == emsv1.SuspendRevert,
			RemoveWhenDisabled: pool.Spec.WhenDisabled == emsv1.RemoveWhenDisabled,
			Blocked:            exceptions(pool.Spec.Blocked),
		},
	}
	for i := range configurations {
		c := &configurations[i]
		in.Configurations = append(in.Configurations, policy.Configuration{
			Name:      c.Name,
			Disabled:  c.Spec.Mitigations == emsv1.Disabled,
			Suspended: c.Spec.Suspend == emsv1.SuspendRevert,
			Blocked:   exceptions(c.Spec.Blocked),
		})
	}
	for i := range mitigations {
		spec := &mitigations[i].Spec
		m := rollout.Mitigation{
			Mitigation: policy.Mitigation{
				ID: string(spec.ID), Lifecycle: policy.Lifecycle(spec.Lifecycle), SupersededBy: string(spec.SupersededBy),
			},
			Revision: spec.Revision, FeedName: spec.FeedName,
			BundleName: spec.BundleName, DocumentDigest: spec.DocumentDigest,
		}
		for _, action := range spec.Actions {
			m.ActionIDs = append(m.ActionIDs, string(action.ID))
		}
		in.Mitigations = append(in.Mitigations, m)
	}
	return in
}

func exceptions(list []emsv1.Exception) []policy.Exception {
	out := make([]policy.Exception, 0, len(list))
	for _, e := range list {
		exception := policy.Exception{ID: string(e.ID), Reason: e.Reason, Owner: e.Owner}
		if e.ExpiryTime != nil {
			exception.Expiry = e.ExpiryTime.Time
		}
		out = append(out, exception)
	}
	return out
}

// maxRevocation is the limit of the API for spec.revocation. Trust files know no more feeds either.
const maxRevocation = 64

// revocation says which revocation lists the servers of a plan shall know: those of the feeds that its mitigations come from.
func revocation(entries []rollout.Entry, feeds []emsv1.MitigationFeed) []emsv1.PlanRevocation {
	named := map[string]bool{}
	for _, e := range entries {
		named[e.FeedName] = true
	}
	var list []emsv1.PlanRevocation
	for i := range feeds {
		lists := &feeds[i].Status.Revocation
		if !named[feeds[i].Name] || lists.BundleName == "" || lists.Digest == "" {
			continue
		}
		list = append(list, emsv1.PlanRevocation{FeedName: feeds[i].Name, BundleName: lists.BundleName, Digest: lists.Digest})
	}
	slices.SortFunc(list, func(a, b emsv1.PlanRevocation) int { return strings.Compare(a.FeedName, b.FeedName) })
	return list[:min(len(list), maxRevocation)]
}

// render turns a plan into the spec of its object.
func render(pool *emsv1.PoolMitigationConfig, configurations []emsv1.MitigationConfiguration, feeds []emsv1.MitigationFeed, plan rollout.Plan) emsv1.MitigationPlanSpec {
	spec := emsv1.MitigationPlanSpec{
		Mode: pool.Spec.GetMode(), Placement: pool.Spec.Placement, Revocation: revocation(plan.Entries, feeds), MustPass: pool.Spec.HealthChecks.MustPass,
		Sources: []emsv1.PlanSource{{
			Kind: "PoolMitigationConfig", Name: pool.Name, Generation: new(pool.Generation),
		}},
	}
	for i := range configurations {
		c := &configurations[i]
		spec.FixedBuilds = append(spec.FixedBuilds, c.Spec.FixedBuilds...)
		spec.Sources = append(spec.Sources, emsv1.PlanSource{
			Kind: "MitigationConfiguration", Name: c.Name, Generation: new(c.Generation),
		})
	}
	for _, e := range plan.Entries {
		planned := emsv1.PlannedMitigation{
			ID: emsv1.MitigationID(e.ID), Desired: emsv1.DesiredState(e.Desired),
			Reason: string(e.Reason), Message: e.Message,
			Revision: e.Revision, FeedName: e.FeedName,
			BundleName: e.BundleName, DocumentDigest: e.DocumentDigest,
			Release: emsv1.Release{ServerNames: e.Release.ServerNames, Below: new(e.Release.Below)},
		}
		for _, action := range e.BlockedActions {
			planned.BlockedActions = append(planned.BlockedActions, emsv1.MitigationID(action))
		}
		spec.Mitigations = append(spec.Mitigations, planned)
	}
	return spec
}
