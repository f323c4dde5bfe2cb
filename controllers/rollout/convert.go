package rollout

import (
	"encoding/json"
	"slices"
	"strings"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

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

// maxRepairRequest is the limit of the API for spec.repairRequest.
const maxRepairRequest = 256

// render turns a plan into the spec of its object.
func render(seen *fromapi.Sight, feeds []emsv1.MitigationFeed, plan rollout.Plan) emsv1.MitigationPlanSpec {
	pool := seen.Pool
	checks := pool.Spec.HealthChecks
	spec := emsv1.MitigationPlanSpec{
		Mode: pool.Spec.GetMode(), Placement: pool.Spec.Placement, Revocation: revocation(plan.Entries, feeds), MustPass: checks.MustPass,
		HealthChecks:  emsv1.PlanHealthChecks{HTTP: checks.HTTP, TCPPorts: checks.TCPPorts, Services: checks.Services},
		RepairRequest: conditions.Cut(pool.Annotations[emsv1.RepairRequestAnnotation], maxRepairRequest),
		Sources: []emsv1.PlanSource{{
			Kind: "PoolMitigationConfig", Name: pool.Name, Generation: new(pool.Generation),
		}},
	}
	for i := range seen.Configurations {
		c := &seen.Configurations[i]
		spec.FixedBuilds = append(spec.FixedBuilds, c.Spec.FixedBuilds...)
		spec.Sources = append(spec.Sources, emsv1.PlanSource{
			Kind: "MitigationConfiguration", Name: c.Name, Generation: new(c.Generation),
		})
	}
	for i := range plan.Entries {
		spec.Mitigations = append(spec.Mitigations, fromapi.Planned(&plan.Entries[i]))
	}
	return spec
}

const (
	// maxPlanBytes is what the spec of a plan may take: 1.4 MiB, which is 716 bytes for each of 2,048 mitigations. etcd takes 1.5 MiB
	// for a request; the rest is for metadata.
	maxPlanBytes = 14 << 20 / 10
	// maxEntryBytes is more than one entry takes: three texts of 2 KiB, 2 KiB and 512 bytes, four names of 253 bytes, 20 names of
	// servers, 32 blocked actions.
	maxEntryBytes = 16 << 10
)

// fit shortens what a plan says in words until it fits into one object. What servers act on, and what the planner decides from, is never
// touched: 2,048 mitigations with names of ordinary length always fit.
//
// First to go are the words of transitions that the plan before bore, too, since those are in the pool's history, last what people
// would like to know of complete rollouts. The same plan is always shortened in the same way, or it would be written again and again.
func fit(spec emsv1.MitigationPlanSpec, before *emsv1.MitigationPlan) emsv1.MitigationPlanSpec {
	if len(spec.Mitigations)*maxEntryBytes <= maxPlanBytes {
		return spec
	}
	recorded := map[emsv1.MitigationID]emsv1.PlanTransition{}
	if before != nil {
		for i := range before.Spec.Mitigations {
			recorded[before.Spec.Mitigations[i].ID] = before.Spec.Mitigations[i].Transition
		}
	}
	_, lasting := record(nil, &spec)
	steps := []func(*emsv1.PlannedMitigation){
		func(m *emsv1.PlannedMitigation) {
			if was := recorded[m.ID]; was.Action == m.Transition.Action && was.Time.Equal(m.Transition.Time) {
				m.Transition.By, m.Transition.Message = "", ""
			}
		},
		func(m *emsv1.PlannedMitigation) {
			if m.Rollout.State == emsv1.RolloutComplete {
				m.Rollout.Message = ""
			}
		},
		func(m *emsv1.PlannedMitigation) { shorten(m, shortMessage) },
		func(m *emsv1.PlannedMitigation) { shorten(m, 0) },
		func(m *emsv1.PlannedMitigation) {
			strip(m, slices.ContainsFunc(lasting, func(e emsv1.PoolHistoryEntry) bool { return e.ID == m.ID }))
		},
	}
	for _, step := range steps {
		if size(&spec) <= maxPlanBytes {
			break
		}
		for i := range spec.Mitigations {
			step(&spec.Mitigations[i])
		}
	}
	return spec
}

// strip takes out what is for people alone. A transition that the history would not keep anyway need not be borne, but for those that
// the planner looks at: it says when the servers of a halted or aborted rollout are back.
func strip(m *emsv1.PlannedMitigation, lasting bool) {
	switch rollout.Action(m.Transition.Action) {
	case rollout.HaltedByFailures, rollout.AbortedByPerson:
	default:
		if !lasting {
			m.Transition = emsv1.PlanTransition{}
		}
	}
	m.Rollout.Profile = ""
	if m.Rollout.State == emsv1.RolloutComplete {
		m.Rollout.StageTime = nil
	}
}

// shortMessage still says what happened.
const shortMessage = 96

func shorten(m *emsv1.PlannedMitigation, most int) {
	for _, text := range []*string{&m.Message, &m.Rollout.Message, &m.Transition.Message} {
		if most == 0 {
			*text = ""
		}
		*text = conditions.Cut(*text, most)
	}
}

func size(spec *emsv1.MitigationPlanSpec) int {
	encoded, err := json.Marshal(spec)
	if err != nil {
		return 0 // Nothing in it can fail to be encoded.
	}
	return len(encoded)
}
