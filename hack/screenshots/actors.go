//go:build unix

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/conditions"
	"mitigation.dev/ems/internal/rollout"
)

// actor plays the agent of one server.
type actor struct {
	object *emsv1.PoolServer
	// has are the revisions in place, by id.
	has map[emsv1.MitigationID]int64
	// passed and failed are rollouts by how they ended here; the server never goes back to one that failed.
	passed, failed map[string]bool
}

// says is the verdict of a server on a mitigation that was just released to it.
type says func(server *emsv1.PoolServer, planned *emsv1.PlannedMitigation) (emsv1.GateVerdict, string)

// troupe are the actors of all pools.
type troupe struct {
	client client.Client
	actors []*actor
	says   says
}

// add enrols servers of a pool.
func (t *troupe) add(ctx context.Context, namespace, pool string, names []string, facts emsv1.ServerFacts) error {
	for _, name := range names {
		server := &emsv1.PoolServer{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec:       emsv1.PoolServerSpec{PoolName: pool, HostName: name + ".contoso.com"},
		}
		if err := t.client.Create(ctx, server); err != nil {
			return fmt.Errorf("enrol %s: %w", name, err)
		}
		server.Status.Facts = facts
		t.actors = append(t.actors, &actor{object: server, has: map[emsv1.MitigationID]int64{}, passed: map[string]bool{}, failed: map[string]bool{}})
	}
	return nil
}

// act lets everybody follow the plan until the context ends.
func (t *troupe) act(ctx context.Context) error {
	for {
		plans := map[client.ObjectKey]*emsv1.MitigationPlan{}
		var list emsv1.MitigationPlanList
		if err := t.client.List(ctx, &list); err != nil {
			return ignoreEnd(ctx, err)
		}
		for i := range list.Items {
			plans[client.ObjectKeyFromObject(&list.Items[i])] = &list.Items[i]
		}
		for _, a := range t.actors {
			plan := plans[client.ObjectKey{Namespace: a.object.Namespace, Name: a.object.Spec.PoolName}]
			if plan == nil {
				continue
			}
			if err := a.report(ctx, t.client, a.follow(plan, t.says), plan.Generation); err != nil {
				return ignoreEnd(ctx, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// follow does what the plan says, as docs/spec/v1alpha1/mitigationplan.md has it.
func (a *actor) follow(plan *emsv1.MitigationPlan, says says) []emsv1.ServerMitigation {
	var out []emsv1.ServerMitigation
	for i := range plan.Spec.Mitigations {
		planned := &plan.Spec.Mitigations[i]
		m := emsv1.ServerMitigation{ID: planned.ID, Reason: planned.Reason, Message: ""}
		release := rollout.Release{ServerNames: planned.Release.ServerNames, Below: *planned.Release.Below}
		released := release.Includes(a.object.Name, string(planned.ID))
		switch {
		case planned.Desired == emsv1.DesiredRemove:
			delete(a.has, planned.ID)
			m.State, m.Message = emsv1.StateRemoved, planned.Message
		case a.object.Status.Facts.Product != emsv1.ExchangeServer && planned.ID != "PING1":
			m.State, m.Reason = emsv1.StateNotApplicable, "NotApplicable"
			m.Gate = emsv1.ServerGate{Rollout: planned.Rollout.ID, Verdict: emsv1.GateNotNeeded}
		case plan.Spec.Mode == emsv1.ModeAudit:
			m.State, m.Reason = emsv1.StateAudited, "Audit"
			m.Gate = emsv1.ServerGate{Rollout: planned.Rollout.ID, Verdict: emsv1.GatePassed}
		case released && !a.failed[planned.Rollout.ID]:
			m = a.try(planned, says)
		case a.failed[planned.Rollout.ID]:
			_, why := says(a.object, planned)
			m.State, m.Reason, m.Message = emsv1.StateFailed, "GateFailed", why
			m.Gate = emsv1.ServerGate{Rollout: planned.Rollout.ID, Verdict: emsv1.GateFailed, Message: why}
		default:
			m.State, m.Reason = emsv1.StateHeld, planned.Rollout.Reason
		}
		m.Revision = a.has[planned.ID]
		out = append(out, m)
	}
	return out
}

func (a *actor) try(planned *emsv1.PlannedMitigation, says says) emsv1.ServerMitigation {
	verdict, why := says(a.object, planned)
	if a.passed[planned.Rollout.ID] {
		verdict, why = emsv1.GatePassed, ""
	}
	a.passed[planned.Rollout.ID] = verdict == emsv1.GatePassed
	m := emsv1.ServerMitigation{ID: planned.ID, State: emsv1.StateApplied, Reason: planned.Reason, Effective: emsv1.EffectiveTrue}
	m.Gate = emsv1.ServerGate{Rollout: planned.Rollout.ID, Verdict: verdict, Message: why}
	a.has[planned.ID] = planned.Revision
	if verdict == emsv1.GateFailed {
		a.failed[planned.Rollout.ID] = true
		delete(a.has, planned.ID)
		m.State, m.Reason, m.Message, m.Effective = emsv1.StateFailed, "GateFailed", why, ""
	}
	return m
}

// report writes the status if it changed.
func (a *actor) report(ctx context.Context, c client.Client, mitigations []emsv1.ServerMitigation, plan int64) error {
	status := a.object.Status.DeepCopy()
	status.ObservedGeneration, status.ObservedPlanGeneration = new(a.object.Generation), plan
	outcome := conditions.Done(emsv1.PlanAppliedReason, "everything is as the plan wants it")
	for i := range mitigations {
		m := &mitigations[i]
		before := slices.IndexFunc(status.Mitigations, func(b emsv1.ServerMitigation) bool { return b.ID == m.ID })
		m.ChangedTime = new(metav1.NewTime(time.Now().Truncate(time.Second)))
		if before >= 0 && status.Mitigations[before].State == m.State && status.Mitigations[before].ChangedTime != nil {
			m.ChangedTime = status.Mitigations[before].ChangedTime
		}
		if m.State == emsv1.StateFailed {
			outcome = conditions.Stalled(emsv1.MitigationsFailedReason, string(m.ID)+": "+m.Message)
		}
	}
	status.Mitigations = mitigations
	conditions.Set(&status.Conditions, a.object.Generation, outcome)
	if equality.Semantic.DeepEqual(&a.object.Status, status) {
		return nil
	}
	changed := a.object.DeepCopy()
	changed.Status = *status
	if err := c.Status().Patch(ctx, changed, client.MergeFrom(&emsv1.PoolServer{ObjectMeta: a.object.ObjectMeta, Spec: a.object.Spec})); err != nil {
		return fmt.Errorf("report of %s: %w", a.object.Name, err)
	}
	a.object = changed
	return nil
}
