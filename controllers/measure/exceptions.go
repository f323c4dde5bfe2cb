package measure

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
)

// maxSeries is how many exceptions, and how many rollouts, are exported one by one. With two series for each rollout, and the
// limits of objects.go and memory.go, the manager stays below 5,500 in all, whatever people write and servers report: 1,500 here, 900 of
// mitigations, 1,650 of pools and their servers, 700 of failures and repairs, and 400 of feeds and durations.
const maxSeries = 500

// The lists of exceptions, by the names of their fields.
const (
	listBlocked   = "blocked"
	listSuspended = "suspendedMitigations"
	listApproved  = "approved"
)

// ending is an exception that counts and expires.
type ending struct {
	kind, namespace, name, list, id string
	at                              time.Time
}

// census counts exceptions.
type census struct {
	now             time.Time
	active, expired map[string]int
	endings         []ending
}

func measureExceptions(from objects, now time.Time) []prometheus.Metric {
	c := census{now: now, active: map[string]int{}, expired: map[string]int{}}
	for i := range from.configurations {
		object := &from.configurations[i]
		is := ending{kind: "MitigationConfiguration", name: object.Name}
		said := fromapi.Configuration(object)
		c.exceptions(is, listBlocked, said.Blocked)
		c.exceptions(is, listSuspended, said.SuspendedMitigations)
		c.approvals(is, said.Approved)
	}
	for i := range from.pools {
		object := &from.pools[i]
		is := ending{kind: "PoolMitigationConfig", namespace: object.Namespace, name: object.Name}
		said := fromapi.Pool(object)
		c.exceptions(is, listBlocked, said.Blocked)
		c.approvals(is, said.Approved)
	}
	return c.metrics()
}

func (c *census) exceptions(of ending, list string, entries []policy.Exception) {
	for _, e := range entries {
		c.add(of, list, e.ID, e.Counts(c.now), e.Expiry)
	}
}

func (c *census) approvals(of ending, entries []policy.Approval) {
	for _, a := range entries {
		c.add(of, listApproved, a.ID, a.Counts(c.now), a.Expiry)
	}
}

func (c *census) add(of ending, list, id string, counts bool, expiry time.Time) {
	if !counts {
		c.expired[list]++
		return
	}
	c.active[list]++
	if !expiry.IsZero() {
		of.list, of.id, of.at = list, id, expiry
		c.endings = append(c.endings, of)
	}
}

func (c *census) metrics() []prometheus.Metric {
	var out []prometheus.Metric
	for _, list := range []string{listBlocked, listSuspended, listApproved} {
		out = append(out, gauge(exceptions, float64(c.active[list]), list, "active"), gauge(exceptions, float64(c.expired[list]), list, "expired"))
	}
	slices.SortFunc(c.endings, func(a, b ending) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name),
			strings.Compare(a.list, b.list), strings.Compare(a.id, b.id))
	})
	for _, e := range c.endings[:min(len(c.endings), maxSeries)] {
		out = append(out, gauge(exceptionExpiry, float64(e.at.Unix()), e.kind, e.namespace, e.name, e.list, e.id))
	}
	return out
}

// states are those of a rollout, those that need attention first.
var states = []emsv1.RolloutState{
	emsv1.RolloutHalted, emsv1.RolloutPaused, emsv1.RolloutWaiting, emsv1.RolloutProgressing, emsv1.RolloutAborted, emsv1.RolloutComplete,
}

// underway is a rollout that is not complete.
type underway struct {
	rank                        int
	namespace, pool, mitigation string
	state, reason               string
	stage                       int32
}

func measureRollouts(plans []emsv1.MitigationPlan) []prometheus.Metric {
	count := map[emsv1.RolloutState]int{}
	var list []underway
	for i := range plans {
		plan := &plans[i]
		for j := range plan.Spec.Mitigations {
			m := &plan.Spec.Mitigations[j]
			// What is to be removed is not rolled out; what it had been stays in the plan as memory.
			if m.Rollout.State == "" || m.Desired == emsv1.DesiredRemove {
				continue
			}
			count[m.Rollout.State]++
			if m.Rollout.State == emsv1.RolloutComplete {
				continue
			}
			u := underway{
				rank: slices.Index(states, m.Rollout.State), namespace: plan.Namespace, pool: plan.Name, mitigation: string(m.ID),
				state: string(m.Rollout.State), reason: m.Rollout.Reason,
			}
			if m.Rollout.StageNumber != nil {
				u.stage = *m.Rollout.StageNumber
			}
			list = append(list, u)
		}
	}
	var out []prometheus.Metric
	for _, state := range states {
		out = append(out, gauge(rollouts, float64(count[state]), string(state)))
	}
	slices.SortFunc(list, func(a, b underway) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.namespace, b.namespace), strings.Compare(a.pool, b.pool),
			strings.Compare(a.mitigation, b.mitigation))
	})
	for _, u := range list[:min(len(list), maxSeries)] {
		out = append(out,
			gauge(rolloutState, 1, u.namespace, u.pool, u.mitigation, u.state, u.reason),
			gauge(rolloutStage, float64(u.stage), u.namespace, u.pool, u.mitigation))
	}
	return out
}
