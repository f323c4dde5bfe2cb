package rolloutcmd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// States that a rollout has here beside those of the API.
const (
	// stateOff is that of a mitigation that the plan does not want: there is nothing to roll out.
	stateOff = "Off"
	// stateHeld is that of a mitigation that servers keep as they have it, while policy lets nothing be done about it.
	stateHeld = "Held"
	// stateRemoving is that of one that the plan does not want, as long as servers still have it.
	stateRemoving = "Removing"
)

// lastRing is what the pools are called that no ring chooses.
const lastRing = "(no ring)"

// RolloutStatus is where rollouts stand. The most urgent ones come first.
type RolloutStatus struct {
	Time time.Time `json:"time"`
	// Summaries has an entry for each revision of a mitigation.
	Summaries []RolloutSummary `json:"summaries"`
	// Rollouts has an entry for each mitigation and pool.
	Rollouts []Rollout `json:"rollouts"`
}

// RolloutSummary adds up the pools of one revision.
type RolloutSummary struct {
	Mitigation string `json:"mitigation"`
	Revision   int64  `json:"revision"`
	Pools      int    `json:"pools"`
	// States counts the pools by state.
	States map[string]int `json:"states"`
	// Rings has those that are configured, in their order.
	Rings   []RingSummary `json:"rings,omitempty"`
	Servers ServerNumbers `json:"servers"`
}

// RingSummary adds up the pools of a ring.
type RingSummary struct {
	Name     string `json:"name"`
	Pools    int    `json:"pools"`
	Complete int    `json:"complete"`
	Halted   int    `json:"halted"`
}

// ServerNumbers counts servers. Waiting are those that are released and have not said yet how they fare.
type ServerNumbers struct {
	Total    int `json:"total"`
	Released int `json:"released"`
	Passed   int `json:"passed"`
	Failed   int `json:"failed"`
	Waiting  int `json:"waiting"`
}

// Rollout is where one mitigation stands in one pool.
type Rollout struct {
	// ID is what servers call the rollout.
	ID         string `json:"id,omitempty"`
	Namespace  string `json:"namespace"`
	Pool       string `json:"pool"`
	Ring       string `json:"ring,omitempty"`
	Mode       string `json:"mode"`
	Mitigation string `json:"mitigation"`
	Revision   int64  `json:"revision"`
	Attempt    int32  `json:"attempt,omitempty"`
	Profile    string `json:"profile,omitempty"`
	// Fallback is the revision that an abort brings back; 0 if there is none.
	Fallback int64 `json:"fallbackRevision,omitempty"`
	// State is that of the API; Off, Removing or Held where there is nothing to roll out.
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`

	Stage       string        `json:"stage,omitempty"`
	StageNumber int32         `json:"stageNumber"`
	Stages      int32         `json:"stages"`
	Servers     ServerNumbers `json:"servers"`

	StartTime      *time.Time `json:"startTime,omitempty"`
	StageTime      *time.Time `json:"stageTime,omitempty"`
	CompletionTime *time.Time `json:"completionTime,omitempty"`
	BakeSeconds    int32      `json:"bakeSeconds,omitempty"`

	Failing []FailingServer `json:"failing,omitempty"`
	// Holders name who holds a rollout: an order, the pool's progress or pausedUntilTime, and those of the organisation.
	Holders []Holder `json:"holders,omitempty"`
	// Next are commands to type.
	Next []Hint `json:"next,omitempty"`
}

// FailingServer is a server that cannot do what the plan wants.
type FailingServer struct {
	Name    string `json:"name"`
	Message string `json:"message,omitempty"`
}

// Holder is a setting that holds a rollout.
type Holder struct {
	// Object is the pool as NAMESPACE/NAME, or the name of the configuration.
	Object string     `json:"object"`
	Field  string     `json:"field"`
	Owner  string     `json:"owner,omitempty"`
	Reason string     `json:"reason,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
}

// Hint is a command, and when it is the right one.
type Hint struct {
	Command string `json:"command"`
	When    string `json:"when"`
}

// Key is the pool as people write it.
func (r *Rollout) Key() string { return r.Namespace + "/" + r.Pool }

// input is what was read of a cluster.
type input struct {
	pools  []*emsv1.PoolMitigationConfig
	plans  map[types.NamespacedName]*emsv1.MitigationPlan
	global *emsv1.MitigationConfiguration // nil if there is none
	// gates has what failing servers say.
	gates map[serverKey]string
	now   time.Time
	// id chooses one mitigation, wanted some pools; without them all of them are meant.
	id     string
	wanted []types.NamespacedName
}

// serverKey is a server and the rollout that it failed in.
type serverKey struct{ namespace, server, mitigation, rollout string }

// look makes the status of what was read.
func look(in *input) *RolloutStatus {
	status := &RolloutStatus{Time: in.now.UTC(), Summaries: []RolloutSummary{}, Rollouts: []Rollout{}}
	rings := ringsOf(in.global)
	for _, pool := range in.pools {
		key := types.NamespacedName{Namespace: pool.Namespace, Name: pool.Name}
		if len(in.wanted) > 0 && !slices.Contains(in.wanted, key) {
			continue
		}
		plan := in.plans[key]
		if plan == nil {
			continue
		}
		reported := map[string]*emsv1.PoolMitigationStatus{}
		for i := range pool.Status.Mitigations {
			reported[strings.ToLower(string(pool.Status.Mitigations[i].ID))] = &pool.Status.Mitigations[i]
		}
		ring := rings.of(pool.Labels)
		for i := range plan.Spec.Mitigations {
			entry := &plan.Spec.Mitigations[i]
			if in.id != "" && !strings.EqualFold(in.id, string(entry.ID)) {
				continue
			}
			r := one(in, pool, plan, entry, reported[strings.ToLower(string(entry.ID))])
			r.Ring = ring
			r.Next = append(next(&r, in.global), overdue(&r, in, pool)...)
			status.Rollouts = append(status.Rollouts, r)
		}
	}
	slices.SortStableFunc(status.Rollouts, byUrgency)
	status.Summaries = summarize(status.Rollouts, rings)
	return status
}

// one is where an entry of a plan stands. State and reason are the plan's, which is the manager's memory; numbers come from the
// pool's status, which follows a moment later.
func one(in *input, pool *emsv1.PoolMitigationConfig, plan *emsv1.MitigationPlan, entry *emsv1.PlannedMitigation, reported *emsv1.PoolMitigationStatus) Rollout {
	m := &entry.Rollout
	r := Rollout{
		Namespace: pool.Namespace, Pool: pool.Name, Mode: string(cmp.Or(plan.Spec.Mode, emsv1.ModeEnforce)),
		Mitigation: string(entry.ID), Revision: entry.Revision, Attempt: m.Attempt, Profile: string(m.Profile),
		State: string(m.State), Reason: m.Reason, Message: m.Message,
		Stage: m.Stage, StageNumber: value(m.StageNumber), Stages: m.Stages, BakeSeconds: value(m.Gate.BakeSeconds),
		StartTime: moment(m.StartTime), StageTime: moment(m.StageTime), CompletionTime: moment(m.CompletionTime),
		ID: m.ID, Fallback: comesBack(m),
	}
	r.Servers.Total = int(value(pool.Status.Servers))
	if reported != nil && reported.Revision == entry.Revision {
		numbers(&r, reported)
	}
	switch {
	case entry.Desired != emsv1.DesiredApply:
		r.State, r.Reason, r.Message = stateOff, entry.Reason, entry.Message
		if entry.Desired == emsv1.DesiredHold {
			r.State = stateHeld
		}
		if entry.Desired == emsv1.DesiredRemove && reported != nil && value(reported.Servers.Pending) > 0 {
			r.State = stateRemoving
		}
		return r
	case m.ID == "":
		// The plan of a manager without rollouts: it releases to all.
		r.State, r.Reason, r.Message = string(emsv1.RolloutComplete), emsv1.RolloutCompleteReason, entry.Message
		return r
	}
	if reported != nil {
		for _, name := range reported.Failing {
			message := in.gates[serverKey{pool.Namespace, name, strings.ToLower(string(entry.ID)), m.ID}]
			r.Failing = append(r.Failing, FailingServer{Name: name, Message: message})
		}
	}
	if r.State == string(emsv1.RolloutPaused) || r.State == string(emsv1.RolloutWaiting) {
		r.Holders = holders(&r, pool, in.global, in.now)
	}
	return r
}

// comesBack is the revision that an abort brings back. The same content, which was complete before and is rolled out anew, is
// no way back from itself.
func comesBack(m *emsv1.PlanRollout) int64 {
	now, ok := rollout.ParseID(m.ID)
	before, known := rollout.ParseID(m.Fallback.Rollout)
	if ok && known && now.Revision == before.Revision && now.Content == before.Content {
		return 0
	}
	return m.Fallback.Revision
}

func numbers(r *Rollout, reported *emsv1.PoolMitigationStatus) {
	if total := value(reported.Servers.Total); total > 0 {
		r.Servers.Total = int(total)
	}
	// Numbers of an earlier attempt would look like those of this one.
	if reported.Rollout.Attempt != r.Attempt {
		return
	}
	r.Servers.Released, r.Servers.Passed, r.Servers.Failed = int(value(reported.Rollout.Released)), int(value(reported.Rollout.Passed)), int(value(reported.Rollout.Failed))
	r.Servers.Waiting = max(0, r.Servers.Released-r.Servers.Passed-r.Servers.Failed)
}

// holders says who holds a rollout: a person who resumes it has to know where.
func holders(r *Rollout, pool *emsv1.PoolMitigationConfig, global *emsv1.MitigationConfiguration, now time.Time) []Holder {
	var found []Holder
	add := func(object string, annotations map[string]string, spec *emsv1.RolloutSpec) (ordered bool) {
		if spec.Progress == emsv1.ProgressPaused {
			found = append(found, Holder{Object: object, Field: "spec.rollout.progress", Reason: annotations[pausedBecause]})
		}
		if spec.PausedUntilTime != nil && now.Before(spec.PausedUntilTime.Time) {
			found = append(found, Holder{Object: object, Field: "spec.rollout.pausedUntilTime", Until: moment(spec.PausedUntilTime)})
		}
		for _, order := range spec.Orders {
			if !strings.EqualFold(string(order.ID), r.Mitigation) {
				continue
			}
			if order.Action == emsv1.OrderPause && order.Revision == r.Revision {
				found = append(found, Holder{Object: object, Field: "spec.rollout.orders", Owner: order.Owner, Reason: order.Reason})
			}
			return true
		}
		return false
	}
	// An order of the organisation counts only where the pool has none for the mitigation.
	ordered := add(r.Key(), pool.Annotations, &pool.Spec.Rollout)
	if global != nil {
		spec := global.Spec.Rollout
		if ordered {
			spec.Orders = nil
		}
		add(global.Name, global.Annotations, &spec)
	}
	return found
}

// urgency orders rollouts for people: what needs one comes first, what is done last.
type urgency int

// The urgencies. From settled on, a rollout needs nobody and nothing moves.
const (
	alarming urgency = iota
	needsSomebody
	goesOn
	leaves
	waitsForOthers
	takenBack
	settled
	off
)

func urgencyOf(r *Rollout) urgency {
	switch r.State {
	case string(emsv1.RolloutHalted):
		return alarming
	case string(emsv1.RolloutPaused):
		return needsSomebody
	case string(emsv1.RolloutWaiting):
		if r.Reason == emsv1.AwaitingApprovalReason {
			return needsSomebody
		}
		return waitsForOthers
	case string(emsv1.RolloutProgressing):
		return goesOn
	case stateRemoving:
		return leaves
	case string(emsv1.RolloutAborted):
		return takenBack
	case string(emsv1.RolloutComplete):
		if r.Servers.Failed > 0 {
			return needsSomebody
		}
		return settled
	default:
		return off
	}
}

// rolledOut says whether the plan wants the mitigation on the servers.
func rolledOut(r *Rollout) bool {
	return r.State != stateOff && r.State != stateRemoving && r.State != stateHeld
}

func byUrgency(a, b Rollout) int {
	return cmp.Or(
		cmp.Compare(urgencyOf(&a), urgencyOf(&b)),
		strings.Compare(a.Reason, b.Reason),
		strings.Compare(strings.ToLower(a.Mitigation), strings.ToLower(b.Mitigation)),
		strings.Compare(a.Key(), b.Key()),
	)
}

func summarize(rollouts []Rollout, rings ringList) []RolloutSummary {
	type revision struct {
		id     string
		number int64
	}
	index := map[revision]int{}
	summaries := []RolloutSummary{}
	for i := range rollouts {
		r := &rollouts[i]
		key := revision{strings.ToLower(r.Mitigation), r.Revision}
		at, known := index[key]
		if !known {
			at = len(summaries)
			index[key] = at
			summaries = append(summaries, RolloutSummary{Mitigation: r.Mitigation, Revision: r.Revision, States: map[string]int{}, Rings: rings.summaries()})
		}
		s := &summaries[at]
		s.Pools++
		s.States[r.State]++
		if rolledOut(r) {
			s.Servers.Total += r.Servers.Total
			s.Servers.Released += r.Servers.Released
			s.Servers.Passed += r.Servers.Passed
			s.Servers.Failed += r.Servers.Failed
			s.Servers.Waiting += r.Servers.Waiting
		}
		if j := slices.IndexFunc(s.Rings, func(g RingSummary) bool { return g.Name == r.Ring }); j >= 0 {
			s.Rings[j].Pools++
			switch r.State {
			case string(emsv1.RolloutComplete):
				s.Rings[j].Complete++
			case string(emsv1.RolloutHalted):
				s.Rings[j].Halted++
			}
		}
	}
	return summaries
}

// ringList has the rings of the organisation in their order.
type ringList []rollout.Ring

// ringsOf passes over a ring whose selector cannot be used: the manager reports it, and no plan changes until it is corrected.
func ringsOf(global *emsv1.MitigationConfiguration) ringList {
	if global == nil {
		return nil
	}
	found, _ := fromapi.Rings([]emsv1.MitigationConfiguration{*global})
	return found
}

func (l ringList) of(pool map[string]string) string {
	switch i := rollout.RingOf(l, pool); {
	case len(l) == 0:
		return ""
	case i == len(l):
		return lastRing
	default:
		return l[i].Name
	}
}

func (l ringList) summaries() []RingSummary {
	var out []RingSummary
	for _, ring := range l {
		out = append(out, RingSummary{Name: ring.Name})
	}
	if len(l) > 0 {
		out = append(out, RingSummary{Name: lastRing})
	}
	return out
}

// verdict is what the exit code says.
type verdict int

// The verdicts.
const (
	done   verdict = iota // everything is where it should be
	failed                // something is halted or taken back, and nothing goes on by itself
	moving                // something goes on, or waits for a person or a time
)

// judge says where all rollouts stand together: what still moves is waited for, even if something else has failed.
func judge(status *RolloutStatus) verdict {
	all := done
	for i := range status.Rollouts {
		switch r := &status.Rollouts[i]; r.State {
		case string(emsv1.RolloutComplete), stateOff, stateHeld:
		case string(emsv1.RolloutHalted), string(emsv1.RolloutAborted):
			all = max(all, failed)
		case string(emsv1.RolloutWaiting):
			if r.Reason == emsv1.HaltedElsewhereReason {
				all = max(all, failed)
				continue
			}
			return moving
		default:
			return moving
		}
	}
	return all
}

func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

func moment(t *metav1.Time) *time.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

func (h Holder) text() string {
	text := fmt.Sprintf("%s, %s", h.Object, h.Field)
	if h.Until != nil {
		text += " until " + h.Until.Format(time.RFC3339)
	}
	if h.Owner != "" {
		text += ", by " + h.Owner
	}
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	return text
}
