package rolloutcmd

import (
	"io"
	"time"

	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// Look makes the status of pools and plans that somebody else has read. The configuration may be nil.
func Look(pools []emsv1.PoolMitigationConfig, plans []emsv1.MitigationPlan, global *emsv1.MitigationConfiguration, now time.Time) *RolloutStatus {
	return look(readBefore(pools, plans, global, now))
}

// Happened is what happened in pools, the newest last; in all of them without an id to every mitigation.
func Happened(pools []emsv1.PoolMitigationConfig, plans []emsv1.MitigationPlan, id string) *RolloutHistory {
	in := readBefore(pools, plans, nil, time.Time{})
	in.id = id
	return merge(in)
}

func readBefore(pools []emsv1.PoolMitigationConfig, plans []emsv1.MitigationPlan, global *emsv1.MitigationConfiguration, now time.Time) *input {
	in := &input{plans: make(map[types.NamespacedName]*emsv1.MitigationPlan, len(plans)), gates: map[serverKey]string{}, global: global, now: now}
	for i := range pools {
		in.pools = append(in.pools, &pools[i])
	}
	for i := range plans {
		in.plans[types.NamespacedName{Namespace: plans[i].Namespace, Name: plans[i].Name}] = &plans[i]
	}
	return in
}

// Urgent says that nothing goes on by itself: a person has to act.
func (r *Rollout) Urgent() bool { return urgencyOf(r) <= needsSomebody }

// Settled says that nothing moves and nothing is waited for.
func (r *Rollout) Settled() bool { return urgencyOf(r) >= settled }

// RolledOut says that the plan wants the mitigation on the servers.
func (r *Rollout) RolledOut() bool { return rolledOut(r) }

// Write prints a value as json or yaml, and else the lines that text makes.
func Write(w io.Writer, form string, value any, text func() []string) error {
	return write(w, form, value, text)
}
