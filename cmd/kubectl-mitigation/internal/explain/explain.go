package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/rolloutcmd"
	"mitigation.dev/ems/internal/build"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// Explanation is why a mitigation is, or is not, on a server, or in a pool.
type Explanation struct {
	Time      time.Time `json:"time"`
	Namespace string    `json:"namespace"`
	Pool      string    `json:"pool"`
	// Server is empty for a pool.
	Server     string `json:"server,omitempty"`
	Mitigation string `json:"mitigation"`
	Revision   int64  `json:"revision,omitempty"`
	// Desired, Reason and Message are the decision: what the server has to do, or for a pool what policy says.
	Desired string `json:"desired"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Until is when what settled it expires.
	Until *time.Time `json:"until,omitempty"`
	// Steps are the questions in their order.
	Steps   []Step   `json:"steps"`
	Rollout *Rollout `json:"rollout,omitempty"`
	// Reported is what the server says; absent for a pool, and if it says nothing.
	Reported *Reported `json:"reported,omitempty"`
	// Behind tells what is not as planned: where the manager or the server has not followed.
	Behind []string `json:"behind"`
	// Next are commands to go on with.
	Next []rolloutcmd.Hint `json:"next"`
	// Notes tell what could not be found out.
	Notes []string `json:"notes"`
}

// Step is one question that was asked.
type Step struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
	Source   string `json:"source"`
	// Decisive says that the answer settled the matter.
	Decisive bool `json:"decisive"`
}

// Rollout is how far the mitigation has come in the pool.
type Rollout struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Stage is released, the Number-th of Stages; empty while none is.
	Stage  string `json:"stage,omitempty"`
	Number int    `json:"number"`
	// Profile that the stages come from; empty if the policy says its own.
	Profile string   `json:"profile,omitempty"`
	Stages  []string `json:"stages"`
	Ring    string   `json:"ring,omitempty"`
	// RingSays is why other pools hold it; empty if they do not.
	RingSays string `json:"ringSays,omitempty"`
	// Windows is whether stages may begin now; empty without windows.
	Windows  string   `json:"windows,omitempty"`
	Released int      `json:"released"`
	Servers  int      `json:"servers"`
	Passed   int      `json:"passed"`
	Failed   int      `json:"failed"`
	Waiting  int      `json:"waiting"`
	Failing  []string `json:"failing"`
}

// Reported is what the server says of the mitigation.
type Reported struct {
	State          string `json:"state"`
	Reason         string `json:"reason,omitempty"`
	Message        string `json:"message,omitempty"`
	Revision       int64  `json:"revision,omitempty"`
	Effective      string `json:"effective,omitempty"`
	Verdict        string `json:"verdict,omitempty"`
	VerdictMessage string `json:"verdictMessage,omitempty"`
	// Current says that the verdict is about the rollout of the plan, not an earlier one.
	Current bool `json:"current"`
}

// Objects are what explanations are made from, as they were read.
type Objects struct {
	fromapi.Sight

	// Server is nil to explain the pool.
	Server *emsv1.PoolServer
	// Products are those of the feeds, by name.
	Products map[string]string
	// Unseen tells what could not be read.
	Unseen []string

	input rollout.Input
	made  *rollout.Plan
}

// IDs are the mitigations that there is something to say about: those of the cluster, and those that the server reports.
func (o *Objects) IDs() []string {
	var ids []string
	add := func(id emsv1.MitigationID) {
		if !slices.ContainsFunc(ids, func(known string) bool { return strings.EqualFold(known, string(id)) }) {
			ids = append(ids, string(id))
		}
	}
	for i := range o.Mitigations {
		add(o.Mitigations[i].Spec.ID)
	}
	if o.Server != nil {
		for i := range o.Server.Status.Mitigations {
			add(o.Server.Status.Mitigations[i].ID)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return ids
}

// plan asks the planner, once.
func (o *Objects) plan() *rollout.Plan {
	if o.made == nil {
		o.input = o.Input()
		o.made = new(rollout.Make(o.input))
	}
	return o.made
}

// find returns the mitigation of an id, and what the planner and the plan have of it; nil each if they have nothing.
func (o *Objects) find(id string) (m *emsv1.Mitigation, now *rollout.Entry, planned *emsv1.PlannedMitigation) {
	same := func(other string) bool { return strings.EqualFold(other, id) }
	if i := slices.IndexFunc(o.Mitigations, func(m emsv1.Mitigation) bool { return same(string(m.Spec.ID)) }); i >= 0 {
		m = &o.Mitigations[i]
	}
	entries := o.plan().Entries
	if i := slices.IndexFunc(entries, func(e rollout.Entry) bool { return same(e.ID) }); i >= 0 {
		now = &entries[i]
	}
	if o.Plan != nil {
		list := o.Plan.Spec.Mitigations
		if i := slices.IndexFunc(list, func(p emsv1.PlannedMitigation) bool { return same(string(p.ID)) }); i >= 0 {
			planned = &list[i]
		}
	}
	return m, now, planned
}

// Parent is the mitigation that an id is a part of, if it is not one itself.
func (o *Objects) Parent(id string) string {
	for i := range o.Mitigations {
		own := string(o.Mitigations[i].Spec.ID)
		if !strings.EqualFold(own, id) && policy.Covers(own, id) {
			return own
		}
	}
	return ""
}

// One explains one mitigation. It reports false if there is none of that id.
func One(o *Objects, id string) (Explanation, bool) {
	m, now, planned := o.find(id)
	reported := o.reported(id)
	if m == nil && planned == nil && reported == nil {
		return Explanation{}, false
	}
	x := Explanation{
		Time: o.Now.UTC().Truncate(time.Second), Namespace: o.Pool.Namespace, Pool: o.Pool.Name, Mitigation: id,
		Steps: []Step{}, Behind: []string{}, Next: []rolloutcmd.Hint{}, Notes: append([]string{}, o.Unseen...),
	}
	c := x.asked(o, m, now, planned)
	decision, steps := policy.Explain(c, o.Now)
	for _, s := range steps {
		x.Steps = append(x.Steps, Step(s))
	}
	if side := c.Server; side != nil && side.Planned != nil && !side.Situation.Released && decision.Reason == policy.NotApplicable {
		x.note("until the rollout reaches the server it goes by the revision that it has in place, if any, and not by this one")
	}
	c.Server = nil
	pool, why := policy.Explain(c, o.Now)
	x.Desired, x.Reason, x.Message = string(decision.Desired), string(decision.Reason), decision.Message
	if !decision.Until.IsZero() {
		x.Until = new(decision.Until.UTC())
	}
	x.roll(o, m, now)
	if reported != nil {
		x.Reported = describe(reported, planned)
	}
	x.behind(o, now, planned, decision)
	x.next(o, decision, pool, why)
	return x, true
}

func (o *Objects) reported(id string) *emsv1.ServerMitigation {
	if o.Server == nil {
		return nil
	}
	list := o.Server.Status.Mitigations
	i := slices.IndexFunc(list, func(m emsv1.ServerMitigation) bool { return strings.EqualFold(string(m.ID), id) })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// asked is what policy is asked, for a server from the plan that it follows.
func (x *Explanation) asked(o *Objects, m *emsv1.Mitigation, now *rollout.Entry, planned *emsv1.PlannedMitigation) policy.Case {
	c := policy.Case{Mitigation: policy.Mitigation{ID: x.Mitigation, Lifecycle: policy.LifecycleWithdrawn}, Configurations: o.input.Configurations, Pool: o.input.Pool}
	switch {
	case now != nil:
		// The planner knows whether a successor is in place.
		c.Mitigation = now.Mitigation.Mitigation
		x.Mitigation, x.Revision = now.ID, now.Revision
	case planned != nil:
		x.Mitigation = string(planned.ID)
		x.note("the cluster no longer has the mitigation: it is taken as withdrawn")
	}
	if o.Server != nil {
		x.Server = o.Server.Name
		c.Server = x.server(o, m, planned)
	}
	if planned != nil {
		x.Revision = planned.Revision
	}
	return c
}

// server gathers the server's side of the decision.
func (x *Explanation) server(o *Objects, m *emsv1.Mitigation, planned *emsv1.PlannedMitigation) *policy.ServerCase {
	side := &policy.ServerCase{Facts: x.facts(o.Server.Status.Facts)}
	side.Situation.OnServer = onServer(o.Server.Status.Local, x.Mitigation, o.Now)
	side.Situation.AuditOnly = o.Pool.Spec.GetMode() == emsv1.ModeAudit
	if m != nil {
		var err error
		if side.Products, err = fromapi.Products(m.Spec.Applicability); err != nil {
			x.note("Mitigation %s: %s", m.Name, err)
		}
		side.FeedProduct = o.Products[m.Spec.FeedName]
		if len(side.Products) == 0 && side.FeedProduct == "" {
			side.FeedProduct = side.Facts.Product
			x.note("what product feed %s is for is not known: it is taken to be the server's", m.Spec.FeedName)
		}
	}
	if o.Plan == nil {
		x.note("the pool has no plan: servers leave everything as it is until the manager makes one")
		return side
	}
	side.Situation.AuditOnly = o.Plan.Spec.Mode == emsv1.ModeAudit
	var err error
	if side.FixedBuilds, err = fromapi.FixedBuilds(o.Plan.Spec.FixedBuilds); err != nil {
		x.note("MitigationPlan %s: %s", o.Plan.Name, err)
	}
	if planned == nil {
		x.note("the plan does not mention the mitigation: servers leave it as it is")
		return side
	}
	entry := fromapi.Entry(planned)
	side.Planned = &entry.Decision
	side.Situation.Released = entry.Release.Includes(o.Server.Name, entry.ID)
	side.Situation.Waiting = entry.Rollout.Reason
	x.told(o, entry.Rollout.ID, &side.Situation)
	return side
}

// told takes over what only the server knows: whether the rollout failed on it, and whether what replaces a mitigation is in place.
func (x *Explanation) told(o *Objects, running string, s *policy.Situation) {
	r := o.reported(x.Mitigation)
	if r == nil {
		return
	}
	s.SuccessorMissing = r.State == emsv1.StateHeld && r.Reason == string(policy.Superseded)
	if running != "" && r.Gate.Rollout == running && r.Gate.Verdict == emsv1.GateFailed {
		s.Failed = cmp.Or(r.Gate.Message, r.Message, "it did not say what went wrong")
	}
}

func (x *Explanation) facts(f emsv1.ServerFacts) policy.Facts {
	facts := policy.Facts{Product: string(f.Product), Role: f.Role}
	if f.Build != "" {
		var err error
		if facts.Build, err = build.Parse(f.Build); err != nil {
			x.note("the server reports a build that cannot be read: %s", err)
		}
	}
	return facts
}

func (x *Explanation) note(format string, arguments ...any) {
	x.Notes = append(x.Notes, fmt.Sprintf(format, arguments...))
}

func describe(r *emsv1.ServerMitigation, planned *emsv1.PlannedMitigation) *Reported {
	return &Reported{
		State: string(r.State), Reason: r.Reason, Message: r.Message, Revision: r.Revision, Effective: string(r.Effective),
		Verdict: string(r.Gate.Verdict), VerdictMessage: r.Gate.Message,
		Current: planned != nil && r.Gate.Rollout != "" && r.Gate.Rollout == planned.Rollout.ID,
	}
}

// behind says who has not followed.
func (x *Explanation) behind(o *Objects, now *rollout.Entry, planned *emsv1.PlannedMitigation, decision policy.Decision) {
	tell := func(format string, arguments ...any) { x.Behind = append(x.Behind, fmt.Sprintf(format, arguments...)) }
	switch {
	case now == nil || o.Plan == nil:
	case planned == nil:
		tell("the manager has not planned the mitigation yet")
	case string(now.Desired) != string(planned.Desired) || string(now.Reason) != planned.Reason:
		tell("the plan says %s (%s); the manager would plan %s (%s) now", planned.Desired, planned.Reason, now.Desired, now.Reason)
	case len(o.Unseen) == 0 && planDiffers(now, planned):
		tell("the plan has rollout %s; the manager would plan %s now", words(cmp.Or(planned.Rollout.ID, "none"), string(planned.Rollout.State), planned.Rollout.Stage), words(now.Rollout.ID, string(now.Rollout.State), now.Rollout.Stage))
	}
	if o.Server == nil || o.Plan == nil {
		return
	}
	if seen := o.Server.Status.ObservedPlanGeneration; seen < o.Plan.Generation {
		tell("the server has followed generation %d of the plan, and %d is the newest", seen, o.Plan.Generation)
		return
	}
	if r := x.Reported; r != nil && planned != nil && !fits(r, decision) {
		tell("the server should do %s (%s) and reports %s", decision.Desired, decision.Reason, r.State)
	}
}

// planDiffers reports whether the planner would go on from what the plan has. Without a look at other pools nobody knows.
func planDiffers(now *rollout.Entry, planned *emsv1.PlannedMitigation) bool {
	then := fromapi.Entry(planned).Rollout
	return now.Rollout.ID != then.ID || now.Rollout.StageNumber != then.StageNumber || now.Rollout.State != then.State
}

// fits reports whether what a server says can be what it was told.
func fits(r *Reported, decision policy.Decision) bool {
	switch emsv1.MitigationState(r.State) {
	case emsv1.StateApplied:
		return decision.Desired == policy.Apply
	case emsv1.StateRemoved:
		return decision.Desired == policy.Remove
	case emsv1.StateNotApplicable:
		return decision.Reason == policy.NotApplicable || decision.Reason == policy.FixedByUpdate
	default:
		return true
	}
}

func words(id, state, stage string) string {
	text := id
	if state != "" {
		text += " " + state
	}
	if stage != "" {
		text += " in stage " + stage
	}
	return text
}
