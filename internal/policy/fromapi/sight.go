package fromapi

import (
	"slices"
	"sort"
	"strings"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/rollout"
)

// Sight is everything that the plan of a pool depends on, as it was read. Nothing of it is changed, so that lists may be those of a
// cache.
type Sight struct {
	Pool *emsv1.PoolMitigationConfig
	// Plan is the pool's; nil while there is none. It is the memory of what was rolled out.
	Plan *emsv1.MitigationPlan
	// Configurations are those in scope, in order; see InScope.
	Configurations []emsv1.MitigationConfiguration
	Mitigations    []emsv1.Mitigation
	// Servers are those of the pool.
	Servers []emsv1.PoolServer
	// Pools and Plans are all there are. They matter only while something is Moving.
	Pools []emsv1.PoolMitigationConfig
	Plans []emsv1.MitigationPlan
	Now   time.Time
}

func (s *Sight) audit() bool { return s.Pool.Spec.GetMode() == emsv1.ModeAudit }

// Moving are the mitigations whose rollout in the pool is not complete, or may begin anew: those for which it matters where other pools
// stand.
func (s *Sight) Moving() []rollout.Mitigation {
	settings, _ := PoolSettings(s.Pool, s.Configurations)
	return s.moving(settings)
}

func (s *Sight) moving(settings rollout.Settings) []rollout.Mitigation {
	complete := map[string]rollout.Identity{}
	if s.Plan != nil {
		for i := range s.Plan.Spec.Mitigations {
			if id, ok := atRest(&s.Plan.Spec.Mitigations[i], settings); ok {
				complete[Key(s.Plan.Spec.Mitigations[i].ID)] = id
			}
		}
	}
	var out []rollout.Mitigation
	for i := range s.Mitigations {
		if s.Mitigations[i].Spec.Lifecycle == emsv1.LifecycleWithdrawn {
			continue // It is rolled out nowhere, and there may be many of them.
		}
		m := Mitigation(&s.Mitigations[i])
		if id, ok := complete[Key(s.Mitigations[i].Spec.ID)]; ok && id.Same(rollout.IdentityOf(m, id.Attempt, s.audit())) {
			continue
		}
		out = append(out, m)
	}
	return out
}

// atRest returns the identity of a rollout that is complete and stays so, unless the content changes. A blocked action may come back,
// which begins another attempt, and so does an order.
func atRest(m *emsv1.PlannedMitigation, settings rollout.Settings) (rollout.Identity, bool) {
	if m.Rollout.State != emsv1.RolloutComplete || m.Desired != emsv1.DesiredApply || len(m.BlockedActions) > 0 {
		return rollout.Identity{}, false
	}
	ordered := slices.ContainsFunc(settings.Orders, func(o rollout.Order) bool {
		return o.Action == rollout.OrderRetry && strings.EqualFold(o.ID, string(m.ID)) && o.Attempt > int(m.Rollout.Attempt)
	})
	id, ok := rollout.ParseID(m.Rollout.ID)
	return id, ok && !ordered
}

// Input is what the planner decides from. Settings and rings that cannot be used pause what is rolled out; PoolSettings and Rings say
// which.
func (s *Sight) Input() rollout.Input {
	settings, _ := PoolSettings(s.Pool, s.Configurations)
	rings, err := Rings(s.Configurations)
	settings.Paused = settings.Paused || err != nil
	return rollout.Input{
		Mitigations:    Mitigations(s.Mitigations),
		Configurations: Configurations(s.Configurations),
		Pool:           Pool(s.Pool),
		Audit:          s.audit(),
		Settings:       settings,
		Servers:        Servers(s.Servers),
		Before:         Entries(s.Plan),
		AuditBefore:    s.Plan != nil && s.Plan.Spec.Mode == emsv1.ModeAudit,
		Rings:          s.judgeRings(rings, settings),
		Now:            s.Now,
	}
}

// judgeRings judges whether the pools of the rings before, and those beside, let the pool go on.
func (s *Sight) judgeRings(rings []rollout.Ring, settings rollout.Settings) map[string]rollout.RingVerdict {
	moving := s.moving(settings)
	if len(moving) == 0 {
		return nil
	}
	plans := make(map[string]*emsv1.MitigationPlan, len(s.Plans))
	for i := range s.Plans {
		plans[s.Plans[i].Namespace+"/"+s.Plans[i].Name] = &s.Plans[i]
	}
	in := rollout.RingInput{
		Rings: rings, Own: ringPool(s.Pool, rings), Mitigations: moving, Settings: settings, Now: s.Now,
	}
	if global := Global(s.Configurations); global != nil {
		in.Approved = Approvals(global.Spec.Approved)
	}
	for i := range s.Pools {
		pool := &s.Pools[i]
		if own := pool.Namespace == s.Pool.Namespace && pool.Name == s.Pool.Name; own || !pool.DeletionTimestamp.IsZero() {
			continue
		}
		other := ringPool(pool, rings)
		if plan := plans[other.Name]; plan != nil {
			other.Entries = entriesOf(plan, moving)
		}
		in.Others = append(in.Others, other)
	}
	slices.SortFunc(in.Others, func(a, b rollout.RingPool) int { return strings.Compare(a.Name, b.Name) })
	return rollout.JudgeRings(in)
}

func ringPool(pool *emsv1.PoolMitigationConfig, rings []rollout.Ring) rollout.RingPool {
	return rollout.RingPool{
		Name: pool.Namespace + "/" + pool.Name, Ring: rollout.RingOf(rings, pool.Labels), Audit: pool.Spec.GetMode() == emsv1.ModeAudit,
	}
}

// entriesOf converts what a plan says of some mitigations. There can be a thousand plans, so the others are not looked at: a plan
// lists mitigations in the order of their ids.
func entriesOf(plan *emsv1.MitigationPlan, wanted []rollout.Mitigation) map[string]rollout.Entry {
	entries := make(map[string]rollout.Entry, len(wanted))
	list := plan.Spec.Mitigations
	for i := range wanted {
		key := strings.ToLower(wanted[i].ID)
		at := sort.Search(len(list), func(i int) bool { return Key(list[i].ID) >= key })
		if at < len(list) && Key(list[at].ID) == key {
			entries[key] = Entry(&list[at])
		}
	}
	return entries
}
