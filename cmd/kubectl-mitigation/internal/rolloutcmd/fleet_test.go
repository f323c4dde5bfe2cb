package rolloutcmd

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// night is when the tests look.
var night = time.Date(2026, 11, 22, 2, 30, 0, 0, time.UTC)

func before(d time.Duration) *metav1.Time { return &metav1.Time{Time: night.Add(-d)} }

// poolOf is what the API has of one pool with one mitigation, M1 revision 3, progressing in its first stage.
type poolOf struct {
	pool  *emsv1.PoolMitigationConfig
	plan  *emsv1.MitigationPlan
	entry *emsv1.PlannedMitigation
	told  *emsv1.PoolMitigationStatus
}

func newPool(namespace, name string, servers int32) *poolOf {
	stages := int32(4)
	p := &poolOf{
		pool: &emsv1.PoolMitigationConfig{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}},
			Spec:       emsv1.PoolMitigationConfigSpec{Mode: emsv1.ModeEnforce},
			Status: emsv1.PoolMitigationConfigStatus{
				Servers: &servers,
				Mitigations: []emsv1.PoolMitigationStatus{{
					ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled", Revision: 3, Servers: serverCounts(servers),
					Rollout: emsv1.PoolRolloutStatus{Attempt: 1},
				}},
			},
		},
		plan: &emsv1.MitigationPlan{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: emsv1.MitigationPlanSpec{Mode: emsv1.ModeEnforce, Mitigations: []emsv1.PlannedMitigation{{
				ID: "M1", Desired: emsv1.DesiredApply, Reason: "Enabled", Revision: 3,
				FeedName: "contoso", BundleName: "contoso-3", DocumentDigest: fmt.Sprintf("%064d", 3),
				Release: emsv1.Release{Below: new(int64(0))},
				Rollout: emsv1.PlanRollout{
					ID: "r3-a1-0123abcd", Attempt: 1, Profile: emsv1.ProfileFast, Stages: stages,
					StartTime: before(10 * time.Minute), Gate: emsv1.PlanGate{BakeSeconds: new(int32(60))},
				},
			}}},
		},
	}
	p.entry, p.told = &p.plan.Spec.Mitigations[0], &p.pool.Status.Mitigations[0]
	return p.stage(1, "first", 25*time.Second).is(emsv1.RolloutProgressing, "AwaitingStage", `the servers of stage "first", 1 of 4, are at work or under observation`).counts(1, 0, 0)
}

func (p *poolOf) stage(number int32, name string, since time.Duration) *poolOf {
	p.entry.Rollout.StageNumber, p.entry.Rollout.Stage, p.entry.Rollout.StageTime = &number, name, nil
	if number > 0 {
		p.entry.Rollout.StageTime = before(since)
	}
	return p
}

func (p *poolOf) is(state emsv1.RolloutState, reason, message string) *poolOf {
	p.entry.Rollout.State, p.entry.Rollout.Reason, p.entry.Rollout.Message = state, reason, message
	return p
}

func (p *poolOf) counts(released, passed, failed int32) *poolOf {
	p.told.Rollout.Released, p.told.Rollout.Passed, p.told.Rollout.Failed = &released, &passed, &failed
	return p
}

func (p *poolOf) ring(name string) *poolOf {
	p.pool.Labels["ring"] = name
	return p
}

func (p *poolOf) complete(since time.Duration) *poolOf {
	all := *p.pool.Status.Servers
	p.entry.Rollout.CompletionTime = before(since)
	return p.stage(4, "all", since+time.Minute).is(emsv1.RolloutComplete, "RolloutComplete", "").counts(all, all, 0)
}

// halted is a pool whose first server got worse.
func (p *poolOf) halted(servers ...string) *poolOf {
	p.entry.Rollout.Unreleased = emsv1.UnreleasedRevert
	p.told.Failing = servers
	message := plural(len(servers), "server") + " failed, 0 may: " + servers[0] + `: http check "owa": status 500, was 200`
	return p.stage(2, "tenth", 3*time.Minute).is(emsv1.RolloutHalted, "RolloutHalted", message).counts(0, 0, int32(len(servers)))
}

func (p *poolOf) key() types.NamespacedName {
	return types.NamespacedName{Namespace: p.pool.Namespace, Name: p.pool.Name}
}

// inputOf has pools, and two rings if the pools have labels.
func inputOf(global *emsv1.MitigationConfiguration, pools ...*poolOf) *input {
	in := &input{plans: map[types.NamespacedName]*emsv1.MitigationPlan{}, gates: map[serverKey]string{}, now: night, global: global}
	for _, p := range pools {
		in.pools = append(in.pools, p.pool)
		in.plans[p.key()] = p.plan
	}
	return in
}

func rings(names ...string) *emsv1.MitigationConfiguration {
	global := &emsv1.MitigationConfiguration{ObjectMeta: metav1.ObjectMeta{Name: emsv1.GlobalConfigurationName}}
	for _, name := range names {
		global.Spec.Rings = append(global.Spec.Rings, emsv1.Ring{
			Name: name, PoolSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"ring": name}},
		})
	}
	return global
}

// aBadNight is an organisation of five pools in which the first one halted.
func aBadNight() *input {
	held := newPool("backends", "mail", 12).ring("broad").stage(2, "tenth", 30*time.Minute).
		is(emsv1.RolloutPaused, "RolloutPaused", "night shift paused it: the storage is being moved").counts(2, 1, 0)
	held.pool.Spec.Rollout.Orders = []emsv1.RolloutOrder{{ID: "M1", Revision: 3, Action: emsv1.OrderPause, Owner: "night shift", Reason: "the storage is being moved"}}
	in := inputOf(rings("pilot", "broad"),
		newPool("pilots", "lab", 3).ring("pilot").complete(2*time.Hour),
		newPool("frontends", "web", 40).ring("broad").halted("web01", "web02", "web03"),
		held,
		newPool("edges", "proxy", 20).ring("broad").stage(0, "", 0).is(emsv1.RolloutWaiting, "HaltedElsewhere", "the rollout halted in pool frontends/web").counts(0, 0, 0),
		newPool("branches", "shop", 200).stage(0, "", 0).is(emsv1.RolloutWaiting, "AwaitingRing", "pool backends/mail, of a ring before, has not completed the rollout").counts(0, 0, 0),
	)
	in.gates[serverKey{"frontends", "web01", "m1", "r3-a1-0123abcd"}] = `http check "owa": status 500, was 200`
	in.gates[serverKey{"frontends", "web02", "m1", "r3-a1-0123abcd"}] = `http check "owa": no answer within 5s, was 200`
	return in
}

// aThousandPools is an organisation in which a few need attention.
func aThousandPools() *input {
	var pools []*poolOf
	for i := range 1000 {
		p := newPool(fmt.Sprintf("site%03d", i), "web", 10)
		switch {
		case i == 500 || i == 777:
			p.halted(fmt.Sprintf("web%03d01", i))
		case i%100 == 1:
			p.stage(2, "tenth", 20*time.Minute).is(emsv1.RolloutPaused, "RolloutStuck", "no verdict within 10m of stage \"tenth\" from web01").counts(2, 1, 0)
		case i%10 == 2:
			p.stage(2, "tenth", 80*time.Second).counts(1, 0, 0)
		case i%10 == 3:
			p.stage(0, "", 0).is(emsv1.RolloutWaiting, "AwaitingWindow", "no window is open").counts(0, 0, 0)
		default:
			p.complete(time.Hour)
		}
		pools = append(pools, p)
	}
	return inputOf(nil, pools...)
}

func named(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// serverCounts counts servers of which none has anything to do.
func serverCounts(total int32) emsv1.ServerCounts {
	zero := func() *int32 { return new(int32) }
	return emsv1.ServerCounts{
		Total: &total, Applied: zero(), Pending: zero(), Failed: zero(), Ineffective: zero(), Blocked: zero(), NotApplicable: zero(), Other: zero(),
	}
}
