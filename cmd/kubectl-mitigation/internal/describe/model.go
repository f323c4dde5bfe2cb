package describe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/eventcmd"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/insight"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// Common is what every page has.
type Common struct {
	// Time of the look.
	Time time.Time `json:"time"`
	// Conditions of the object, Ready first.
	Conditions []insight.Condition `json:"conditions"`
	// Events of the cluster about the object, the newest last.
	Events []eventcmd.Event `json:"events"`
	// Next are commands to go on with.
	Next []rolloutcmd.Hint `json:"next"`
	// Notes tell what could not be found out.
	Notes []string `json:"notes"`
}

// Line is where a mitigation stands in a pool.
type Line struct {
	// Namespace of the pool.
	Namespace string `json:"namespace"`
	// Pool by name.
	Pool string `json:"pool"`
	// Mitigation by id.
	Mitigation string `json:"mitigation"`
	// Revision of the plan.
	Revision int64 `json:"revision"`
	// Mode of the pool: Enforce or Audit.
	Mode string `json:"mode"`
	// State of the rollout as rollout status says it.
	State string `json:"state"`
	// Reason in one word.
	Reason string `json:"reason"`
	// Message in words.
	Message string `json:"message,omitempty"`
	// Stage that is released, by name.
	Stage string `json:"stage,omitempty"`
	// Servers of the pool, and those that the mitigation is released to, that passed and that failed.
	Servers int `json:"servers"`
	// Released is how many servers the mitigation is released to.
	Released int `json:"released"`
	// Passed is how many of them passed.
	Passed int `json:"passed"`
	// Failed is how many failed.
	Failed int `json:"failed"`

	rolledOut bool
}

// MitigationPage describes a mitigation.
type MitigationPage struct {
	Common `json:",inline"`

	// ID of the mitigation.
	ID string `json:"id"`
	// Revision that its feed brought last.
	Revision int64 `json:"revision"`
	// Feed that brings it.
	Feed string `json:"feed"`
	// Sequence of the signed document that it comes from.
	Sequence int64 `json:"sequence,omitempty"`
	// Lifecycle is Active, Superseded or Withdrawn.
	Lifecycle string `json:"lifecycle"`
	// SupersededBy is the mitigation that replaces it.
	SupersededBy string `json:"supersededBy,omitempty"`
	// Supersedes are those that it replaces.
	Supersedes []string `json:"supersedes,omitempty"`
	// Severity of the hole.
	Severity string `json:"severity,omitempty"`
	// CVEs that it is about.
	CVEs []string `json:"cves,omitempty"`
	// Description in the publisher's words.
	Description string `json:"description,omitempty"`
	// Products that need it and the builds that fix the hole, in words.
	Products []string `json:"products"`
	// FixedBuilds are those that operators say, in words.
	FixedBuilds []string `json:"fixedBuilds,omitempty"`
	// Actions are what it changes.
	Actions []Action `json:"actions"`
	// SideEffects that the publisher declares.
	SideEffects []string `json:"sideEffects,omitempty"`
	// SamplesBlocked is how many sample requests it must block, SamplesPassed how many it must let pass.
	SamplesBlocked int `json:"samplesBlocked"`
	// SamplesPassed is how many sample requests it must let pass.
	SamplesPassed int `json:"samplesPassed"`
	// Pools where a plan has it, those that need attention first.
	Pools []Line `json:"pools"`
	// Obstacles are what policy says of it: blocks, suspensions, approvals and switches.
	Obstacles []insight.Obstacle `json:"obstacles"`
	// Transitions are what happened to it in pools last, the newest last.
	Transitions []rolloutcmd.RolloutEvent `json:"transitions"`
}

// Action is one change that a mitigation makes.
type Action struct {
	// ID of the action.
	ID string `json:"id"`
	// Type of the change.
	Type string `json:"type"`
	// Target that is changed.
	Target string `json:"target,omitempty"`
	// Words say what it does.
	Words string `json:"words"`
	// Description in the publisher's words.
	Description string `json:"description,omitempty"`
}

// PoolPage describes a pool.
type PoolPage struct {
	Common `json:",inline"`

	// Namespace of the pool.
	Namespace string `json:"namespace"`
	// Name of the pool.
	Name string `json:"name"`
	// FQDN is its name in the network.
	FQDN string `json:"fqdn,omitempty"`
	// Labels by which configurations and rings choose it.
	Labels map[string]string `json:"labels,omitempty"`
	// Ring that it is in.
	Ring string `json:"ring,omitempty"`
	// Mode is what happens in it now: Enforce, Audit, Disabled or Suspended.
	Mode string `json:"mode"`
	// Profile of its rollouts; absent if that depends on the severity.
	Profile string `json:"profile,omitempty"`
	// Configurations that speak for it.
	Configurations []string `json:"configurations"`
	// Servers that it has.
	Servers int `json:"servers"`
	// Counts of servers by the most urgent standing that a mitigation has on them.
	Counts map[insight.Standing]int `json:"counts"`
	// Mitigations of its plan.
	Mitigations []Line `json:"mitigations"`
	// Troubled are servers that are not as they are wished, the most urgent first, each with the mitigation.
	Troubled []Troubled `json:"troubled"`
	// Obstacles are what policy says: blocks, suspensions, approvals and switches of the pool and of the configurations.
	Obstacles []insight.Obstacle `json:"obstacles"`
	// Transitions are what happened to mitigations last, the newest last.
	Transitions []rolloutcmd.RolloutEvent `json:"transitions"`
}

// Troubled is a server that is not as it is wished.
type Troubled struct {
	insight.ServerLine `json:",inline"`

	// Mitigation by id.
	Mitigation string `json:"mitigation"`
}

// maxTransitions and maxEvents are how many a page has.
const maxTransitions, maxEvents = 10, 10

func common(f *insight.Fleet, list []metav1.Condition, events []eventsv1.Event) Common {
	c := Common{
		Time: f.Now.UTC().Truncate(time.Second), Conditions: insight.Conditions(list), Events: eventcmd.Gather(events),
		Next: []rolloutcmd.Hint{}, Notes: append([]string{}, f.Unseen...),
	}
	c.Events = c.Events[max(0, len(c.Events)-maxEvents):]
	return c
}

// hint adds commands that are not there yet.
func (c *Common) hint(hints ...rolloutcmd.Hint) {
	for _, h := range hints {
		if !slices.ContainsFunc(c.Next, func(known rolloutcmd.Hint) bool { return known.Command == h.Command }) {
			c.Next = append(c.Next, h)
		}
	}
}

func line(r *rolloutcmd.Rollout) Line {
	return Line{
		Namespace: r.Namespace, Pool: r.Pool, Mitigation: r.Mitigation, Revision: r.Revision, Mode: r.Mode, State: r.State, Reason: r.Reason, Message: r.Message,
		Stage: r.Stage, Servers: r.Servers.Total, Released: r.Servers.Released, Passed: r.Servers.Passed, Failed: r.Servers.Failed,
		rolledOut: r.RolledOut(),
	}
}

// Mitigation describes a mitigation; nil if there is none of that id.
func Mitigation(f *insight.Fleet, id string, events []eventsv1.Event) *MitigationPage {
	m := f.Mitigation(id)
	if m == nil {
		return nil
	}
	s := &m.Spec
	p := &MitigationPage{
		Common: common(f, m.Status.Conditions, eventcmd.About(events, eventcmd.Object{Kind: "Mitigation", Name: m.Name})),
		ID:     string(s.ID), Revision: s.Revision, Feed: s.FeedName, Sequence: s.Sequence, Lifecycle: string(s.Lifecycle), SupersededBy: string(s.SupersededBy),
		Severity: string(s.Severity), CVEs: s.CVEs, Description: s.Description, SideEffects: s.SideEffects,
		Products: []string{}, Actions: []Action{}, Pools: []Line{}, Obstacles: []insight.Obstacle{}, Transitions: []rolloutcmd.RolloutEvent{},
	}
	for _, other := range s.Supersedes {
		p.Supersedes = append(p.Supersedes, string(other))
	}
	for i := range s.Applicability {
		p.Products = append(p.Products, insight.ProductInWords(&s.Applicability[i]))
	}
	if len(s.Applicability) == 0 {
		i := slices.IndexFunc(f.Feeds, func(feed emsv1.MitigationFeed) bool { return feed.Name == s.FeedName })
		if i >= 0 && f.Feeds[i].Spec.Product != "" {
			p.Products = append(p.Products, string(f.Feeds[i].Spec.Product)+", the feed's product: every build")
		}
	}
	for i := range s.Actions {
		a := &s.Actions[i]
		p.Actions = append(p.Actions, Action{ID: string(a.ID), Type: string(a.Type), Target: a.Target, Words: insight.ActionInWords(a), Description: a.Description})
	}
	for _, sample := range s.Samples {
		if sample.Expect == "Blocked" {
			p.SamplesBlocked++
		} else {
			p.SamplesPassed++
		}
	}
	p.policy(f, id)
	status := f.Rollouts(f.Pools)
	for i := range status.Rollouts {
		if r := &status.Rollouts[i]; strings.EqualFold(r.Mitigation, id) {
			p.Pools = append(p.Pools, line(r))
			if !r.Settled() && len(p.Next) < maxHints {
				p.hint(r.Next...)
			}
		}
	}
	p.Transitions = last(rolloutcmd.Happened(f.Pools, f.Plans, id).Events)
	p.hint(rolloutcmd.Hint{Command: "kubectl mitigation tree " + p.ID + " -A", When: "see the servers"})
	return p
}

// maxHints is from how many commands on no more are added for further pools.
const maxHints = 4

func last(events []rolloutcmd.RolloutEvent) []rolloutcmd.RolloutEvent {
	return events[max(0, len(events)-maxTransitions):]
}

// policy gathers what all configurations and pools say of the mitigation.
func (m *MitigationPage) policy(f *insight.Fleet, id string) {
	for i := range f.Configurations {
		c := &f.Configurations[i]
		m.Obstacles = append(m.Obstacles, insight.ConfigurationObstacles(c, id, f.Now)...)
		for _, fixed := range c.Spec.FixedBuilds {
			if strings.EqualFold(string(fixed.ID), id) {
				m.FixedBuilds = append(m.FixedBuilds, fmt.Sprintf("%s and later on its branch, says MitigationConfiguration/%s", fixed.Build, c.Name))
			}
		}
	}
	for i := range f.Pools {
		m.Obstacles = append(m.Obstacles, insight.PoolObstacles(&f.Pools[i], id, f.Now)...)
	}
}

// Pool describes a pool.
func Pool(f *insight.Fleet, pool *emsv1.PoolMitigationConfig, events []eventsv1.Event) *PoolPage {
	p := &PoolPage{
		Common:    common(f, pool.Status.Conditions, eventcmd.About(events, eventcmd.Object{Kind: "PoolMitigationConfig", Namespace: pool.Namespace, Name: pool.Name})),
		Namespace: pool.Namespace, Name: pool.Name, FQDN: pool.Spec.PoolFQDN, Labels: maps.Clone(pool.Labels),
		Mode: cmp.Or(pool.Status.Summary.Mode, string(pool.Spec.GetMode())), Profile: string(pool.Spec.Rollout.Profile),
		Configurations: []string{}, Servers: len(f.Members(pool)), Counts: map[insight.Standing]int{}, Mitigations: []Line{}, Troubled: []Troubled{},
		Obstacles: insight.PoolObstacles(pool, "", f.Now), Transitions: last(rolloutcmd.Happened([]emsv1.PoolMitigationConfig{*pool}, f.Plans, "").Events),
	}
	if p.Obstacles == nil {
		p.Obstacles = []insight.Obstacle{}
	}
	status := f.Rollouts([]emsv1.PoolMitigationConfig{*pool})
	for i := range status.Rollouts {
		r := &status.Rollouts[i]
		p.Mitigations = append(p.Mitigations, line(r))
		if !r.Settled() {
			p.hint(r.Next...)
		}
	}
	o, err := f.Of(pool)
	if err != nil {
		p.Notes = append(p.Notes, err.Error())
		return p
	}
	for i := range o.Configurations {
		c := &o.Configurations[i]
		p.Configurations = append(p.Configurations, c.Name)
		p.Obstacles = append(p.Obstacles, insight.ConfigurationObstacles(c, "", f.Now)...)
	}
	p.ring(o.Configurations, pool)
	if o.Plan == nil {
		p.Notes = append(p.Notes, "the manager has made no plan yet")
		p.hint(rolloutcmd.Hint{Command: "kubectl mitigation check", When: "see whether the manager runs"})
		return p
	}
	worst := map[string]insight.Standing{}
	for i := range o.Plan.Spec.Mitigations {
		planned := &o.Plan.Spec.Mitigations[i]
		for _, s := range insight.Compare(o, planned).Servers {
			p.Troubled = append(p.Troubled, Troubled{ServerLine: s, Mitigation: string(planned.ID)})
			if was, known := worst[s.Name]; !known || slices.Index(insight.Standings, s.Standing) < slices.Index(insight.Standings, was) {
				worst[s.Name] = s.Standing
			}
		}
	}
	for _, standing := range worst {
		p.Counts[standing]++
	}
	if well := p.Servers - len(worst); well > 0 {
		p.Counts[insight.AsWished] = well
	}
	slices.SortStableFunc(p.Troubled, func(a, b Troubled) int {
		return cmp.Compare(slices.Index(insight.Standings, a.Standing), slices.Index(insight.Standings, b.Standing))
	})
	if len(p.Troubled) > 0 {
		first := p.Troubled[0]
		p.hint(rolloutcmd.Hint{Command: fmt.Sprintf("kubectl mitigation explain %s/%s %s", p.Namespace, first.Name, first.Mitigation), When: "why it is so on " + first.Name})
	}
	return p
}

func (m *PoolPage) ring(configurations []emsv1.MitigationConfiguration, pool *emsv1.PoolMitigationConfig) {
	rings, err := fromapi.Rings(configurations)
	if err != nil {
		m.Notes = append(m.Notes, err.Error())
	}
	if len(rings) == 0 {
		return
	}
	m.Ring = fmt.Sprintf("after the last of %d rings", len(rings))
	if i := rollout.RingOf(rings, pool.Labels); i < len(rings) {
		m.Ring = fmt.Sprintf("%s (%d of %d)", rings[i].Name, i+1, len(rings))
	}
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func when(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return moment(t.Time)
}
