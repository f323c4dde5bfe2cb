package diff

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// ChangePreview is what a change of policy would do.
type ChangePreview struct {
	// Time of the look.
	Time time.Time `json:"time"`
	// Same says that no object of the cluster would change.
	Same bool `json:"same"`
	// Objects of the files.
	Objects []ObjectChange `json:"objects"`
	// Pools that would get another plan; none if nothing changes for any server.
	Pools []PoolChange `json:"pools"`
	// Notes tell what could not be found out, and what was left out.
	Notes []string `json:"notes"`
}

// ObjectChange is an object of the files.
type ObjectChange struct {
	// Kind of the object: MitigationConfiguration or PoolMitigationConfig.
	Kind string `json:"kind"`
	// Namespace of the object; absent for kinds without one.
	Namespace string `json:"namespace,omitempty"`
	// Name of the object.
	Name string `json:"name"`
	// File that it comes from.
	File string `json:"file"`
	// Action is Create, Change or None.
	Action string `json:"action"`
	// Fields that would change: spec.blocked, metadata.labels.
	Fields []string `json:"fields,omitempty"`
}

// PoolChange is a pool that would get another plan.
type PoolChange struct {
	// Namespace of the pool.
	Namespace string `json:"namespace"`
	// Name of the pool.
	Name string `json:"name"`
	// Servers of the pool.
	Servers int `json:"servers"`
	// Mitigations about which the plan would say something else.
	Mitigations []Consequence `json:"mitigations"`
}

// What would become of a mitigation in a pool.
const (
	// wouldApply: it would be put in place.
	wouldApply = "Apply"
	// wouldRevert: it would be taken off servers.
	wouldRevert = "Revert"
	// wouldFreeze: what is in place stays, and nothing new is put in place.
	wouldFreeze = "Freeze"
	// wouldAudit: servers would only say what they would do.
	wouldAudit = "Audit"
	// wouldRelease: the rollout would reach more servers, or go on.
	wouldRelease = "Release"
	// wouldHold: the rollout would stop where it is, or reach fewer servers.
	wouldHold = "Hold"
	// wouldAlter: it would be rolled out in other stages or under other conditions.
	wouldAlter = "Alter"
)

// Consequence is what would become of a mitigation in a pool.
type Consequence struct {
	// ID of the mitigation.
	ID string `json:"id"`
	// Revision of the plan.
	Revision int64 `json:"revision"`
	// Action is Apply, Revert, Freeze, Audit, Release, Hold or Alter.
	Action string `json:"action"`
	// Now is how many servers would change at once, and Later how many when the rollout reaches them.
	Now int `json:"now"`
	// Later is how many servers would change when the rollout reaches them.
	Later int `json:"later"`
	// HeldBy is why the rollout would wait, in one word: AwaitingApproval, AwaitingRing, AwaitingWindow, RolloutPaused.
	HeldBy string `json:"heldBy,omitempty"`
	// Before is what the manager plans without the change; absent for a new pool.
	Before *Planned `json:"before,omitempty"`
	// After is what it would plan.
	After Planned `json:"after"`
}

// Planned is what a plan says of a mitigation.
type Planned struct {
	// Mode of the pool.
	Mode string `json:"mode"`
	// Desired is Apply, Remove or Hold.
	Desired string `json:"desired"`
	// Reason in one word.
	Reason string `json:"reason"`
	// Message in words.
	Message string `json:"message,omitempty"`
	// State of the rollout.
	State string `json:"state,omitempty"`
	// StateReason is why the rollout is there, in one word.
	StateReason string `json:"stateReason,omitempty"`
	// StateMessage is why in words.
	StateMessage string `json:"stateMessage,omitempty"`
	// Stage that is released, and its place: tenth (2 of 4).
	Stage string `json:"stage,omitempty"`
	// Profile of the stages; absent if the policy says its own.
	Profile string `json:"profile,omitempty"`
}

// changed are objects as they would be.
type changed struct {
	pools          []emsv1.PoolMitigationConfig
	configurations []emsv1.MitigationConfiguration
}

// with is the fleet with objects put over those of the same name.
func with(f *insight.Fleet, c changed) *insight.Fleet {
	after := *f
	after.Pools, after.Configurations = slices.Clone(f.Pools), slices.Clone(f.Configurations)
	for _, pool := range c.pools {
		if i := slices.IndexFunc(after.Pools, func(p emsv1.PoolMitigationConfig) bool { return p.Namespace == pool.Namespace && p.Name == pool.Name }); i >= 0 {
			after.Pools[i] = pool
			continue
		}
		after.Pools = append(after.Pools, pool)
	}
	for _, configuration := range c.configurations {
		if i := slices.IndexFunc(after.Configurations, func(o emsv1.MitigationConfiguration) bool { return o.Name == configuration.Name }); i >= 0 {
			after.Configurations[i] = configuration
			continue
		}
		after.Configurations = append(after.Configurations, configuration)
	}
	return &after
}

const (
	// maxSteps is how often the planner is asked about a pool: a plan is stable after two, and a pool without servers needs a step
	// for each stage.
	maxSteps = 25
	// maxRounds is how often all pools are planned: a change can go from ring to ring once.
	maxRounds = 22
)

// settle plans every pool as the manager does, until nothing changes any more. It returns what cannot be planned.
func settle(f *insight.Fleet) (notes []string) {
	f.Plans = slices.Clone(f.Plans)
	stuck := map[string]string{}
	for range maxRounds {
		moved := false
		for i := range f.Pools {
			pool := &f.Pools[i]
			key := pool.Namespace + "/" + pool.Name
			plan, err := planned(f, pool)
			if err != nil {
				stuck[key] = fmt.Sprintf("pool %s: %s", key, err)
				continue
			}
			if put(f, plan) {
				moved = true
			}
		}
		if !moved {
			break
		}
	}
	for _, note := range stuck {
		notes = append(notes, note)
	}
	slices.Sort(notes)
	return notes
}

// planned is the plan of a pool once the planner has nothing to add.
func planned(f *insight.Fleet, pool *emsv1.PoolMitigationConfig) (*emsv1.MitigationPlan, error) {
	o, err := f.Of(pool)
	if err != nil {
		return nil, err
	}
	plan := &emsv1.MitigationPlan{ObjectMeta: metav1.ObjectMeta{Namespace: pool.Namespace, Name: pool.Name}}
	if o.Plan != nil {
		plan = o.Plan.DeepCopy()
	}
	for range maxSteps {
		made := rollout.Make(o.Input())
		next := plan.DeepCopy()
		next.Spec.Mode, next.Spec.Mitigations, next.Spec.FixedBuilds = pool.Spec.GetMode(), nil, nil
		for i := range made.Entries {
			next.Spec.Mitigations = append(next.Spec.Mitigations, fromapi.Planned(&made.Entries[i]))
		}
		for i := range o.Configurations {
			next.Spec.FixedBuilds = append(next.Spec.FixedBuilds, o.Configurations[i].Spec.FixedBuilds...)
		}
		if equality.Semantic.DeepEqual(plan.Spec, next.Spec) {
			break
		}
		plan = next
		o.Plan = plan
	}
	return plan, nil
}

// put puts a plan into a fleet, and reports whether it is another one than before.
func put(f *insight.Fleet, plan *emsv1.MitigationPlan) bool {
	for i := range f.Plans {
		if p := &f.Plans[i]; p.Namespace == plan.Namespace && p.Name == plan.Name {
			if equality.Semantic.DeepEqual(p.Spec, plan.Spec) {
				return false
			}
			f.Plans[i] = *plan
			return true
		}
	}
	f.Plans = append(f.Plans, *plan)
	return true
}

// Foresee says what the manager would plan with the changed objects that it does not plan without them.
func Foresee(f *insight.Fleet, c changed) (pools []PoolChange, notes []string) {
	before, after := with(f, changed{}), with(f, c)
	notes = append(settle(before), settle(after)...)
	slices.Sort(notes)
	notes = slices.Compact(notes)
	pools = []PoolChange{}
	for i := range after.Pools {
		pool := &after.Pools[i]
		plan := after.Plan(pool)
		if plan == nil {
			continue
		}
		change := PoolChange{Namespace: pool.Namespace, Name: pool.Name, Servers: len(after.Members(pool)), Mitigations: []Consequence{}}
		old := before.Pool(types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name})
		for j := range plan.Spec.Mitigations {
			if consequence, ok := consequence(before, after, old, pool, &plan.Spec.Mitigations[j]); ok {
				change.Mitigations = append(change.Mitigations, consequence)
			}
		}
		if len(change.Mitigations) > 0 {
			pools = append(pools, change)
		}
	}
	slices.SortFunc(pools, func(a, b PoolChange) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return pools, notes
}

// consequence compares what is planned of a mitigation in a pool. Old is nil for a new pool.
func consequence(before, after *insight.Fleet, old, pool *emsv1.PoolMitigationConfig, planned *emsv1.PlannedMitigation) (Consequence, bool) {
	o, err := after.Of(pool)
	if err != nil {
		return Consequence{}, false // settle has said why.
	}
	is := insight.Compare(o, planned)
	out := Consequence{ID: string(planned.ID), Revision: planned.Revision, After: said(o.Plan, planned), Later: is.Counts[insight.Waiting]}
	out.Now = is.Counts[insight.Missing] + is.Counts[insight.Outdated] + is.Counts[insight.Leaving]
	if planned.Desired == emsv1.DesiredApply && (planned.Rollout.State == emsv1.RolloutWaiting || planned.Rollout.State == emsv1.RolloutPaused) {
		out.HeldBy = planned.Rollout.Reason
	}
	if old == nil {
		out.Action = actionOf(nil, planned, nil, &is)
		return out, planned.Desired == emsv1.DesiredApply
	}
	was, err := before.Of(old)
	if err != nil || was.Plan == nil {
		out.Action = actionOf(nil, planned, nil, &is)
		return out, true
	}
	i := slices.IndexFunc(was.Plan.Spec.Mitigations, func(m emsv1.PlannedMitigation) bool { return strings.EqualFold(string(m.ID), string(planned.ID)) })
	if i < 0 {
		out.Action = actionOf(nil, planned, nil, &is)
		return out, true
	}
	then := &was.Plan.Spec.Mitigations[i]
	counted := insight.Compare(was, then)
	out.Before = new(said(was.Plan, then))
	if out.Before.Mode != out.After.Mode && planned.Desired == emsv1.DesiredApply {
		out.Action = wouldApply
		if out.After.Mode == string(emsv1.ModeAudit) {
			out.Action, out.Now, out.Later, out.HeldBy = wouldAudit, 0, 0, ""
		}
		return out, true
	}
	out.Action = actionOf(then, planned, &counted, &is)
	return out, out.Action != ""
}

func said(plan *emsv1.MitigationPlan, m *emsv1.PlannedMitigation) Planned {
	p := Planned{Mode: string(plan.Spec.Mode), Desired: string(m.Desired), Reason: m.Reason, Message: m.Message}
	if m.Desired == emsv1.DesiredApply {
		p.State, p.StateReason, p.StateMessage = string(m.Rollout.State), m.Rollout.Reason, m.Rollout.Message
		p.Stage, p.Profile = insight.Stage(&m.Rollout), string(m.Rollout.Profile)
	}
	return p
}

// actionOf puts the difference between two plans of a mitigation in one word; empty if servers do the same by both. Then is nil where
// there was nothing.
func actionOf(then, now *emsv1.PlannedMitigation, counted, is *insight.Comparison) string {
	was := emsv1.DesiredState("")
	if then != nil {
		was = then.Desired
	}
	switch {
	case now.Desired != was && now.Desired == emsv1.DesiredApply:
		return wouldApply
	case now.Desired != was && now.Desired == emsv1.DesiredRemove:
		return wouldRevert
	case now.Desired != was:
		return wouldFreeze
	case counted != nil && is.Counts[insight.Leaving] > counted.Counts[insight.Leaving]:
		return wouldRevert
	case now.Desired != emsv1.DesiredApply:
		return ""
	case now.Rollout.State != then.Rollout.State || now.Rollout.Reason != then.Rollout.Reason || !reflect.DeepEqual(now.Release, then.Release):
		if advances(then, now, counted, is) {
			return wouldRelease
		}
		return wouldHold
	case now.Rollout.Attempt > then.Rollout.Attempt:
		return wouldRelease
	case !reflect.DeepEqual(now.BlockedActions, then.BlockedActions):
		return wouldAlter
	case now.Rollout.State == emsv1.RolloutComplete:
		return "" // The stages of what is complete are those of the next revision.
	case now.Rollout.Stages != then.Rollout.Stages, now.Rollout.Profile != then.Rollout.Profile, !reflect.DeepEqual(now.Rollout.Gate, then.Rollout.Gate):
		return wouldAlter
	}
	return ""
}

// advances says whether the rollout would go on where it did not, or reach more servers.
func advances(then, now *emsv1.PlannedMitigation, counted, is *insight.Comparison) bool {
	held := func(s emsv1.RolloutState) bool { return s != emsv1.RolloutProgressing && s != emsv1.RolloutComplete }
	if held(now.Rollout.State) != held(then.Rollout.State) {
		return !held(now.Rollout.State)
	}
	return is.Counts[insight.Waiting] <= counted.Counts[insight.Waiting]
}
